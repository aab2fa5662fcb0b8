"""OTLP traces: bytes to events, purely.

Invariant: `decode` is a function of the payload alone and either yields every span of it or raises
`PayloadUndecodable`; no value in a payload, however large, malformed or far in the future, makes an
event that the warehouse can't hold.
Specification: https://opentelemetry.io/docs/specs/otlp/ (protobuf and JSON encodings),
https://opentelemetry.io/docs/specs/semconv/ (attribute names, old and new spellings)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ingest.attributes import MAX_NAME, bounded, first, text
from ingest.errors import BodyTooLarge, ContentTypeUnsupported, PayloadUndecodable
from ingest.events import LATEST_TIME, SPAN_SOURCE, UNKNOWN_SERVICE, Event

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

MAX_SPANS = 100_000
# Characters of all resource attributes together: each span repeats them.
MAX_SHARED = 16_384

_ENVIRONMENT_KEYS = ("deployment.environment.name", "deployment.environment")
_SESSION_KEYS = ("session.id", "sessionId")

# Indexed by the wire's enumerations; a number from a newer protocol reads as the first.
_KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES = ("unset", "ok", "error")

# Parsing may take thirty times the memory of a hostile payload: one large one at a time.
_LARGE = 256 * 1024
_one_large_parse = threading.Lock()


def encoding_of(content_type: str) -> str:
    """The OTLP encoding that a Content-Type header names: :data:`PROTOBUF` or :data:`JSON`.

    Raises :class:`ContentTypeUnsupported` for anything else.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in (PROTOBUF, JSON):
        return media_type
    raise ContentTypeUnsupported(
        f"traces are taken as {PROTOBUF} or {JSON}; set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
    )


def parse(payload: bytes, encoding: str) -> ExportTraceServiceRequest:
    """The request message in a payload.

    Raises :class:`PayloadUndecodable` for bytes that are not one whole message, and
    :class:`BodyTooLarge` for more than :data:`MAX_SPANS` spans.
    """
    if encoding == JSON:
        request = _from_json(payload)
    elif len(payload) > _LARGE:
        with _one_large_parse:
            if _counts_over(payload, MAX_SPANS):
                raise _too_many_spans()
            request = _from_protobuf(payload)
    else:
        request = _from_protobuf(payload)
    if span_count(request) > MAX_SPANS:
        raise _too_many_spans()
    return request


def span_count(request: ExportTraceServiceRequest) -> int:
    """How many spans a request carries."""
    return sum(
        len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans
    )


def empty_answer(encoding: str) -> bytes:
    """The answer to a request that was taken in whole, in the encoding of the request."""
    return b"{}" if encoding == JSON else ExportTraceServiceResponse().SerializeToString()


def refusal(code: int, message: str, encoding: str) -> bytes:
    """A ``google.rpc.Status``, which is what an OTLP client expects in an error's body."""
    if encoding == JSON:
        return json.dumps({"code": code, "message": message}).encode()
    text_bytes = message.encode()
    # Field 1 is the code, a varint below 128; field 2 the message.
    return bytes((0x08, code, 0x12)) + _to_varint(len(text_bytes)) + text_bytes


def decode(
    payload: bytes, encoding: str, *, project: str, seq: int = 0, batch: str = ""
) -> tuple[Event, ...]:
    """Every span of a payload as an event of the project, in the order they were sent.

    Raises as :func:`parse` does.
    """
    return tuple(events_of(parse(payload, encoding), project=project, seq=seq, batch=batch))


def events_of(
    request: ExportTraceServiceRequest, *, project: str, seq: int = 0, batch: str = ""
) -> Iterator[Event]:
    """As :func:`decode`, one at a time: the attributes of a resource are repeated in every event
    of it, so that a small request may make large events."""
    for resource_spans in request.resource_spans:
        shared = attributes_of(resource_spans.resource.attributes, MAX_SHARED)
        service = text(shared.get("service.name") or UNKNOWN_SERVICE, MAX_NAME)
        release = text(shared.get("service.version", ""), MAX_NAME)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                attributes = shared | attributes_of(span.attributes)
                start, duration = _times(span)
                trace_id = _identifier(span.trace_id, 16)
                span_id = _identifier(span.span_id, 8)
                yield Event(
                    project=project,
                    source=SPAN_SOURCE,
                    event_id=(
                        f"{trace_id}-{span_id}"
                        if trace_id and span_id
                        else _content_id(span, shared)
                    ),
                    time=start,
                    duration_ns=duration,
                    name=text(span.name, MAX_NAME),
                    kind=_named(_KINDS, span.kind),
                    status=_named(_STATUSES, span.status.code),
                    service=service,
                    release=release,
                    environment=first(attributes, _ENVIRONMENT_KEYS),
                    session=first(attributes, _SESSION_KEYS),
                    trace_id=trace_id,
                    span_id=span_id,
                    parent_span_id=_identifier(span.parent_span_id, 8),
                    attributes=attributes,
                    seq=seq,
                    batch=batch,
                )


def attributes_of(pairs: Iterable[KeyValue], room: int = 1 << 30) -> dict[str, str]:
    """Attributes as text, as :func:`ingest.attributes.bounded` keeps them."""
    # Most values are short, printable text.
    return bounded(
        ((pair.key, pair.value.string_value or _plain(pair.value)) for pair in pairs), room
    )


def _plain(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    if kind == "int_value":
        return str(value.int_value)
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind == "double_value":
        return repr(value.double_value)
    structure = _structure(value)
    if structure is None:
        return ""
    return structure if isinstance(structure, str) else json.dumps(structure, ensure_ascii=False)


def _structure(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_structure(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _structure(pair.value) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind) if kind else None


def _times(span: Span) -> tuple[int, int]:
    """Start and duration. A missing start is taken from the end: the payload alone decides, so
    that a retried batch gets the same rows."""
    start, end = span.start_time_unix_nano, span.end_time_unix_nano
    return min(start or end, LATEST_TIME), max(0, end - start) if start else 0


def _named(names: tuple[str, ...], number: int) -> str:
    return names[number] if 0 <= number < len(names) else names[0]


def _identifier(raw: bytes, size: int) -> str:
    """Hexadecimal; empty for an id of another size or of zeros, which would join strangers."""
    return raw.hex() if len(raw) == size and any(raw) else ""


def _content_id(span: Span, shared: Mapping[str, str]) -> str:
    """Tells spans whose ids are invalid apart, the same way each time."""
    content = hashlib.sha256(json.dumps(sorted(shared.items())).encode())
    content.update(span.SerializeToString(deterministic=True))
    return f"content-{content.hexdigest()}"


def _too_many_spans() -> BodyTooLarge:
    return BodyTooLarge(
        f"one request may carry {MAX_SPANS} spans; lower OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
    )


def _from_protobuf(payload: bytes) -> ExportTraceServiceRequest:
    try:
        return ExportTraceServiceRequest.FromString(payload)
    except DecodeError as error:
        raise PayloadUndecodable(
            "the body is not a whole ExportTraceServiceRequest (truncated, of another type, or with"
            " text that is not UTF-8); send the exporter's bytes unchanged"
        ) from error


# What json, ParseDict and plain dictionary access raise for documents of another shape.
_NOT_OTLP_JSON = (
    ParseError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


def _from_json(payload: bytes) -> ExportTraceServiceRequest:
    """OTLP/JSON differs from protobuf's own JSON in one way: ids are hexadecimal."""
    try:
        document = json.loads(payload)
        _ids_to_base64(document)
        return ParseDict(document, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    except (
        ParseError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise PayloadUndecodable(
            "the body is not an OTLP/JSON trace request: it needs resourceSpans with scopeSpans"
            " with spans, ids in hexadecimal"
        ) from error


def _ids_to_base64(document: dict[str, Any]) -> None:
    for resource in _each(document, "resourceSpans", "resource_spans"):
        for scope in _each(resource, "scopeSpans", "scope_spans"):
            for span in _each(scope, "spans"):
                for holder in (span, *_each(span, "links")):
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if holder.get(key):
                            holder[key] = _hex_to_base64(holder[key])


def _each(document: dict[str, Any], *keys: str) -> list[dict[str, Any]]:
    return [item for key in keys for item in document.get(key) or ()]


def _hex_to_base64(identifier: str) -> str:
    return base64.b64encode(binascii.unhexlify(identifier)).decode()


def _counts_over(payload: bytes, limit: int) -> bool:
    """Whether the wire format holds more than ``limit`` resources, scopes and spans together.

    Looked at before the parse, which takes 170 bytes of memory for a span of two.
    """
    count = 0
    # (position, end, depth): ResourceSpans is field 1 of the request, ScopeSpans field 2 of it,
    # Span field 2 of that.
    ranges = [(0, len(payload), 0)]
    while ranges:
        position, end, depth = ranges.pop()
        while position < end:
            tag, position = _varint(payload, position)
            wire_type = tag & 7
            if wire_type == 2:
                size, position = _varint(payload, position)
                if tag >> 3 == (1 if depth == 0 else 2):
                    count += 1
                    if count > limit:
                        return True
                    if depth < 2:
                        ranges.append((position, min(position + size, end), depth + 1))
                position += size
            elif wire_type == 0:
                _, position = _varint(payload, position)
            else:
                # Fixed widths; whatever is no wire type at all is left to the parser to refuse.
                position += {1: 8, 5: 4}.get(wire_type, end)
    return False


def _varint(payload: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(payload) and shift < 70:
        byte = payload[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    return value, position


def _to_varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
