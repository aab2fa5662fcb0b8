-- What did the stewards' sweeps of each day come to?
--
-- Asks: an operator. Sweeps that found no new facts aren't counted.
--
-- day, steward
-- sweeps, failed  how many, and how many of them the gate refused or got no answer
-- facts           how many were read
-- proposals       how many were made
-- quads           how many those proposed

SELECT toDate(time) AS day, subject AS steward, count() AS sweeps,
       countIf(state IN ('refused', 'failed')) AS failed, sum(evidence) AS facts,
       sum(length(proposals)) AS proposals, sum(lifecycle.quads) AS quads
FROM lifecycle
WHERE kind = 'sweep'
GROUP BY day, steward
ORDER BY day, steward
