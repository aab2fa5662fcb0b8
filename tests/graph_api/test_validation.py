"""Validations that take long, meet each other, fail, or are not waited for.

The ledger's part is played: what it tells, and when it ends, is up to each test.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import Response

from graph_api.auth import Authenticator, Caller
from graph_api.problems import PROBLEMS, Problem, handle_problem
from graph_api.validation import build_router, unvalidated
from ontology.ids import Ids
from ontology.store import GraphStore
from ontology.terms import Delta
from ontology.vocab import Fo, Rdf
from proofs.check import Checked
from proofs.errors import Forbidden
from proofs.ledger import Ledger
from shapes.errors import ValidationFailed
from shapes.reads import Reads
from shapes.report import Report
from shapes.whole import Progress, Tell

SECONDS = 30
LINES = {"Accept": "application/x-ndjson"}
IDS = Ids()
CHECKED = Checked(Delta(), Report(), 5, Reads())
Work = Callable[[Tell], Checked]


@dataclass
class PlayedLedger:
    """Does what it is told to, and notes when a validation ends."""

    work: Work = lambda tell: CHECKED
    head: int = 7
    ended: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def check_all(self, tell: Tell | None = None) -> Checked:
        assert tell is not None
        try:
            return self.work(tell)
        finally:
            self.ended.release()

    def dry_run(self, principal: str, request: object, tell: Tell | None = None) -> Checked:
        return self.check_all(tell)


class Everybody:
    """Takes every caller for an operator."""

    def require(self, *roles: str) -> Callable[[Request], Caller]:
        def caller(request: Request) -> Caller:
            return Caller("urn:ann", "ann", "operator", None, frozenset())

        return caller


async def failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationFailed)
    return unvalidated(error).response()


@pytest.fixture(scope="module")
def played() -> Iterator[tuple[str, PlayedLedger]]:
    ledger = PlayedLedger()
    app = FastAPI()
    app.add_exception_handler(Problem, handle_problem)
    app.add_exception_handler(ValidationFailed, failed)
    app.include_router(
        build_router(
            cast(Ledger, ledger),
            cast(Authenticator, Everybody()),
            IDS,
            GraphStore(None, IDS),
            body_limit=1_000_000,
        )
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    give_up = time.monotonic() + SECONDS
    while not server.started and time.monotonic() < give_up:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", ledger
    server.should_exit = True
    thread.join()


@pytest.fixture
def ledger(played: tuple[str, PlayedLedger]) -> PlayedLedger:
    played[1].ended = threading.Semaphore(0)
    return played[1]


@pytest.fixture
def client(played: tuple[str, PlayedLedger]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=played[0], timeout=SECONDS, trust_env=False) as client:
        yield client


def step(nodes: int) -> Progress:
    return Progress(1, 2, nodes, 0)


def lines(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.text.splitlines()]


def counted(kind: str) -> float:
    return float(PROBLEMS.labels(type=kind)._value.get())


def test_progress_comes_before_the_report(client: httpx.Client, ledger: PlayedLedger) -> None:
    seen = threading.Event()

    def work(tell: Tell) -> Checked:
        tell(step(1_000))
        assert seen.wait(SECONDS)
        return CHECKED

    ledger.work = work
    found = []
    with client.stream("POST", "/validate", headers=LINES) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        for line in answer.iter_lines():
            found.append(json.loads(line))
            seen.set()
    assert found[0] == {"progress": {"part": 1, "parts": 2, "nodes": 1_000, "found": 0}}
    report = found[-1]["report"]
    assert (report["conforms"], report["head"], report["head_at_end"]) == (True, 5, 7)


def test_one_whole_graph_at_a_time(client: httpx.Client, ledger: PlayedLedger) -> None:
    """A dry run that takes the whole graph counts; one that doesn't has nothing to wait for."""
    begun, go_on = threading.Event(), threading.Event()

    def long(tell: Tell) -> Checked:
        begun.set()
        assert go_on.wait(SECONDS)
        return CHECKED

    ledger.work = long
    first: list[int] = []
    thread = threading.Thread(target=lambda: first.append(client.post("/validate").status_code))
    thread.start()
    assert begun.wait(SECONDS)

    quads = f"<urn:a> <{Rdf.type}> <{Fo.Service}> "
    trig = {"Content-Type": "application/n-quads"}

    def dry_run(graph: str, work: Work) -> httpx.Response:
        ledger.work = work
        content = f"{quads}<{IDS.graph(graph)}> ."
        return client.post("/validate", content=content, headers=trig)

    def widens(tell: Tell) -> Checked:
        tell(step(1))
        return CHECKED

    before = counted("validation-busy")
    for refused in (
        client.post("/validate"),
        client.post("/validate", headers=LINES),
        dry_run("shapes", lambda tell: CHECKED),
        dry_run("ontology", widens),
    ):
        assert refused.status_code == 503
        assert refused.json()["type"].endswith("/validation-busy")
        assert int(refused.headers["retry-after"]) > 0
    assert counted("validation-busy") == before + 4
    assert dry_run("ontology", lambda tell: CHECKED).status_code == 200
    go_on.set()
    thread.join()
    assert first == [200]
    assert dry_run("shapes", widens).status_code == 200


@pytest.mark.parametrize("headers", [{}, LINES])
def test_a_client_that_hangs_up_ends_it(
    played: tuple[str, PlayedLedger], ledger: PlayedLedger, headers: dict[str, str]
) -> None:
    told = threading.Event()

    def endless(tell: Tell) -> Checked:
        give_up = time.monotonic() + SECONDS
        while time.monotonic() < give_up:
            tell(step(1))
            told.set()
            time.sleep(0.01)
        return CHECKED

    ledger.work = endless
    with httpx.Client(base_url=played[0], timeout=0.5, trust_env=False) as impatient:
        # The one sees a line and leaves, the other gets tired of seeing nothing.
        if headers:
            with impatient.stream("POST", "/validate", headers=headers) as answer:
                assert next(answer.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                impatient.post("/validate")
    assert told.is_set()
    assert ledger.ended.acquire(timeout=SECONDS / 2)
    ledger.work = lambda tell: CHECKED
    with httpx.Client(base_url=played[0], timeout=SECONDS, trust_env=False) as patient:
        give_up = time.monotonic() + SECONDS
        while (code := patient.post("/validate").status_code) == 503:
            assert time.monotonic() < give_up
    assert code == 200


def fails(tell: Tell) -> Checked:
    raise ValidationFailed("a process that validated a share of the graph ended")


@pytest.mark.parametrize("headers", [{}, LINES, {"Accept": "text/turtle"}])
def test_a_validation_that_comes_to_no_end(
    client: httpx.Client, ledger: PlayedLedger, headers: dict[str, str]
) -> None:
    before = counted("validation-failed")
    ledger.work = fails
    answer = client.post("/validate", headers=headers)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "a share of the graph ended. Nothing was changed" in answer.json()["detail"]
    assert counted("validation-failed") == before + 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValidationFailed("it ended"), "validation-failed"),
        (Forbidden("not yours"), "forbidden"),
        (KeyError("a defect"), "internal"),
    ],
)
def test_what_fails_after_the_first_line_is_the_last_line(
    client: httpx.Client, ledger: PlayedLedger, error: Exception, kind: str
) -> None:
    seen = threading.Event()

    def work(tell: Tell) -> Checked:
        tell(step(1))
        assert seen.wait(SECONDS)
        raise error

    ledger.work = work
    before = counted(kind)
    found = []
    with client.stream("POST", "/validate", headers=LINES) as answer:
        for line in answer.iter_lines():
            found.append(json.loads(line))
            seen.set()
    assert "progress" in found[0]
    assert found[-1]["problem"]["type"].endswith(f"/{kind}")
    assert "a defect" not in found[-1]["problem"]["detail"]
    assert counted(kind) == before + 1


def test_an_empty_body_of_some_type_is_a_delta_that_is_missing(
    client: httpx.Client, ledger: PlayedLedger
) -> None:
    """Nobody validates a whole graph by mistake."""
    ledger.work = lambda tell: CHECKED
    turtle = {"Content-Type": "text/turtle"}
    for answer in (
        client.post("/validate?graph=ontology", headers=turtle),
        client.post("/validate", headers=turtle),
        client.post("/validate?graph=ontology"),
    ):
        assert answer.is_client_error
    assert not ledger.ended.acquire(blocking=False)
