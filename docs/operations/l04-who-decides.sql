-- Who took how many decisions, with which outcome?
--
-- Asks: an auditor. What applied at once was approved by the principal "policy".
--
-- principal, outcome
-- decisions  how many
-- newest     when the newest of them was taken

SELECT principal, state AS outcome, count() AS decisions, max(time) AS newest
FROM lifecycle
WHERE kind = 'decision'
GROUP BY principal, outcome
ORDER BY principal, outcome
