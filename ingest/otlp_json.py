"""OTLP/JSON to protobuf messages, by the messages' own descriptors.

Invariant: an item that can't be read is left out and counted, and its neighbours stay; which ones
these are depends on the document alone. Differs from protobuf's JSON as OTLP does: trace and span
ids are hexadecimal, enumerations are integers (names are taken too), unknown fields are ignored.
Specification: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding,
https://protobuf.dev/programming-guides/json/
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from ingest.otlp_wire import ITEMS, parts_of

MAX_NESTING = 64
"""Levels of messages. Protobuf's own readers and writers stop at 100."""

_HEXADECIMAL_FIELDS = frozenset({"trace_id", "span_id", "parent_span_id"})
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_NUMBER = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?")
_NOT_FINITE = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}

Kind = TypeVar("Kind", bound=Message)


class _Unreadable(ValueError):
    """A value is not what its field holds."""


# What protobuf itself says to a number out of range, a text that is no Unicode, a double too large.
_REFUSED = (ValueError, TypeError, OverflowError)


def message_of(document: Any, kind: type[Kind]) -> tuple[Kind, int]:
    """The request that a JSON value says, and how many items of it were left out.

    Raises :class:`ValueError` where the value is no such request at all.
    """
    request = kind()
    try:
        return request, _fill(request, document, 0)
    except _REFUSED as error:
        raise ValueError("the document is no OTLP request") from error


def _fill(message: Message, document: Any, depth: int) -> int:
    """Add what a JSON object says to a message; how many items were left out."""
    if not isinstance(document, dict) or depth > MAX_NESTING:
        raise _Unreadable
    fields = _fields(message.DESCRIPTOR)
    rejected = 0
    for key, value in document.items():
        field = fields.get(key)
        if field is None or value is None:
            continue
        if field.is_repeated:
            rejected += _extend(message, field, value, depth)
        elif field.message_type is not None:
            part = getattr(message, field.name)
            part.SetInParent()
            rejected += _fill(part, value, depth + 1)
        else:
            setattr(message, field.name, _scalar(field, value))
    return rejected


def _extend(message: Message, field: FieldDescriptor, values: Any, depth: int) -> int:
    if not isinstance(values, list):
        raise _Unreadable
    found = getattr(message, field.name)
    if field.message_type is None:
        found.extend([_scalar(field, value) for value in values])
        return 0
    part = parts_of(message.DESCRIPTOR).get(field.number)
    rejected = 0
    for value in values:
        try:
            rejected += _fill(found.add(), value, depth + 1)
        except _REFUSED:
            if part is None:
                raise
            del found[-1]
            rejected += max(1, _items_within(value, part.kind))
    return rejected


def _items_within(document: Any, descriptor: Descriptor) -> int:
    """How many items a JSON value holds that is to be read as this message."""
    if descriptor.full_name in ITEMS:
        return 1
    if not isinstance(document, dict):
        return 0
    count = 0
    for part in parts_of(descriptor).values():
        for key in {part.json_name, part.name}:
            value = document.get(key)
            for inner in value if isinstance(value, list) else (value,):
                if inner is not None:
                    count += _items_within(inner, part.kind)
    return count


@lru_cache(maxsize=256)
def _fields(descriptor: Descriptor) -> Mapping[str, FieldDescriptor]:
    """Every field under its name in JSON and its name in the definition."""
    return {name: field for field in descriptor.fields for name in (field.name, field.json_name)}


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    return _SCALARS[field.cpp_type](field, value)


def _boolean(field: FieldDescriptor, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _Unreadable


def _integer(field: FieldDescriptor, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise _Unreadable


def _double(field: FieldDescriptor, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and (value in _NOT_FINITE or _NUMBER.fullmatch(value)):
        return float(_NOT_FINITE.get(value, value))
    raise _Unreadable


def _enumeration(field: FieldDescriptor, value: Any) -> int:
    if isinstance(value, str) and field.enum_type is not None:
        named = field.enum_type.values_by_name.get(value)
        if named is not None:
            return named.number
    return _integer(field, value)


def _text(field: FieldDescriptor, value: Any) -> str | bytes:
    if not isinstance(value, str):
        raise _Unreadable
    if field.type != FieldDescriptor.TYPE_BYTES:
        return value
    if field.name in _HEXADECIMAL_FIELDS:
        return binascii.unhexlify(value)
    # Either alphabet, with its padding or without, as protobuf's own readers take it.
    plain = value.translate(_URL_SAFE).rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


_URL_SAFE = str.maketrans("-_", "+/")
_SCALARS: Mapping[int, Callable[[FieldDescriptor, Any], Any]] = {
    FieldDescriptor.CPPTYPE_BOOL: _boolean,
    FieldDescriptor.CPPTYPE_INT32: _integer,
    FieldDescriptor.CPPTYPE_INT64: _integer,
    FieldDescriptor.CPPTYPE_UINT32: _integer,
    FieldDescriptor.CPPTYPE_UINT64: _integer,
    FieldDescriptor.CPPTYPE_DOUBLE: _double,
    FieldDescriptor.CPPTYPE_FLOAT: _double,
    FieldDescriptor.CPPTYPE_ENUM: _enumeration,
    FieldDescriptor.CPPTYPE_STRING: _text,
}
