"""Schedules, runs and what is wanted of an executor, over a real gate and real facts."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from graph_api import http_errors, schedules
from graph_api import jobs as job_routes
from graph_api.assembly_jobs import Jobs, Place
from graph_api.assembly_stewards import Roster, Stewards
from graph_api.auth import Authenticator
from graph_api.changed_facts import ChangedFacts
from graph_api.job_health import TOLD_DAYS, JobHealth
from graph_api.job_json import LONGEST_ERROR, LONGEST_OUTCOME
from graph_api.job_watch import JobWatch
from graph_api.run_facts import RunFacts
from ingest.inbox import Inbox
from ingest.warehouse import Warehouse
from proofs.checkpoint import SignerKey
from proofs.genesis import steward_slug
from proofs.submission import Request
from runtime.access import Access
from runtime.data_folder import DataFolder
from runtime.settings import Settings
from stewards.conduct import Conduct
from stewards.job_store import KEPT_RUNS, LONGEST_DOCUMENT, Run
from stewards.jobs import DAY, HOUR, KINDS, SWEEP, Job
from stewards.staff import Assignment
from stewards.wakes import Wakes
from tests.proofs.conftest import Gate, founded, gate, signer

__all__ = ["founded", "gate", "signer"]  # fixtures

Json = dict[str, Any]

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC).timestamp()
BEGAN = "2026-11-28T11:59:00+00:00"
AUDIT = {"kind": "audit"}
RUNNING = {**AUDIT, "state": "running", "attempt": 1, "executor": "temporal", "began": BEGAN}
ARGUMENTS = {
    "source": "posthog",
    "url": "https://posthog.example",
    "of": "17",
    "since": "2026-01-01",
    "token_env": "POSTHOG_TOKEN",
}
BACKFILL: Json = {
    "kind": "backfill",
    "project": "shop",
    "label": "old",
    "arguments": ARGUMENTS,
}
ROUTES = (
    ("GET", "/schedules", None),
    ("PUT", "/schedules", {**AUDIT, "every": DAY}),
    ("DELETE", "/schedules/audit", None),
    ("POST", "/jobs", AUDIT),
    ("GET", "/jobs/runs", None),
    ("GET", "/jobs/runs/r1", None),
    ("PUT", "/jobs/runs/r1", RUNNING),
    ("GET", "/jobs/documents/audit", None),
    ("PUT", "/jobs/documents/audit", {"after": 0, "value": {}}),
    ("GET", "/jobs/wanted", None),
    ("POST", f"/stewards/{steward_slug('shop')}/token", None),
)


@dataclass
class Desk:
    """The routes over a gate, with a token for each role."""

    gate: Gate
    warehouse: Warehouse
    access: Access
    jobs: Jobs
    watch: JobWatch
    app: FastAPI
    changed: ChangedFacts
    tokens: dict[str, str]
    clock: list[float] = field(default_factory=lambda: [NOW])

    @property
    def health(self) -> JobHealth:
        return JobHealth(self.jobs)

    async def exchange(
        self, method: str, path: str, document: object = None, role: str = "operator", **more: Any
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.tokens[role]}"}
        if document is not None:
            more["content"] = json.dumps(document)
            headers["content-type"] = "application/json"
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://test", timeout=60
        ) as client:
            return await client.request(method, path, headers=headers, **more)

    def send(
        self, method: str, path: str, document: object = None, role: str = "operator", **more: Any
    ) -> httpx.Response:
        return asyncio.run(self.exchange(method, path, document, role, **more))

    def ok(self, method: str, path: str, document: object = None, **more: Any) -> Json:
        answer = self.send(method, path, document, **more)
        assert answer.is_success, answer.text
        found: Json = answer.json()
        return found

    def refused(self, status: int, kind: str, method: str, path: str, document: object) -> str:
        answer = self.send(method, path, document)
        assert answer.status_code == status, answer.text
        told = answer.json()
        assert told["type"].endswith(f"/{kind}"), told
        return str(told["detail"])

    def schedules(self) -> dict[str, Json]:
        return {item["job"]: item for item in self.ok("GET", "/schedules")["items"]}

    def facts(self) -> list[tuple[Any, ...]]:
        return [
            tuple(row)
            for row in self.warehouse.query(
                "SELECT subject, project, former, state, step, detail FROM lifecycle"
                " WHERE kind = 'job' ORDER BY time, step"
            ).rows
        ]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """The one that a process may have."""
    warehouse = Warehouse(tmp_path_factory.mktemp("jobs") / "facts")
    yield warehouse
    warehouse.close()


@pytest.fixture
def desk(gate: Gate, warehouse: Warehouse) -> Iterator[Desk]:
    with warehouse._write() as client:
        client.command("TRUNCATE TABLE lifecycle")
    with opened(gate, warehouse) as made:
        yield made


@pytest.fixture(scope="module")
def quiet(
    founded: Path,
    signer: SignerKey,
    warehouse: Warehouse,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Desk]:
    """A desk at which nothing changes."""
    folder = tmp_path_factory.mktemp("quiet") / "data"
    shutil.copytree(founded, folder, ignore=shutil.ignore_patterns("LOCK"))
    gate = Gate(folder, signer)
    with opened(gate, warehouse) as made:
        yield made
        assert made.jobs.store.schedules() == []
        assert made.jobs.store.runs() == []
    gate.close()


@contextmanager
def opened(gate: Gate, warehouse: Warehouse) -> Iterator[Desk]:
    access = Access(gate.folder / "access.sqlite", lambda: datetime.now(UTC), secrets.token_bytes)
    tokens = {
        "operator": access.lend("olga", "operator", gate.operator),
        "steward": access.lend("steward-shop", "steward", gate.steward, "shop"),
        "analyst": access.lend("ann", "analyst", gate.name("ann", "analyst")),
        "auditor": access.lend("otto", "auditor", gate.name("otto", "auditor")),
    }
    clock = [NOW]
    moments = (datetime.fromtimestamp(NOW + second, UTC) for second in itertools.count())
    jobs = Jobs(
        gate.folder / "jobs.sqlite",
        Place(sweep_every=5.0, mirrored=True),
        Wakes("p1"),
        ids=gate.ids,
        index=gate.index,
        governance=lambda: gate.ledger.governance,
        versions=lambda: gate.projections.versions,
        facts=RunFacts(warehouse, gate.ids, lambda: next(moments)),
        clock=lambda: clock[0],
    )
    gate.ledger.on_commit(jobs.committed)
    watch = JobWatch(jobs.wakes, most=3)
    authenticator = Authenticator(access, lambda: gate.ledger.governance)
    numbers = itertools.count(1)
    inbox = Inbox(gate.folder / "inbox.sqlite", fatal=pytest.fail)
    changed = ChangedFacts(inbox)
    app = FastAPI()
    http_errors.add_handlers(app)
    app.include_router(
        job_routes.build_router(
            jobs=jobs,
            watch=watch,
            authenticator=authenticator,
            governance=lambda: gate.ledger.governance,
            assignments=lambda: [Assignment(steward_slug("shop"), "shop", tokens["steward"])],
            changed=changed,
            new_id=lambda: f"r{next(numbers)}",
        )
    )
    app.include_router(
        schedules.build_router(
            jobs=jobs, authenticator=authenticator, governance=lambda: gate.ledger.governance
        )
    )
    try:
        yield Desk(gate, warehouse, access, jobs, watch, app, changed, tokens, clock)
    finally:
        jobs.close()
        inbox.close()
        access.close()


@pytest.mark.parametrize("role", ["analyst", "steward", "auditor"])
def test_jobs_are_the_operators(quiet: Desk, role: str) -> None:
    for method, path, document in ROUTES:
        answer = quiet.send(method, path, document, role)
        assert answer.status_code == 403, (method, path, answer.text)
        assert answer.json()["type"].endswith("/role-needed")


# --- schedules


def test_the_usual_schedules_follow_from_the_projects(desk: Desk) -> None:
    found = desk.schedules()
    assert list(found) == ["audit", "mirror", "retention", "sweep:billing", "sweep:shop"]
    assert {item["every"] for item in found.values()} == {5.0, HOUR, DAY}
    assert not any(item["set"] or item["paused"] for item in found.values())
    assert all(item["last"] is None for item in found.values())
    for item in found.values():
        ahead = datetime.fromisoformat(item["next"]).timestamp() - NOW
        assert 0 < ahead <= item["every"]
    desk.gate.found_project("bank")
    assert "sweep:bank" in desk.schedules()


def test_a_schedule_is_set_and_taken_back(desk: Desk) -> None:
    usual = desk.schedules()["audit"]
    made = desk.ok("PUT", "/schedules", {**AUDIT, "every": DAY, "offset": 3 * HOUR})
    assert made["next"] == "2026-11-29T03:00:00.000+00:00"
    assert made["set"] is True
    assert desk.schedules()["audit"] == made
    paused = desk.ok("PUT", "/schedules", {**AUDIT, "every": DAY, "paused": True})
    assert (paused["paused"], paused["next"]) == (True, None)
    assert paused["offset"] == usual["offset"]
    assert desk.send("DELETE", "/schedules/audit").status_code == 204
    assert desk.schedules()["audit"] == usual
    desk.refused(404, "schedule-not-set", "DELETE", "/schedules/audit", None)


def test_several_of_a_kind_are_told_apart_by_their_labels(desk: Desk) -> None:
    made = desk.ok("PUT", "/schedules", {**BACKFILL, "every": 6 * HOUR})
    assert made["job"] == "backfill:shop:old"
    desk.ok("PUT", "/schedules", {**BACKFILL, "label": "new", "every": 6 * HOUR})
    assert {"backfill:shop:new", "backfill:shop:old"} < set(desk.schedules())
    assert desk.send("DELETE", "/schedules/backfill:shop:new").status_code == 204
    assert "backfill:shop:new" not in desk.schedules()


WRONG_JOBS: tuple[tuple[int, str, Json], ...] = (
    (422, "job-invalid", {"kind": "dance"}),
    (422, "job-invalid", {"kind": "sweep"}),
    (422, "job-invalid", {"kind": "audit", "project": "shop"}),
    (422, "job-invalid", {"kind": "audit", "label": "x"}),
    (422, "job-invalid", {"kind": "audit", "arguments": {"since": 1}}),
    (422, "job-invalid", {"kind": "reclassify", "arguments": {"since": -1}}),
    (422, "job-invalid", {"kind": "backfill", "project": "shop"}),
    (422, "job-invalid", {**BACKFILL, "label": "../x"}),
    (
        422,
        "job-invalid",
        {**BACKFILL, "arguments": {**ARGUMENTS, "token_env": "FRACTALOPS_API_KEY"}},
    ),
    (422, "job-invalid", {"kind": "reclassify", "arguments": {"since": "\ud800"}}),
    (404, "unknown-project", {"kind": "sweep", "project": "nowhere"}),
)


@pytest.mark.parametrize(("status", "kind", "job"), WRONG_JOBS)
def test_what_is_no_job_is_neither_asked_for_nor_scheduled(
    quiet: Desk, status: int, kind: str, job: Json
) -> None:
    assert quiet.refused(status, kind, "POST", "/jobs", job)
    assert quiet.refused(status, kind, "PUT", "/schedules", {**job, "every": HOUR})


@pytest.mark.parametrize(
    "wrong",
    [
        {"every": 0},
        {"every": -5},
        {"every": 1e12},
        {"every": HOUR, "offset": HOUR},
        {"every": HOUR, "offset": -1},
    ],
)
def test_what_is_no_interval_is_refused(quiet: Desk, wrong: Json) -> None:
    assert quiet.refused(422, "job-invalid", "PUT", "/schedules", {**AUDIT, **wrong})


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/schedules", b'{"kind": "audit", "every": NaN}'),
        ("PUT", "/schedules", b'{"kind": "audit", "every": 1e999}'),
        ("PUT", "/schedules", b'{"kind": "audit", "every": 60, "when": "later"}'),
        ("PUT", "/schedules", b'{"kind": "audit"}'),
        ("PUT", "/schedules", b"["),
        ("POST", "/jobs", b'["audit"]'),
        ("POST", "/jobs", b'{"kind": "audit", "label": "' + b"x" * 1000 + b'"}'),
        ("PUT", "/jobs/runs/r1", b'{"kind": "audit"}'),
        ("PUT", "/jobs/runs/r1", json.dumps({**RUNNING, "executor": "\ud800"}).encode()),
        ("PUT", "/jobs/runs/r1", json.dumps({**RUNNING, "began": "2026-11-28T12:00"}).encode()),
        ("PUT", "/jobs/runs/r1", json.dumps({**RUNNING, "began": 1e300}).encode()),
        ("PUT", "/jobs/runs/r1", json.dumps({**RUNNING, "state": "asked"}).encode()),
        ("PUT", "/jobs/runs/" + "r" * 201, json.dumps(RUNNING).encode()),
        ("PUT", "/jobs/documents/audit", b'{"after": -1, "value": {}}'),
        ("PUT", "/jobs/documents/audit", b'{"after": 0, "value": []}'),
        ("GET", "/jobs/wanted?wait=31", b""),
        ("GET", "/jobs/wanted?wait=nan", b""),
        ("GET", "/jobs/runs?limit=0", b""),
        ("GET", "/jobs/runs/%00", b""),
    ],
)
def test_wrong_requests_are_refused(quiet: Desk, method: str, path: str, body: bytes) -> None:
    async def run() -> httpx.Response:
        headers = {
            "authorization": f"Bearer {quiet.tokens['operator']}",
            "content-type": "application/json",
        }
        transport = httpx.ASGITransport(quiet.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, content=body, headers=headers)

    assert asyncio.run(run()).status_code == 422


# --- runs


def test_a_run_is_asked_for_once(desk: Desk) -> None:
    answer = desk.send("POST", "/jobs", BACKFILL)
    assert answer.status_code == 202
    asked = answer.json()
    assert answer.headers["location"] == "/jobs/runs/r1"
    assert (asked["id"], asked["job"], asked["state"]) == ("r1", "backfill:shop:old", "asked")
    assert asked["asked_by"] == desk.gate.operator
    assert asked["arguments"] == BACKFILL["arguments"]
    assert desk.ok("POST", "/jobs", BACKFILL) == asked
    assert desk.ok("GET", "/jobs/runs/r1") == asked
    assert desk.ok("GET", "/jobs/runs") == {"items": [asked]}
    desk.refused(404, "unknown-run", "GET", "/jobs/runs/r2", None)


def test_a_run_is_noted_to_its_end_and_stays_so(desk: Desk) -> None:
    asked = desk.ok("POST", "/jobs", AUDIT)
    path = f"/jobs/runs/{asked['id']}"
    running = desk.ok("PUT", path, RUNNING)
    assert running["asked_by"] == desk.gate.operator
    assert (running["state"], running["began"]) == ("running", "2026-11-28T11:59:00.000+00:00")
    desk.ok("PUT", path, {**RUNNING, "state": "retrying", "error": "e" * 9_000})
    desk.ok("PUT", path, {**RUNNING, "attempt": 2})
    ended = "2026-11-28T12:00:30+00:00"
    done = {**RUNNING, "state": "done", "attempt": 2, "ended": ended, "outcome": {"ok": True}}
    kept = desk.ok("PUT", path, done)
    assert desk.ok("PUT", path, done) == kept
    assert kept["outcome"] == {"ok": True}
    assert kept["ended"] == "2026-11-28T12:00:30.000+00:00"
    assert desk.ok("PUT", path, {**RUNNING, "state": "failed", "attempt": 3}) == kept
    assert desk.schedules()["audit"]["last"] == kept
    first, last = desk.facts()
    assert first == ("audit", "", "running", "retrying", 1, "e" * 500)
    assert last == ("audit", "", "running", "done", 2, "")


def test_a_run_by_schedule_begins_with_its_executor(desk: Desk) -> None:
    again = {**RUNNING, "kind": "reclassify", "project": "shop"}
    path = "/jobs/runs/reclassify:shop-2026-11-28T12:00:00Z"
    failed = desk.ok("PUT", path, {**again, "state": "failed", "error": "no answer"})
    assert failed["ended"] == "2026-11-28T12:00:00.000+00:00"
    assert desk.facts() == [("reclassify:shop", "shop", "", "failed", 1, "no answer")]
    detail = desk.refused(409, "run-of-another-job", "PUT", path, RUNNING)
    assert "reclassify:shop" in detail
    desk.refused(404, "unknown-project", "PUT", "/jobs/runs/x", {**again, "project": "nowhere"})
    assert desk.ok("GET", "/jobs/runs", params={"job": "audit"}) == {"items": []}
    assert desk.ok("GET", "/jobs/runs", params={"job": "reclassify:shop"})["items"] == [failed]


def test_a_sweep_is_told_of_as_a_sweep(desk: Desk) -> None:
    sweep = {**RUNNING, "kind": "sweep", "project": "shop"}
    told = {"state": "proposed", "facts": 7, "quads": 12, "proposals": ["p4"], "awaiting": 0}
    steward = steward_slug("shop")
    for identifier, body in (
        ("a", {"state": "done", "outcome": told}),
        ("b", {"state": "retrying", "error": "no answer"}),
        ("c", {"state": "done", "outcome": {**told, "facts": "many", "proposals": None}}),
        # Nothing is made of what can't be one.
        ("d", {"state": "done", "outcome": {"state": "sung"}}),
    ):
        desk.ok("PUT", f"/jobs/runs/{identifier}", {**sweep, **body})
    rows = desk.warehouse.query(
        "SELECT subject, project, state, evidence, lifecycle.quads, proposals, principal"
        " FROM lifecycle WHERE kind = 'sweep' ORDER BY time"
    ).rows
    assert [list(row) for row in rows] == [
        [steward, "shop", "proposed", 7, 12, ["p4"], desk.gate.steward],
        [steward, "shop", "failed", 0, 0, [], desk.gate.steward],
        [steward, "shop", "proposed", 0, 12, [], desk.gate.steward],
    ]
    assert desk.facts() == []


def test_who_ask_for_the_same_at_once_get_the_same(desk: Desk) -> None:
    async def run() -> list[httpx.Response]:
        return await asyncio.gather(*(desk.exchange("POST", "/jobs", AUDIT) for _ in range(8)))

    answers = asyncio.run(run())
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(desk.jobs.store.runs()) == 1


def test_what_is_kept_of_a_run_has_bounds(desk: Desk) -> None:
    kept = desk.ok("PUT", "/jobs/runs/a", {**RUNNING, "error": "e" * (LONGEST_ERROR + 1)})
    assert len(kept["error"]) == LONGEST_ERROR
    assert desk.ok("PUT", "/jobs/runs/a", {**RUNNING, "error": "a\ud800b"})["error"] == "a?b"
    for outcome in ({"x": "y" * LONGEST_OUTCOME}, {"x": "\ud800"}):
        body = {**RUNNING, "state": "done", "outcome": outcome}
        desk.refused(422, "job-invalid", "PUT", "/jobs/runs/a", body)
    assert desk.ok("GET", "/jobs/runs/a")["state"] == "running"


def test_a_document_is_kept_by_whoever_read_the_newest(desk: Desk) -> None:
    path = "/jobs/documents/catalog-push:shop:lake"
    assert desk.ok("GET", path) == {"version": 0, "value": {}}
    assert desk.ok("PUT", path, {"after": 0, "value": {"head": 4}}) == {"version": 1}
    desk.refused(409, "document-changed", "PUT", path, {"after": 0, "value": {}})
    # It may be larger than other bodies, within bounds of its own.
    large = {"head": 4, "told": "y" * (2 << 20)}
    assert desk.ok("PUT", path, {"after": 1, "value": large}) == {"version": 2}
    assert desk.ok("GET", path) == {"version": 2, "value": large}
    endless = {"after": 2, "value": {"x": "y" * LONGEST_DOCUMENT}}
    desk.refused(413, "body-too-large", "PUT", path, endless)
    nothings: tuple[dict[str, Any], ...] = (
        {"after": -1, "value": {}},
        {"value": {}},
        {"after": 2, "value": [], "more": 1},
    )
    for wrong in nothings:
        desk.refused(422, "invalid-request", "PUT", path, wrong)
    for unknown in ("dance", "catalog-push:nowhere"):
        desk.refused(404, "unknown-job", "GET", f"/jobs/documents/{unknown}", None)


def test_two_that_remember_at_once_don_t_overwrite_each_other(desk: Desk) -> None:
    async def run() -> list[int]:
        body = {"after": 0, "value": {}}
        path = "/jobs/documents/audit"
        answers = [desk.exchange("PUT", path, body | {"value": {"n": n}}) for n in range(8)]
        return sorted(answer.status_code for answer in await asyncio.gather(*answers))

    assert asyncio.run(run()) == [200, *[409] * 7]


def test_who_is_to_read_again_is_told_until_it_will(desk: Desk) -> None:
    path = f"/stewards/{steward_slug('shop')}/rereading"
    assert desk.ok("GET", "/jobs/wanted")["changed"] == {}
    with desk.changed.writing() as note:
        note({"shop": 7})
        assert desk.ok("GET", "/jobs/wanted")["changed"] == {}
    assert desk.ok("GET", "/jobs/wanted")["changed"] == {"shop": 7}
    desk.send("POST", path, {"since": 8})
    assert desk.ok("GET", "/jobs/wanted")["changed"] == {"shop": 7}
    assert desk.send("POST", path, {"since": 7}).status_code == 204
    assert desk.ok("GET", "/jobs/wanted")["changed"] == {}
    desk.refused(422, "invalid-request", "POST", path, {"since": -1})
    desk.refused(404, "unknown-steward", "POST", "/stewards/nobody/rereading", {"since": 1})


def test_a_steward_s_token_is_lent(desk: Desk) -> None:
    answer = desk.send("POST", f"/stewards/{steward_slug('shop')}/token")
    assert answer.json() == {"token": desk.tokens["steward"], "project": "shop"}
    assert answer.headers["cache-control"] == "no-store"
    desk.refused(404, "unknown-steward", "POST", "/stewards/nobody/token", None)


# --- the long poll

Act = Callable[[], object]


def follow(desk: Desk, token: str | None, act: Act, wait: float = 30) -> Json:
    """What a worker is told that waits while this happens."""

    async def run() -> Json:
        waiting = asyncio.ensure_future(ask(desk, token, wait))
        while not desk.watch._waiting:
            await asyncio.sleep(0)
        await asyncio.to_thread(act)
        found: Json = (await waiting).json()
        return found

    return asyncio.run(run())


async def ask(desk: Desk, token: str | None, wait: float) -> httpx.Response:
    parameters = {"wait": wait} | ({} if token is None else {"after": token})
    return await desk.exchange("GET", "/jobs/wanted", params=parameters)


def token_of(desk: Desk) -> str:
    return str(desk.ok("GET", "/jobs/wanted")["token"])


def test_a_new_worker_is_told_everything_at_once(desk: Desk) -> None:
    asked = desk.ok("POST", "/jobs", AUDIT)
    for token in (None, "another.4", "p1.²", "p1.x"):
        found = desk.ok("GET", "/jobs/wanted", params={"wait": 30, "after": token or ""})
        assert found["woken"] is None
        assert found["runs"] == [asked]
        assert found["schedules"] == desk.ok("GET", "/schedules")["items"]


def test_a_worker_that_waits_is_woken(desk: Desk) -> None:
    gate = desk.gate
    waits = gate.ledger.submit(
        gate.steward, replace(gate.request(gate.service("held")), hold="a person should look")
    )
    assert waits is not None
    happens: dict[str, tuple[Act, list[str] | None]] = {
        "facts": (lambda: desk.jobs.wakes.wake(frozenset({"shop"})), ["shop"]),
        "a proposal": (lambda: gate.propose(gate.service("cart")), ["shop"]),
        "a decision": (lambda: gate.ledger.reject(gate.operator, waits.id, ""), ["shop"]),
        "a request": (lambda: desk.jobs.ask(Run("r9", Job("audit"), "asked", NOW)), []),
        "a schedule": (lambda: desk.jobs.set_schedule(desk.jobs.schedules()[0]), []),
        "a project": (lambda: gate.found_project("bank"), ["bank", "billing", "shop"]),
    }
    found: Json = {}
    for what, (act, woken) in happens.items():
        found = follow(desk, token_of(desk), act)
        assert found["woken"] == woken, what
    assert found["runs"][0]["id"] == "r9"
    assert "sweep:bank" in {item["job"] for item in found["schedules"]}


def test_a_proposal_that_waits_wakes_nobody(desk: Desk) -> None:
    token = token_of(desk)
    asked = desk.gate.request(desk.gate.service("held"))
    held = Request(asked.additions, frozenset(), project="shop", rationale="r", hold="why")
    assert desk.gate.ledger.submit(desk.gate.steward, held) is not None
    assert desk.ok("GET", "/jobs/wanted", params={"after": token})["woken"] == []


def test_rules_and_ontology_concern_everybody(desk: Desk) -> None:
    gate = desk.gate
    gate.name("mia", "operator")
    waiting = gate.propose('ex:T a owl:Class ; rdfs:label "t" .', "ontology", by=gate.operator)
    token = token_of(desk)
    gate.ledger.approve(gate.ids.principal("mia"), waiting.id, "")
    assert desk.ok("GET", "/jobs/wanted", params={"after": token})["woken"] == ["billing", "shop"]


def test_what_came_between_two_questions_is_told(desk: Desk) -> None:
    token = token_of(desk)
    desk.jobs.wakes.wake({"shop"})
    found = desk.ok("GET", "/jobs/wanted", params={"after": token, "wait": 30})
    assert found["woken"] == ["shop"]
    found = desk.ok("GET", "/jobs/wanted", params={"after": found["token"], "wait": 0.01})
    assert found["woken"] == []


def test_a_stream_of_facts_is_not_one_of_answers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long that it would be noticed if anything but the end of it were waited for.
    monkeypatch.setattr("graph_api.job_watch.REST", 0.5)
    token = token_of(desk)
    desk.jobs.wakes.wake({"shop"})

    async def run() -> Json:
        waiting = asyncio.ensure_future(ask(desk, token, 30))
        while not desk.watch._waiting:
            await asyncio.sleep(0)
        await asyncio.to_thread(desk.jobs.wakes.wake, {"billing"})
        found: Json = (await waiting).json()
        return found

    assert asyncio.run(run())["woken"] == ["billing", "shop"]


def test_the_end_of_the_server_ends_every_wait(desk: Desk) -> None:
    async def run() -> Json:
        waiting = asyncio.ensure_future(ask(desk, token, 30))
        while not desk.watch._waiting:
            await asyncio.sleep(0)
        desk.watch.close()
        found: Json = (await waiting).json()
        return found

    token = token_of(desk)
    assert asyncio.run(run())["woken"] == []
    # Who asks once more doesn't wait either.
    assert desk.ok("GET", "/jobs/wanted", params={"after": token, "wait": 30})["woken"] == []


def test_who_hangs_up_leaves_its_place(desk: Desk) -> None:
    token = token_of(desk)

    async def run() -> None:
        told: list[Mapping[str, Any]] = []
        hung_up = asyncio.Event()
        first = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Mapping[str, Any]:
            for message in first:
                return message
            await hung_up.wait()
            return {"type": "http.disconnect"}

        async def send(message: Mapping[str, Any]) -> None:
            told.append(message)

        headers = [(b"authorization", f"Bearer {desk.tokens['operator']}".encode())]
        query = f"after={token}&wait=30".encode()
        scope = {
            **{"type": "http", "method": "GET", "path": "/jobs/wanted", "raw_path": b"/"},
            **{"query_string": query, "http_version": "1.1", "scheme": "http", "headers": headers},
            **{"asgi": {"version": "3.0", "spec_version": "2.3"}, "root_path": ""},
        }
        calling = asyncio.ensure_future(desk.app(scope, receive, send))  # type: ignore[arg-type]
        while not desk.watch._waiting:
            await asyncio.sleep(0)
        hung_up.set()
        await calling
        assert not desk.watch._waiting

    asyncio.run(run())


def test_no_more_wait_than_there_is_room_for(desk: Desk) -> None:
    token = token_of(desk)

    async def run() -> None:
        waiting = [asyncio.ensure_future(ask(desk, token, 30)) for _ in range(3)]
        while len(desk.watch._waiting) < 3:
            await asyncio.sleep(0)
        refused = await ask(desk, token, 30)
        assert refused.status_code == 503
        assert refused.json()["type"].endswith("/jobs-busy")
        assert refused.headers["retry-after"] == "5"
        await asyncio.to_thread(desk.jobs.wakes.wake, {"shop"})
        answers = await asyncio.gather(*waiting)
        assert [answer.json()["woken"] for answer in answers] == [["shop"]] * 3

    asyncio.run(run())


def test_a_token_that_ends_while_it_waits_is_told_nothing(desk: Desk) -> None:
    token = token_of(desk)
    credential, secret = desk.access.issue("olga", "operator", desk.gate.operator)
    desk.tokens["ends"] = secret

    async def run() -> httpx.Response:
        parameters = {"wait": 30, "after": token}
        waiting = asyncio.ensure_future(
            desk.exchange("GET", "/jobs/wanted", role="ends", params=parameters)
        )
        while not desk.watch._waiting:
            await asyncio.sleep(0)
        desk.access.revoke(credential.id)
        desk.jobs.wakes.wake({"shop"})
        return await waiting

    assert asyncio.run(run()).status_code == 401


# --- how it goes, and what the page says


@pytest.fixture(scope="module")
def page(checkout: Path) -> str:
    return (checkout / "docs" / "jobs.md").read_text()


def test_who_executes_is_told(desk: Desk) -> None:
    assert desk.health.status() == {"executor": "embedded", "failed": 0}
    desk.jobs.place = replace(desk.jobs.place, temporal="temporal.example:7233")
    expected = {"executor": "temporal", "address": "temporal.example:7233", "failed": 0}
    assert desk.health.status() == {**expected, "worker_seen": None}
    token_of(desk)
    assert desk.health.status() == {**expected, "worker_seen": "2026-11-28T12:00:00.000+00:00"}


def test_a_worker_that_stays_away_is_missed(desk: Desk) -> None:
    desk.clock[0] += HOUR
    assert desk.health.warnings() == []
    desk.jobs.place = replace(desk.jobs.place, temporal="temporal.example:7233")
    (warning,) = desk.health.warnings()
    assert warning.startswith("no worker has asked for jobs since the start:")
    token_of(desk)
    assert desk.health.warnings() == []
    desk.clock[0] += HOUR
    (warning,) = desk.health.warnings()
    assert "since 2026-11-28T13:00:00.000+00:00: nothing runs until one does" in warning


def test_a_job_whose_newest_run_failed_is_told_of(desk: Desk) -> None:
    failed = {**RUNNING, "state": "failed", "attempt": 5, "error": "the disk\nis full"}
    desk.ok("PUT", "/jobs/runs/a", failed)
    again = {**failed, "kind": "reclassify", "project": "shop", "attempt": 1}
    desk.ok("PUT", "/jobs/runs/b", again)
    audit, reclassify = desk.health.warnings()
    assert audit == (
        "the job audit of all projects failed 5 times, last: the disk is full; 'fractalops jobs"
        " show a' says more, 'fractalops jobs again a' tries once more"
    )
    assert "reclassify:shop of project shop failed once" in reclassify
    # What no schedule brings again is forgotten after a while.
    desk.clock[0] += 8 * DAY
    assert [run.id for run in desk.health.failed()] == ["a"]
    desk.ok("PUT", "/jobs/runs/c", {**RUNNING, "state": "done", "began": "2026-11-29T00:00:00Z"})
    assert desk.health.warnings() == []


def test_what_datahub_refused_for_good_is_told_of(desk: Desk) -> None:
    push = {"kind": "catalog-push", "label": "lake", "arguments": {"server": "http://gms:8080"}}
    desk.ok("PUT", "/schedules", {**push, "every": HOUR})
    path = "/jobs/documents/catalog-push::lake"
    refused = {"urn": "urn:li:dataset:x", "target": "http://gms:8080", "status": 422}
    earlier = {**refused, "target": "http://other:8080"}
    for version, dead in enumerate(([], "nonsense", [earlier, "nonsense", refused])):
        desk.ok("PUT", path, {"after": version, "value": {"dead": dead}})
    assert desk.health.dead_letters() == {"catalog-push::lake": 1}
    (warning,) = desk.health.warnings()
    assert "DataHub refused 1 entity of the job catalog-push::lake of all projects:" in warning


def test_stewards_elsewhere_are_listed_by_what_is_known_of_them(desk: Desk) -> None:
    sweep = {**RUNNING, "kind": "sweep", "project": "shop", "state": "done"}
    desk.ok("PUT", "/jobs/runs/a", sweep)
    assert desk.jobs.stewards() == [
        {
            **{"name": steward_slug("billing"), "project": "billing"},
            **{"last_run_at": None, "last_outcome": None},
        },
        {
            **{"name": steward_slug("shop"), "project": "shop"},
            **{"last_run_at": "2026-11-28T12:00:00.000+00:00", "last_outcome": "done"},
        },
    ]


def rows_of(page: str) -> dict[str, list[str]]:
    """The rows of a page's tables by what their first cell names."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("| `")
    ]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_page_lists_the_kinds(page: str) -> None:
    rows = rows_of(page)
    of_project = {True: "yes", False: "no", None: "may be"}
    usual: dict[float, str] = {0: "when asked", 5: "every 5 s"}
    usual |= {HOUR: "once an hour", DAY: "once a day"}
    assert set(KINDS) < set(rows)
    for name, kind in KINDS.items():
        what, of, arguments, every = rows[name]
        assert what == kind.what
        assert of == of_project[kind.of_project]
        others = sorted(set(kind.arguments) - kind.needed)
        names = ", ".join(f"`{name}`" for name in [*sorted(kind.needed), *others])
        assert arguments == (names or "none")
        assert every.startswith(usual[kind.every])


def test_the_page_lists_the_settings(page: str) -> None:
    rows = rows_of(page)
    defaults = {
        f"FRACTALOPS_{name.upper()}": value.default
        for name, value in Settings.model_fields.items()
        if name.startswith("temporal")
    }
    assert {name: rows[name][0] for name in rows if name.startswith("FRACTALOPS_")} == {
        name: {None: "none", False: "false"}.get(value, value) for name, value in defaults.items()
    }


def test_the_page_says_how_patient_jobs_are(page: str) -> None:
    attempts = {name: kind.patience.attempts for name, kind in KINDS.items()}
    assert attempts.pop("sweep") == 0
    assert KINDS["sweep"].patience.longest == 300
    assert attempts.pop("backfill") == 10
    assert set(attempts.values()) == {5}
    assert {KINDS[name].patience.longest for name in (*attempts, "backfill")} == {HOUR}
    assert f"The newest {KEPT_RUNS} runs" in page
    assert TOLD_DAYS == 7


def test_a_full_disk_is_told_of_and_takes_nothing_that_was_kept(desk: Desk) -> None:
    document = {"after": 0, "value": {"told": "x" * 100_000}}
    # SQLite's own bound: a file that may not grow is refused as one on a full disk.
    desk.jobs.store._database.execute("PRAGMA max_page_count = 1")
    assert "free some space" in desk.refused(
        507, "disk-full", "PUT", "/jobs/documents/audit", document
    )
    assert desk.ok("GET", "/jobs/documents/audit") == {"version": 0, "value": {}}
    desk.jobs.store._database.execute("PRAGMA max_page_count = 1000000")
    assert desk.ok("PUT", "/jobs/documents/audit", document) == {"version": 1}


def test_what_is_in_hand_ends_as_soon_as_the_server_begins_to(desk: Desk) -> None:
    gate, folder, numbers = desk.gate, DataFolder(desk.gate.folder), itertools.count(1)
    stewards = Stewards(
        folder,
        Settings(),
        Conduct(),
        gate.ids,
        Roster(folder, gate.ids, gate.ledger, gate.keys, desk.access),
        desk.jobs,
        desk.changed,
        clock=lambda: datetime.now(UTC),
        new_id=lambda: f"s{next(numbers)}",
        busy=lambda: False,
        secret=lambda name: None,
    )
    asked = desk.jobs.ask(Run("asked", Job("audit"), "asked", NOW, asked_by="olga"))
    with ExitStack() as closing, socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        stewards.start(f"http://127.0.0.1:{silent.getsockname()[1]}", closing)
        # The audit and a sweep: each waits for an answer that doesn't come.
        waiting = [silent.accept()[0] for _ in range(2)]
        stewards.let_go()
        left = until(lambda: desk.jobs.store.run(asked.id), lambda run: run.state == "retrying")
        assert left.error == "told to stop while the platform was waited for"
        for connection in waiting:
            connection.close()
        swept = until(
            lambda: next(iter(open_sweeps(desk)), None), lambda run: run.state == "retrying"
        )
        assert swept.error.startswith("told to stop; the next sweep goes on there")


def open_sweeps(desk: Desk) -> list[Run]:
    return [run for run in desk.jobs.store.open_runs() if run.job.kind == SWEEP]


def until(look: Callable[[], Run | None], wanted: Callable[[Run], bool]) -> Run:
    """The run once it is as wanted."""
    for _ in range(600):
        found = look()
        if found is not None and wanted(found):
            return found
        time.sleep(0.05)
    pytest.fail("it stayed as it was")
