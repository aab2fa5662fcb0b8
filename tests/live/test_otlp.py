"""OpenTelemetry's own SDK sends traces, logs and metrics to a real server, by HTTP and by gRPC.

Its exporters run on their default settings, but for where they send to. What they sent is in the
facts, traces are in the graph, and the SDK logged no complaint.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import httpx
import posthog
import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from ingest.otlp import JSON, LOGS, read
from ontology.vocab import Fo
from runtime.serving_settings import GRPC_PORT

if TYPE_CHECKING:
    from tests.live.conftest import RunCommand, Serve, Server, Serving

pytestmark = pytest.mark.live

EXPORTERS: dict[str, tuple[Any, Any, Any]] = {
    "http": (HttpSpans, HttpLogs, HttpMetrics),
    "grpc": (GrpcSpans, GrpcLogs, GrpcMetrics),
}


@dataclass(frozen=True)
class Place:
    """A running server, its project's key, and what an SDK reads for either protocol."""

    server: Server
    key: str

    def environment(self, protocol: str) -> dict[str, str]:
        url = self.server.url
        if protocol == "grpc":
            url = f"http://{self.server.get('/status')['otlp_grpc']}"
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-fractalops-key={self.key}",
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, serving_in: Serving) -> Iterator[Place]:
    with serving_in(tmp_path_factory.mktemp("otlp")) as serve:
        server = serve(None, "--grpc-port", "0", "--steward-seconds", "0.2").start()
        yield Place(server, server.post("/projects", {"slug": "shop"})["ingest_key"])
        server.end()


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails a test in which the SDK logged anything worse than what it always says."""
    with caplog.at_level(logging.WARNING, logger="opentelemetry"):
        yield
    assert [record.getMessage() for record in caplog.records if record.levelno > 20] == []


def product(service: str, protocol: str) -> None:
    """A request to the service that fails, what it logs, and what it measures."""
    spans, logs, metrics = EXPORTERS[protocol]
    resource = Resource(
        {
            "service.name": service,
            "service.version": "1.4.2",
            "deployment.environment.name": "staging",
        }
    )
    tracing = TracerProvider(resource=resource)
    tracing.add_span_processor(BatchSpanProcessor(spans()))
    logging_ = LoggerProvider(resource=resource)
    logging_.add_log_record_processor(BatchLogRecordProcessor(logs()))
    metering = MeterProvider(
        metric_readers=[PeriodicExportingMetricReader(metrics())], resource=resource
    )
    meter = metering.get_meter("shop.meter")
    orders = meter.create_counter("shop.orders", unit="{order}")
    seconds = meter.create_histogram("http.server.request.duration", unit="s")
    with tracing.get_tracer("shop").start_as_current_span(
        "POST /orders",
        kind=SpanKind.SERVER,
        attributes={"http.request.method": "POST", "http.route": "/orders"},
    ) as span:
        orders.add(2, {"region": "north"})
        seconds.record(0.25, {"http.route": "/orders"})
        logging_.get_logger("shop.orders").emit(
            severity_number=SeverityNumber.ERROR,
            body="order 17 of ann@example.org failed",
            attributes={"exception.type": "LookupError"},
        )
        logging_.get_logger("shop.orders").emit(event_name="order.placed")
        span.set_status(StatusCode.ERROR)
    for provider in (tracing, logging_, metering):
        assert provider.force_flush()
        provider.shutdown()


@pytest.mark.parametrize("protocol", sorted(EXPORTERS))
def test_the_official_sdk(
    place: Place, protocol: str, monkeypatch: pytest.MonkeyPatch, complaints: None
) -> None:
    server, service = place.server, f"shop-{protocol}"
    for name, value in place.environment(protocol).items():
        monkeypatch.setenv(name, value)
    product(service, protocol)
    server.settle()

    def rows(columns: str, source: str) -> list[list[Any]]:
        return server.facts(
            f"SELECT {columns} FROM events WHERE service = '{service}' AND source = '{source}'"
            " ORDER BY name"
        )

    ((trace_id, span_id, *span),) = rows("trace_id, span_id, class, subject, status", "otel.span")
    operation = server.ids.operation("shop", service, "http", "POST /orders")
    assert span == [Fo.HttpRoute, operation, "error"]
    assert (len(trace_id), len(span_id)) == (32, 16)
    columns = "name, kind, status, trace_id, span_id, release, environment"
    where = [trace_id, span_id, "1.4.2", "staging"]
    assert rows(columns, "otel.log") == [
        ["order.placed", "event", "", *where],
        ["shop.orders", "log", "error", *where],
    ]
    ((severity, body, exception),) = [
        found
        for found in rows(
            "attributes['severity'], attributes['body'], attributes['exception.type']", "otel.log"
        )
        if found[0]
    ]
    assert (severity, exception) == ("error", "LookupError")
    assert body == "order 17 of [redacted] failed"
    # Ending, the SDK sends what it measured once more.
    measured = rows(
        "DISTINCT name, kind, attributes['value'], attributes['sum'], attributes['unit'],"
        " attributes['temporality'], attributes['scope']",
        "otel.metric",
    )
    assert [found[:6] for found in measured if found[6] == "shop.meter"] == [
        ["http.server.request.duration", "histogram", "", "0.25", "s", "cumulative"],
        ["shop.orders", "sum", "2", "", "{order}", "cumulative"],
    ]
    answer = server.get("/sparql", query=f"ASK {{ <{operation}> a <{Fo.HttpRoute}> }}")
    assert answer["boolean"] is True
    (steward,) = server.get("/stewards")["items"]
    assert not steward.get("problem"), steward


@pytest.mark.parametrize("protocol", sorted(EXPORTERS))
def test_a_wrong_key_is_told(
    place: Place,
    protocol: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in place.environment(protocol).items():
        monkeypatch.setenv(name, value.replace("foi_", "foi_0"))
    batches = place.server.get("/status")["inbox"]["batches"]
    spans = EXPORTERS[protocol][0]
    tracing = TracerProvider()
    tracing.add_span_processor(BatchSpanProcessor(spans()))
    tracing.get_tracer("shop").start_span("x").end()
    tracing.shutdown()
    assert place.server.get("/status")["inbox"]["batches"] == batches
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "UNAUTHENTICATED" in said or "401" in said, said


def test_the_examples_of_the_specification(place: Place, checkout: Path) -> None:
    examples = checkout.parent / "shared" / "suites" / "otlp" / "examples"
    if not examples.exists():
        pytest.skip(f"the OTLP examples are not at {examples}")
    server = place.server
    for name, path in (
        *(("trace", "/v1/traces"), ("logs", "/v1/logs"), ("events", "/v1/logs")),
        *(("metrics", "/v1/metrics"), ("metrics", f"/i/v1/metrics?token={place.key}")),
    ):
        headers = {"Content-Type": "application/json"}
        if "token" not in path:
            headers["Authorization"] = f"Bearer {place.key}"
        answer = httpx.post(
            f"{server.url}{path}",
            content=(examples / f"{name}.json").read_bytes(),
            headers=headers,
            trust_env=False,
        )
        assert (answer.status_code, answer.json()) == (200, {})
    server.settle()
    found = server.facts(
        "SELECT source, count() FROM events WHERE service = 'my.service' GROUP BY source"
        " ORDER BY source"
    )
    # The points that came twice are there once.
    assert found == [["otel.log", 2], ["otel.metric", 4], ["otel.span", 1]]


def test_posthog_s_own_traces_and_metrics(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """PostHog's client sends both as OTLP/JSON, with the key as Bearer and in the query."""
    server = place.server
    client = posthog.Posthog(
        place.key,
        host=server.url,
        traces={"service_name": "shop-product"},
        metrics={"service_name": "shop-product"},
    )
    with client.start_span("checkout"):
        client.metrics.count("shop.checkouts", 3)
    client.flush()
    client.shutdown()
    server.settle()
    found = server.facts(
        "SELECT source, name, kind, attributes['value'] FROM events"
        " WHERE service = 'shop-product' ORDER BY source"
    )
    assert found == [
        ["otel.metric", "shop.checkouts", "sum", "3.0"],
        ["otel.span", "checkout", "internal", ""],
    ]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_an_explicit_port_that_is_taken_is_an_error(
    place: Place, command: RunCommand, tmp_path: Path
) -> None:
    port = place.server.get("/status")["otlp_grpc"].rpartition(":")[2]
    ended = command("up", "--data", tmp_path / "data", "--port", "0", "--grpc-port", port)
    assert ended.code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.text
    assert "--grpc-port" in ended.text


def test_the_usual_port_is_had_or_it_is_said(serve: Serve, tmp_path: Path) -> None:
    """Whichever it is here: others may hold it, and the server runs without."""
    server = serve(tmp_path / "data")
    server.grpc = ()
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Where another process holds it already, that is as good.
        with suppress(OSError):
            holder.bind(("127.0.0.1", GRPC_PORT))
            holder.listen()
        server.start()
        assert f"OTLP/gRPC is off, because port {GRPC_PORT} is taken" in server.text
        assert server.get("/status")["otlp_grpc"] == "off"
        server.end()


def test_what_was_answered_ok_is_there_after_a_kill(serve: Serve, tmp_path: Path) -> None:
    server = serve(tmp_path / "data", "--grpc-port", "0").start()
    key = server.post("/projects", {"slug": "shop"})["ingest_key"]
    document = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"eventName": "kept"}]}]}]}
    payload = read(json.dumps(document).encode(), JSON, LOGS).request.SerializeToString()
    with grpc.insecure_channel(server.get("/status")["otlp_grpc"]) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
        assert export(payload, metadata=(("authorization", f"Bearer {key}"),), timeout=30) == b""
        server.kill()
    server.start()
    server.settle()
    assert server.facts("SELECT name, kind FROM events") == [["kept", "event"]]
