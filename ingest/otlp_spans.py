"""OTLP spans: messages to events, purely.

Invariant: `decode` is a function of the payload alone and yields every span of it that can be read;
no value in a payload, however large, malformed or far in the future, makes an event that the
warehouse can't hold.
Specification: https://opentelemetry.io/docs/specs/otel/trace/api/#span,
https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from ingest.attributes import MAX_ATTRIBUTES, MAX_NAME, first, text
from ingest.events import LATEST_TIME, SPAN_SOURCE, Event
from ingest.otlp import TRACES, read
from ingest.otlp_packed import packed
from ingest.otlp_values import (
    ENVIRONMENT_KEYS,
    SESSION_KEYS,
    attributes_of,
    content_id,
    identifier,
    origin_of,
    remembering,
)

LINKS = "span.links"
MAX_LINKS = 64
"""Links that are kept of one span."""

# Indexed by the wire's enumerations.
_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)


def decode(
    payload: bytes, encoding: str, *, project: str, seq: int = 0, batch: str = ""
) -> tuple[Event, ...]:
    """Every span of a payload as an event of the project, in the order they were sent.

    Raises as :func:`ingest.otlp.read` does.
    """
    request = packed(read(payload, encoding, TRACES).request.SerializeToString(), TRACES)
    return tuple(events_of(request, project=project, seq=seq, batch=batch))


def events_of(request: Any, *, project: str, seq: int = 0, batch: str = "") -> Iterator[Event]:
    """As :func:`decode`, of a request with packed attributes and one at a time: the attributes of a
    resource are repeated in every event of it, so that a small request may make large events."""
    kept = remembering(None)
    for resource_spans in request.resource_spans:
        origin = origin_of(resource_spans.resource)
        service, release, shared = origin.service, origin.release, dict(origin.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                # Written out as far as it is the same for every span: calls would be half of it.
                packed_attributes = span.attributes
                attributes = shared.copy()
                if len(packed_attributes) <= MAX_ATTRIBUTES:
                    attributes.update(map(kept, packed_attributes))
                    attributes.pop("", None)
                else:
                    attributes.update(attributes_of(packed_attributes))
                if span.links:
                    attributes |= _linked(span.links)
                trace, own, parent = span.trace_id, span.span_id, span.parent_span_id
                trace_id = trace.hex() if len(trace) == 16 and trace != _NO_TRACE else ""
                span_id = own.hex() if len(own) == 8 and own != _NO_SPAN else ""
                start, end = span.start_time_unix_nano, span.end_time_unix_nano
                kind, status = span.kind, span.status.code
                yield Event(
                    project,
                    SPAN_SOURCE,
                    f"{trace_id}-{span_id}" if trace_id and span_id else content_id(span, shared),
                    # A missing start is taken from the end: the payload alone decides, so that a
                    # retried batch gets the same rows.
                    min(start or end, LATEST_TIME),
                    max(0, end - start) if start else 0,
                    text(span.name, MAX_NAME),
                    _KINDS[kind] if 0 <= kind < len(_KINDS) else _KINDS[0],
                    _STATUSES[status] if 0 <= status < len(_STATUSES) else _STATUSES[0],
                    service,
                    release,
                    first(attributes, ENVIRONMENT_KEYS),
                    first(attributes, SESSION_KEYS),
                    trace_id,
                    span_id,
                    parent.hex() if len(parent) == 8 and parent != _NO_SPAN else "",
                    attributes,
                    seq,
                    batch,
                )


def _linked(links: Iterable[Any]) -> dict[str, str]:
    """The spans that links lead to, each once as ``trace_id-span_id``."""
    ids = ((identifier(link.trace_id, 16), identifier(link.span_id, 8)) for link in links)
    linked = dict.fromkeys(f"{trace}-{span}" for trace, span in ids if trace and span)
    return {LINKS: " ".join(islice(linked, MAX_LINKS))} if linked else {}
