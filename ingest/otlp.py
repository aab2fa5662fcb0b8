"""OTLP requests of every signal: bytes to messages, and the answers to them.

Invariant: what is read of a payload depends on its bytes and its encoding alone, so that what was
rejected when it came is skipped, item for item, whenever it is read again. No request makes the
reader hold more than :data:`MAX_ITEMS` items.
Specification: https://opentelemetry.io/docs/specs/otlp/ (protobuf and JSON encodings)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from ingest.bounded_json import read_json, turn
from ingest.errors import BodyTooLarge, ContentTypeUnsupported, PayloadUndecodable
from ingest.events import LOG_SOURCE, METRIC_SOURCE, SPAN_SOURCE
from ingest.otlp_json import message_of
from ingest.otlp_wire import counts_over, item_count, salvaged

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

MAX_ITEMS = 100_000
"""Spans, log records or data points of one request."""

Request = TypeVar("Request", bound=Message)


@dataclass(frozen=True)
class Signal(Generic[Request]):
    """One of the signals. ``rejected`` is the member of a partial success that counts its items,
    ``smaller`` how a sender makes its requests smaller."""

    name: str
    source: str
    request: type[Request]
    response: type[Message]
    items: str
    rejected: str
    smaller: str


TRACES: Final = Signal(
    name="traces",
    source=SPAN_SOURCE,
    request=ExportTraceServiceRequest,
    response=ExportTraceServiceResponse,
    items="spans",
    rejected="rejected_spans",
    smaller="lower OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
)
LOGS: Final = Signal(
    name="logs",
    source=LOG_SOURCE,
    request=ExportLogsServiceRequest,
    response=ExportLogsServiceResponse,
    items="log records",
    rejected="rejected_log_records",
    smaller="lower OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
)
METRICS: Final = Signal(
    name="metrics",
    source=METRIC_SOURCE,
    request=ExportMetricsServiceRequest,
    response=ExportMetricsServiceResponse,
    items="data points",
    rejected="rejected_data_points",
    smaller="set the exporter's largest batch lower",
)


@dataclass(frozen=True)
class Read(Generic[Request]):
    """A request, how many items it holds, and how many were left out of it."""

    request: Request
    items: int
    rejected: int = 0


def encoding_of(content_type: str) -> str:
    """The OTLP encoding that a Content-Type header names: :data:`PROTOBUF` or :data:`JSON`.

    Raises :class:`ContentTypeUnsupported` for anything else.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in (PROTOBUF, JSON):
        return media_type
    raise ContentTypeUnsupported(
        f"OTLP is taken as {PROTOBUF} or {JSON}; set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
    )


def read(payload: bytes, encoding: str, signal: Signal[Request]) -> Read[Request]:
    """The request in a payload.

    Raises :class:`PayloadUndecodable` for bytes of which nothing can be read, and
    :class:`BodyTooLarge` for more than :data:`MAX_ITEMS` items.
    """
    with turn(len(payload)):
        if encoding == JSON:
            request, rejected = _from_json(payload, signal)
        else:
            request, rejected = _from_protobuf(payload, signal)
    items = item_count(request)
    if items + rejected > MAX_ITEMS:
        raise _too_many(signal)
    if rejected and not items:
        raise _unreadable(signal, encoding)
    return Read(request, items, rejected)


def answer(signal: Signal[Request], read: Read[Request], encoding: str) -> bytes:
    """The answer to a request that was taken in, in its encoding: empty, or a partial success that
    tells what was left out."""
    if encoding == JSON:
        return json.dumps(_partial_success(signal, read)).encode()
    return response_to(signal, read).SerializeToString()


def response_to(signal: Signal[Request], read: Read[Request]) -> Message:
    """As :func:`answer`, as the signal's response message."""
    response = signal.response()
    if read.rejected:
        partial = response.partial_success  # type: ignore[attr-defined]
        setattr(partial, signal.rejected, read.rejected)
        partial.error_message = _what_was_rejected(signal, read)
    return response


def refusal(code: int, message: str, encoding: str) -> bytes:
    """A ``google.rpc.Status``, which is what an OTLP client expects in an error's body."""
    if encoding == JSON:
        return json.dumps({"code": code, "message": message}).encode()
    found: bytes = Status(code=code, message=message).SerializeToString()
    return found


def _partial_success(signal: Signal[Request], read: Read[Request]) -> dict[str, object]:
    if not read.rejected:
        return {}
    words = signal.rejected.split("_")
    # 64 bits, which JSON spells as text.
    key = words[0] + "".join(word.title() for word in words[1:])
    return {
        "partialSuccess": {
            key: str(read.rejected),
            "errorMessage": _what_was_rejected(signal, read),
        }
    }


def _what_was_rejected(signal: Signal[Request], read: Read[Request]) -> str:
    return (
        f"{read.rejected} of {read.items + read.rejected} {signal.items} could not be read and were"
        " left out: a field does not hold what OTLP says it does, or text that is not UTF-8"
    )


def _too_many(signal: Signal[Request]) -> BodyTooLarge:
    return BodyTooLarge(f"one request may carry {MAX_ITEMS} {signal.items}; {signal.smaller}")


def _unreadable(signal: Signal[Request], encoding: str) -> PayloadUndecodable:
    name = signal.request.DESCRIPTOR.name
    if encoding == JSON:
        return PayloadUndecodable(
            f"the body is not an {name} in OTLP/JSON: ids are hexadecimal, and every field holds"
            " what the protocol says it does"
        )
    return PayloadUndecodable(
        f"the body is not a whole {name} (truncated, of another type, or with"
        " text that is not UTF-8); send the exporter's bytes unchanged"
    )


def _from_protobuf(payload: bytes, signal: Signal[Request]) -> tuple[Request, int]:
    # An item takes two bytes at least.
    if len(payload) > 2 * MAX_ITEMS and counts_over(payload, signal.request, MAX_ITEMS):
        raise _too_many(signal)
    try:
        return signal.request.FromString(payload), 0
    except DecodeError:
        # One item may be all that is wrong.
        try:
            return salvaged(payload, signal.request)
        except DecodeError as error:
            raise _unreadable(signal, PROTOBUF) from error


def _from_json(payload: bytes, signal: Signal[Request]) -> tuple[Request, int]:
    document = read_json(payload)
    try:
        return message_of(document, signal.request)
    except ValueError as error:
        raise _unreadable(signal, JSON) from error
