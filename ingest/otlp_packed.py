"""OTLP messages whose attributes are still packed, so that each of them is unpacked once.

Invariant: the wire format is the same, and so is what is read of it; only the attributes, which are
most of a request and repeat from item to item, come as the bytes of their ``KeyValue``. The
messages are those of the installed protocol, never a copy of its files.
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

from ingest.otlp import PROTOBUF, Read

_COMMON = KeyValue.DESCRIPTOR.file.name
_ATTRIBUTE = f".{KeyValue.DESCRIPTOR.full_name}"


def packed(read: Read[Any], payload: bytes, encoding: str) -> Any:
    """What was read of a payload, as a request whose attributes are bytes; its type is that of the
    request in all else."""
    whole = encoding == PROTOBUF and not read.rejected
    wire = payload if whole else read.request.SerializeToString()
    return _class_like(read.request.DESCRIPTOR).FromString(wire)


@cache
def _class_like(descriptor: Any) -> Any:
    pool = DescriptorPool()
    _add(descriptor.file, pool, set())
    return GetMessageClass(pool.FindMessageTypeByName(descriptor.full_name))


def _add(file: Any, pool: DescriptorPool, known: set[str]) -> None:
    """Add a file (of either class of descriptors), after those that it builds on. Attributes inside
    of values stay messages."""
    if file.name in known:
        return
    known.add(file.name)
    for other in file.dependencies:
        _add(other, pool, known)
    copy = FileDescriptorProto()
    file.CopyToProto(copy)
    if file.name != _COMMON:
        for message in copy.message_type:
            _pack(message)
    pool.Add(copy)


def _pack(message: DescriptorProto) -> None:
    for nested in message.nested_type:
        _pack(nested)
    for field in message.field:
        if field.type_name == _ATTRIBUTE:
            field.type = FieldDescriptorProto.TYPE_BYTES
            field.ClearField("type_name")
