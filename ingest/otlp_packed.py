"""OTLP messages whose attributes are still packed, so that each of them is unpacked once.

Invariant: the wire format is the same, and so is what is read of it; only the attributes of items
and resources, which are most of a request and repeat from item to item, come as the bytes of their
``KeyValue``. All else is read, and what can't be read is refused, as the official messages do: an
attribute when it is unpacked. The messages are those of the installed protocol, never a copy.
Specification: https://protobuf.dev/programming-guides/encoding/#length-types (bytes and messages
look alike), https://github.com/open-telemetry/opentelemetry-proto/tree/main/opentelemetry/proto
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from ingest.otlp import Signal
from ingest.otlp_wire import ITEMS

_PACKED = ITEMS | {Resource.DESCRIPTOR.full_name}
_ATTRIBUTE = f".{KeyValue.DESCRIPTOR.full_name}"


def packed(wire: bytes, signal: Signal[Any]) -> Any:
    """The request of a signal in these bytes, with packed attributes; its type is that of the
    official request in all else. Raises :class:`google.protobuf.message.DecodeError`, and so does
    unpacking one of its attributes."""
    return _class_like(signal.request.DESCRIPTOR).FromString(wire)


@cache
def _class_like(descriptor: Any) -> Any:
    pool = DescriptorPool()
    _add(descriptor.file, pool, set())
    return GetMessageClass(pool.FindMessageTypeByName(descriptor.full_name))


def _add(file: Any, pool: DescriptorPool, known: set[str]) -> None:
    """Add a file (of either class of descriptors), after those that it builds on."""
    if file.name in known:
        return
    known.add(file.name)
    for other in file.dependencies:
        _add(other, pool, known)
    copy = FileDescriptorProto()
    file.CopyToProto(copy)
    for message in copy.message_type:
        if f"{copy.package}.{message.name}" in _PACKED:
            _pack(message)
    pool.Add(copy)


def _pack(message: DescriptorProto) -> None:
    for field in message.field:
        if field.type_name == _ATTRIBUTE:
            field.type = FieldDescriptorProto.TYPE_BYTES
            field.ClearField("type_name")
