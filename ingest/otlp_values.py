"""What all OTLP signals say in the same way: attributes, resources and ids, as events have them.

Invariant: no value, however large or deep, makes an event that the warehouse can't hold; what is
invalid reads as empty and joins no strangers.
Specification: https://opentelemetry.io/docs/specs/otel/common/,
https://opentelemetry.io/docs/specs/semconv/ (attribute names, old and new spellings)
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from ingest.attributes import MAX_ATTRIBUTES, MAX_NAME, UNLIMITED, gathered, kept, text
from ingest.events import UNKNOWN_SERVICE

# Characters of all resource attributes together: each event repeats them.
MAX_SHARED = 16_384

ENVIRONMENT_KEYS = ("deployment.environment.name", "deployment.environment")
SESSION_KEYS = ("session.id", "sessionId")

# What an attribute is called that has the name of something the protocol itself says.
_OWN = "attributes."

# Attributes kept at a time; when there are more, the memory starts anew.
_REMEMBERED = 16_384
_LONGEST_REMEMBERED = 512


@dataclass(frozen=True, slots=True)
class Origin:
    """Where events of one resource come from; ``attributes`` are what each of them repeats."""

    attributes: Mapping[str, str]
    service: str
    release: str


def origin_of(resource: Any, redact: Callable[[str], str] | None = None) -> Origin:
    """What the events of a resource (one with packed attributes) have in common."""
    shared = attributes_of(resource.attributes, MAX_SHARED, redact=redact)
    return Origin(
        attributes=shared,
        service=text(shared.get("service.name") or UNKNOWN_SERVICE, MAX_NAME),
        release=text(shared.get("service.version", ""), MAX_NAME),
    )


def attributes_of(
    packed: Sequence[bytes],
    room: int = UNLIMITED,
    *,
    said: Mapping[str, str] | None = None,
    redact: Callable[[str], str] | None = None,
) -> dict[str, str]:
    """Packed attributes as text, as :func:`ingest.attributes.bounded` keeps them.

    ``said`` is what the protocol says beside them, without what is empty: it comes first, and an
    attribute of the same name stands under ``attributes.`` and its name.
    """
    own = map(remembering(redact), packed)
    if said is None and room == UNLIMITED and len(packed) <= MAX_ATTRIBUTES:
        found = dict(own)
        found.pop("", None)
        return found
    if said is None:
        return gathered(own, room)
    named = ((f"{_OWN}{key}" if key in said else key, value) for key, value in own)
    first = (kept(key, value, redact) for key, value in said.items() if value)
    return gathered((*first, *named), room)


class _Remembered(dict[bytes, tuple[str, str]]):
    """Attributes as they are kept, by their bytes: most of a request was in the one before."""

    def __init__(self, redact: Callable[[str], str] | None) -> None:
        super().__init__()
        self._redact = redact

    def __missing__(self, packed: bytes) -> tuple[str, str]:
        pair = unpacked(packed)
        # Most values are short, printable text.
        found = kept(pair.key, pair.value.string_value or plain(pair.value), self._redact)
        if len(packed) <= _LONGEST_REMEMBERED:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[packed] = found
        return found


@cache
def remembering(redact: Callable[[str], str] | None) -> Callable[[bytes], tuple[str, str]]:
    """Gives a packed attribute as it is kept; its key is empty if it is not."""
    return _Remembered(redact).__getitem__


def unpacked(packed: bytes) -> KeyValue:
    """A packed attribute of a request that was read as a whole."""
    return KeyValue.FromString(packed)


def plain(value: AnyValue) -> str:
    """A value as text: numbers and booleans as written, bytes as base64, the rest as JSON."""
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


def named(names: tuple[str, ...], number: int) -> str:
    """The name of one of the wire's numbers; one of a newer protocol reads as the first."""
    return names[number] if 0 <= number < len(names) else names[0]


def identifier(raw: bytes, size: int) -> str:
    """Hexadecimal; empty for an id of another size or of zeros, which would join strangers."""
    return raw.hex() if len(raw) == size and any(raw) else ""


def content_id(item: Message, shared: Mapping[str, str], *around: str) -> str:
    """Tells items without an id of their own apart, the same way each time."""
    said: object = sorted(shared.items())
    content = hashlib.sha256(json.dumps([said, *around] if around else said).encode())
    content.update(item.SerializeToString(deterministic=True))
    return f"content-{content.hexdigest()}"
