-- In which state are everybody's proposals?
--
-- Asks: an operator, who looks for authors that are turned away.
--
-- author, state
-- proposals  how many
-- newest     when the newest of them got there

SELECT author, state, count() AS proposals, max(reached) AS newest
FROM (
    SELECT subject, argMin(principal, (entry, step)) AS author,
           argMax(lifecycle.state, (entry, step)) AS state, max(time) AS reached
    FROM lifecycle
    WHERE kind = 'proposal'
    GROUP BY subject
)
GROUP BY author, state
ORDER BY author, state
