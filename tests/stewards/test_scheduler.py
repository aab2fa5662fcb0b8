"""The scheduler inside the platform: what runs when, what a failure costs, and what outlives it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from stewards.activities import Activities, Pulse
from stewards.attempts import Attempts
from stewards.errors import GateUnreachable, JobFailed, JobRefused
from stewards.job_store import JobStore, Run
from stewards.jobs import DAY, HOUR, Job, Schedule
from stewards.lane import LONGEST_DELAY, Lane, Source
from stewards.scheduler import Scheduler
from stewards.wakes import Wakes

AUDIT = Job("audit")
NIGHTLY = Schedule(AUDIT, DAY, 3 * HOUR)
SWEEP = Job("sweep", "shop")
MIDNIGHT = 20_000.0 * DAY


class Place:
    """A lane whose clock stands still, whose jobs do what the test says."""

    def __init__(self, folder: Path) -> None:
        self.now = MIDNIGHT
        self.store = JobStore(folder / "jobs.sqlite")
        self.wakes = Wakes("test")
        self.schedules: list[Schedule] = []
        self.ran: list[tuple[str, int, Any]] = []
        self.answers: dict[str, Callable[[Pulse], Mapping[str, Any]]] = {}
        self.busy = False
        self.stopping = threading.Event()
        self.ids = itertools.count(1)
        self.begin()

    def begin(self) -> None:
        """A new process."""
        self.source = Source(
            lambda: self.schedules,
            self.store.open_runs,
            self.last_began,
            self.wakes,
            new_id=lambda: f"r{next(self.ids)}",
            random=Random(1),
            clock=lambda: self.now,
            monotonic=lambda: self.now,
        )
        kinds = ("sweep", "audit", "reclassify", "retention")
        self.attempts = Attempts(
            Activities(dict.fromkeys(kinds, self.activity)), self.store.note, lambda: self.now
        )
        self.lane = Lane(
            "all", self.source, self.attempts, lambda job: True, self.stopping, lambda: self.busy
        )

    def last_began(self, job: str) -> float | None:
        runs = self.store.runs(job, 1)
        return runs[0].began if runs else None

    def activity(self, job: Job, pulse: Pulse) -> Mapping[str, Any]:
        self.ran.append((job.id, pulse.attempt, pulse.left))
        answer = self.answers.get(job.id)
        return answer(pulse) if answer else {"state": "done"}

    def after(self, seconds: float) -> int:
        """Let time go by; how many jobs ran then."""
        self.now += seconds
        before = len(self.ran)
        self.lane.round()
        return len(self.ran) - before


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.store.close()


def fails(error: Exception) -> Callable[[Pulse], Mapping[str, Any]]:
    def answer(pulse: Pulse) -> Mapping[str, Any]:
        raise error

    return answer


def test_a_job_runs_at_its_moments_and_once_for_those_that_passed(place: Place) -> None:
    place.schedules = [NIGHTLY]
    assert place.after(0) == 0
    assert place.after(3 * HOUR - 1) == 0
    assert place.after(1) == 1
    assert [place.after(HOUR) for _ in range(23)] == [0] * 23
    assert place.after(HOUR) == 1
    place.now += 10 * DAY
    place.begin()
    assert place.after(0) == 1
    assert place.after(HOUR) == 0
    assert [run.state for run in place.store.runs()] == ["done"] * 3


def test_a_new_project_is_looked_at_at_once(place: Place) -> None:
    place.schedules = [Schedule(SWEEP, 60, 17)]
    assert place.after(0) == 1
    assert place.after(16) == 0
    assert place.after(1) == 1


def test_a_failure_is_tried_again_as_patience_says_and_then_it_has_failed(place: Place) -> None:
    place.schedules = [NIGHTLY]
    place.answers["audit"] = fails(JobFailed("the platform is away"))
    place.lane.round()
    assert place.after(3 * HOUR) == 1
    waits: list[float] = []
    for _ in range(4):
        waited = 0.0
        while not place.after(1):
            waited += 1
        waits.append(waited + 1)
    patience = AUDIT.patience
    for n, waited in enumerate(waits, 1):
        assert patience.wait(n) <= waited <= patience.wait(n) * 1.2 + 1
    (run,) = place.store.runs()
    assert (run.state, run.attempt, run.error) == ("failed", 5, "the platform is away")
    place.answers.clear()
    assert place.after(DAY) == 1
    assert place.store.newest()["audit"].state == "done"


def test_what_needs_a_person_is_not_tried_again(place: Place) -> None:
    place.schedules = [NIGHTLY]
    place.answers["audit"] = fails(JobRefused("set DATAHUB_GMS_TOKEN"))
    place.lane.round()
    assert place.after(3 * HOUR) == 1
    assert place.after(12 * HOUR) == 0
    (run,) = place.store.runs()
    assert (run.state, run.attempt) == ("failed", 1)


def test_a_sweep_is_tried_for_ever_but_ever_less_often(place: Place) -> None:
    place.schedules = [Schedule(SWEEP, 5)]
    place.answers["sweep:shop"] = fails(GateUnreachable("no answer"))
    ran = [place.after(5) for _ in range(2_000)]
    assert sum(ran[:60]) > sum(ran[60:120]) > 0
    assert sum(ran[-120:]) == pytest.approx(2, abs=1)
    assert place.store.open_runs()[0].state == "retrying"
    place.answers.clear()
    place.after(400)
    assert not place.store.open_runs()


def test_what_a_killed_process_left_is_gone_on_with_once(place: Place) -> None:
    place.schedules = [NIGHTLY]
    place.store.note(Run("left", AUDIT, "running", place.now - 60, 2, "embedded"))
    place.store.ask(Run("asked", Job("reclassify"), "asked", place.now - 30))
    assert place.after(0) == 2
    assert [(job, attempt) for job, attempt, _ in place.ran] == [("audit", 3), ("reclassify", 1)]
    assert place.after(1) == 0
    assert {run.id: run.state for run in place.store.runs()} == {"left": "done", "asked": "done"}
    assert place.after(3 * HOUR) == 1


def test_an_attempt_gets_what_the_one_before_said_last(place: Place) -> None:
    def answer(pulse: Pulse) -> Mapping[str, Any]:
        pulse.beat({"page": pulse.attempt})
        if pulse.attempt < 3:
            raise JobFailed("cut off")
        return {"pages": 3}

    place.answers["reclassify"] = answer
    place.store.ask(Run("asked", Job("reclassify"), "asked", place.now))
    for _ in range(3):
        place.after(HOUR)
    assert [left for _, _, left in place.ran] == [None, {"page": 1}, {"page": 2}]
    assert place.store.newest()["reclassify"].outcome == {"pages": 3}


@pytest.mark.parametrize("jump", [-400 * DAY, 400 * DAY])
def test_a_clock_that_jumps_delays_nothing_for_longer_than_an_interval(
    place: Place, jump: float
) -> None:
    place.schedules = [NIGHTLY, Schedule(SWEEP, 5)]
    place.answers["sweep:shop"] = fails(JobFailed("once"))
    place.after(0)
    place.answers.clear()
    place.now += jump
    place.after(0)
    assert place.ran[-1][:2] in (("sweep:shop", 2), ("audit", 1))
    before = [job for job, _, _ in place.ran].count("audit")
    for _ in range(25):
        place.after(HOUR)
    assert [job for job, _, _ in place.ran].count("audit") - before in (1, 2)


def test_a_woken_project_is_looked_at_at_once_and_no_other(place: Place) -> None:
    bank = Job("sweep", "bank")
    place.schedules = [Schedule(SWEEP, HOUR), Schedule(bank, HOUR)]
    assert place.after(0) == 2
    place.after(60)
    place.wakes.wake({"bank"})
    assert place.after(0) == 1
    assert place.ran[-1][0] == "sweep:bank"
    place.wakes.wake({"bank"})
    assert place.after(0) == 0, "it has only just looked"
    assert place.after(1) == 1


def test_who_fails_is_not_woken(place: Place) -> None:
    place.schedules = [Schedule(SWEEP, HOUR)]
    place.answers["sweep:shop"] = fails(JobFailed("no token"))
    assert place.after(0) == 1
    place.wakes.wake({"shop"})
    assert place.after(4) == 0


def test_sweeps_wait_for_what_has_arrived_but_not_for_ever(place: Place) -> None:
    place.schedules = [Schedule(SWEEP, HOUR)]
    place.busy = True
    assert place.after(0) == 0
    assert place.after(LONGEST_DELAY - 1) == 0
    assert place.after(1) == 1


def test_paused_and_changed_schedules(place: Place) -> None:
    place.schedules = [replace(NIGHTLY, paused=True)]
    assert place.after(DAY) == 0
    place.schedules = [replace(NIGHTLY, every=HOUR, offset=0)]
    assert place.after(0) == 0
    assert place.after(HOUR) == 1
    assert place.after(HOUR - 1) == 0
    assert place.after(1) == 1
    place.schedules = []
    assert place.after(DAY) == 0


def test_a_fault_is_logged_noted_and_the_lane_goes_on(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.schedules = [Schedule(SWEEP, 5), Schedule(Job("retention"), HOUR)]
    place.answers["sweep:shop"] = fails(ZeroDivisionError("by nothing"))
    assert place.after(HOUR) == 1
    assert place.after(HOUR) == 2
    assert "job sweep:shop met a fault" in caplog.text
    assert "a fault here, which the log describes: by nothing" in place.store.open_runs()[0].error


def test_a_sweep_that_found_nothing_is_noted_nowhere(place: Place) -> None:
    place.schedules = [Schedule(SWEEP, 5)]
    place.answers["sweep:shop"] = lambda pulse: {"state": "idle"}
    assert place.after(5) == 1
    assert place.store.runs() == []
    place.answers["sweep:shop"] = lambda pulse: {"state": "proposed", "quads": 4}
    assert place.after(5) == 1
    (run,) = place.store.runs()
    assert (run.state, run.outcome) == ("done", {"state": "proposed", "quads": 4})


def test_a_run_that_is_waited_for_ends_also_where_it_found_nothing(place: Place) -> None:
    place.schedules = [Schedule(SWEEP, HOUR)]
    place.answers["sweep:shop"] = lambda pulse: {"state": "idle"}
    assert place.after(0) == 1
    place.store.ask(Run("asked", SWEEP, "asked", place.now, asked_by="olga"))
    assert place.after(1) == 1
    assert place.after(1) == 0
    ended = place.store.run("asked")
    assert ended is not None
    assert ended.state == "done"
    # One that failed before was told of as well.
    place.answers["sweep:shop"] = fails(JobFailed("away"))
    assert place.after(HOUR) == 1
    place.answers["sweep:shop"] = lambda pulse: {"state": "idle"}
    assert place.after(60) == 1
    assert place.store.open_runs() == []
    assert place.store.newest()["sweep:shop"].attempt == 2


def test_who_asks_while_a_sweep_is_at_work_gets_another_one(place: Place) -> None:
    def ask(identifier: str) -> Run:
        return place.store.ask(Run(identifier, SWEEP, "asked", place.now, asked_by="olga"))

    def answer(pulse: Pulse) -> Mapping[str, Any]:
        if pulse.run == "first":
            assert ask("second").id == "second"
            assert ask("third").id == "second"
        return {"state": "idle"}

    place.answers["sweep:shop"] = answer
    ask("first")
    assert place.after(0) == 1
    assert place.after(1) == 1
    assert {run.id: run.state for run in place.store.runs()} == {"first": "done", "second": "done"}


def test_a_run_that_ended_is_not_run_again_while_that_can_not_be_noted(place: Place) -> None:
    full = [True]

    def note(run: Run) -> None:
        if full[0]:
            raise OSError("no space left on device")
        place.store.note(run)

    place.attempts = Attempts(Activities({"reclassify": place.activity}), note, lambda: place.now)
    place.lane = Lane("all", place.source, place.attempts, lambda job: True, place.stopping)
    place.store.ask(Run("asked", Job("reclassify"), "asked", place.now))
    assert [place.after(5) for _ in range(3)] == [1, 0, 0]
    full[0] = False
    assert place.after(5) == 0
    assert place.store.newest()["reclassify"].id == "asked"
    assert place.store.open_runs() == []


def test_what_ends_the_process_each_time_is_given_up(place: Place) -> None:
    place.store.note(Run("deadly", AUDIT, "running", place.now - 60, 5, "embedded"))
    assert place.after(0) == 0
    (run,) = place.store.runs()
    assert (run.state, run.attempt) == ("failed", 5)
    assert run.error.startswith("the process ended during attempt 5, the last one")
    assert place.after(0) == 0


def test_a_clock_that_is_put_back_delays_no_run_that_was_asked_for(place: Place) -> None:
    place.answers["reclassify"] = fails(JobFailed("once"))
    place.store.ask(Run("asked", Job("reclassify"), "asked", place.now))
    assert place.after(0) == 1
    place.answers.clear()
    assert place.after(-400 * DAY) == 1
    assert place.store.newest()["reclassify"].state == "done"


@pytest.mark.parametrize("change", [{"paused": True}, {"every": HOUR, "offset": 0}])
def test_a_run_that_is_to_be_tried_again_is_so_whatever_becomes_of_its_schedule(
    place: Place, change: Mapping[str, Any]
) -> None:
    def answer(pulse: Pulse) -> Mapping[str, Any]:
        pulse.beat("half")
        if pulse.left is None:
            raise JobFailed("cut off")
        return {}

    place.schedules = [NIGHTLY]
    place.answers["audit"] = answer
    place.after(0)
    assert place.after(3 * HOUR) == 1
    place.schedules = [replace(NIGHTLY, **change)]
    assert place.after(AUDIT.patience.first - 1) == 0
    assert place.after(AUDIT.patience.first) == 1
    assert place.ran[-1] == ("audit", 2, "half")
    assert place.store.newest()["audit"].attempt == 2


def test_a_run_that_can_not_be_noted_is_run_all_the_same(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    def full(run: Run) -> None:
        raise OSError("no space left on device")

    attempts = Attempts(Activities({"audit": place.activity}), full, lambda: place.now)
    run, _ = attempts.make(Run("r", AUDIT, "asked", 0.0), None, lambda: False)
    assert run.state == "done"
    assert "how run r of job audit stands was not kept" in caplog.text


def test_a_long_job_holds_up_no_sweep_and_the_end_is_awaited(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.schedules = [Schedule(SWEEP, 0.05)]
    working, swept = threading.Event(), threading.Semaphore(0)

    def long(job: Job, pulse: Pulse) -> Mapping[str, Any]:
        working.set()
        while not pulse.stopping():
            threading.Event().wait(0.01)
        raise JobFailed("told to stop")

    def sweep(job: Job, pulse: Pulse) -> Mapping[str, Any]:
        swept.release()
        return {"state": "idle"}

    scheduler = Scheduler(
        lambda: place.schedules,
        place.store.open_runs,
        place.last_began,
        Attempts(Activities({"audit": long, "sweep": sweep}), place.store.note, lambda: 1.0),
        place.wakes,
        new_id=lambda: f"r{next(place.ids)}",
    )
    place.store.ask(Run("asked", AUDIT, "asked", 1.0))
    scheduler.start()
    assert working.wait(20)
    assert all(swept.acquire(timeout=20) for _ in range(3))
    assert scheduler.stop()
    (run,) = place.store.open_runs()
    assert (run.id, run.state, run.error) == ("asked", "retrying", "told to stop")
    assert scheduler.run_now(SWEEP).state == "done"
    place.store.close()
