-- Which stewards' last sweep failed, since when, and why?
--
-- Asks: an operator, when the graph of a project stands still.
--
-- steward, project
-- succeeded  when a sweep last came to something, 1970 if none did
-- failures   sweeps that failed since
-- detail     what the last one said

SELECT steward, any(project) AS project, max(good) AS succeeded, countIf(bad AND time > good) AS failures,
       argMax(detail, time) AS detail
FROM (
    SELECT subject AS steward, lifecycle.project AS project, time, lifecycle.detail AS detail,
           state IN ('refused', 'failed') AS bad,
           maxIf(time, state NOT IN ('refused', 'failed')) OVER (PARTITION BY subject) AS good
    FROM lifecycle
    WHERE kind = 'sweep'
)
GROUP BY steward
HAVING argMax(bad, time)
ORDER BY steward
