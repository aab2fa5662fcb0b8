"""Jobs on a real server: what a worker elsewhere is told, and what the server does itself."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.live.conftest import serving, spans, wait_until

if TYPE_CHECKING:
    from tests.live.conftest import Server

pytestmark = pytest.mark.live

RUNNING = {
    **{"kind": "audit", "state": "running", "attempt": 1, "executor": "temporal"},
    "began": "2026-11-28T12:00:00Z",
}


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mirror")


@pytest.fixture(scope="module")
def server(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose jobs are executed elsewhere, by nobody."""
    with serving(tmp_path_factory.mktemp("jobs")) as serve:
        settings = {"FRACTALOPS_TEMPORAL": "temporal.invalid:7233"}
        started = serve(None, "--mirror", str(mirror), settings=settings).start()
        yield started
        started.end()


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    return str(server.post("/projects", {"slug": "shop"})["ingest_key"])


def put(server: Server, path: str, document: object) -> dict[str, Any]:
    with server.client() as client:
        answer = client.put(path, json=document)
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


def seen(server: Server) -> str:
    """When a worker asked last; texts sort as the times do."""
    return str(server.get("/status")["jobs"]["worker_seen"])


def test_the_stewards_are_elsewhere(server: Server, key: str) -> None:
    jobs = server.get("/status")["jobs"]
    assert (jobs["executor"], jobs["address"]) == ("temporal", "temporal.invalid:7233")
    (steward,) = server.get("/stewards")["items"]
    assert (steward["name"], steward["last_run_at"]) == ("steward-shop", None)
    with server.client() as client:
        refused = client.post("/stewards/steward-shop/run")
    assert refused.status_code == 409
    assert "fractalops jobs run sweep --project SLUG" in refused.json()["detail"]


def test_a_worker_is_woken_by_facts_and_reads_them_as_the_steward(server: Server, key: str) -> None:
    first = server.get("/jobs/wanted")
    assert first["woken"] is None
    assert "sweep:shop" in {item["job"] for item in first["schedules"]}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.get, "/jobs/wanted", after=first["token"], wait=30)
        server.send(key, spans("jobs", 3))
        found = waiting.result()
    assert found["woken"] == ["shop"]
    assert server.get("/status")["jobs"]["worker_seen"]
    lent = server.post("/stewards/steward-shop/token")
    with server.client(lent["token"]) as client:
        answer = client.post(
            "/facts",
            content="SELECT count() FROM events",
            headers={"Content-Type": "application/sql"},
        )
        assert answer.json()["rows"] == [[3]]
        assert client.get("/schedules").status_code == 403


def test_what_failed_is_told_and_counted(server: Server) -> None:
    failed = {**RUNNING, "state": "failed", "attempt": 5, "error": "no room"}
    assert put(server, "/jobs/runs/audit-1", failed)["ended"]
    assert server.metric("fractalops_failed_jobs") == 1
    (warning,) = server.get("/status")["warnings"]
    assert warning.startswith("the job audit of all projects failed 5 times, last: no room;")
    restricted = server.post("/projects", {"slug": "bank", "restricted": True})
    assert restricted["project"]["restricted"]
    with server.client(server.token_of("ann", "analyst")) as client:
        # What an audit found may be of a graph that not everybody may read.
        assert client.get("/status").json()["warnings"] == []
    assert server.facts("SELECT subject, state, detail FROM lifecycle WHERE kind = 'job'") == [
        ["audit", "failed", "no room"]
    ]
    done = {**RUNNING, "state": "done", "began": "2026-11-28T13:00:00Z", "outcome": {"ok": True}}
    put(server, "/jobs/runs/audit-2", done)
    assert server.metric("fractalops_failed_jobs") == 0
    assert server.get("/status")["warnings"] == []


def test_a_mirror_is_completed_and_compared(server: Server, mirror: Path) -> None:
    size = server.head + 1
    wait_until(lambda: server.get("/status")["published"] == size, "the log's publication")
    tile = next(path for path in mirror.rglob("*") if path.is_file() and path.name != "checkpoint")
    kept = tile.read_bytes()
    tile.unlink()
    found = server.post("/proofs/mirror")
    assert found["size"] == size
    assert [(each["size"], each["problem"]) for each in found["folders"]] == [(size, "")] * 2
    assert tile.read_bytes() == kept
    tile.unlink()
    tile.write_bytes(bytes([kept[0] ^ 1]) + kept[1:])
    damaged = server.post("/proofs/mirror")["folders"][1]
    assert damaged["folder"] == str(mirror)
    assert damaged["problem"]
    tile.unlink()
    tile.write_bytes(kept)
    assert server.post("/proofs/mirror")["folders"][1]["problem"] == ""


def test_what_is_too_old_is_looked_for(server: Server) -> None:
    assert server.post("/evidence/retention") == {
        **{"erased_entries": 0, "carried_out_entries": 0, "requests_given_up": 0}
    }


def test_schedules_and_requests_outlive_the_server_and_its_end_ends_a_wait(
    server: Server, key: str
) -> None:
    put(server, "/schedules", {"kind": "audit", "every": 86_400, "offset": 10_800})
    asked = server.post("/jobs", {"kind": "sweep", "project": "shop"})
    token = server.get("/jobs/wanted")["token"]
    before = seen(server)
    with ThreadPoolExecutor(1) as pool:
        with server.client() as client:
            waiting = pool.submit(client.get, "/jobs/wanted", params={"after": token, "wait": 30})
            wait_until(lambda: seen(server) > before, "the worker's question")
            assert server.stop() == 0
            answer: httpx.Response = waiting.result()
        assert answer.json()["woken"] == []
    server.start()
    again = server.get("/jobs/wanted", after=token, wait=30)
    assert again["woken"] is None
    assert again["runs"] == [asked]
    held = {item["job"]: item for item in again["schedules"]}
    assert (held["audit"]["set"], held["audit"]["offset"]) == (True, 10_800)
