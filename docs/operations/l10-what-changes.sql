-- Which graphs change how much, and how much of that did a person look at?
--
-- Asks: an operator, week by week.
--
-- week, graph
-- applied  proposals that changed it
-- waited   how many of them waited for a person
-- quads    quads that they added or removed, in all their graphs

SELECT toMonday(time) AS week, arrayJoin(graphs) AS graph, count() AS applied,
       countIf(subject IN (SELECT subject FROM lifecycle WHERE state = 'awaiting decision')) AS waited,
       sum(lifecycle.quads) AS quads
FROM lifecycle
WHERE kind = 'proposal' AND state = 'applied'
GROUP BY week, graph
ORDER BY week, graph
