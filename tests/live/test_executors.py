"""Jobs on real parts: what each executor does, inside ``fractalops up`` and on a real Temporal.

The same tests run on both. Where they say that the executor is down, that is the server itself on
the one side, and the worker on the other.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from posthog import Posthog

from ontology.vocab import Fo
from tests.ingest.stand_in import Asked, Said, standing_in
from tests.live.conftest import own_environment, spans, wait_until
from tests.live.temporal_server import TemporalServer
from tests.seeded_secrets import watch

if TYPE_CHECKING:
    from tests.live.conftest import RunCommand, Server, Serving

pytestmark = pytest.mark.live

HURRIED = (sys.executable, str(Path(__file__).with_name("hurried.py")))
SECONDS = 60.0
BACKFILL = {"source": "posthog", "of": "17", "since": "2026-01-01"}


class Platform:
    """A platform with who executes its jobs: itself, or a worker on Temporal."""

    def __init__(self, server: Server, folder: Path, temporal: TemporalServer | None) -> None:
        self.server = server
        self.temporal = temporal
        self._folder = folder
        self._workers = 0
        self.worker: subprocess.Popen[bytes] | None = None
        self._said = folder / "nothing"

    def begin(self) -> None:
        """Let jobs be executed; a worker begins on another machine, which knows nothing yet."""
        if self.temporal is None:
            if not self.server.running:
                self.server.start()
            return
        self._workers += 1
        self._said = said = self._folder / f"worker-{self._workers}.txt"
        watch(said, self._folder / f"machine {self._workers}")
        with said.open("ab") as output:
            self.worker = subprocess.Popen(
                [
                    *(*HURRIED, "graph_api.cli", "worker", "--data", str(self.server.data)),
                    *("--state", str(self._folder / f"machine {self._workers}")),
                ],
                env=own_environment(**self.server.settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: "ready:" in said.read_text(), "a worker's beginning")

    @property
    def said(self) -> str:
        """What the worker said."""
        return self._said.read_text(errors="replace")

    @property
    def name(self) -> str:
        return "temporal" if self.temporal else "embedded"

    @property
    def executor(self) -> subprocess.Popen[bytes]:
        found = self.server.process if self.temporal is None else self.worker
        assert found is not None
        return found

    def kill(self) -> None:
        """kill -9 of whoever executes jobs."""
        self.executor.kill()
        self.executor.wait()

    def end(self) -> None:
        for process in (self.worker, self.server.process):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        if self.temporal is not None:
            self.temporal.kill()

    def run(self, identifier: str) -> dict[str, Any]:
        return self.server.get(f"/jobs/runs/{identifier}")

    def ended(self, identifier: str) -> dict[str, Any]:
        """A run, once it has ended."""
        wait_until(
            lambda: self.run(identifier)["ended"] is not None, f"the end of {identifier}", SECONDS
        )
        return self.run(identifier)

    def services(self, slug: str) -> set[str]:
        """The names of the project's services in the graph."""
        found = self.server.select(f"SELECT ?s WHERE {{ ?s a <{Fo.Service}> }}")
        return {iri.rpartition("/")[2] for (iri,) in found if f"/{slug}/" in iri}

    def sweeps(self, slug: str) -> list[dict[str, Any]]:
        """What the project's sweeps came to, the newest first."""
        runs = self.server.get("/jobs/runs", job=f"sweep:{slug}")["items"]
        return [run["outcome"] for run in runs if run["outcome"]]


on_temporal = pytest.mark.parametrize("platform", ["temporal"], indirect=True)
"""Of a test that says what is Temporal's alone."""


@pytest.fixture(scope="module", params=["embedded", "temporal"])
def platform(
    request: pytest.FixtureRequest, serving_in: Serving, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp(request.param)
    temporal = TemporalServer(folder).start() if request.param == "temporal" else None
    settings = {
        "KILLED_AT": "submit",
        "KILLED_MARK": str(folder / "killed"),
        "FRACTALOPS_HOLD_SECONDS": "0.1",
        "A_TEST_TOKEN": "secret",
    } | ({"FRACTALOPS_TEMPORAL": temporal.address} if temporal else {})
    (folder / "killed").touch()
    with socket.socket() as picked:
        picked.bind(("127.0.0.1", 0))
        port = picked.getsockname()[1]
    with serving_in(folder) as serve:
        # The same port when it is started again: who has found it once knows it.
        options = (
            *("--port", str(port), "--time-lock", "0", "--steward-seconds", "0.5"),
            *("--mirror", str(folder / "mirror")),
        )
        server = serve(folder / "data", *options, settings=settings)
        server.prefix = HURRIED
        found = Platform(server.start(), folder, temporal)
        try:
            found.begin()
            yield found
        finally:
            found.end()


def test_new_facts_become_a_proven_proposal_with_nobody_asking(
    platform: Platform, request: pytest.FixtureRequest
) -> None:
    server = platform.server
    made = server.post("/projects", {"slug": "shop"})
    began = time.monotonic()
    settings = made["posthog"]
    client = Posthog(settings["POSTHOG_PROJECT_API_KEY"], host=settings["POSTHOG_HOST"])
    client.capture("order shipped", distinct_id="someone", properties={"parcels": 2})
    client.shutdown()
    types = f"SELECT ?t WHERE {{ ?t a <{Fo.ProductEventType}> }}"
    wait_until(lambda: bool(server.select(types)), "a sweep", SECONDS)
    first = time.monotonic() - began
    server.send(made["ingest_key"], spans("later", 3, "later"))
    began = time.monotonic()
    wait_until(lambda: "later" in platform.services("shop"), "another sweep", SECONDS)
    told = f"to the graph: {first:.2f} s, then {time.monotonic() - began:.2f} s"
    request.config.get_terminal_writer().line(f"\n{platform.name}, from a fact {told}")
    (newest, *_) = server.get("/proposals", project="shop", limit=1)["items"]
    wait_until(
        lambda: server.get(f"/proposals/{newest['id']}")["state"] == "proven", "the proof", SECONDS
    )
    assert platform.sweeps("shop")[0]["state"] == "proposed"
    assert server.get(f"/proposals/{newest['id']}")["signature"]


def test_a_run_that_is_asked_for_is_executed(platform: Platform, command: RunCommand) -> None:
    ended = command("jobs", "run", "audit", "--wait", "--data", platform.server.data)
    assert ended.code == 0, ended.text
    (run, *_) = platform.server.get("/jobs/runs", job="audit")["items"]
    assert run["state"] == "done"
    assert run["outcome"]["ok"]
    assert run["executor"] == platform.name


def test_the_platform_is_kept_in_order(platform: Platform, command: RunCommand) -> None:
    for kind in ("retention", "mirror", "reclassify"):
        ended = command("jobs", "run", kind, "--wait", "--data", platform.server.data)
        assert ended.code == 0, ended.text
        (run, *_) = platform.server.get("/jobs/runs", job=kind)["items"]
        assert (run["state"], run["executor"]) == ("done", platform.name)
        assert run["outcome"]


def test_a_backfill_takes_in_what_posthog_holds(platform: Platform) -> None:
    server = platform.server
    server.post("/projects", {"slug": "old"})
    row = ["01890000-0000-7000-8000-00000000000a", "order kept", "2026-03-01T10:00:00Z", "ann", {}]
    with standing_in() as posthog:

        def answer(asked: Asked) -> Said:
            assert asked.headers["authorization"] == "Bearer secret"
            said = json.loads(asked.body)["query"]["query"]
            return Said(document={"results": [] if row[0] in said else [row]})

        posthog.answer = answer
        arguments = BACKFILL | {"url": posthog.url, "token_env": "A_TEST_TOKEN"}
        asked = {"kind": "backfill", "project": "old", "label": "once", "arguments": arguments}
        first = platform.ended(server.post("/jobs", asked)["id"])
        assert (first["state"], first["outcome"]) == ("done", {"taken_in": 1, "not_taken_in": 0})
        again = platform.ended(server.post("/jobs", asked)["id"])
        assert again["outcome"] == {"taken_in": 0, "not_taken_in": 0}
    types = f"SELECT ?t WHERE {{ ?t a <{Fo.ProductEventType}> }}"
    wait_until(lambda: any("/old/" in iri for (iri,) in server.select(types)), "a sweep", SECONDS)


def test_what_fails_is_tried_again_then_fails_and_is_shown(platform: Platform) -> None:
    server = platform.server
    with socket.socket() as picked:
        picked.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{picked.getsockname()[1]}"
    arguments = BACKFILL | {"url": nobody, "token_env": "A_TEST_TOKEN"}
    asked = {"kind": "backfill", "project": "shop", "label": "old", "arguments": arguments}
    run = platform.ended(server.post("/jobs", asked)["id"])
    assert (run["state"], run["attempt"]) == ("failed", 3)
    assert f"no server answers at {nobody}" in run["error"]
    arguments["token_env"] = "NOBODY_SET_THIS_TOKEN"
    run = platform.ended(server.post("/jobs", asked)["id"])
    assert (run["state"], run["attempt"]) == ("failed", 1)
    assert "set the variable NOBODY_SET_THIS_TOKEN" in run["error"]
    (warning,) = [w for w in server.get("/status")["warnings"] if "backfill:shop:old" in w]
    assert run["id"] in warning
    assert "secret" not in str(server.get("/jobs/runs"))


def test_an_approval_while_the_executor_is_down_reaches_the_run(platform: Platform) -> None:
    server = platform.server
    made = server.post("/projects", {"slug": "site"})
    server.send(made["browser_key"], spans("held", 3, "held"))

    def waiting() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = server.get(
            "/proposals", project="site", state="awaiting decision"
        )["items"]
        return found

    def followed() -> bool:
        return any(sweep["awaiting"] for sweep in platform.sweeps("site"))

    wait_until(lambda: bool(waiting()) and followed(), "a proposal that waits", SECONDS)
    (proposal,) = waiting()
    if platform.temporal is None:
        # Who executes jobs is who answers: it is killed with the answer on its way.
        server.post(f"/proposals/{proposal['id']}/decisions", {"outcome": "approve"})
        platform.kill()
    else:
        platform.kill()
        server.post(f"/proposals/{proposal['id']}/decisions", {"outcome": "approve"})
    platform.begin()
    assert server.get(f"/proposals/{proposal['id']}")["state"] in ("applied", "proven")
    assert platform.services("site") == {"held"}
    head = server.head
    server.send(made["ingest_key"], spans("after", 3, "after"))
    wait_until(lambda: "after" in platform.services("site"), "the next sweep", SECONDS)
    # What was approved isn't proposed once more.
    assert waiting() == []
    assert server.head == head + 1


@pytest.mark.parametrize("slug", ["killed"])
def test_kill_9_in_the_middle_proposes_nothing_twice(platform: Platform, slug: str) -> None:
    server = platform.server
    key = server.post("/projects", {"slug": slug})["ingest_key"]
    mark = Path(server.settings["KILLED_MARK"])
    mark.unlink()
    victim = platform.executor
    server.send(key, spans("once", 3, "once"))
    assert victim.wait(SECONDS) == -signal.SIGKILL
    assert mark.exists()
    platform.begin()
    wait_until(lambda: "once" in platform.services(slug), "what was begun", SECONDS)
    # The sweep that was cut off comes to its end, in another process.
    wait_until(lambda: not open_runs(platform, slug), "its end", SECONDS)
    server.send(key, spans("twice", 3, "twice"))
    wait_until(lambda: "twice" in platform.services(slug), "the next sweep", SECONDS)
    made = server.get("/proposals", project=slug)["items"]
    assert len([each for each in made if each["author"].endswith(f"steward-{slug}")]) == 2


def open_runs(platform: Platform, slug: str) -> list[dict[str, Any]]:
    runs = platform.server.get("/jobs/wanted")["runs"]
    return [run for run in runs if run["project"] == slug]


def test_a_schedule_that_is_set_is_kept(platform: Platform, command: RunCommand) -> None:
    server = platform.server
    data = ("--data", str(server.data))
    done = command("schedules", "set", "retention", "--every", "2s", *data)
    assert done.code == 0, done.text

    def runs() -> int:
        return len(server.get("/jobs/runs", job="retention")["items"])

    wait_until(lambda: runs() >= 2, "two runs by schedule", SECONDS)
    assert command("schedules", "pause", "retention", *data).code == 0
    assert command("schedules", "remove", "retention", *data).code == 0


@on_temporal
def test_temporal_has_the_schedules_that_are_wanted(platform: Platform) -> None:
    server, temporal = platform.server, platform.temporal
    assert temporal is not None

    async def held() -> dict[str, tuple[bool, float]]:
        client = await temporal.client()
        return {
            found.id.partition(".")[2]: (
                found.schedule.state.paused,
                found.schedule.spec.intervals[0].every.total_seconds(),
            )
            async for found in await client.list_schedules()
            if found.schedule is not None
        }

    def shows(**wanted: tuple[bool, float]) -> bool:
        found = asyncio.run(held())
        return all(found.get(job.replace("_", ":")) == value for job, value in wanted.items())

    wanted = {"kind": "sweep", "project": "shop", "every": 7, "offset": 1}
    with server.client() as client:
        # Nobody sweeps by the clock what is woken by its facts, unless somebody wants that.
        wait_until(lambda: shows(sweep_shop=(False, 60.0), audit=(False, 86_400.0)), "the usual")
        client.put("/schedules", json=wanted)
        wait_until(lambda: shows(sweep_shop=(False, 7.0)), "an interval")
        client.put("/schedules", json=wanted | {"paused": True})
        wait_until(lambda: shows(sweep_shop=(True, 7.0)), "a pause")
        client.delete("/schedules/sweep:shop")
        wait_until(lambda: shows(sweep_shop=(False, 60.0)), "the usual again")
        foreign = {"kind": "catalog-push", "every": 600, "arguments": {"server": "http://x"}}
        client.put("/schedules", json=foreign)
        wait_until(lambda: "catalog-push" in asyncio.run(held()), "one more")
        client.delete("/schedules/catalog-push")
        wait_until(lambda: "catalog-push" not in asyncio.run(held()), "one less")


@on_temporal
def test_what_is_ended_by_hand_in_temporal_is_noted(platform: Platform) -> None:
    temporal = platform.temporal
    assert temporal is not None
    with standing_in() as posthog:
        posthog.answer = lambda asked: Said(503)
        arguments = BACKFILL | {"url": posthog.url, "token_env": "A_TEST_TOKEN"}
        asked = {"kind": "backfill", "project": "shop", "label": "busy", "arguments": arguments}
        run = platform.server.post("/jobs", asked)
        wait_until(lambda: platform.run(run["id"])["state"] == "running", "its beginning", SECONDS)

        async def terminate() -> None:
            client = await temporal.client()
            async for found in client.list_workflows("ExecutionStatus = 'Running'"):
                if found.id.endswith(f".run:{run['id']}"):
                    await client.get_workflow_handle(found.id).terminate()

        asyncio.run(terminate())
        ended = platform.ended(run["id"])
    assert (ended["state"], ended["error"]) == ("failed", "its workflow is terminated in Temporal")


@on_temporal
def test_jobs_go_on_once_temporal_is_back(platform: Platform) -> None:
    server = platform.server
    assert platform.temporal is not None
    platform.temporal.kill()
    key = server.post("/projects", {"slug": "away"})["ingest_key"]
    server.send(key, spans("away", 3, "away"))
    asked = server.post("/jobs", {"kind": "retention"})
    time.sleep(1)
    assert platform.run(asked["id"])["state"] == "asked"
    assert platform.executor.poll() is None
    platform.temporal.start()
    wait_until(lambda: "away" in platform.services("away"), "what was woken meanwhile", SECONDS)
    assert platform.ended(asked["id"])["state"] == "done"
    assert "jobs wait: Temporal" in platform.said
    wait_until(lambda: "jobs go on: Temporal is back" in platform.said, "a line that says so")


@on_temporal
def test_jobs_go_on_once_the_platform_is_back(platform: Platform) -> None:
    """Its process is another one then, and no token that it lent is good any more."""
    server = platform.server
    asked = server.post("/jobs", {"kind": "reclassify", "arguments": {}})
    server.kill()
    time.sleep(1)
    server.start()
    assert platform.ended(asked["id"])["state"] == "done"
    key = server.post("/projects", {"slug": "back"})["ingest_key"]
    server.send(key, spans("back", 3, "back"))
    wait_until(lambda: "back" in platform.services("back"), "a sweep", SECONDS)
    assert platform.executor.poll() is None


def test_the_executor_ends_when_told_and_leaves_nothing_open(platform: Platform) -> None:
    executor = platform.executor
    executor.send_signal(signal.SIGTERM)
    assert executor.wait(SECONDS) == 0, platform.server.text
    platform.begin()
    key = platform.server.post("/projects", {"slug": "again"})["ingest_key"]
    platform.server.send(key, spans("again", 3, "again"))
    wait_until(lambda: "again" in platform.services("again"), "a sweep afterwards", SECONDS)
