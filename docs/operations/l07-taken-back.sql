-- What was applied and later reverted, by whom, and how long did it stand?
--
-- Asks: an operator, who wants to know what should have been asked before.
--
-- proposal
-- reverted_by  principal who proposed the inverse
-- stood        seconds from applied to reverted
-- entry        log entry that reverted it

SELECT subject AS proposal, anyIf(principal, state = 'reverted') AS reverted_by,
       dateDiff('second', minIf(time, state = 'applied'), maxIf(time, state = 'reverted')) AS stood,
       maxIf(lifecycle.entry, state = 'reverted') AS entry
FROM lifecycle
WHERE kind = 'proposal' AND state IN ('applied', 'reverted')
GROUP BY subject
HAVING countIf(state = 'reverted') > 0
ORDER BY entry
