"""OTLP/gRPC in a real server: what is kept, what is answered, when a client may try again."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from ingest.inbox import Inbox
from ingest.otlp import JSON, LOGS, MAX_ITEMS, METRICS, PROTOBUF, TRACES, Signal, read
from ingest.otlp_grpc import serving
from ingest.otlp_receiver import OtlpReceiver
from ingest.quotas import OVER_QUOTA, Quota, Quotas
from ingest.receivers import REQUESTS
from ingest.sender import Sender

KEYS = {"foi_shop": Sender("shop"), "foi_other": Sender("other")}
LIMIT = 300_000
SIGNALS: tuple[Signal[Any], ...] = (TRACES, LOGS, METRICS)
CORPUS = Path(__file__).parent / "corpus"
SERVICES = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
KEY = (("x-fractalops-key", "foi_shop"),)
Payload = Callable[..., bytes]


@contextmanager
def served(inbox: Inbox) -> Iterator[str]:
    """The address of a server in an event loop of its own."""
    address: Future[str] = Future()
    ended = asyncio.Event()
    loop = asyncio.new_event_loop()

    @asynccontextmanager
    async def server() -> AsyncIterator[str]:
        receivers = [OtlpReceiver(signal, inbox, KEYS.get, max_body=LIMIT) for signal in SIGNALS]
        async with serving(receivers, "127.0.0.1", 0, max_message=LIMIT, grace=5) as found:
            yield found

    async def run() -> None:
        async with server() as found:
            address.set_result(found)
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        yield address.result(20)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(20)
        loop.close()


@contextmanager
def listening(inbox: Inbox) -> Iterator[grpc.Channel]:
    """A channel to such a server."""
    with served(inbox) as address, grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture
def channel(inbox: Inbox) -> Iterator[grpc.Channel]:
    with listening(inbox) as found:
        yield found


def export(
    channel: grpc.Channel,
    payload: bytes,
    metadata: tuple[tuple[str, str], ...] = KEY,
    *,
    signal: Signal[Any] = TRACES,
    compression: grpc.Compression = grpc.Compression.NoCompression,
) -> bytes:
    call = channel.unary_unary(SERVICES[signal.name])
    answer: bytes = call(payload, metadata=metadata, compression=compression, timeout=20)
    return answer


@contextmanager
def refused(code: grpc.StatusCode, retry: int | None = None) -> Iterator[None]:
    """The call is refused with this code, and with a ``RetryInfo`` of so many seconds or none."""
    with pytest.raises(grpc.RpcError) as raised:
        yield
    error: Any = raised.value
    assert error.code() == code, error.details()
    trailing = dict(error.trailing_metadata())
    if retry is None:
        assert set(trailing) & {"google.rpc.retryinfo-bin", "grpc-status-details-bin"} == set()
        return
    assert RetryInfo.FromString(trailing["google.rpc.retryinfo-bin"]).retry_delay.seconds == retry
    status = Status.FromString(trailing["grpc-status-details-bin"])
    assert (status.code, status.message) == (code.value[0], error.details())
    found = RetryInfo()
    assert status.details[0].Unpack(found)
    assert found.retry_delay.seconds == retry


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
@pytest.mark.parametrize(
    "compression",
    [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate],
    ids=lambda compression: compression.name,
)
def test_what_is_kept_are_the_bytes_that_were_sent(
    channel: grpc.Channel, inbox: Inbox, signal: Signal[Any], compression: grpc.Compression
) -> None:
    # An unknown field is lost in whatever reads it and writes it again in another order.
    payload = (CORPUS / signal.source / f"{signal.name}.bin").read_bytes() + b"\xf8\x07\x01"
    accepted = REQUESTS.labels(signal.name, "accepted")._value.get()
    answer = export(channel, payload, signal=signal, compression=compression)
    assert answer == b""
    (batch,) = inbox.pending(0, 9)
    assert (batch.project, batch.source, batch.content_type) == ("shop", signal.source, PROTOBUF)
    assert inbox.payload(1) == payload
    assert REQUESTS.labels(signal.name, "accepted")._value.get() == accepted + 1


@pytest.mark.parametrize(
    "metadata",
    [
        (("authorization", "Bearer foi_other"),),
        (("authorization", "bearer foi_other"), ("x-fractalops-key", "foi_shop")),
        (("x-fractalops-key", "foi_other"),),
    ],
)
def test_the_key_decides_the_project(
    channel: grpc.Channel, inbox: Inbox, payload: Payload, metadata: tuple[tuple[str, str], ...]
) -> None:
    export(channel, payload(1), metadata)
    assert inbox.pending(0, 1)[0].project == "other"


@pytest.mark.parametrize(
    "metadata", [(), (("authorization", "Basic foi_shop"),), (("x-fractalops-key", "wrong"),)]
)
def test_a_wrong_key_is_refused(
    channel: grpc.Channel, inbox: Inbox, payload: Payload, metadata: tuple[tuple[str, str], ...]
) -> None:
    with refused(grpc.StatusCode.UNAUTHENTICATED):
        export(channel, payload(1), metadata)
    assert inbox.last_seq == 0


def test_an_empty_request_succeeds_and_stores_nothing(channel: grpc.Channel, inbox: Inbox) -> None:
    assert export(channel, b"") == b""
    assert inbox.last_seq == 0


def test_what_can_t_be_read_is_refused_for_good(channel: grpc.Channel, inbox: Inbox) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT):
        export(channel, b"\xff\xff")
    assert inbox.last_seq == 0


def test_a_part_that_can_t_be_read_is_told(channel: grpc.Channel, inbox: Inbox) -> None:
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "one"}, {"name": "two"}]}]}]}
    request = read(json.dumps(document).encode(), JSON, TRACES).request
    damaged = request.SerializeToString().replace(b"one", b"o\xffe")
    answer = TRACES.response.FromString(export(channel, damaged))
    partial = answer.partial_success  # type: ignore[attr-defined]
    assert partial.rejected_spans == 1
    assert partial.error_message.startswith("1 of 2 spans")
    assert inbox.payload(1) == damaged


@pytest.mark.parametrize("compression", list(grpc.Compression), ids=lambda found: found.name)
def test_too_large_is_final(
    channel: grpc.Channel, inbox: Inbox, compression: grpc.Compression
) -> None:
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
        export(channel, bytes(20_000_000), compression=compression)
    assert inbox.last_seq == 0


def test_too_many_items_are_final(channel: grpc.Channel, inbox: Inbox) -> None:
    request = TRACES.request()
    spans = request.resource_spans.add().scope_spans.add().spans
    for _ in range(MAX_ITEMS + 1):
        spans.add()
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED):
        export(channel, request.SerializeToString())
    assert inbox.last_seq == 0


def test_a_queue_that_is_too_long_asks_for_patience(tmp_path: Path, payload: Payload) -> None:
    box = Inbox(tmp_path / "small.sqlite", max_backlog=10)
    with listening(box) as channel:
        assert export(channel, payload(1)) == b""
        with refused(grpc.StatusCode.UNAVAILABLE, retry=5):
            export(channel, payload(1))
        box.advance(1)
        assert export(channel, payload(1)) == b""
        box.close()
        with refused(grpc.StatusCode.UNAVAILABLE, retry=5):
            export(channel, payload(1))


def test_the_official_exporter_waits_out_a_quota_and_delivers(
    tmp_path: Path, payload: Payload, caplog: pytest.LogCaptureFixture
) -> None:
    over = OVER_QUOTA.labels("shop", "true")._value
    before = over.get()
    # Time goes on once the exporter was refused, however slow the machine is.
    quotas = Quotas(Quota(items=1), monotonic=lambda: 9.0 if over.get() > before + 1 else 0.0)
    box = Inbox(tmp_path / "inbox.sqlite", quotas=quotas)
    with served(box) as address, grpc.insecure_channel(address) as channel:
        assert export(channel, payload(61)) == b""
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, retry=1):
            export(channel, payload(1))
        provider = TracerProvider()
        exporter = OTLPSpanExporter(endpoint=address, insecure=True, headers=KEY)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        provider.get_tracer("shop").start_span("late").end()
        provider.shutdown()
    assert over.get() == before + 2
    assert box.last_seq == 2
    [span] = read(box.payload(2), PROTOBUF, TRACES).request.resource_spans[0].scope_spans[0].spans
    assert span.name == "late"
    assert [record.getMessage() for record in caplog.records if record.levelno > 30] == []
    box.close()


def test_a_fault_of_ours_says_nothing_of_it(
    channel: grpc.Channel,
    inbox: Inbox,
    payload: Payload,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(inbox, "submit", broken)
    with pytest.raises(grpc.RpcError) as raised:
        export(channel, payload(1))
    error: Any = raised.value
    assert error.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in error.details()
    assert "/secret/path" in caplog.text


def test_a_taken_port_is_an_error(inbox: Inbox) -> None:
    async def twice() -> None:
        async with serving([], "127.0.0.1", 0, max_message=LIMIT, grace=0) as address:
            port = int(address.rpartition(":")[2])
            with pytest.raises(OSError, match="OTLP/gRPC"):
                async with serving([], "127.0.0.1", port, max_message=LIMIT, grace=0):
                    raise AssertionError("two servers on one port")

    asyncio.run(twice())
