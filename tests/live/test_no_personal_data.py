"""Nothing of a seeded set of personal data and secrets is on disk, or in what is answered: payloads
that are retained are encrypted, and read as evidence alone.

A source is a line in SOURCES: what it is sent, with every seed in every odd place. The scan reads
what the server answers of its facts and its graph, whose files are compressed, of its log, proofs
and counters, and every byte of every file, databases also row by row. A canary that is no secret
shows that the scan finds things.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest

from tests.seeded_secrets import ADDRESS, AGENT, SEEDS, spellings
from tests.seeded_secrets import OF_TELEMETRY as SECRETS

if TYPE_CHECKING:
    from tests.live.conftest import Serve, Server

pytestmark = pytest.mark.live

CANARY: Final = "canary in the coal mine"

Sent = tuple[str, dict[str, str], bytes]


def _attribute(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def spans(key: str) -> Iterator[Sent]:
    """Spans: in names, keys, values, statements, resources, events and the status."""
    for number, (said, _) in enumerate(SEEDS.values()):
        attributes = [
            _attribute("note", f"for {said}, please"),
            _attribute(said, "as a key"),
            _attribute("db.statement", f"SELECT * FROM users WHERE x = '{said}' -- {said}"),
            _attribute("url.full", f"https://shop.example/a/{quote(said)}?x={said}#{said}"),
            _attribute("canary", CANARY),
            _attribute("client.address", ADDRESS),
            _attribute("http.request.header.x-forwarded-for", ADDRESS),
            _attribute("user_agent.original", AGENT),
            _attribute("enduser.id", said),
            _attribute("user.email", said),
            _attribute("app.clientSecret", said),
            _attribute("session.id", said),
            {
                "key": "basket",
                "value": {
                    "kvlistValue": {
                        "values": [
                            _attribute("deep", said),
                            {
                                "key": "list",
                                "value": {"arrayValue": {"values": [{"stringValue": said}]}},
                            },
                        ]
                    }
                },
            },
        ]
        if number % 4 == 0:
            # Of a server; a client's peer is a part of the system.
            attributes.append(_attribute("net.sock.peer.addr", ADDRESS))
        span = {
            "traceId": f"{number + 1:032x}",
            "spanId": f"{number + 1:016x}",
            "name": f"send {said}",
            "kind": 2 + number % 4,
            "startTimeUnixNano": "1790000000000000000",
            "endTimeUnixNano": "1790000000000000001",
            "attributes": attributes,
            "events": [{"name": said, "attributes": [_attribute("exception.message", said)]}],
            "status": {"code": 2, "message": said},
            "traceState": f"x={quote(said)}",
        }
        resource = [
            _attribute("service.name", f"shop-web {said}" if number % 2 else "shop-web"),
            _attribute("service.version", said),
            _attribute("deployment.environment.name", said),
            _attribute("process.command_line", f"run --x {said}"),
        ]
        scope = {"scope": {"name": said, "version": said}, "spans": [span]}
        body = {"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [scope]}]}
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        yield "/v1/traces", headers, json.dumps(body).encode()


def product_events(key: str) -> Iterator[Sent]:
    """Product events: in names, property names and values, nested JSON, URLs and persons."""
    for said, _ in SEEDS.values():
        properties = {
            "note": f"for {said}, please",
            said: said,
            "nested": {"deep": [{"deeper": said, said: 1}]},
            "packed": json.dumps({"inside": said}),
            "canary": CANARY,
            "$current_url": f"https://shop.example/a/{quote(said)}?x={quote(said)}#{quote(said)}",
            "$referrer": f"https://other.example/?x={quote(said)}",
            "$ip": ADDRESS,
            "$raw_user_agent": AGENT,
            "$session_id": said,
            "$set": {"email": said, "note": said},
            "$exception_list": [{"type": f"Error {said}", "value": said}],
            "service": said,
            "release": said,
            "environment": said,
        }
        event = {"event": f"sent {said}", "distinct_id": said, "properties": properties}
        yield "/batch/", {}, json.dumps({"api_key": key, "batch": [event]}).encode()


def errors(key: str) -> Iterator[Sent]:
    """Errors: in messages, exceptions, tags, breadcrumbs, requests, users, extras and logs."""
    for number, (said, _) in enumerate(SEEDS.values()):
        common = {
            "release": f"shop {said}",
            "environment": said,
            "server_name": said,
            "transaction": f"/orders/{said}",
            "tags": {"note": said, said: "as a key", "canary": CANARY, "session.id": said},
            "extra": {"note": said},
            "user": {"id": said, "email": said, "ip_address": ADDRESS},
            "request": {
                "url": f"https://shop.example/{said}",
                "query_string": said,
                "data": {"x": said},
                "headers": {"User-Agent": AGENT, "X-Forwarded-For": ADDRESS, "Cookie": said},
            },
            "breadcrumbs": {"values": [{"message": said, "data": {"x": said}}]},
            "contexts": {"app": {"app_name": said}, "own": {"x": said}},
            "fingerprint": ["{{ default }}", said],
        }
        frame = {"function": f"f {said}", "filename": said, "vars": {"x": said}, "in_app": True}
        raised = {
            "type": f"Error {said}",
            "value": f"no {said}",
            "stacktrace": {"frames": [frame]},
        }
        failed = common | {"event_id": f"{number + 1:032x}", "exception": {"values": [raised]}}
        told = common | {
            "event_id": f"{number + 101:032x}",
            "logentry": {"message": f"told {said}", "formatted": f"told {said}", "params": [said]},
        }
        logs = {
            "items": [
                {
                    "timestamp": 1790000000.0,
                    "level": "error",
                    "body": f"logged {said}",
                    "trace_id": f"{number + 1:032x}",
                    "attributes": {
                        "note": {"value": said, "type": "string"},
                        said: {"value": said, "type": "string"},
                    },
                }
            ]
        }
        check_in = {"check_in_id": said, "monitor_slug": said, "status": "ok"}
        envelope = [
            {"dsn": "", "trace": {"user_id": said}},
            {"type": "event"},
            failed,
            {"type": "event"},
            told,
            {
                "type": "log",
                "item_count": 1,
                "content_type": "application/vnd.sentry.items.log+json",
            },
            logs,
            {"type": "check_in"},
            check_in,
            {"type": "attachment", "filename": said},
            {"x": said},
        ]
        del envelope[0]["dsn"]  # type: ignore[attr-defined]
        body = "\n".join(json.dumps(line) for line in envelope).encode()
        yield f"/api/1/envelope/?sentry_key={key}", {}, body


def _otlp(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}


def _of_telemetry(said: str) -> list[dict[str, Any]]:
    """Attributes of a log record or a data point."""
    return [
        _attribute("note", f"for {said}, please"),
        _attribute(said, "as a key"),
        _attribute("canary", CANARY),
        _attribute("client.address", ADDRESS),
        _attribute("user_agent.original", AGENT),
        _attribute("user.email", said),
        _attribute("exception.message", f"no {said}"),
        _attribute("exception.stacktrace", f"at {said}"),
    ]


def log_records(key: str) -> Iterator[Sent]:
    """Log records: in bodies, names, attributes, scopes and resources."""
    for number, (said, _) in enumerate(SEEDS.values()):
        record = {
            "timeUnixNano": str(1790000000000000000 + number),
            "severityNumber": 17,
            "severityText": said,
            "body": {"stringValue": f"logged {said}"},
            "attributes": _of_telemetry(said),
            **({"eventName": f"sent {said}"} if number % 2 else {}),
        }
        resource = {"attributes": [_attribute("service.name", f"shop {said}")]}
        scope = {"scope": {"name": f"logger {said}"}, "logRecords": [record]}
        body = {"resourceLogs": [{"resource": resource, "scopeLogs": [scope]}]}
        yield "/v1/logs", _otlp(key), json.dumps(body).encode()


def data_points(key: str) -> Iterator[Sent]:
    """Metrics: in names, units, attributes, scopes and resources."""
    for number, (said, _) in enumerate(SEEDS.values()):
        point = {
            "timeUnixNano": str(1790000000000000000 + number),
            "asDouble": 1.5,
            "attributes": _of_telemetry(said),
        }
        metric = {"name": f"sold {said}", "unit": said, "gauge": {"dataPoints": [point]}}
        resource = {"attributes": [_attribute("service.version", said)]}
        scope = {"scope": {"name": said}, "metrics": [metric]}
        body = {"resourceMetrics": [{"resource": resource, "scopeMetrics": [scope]}]}
        yield "/v1/metrics", _otlp(key), json.dumps(body).encode()


def runs(key: str) -> Iterator[Sent]:
    """OpenLineage: in facets, owners, statements, messages and tags."""
    for number, (said, _) in enumerate(SEEDS.values()):
        job = {
            "namespace": "nightly",
            "name": "load",
            "facets": {
                "sql": {"query": f"INSERT INTO a SELECT '{said}' FROM b -- {said}"},
                "documentation": {"description": said},
                "ownership": {"owners": [{"name": said, "type": said}]},
                "tags": {
                    "tags": [{"key": "canary", "value": CANARY}, {"key": said, "value": said}]
                },
            },
        }
        run = {
            "runId": f"0192d5a4-0000-7000-8000-{number:012d}",
            "facets": {
                "errorMessage": {"message": f"no {said}", "stackTrace": f"at {said}"},
                "tags": {"tags": [{"key": "note", "value": said}]},
                said: {"note": said},
            },
        }
        facets = {
            "documentation": {"description": said},
            "datasetVersion": {"datasetVersion": said},
        }
        output = {"namespace": "postgres://db:5432", "name": "shop.public.a", "facets": facets}
        event = {
            "eventType": "FAIL",
            "eventTime": "2026-09-21T14:13:20Z",
            "producer": f"https://shop.example/{quote(said)}",
            "run": run,
            "job": job,
            "outputs": [output],
        }
        yield "/api/v1/lineage", _otlp(key), json.dumps(event).encode()


SOURCES: Final[dict[str, Callable[[str], Iterator[Sent]]]] = {
    "otel.span": spans,
    "posthog.event": product_events,
    "sentry.event": errors,
    "otel.log": log_records,
    "otel.metric": data_points,
    "openlineage.event": runs,
}


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, and every row of every database."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            yield str(path.relative_to(folder)), content
            if content.startswith(b"SQLite format 3\0"):
                with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                    yield f"{path.name} dumped", "\n".join(database.iterdump()).encode()


def found_in(places: Iterator[tuple[str, bytes]], wanted: tuple[str, ...]) -> list[tuple[str, str]]:
    """(place, what) for whatever is found, however JSON or a URL would write it."""
    spelled = [(what, spellings(what)) for what in wanted]
    return [
        (place, what)
        for place, content in places
        for what, spellings in spelled
        if any(spelling in content for spelling in spellings)
    ]


def answers(server: Server) -> Iterator[tuple[str, bytes]]:
    """Everything that the server says of its facts, its graph, its log and its counters."""
    for table in ("events", "lifecycle", "steward_lifecycle", "proof_entries"):
        yield table, json.dumps(server.facts(f"SELECT * FROM {table}"), ensure_ascii=False).encode()
    query = "SELECT ?g ?s ?p ?o { GRAPH ?g { ?s ?p ?o } }"
    yield "graph", json.dumps(server.select(query), ensure_ascii=False).encode()
    with server.client() as client:
        for path in ("/metrics", "/status", "/proposals", "/stewards", "/evidence", "/jobs/runs"):
            yield path, client.get(path).content
        dump = client.get("/graphs?default", headers={"Accept": "application/n-triples"})
        assert dump.is_success, dump.text
        yield "N-Triples of all graphs", dump.content
        for index in range(server.head + 1):
            yield f"entry {index}", client.get(f"/proofs/entries/{index}").content
            yield f"bundle {index}", client.get(f"/proofs/bundle/{index}").content


def ask_amiss(server: Server) -> None:
    """Secrets where none belong: in credentials, paths, parameters, questions and proposals."""
    with server.client() as client:
        for said, _ in SEEDS.values():
            written = quote(said, safe="")
            wrong = {"Authorization": f"Bearer {written}"}
            assert client.get("/status", headers=wrong).status_code == 401
            assert client.post("/v1/traces", headers=wrong, content=b"{}").status_code == 401
            assert client.get(f"/{written}/nothing", params={"x": said}).status_code == 404
            assert client.get("/runtime-assets", params={"role": said}).is_success
            assert client.get(f"/proofs/bundle/{written}").is_client_error
            literal = json.dumps(said)
            asked = client.get("/sparql", params={"query": f"SELECT * {{ ?s ?p {literal} }}"})
            assert asked.is_success
            assert client.get("/sparql", params={"query": f"ASK {{ {said} }}"}).is_client_error
            assert client.post("/facts", content=f"SELECT {literal} FROM {said}").is_client_error
            proposed = client.post(
                f"/proposals?project=shop&graph=lineage/shop&rationale={written}",
                content=f"<urn:x> {literal}",
                headers={"Content-Type": "text/turtle"},
            )
            assert proposed.is_client_error


@pytest.mark.parametrize("evidence", ["discard", "keep"])
def test_no_seed_is_found_anywhere(serve: Serve, evidence: str) -> None:
    server = serve(
        None, "--steward-seconds", "0.2", settings={"FRACTALOPS_EVIDENCE": evidence}
    ).start()
    key = server.post("/projects", {"slug": "shop"})["ingest_key"]
    for bodies in SOURCES.values():
        with server.client(anonymous=True) as client:
            for path, headers, body in bodies(key):
                answer = client.post(path, headers=headers, content=body)
                assert answer.is_success, answer.text
    ask_amiss(server)
    server.settle()

    counted = server.facts("SELECT source, count() FROM events GROUP BY source ORDER BY source")
    assert [source for source, _ in counted] == sorted(SOURCES)
    assert all(number >= len(SEEDS) for _, number in counted), counted
    said = list(answers(server))
    server.stop()
    on_disk = [*files(server.data), ("output", server.text.encode())]

    assert found_in(iter([*said, *on_disk]), SECRETS) == []
    # The scan finds what is there: in the facts, in a database and in a file.
    assert ("events", CANARY) in found_in(iter(said), (CANARY,))
    assert {"inbox.sqlite", "inbox.sqlite dumped"} <= {
        place for place, _ in found_in(iter(on_disk), ("application/json",))
    }
    (server.data / "planted").write_text(f"x={quote(SECRETS[0])}")
    assert found_in(files(server.data), SECRETS) == [("planted", SECRETS[0])]

    (server.data / "planted").unlink()
    if evidence == "keep":
        return
    with closing(sqlite3.connect(server.data / "inbox.sqlite")) as inbox:
        assert inbox.execute("SELECT count(*) FROM batch_key").fetchone() == (0,)
        assert inbox.execute("SELECT sum(length(ciphertext)) FROM batch").fetchone() == (0,)
        batches, erased = (
            inbox.execute(f"SELECT count(*) FROM {table}").fetchone()
            for table in ("batch", "erased")
        )
        assert batches == erased == (len(SEEDS) * len(SOURCES),)
