"""The workflow of a job on a real Temporal server, with activities that do as they are told.

With ``WRITE_HISTORY=1`` the histories that ``tests/stewards/test_histories.py`` replays are written
where there are none yet: one that is there is of the code it was recorded with, and stays.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from stewards import orders
from stewards.deployment import deployment, make_current
from stewards.orders import JOBS_QUEUE, Attempt, Ended, Order, Performed
from stewards.workflows import JobWorkflow
from tests.live.temporal_server import PROGRAM, TemporalServer

pytestmark = pytest.mark.live

HISTORIES = Path(__file__).parents[1] / "stewards" / "histories"
QUICK = Order("shop-test", "audit", first=0.01, longest=0.01, attempts=2, limit=20, silence=10)
SWEEP = replace(QUICK, kind="sweep", project="shop", attempts=0)
AUDITED = {"ok": True, "head": 7}

Act = Callable[[Attempt, int], Performed]


class Played:
    """Activities that do as they are told, and what was noted."""

    def __init__(self, act: Act, *, away: int = 0) -> None:
        self._act = act
        self._away = away
        self.notes: list[Ended] = []
        self.performed = 0

    @activity.defn(name=orders.PERFORM, no_thread_cancel_exception=True)
    def perform(self, attempt: Attempt) -> Performed:
        self.performed += 1
        return self._act(attempt, activity.info().attempt)

    @activity.defn(name=orders.NOTE, no_thread_cancel_exception=True)
    def note(self, ended: Ended) -> None:
        if activity.info().attempt <= self._away:
            raise ApplicationError("no answer", type="GateUnreachable")
        self.notes.append(ended)


@pytest.fixture(scope="module")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    server = TemporalServer(tmp_path_factory.mktemp("temporal")).start()
    yield server
    server.kill()


def workers(client: Client, played: Played, queue: str, build: str = "0.1.0-a") -> list[Worker]:
    return [
        Worker(
            client,
            task_queue=name,
            workflows=[JobWorkflow] if name == queue else [],
            activities=[played.perform, played.note],
            activity_executor=ThreadPoolExecutor(4),
            identity="test",
            graceful_shutdown_timeout=timedelta(seconds=5),
            # Without a version, work of a workflow that has a versioning behaviour never comes.
            deployment_config=deployment(queue, build),
        )
        for name in (queue, queue + JOBS_QUEUE)
    ]


def play(
    temporal: TemporalServer,
    name: str,
    order: Order,
    played: Played,
    meanwhile: Callable[[WorkflowHandle[Any, Any]], Awaitable[object]] | None = None,
) -> tuple[Any, WorkflowFailureError | None]:
    """What the workflow gave, or how it failed; its histories are written where they are wanted."""

    async def run() -> tuple[Any, WorkflowFailureError | None]:
        client = await temporal.client()
        first, second = workers(client, played, name)
        async with first, second:
            await make_current(client, name, "0.1.0-a")
            handle = await client.start_workflow(
                orders.JOB_WORKFLOW, order, id=f"shop-test.{name}", task_queue=name
            )
            if meanwhile is not None:
                await meanwhile(handle)
            result, failure = None, None
            try:
                result = await handle.result()
            except WorkflowFailureError as error:
                failure = error
            await write(client, name)
            return result, failure

    return asyncio.run(run())


async def write(client: Client, name: str) -> None:
    if not os.environ.get("WRITE_HISTORY"):
        return
    number = 0
    async for found in client.list_workflows(f"WorkflowId = 'shop-test.{name}'"):
        history = await client.get_workflow_handle(found.id, run_id=found.run_id).fetch_history()
        path = HISTORIES / f"{name}-{number}.json"
        number += 1
        if not path.exists():
            document = {"id": found.id, "history": scrubbed(json.loads(history.to_json()))}
            path.write_text(json.dumps(document, indent=1) + "\n")


def scrubbed(value: Any) -> Any:
    """Without where the code lay that failed."""
    if isinstance(value, dict):
        return {k: scrubbed(v) for k, v in value.items() if k != "stackTrace"}
    return [scrubbed(item) for item in value] if isinstance(value, list) else value


def done(attempt: Attempt, times: int) -> Performed:
    return Performed(times, AUDITED)


def test_what_is_done_is_noted_by_the_name_of_its_run(temporal: TemporalServer) -> None:
    played = Played(done)
    asked = replace(QUICK, run="20261128-aaaaaaaaaa")
    assert play(temporal, "done", asked, played) == (AUDITED, None)
    (noted,) = played.notes
    assert (noted.run, noted.attempt, noted.error) == ("20261128-aaaaaaaaaa", 1, "")
    assert noted.outcome == AUDITED
    assert noted.ended >= noted.began


def test_an_idle_sweep_leaves_no_note(temporal: TemporalServer) -> None:
    played = Played(lambda attempt, times: Performed(times, {"state": "idle"}, idle=True))
    assert play(temporal, "idle", SWEEP, played) == ({"state": "idle"}, None)
    assert played.notes == []


def test_what_fails_is_tried_again_as_patiently_as_its_kind(temporal: TemporalServer) -> None:
    def second_time(attempt: Attempt, times: int) -> Performed:
        if times < 2:
            raise ApplicationError("busy", times, type="GateBusy")
        return Performed(times, AUDITED)

    played = Played(second_time)
    assert play(temporal, "retried", QUICK, played) == (AUDITED, None)
    assert [noted.attempt for noted in played.notes] == [2]


@pytest.mark.parametrize(("kind", "times"), [("GateBusy", 2), ("JobRefused", 1), ("Fault", 2)])
def test_what_fails_for_good_is_noted_and_fails(
    temporal: TemporalServer, kind: str, times: int
) -> None:
    def fail(attempt: Attempt, times: int) -> Performed:
        raise ApplicationError("set the variable", times, type=kind)

    played = Played(fail)
    result, failure = play(temporal, f"failed-{kind}", QUICK, played)
    assert result is None
    assert failure is not None
    (noted,) = played.notes
    assert (noted.error, noted.attempt, noted.outcome) == ("set the variable", times, None)
    assert played.performed == times


def test_one_that_gives_no_sign_of_life_is_taken_for_dead(temporal: TemporalServer) -> None:
    waiting = asyncio.Event()

    def stand_still(attempt: Attempt, times: int) -> Performed:
        while not (waiting.is_set() or activity.is_worker_shutdown()):
            activity.wait_for_worker_shutdown_sync(timedelta(seconds=3))
        return Performed(times)

    played = Played(stand_still)
    order = replace(QUICK, silence=1, attempts=1)
    _, failure = play(temporal, "silent", order, played)
    assert failure is not None
    (noted,) = played.notes
    assert "no sign of life for 1 seconds" in noted.error


def test_one_that_is_cancelled_ends_and_is_noted(temporal: TemporalServer) -> None:
    def until_cancelled(attempt: Attempt, times: int) -> Performed:
        while not activity.is_cancelled():
            activity.heartbeat()
            activity.wait_for_cancelled_sync(timedelta(seconds=0.1))
        raise CancelledError("told to stop")

    async def cancel(handle: WorkflowHandle[Any, Any]) -> None:
        while not played.performed:
            await asyncio.sleep(0.02)
        assert await handle.query(orders.STATE) == {"stage": "performing", "woken": False}
        await handle.cancel()

    played = Played(until_cancelled)
    _, failure = play(temporal, "cancelled", replace(QUICK, silence=1), played, cancel)
    assert failure is not None
    assert [noted.error for noted in played.notes] == ["it was cancelled in Temporal"]


def test_a_wake_up_during_a_sweep_lets_another_one_follow(temporal: TemporalServer) -> None:
    woken = asyncio.Event()

    def until_woken(attempt: Attempt, times: int) -> Performed:
        while not woken.is_set():
            activity.wait_for_worker_shutdown_sync(timedelta(seconds=0.05))
        return Performed(times, {"state": "unchanged"})

    async def wake(handle: WorkflowHandle[Any, Any]) -> None:
        while not played.performed:
            await asyncio.sleep(0.02)
        await handle.signal(orders.WAKE)
        await handle.signal(orders.WAKE)
        woken.set()

    played = Played(until_woken)
    assert play(temporal, "woken", SWEEP, played, wake) == ({"state": "unchanged"}, None)
    first, second = played.notes
    assert first.run.startswith("woken~")
    assert first.run != second.run
    assert played.performed == 2


def test_a_note_waits_for_the_platform(temporal: TemporalServer) -> None:
    played = Played(done, away=1)
    assert play(temporal, "noted-late", QUICK, played) == (AUDITED, None)
    assert len(played.notes) == 1


def test_a_newer_version_takes_over_what_an_older_one_began(temporal: TemporalServer) -> None:
    """The worker with the old build ends while its workflow runs; nobody has its build any more."""
    began = asyncio.Event()

    def until_the_end(attempt: Attempt, times: int) -> Performed:
        began.set()
        while not activity.is_worker_shutdown():
            activity.wait_for_worker_shutdown_sync(timedelta(seconds=0.05))
        raise ApplicationError(
            "told to stop", type="JobStopped", next_retry_delay=timedelta(seconds=0.05)
        )

    async def run() -> tuple[str, str]:
        client = await temporal.client()
        name = "versions"

        first, second = workers(client, Played(until_the_end), name, "0.1.0-old")
        async with first, second:
            await make_current(client, name, "0.1.0-old")
            handle = await client.start_workflow(
                orders.JOB_WORKFLOW, QUICK, id="shop-test.versions", task_queue=name
            )
            while not began.is_set():
                await asyncio.sleep(0.02)
            taking = Played(done)
            third, fourth = workers(client, taking, name, "0.2.0-new")
            async with third, fourth:
                await make_current(client, name, "0.2.0-new")
                await asyncio.gather(first.shutdown(), second.shutdown())
                assert await handle.result() == AUDITED
        assert [noted.attempt for noted in taking.notes] == [2]
        shown = await handle.describe()
        return shown.raw_info.versioning_info.deployment_version.build_id, str(shown.status)

    build, _ = asyncio.run(run())
    assert build == "0.2.0-new"


def test_patience_lasts_for_hours(tmp_path: Path) -> None:
    """Of the server that skips time: five attempts, an hour apart at last."""
    tried: list[float] = []

    async def run() -> None:
        environment = await WorkflowEnvironment.start_time_skipping(
            test_server_existing_path=str(PROGRAM.with_name("temporal-test-server"))
        )
        async with environment:

            def fail(attempt: Attempt, times: int) -> Performed:
                tried.append(activity.info().started_time.timestamp())
                raise ApplicationError("busy", times, type="GateBusy")

            played = Played(fail)
            first, second = workers(environment.client, played, "hours")
            order = replace(QUICK, first=1800, longest=3600, attempts=5)
            async with first, second:
                with pytest.raises(WorkflowFailureError):
                    await environment.client.execute_workflow(
                        orders.JOB_WORKFLOW, order, id="shop-test.hours", task_queue="hours"
                    )
            assert [noted.attempt for noted in played.notes] == [5]

    asyncio.run(asyncio.wait_for(run(), 60))
    waits = [round(after - before) for before, after in pairwise(tried)]
    assert waits == [1800, 3600, 3600, 3600]
