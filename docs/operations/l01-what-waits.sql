-- Which proposals wait for a decision, whose are they, and since when?
--
-- Asks: an operator, before anything else.
--
-- proposal, project, author, since
-- quads     how much each would change
-- evidence  how many evidence batches it names

SELECT subject AS proposal, any(project) AS project, any(principal) AS author, max(time) AS since,
       any(quads) AS quads, any(evidence) AS evidence
FROM lifecycle
WHERE kind = 'proposal'
GROUP BY subject
HAVING argMax(state, (entry, step)) = 'awaiting decision'
ORDER BY since, proposal
