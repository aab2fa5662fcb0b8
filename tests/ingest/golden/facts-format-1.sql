






CREATE TABLE IF NOT EXISTS events (
    seq UInt64 COMMENT 'number of the evidence batch in the inbox, monotonic',
    batch LowCardinality(String) COMMENT 'commitment of the evidence batch, sha256:...',
    project LowCardinality(String),
    source LowCardinality(String) COMMENT 'what kind of event, for example otel.span',
    event_id String COMMENT 'unique in project and source, for a span trace_id-span_id, for a product event its uuid',
    time DateTime64(9, 'UTC') COMMENT 'when it began, by the clock of the sender',
    duration_ns UInt64,
    class LowCardinality(String) COMMENT 'ontology class IRI, empty if no rule fits',
    rule LowCardinality(String) COMMENT 'IRI of the classification rule that chose it',
    subject LowCardinality(String) COMMENT 'IRI of what it is about, for a span the operation it is an instance of',
    name LowCardinality(String),
    kind LowCardinality(String) COMMENT 'of a span server, client, producer, consumer, internal, unspecified',
    status LowCardinality(String) COMMENT 'unset, ok, error, or empty',
    service LowCardinality(String),
    release LowCardinality(String),
    environment LowCardinality(String),
    session String,
    trace_id String,
    span_id String,
    parent_span_id String,
    attributes Map(LowCardinality(String), String),
    INDEX by_seq seq TYPE minmax GRANULARITY 1,
    INDEX by_time time TYPE minmax GRANULARITY 1,
    INDEX by_trace trace_id TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(seq)
ORDER BY (project, source, event_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS proof_entries (
    `index` UInt64 COMMENT 'position in the proof log',
    kind LowCardinality(String),
    time DateTime64(3, 'UTC'),
    proposal String,
    project LowCardinality(String),
    principal LowCardinality(String),
    leaf_hash String COMMENT 'RFC 6962 leaf hash, hexadecimal',
    graphs Array(String) COMMENT 'IRIs of the named graphs changed'
) ENGINE = ReplacingMergeTree
ORDER BY `index`
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS steward_lifecycle (
    time DateTime64(3, 'UTC'),
    steward LowCardinality(String),
    project LowCardinality(String),
    event LowCardinality(String) COMMENT 'what happened, for example submitted',
    proposal String,
    detail String
) ENGINE = ReplacingMergeTree
ORDER BY (steward, project, time, event, proposal)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS warehouse_identity (
    id String COMMENT 'made when the tables were, a new one means that the facts are to be rebuilt',
    format UInt32
) ENGINE = ReplacingMergeTree
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
INSERT INTO warehouse_identity VALUES ('11111111-2222-3333-4444-555555555555', 1);
INSERT INTO events VALUES
    (1, 'sha256:a', 'shop', 'otel.span', 'a', 1.5, 7, 'urn:class', 'urn:rule', 'urn:subject', 'GET /cart', 'server', 'ok', 'web', '1', 'prod', 's', 't', 's', 'p', {'http.route': '/cart'}),
    (2, 'sha256:b', 'shop', 'otel.span', 'b', 2.5, 0, '', '', '', '', '', '', '', '', '', '', '', '', '', {});
