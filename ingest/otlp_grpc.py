"""OTLP/gRPC: the three ``Export`` methods, beside OTLP/HTTP and through the same receivers.

Invariant: OK is answered only after the request is durable in the inbox, where it lies byte for
byte as it was sent. A status that lets a client try again comes with a ``RetryInfo``, and no other
does: without one, RESOURCE_EXHAUSTED is final.
Specification: https://opentelemetry.io/docs/specs/otlp/#otlpgrpc
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from grpc.aio import ServicerContext

from ingest.errors import IngestError
from ingest.otlp import PROTOBUF, response_to
from ingest.otlp_receiver import OtlpReceiver
from ingest.receivers import KEY_HEADER, bearer_of, delay_of
from ingest.upstream import Arrival

_SERVICES: Final = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}
_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
# Requests that one connection may have under way: each may be as large as the limit.
_STREAMS = 64
# Where clients look for when to try again: Python's in the first, Go's in the second.
_RETRY_KEY, _DETAILS_KEY = "google.rpc.retryinfo-bin", "grpc-status-details-bin"

Export = Callable[[bytes, ServicerContext], Awaitable[bytes]]

log = logging.getLogger(__name__)


@asynccontextmanager
async def serving(
    receivers: Iterable[OtlpReceiver], host: str, port: int, *, max_message: int, grace: float
) -> AsyncIterator[str]:
    """Serve these receivers in the running event loop; the address, with the port that was taken.

    ``port`` 0 takes any free one. ``max_message`` is in bytes, after decompression; ``grace`` is
    how many seconds requests under way may take when it ends. Raises :class:`OSError` where the
    port can't be had.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_message),
            ("grpc.max_concurrent_streams", _STREAMS),
            # Else a second server on this port would take half of the requests.
            ("grpc.so_reuseport", 0),
        ]
    )
    server.add_generic_rpc_handlers([_handler(receiver) for receiver in receivers])
    place = f"[{host}]" if ":" in host else host
    try:
        bound = server.add_insecure_port(f"{place}:{port}")
    except RuntimeError as error:
        raise OSError(f"{place}:{port} can't be listened on for OTLP/gRPC") from error
    await server.start()
    try:
        yield f"{place}:{bound}"
    finally:
        await server.stop(grace)


def _handler(receiver: OtlpReceiver) -> Any:
    # Without deserialisers: what is kept are the bytes that came.
    method = grpc.unary_unary_rpc_method_handler(_export(receiver))
    return grpc.method_handlers_generic_handler(_SERVICES[receiver.signal], {"Export": method})


def _export(receiver: OtlpReceiver) -> Export:
    async def export(payload: bytes, context: ServicerContext) -> bytes:
        try:
            key = _key_of(context)
            sender = receiver.holder_of(key)
            receiver.admit(sender)
            arrival = None
            if receiver.is_forwarded(sender):
                # What is behind takes OTLP over HTTP, where the same bytes are the body.
                head = (("content-type", PROTOBUF),)
                target = f"/v1/{receiver.signal}"
                arrival = Arrival("POST", target, head, payload, payload, (key,))
            found = await receiver.take_in(sender, PROTOBUF, payload, arrival)
        except IngestError as error:
            receiver.note_refusal(error)
            refused = error
        except Exception:
            log.exception("OTLP/gRPC %s failed", receiver.signal)
            refused = IngestError("the server's log has the details")
        else:
            receiver.note_success()
            return response_to(receiver.otlp, found).SerializeToString()
        await _refuse(context, refused)

    return export


async def _refuse(context: ServicerContext, error: IngestError) -> NoReturn:
    code = _CODES.get(error.status, grpc.StatusCode.INTERNAL)
    message = f"{error.title}: {error.detail}"
    seconds = delay_of(error)
    trailing: list[tuple[str, bytes]] = []
    if seconds is not None:
        retry = RetryInfo(retry_delay=Duration(seconds=seconds))
        packed = AnyMessage()
        packed.Pack(retry)
        status = Status(code=code.value[0], message=message, details=[packed])
        trailing = [
            (_RETRY_KEY, retry.SerializeToString()),
            (_DETAILS_KEY, status.SerializeToString()),
        ]
    await context.abort(code, message, tuple(trailing))
    raise AssertionError("abort ends the call")


def _key_of(context: ServicerContext) -> str:
    """The ingest key of a Bearer token or of our own header, empty without either."""
    metadata = {
        key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
    }
    return bearer_of(metadata.get("authorization", "")) or metadata.get(KEY_HEADER, "").strip()
