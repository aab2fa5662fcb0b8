"""The OTLP/HTTP receiver behind a real server: real SDKs, raw sockets, hostile senders."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import brotli
import httpx
import pytest
import zstandard
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ingest.inbox import Inbox
from ingest.otlp import JSON, PROTOBUF, TRACES
from ingest.otlp_receiver import OtlpReceiver
from ingest.otlp_spans import decode
from ingest.receivers import KEY_HEADER, REQUESTS
from ingest.sender import Sender
from tests.ingest.receiver_server import serving

KEYS = {"foi_shop": Sender("shop"), "foi_other": Sender("other")}
LIMIT = 200_000
Payload = Callable[..., bytes]


@dataclass
class Server:
    """A receiver on a free port of this machine, and what is in its inbox."""

    inbox: Inbox
    port: int
    client: httpx.Client = field(repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"

    def post(self, body: bytes, **headers: str) -> httpx.Response:
        sent = {"content-type": PROTOBUF, KEY_HEADER: "foi_shop"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(self.url, content=body, headers=sent)

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@pytest.fixture(scope="module", params=["h11", "httptools"])
def listening(request: pytest.FixtureRequest) -> Iterator[tuple[Starlette, int]]:
    """A real server on a free port; it hands requests to ``state.receiver``."""
    app = Starlette()

    async def post(http_request: Request) -> Response:
        receiver: OtlpReceiver = app.state.receiver
        return await receiver.post(http_request)

    app.add_route("/v1/traces", post, methods=["POST"])
    with serving(app, http=request.param) as port:
        yield app, port


@pytest.fixture
def server(listening: tuple[Starlette, int], inbox: Inbox) -> Iterator[Server]:
    app, port = listening
    app.state.receiver = OtlpReceiver(TRACES, inbox, KEYS.get, max_body=LIMIT)
    with httpx.Client(timeout=20) as client:
        yield Server(inbox, port, client)


def status_of(response: httpx.Response) -> Status:
    assert response.headers["content-type"] == PROTOBUF
    return Status.FromString(response.content)


def outcomes(outcome: str) -> float:
    return float(REQUESTS.labels("traces", outcome)._value.get())


@pytest.mark.parametrize("compression", list(Compression))
def test_a_real_sdk_delivers(server: Server, compression: Compression) -> None:
    provider = TracerProvider(
        resource=Resource({"service.name": "shop-web", "service.version": "1.2"})
    )
    exporter = OTLPSpanExporter(
        endpoint=server.url, headers={KEY_HEADER: "foi_shop"}, compression=compression
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with (
        tracer.start_as_current_span("GET /cart", kind=SpanKind.SERVER) as parent,
        tracer.start_as_current_span("SELECT", attributes={"db.system": "sqlite"}),
    ):
        pass
    provider.shutdown()
    batches = server.inbox.pending(0, 10)
    events = [
        event
        for batch in batches
        for event in decode(
            server.inbox.payload(batch.seq), batch.content_type, project=batch.project
        )
    ]
    assert [(e.name, e.kind, e.service, e.release) for e in events] == [
        ("SELECT", "internal", "shop-web", "1.2"),
        ("GET /cart", "server", "shop-web", "1.2"),
    ]
    assert events[0].parent_span_id == format(parent.get_span_context().span_id, "016x")
    assert {batch.project for batch in batches} == {"shop"}


def test_an_accepted_batch_is_in_the_file_before_the_answer(
    server: Server, payload: Payload
) -> None:
    before = outcomes("accepted")
    response = server.post(payload(3))
    assert response.status_code == 200
    assert response.headers["content-type"] == PROTOBUF
    assert ExportTraceServiceResponse.FromString(response.content) == ExportTraceServiceResponse()
    # Another connection to the file sees it: it was committed.
    other = Inbox(server.inbox.file.path)
    assert other.payload(1) == payload(3)
    other.close()
    assert outcomes("accepted") == before + 1


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
        ("zstd", zstandard.compress),
        ("", gzip.compress),
    ],
)
def test_every_compression(
    server: Server, payload: Payload, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    headers = {"content_encoding": encoding} if encoding else {}
    assert server.post(pack(payload(3)), **headers).status_code == 200
    assert server.inbox.payload(1) == payload(3)


def test_chunked_bodies(server: Server, payload: Payload) -> None:
    body = payload(50)
    response = server.client.post(
        server.url,
        content=(body[start : start + 100] for start in range(0, len(body), 100)),
        headers={"content-type": PROTOBUF, KEY_HEADER: "foi_shop"},
    )
    assert response.request.headers["transfer-encoding"] == "chunked"
    assert response.status_code == 200
    assert server.inbox.payload(1) == body


def test_json_is_answered_in_json(server: Server) -> None:
    span = {"traceId": "01" * 16, "spanId": "02" * 8, "name": "n"}
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    response = server.post(json.dumps(document).encode(), content_type=JSON)
    assert (response.status_code, response.json()) == (200, {})
    assert response.headers["content-type"] == JSON
    refused = server.post(b"{", content_type=JSON)
    assert refused.status_code == 400
    assert refused.json()["code"] == 3
    assert server.inbox.last_seq == 1


@pytest.mark.parametrize("body", [b"", gzip.compress(b"")])
def test_an_empty_request_succeeds_and_stores_nothing(server: Server, body: bytes) -> None:
    assert server.post(body).status_code == 200
    empty = ExportTraceServiceRequest()
    empty.resource_spans.add().scope_spans.add()
    assert server.post(empty.SerializeToString()).status_code == 200
    assert server.inbox.last_seq == 0


@pytest.mark.parametrize(
    "headers",
    [
        {KEY_HEADER: ""},
        {KEY_HEADER: "wrong"},
        {KEY_HEADER: "", "authorization": "Bearer wrong"},
        {KEY_HEADER: "", "authorization": "Basic foi_shop"},
        {KEY_HEADER: "", "authorization": "Bearer"},
    ],
)
def test_a_wrong_key_is_refused(server: Server, payload: Payload, headers: dict[str, str]) -> None:
    before = outcomes("ingest-key-refused")
    response = server.post(payload(1), **headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    status = status_of(response)
    assert status.code == 16
    assert "OTEL_EXPORTER_OTLP_HEADERS" in status.message
    assert "wrong" not in status.message
    assert server.inbox.last_seq == 0
    assert outcomes("ingest-key-refused") == before + 1


@pytest.mark.parametrize(
    ("headers", "project"),
    [
        ({KEY_HEADER: "foi_other"}, "other"),
        ({KEY_HEADER: "", "authorization": "Bearer foi_other"}, "other"),
        ({KEY_HEADER: "", "authorization": "bearer  foi_other"}, "other"),
    ],
)
def test_the_key_decides_the_project(
    server: Server, payload: Payload, headers: dict[str, str], project: str
) -> None:
    assert server.post(payload(1), **headers).status_code == 200
    assert server.inbox.pending(0, 1)[0].project == project


@pytest.mark.parametrize(
    ("body", "headers", "status", "kind"),
    [
        (b"x", {"content_type": "text/plain"}, 415, "content-type-unsupported"),
        (b"x", {"content_type": "application/grpc"}, 415, "content-type-unsupported"),
        (b"x", {"content_encoding": "lzma"}, 415, "content-encoding-unsupported"),
        (b"\xff\xff", {}, 400, "payload-undecodable"),
        (b"not gzip", {"content_encoding": "gzip"}, 400, "body-corrupt"),
        (gzip.compress(b"x" * 99)[:-9], {}, 400, "body-corrupt"),
        (bytes(LIMIT + 1), {}, 413, "body-too-large"),
        (gzip.compress(bytes(50_000_000)), {}, 413, "body-too-large"),
        (gzip.compress(bytes(50_000_000)), {"content_encoding": "gzip"}, 413, "body-too-large"),
    ],
)
def test_bad_requests_are_refused_and_counted(
    server: Server, body: bytes, headers: dict[str, str], status: int, kind: str
) -> None:
    before = outcomes(kind)
    response = server.post(body, **headers)
    assert response.status_code == status
    assert status_of(response).code == 3
    assert status_of(response).message
    assert server.inbox.last_seq == 0
    assert outcomes(kind) == before + 1
    # No exporter sends these again.
    assert response.status_code not in (429, 502, 503, 504)


def test_a_truncated_payload_stores_nothing(server: Server, payload: Payload) -> None:
    whole = payload(5)
    for size in range(1, len(whole), 7):
        response = server.post(whole[:size])
        assert response.status_code in (200, 400)
        if response.status_code == 200:
            # A cut between two fields can leave a shorter message that is whole.
            assert ExportTraceServiceRequest.FromString(whole[:size]) is not None
    assert server.post(whole[:-1]).status_code == 400


def test_two_gigabytes_are_refused_at_the_first_word(server: Server) -> None:
    with server.raw() as connection:
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
            b"x-fractalops-key: foi_shop\r\ncontent-length: 2147483648\r\n\r\n"
        )
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 413")
    assert server.post(b"").status_code == 200


def test_an_endless_chunked_body_is_refused_on_the_way(server: Server) -> None:
    sent = 0
    with server.raw() as connection:
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
            b"x-fractalops-key: foi_shop\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + bytes(65_536) + b"\r\n"
        answer = b""
        connection.settimeout(0.2)
        while not answer and sent < 200_000_000:
            try:
                connection.sendall(chunk)
                sent += 65_536
            except OSError:
                break
            if sent > LIMIT:
                try:
                    answer = connection.recv(65_536)
                except TimeoutError:
                    continue
    assert sent < 200_000_000
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413")
    assert server.post(b"").status_code == 200
    assert server.inbox.last_seq == 0


def test_a_client_that_hangs_up_leaves_nothing_behind(
    server: Server, payload: Payload, caplog: pytest.LogCaptureFixture
) -> None:
    before = outcomes("client-gone")
    body = payload(20)
    head = (
        b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
        b"x-fractalops-key: foi_shop\r\ncontent-length: %d\r\n\r\n" % len(body)
    )
    for cut in (0, 1, len(body) // 2, len(body) - 1):
        with server.raw() as connection:
            connection.sendall(head + body[:cut])
    deadline = time.monotonic() + 10
    while outcomes("client-gone") < before + 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert outcomes("client-gone") == before + 4
    assert server.inbox.last_seq == 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert server.post(body).status_code == 200


def test_a_queue_that_is_too_long_asks_for_patience(tmp_path: Path, payload: Payload) -> None:
    box = Inbox(tmp_path / "small.sqlite", max_backlog=10)
    app = Starlette(
        routes=[Route("/v1/traces", OtlpReceiver(TRACES, box, KEYS.get).post, methods=["POST"])]
    )
    headers = {"content-type": PROTOBUF, KEY_HEADER: "foi_shop"}

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

            async def post() -> httpx.Response:
                return await client.post("/v1/traces", content=payload(1), headers=headers)

            answers = [await post(), await post()]
            box.advance(1)
            answers.append(await post())
            box.close()
            return [*answers, await post()]

    first, refused, again, closing = asyncio.run(send())
    assert (first.status_code, again.status_code) == (200, 200)
    for response in (refused, closing):
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
        assert Status.FromString(response.content).code == 14


def test_many_clients_at_once(server: Server, payload: Payload) -> None:
    statuses: list[int] = []

    def send(worker: int) -> None:
        with httpx.Client(timeout=20) as client:
            for number in range(20):
                body = payload(1, first=1 + worker * 100 + number)
                headers = {"content-type": PROTOBUF, KEY_HEADER: "foi_shop"}
                response = client.post(server.url, content=body, headers=headers)
                statuses.append(response.status_code)

    threads = [threading.Thread(target=send, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert statuses == [200] * 160
    assert server.inbox.last_seq == 160
