"""The questions that join product events, errors and spans, as SQL, and their rows.

Invariant: each answer grows with the distinct things that meet, not with traffic, and what two
pages show together is what they show apart, in any order: a join is asked of the whole of the
traces and sessions that the page touches, whichever source the page's part of them is of, as far as
they have arrived. No rule here asks for what isn't there, so what comes later adds to an answer and
never contradicts it. One thing may stay unsaid: a span that names a feature, in a trace that holds
neither a product event nor an error, and whose entry comes with a later page, for to look for such
spans in every trace would double the work of every sweep. The next trace like it says it.

By trace: what carries the id of a span is joined with that span. From it the way leads up within
the service to the entry, as for calls (:func:`stewards.fact_queries.relations`); an error is also
joined with the span itself and with the nearest operation on that way. A product event that carries
a trace id alone is joined with every entry of the trace.

By session, where there is no trace id: a product event is joined with the entries of its session
that were at work at its time or began within ``SESSION_SECONDS`` after it, for a browser tells of a
click and then sends the request; an error only with those that were at work in its own service. A
session uses many features and meets many errors, so it never joins an error with a feature.
Source: https://clickhouse.com/docs/sql-reference/statements/select/with#recursive-queries
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingest.events import ERROR_SOURCE, PRODUCT_SOURCE, SPAN_SOURCE
from ontology.vocab import Fo
from stewards import error_queries, product_queries
from stewards.fact_queries import LONG_DEPTH, MAX_TRACE_SPANS, Page, first_of, of, text, within
from stewards.fact_rows import Ask, rows

SESSION_SECONDS = 2
# A longer span, such as a stream, says little of what happened in the meantime.
MAX_SPAN_SECONDS = 60
# Of each source, the distinct things said in one trace or session; more of them are a fault.
MAX_SAID = 100

_SECOND = 10**9
_ENTRY = "('server', 'consumer')"
_SAID = "source, subject, class, name, culprit, exception, feature, place"
_END = "service, operation, operation_class, kind, release"
_IS_SAID = (
    f"((source = {text(PRODUCT_SOURCE)} AND subject != '')"
    f" OR (source = {text(ERROR_SOURCE)} AND {error_queries.IS_ISSUE}))"
)
# A page that a browser tells of by a span stands for all that its trace enters.
_IS_PAGE = f"(source = {text(SPAN_SOURCE)} AND class = {text(Fo.Page)})"
_IS_NAMED = f"({_IS_PAGE} OR (source = {text(SPAN_SOURCE)} AND mapContains(attributes, 'feature')))"
_IS_SAID_OR_NAMED = f"({_IS_SAID} OR {_IS_NAMED})"
# What has a trace is joined by its trace alone.
_UNTRACED = f"{_IS_SAID} AND trace_id = ''"
_EVIDENCE = "said_seq, said_batch, span_seq, span_batch, via_seq, via_batch"


@dataclass(frozen=True)
class JoinRow:
    """What was said (by a product event, an error, or a span that names a feature), and where.

    ``subject`` is empty for a span, unless it is about a page; ``operation`` where only the service
    is known. The batches are those of what was said, of the operation's span, and the newest of the
    way between.
    """

    source: str
    subject: str
    event_class: str
    name: str
    culprit: str
    exception: str
    feature: str
    place: str
    service: str
    operation: str
    operation_class: str
    operation_kind: str
    release: str
    said_seq: int
    said_batch: str
    span_seq: int
    span_batch: str
    via_seq: int
    via_batch: str


@dataclass(frozen=True)
class FeatureRow:
    """An error issue, and a feature that something else in the same trace names."""

    subject: str
    name: str
    culprit: str
    exception: str
    feature: str
    error_seq: int
    error_batch: str
    said_seq: int
    said_batch: str


@dataclass(frozen=True)
class Joined:
    """The answers for one page."""

    places: Sequence[JoinRow] = ()
    features: Sequence[FeatureRow] = ()


def read(page: Page, ask: Ask) -> Joined:
    """Ask every question about this page. Raises :class:`stewards.errors.UnexpectedAnswer`."""
    # Most traces and sessions say nothing: what is dear is asked only where something was said.
    others, features = map(int, ask(spoken(page))[0])
    in_traces, in_sessions = map(int, ask(said(page))[0]) if others else (0, 0)
    traced = bool(in_traces or features)
    return Joined(
        (
            *(rows(JoinRow, ask(traces(page))) if traced else ()),
            *(rows(JoinRow, ask(sessions(page))) if in_sessions else ()),
        ),
        rows(FeatureRow, ask(features_of_errors(page))) if traced else (),
    )


def spoken(page: Page) -> str:
    """Columns: others, features. How many product events and errors the project has at all, and how
    many spans of the page name a feature or are about a page."""
    return (
        f"SELECT (SELECT count() FROM events WHERE project = {text(page.project)}"
        f" AND source IN ({text(PRODUCT_SOURCE)}, {text(ERROR_SOURCE)})"
        f" AND seq <= {page.until:d}) AS others,"
        f" (SELECT count() FROM events WHERE {within(page, SPAN_SOURCE)}"
        f" AND {_IS_NAMED}) AS features"
    )


def said(page: Page) -> str:
    """Columns: in_traces, in_sessions. In how many traces and sessions that the page touches a
    product event or an error is."""
    traced, session = _where(page, "trace_id", _IS_SAID), _where(page, "session", _UNTRACED)
    return (
        f"SELECT (SELECT uniq(trace_id) FROM events WHERE {traced}) AS in_traces,"
        f" (SELECT uniq(session) FROM events WHERE {session}) AS in_sessions"
    )


def traces(page: Page) -> str:
    """Columns of :class:`JoinRow`."""
    return f"""
WITH RECURSIVE {_said_in_traces(page)},
keys AS (
  SELECT trace_id, span_id FROM events WHERE {_where(page, "trace_id", _IS_SAID_OR_NAMED)}
),
spans AS (
  SELECT trace_id, span_id, parent_span_id, service, subject AS operation,
         class AS operation_class, kind, release, seq AS span_seq, batch AS span_batch
  FROM events
  WHERE {of(page.project, SPAN_SOURCE)} AND seq <= {page.until:d} AND span_id != ''
    AND trace_id IN (SELECT trace_id FROM keys)
  ORDER BY seq DESC, span_id LIMIT {page.facts + MAX_TRACE_SPANS:d} BY trace_id
),
way AS (
  SELECT trace_id, span_id AS start, parent_span_id AS up, {_END}, span_seq, span_batch,
         span_seq AS via_seq, span_batch AS via_batch, 1 AS depth
  FROM spans WHERE (trace_id, span_id) IN (SELECT trace_id, span_id FROM keys)
  UNION ALL
  SELECT way.trace_id, way.start, above.parent_span_id, above.service, above.operation,
         above.operation_class, above.kind, above.release, above.span_seq, above.span_batch,
         greatest(way.via_seq, above.span_seq),
         if(above.span_seq > way.via_seq, above.span_batch, way.via_batch), way.depth + 1
  FROM way INNER JOIN spans AS above ON above.trace_id = way.trace_id AND above.span_id = way.up
  WHERE way.kind NOT IN {_ENTRY} AND above.service = way.service AND way.depth < {LONG_DEPTH:d}
),
ends AS (
  SELECT *, depth = min(if(operation = '', {LONG_DEPTH + 1:d}, depth))
              OVER (PARTITION BY trace_id, start) AS nearest
  FROM way
  UNION ALL
  SELECT trace_id, '' AS start, parent_span_id, {_END}, span_seq, span_batch,
         span_seq, span_batch, 1, 0
  FROM spans WHERE kind IN {_ENTRY}
)
{
        _joined(
            "said INNER JOIN ends ON ends.trace_id = said.trace_id AND ends.start = said.span_id"
            f" WHERE if(source = {text(ERROR_SOURCE)},"
            f" span_id != '' AND (depth = 1 OR nearest OR kind IN {_ENTRY}),"
            f" kind IN {_ENTRY} AND operation != '')"
        )
    }"""


def features_of_errors(page: Page) -> str:
    """Columns of :class:`FeatureRow`."""
    names = "subject, name, culprit, exception, feature"
    errors = (
        "SELECT trace_id, subject, name, culprit, exception, said_seq AS error_seq,"
        f" said_batch AS error_batch FROM said WHERE source = {text(ERROR_SOURCE)}"
    )
    others = (
        "SELECT trace_id, feature, said_seq, said_batch FROM said"
        f" WHERE source != {text(ERROR_SOURCE)} AND feature != ''"
    )
    return f"""
WITH {_said_in_traces(page)}
SELECT {names}, evidence.1 AS error_seq, evidence.2 AS error_batch,
       evidence.3 AS said_seq, evidence.4 AS said_batch
FROM (
  SELECT {names}, argMin((error_seq, error_batch, said_seq, said_batch),
                         (greatest(error_seq, said_seq), error_seq, said_seq)) AS evidence
  FROM ({errors}) AS errors INNER JOIN ({others}) AS others USING (trace_id)
  GROUP BY {names}
)
ORDER BY {names}"""


def sessions(page: Page) -> str:
    """Columns of :class:`JoinRow`. The two sides meet in steps of ``SESSION_SECONDS``, so that a
    long session isn't multiplied by itself."""
    step = SESSION_SECONDS * _SECOND
    return f"""
WITH {_said_in_sessions(page)},
spans AS (
  SELECT session, service, subject AS operation, class AS operation_class, kind, release,
         seq AS span_seq, batch AS span_batch, seq AS via_seq, batch AS via_batch,
         toUnixTimestamp64Nano(time) AS began,
         began + least(toInt64(duration_ns), {MAX_SPAN_SECONDS * _SECOND:d}) AS ended,
         arrayJoin(range(toUInt64(intDiv(greatest(began - {step:d}, 0), {step:d})),
                         toUInt64(intDiv(ended, {step:d})) + 1)) AS bucket
  FROM events
  WHERE {of(page.project, SPAN_SOURCE)} AND seq <= {page.until:d}
    AND kind IN {_ENTRY} AND subject != '' AND session IN (
      SELECT session FROM events WHERE {_where(page, "session", _UNTRACED)})
)
{
        _joined(
            "said INNER JOIN spans"
            f" ON spans.session = said.session AND spans.bucket = toUInt64(intDiv(at, {step:d}))"
            f" WHERE at <= ended AND if(source = {text(ERROR_SOURCE)},"
            f" began <= at AND spans.service = said.program, began <= at + {step:d})"
        )
    }"""


def _joined(where: str) -> str:
    """What was said, with the ends that it is joined with, and the evidence complete first."""
    moment = "greatest(said_seq, span_seq, via_seq), said_seq, span_seq, via_seq"
    places = ", ".join(
        f"evidence.{place} AS {name}" for place, name in enumerate(_EVIDENCE.split(", "), 1)
    )
    return f"""
SELECT {_SAID}, {_END}, {places} FROM (
  SELECT {_SAID}, {_END}, argMin(({_EVIDENCE}), ({moment})) AS evidence
  FROM {where}
  GROUP BY {_SAID}, {_END}
)
ORDER BY {_SAID}, {_END}"""


def _said_in_traces(page: Page) -> str:
    """The relation ``said`` of the traces that the page touches."""
    own = {"trace_id": "trace_id", "span_id": f"if({_IS_PAGE}, '', span_id)"}
    return _said(page, "trace_id", own, _IS_SAID_OR_NAMED)


def _said_in_sessions(page: Page) -> str:
    """The relation ``said`` of the sessions that the page touches."""
    own = {
        "session": "session",
        "at": "toUnixTimestamp64Nano(time)",
        "program": error_queries.SERVICE,
    }
    return _said(page, "session", own, _UNTRACED)


def _where(page: Page, key: str, condition: str) -> str:
    """The condition for what is said in the traces or sessions that the page touches."""
    sources = ", ".join(map(text, (PRODUCT_SOURCE, ERROR_SOURCE, SPAN_SOURCE)))
    of_project = f"project = {text(page.project)} AND source IN ({sources})"
    return f"""{of_project} AND seq <= {page.until:d} AND {condition}
      AND {key} != '' AND {key} IN (
        SELECT {key} FROM events
        WHERE {of_project} AND seq > {page.after:d} AND seq <= {page.until:d})"""


def _said(page: Page, key: str, own: Mapping[str, str], condition: str) -> str:
    """The distinct things said, with the first batch of each; ``key`` is the column that joins."""
    columns = {
        **own,
        "source": "source",
        "subject": f"if({_IS_PAGE} OR source != {text(SPAN_SOURCE)}, subject, '')",
        "class": f"if({_IS_PAGE} OR source != {text(SPAN_SOURCE)}, class, '')",
        "name": _of(ERROR_SOURCE, value="name"),
        "culprit": _of(ERROR_SOURCE, value=error_queries.CULPRIT),
        "exception": _of(ERROR_SOURCE, value=error_queries.EXCEPTION),
        "feature": f"multiIf(source = {text(PRODUCT_SOURCE)}, {product_queries.FEATURE},"
        f" source = {text(ERROR_SOURCE)}, {error_queries.FEATURE}, {first_of('feature')})",
        "place": _of(PRODUCT_SOURCE, value=product_queries.PLACE),
    }
    # Under names of their own, or the conditions would speak of what is selected.
    inner = ",\n      ".join(f"{value} AS said_{name}" for name, value in columns.items())
    names = ", ".join(columns)
    return f"""
said AS (
  SELECT {", ".join(f"said_{name} AS {name}" for name in columns)},
         min(seq) AS said_seq, argMin(batch, seq) AS said_batch
  FROM (
    SELECT {inner}, seq, batch
    FROM events
    WHERE {_where(page, key, condition)}
  )
  GROUP BY {names}
  ORDER BY said_seq, {names} LIMIT {MAX_SAID:d} BY {key}, source
)"""


def _of(*sources: str, value: str) -> str:
    """The value for facts of these sources, empty for others."""
    return f"if(source IN ({', '.join(map(text, sources))}), {value}, '')"
