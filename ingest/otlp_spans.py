"""OTLP spans: messages to events, purely.

Invariant: `decode` is a function of the payload alone and yields every span of it that can be read;
no value in a payload, however large, malformed or far in the future, makes an event that the
warehouse can't hold.
Specification: https://opentelemetry.io/docs/specs/otel/trace/api/#span,
https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto
"""

from __future__ import annotations

from collections.abc import Iterator

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ingest.attributes import MAX_NAME, first, text
from ingest.events import LATEST_TIME, SPAN_SOURCE, Event
from ingest.otlp import TRACES, read
from ingest.otlp_values import (
    ENVIRONMENT_KEYS,
    SESSION_KEYS,
    attributes_of,
    content_id,
    identifier,
    named,
    origin_of,
)

# Indexed by the wire's enumerations.
_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")


def decode(
    payload: bytes, encoding: str, *, project: str, seq: int = 0, batch: str = ""
) -> tuple[Event, ...]:
    """Every span of a payload as an event of the project, in the order they were sent.

    Raises as :func:`ingest.otlp.read` does.
    """
    request = read(payload, encoding, TRACES).request
    return tuple(events_of(request, project=project, seq=seq, batch=batch))


def events_of(
    request: ExportTraceServiceRequest, *, project: str, seq: int = 0, batch: str = ""
) -> Iterator[Event]:
    """As :func:`decode`, one at a time: the attributes of a resource are repeated in every event
    of it, so that a small request may make large events."""
    for resource_spans in request.resource_spans:
        origin = origin_of(resource_spans.resource)
        shared = dict(origin.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                attributes = shared | attributes_of(span.attributes)
                start, duration = _times(span)
                trace_id = identifier(span.trace_id, 16)
                span_id = identifier(span.span_id, 8)
                yield Event(
                    project=project,
                    source=SPAN_SOURCE,
                    event_id=(
                        f"{trace_id}-{span_id}"
                        if trace_id and span_id
                        else content_id(span, shared)
                    ),
                    time=start,
                    duration_ns=duration,
                    name=text(span.name, MAX_NAME),
                    kind=named(_KINDS, span.kind),
                    status=named(_STATUSES, span.status.code),
                    service=origin.service,
                    release=origin.release,
                    environment=first(attributes, ENVIRONMENT_KEYS),
                    session=first(attributes, SESSION_KEYS),
                    trace_id=trace_id,
                    span_id=span_id,
                    parent_span_id=identifier(span.parent_span_id, 8),
                    attributes=attributes,
                    seq=seq,
                    batch=batch,
                )


def _times(span: Span) -> tuple[int, int]:
    """Start and duration. A missing start is taken from the end: the payload alone decides, so
    that a retried batch gets the same rows."""
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    return min(start or end, LATEST_TIME), max(0, end - start) if start else 0
