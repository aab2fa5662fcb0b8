"""One request in ten fails and the server is killed, while real clients send 100,000 events:
everything that was acknowledged is there, once.

What was acknowledged is seen from outside, by what stands between the clients and the server: it
refuses, hangs up before and after a request went through, and notes each success that it passed on.
"""

from __future__ import annotations

import gzip
import http.client
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import brotli
import posthog
import pytest
import sentry_sdk
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

if TYPE_CHECKING:
    from tests.live.conftest import Serve, Server

SPANS, PRODUCT_EVENTS, ERRORS = 90_000, 9_000, 1_000
BATCH = 500
KILLS = 2
# Of all requests: a quarter of the failures each.
FAILING = 0.1
FAULTS = ("429", "503", "hang-up-before", "hang-up-after")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < give_up, f"{what}: not within 300 s"
        time.sleep(0.05)


@dataclass
class Between:
    """Stands between clients and server. ``acknowledged`` has the (path, plain body) of each
    success that it passed on, ``faults`` how often it did what."""

    server: Server
    random: Random
    acknowledged: list[tuple[str, bytes]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    port: int = 0

    def fault(self) -> str:
        with self.lock:
            failing = self.random.random() < FAILING
            return self.random.choice(FAULTS) if failing else ""

    def pass_on(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, str, bytes]:
        place = urlsplit(self.server.url)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
        headers = {
            name: value
            for name, value in handler.headers.items()
            if name.lower() not in ("host", "connection", "transfer-encoding", "content-length")
        }
        with closing(connection):
            connection.request("POST", handler.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read()

    def has_passed_on(self, successes: int) -> bool:
        with self.lock:
            return len(self.acknowledged) >= successes

    def note(self, path: str, encoding: str, body: bytes) -> None:
        plain = brotli.decompress(body) if encoding == "br" else body
        plain = gzip.decompress(body) if encoding == "gzip" else plain
        with self.lock:
            self.acknowledged.append((path, plain))


def _handler(between: Between) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            fault = between.fault()
            with between.lock:
                between.faults[fault] += 1
            if fault.isdigit():
                self._answer(int(fault), b"", {"Retry-After": "1"})
                return
            if fault == "hang-up-before":
                self.close_connection = True
                return
            try:
                status, media_type, said = between.pass_on(self, body)
            except (OSError, http.client.HTTPException):
                # The server is not there, or was killed before it answered.
                with between.lock:
                    between.faults["no-server"] += 1
                self.close_connection = True
                return
            if fault == "hang-up-after":
                self.close_connection = True
                return
            self._answer(status, said, {"Content-Type": media_type})
            if status == 200:
                between.note(self.path, self.headers.get("Content-Encoding", ""), body)

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def standing_between(server: Server) -> Iterator[Between]:
    between = Between(server, Random(4))
    listener = ThreadingHTTPServer(("127.0.0.1", 0), _handler(between))
    listener.daemon_threads = True
    between.port = listener.server_address[1]
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield between
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


def made_spans(number: int) -> list[ReadableSpan]:
    """One batch of finished spans, as the SDK makes them."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": f"service-{number % 5}"}))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("test")
    for place in range(BATCH):
        attributes = {"http.request.method": "GET", "http.route": f"/things/{place % 20}"}
        tracer.start_span(f"GET /things/{place % 20}", attributes=attributes).end()
    provider.shutdown()
    return list(memory.get_finished_spans())


def send_spans(url: str, key: str, numbers: range) -> None:
    """Export batches, each again until the exporter says that it was taken: as a collector does."""
    exporter = OTLPSpanExporter(f"{url}/v1/traces", headers={"authorization": f"Bearer {key}"})
    for number in numbers:
        spans = made_spans(number)
        while exporter.export(spans) is not SpanExportResult.SUCCESS:
            pass
    exporter.shutdown()  # type: ignore[no-untyped-call]


def send_product_events(url: str, key: str) -> None:
    client = posthog.Posthog(key, host=url, flush_interval=0.2, max_retries=10, gzip=True)
    for number in range(PRODUCT_EVENTS):
        client.capture(f"event {number % 10}", distinct_id=f"person {number % 100}")
        if not number % 500:
            client.flush()
    client.shutdown()


def send_errors(url: str, dsn: str) -> None:
    """Sentry's client sends an event once and drops it where that fails."""
    there = urlsplit(dsn)
    through = there._replace(netloc=f"{there.username}@{urlsplit(url).netloc}").geturl()
    client = sentry_sdk.Client(through, default_integrations=False, transport_queue_size=2_000)
    for number in range(ERRORS):
        client.capture_event({"message": f"failed {number % 5}", "level": "error"})
    client.close(timeout=60)


def ids_of(path: str, body: bytes) -> list[tuple[str, str]]:
    """(source, event id) of everything in an acknowledged request."""
    if path == "/v1/traces":
        request = ExportTraceServiceRequest.FromString(body)
        return [
            ("otel.span", f"{span.trace_id.hex()}-{span.span_id.hex()}")
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
    if path.startswith("/batch"):
        return [("posthog.event", item["uuid"]) for item in json.loads(body)["batch"]]
    head, kind, _ = body.split(b"\n", 2)
    if json.loads(kind)["type"] != "event":
        return []
    return [("sentry.event", json.loads(head)["event_id"])]


def stored(server: Server) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    page = 10_000
    while True:
        rows = server.facts(
            "SELECT source, event_id FROM events ORDER BY source, event_id"
            f" LIMIT {page} OFFSET {found.total()}"
        )
        found.update((source, event_id) for source, event_id in rows)
        if len(rows) < page:
            return found


@pytest.mark.live
def test_what_was_acknowledged_is_there_once(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    server = serve(None, "--steward-seconds", "5").start()
    project = server.post("/projects", {"slug": "shop"})
    key = project["ingest_key"]
    with standing_between(server) as between, ThreadPoolExecutor(8) as senders:
        url = f"http://127.0.0.1:{between.port}"
        batches = SPANS // BATCH
        work = [
            *(senders.submit(send_spans, url, key, range(first, batches, 4)) for first in range(4)),
            senders.submit(send_product_events, url, key),
            senders.submit(send_errors, url, project["sentry"]["SENTRY_DSN"]),
        ]
        for kill in range(1, KILLS + 1):
            enough = kill * batches // (KILLS + 1)
            wait_until(partial(between.has_passed_on, enough), f"{enough} successes")
            server.kill()
            server.start()
        for sender in work:
            sender.result(300)
    acknowledged = Counter(
        identity for path, body in between.acknowledged for identity in ids_of(path, body)
    )
    for fault in FAULTS:
        assert between.faults[fault], f"nothing was met with {fault}"
    by_source = Counter(source for source, _ in acknowledged)
    assert by_source["otel.span"] == SPANS
    assert by_source["posthog.event"] > PRODUCT_EVENTS // 2
    assert by_source["sentry.event"]
    wait_until(lambda: not server.get("/status")["inbox"]["pending"], "facts of everything")
    facts = stored(server)
    missing = acknowledged.keys() - facts.keys()
    assert not missing, (len(missing), len(facts), server.facts("SELECT count() FROM events"))
    assert set(facts.values()) == {1}
    assert server.get("/status")["inbox"]["set_aside"] == 0
