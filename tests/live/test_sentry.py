"""Sentry's own client on its default settings, against a real server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sentry_sdk
from fastapi import FastAPI
from flask import Flask
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    set_span_in_context,
)
from sentry_sdk import logger as sentry_logger
from sentry_sdk.crons import monitor
from sqlalchemy import create_engine, text

from ontology.vocab import Fo

if TYPE_CHECKING:
    from tests.live.conftest import Serve, Server

pytestmark = pytest.mark.live

SECRETS = ("ann@example.org", "Ann Smith", "198.51.100.7", "4111111111111111", "sid=opened")


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(None, "--steward-seconds", "0.2").start()


@pytest.fixture
def dsn(server: Server) -> str:
    """What creating a project says of Sentry."""
    found: str = server.post("/projects", {"slug": "shop"})["sentry"]["SENTRY_DSN"]
    return found


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """What the client logs as a warning or worse."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener, logger = Listener(logging.WARNING), logging.getLogger("sentry_sdk.errors")
    # The client lets nothing of its own log through but for debugging.
    filters, logger.filters = logger.filters, []
    logger.addHandler(listener)
    yield said
    logger.removeHandler(listener)
    logger.filters = filters


@pytest.fixture
def complaints(heard: list[str]) -> Iterator[list[str]]:
    """The same, of which there must be none at the end."""
    yield heard
    assert heard == []


@pytest.fixture
def client(dsn: str, complaints: list[str]) -> Iterator[None]:
    """The client on its default settings, but that it also traces and sends logs."""
    with sentry_sdk.isolation_scope():
        sentry_sdk.init(
            dsn,
            release="shop-web@1.4.2",
            environment="staging",
            traces_sample_rate=1.0,
            enable_logs=True,
        )
        sentry_sdk.set_tag("service", "shop-web")
        yield
        sentry_sdk.get_client().close()
    sentry_sdk.init()


def shop() -> FastAPI:
    app = FastAPI()

    @app.post("/orders/{number}")
    async def order(number: int) -> None:
        card = "4111111111111111"
        sentry_sdk.set_user({"id": "17", "email": "ann@example.org", "ip_address": "198.51.100.7"})
        sentry_sdk.add_breadcrumb(message="Ann Smith came")
        raise LookupError(f"no order {number} of ann@example.org with {card}")

    return app


async def visit(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as browser:
        await browser.post(
            "/orders/17?mail=ann@example.org",
            json={"name": "Ann Smith"},
            headers={"Cookie": "sid=opened"},
        )


def product() -> None:
    """One visit to the shop that fails, a message and a nightly job."""

    asyncio.run(visit(shop()))
    sentry_sdk.capture_message("stock is low")
    sentry_logger.warning("paid by {name}", name="Ann Smith")
    with monitor(monitor_slug="nightly"):
        pass
    sentry_sdk.flush()


def test_the_official_client(server: Server, client: None, complaints: list[str]) -> None:
    product()
    sentry_sdk.get_client().close()
    server.settle()
    rows = server.facts(
        "SELECT kind, name, class, rule, subject, status, service, attributes['error.issue']"
        " FROM events WHERE source = 'sentry.event' AND kind != 'sessions'"
        " OR source = 'otel.span' AND kind = 'server' ORDER BY kind, time"
    )
    assert [(row[0], row[1]) for row in rows] == [
        ("check-in", "nightly"),
        ("check-in", "nightly"),
        ("error", "LookupError"),
        ("log", "paid by {name}"),
        ("message", "stock is low"),
        ("server", "/orders/{number}"),
    ]
    error, transaction = rows[2], rows[5]
    assert error[2:7] == [
        Fo.ErrorIssue,
        Fo.rule_error_exception,
        server.ids.error_issue("shop", error[7]),
        "error",
        "shop-web",
    ]
    assert transaction[2:7] == [
        Fo.HttpRoute,
        Fo.rule_http_server,
        server.ids.operation("shop", "shop-web", "http", "POST /orders/{number}"),
        "error",
        "shop-web",
    ]
    assert {row[2] for row in (*rows[:2], *rows[3:5])} == {""}
    # The error happened in the transaction, in its trace.
    assert server.facts(
        "SELECT uniqExact(trace_id), min(length(trace_id)) FROM events"
        " WHERE kind IN ('error', 'server')"
    ) == [[1, 32]]
    assert server.facts(
        "SELECT DISTINCT project, release, environment FROM events WHERE source = 'sentry.event'"
    ) == [["shop", "1.4.2", "staging"]]
    said = str(server.facts("SELECT * FROM events"))
    assert [secret for secret in SECRETS if secret in said] == []
    # The client's clock is this machine's.
    assert server.facts("SELECT max(abs(dateDiff('second', time, now()))) < 300 FROM events") == [
        [1]
    ]


def stock(otlp: str, headers: dict[str, str]) -> Any:
    """A service that is traced by OpenTelemetry, and goes on with the trace that Sentry began."""
    provider = TracerProvider(resource=Resource.create({"service.name": "shop-stock"}))
    provider.add_span_processor(
        SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{otlp}/v1/traces", headers=headers))
    )
    tracer = provider.get_tracer("stock")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sent = dict(scope["headers"])[b"sentry-trace"].decode()
        trace, span, _ = sent.split("-")
        above = SpanContext(
            int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(1)
        )
        with tracer.start_as_current_span(
            "GET /stock",
            set_span_in_context(NonRecordingSpan(above)),
            SpanKind.SERVER,
            {"http.request.method": "GET", "http.route": "/stock"},
        ):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})
        provider.shutdown()

    return app


def test_transactions_alone_draw_the_architecture(
    server: Server, dsn: str, client: None, tmp_path: Path
) -> None:
    """A FastAPI and a Flask application with no other client than Sentry's, a database by
    SQLAlchemy, and one service behind them that OpenTelemetry traces."""
    key = server.post("/projects/shop/keys", {})["ingest_key"]
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (name TEXT)"))
    behind = stock(server.url, {"x-fractalops-key": key})
    app, flask = FastAPI(), Flask("shop-admin")

    @app.get("/orders/{number}")
    async def order(number: int) -> None:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO orders (name) VALUES ('Ann Smith')"))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(behind)) as out:
            await out.get("http://stock.example/stock?mail=ann@example.org")

    @flask.get("/reports/<day>")
    def report(day: str) -> str:
        with engine.begin() as connection:
            connection.execute(text("SELECT name FROM orders"))
        return day

    async def visit_order() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as browser:
            assert (await browser.get("/orders/17")).status_code == 200

    asyncio.run(visit_order())
    assert flask.test_client().get("/reports/monday").status_code == 200
    sentry_sdk.flush()
    server.settle()
    label = "<http://www.w3.org/2000/01/rdf-schema#label>"
    assert server.select(
        f"SELECT ?service ?entry ?way ?table {{ ?s <{Fo.offers}> ?e ; {label} ?service ."
        f" ?e {label} ?entry ; <{Fo.invokes}> ?query . ?query ?way ?data ."
        f" ?data {label} ?table . FILTER (?way IN (<{Fo.reads}>, <{Fo.writes}>)) }} ORDER BY ?entry"
    ) == [
        ("shop-web", "GET /orders/{number}", Fo.writes, "orders"),
        ("shop-web", "GET report()", Fo.reads, "orders"),
    ]
    assert server.select(
        f"SELECT ?from ?to ?via {{ ?a <{Fo.calls}> ?b . ?a {label} ?from . ?b {label} ?to ."
        f" ?d <{Fo.caller}> ?a ; <{Fo.callee}> ?b ; <{Fo.via}>/{label} ?via }}"
    ) == [("shop-web", "shop-stock", "GET /stock")]
    assert server.select(
        f"SELECT ?call ?route {{ ?c <{Fo.callsOperation}> ?r ; {label} ?call . ?r {label} ?route }}"
    ) == [("GET stock.example", "GET /stock")]
    said = str(server.facts("SELECT * FROM events"))
    assert [secret for secret in SECRETS if secret in said] == []


def test_the_trace_is_that_of_the_context(server: Server, client: None) -> None:
    with sentry_sdk.start_transaction(op="task", name="rebuild") as transaction:
        sentry_sdk.capture_exception(ValueError("x"))
    sentry_sdk.flush()
    server.settle()
    rows = server.facts("SELECT DISTINCT trace_id, span_id FROM events WHERE kind != 'sessions'")
    assert server.facts("SELECT source FROM events WHERE kind = 'internal'") == [["otel.span"]]
    assert rows == [[transaction.trace_id, transaction.span_id]]


def test_no_person_is_on_the_disk_in_plain(server: Server, client: None) -> None:
    product()
    server.settle()
    server.stop()
    found = [
        (str(path.relative_to(server.data)), secret)
        for path in sorted(Path(server.data).rglob("*"))
        if path.is_file()
        for secret in SECRETS
        if secret.encode() in path.read_bytes()
    ]
    assert found == []


def test_a_resend_counts_once(server: Server, dsn: str) -> None:
    key, _, place = dsn.partition("://")[2].partition("@")
    address = f"http://{place.rpartition('/')[0]}/api/1/envelope/?sentry_key={key}"
    event_id = "9ec79c33ec9942ab8353589fcb2e04dc"
    body = f'{{"event_id":"{event_id}"}}\n{{"type":"event"}}\n{{"message":"low"}}\n'
    for _ in range(3):
        answer = httpx.post(address, content=body, trust_env=False)
        assert (answer.status_code, answer.json()) == (200, {"id": event_id})
    server.settle()
    assert server.get("/status")["inbox"]["batches"] == 3
    assert server.facts("SELECT event_id FROM events") == [[event_id]]


def test_steady_errors_are_knowledge_once(server: Server, client: None) -> None:
    head = server.head
    heads = []
    for _ in range(2):
        product()
        server.settle()
        heads.append(server.head)
    assert head < heads[0] == heads[1]
    assert server.select(
        f"SELECT DISTINCT ?type ?version {{ ?issue a <{Fo.ErrorIssue}> ; <{Fo.errorType}> ?type ;"
        f" <{Fo.seenInRelease}>/<{Fo.version}> ?version }}"
    ) == [("LookupError", "1.4.2")]
    (steward,) = server.get("/stewards")["items"]
    assert not steward.get("problem"), steward


def test_a_wrong_key_is_told_and_keeps_nothing(server: Server, dsn: str, heard: list[str]) -> None:
    wrong: Any = dsn.replace("foi_", "foi_0")
    with sentry_sdk.isolation_scope():
        sentry_sdk.init(wrong)
        sentry_sdk.capture_message("stock is low")
        sentry_sdk.get_client().close()
    sentry_sdk.init()
    assert server.get("/status")["inbox"]["batches"] == 0
    assert server.problems("ingest-key-refused") >= 1
    assert any("403" in said and "fractalops projects create" in said for said in heard), heard
