-- On which days did the shapes refuse whose proposals?
--
-- Asks: an operator: a steward that is refused day after day needs a rule, a shape or a mended sender.
--
-- day, author, project
-- refused  how many, of them
-- late     how many that had been valid, and were not any more when they were approved

SELECT toDate(time) AS day, principal AS author, project, count() AS refused,
       countIf(former = 'awaiting decision') AS late
FROM lifecycle
WHERE kind = 'proposal' AND state = 'invalid'
GROUP BY day, author, project
ORDER BY day, author, project
