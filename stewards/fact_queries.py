"""The questions that a steward asks of the facts, as SQL: which there are, and about spans.

Invariant: each answer grows with the distinct things in a page of facts, not with the number of
spans: the warehouse joins and groups, and only its groups travel. Two spans of one trace may arrive
in different batches, in any order, so relations are asked of whole traces: those that the page
touches, as far as they have arrived. Whichever batch comes last thus completes them.

Both large questions scan the facts once, for a scan is what grows with the warehouse. Rows come in
a fixed order, so that an answer that doesn't fit is read on with LIMIT and OFFSET.
Source: https://clickhouse.com/docs/sql-reference/statements/select
"""

from __future__ import annotations

from dataclasses import dataclass

from ontology.vocab import Fo
from ontology.workload_names import CLUSTER, KINDS, NAMESPACE, name_key

SOURCE = "otel.span"
# Text taken from attributes; a longer name is a fault of the sender and is set aside afterwards.
MAX_NAME = 1024
MAX_STATEMENT = 8192
# How far up a chain of spans the entry into the service is sought: 2 to this power. Each round
# doubles the step, so a cycle ends like everything else.
DOUBLINGS = 5
# The same for long traces, where each step is a join.
LONG_DEPTH = 12
# Of a trace that never ends only the newest part is joined with the page.
MAX_TRACE_SPANS = 20_000

# The longest array that is worked on as such: the work grows with its square.
MAX_ARRAY = 256

_SIDE = ("service", "subject", "class", "kind")
_PLURALS = {"services": "service", "subjects": "subject", "classes": "class", "kinds": "kind"}
_RELATION = ", ".join(
    ("relation", *(f"from_{name}" for name in _SIDE), *(f"to_{name}" for name in _SIDE))
)
_EVIDENCE = ", ".join(
    f"evidence.{place} AS {name}"
    for place, name in enumerate(
        ("from_seq", "from_batch", "to_seq", "to_batch", "via_seq", "via_batch"), 1
    )
)
_ENTRY = "('server', 'consumer')"
_OUTGOING = "('client', 'producer')"


@dataclass(frozen=True)
class Page:
    """The facts of one project in the inbox batches ``after < seq <= until``, of every source.

    ``relation`` is what questions about things are put to: the facts as they are, or a selection
    with the same columns.
    """

    project: str
    after: int
    until: int
    facts: int
    relation: str = "events"


def text(value: str) -> str:
    """A ClickHouse string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def batches(project: str, after: int, limit: int) -> str:
    """Columns: seq, facts. The next batches of the project, in order."""
    return (
        f"SELECT seq, count() AS facts FROM events WHERE project = {text(project)}"
        f" AND seq > {after:d}"
        f" GROUP BY seq ORDER BY seq LIMIT {limit:d}"
    )


def untrusted(project: str, after: int, until: int) -> str:
    """Columns: events. Whether the batches ``after < seq <= until`` of the project hold facts of
    senders that aren't trusted: 1 or 0."""
    return (
        "SELECT count() AS events FROM (SELECT 1 FROM events"
        f" WHERE project = {text(project)} AND seq > {after:d} AND seq <= {until:d}"
        " AND NOT trusted LIMIT 1)"
    )


def unclassified(project: str, after: int, until: int) -> str:
    """Columns: source, events. The facts of the batches ``after < seq <= until`` that no rule
    fitted."""
    return (
        f"SELECT source, count() AS events FROM events WHERE project = {text(project)}"
        f" AND seq > {after:d} AND seq <= {until:d} AND class = '' GROUP BY source ORDER BY source"
    )


def newest(project: str) -> str:
    """Columns: seq. The newest batch of the project, 0 when there is none."""
    return f"SELECT max(seq) AS newest FROM events WHERE project = {text(project)}"


def spans(page: Page) -> str:
    """Columns of :class:`stewards.fact_rows.SpanRow`: one row for each kind of span in the page.

    Literals are taken out of statements: one row for each kind of statement, and values, which may
    be secret, stay in the warehouse. Temporary and anonymous destinations, such as the queue for
    one reply, are no lasting topics. Addresses are looked at for these two alone: a server's
    callers have as many as there are connections. A name of the called service is asked of calls
    alone, and of a summary only what can't be told from anything better.
    """
    messaging = first_of("messaging.system")
    columns = {
        "service": "service",
        "environment": "environment",
        "release": "release",
        "subject": "subject",
        "class": "class",
        "kind": "kind",
        "database": first_of("db.system.name", "db.system"),
        "messaging": f"multiIf({messaging} != '', {messaging},"
        " mapContains(attributes, 'celery.action'), 'celery', '')",
        "destination": "if("
        "attributes['messaging.destination.temporary'] IN ('true', 'True', '1')"
        " OR attributes['messaging.destination.anonymous'] IN ('true', 'True', '1'), '', "
        + first_of(
            "messaging.destination.template",
            *("messaging.destination.name", "messaging.destination", "messaging.source.name"),
        )
        + ")",
        "address": _of_data(
            "server.address", "net.peer.name", "net.peer.ip", "network.peer.address"
        ),
        "port": _of_data("server.port", "net.peer.port"),
        "namespace": _of_data(
            "db.namespace", "db.name", "db.cassandra.keyspace", "db.hbase.namespace"
        ),
        "collection": _or_of_summary(
            2,
            _of_data(
                *("db.collection.name", "db.sql.table", "db.mongodb.collection"),
                *("db.cassandra.table", "db.cosmosdb.container"),
            ),
        ),
        "verb": _or_of_summary(1, _of_data("db.operation.name", "db.operation")),
        "peer": f"if(class IN ({text(Fo.HttpCall)}, {text(Fo.RpcCall)}),"
        f" {first_of('service.peer.name', 'peer.service')}, '')",
        "workload": _workload(),
        "cluster": f"if(workload = '', '', {first_of(CLUSTER)})",
        "cluster_namespace": f"if(workload = '', '', {first_of(NAMESPACE)})",
        "statement": "if(normalizeQueryKeepNames(text) != '', normalizeQueryKeepNames(text), text)",
    }
    names = ", ".join(columns)
    selected = ",\n       ".join(
        name if name == value else f"{value} AS {name}" for name, value in columns.items()
    )
    statement = _of_data("db.query.text", "db.statement", limit=MAX_STATEMENT)
    return f"""
WITH {statement} AS text
SELECT {selected},
       min(seq) AS first_seq, argMin(batch, seq) AS first_batch, count() AS spans
FROM {page.relation} WHERE {within(page, SOURCE)}
GROUP BY {names} ORDER BY {names}"""


def relations(page: Page) -> str:
    """Columns of :class:`stewards.fact_rows.RelationRow`: calls and invocations.

    A call leads from what stands above a server span to it; a producer span there is a message that
    arrived by HTTP, which isn't a call. An invocation leads from the nearest entry above an
    outgoing span to it, through whatever the service did in between; ``via`` is the newest batch of
    that way. A trace of more than ``MAX_ARRAY`` spans gives a row ``long`` instead: it is for
    :func:`long_relations`.

    The spans of a trace are numbered; ``up`` is the number of a span's parent and ``reach`` that of
    the nearest entry into the service at or above it, found by doubling the step.
    """
    # What a lambda looks into is copied for each element: only short arrays are for that.
    columns = ", ".join(
        f"groupArray({MAX_ARRAY:d})({value}) AS {name}"
        for name, value in (
            *_PLURALS.items(),
            ("seqs", "seq"),
            ("batches", "batch"),
            ("ids", "cityHash64(span_id)"),
            ("parents", "cityHash64(parent_span_id)"),
        )
    )
    ends = ", ".join(
        f"{name}[link.{place}] AS {end}_{value}"
        for end, place in (("from", 2), ("to", 3))
        for name, value in _PLURALS.items()
    )
    return f"""
WITH {_whole_traces(page)},
traces AS (
  SELECT {columns},
    arrayMap(parent -> toUInt32(indexOf(ids, parent)), parents) AS up,
    arrayMap(i -> if(kinds[i] IN {_ENTRY} OR services[up[i]] != services[i], i, up[i]),
             arrayEnumerate(ids)) AS step,
    arrayFold((so_far, round) -> (
                arrayMap(i -> so_far.1[i], so_far.1),
                arrayMap((seen, i) -> greatest(seen, so_far.2[i]), so_far.2, so_far.1)),
              range({DOUBLINGS:d}), (step, seqs)) AS walked,
    walked.1 AS reach,
    arrayConcat(
      arrayMap(i -> ('call', up[i], i, seqs[i]),
        arrayFilter(i -> kinds[i] = 'server' AND up[i] != 0 AND kinds[up[i]] != 'producer'
                         AND (kinds[up[i]] = 'client' OR services[up[i]] != services[i]),
                    arrayEnumerate(ids))),
      arrayMap(i -> ('invocation', reach[up[i]], i, walked.2[up[i]]),
        arrayFilter(i -> kinds[i] IN {_OUTGOING} AND up[i] != 0 AND services[up[i]] = services[i]
                         AND kinds[reach[up[i]]] IN {_ENTRY},
                    arrayEnumerate(ids)))
    ) AS found,
    if(count() > {MAX_ARRAY:d}, arrayMap(i -> ('long', i, i, toUInt64(0)), [toUInt32(0)]), found)
      AS links
  FROM spans GROUP BY trace_id
)
SELECT {_RELATION}, {_EVIDENCE} FROM (
  SELECT link.1 AS relation, {ends},
    argMin((seqs[link.2], batches[link.2], seqs[link.3], batches[link.3],
            link.4, batches[indexOf(seqs, link.4)]),
           (greatest(seqs[link.2], seqs[link.3], link.4), seqs[link.2], seqs[link.3], link.4)
    ) AS evidence
  FROM traces ARRAY JOIN links AS link
  GROUP BY {_RELATION}
)
ORDER BY {_RELATION}"""


def long_relations(page: Page) -> str:
    """The same, for traces of more than ``MAX_ARRAY`` spans: slower, and as long as they like."""
    moment = "greatest(start.seq, finish.seq, way.seq), start.seq, finish.seq, way.seq"
    return f"""
WITH RECURSIVE {_whole_traces(page)},
long AS (
  SELECT * FROM (SELECT *, count() OVER (PARTITION BY trace_id) AS size FROM spans)
  WHERE size > {MAX_ARRAY:d}
),
way AS (
  -- Of outgoing spans that agree, below the same parent, the first stands for all.
  SELECT trace_id, span_id AS finish, service, parent_span_id AS at, seq, batch, 1 AS depth
  FROM long WHERE kind IN {_OUTGOING} AND parent_span_id != ''
  ORDER BY seq, span_id LIMIT 1 BY trace_id, parent_span_id, service, subject, class, kind
  UNION ALL
  SELECT way.trace_id, way.finish, way.service, above.parent_span_id, greatest(way.seq, above.seq),
         if(above.seq > way.seq, above.batch, way.batch), way.depth + 1
  FROM way INNER JOIN long AS above ON above.trace_id = way.trace_id AND above.span_id = way.at
  WHERE above.service = way.service AND above.kind NOT IN {_ENTRY}
    AND above.parent_span_id != '' AND way.depth < {LONG_DEPTH:d}
),
links AS (
  SELECT 'invocation' AS relation, trace_id, at AS start, finish, seq, batch FROM way
  UNION ALL
  SELECT 'call', trace_id, parent_span_id, span_id, seq, batch FROM long
  WHERE kind = 'server' AND parent_span_id != ''
)
SELECT {_RELATION}, {_EVIDENCE} FROM (
  SELECT way.relation AS relation,
    {", ".join(f"start.{name} AS from_{name}" for name in _SIDE)},
    {", ".join(f"finish.{name} AS to_{name}" for name in _SIDE)},
    argMin((start.seq, start.batch, finish.seq, finish.batch, way.seq, way.batch), ({moment}))
      AS evidence
  FROM links AS way
  INNER JOIN long AS start ON start.trace_id = way.trace_id AND start.span_id = way.start
  INNER JOIN long AS finish ON finish.trace_id = way.trace_id AND finish.span_id = way.finish
  WHERE (way.relation = 'invocation' AND start.service = finish.service AND start.kind IN {_ENTRY})
     OR (way.relation = 'call' AND start.kind != 'producer'
         AND (start.kind = 'client' OR start.service != finish.service))
  GROUP BY {_RELATION}
)
ORDER BY {_RELATION}"""


def _whole_traces(page: Page) -> str:
    """The relation ``spans``: every span that has arrived of the traces that the page touches."""
    return f"""
spans AS (
  SELECT trace_id, span_id, parent_span_id, service, subject, class, kind, seq, batch FROM events
  WHERE {of(page.project, SOURCE)} AND seq <= {page.until:d} AND trace_id != '' AND span_id != ''
    AND trace_id IN (SELECT trace_id FROM events WHERE {within(page, SOURCE)})
  ORDER BY seq DESC, span_id LIMIT {page.facts + MAX_TRACE_SPANS:d} BY trace_id
)"""


def of(project: str, source: str) -> str:
    """The condition for every fact of one source."""
    return f"project = {text(project)} AND source = {text(source)}"


def within(page: Page, source: str) -> str:
    """The condition for the facts of one source in this page."""
    return f"{of(page.project, source)} AND seq > {page.after:d} AND seq <= {page.until:d}"


def first_of(*keys: str, limit: int = MAX_NAME) -> str:
    """The first of these attributes that has a value, cut to ``limit`` characters."""
    options = ", ".join(f"nullIf(attributes[{text(key)}], '')" for key in keys)
    return f"leftUTF8(coalesce({options}, ''), {limit:d})"


def _workload() -> str:
    """Kind and name of the workload that a span's service ran as. Where there is none, one look at
    the keys tells, at a tenth of what looking for each takes."""
    kinds = ", ".join(
        f"attributes['{name_key(kind)}'] != '', concat('{kind}/', {first_of(name_key(kind))})"
        for kind in KINDS
    )
    return f"if(mapContainsKeyLike(attributes, 'k8s.%'), multiIf({kinds}, ''), '')"


def _or_of_summary(word: int, value: str) -> str:
    """What a column says, else this word of a ``db.query.summary`` of one verb and one target."""
    summary = "splitByWhitespace(attributes['db.query.summary'])"
    return (
        f"multiIf({value} != '', {value}, database = '', '',"
        f" length({summary}) = 2, {summary}[{word:d}], '')"
    )


def _of_data(*keys: str, limit: int = MAX_NAME) -> str:
    """The same, for operations on databases and destinations only."""
    return f"if(database != '' OR destination != '', {first_of(*keys, limit=limit)}, '')"
