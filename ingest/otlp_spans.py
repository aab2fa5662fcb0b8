"""OTLP spans: messages to events, purely.

Invariant: `decode` is a function of the payload alone and yields every span of it that can be read;
no value in a payload, however large, malformed or far in the future, makes an event that the
warehouse can't hold.
Specification: https://opentelemetry.io/docs/specs/otel/trace/api/#span,
https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from ingest.attributes import MAX_NAME, first, text
from ingest.events import LATEST_TIME, SPAN_SOURCE, Event
from ingest.otlp import TRACES, read
from ingest.otlp_packed import packed
from ingest.otlp_values import (
    ENVIRONMENT_KEYS,
    SESSION_KEYS,
    attributes_of,
    content_id,
    identifier,
    named,
    origin_of,
)

LINKS = "span.links"
MAX_LINKS = 64
"""Links that are kept of one span."""

# Indexed by the wire's enumerations.
_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")


def decode(
    payload: bytes, encoding: str, *, project: str, seq: int = 0, batch: str = ""
) -> tuple[Event, ...]:
    """Every span of a payload as an event of the project, in the order they were sent.

    Raises as :func:`ingest.otlp.read` does.
    """
    request = packed(read(payload, encoding, TRACES), payload, encoding)
    return tuple(events_of(request, project=project, seq=seq, batch=batch))


def events_of(request: Any, *, project: str, seq: int = 0, batch: str = "") -> Iterator[Event]:
    """As :func:`decode`, of a request with packed attributes and one at a time: the attributes of a
    resource are repeated in every event of it, so that a small request may make large events."""
    for resource_spans in request.resource_spans:
        origin = origin_of(resource_spans.resource)
        shared = dict(origin.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                attributes = shared | attributes_of(span.attributes)
                linked = _linked(span.links)
                if linked:
                    attributes[LINKS] = linked
                start, duration = _times(span)
                trace_id = identifier(span.trace_id, 16)
                span_id = identifier(span.span_id, 8)
                whole = trace_id and span_id
                # By position: names take twice the time, for every span.
                yield Event(
                    project,
                    SPAN_SOURCE,
                    f"{trace_id}-{span_id}" if whole else content_id(span, shared),
                    start,
                    duration,
                    text(span.name, MAX_NAME),
                    named(_KINDS, span.kind),
                    named(_STATUSES, span.status.code),
                    origin.service,
                    origin.release,
                    first(attributes, ENVIRONMENT_KEYS),
                    first(attributes, SESSION_KEYS),
                    trace_id,
                    span_id,
                    identifier(span.parent_span_id, 8),
                    attributes,
                    seq,
                    batch,
                )


def _linked(links: Sequence[Any]) -> str:
    """The spans that links lead to, each once as ``trace_id-span_id``."""
    if not links:
        return ""
    ids = ((identifier(link.trace_id, 16), identifier(link.span_id, 8)) for link in links)
    linked = dict.fromkeys(f"{trace}-{span}" for trace, span in ids if trace and span)
    return " ".join(islice(linked, MAX_LINKS))


def _times(span: Any) -> tuple[int, int]:
    """Start and duration. A missing start is taken from the end: the payload alone decides, so
    that a retried batch gets the same rows."""
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    return min(start or end, LATEST_TIME), max(0, end - start) if start else 0
