"""Executes jobs inside ``fractalops up``, where no Temporal is configured.

Invariant: no error ends a lane, and none passes silently: a job that fails waits longer each time,
as its patience says, while the others go on. A run that a killed process left is gone on with at
the next start, as its next attempt, if it has one; of a job that ran before, a moment that passed
while nothing ran is made up for once. The wall clock may jump: nothing waits longer than its
interval for that.

There are two lanes, a thread each: sweeps, which are short and many, and the rest, of which an
audit may take an hour. The jobs of a lane run one after the other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from random import Random

from stewards.attempts import Attempts
from stewards.job_store import Run
from stewards.jobs import SWEEP, Job, Schedule
from stewards.lane import Lane, Source
from stewards.wakes import Wakes

LOGGER = logging.getLogger(__name__)


class Scheduler:
    """``wanted`` gives the schedules, ``open_runs`` the runs that were asked for or haven't ended,
    ``last_began`` when a job ran last (seconds since 1970, ``None`` for never). ``busy()`` tells
    whether much has arrived that isn't facts yet: sweeps wait for that, within bounds. ``clock``
    gives seconds since 1970, ``monotonic`` seconds, ``new_id`` a run's id; ``stopping`` is set when
    it is to end.
    """

    def __init__(
        self,
        wanted: Callable[[], Iterable[Schedule]],
        open_runs: Callable[[], Sequence[Run]],
        last_began: Callable[[str], float | None],
        attempts: Attempts,
        wakes: Wakes,
        *,
        new_id: Callable[[], str],
        stopping: threading.Event | None = None,
        busy: Callable[[], bool] = lambda: False,
        random: Random | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stopping = stopping or threading.Event()
        self._attempts = attempts
        self._wakes = wakes
        self._new_id = new_id
        self._clock = clock
        self._monotonic = monotonic
        source = Source(
            wanted,
            open_runs,
            last_began,
            wakes,
            new_id=new_id,
            random=random or Random(),
            clock=clock,
            monotonic=monotonic,
        )
        self._lanes = (
            Lane("sweeps", source, attempts, lambda job: job.kind == SWEEP, self._stopping, busy),
            Lane("jobs", source, attempts, lambda job: job.kind != SWEEP, self._stopping),
        )

    def start(self) -> None:
        """Begin; returns at once."""
        self._wakes.listen(self._wake)
        for lane in self._lanes:
            lane.start()

    def stop(self, timeout: float = 30.0) -> bool:
        """End after what is in hand; whether it ended in time (seconds)."""
        self._stopping.set()
        self._wake()
        until = self._monotonic() + timeout
        late = [lane.name for lane in self._lanes if not lane.ended(until - self._monotonic())]
        if late:
            LOGGER.warning("still at work after %.0f s: %s", timeout, ", ".join(late))
        return not late

    def run_now(self, job: Job) -> Run:
        """Make one attempt at this job, in this thread; how it went."""
        run = Run(self._new_id(), job, "asked", self._clock())
        return self._attempts.make(run, None, self._stopping.is_set)[0]

    def _wake(self) -> None:
        for lane in self._lanes:
            lane.wake()
