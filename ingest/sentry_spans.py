"""Transactions and spans of Sentry's clients, as the spans that OpenTelemetry knows.

Invariant: a span is a span, whoever recorded it. Source, id, kinds, statuses and attributes are
those of OpenTelemetry's spans, so the same rules classify it and the same questions join it, a
trace that clients of both kinds took part in is one trace, and what was reported both ways is one
fact. A transaction is the span that its service's part of a trace begins with. What is kept of a
span is named here; statements are kept without the texts in them.

A span belongs to the service that its transaction names, else to the package of the release
(``package@version``), else to one that is called like the project: to an error tracker, a project
is one program.
Source: https://develop.sentry.dev/sdk/telemetry/traces/span-operations/,
https://opentelemetry.io/docs/specs/semconv/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ingest.attributes import MAX_NAME, MAX_VALUE, identifier, text
from ingest.events import SPAN_SOURCE, Event, Skipped
from ingest.names import summary, without_values
from ingest.personal import redacted
from ingest.posthog_request import object_of, text_of
from ingest.sentry_event import (
    Sent,
    digest_of,
    event_of,
    instant_of,
    outcome_of,
    tags_of,
)
from ingest.sentry_issue import few_names

# Ten times what Sentry itself takes of one transaction.
MAX_SPANS: Final = 10_000
WITHOUT_IDS: Final = "span-without-ids"
OVER_LIMIT: Final = "span-over-limit"

_ROUTE = re.compile(r"(?:([A-Z]+) )?(/.*)", re.DOTALL)
_KINDS = {"http.server": "server", "grpc.server": "server", "rpc.server": "server"}
_CLIENTS = ("http.client", "grpc.client", "rpc.client", "db", "cache")
_SENT, _RECEIVED = ("queue.publish", "queue.submit"), ("queue.process", "queue.task")
_OTEL_KINDS = frozenset({"server", "client", "producer", "consumer", "internal"})
# Operations whose descriptions are the program's own names for what it does.
_FUNCTIONS = ("function", "task", "queue", "job", "cron")
_DESTINATIONS = ("messaging.destination.name", "messaging.destination")

# What clients say of a span by OpenTelemetry's names, older spellings too.
_KEPT: Final = (
    *("http.request.method", "http.method", "http.route", "url.template"),
    *("http.response.status_code", "http.status_code", "url.full", "http.url"),
    *("server.address", "server.port", "net.peer.name", "net.peer.port"),
    *("network.peer.address", "network.peer.port"),
    *("db.system.name", "db.system", "db.namespace", "db.name", "db.operation.name"),
    *("db.operation", "db.collection.name", "db.sql.table", "db.mongodb.collection"),
    *("db.cassandra.table", "db.query.summary"),
    *("messaging.system", "messaging.operation.type", "messaging.operation.name"),
    *("messaging.operation", "messaging.destination.template", *_DESTINATIONS),
    *("messaging.destination.temporary", "messaging.destination.anonymous"),
    *("rpc.system.name", "rpc.system", "rpc.service", "rpc.method"),
    *("service.peer.name", "peer.service", "session.id", "sessionId"),
)
_STATEMENTS = ("db.query.text", "db.statement")


def transaction(said: Mapping[str, Any], sent: Sent) -> Iterator[Event | Skipped]:
    """The span that a transaction is, then those within it, in the order sent."""
    trace = object_of(object_of(said.get("contexts")).get("trace"))
    values = object_of(trace.get("data"))
    more = {**called(said), "feature": tags_of(said.get("tags")).get("feature", "")}
    root = _span(
        said, trace, values, sent, content=said, name=text_of(said, "transaction"), more=more
    )
    yield root
    # Everything around is the transaction's; its tags are said once.
    around = {name: said.get(name) for name in ("release", "environment", "sdk", "platform")}
    spans = said.get("spans")
    for number, span in enumerate(spans if isinstance(spans, list) else ()):
        if not isinstance(span, dict):
            yield Skipped("not-an-object")
        elif number >= MAX_SPANS:
            yield Skipped(OVER_LIMIT)
        elif not (identifier(span.get("trace_id"), 32) and identifier(span.get("span_id"), 16)):
            yield Skipped(WITHOUT_IDS)
        else:
            part = around | {name: span.get(name) for name in ("start_timestamp", "timestamp")}
            part["contexts"] = {"trace": span}
            name = text_of(span, "description")
            values = object_of(span.get("data"))
            found = _span(part, span, values, sent, content=span, name=name)
            yield found._replace(service=root.service, session=found.session or root.session)


def streamed(
    span: Mapping[str, Any], values: Mapping[str, Any], around: Mapping[str, Any], sent: Sent
) -> Event | Skipped:
    """A span of the newest clients, which send each by itself and no transactions.

    ``values`` are its attributes, ``around`` is what an event of its own would say.
    """
    is_segment = span.get("is_segment") is True
    if not is_segment and not (
        identifier(span.get("trace_id"), 32) and identifier(span.get("span_id"), 16)
    ):
        return Skipped(WITHOUT_IDS)
    trace = {
        **{name: span.get(name) for name in ("trace_id", "span_id", "parent_span_id", "status")},
        "op": text_of(values, "sentry.op"),
    }
    said = {
        **around,
        "contexts": {"trace": trace},
        "timestamp": span.get("end_timestamp"),
        "start_timestamp": span.get("start_timestamp"),
    }
    name = text_of(span, "name")
    more = {}
    if is_segment:
        source = text_of(values, "sentry.segment.name.source", "sentry.source")
        more = called({**said, "transaction": name, "transaction_info": {"source": source}})
    return _span(
        said,
        trace,
        values,
        sent,
        content=span,
        name=name,
        more=more if is_segment else None,
    )


def called(said: Mapping[str, Any]) -> dict[str, str]:
    """What a transaction is called, and the route or the function that it was served by, named as
    OpenTelemetry does; empty where it is neither."""
    contexts = object_of(said.get("contexts"))
    name = text_of(said, "transaction")
    source = text_of(object_of(said.get("transaction_info")), "source")
    found = {"transaction": few_names(name), "transaction.source": source}
    if text_of(object_of(contexts.get("trace")), "op") == "http.server":
        route = _ROUTE.fullmatch(name) if source == "route" else None
        method = text_of(object_of(said.get("request")), "method")
        if route:
            found |= {"http.route": redacted(route[2])}
            method = method or route[1] or ""
        elif source == "component":
            found |= {"code.function.name": few_names(name)}
        found |= {"http.request.method": method}
    response = object_of(contexts.get("response"))
    return found | {"http.response.status_code": text_of(response, "status_code")}


def _span(
    said: Mapping[str, Any],
    trace: Mapping[str, Any],
    values: Mapping[str, Any],
    sent: Sent,
    *,
    content: Mapping[str, Any],
    name: str,
    more: Mapping[str, str] | None = None,
) -> Event:
    """The event of a span: ``said`` is around it, ``trace`` has its ids, operation and status,
    ``values`` what else is known of it; ``content`` tells spans without ids apart, and ``more`` is
    said only of the first of a service."""
    operation, status = text_of(trace, "op"), text_of(trace, "status")
    # What is remembered of statements is no longer than this.
    name = name[:MAX_VALUE]
    pairs = {"op": operation, "status": status}
    pairs |= _attributes(operation, name, values)
    pairs |= {key: value for key, value in (more or {}).items() if value}
    ended, started = instant_of(said.get("timestamp")), instant_of(said.get("start_timestamp"))
    event = event_of(
        said,
        sent,
        source=SPAN_SOURCE,
        kind=_kind(operation, pairs, values),
        event_id="",
        name=text(redacted(_name(operation, name, pairs, is_root=more is not None)), MAX_NAME),
        status=outcome_of(status) or "unset",
        pairs=pairs,
        happened=started or ended,
        duration=max(0, ended - started) if ended and started else 0,
        session=text_of(values, "session.id", "sessionId"),
    )
    has_ids = event.trace_id and event.span_id
    return event._replace(
        event_id=f"{event.trace_id}-{event.span_id}" if has_ids else digest_of(content),
        service=event.service or event.attributes.get("release.package", "") or sent.batch.project,
    )


def _attributes(operation: str, name: str, values: Mapping[str, Any]) -> dict[str, str]:
    found = {key: text_of(values, key) for key in _KEPT}
    found["url.full"] = found["url.full"] or text_of(values, "url")
    found["feature"] = text_of(values, "feature")
    statement = text_of(values, *_STATEMENTS)[:MAX_VALUE]
    if not statement and _begins(operation, ("db",)) and summary(name)[0]:
        statement = name
    found["db.query.text"] = without_values(statement)
    if statement and not (found["db.system.name"] or found["db.system"]):
        found["db.system.name"] = "other_sql"
    if _begins(operation, ("http.client",)):
        # Some clients say both only in words, as "GET https://shop.example/orders".
        method, _, url = name.partition(" ")
        found["http.request.method"] = (
            found["http.request.method"] or found["http.method"] or method
        )
        found["url.full"] = found["url.full"] or found["http.url"] or url
    if _begins(operation, ("grpc",)):
        found["rpc.system.name"] = found["rpc.system.name"] or "grpc"
        method = found["rpc.method"] or text_of(values, "method") or name
        found["rpc.method"] = method.removeprefix("/")
    return {key: value for key, value in found.items() if value}


def _kind(operation: str, pairs: Mapping[str, str], values: Mapping[str, Any]) -> str:
    """The kind that OpenTelemetry would give the span."""
    if operation in _KINDS:
        return _KINDS[operation]
    if _begins(operation, _CLIENTS):
        return "client"
    for kind, operations in (("producer", _SENT), ("consumer", _RECEIVED)):
        if _begins(operation, operations):
            # Without a destination it is work of the service, under a name of its own.
            is_message = any(pairs.get(key) for key in _DESTINATIONS)
            return kind if is_message else "internal"
    said = text_of(values, "otel.kind").lower()
    return said if said in _OTEL_KINDS else "internal"


def _name(operation: str, said: str, pairs: Mapping[str, str], *, is_root: bool) -> str:
    """What the span is called, in few names: of a statement verb and table, of what a framework
    or a browser does the operation alone, for there the words are paths, files and elements."""
    statement = pairs.get("db.query.text", "")
    if statement:
        return " ".join(filter(None, summary(statement))) or operation
    if _begins(operation, ("http.client",)):
        return few_names(pairs.get("http.request.method", "")) or operation
    if is_root or not operation or _begins(operation, (*_FUNCTIONS, "grpc")):
        return few_names(said) or operation
    return operation


def _begins(operation: str, names: tuple[str, ...]) -> bool:
    """Whether an operation is one of these or of their kinds: ``db`` and ``db.redis`` are."""
    return any(operation == name or operation.startswith(f"{name}.") for name in names)
