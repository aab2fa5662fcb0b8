"""``/facts`` behind real tokens and a real engine."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from graph_api.auth import Authenticator
from graph_api.facts import build_router
from graph_api.problems import PROBLEM_JSON, Problem, handle_problem
from ingest.events import Event
from ingest.inbox import Inbox
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from proofs.governance import ANALYST, OPERATOR, Governance
from runtime.access import Access

IDS = Ids("http://test.localhost")
EVENT = Event(
    project="shop",
    source="otel.span",
    event_id="0",
    time=1_700_000_000_000_000_000,
    duration_ns=5,
    name="GET /cart",
    kind="server",
    status="ok",
    service='web "1", süd',
    release="",
    environment="",
    session="",
    trace_id="",
    span_id="",
    parent_span_id="",
    attributes={"http.route": "/cart"},
)


@dataclass
class Facts:
    """The endpoint, and a token for each role."""

    app: FastAPI
    tokens: dict[str, str]

    def send(
        self, method: str, path: str = "/facts", *, role: str = ANALYST, **more: Any
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.tokens[role]}"} if role else {}
        headers |= more.pop("headers", {})

        async def exchange() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, headers=headers, **more)

        return asyncio.run(exchange())

    def ask(self, sql: str, **more: Any) -> httpx.Response:
        return self.send("GET", params={"query": sql}, **more)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    folder = tmp_path_factory.mktemp("facts")
    warehouse = Warehouse(folder / "facts")
    warehouse.insert([EVENT, EVENT._replace(event_id="1", project="hidden one")])
    principals = {role: IDS.principal(role) for role in (ANALYST, OPERATOR)}
    governance = Governance(
        roles={iri: frozenset({role}) for role, iri in principals.items()},
        restricted=frozenset({IDS.lineage_graph("hidden one"), IDS.graph("proposals/restricted")}),
    )
    access = Access(folder / "access.sqlite", lambda: datetime.now(UTC), secrets.token_bytes)
    tokens = {role: access.lend(role, role, iri) for role, iri in principals.items()}
    app = FastAPI()
    app.add_exception_handler(Problem, handle_problem)
    inbox = Inbox(folder / "inbox.sqlite", fatal=pytest.fail)
    authenticator = Authenticator(access, lambda: governance)
    app.include_router(build_router(warehouse, authenticator, inbox, lambda: 4))
    yield Facts(app, tokens)
    inbox.close()
    warehouse.close()


def test_how_far_log_and_facts_are(facts: Facts) -> None:
    found = facts.send("GET", path="/facts/progress").json()
    assert found == {"head": 4, "cursor": 0, "pending": 0}


def test_rows_as_json(facts: Facts) -> None:
    response = facts.ask("SELECT service, seq, attributes FROM events")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "columns": ["service", "seq", "attributes"],
        "rows": [[EVENT.service, 0, {"http.route": "/cart"}]],
        "truncated": False,
    }


def test_rows_as_csv(facts: Facts) -> None:
    response = facts.ask(
        "SELECT service, NULL AS nothing, attributes FROM events", headers={"accept": "text/csv"}
    )
    assert response.headers["content-type"].startswith("text/csv")
    assert response.headers["fractalops-truncated"] == "false"
    assert list(csv.reader(io.StringIO(response.text))) == [
        ["service", "nothing", "attributes"],
        [EVENT.service, "", '{"http.route": "/cart"}'],
    ]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html, application/json;q=0.9", "application/json"),
        ("text/*", "text/csv"),
        ("application/xml", PROBLEM_JSON),
    ],
)
def test_formats(facts: Facts, accept: str, content_type: str) -> None:
    response = facts.ask("SELECT 1", headers={"accept": accept})
    assert response.headers["content-type"].partition(";")[0] == content_type
    assert response.status_code == (406 if content_type == PROBLEM_JSON else 200)


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_sql_in_a_body(facts: Facts, encoding: str) -> None:
    sql = b"SELECT 'h\xc3\xa9'"
    response = facts.send(
        "POST",
        content=gzip.compress(sql) if encoding else sql,
        headers={"content-type": "application/sql; charset=utf-8"}
        | ({"content-encoding": encoding} if encoding else {}),
    )
    assert response.json()["rows"] == [["hé"]]


def test_a_limit(facts: Facts) -> None:
    response = facts.send("GET", params={"query": "SELECT number FROM numbers(5)", "limit": 2})
    assert response.json() == {"columns": ["number"], "rows": [[0], [1]], "truncated": True}
    assert facts.send("GET", params={"query": "SELECT 1", "limit": 0}).status_code == 422


def test_restricted_projects_are_for_those_who_may_read_them(facts: Facts) -> None:
    sql = "SELECT DISTINCT project FROM events ORDER BY project"
    assert facts.ask(sql).json()["rows"] == [["shop"]]
    assert facts.ask(sql, role=OPERATOR).json()["rows"] == [["hidden one"], ["shop"]]


def test_no_token_no_answer(facts: Facts) -> None:
    response = facts.ask("SELECT 1", role="")
    assert response.status_code == 401
    assert response.headers["content-type"] == PROBLEM_JSON


@pytest.mark.parametrize(
    ("sql", "status", "kind"),
    [
        ("selec nothing", 400, "facts-query-invalid"),
        ("DROP TABLE events", 403, "facts-query-refused"),
        ("SELECT * FROM file('/etc/passwd')", 403, "facts-query-refused"),
        ("SELECT groupArray(number) FROM numbers(10000000000)", 503, "facts-query-limit"),
    ],
)
def test_refusals_are_problems(facts: Facts, sql: str, status: int, kind: str) -> None:
    for response in (
        facts.ask(sql),
        facts.send("POST", content=sql.encode(), headers={"content-type": "application/sql"}),
    ):
        assert response.status_code == status
        assert response.headers["content-type"] == PROBLEM_JSON
        assert response.json()["type"].endswith(f"/{kind}")
        assert response.json()["detail"]
        assert str(Path.cwd()) not in response.text


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"SELECT 1", "application/json", 415),
        (b"SELECT '\xff'", "application/sql", 400),
        (b"SELECT '" + b"x" * 300_000 + b"'", "application/sql", 413),
        (b"SELECT '" + b"x" * 100_000 + b"'", "application/sql", 400),
    ],
)
def test_bad_bodies(facts: Facts, body: bytes, content_type: str, status: int) -> None:
    response = facts.send("POST", content=body, headers={"content-type": content_type})
    assert response.status_code == status
    assert response.headers["content-type"] == PROBLEM_JSON
