-- Which decisions had one person behind them alone, where two are asked for?
--
-- Asks: an auditor, who looks at each of them once there is a second operator.
--
-- proposal, time, outcome
-- entry   log entry that proves it
-- graphs  what it changed

SELECT subject AS proposal, time, state AS outcome, entry, graphs
FROM lifecycle
WHERE kind = 'decision' AND single_person
ORDER BY entry
