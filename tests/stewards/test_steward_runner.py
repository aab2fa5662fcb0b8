"""The runner: who runs when, what an error costs, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest

from ontology.ids import Ids
from stewards.errors import UnknownSteward
from stewards.runner import LONGEST_WAIT, Assignment, StewardRunner
from stewards.watermark import WatermarkStore

if TYPE_CHECKING:
    from tests.stewards.conftest import Clock, PlayedGate, Traffic

TOKEN = "fot_" + "s" * 43


def until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Wait for a condition that another thread brings about."""
    waited = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return True
        waited.wait(0.02)
    return condition()


@pytest.fixture
def assignments(project: str) -> list[Assignment]:
    return [Assignment("shop-steward", project, TOKEN)]


Make = Callable[..., StewardRunner]


@pytest.fixture
def make(
    gate: PlayedGate,
    ids: Ids,
    watermarks: WatermarkStore,
    clock: Clock,
    assignments: list[Assignment],
) -> Iterator[Make]:
    made: list[StewardRunner] = []

    def build(interval: float = 0.1, **more: object) -> StewardRunner:
        runner = StewardRunner(
            lambda: list(assignments),
            gate.url,
            ids,
            watermarks,
            clock,
            interval=interval,
            random=Random(1),
            **more,  # type: ignore[arg-type]
        )
        made.append(runner)
        return runner

    yield build
    for runner in made:
        assert runner.stop()


def test_stewards_run_by_themselves(gate: PlayedGate, traffic: Traffic, make: Make) -> None:
    runner = make()
    runner.start()
    traffic.send(*traffic.order())
    assert until(lambda: len(gate.made()) == 1)
    (status,) = runner.status()
    assert (status["name"], status["project"]) == ("shop-steward", traffic.project)
    assert until(lambda: runner.status()[0]["watermark"] == 1)


def test_a_steward_is_woken_by_new_facts(gate: PlayedGate, traffic: Traffic, make: Make) -> None:
    runner = make(interval=60.0)
    runner.start()
    assert until(lambda: bool(runner.status()) and runner.status()[0]["runs"] == 1)
    traffic.send(*traffic.order())

    def woken() -> bool:
        runner.wake()
        return len(gate.made()) == 1

    assert until(woken)


def test_wake_ups_do_not_make_a_steward_work_all_the_time(gate: PlayedGate, make: Make) -> None:
    runner = make(interval=60.0)
    runner.start()
    assert until(lambda: bool(runner.status()) and runner.status()[0]["runs"] == 1)
    waited = threading.Event()
    for _ in range(50):
        runner.wake()
        waited.wait(0.01)
    assert runner.status()[0]["runs"] <= 2


def test_a_cycle_on_demand(gate: PlayedGate, traffic: Traffic, make: Make) -> None:
    runner = make()
    traffic.send(*traffic.order())
    status = runner.trigger("shop-steward")
    assert (status["watermark"], status["runs"], status["proposals"]) == (1, 1, 1)
    assert status["last_run_at"] == "2026-11-22T12:00:00+00:00"
    assert str(status["last_outcome"]).startswith("read 8 facts; proposed 100 quads in 1 proposal")
    with pytest.raises(UnknownSteward, match="'nobody'; at work: shop-steward"):
        runner.trigger("nobody")


def test_two_demands_at_once_are_two_cycles_after_each_other(
    gate: PlayedGate, traffic: Traffic, make: Make
) -> None:
    runner = make()
    traffic.send(*traffic.order())
    threads = [threading.Thread(target=runner.trigger, args=("shop-steward",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(gate.made()) == 1
    assert runner.status()[0]["runs"] == 3


def test_stewards_come_and_go_with_their_assignments(
    gate: PlayedGate, make: Make, assignments: list[Assignment], project: str
) -> None:
    runner = make()
    runner.start()
    assert until(lambda: len(runner.status()) == 1)
    assignments.append(Assignment("another", project + "-b", TOKEN))
    assert until(lambda: [item["name"] for item in runner.status()] == ["another", "shop-steward"])
    assignments.clear()
    assert until(lambda: not runner.status())
    with pytest.raises(UnknownSteward, match="no project yet"):
        runner.trigger("another")


def test_a_failing_steward_waits_longer_each_time_and_says_why(
    gate: PlayedGate, make: Make, assignments: list[Assignment], project: str
) -> None:
    """Its token was revoked. The clock stands still between cycles, so every wait is seen."""
    assignments[:] = [Assignment("shop-steward", project, "fot_revoked")]
    now = [0.0]
    runner = make(interval=5.0, monotonic=lambda: now[0])
    waits = []
    for _ in range(9):
        runner.trigger("shop-steward")
        waits.append(runner._seats["shop-steward"].due - now[0])
    assert all(later > sooner for sooner, later in pairwise(waits[:5]))
    assert LONGEST_WAIT <= waits[-1] <= LONGEST_WAIT * 1.2
    assert "failed: The token is not known (401)" in str(runner.status()[0]["last_outcome"])
    assignments[:] = [Assignment("shop-steward", project, TOKEN)]
    runner.trigger("shop-steward")
    assert runner._seats["shop-steward"].due - now[0] <= 6.0


def test_a_fault_ends_neither_the_thread_nor_the_others(
    gate: PlayedGate,
    traffic: Traffic,
    make: Make,
    assignments: list[Assignment],
    project: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken: list[str] = []

    def listed() -> list[Assignment]:
        if not broken:
            broken.append("once")
            raise RuntimeError("the list of projects can't be read")
        return assignments

    runner = make()
    monkeypatch.setattr(runner, "_assignments", listed)
    runner.start()
    traffic.send(*traffic.order())
    assert until(lambda: len(gate.made()) == 1)
    assert "the list of projects can't be read" in caplog.text


def test_no_token_is_shown(project: str) -> None:
    assert TOKEN not in repr(Assignment("shop-steward", project, TOKEN))
