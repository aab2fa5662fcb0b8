-- What became of everything that has a life: proposals and the decisions on them, erasures, and the
-- sweeps of the stewards. A row is a state that was reached. Those of a log entry are written again
-- from the log whenever they are missing, and collapse with what is there; a sweep is no entry, and
-- what is lost of it is lost.

CREATE TABLE IF NOT EXISTS lifecycle (
    kind LowCardinality(String) COMMENT 'what has the life: proposal, decision, erasure, sweep',
    subject String COMMENT 'id of the proposal (of a decision, the one decided on), steward of a sweep, empty for an erasure',
    project LowCardinality(String),
    time DateTime64(3, 'UTC') COMMENT 'when the state was reached',
    entry Int64 COMMENT 'log entry that says so, -1 for a sweep',
    step UInt16 COMMENT 'place among the rows of the entry',
    former LowCardinality(String) COMMENT 'state before, empty where there was none',
    state LowCardinality(String) COMMENT 'state reached, of a decision its outcome',
    principal LowCardinality(String) COMMENT 'IRI of who proposed, decided, erased or swept',
    policy String COMMENT 'of a decision, the policy that it follows',
    single_person Bool COMMENT 'of a decision, whether one person stood behind it alone',
    graphs Array(String) COMMENT 'IRIs of the named graphs concerned',
    quads UInt64 COMMENT 'quads that it adds or removes, of a sweep those proposed',
    evidence UInt64 COMMENT 'evidence batches named, of a sweep facts read',
    proposals Array(String) COMMENT 'of a sweep, the proposals that it made',
    detail String COMMENT 'of a sweep, its outcome in words'
) ENGINE = ReplacingMergeTree
ORDER BY (kind, project, subject, time, entry, step)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
