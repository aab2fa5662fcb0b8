"""Which parts of an OTLP request are items, and how one that can't be read is left out on the wire.

Invariant: every item that is a whole message stays, in the order sent; one that is none is left out
and counted, with all there is of what holds it only where that can't be read. What looking takes is
in proportion to the length of the payload.
Specification: https://protobuf.dev/programming-guides/encoding/,
https://github.com/open-telemetry/opentelemetry-proto/tree/main/opentelemetry/proto
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

_PACKAGE = "opentelemetry.proto."
ITEMS = frozenset(
    _PACKAGE + name
    for name in (
        "trace.v1.Span",
        "logs.v1.LogRecord",
        "metrics.v1.NumberDataPoint",
        "metrics.v1.HistogramDataPoint",
        "metrics.v1.ExponentialHistogramDataPoint",
        "metrics.v1.SummaryDataPoint",
    )
)
"""Messages of which each may become an event, and each may be rejected alone."""

_CONTAINERS = frozenset(
    _PACKAGE + name
    for name in (
        "trace.v1.ResourceSpans",
        "trace.v1.ScopeSpans",
        "logs.v1.ResourceLogs",
        "logs.v1.ScopeLogs",
        "metrics.v1.ResourceMetrics",
        "metrics.v1.ScopeMetrics",
        "metrics.v1.Metric",
        "metrics.v1.Gauge",
        "metrics.v1.Sum",
        "metrics.v1.Histogram",
        "metrics.v1.ExponentialHistogram",
        "metrics.v1.Summary",
    )
)

Kind = TypeVar("Kind", bound=Message)


@dataclass(frozen=True, slots=True)
class Part:
    """A field that holds items or what holds items, and the message it is made of."""

    name: str
    json_name: str
    repeated: bool
    kind: Descriptor


@lru_cache(maxsize=256)
def parts_of(descriptor: Descriptor) -> Mapping[int, Part]:
    """The parts of a message, by the number of their field."""
    return {
        field.number: Part(field.name, field.json_name, field.is_repeated, field.message_type)
        for field in descriptor.fields
        if field.message_type is not None and field.message_type.full_name in ITEMS | _CONTAINERS
    }


def counts_over(payload: bytes, kind: type[Message], limit: int) -> bool:
    """Whether the wire format of such a request holds more than ``limit`` items and holders of
    items together.

    Looked at before the parse, which takes 170 bytes of memory for a span of two.
    """
    # The stubs know two classes of descriptors.
    root: Any = kind.DESCRIPTOR
    return next(islice(_parts_within(payload, root), limit, None), None) is not None


def salvaged(payload: bytes, kind: type[Kind]) -> tuple[Kind, int]:
    """A request without the items that can't be read, and how many those are.

    Raises :class:`DecodeError` where the payload itself is not in the wire format.
    """
    request = kind()
    return request, _fill(request, payload)


def item_count(message: Message) -> int:
    """How many items a message holds."""
    count = 0
    for part in parts_of(message.DESCRIPTOR).values():
        if not part.repeated:
            count += item_count(getattr(message, part.name)) if message.HasField(part.name) else 0
        elif part.kind.full_name in ITEMS:
            count += len(getattr(message, part.name))
        else:
            count += sum(map(item_count, getattr(message, part.name)))
    return count


def _fill(message: Message, payload: bytes) -> int:
    """Add what a payload says to a message; how many items were left out."""
    parts = parts_of(message.DESCRIPTOR)
    rejected = 0
    others = bytearray()
    for number, wire_type, start, content, end in _fields(payload):
        part = parts.get(number) if wire_type == 2 else None
        if part is None:
            others += payload[start:end]
            continue
        inner = payload[content:end]
        if part.repeated:
            found = getattr(message, part.name)
            try:
                rejected += _fill(found.add(), inner)
            except DecodeError:
                del found[-1]
                rejected += _items_within(inner, part.kind)
        else:
            held = getattr(message, part.name)
            held.SetInParent()
            rejected += _fill(held, inner)
    message.MergeFromString(bytes(others))
    return rejected


def _items_within(payload: bytes, descriptor: Descriptor) -> int:
    """How many items were lost with this part, at least one."""
    within = _parts_within(payload, descriptor)
    return max(1, sum(kind.full_name in ITEMS for kind in within))


def _parts_within(payload: bytes, descriptor: Descriptor) -> Iterator[Descriptor]:
    """What every field of the wire format is that holds an item or holds items, as far as the
    format can be followed."""
    ranges = [(payload, descriptor)]
    while ranges:
        inner, kind = ranges.pop()
        parts = parts_of(kind)
        try:
            for number, wire_type, _, content, end in _fields(inner):
                part = parts.get(number) if wire_type == 2 else None
                if part is not None:
                    yield part.kind
                    if part.kind.full_name not in ITEMS:
                        ranges.append((inner[content:end], part.kind))
        except DecodeError:
            continue


def _fields(payload: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """Number, wire type, and where each field, its content and its end are."""
    position, size = 0, len(payload)
    while position < size:
        start = position
        tag, position = _varint(payload, position)
        wire_type = tag & 7
        content = position
        if wire_type == 2:
            length, content = _varint(payload, position)
            position = content + length
        elif wire_type == 0:
            _, position = _varint(payload, position)
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        else:
            raise DecodeError("groups are not part of OTLP")
        if position > size or not tag >> 3:
            raise DecodeError("a field ends after the message")
        yield tag >> 3, wire_type, start, content, position


def _varint(payload: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(payload) and shift < 70:
        byte = payload[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
    raise DecodeError("a number does not end")
