-- How long did proposals wait for a person, by project and by what became of them?
--
-- Asks: an operator, who wants to know whether people are the bottleneck.
--
-- project, state
-- proposals        how many
-- median, longest  seconds from waiting to decided

SELECT project, state, count() AS proposals, median(waited) AS median, max(waited) AS longest
FROM (
    SELECT subject, any(lifecycle.project) AS project,
           dateDiff('second', minIf(time, lifecycle.state = 'awaiting decision'), max(time)) AS waited,
           argMaxIf(lifecycle.state, entry, former = 'awaiting decision') AS state
    FROM lifecycle
    WHERE kind = 'proposal' AND 'awaiting decision' IN (lifecycle.state, former)
    GROUP BY subject
    HAVING countIf(former = 'awaiting decision') > 0
)
GROUP BY project, state
ORDER BY project, state
