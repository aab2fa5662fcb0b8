"""The questions that a steward asks of the facts, as SQL.

Invariant: each answer grows with the distinct things in a page of facts, not with the number of
spans: the warehouse joins and groups, and only its groups travel. Two spans of one trace may arrive
in different batches, in any order, so every question about relations is put to whole traces: those
that the page touches, as far as they have arrived. Whichever batch comes last thus completes them.

Every query takes its rows in a fixed order, so that an answer that doesn't fit is read on with
LIMIT and OFFSET.
Source: https://clickhouse.com/docs/sql-reference/statements/select
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = "otel.span"
# Text taken from attributes; a longer name is a fault of the sender and is set aside afterwards.
MAX_NAME = 1024
MAX_STATEMENT = 8192
# How far up a chain of spans the entry into the service is sought; also what ends a cycle.
MAX_DEPTH = 32
# Of a trace that never ends only the newest part is joined with the page.
MAX_TRACE_SPANS = 20_000

_ENTRY = "('server', 'consumer')"
_OUTGOING = "('client', 'producer')"


@dataclass(frozen=True)
class Page:
    """The facts of one project in the inbox batches ``after < seq <= until``."""

    project: str
    after: int
    until: int


def text(value: str) -> str:
    """A ClickHouse string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def batches(project: str, after: int, limit: int) -> str:
    """Columns: seq, spans. The next batches of the project, in order."""
    return (
        f"SELECT seq, count() AS spans FROM events WHERE {_of(project)} AND seq > {after:d}"
        f" GROUP BY seq ORDER BY seq LIMIT {limit:d}"
    )


def newest(project: str) -> str:
    """Columns: seq. The newest batch of the project, 0 when there is none."""
    return f"SELECT max(seq) AS newest FROM events WHERE {_of(project)}"


def services(page: Page) -> str:
    """Columns of :class:`stewards.observe.ServiceRow`."""
    return f"""
SELECT service, environment, release, min(seq) AS first_seq, argMin(batch, seq) AS first_batch,
       count() AS spans
FROM events WHERE {_in(page)}
GROUP BY service, environment, release ORDER BY service, environment, release"""


def operations(page: Page) -> str:
    """Columns of :class:`stewards.observe.OperationRow`."""
    return f"""
WITH {_traces(page)}
SELECT service, subject, class, kind, min(seq) AS first_seq, argMin(batch, seq) AS first_batch
FROM spans WHERE subject != ''
GROUP BY service, subject, class, kind ORDER BY service, subject, class, kind"""


def database(page: Page) -> str:
    """Columns of :class:`stewards.observe.DatabaseRow`.

    Literals are taken out of the statements before they are grouped: one row for each kind of
    statement, and values, which may be secret, stay in the warehouse.
    """
    statement = _first("db.query.text", "db.statement", limit=MAX_STATEMENT)
    return f"""
SELECT service, subject, class,
       {_first("db.system.name", "db.system")} AS system,
       {
        _first("server.address", "net.peer.name", "net.peer.ip", "network.peer.address")
    } AS address,
       {_first("server.port", "net.peer.port")} AS port,
       {_first("db.namespace", "db.name")} AS namespace,
       {
        _first("db.collection.name", "db.sql.table", "db.mongodb.collection", "db.cassandra.table")
    } AS collection,
       {_first("db.operation.name", "db.operation")} AS verb,
       if(normalizeQueryKeepNames({statement}) != '',
          normalizeQueryKeepNames({statement}), {statement}) AS statement,
       min(seq) AS first_seq, argMin(batch, seq) AS first_batch
FROM events WHERE {_in(page)} AND subject != '' AND system != ''
GROUP BY service, subject, class, system, address, port, namespace, collection, verb, statement
ORDER BY service, subject, class, system, address, port, namespace, collection, verb, statement"""


def messages(page: Page) -> str:
    """Columns of :class:`stewards.observe.MessageRow`.

    Temporary and anonymous destinations, such as the queue for one reply, are no lasting topics.
    """
    destination = _first(
        "messaging.destination.template", "messaging.destination.name", "messaging.destination"
    )
    return f"""
SELECT service, subject, class, kind,
       multiIf({_first("messaging.system")} != '', {_first("messaging.system")},
               mapContains(attributes, 'celery.action'), 'celery', '') AS system,
       {_first("server.address", "net.peer.name")} AS address,
       {_first("server.port", "net.peer.port")} AS port,
       {destination} AS destination,
       min(seq) AS first_seq, argMin(batch, seq) AS first_batch
FROM events
WHERE {_in(page)} AND subject != '' AND destination != ''
  AND attributes['messaging.destination.temporary'] NOT IN ('true', 'True', '1')
  AND attributes['messaging.destination.anonymous'] NOT IN ('true', 'True', '1')
GROUP BY service, subject, class, kind, system, address, port, destination
ORDER BY service, subject, class, kind, system, address, port, destination"""


def calls(page: Page) -> str:
    """Columns of :class:`stewards.observe.CallRow`: what stands above each server span.

    A producer span above a server span is a message that arrived by HTTP, which isn't a call.
    """
    return f"""
WITH {_traces(page)}
SELECT caller.service AS caller_service, caller.subject AS caller_subject,
       caller.class AS caller_class, callee.service AS callee_service,
       callee.subject AS callee_subject, callee.class AS callee_class,
       {_earliest_pair("callee", "caller")}
FROM spans AS callee INNER JOIN spans AS caller
  ON callee.trace_id = caller.trace_id AND callee.parent_span_id = caller.span_id
WHERE callee.kind = 'server' AND caller.kind != 'producer'
  AND (caller.kind = 'client' OR caller.service != callee.service)
GROUP BY caller_service, caller_subject, caller_class, callee_service, callee_subject, callee_class
ORDER BY caller_service, caller_subject, caller_class, callee_service, callee_subject,
         callee_class"""


def invocations(page: Page) -> str:
    """Columns of :class:`stewards.observe.InvocationRow`: from each outgoing span up to the nearest
    entry into its service, through whatever the service did in between."""
    return f"""
WITH RECURSIVE {_traces(page)},
walk AS (
  SELECT trace_id, subject AS outgoing, service, parent_span_id AS at, seq, batch, 1 AS depth
  FROM spans WHERE kind IN {_OUTGOING} AND subject != '' AND parent_span_id != ''
  UNION ALL
  SELECT walk.trace_id, walk.outgoing, walk.service, above.parent_span_id,
         greatest(walk.seq, above.seq), if(above.seq > walk.seq, above.batch, walk.batch),
         walk.depth + 1
  FROM walk INNER JOIN spans AS above
    ON above.trace_id = walk.trace_id AND above.span_id = walk.at
  WHERE above.service = walk.service AND above.kind NOT IN {_ENTRY}
    AND above.parent_span_id != '' AND walk.depth < {MAX_DEPTH:d}
)
SELECT walk.service AS service, entry.subject AS entry_subject, walk.outgoing AS outgoing_subject,
       {_earliest_pair("walk", "entry")}
FROM walk INNER JOIN spans AS entry
  ON entry.trace_id = walk.trace_id AND entry.span_id = walk.at
WHERE entry.service = walk.service AND entry.kind IN {_ENTRY} AND entry.subject != ''
GROUP BY service, entry_subject, outgoing_subject
ORDER BY service, entry_subject, outgoing_subject"""


def _of(project: str) -> str:
    return f"project = {text(project)} AND source = {text(SOURCE)}"


def _in(page: Page) -> str:
    return f"{_of(page.project)} AND seq > {page.after:d} AND seq <= {page.until:d}"


def _traces(page: Page) -> str:
    """The relation ``spans``: the page, and what arrived before it of the traces it touches."""
    columns = "trace_id, span_id, parent_span_id, service, subject, class, kind, seq, batch"
    return f"""
spans AS (
  SELECT {columns} FROM events WHERE {_in(page)}
  UNION ALL
  SELECT {columns} FROM (
    SELECT {columns} FROM events
    WHERE {_of(page.project)} AND seq <= {page.after:d} AND trace_id != ''
      AND trace_id IN (SELECT trace_id FROM events WHERE {_in(page)})
    ORDER BY seq DESC, span_id LIMIT {MAX_TRACE_SPANS:d} BY trace_id
  )
)"""


def _earliest_pair(one: str, other: str) -> str:
    """The two batches that first showed a pair of spans together."""
    moment = f"(greatest({one}.seq, {other}.seq), {one}.seq, {other}.seq)"
    return ", ".join(
        f"argMin({source}.{column}, {moment}) AS {name}_{column}"
        for name, source in (("one", one), ("other", other))
        for column in ("seq", "batch")
    )


def _first(*keys: str, limit: int = MAX_NAME) -> str:
    """The first of these attributes that has a value, cut to ``limit`` bytes at a character."""
    options = ", ".join(f"nullIf(attributes[{text(key)}], '')" for key in keys)
    return f"leftUTF8(coalesce({options}, ''), {limit:d})"
