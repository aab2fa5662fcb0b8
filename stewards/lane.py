"""A lane of jobs, which run one after the other in a thread of their own.

Invariant: each schedule has one post, and each run that was asked for or left behind; what is due
longest runs first. A post that failed is due when its patience says, and isn't woken before. A run
that has ended isn't begun again, also where that it ended can't be kept yet.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from stewards.attempts import Attempts
from stewards.job_store import Run
from stewards.jobs import SWEEP, Job, Schedule
from stewards.wakes import Wakes

LOGGER = logging.getLogger(__name__)

LOOK = 5.0
"""Seconds after which new projects and schedules are looked for, woken or not."""
SHORTEST_REST = 1.0
SHARE = 0.2
"""A job is woken early only so often that it takes at most this part of the time."""
LONGEST_DELAY = 60.0
JITTER = 0.2
"""Part by which the waits after failures differ, so that jobs don't march in step."""


class Source:
    """Where the lanes of one scheduler look; the members are as for
    :class:`stewards.scheduler.Scheduler`."""

    def __init__(
        self,
        wanted: Callable[[], Iterable[Schedule]],
        open_runs: Callable[[], Sequence[Run]],
        last_began: Callable[[str], float | None],
        wakes: Wakes,
        *,
        new_id: Callable[[], str],
        random: Random,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.wanted = wanted
        self.open_runs = open_runs
        self.last_began = last_began
        self.wakes = wakes
        self.new_id = new_id
        self.random = random
        self.clock = clock
        self.monotonic = monotonic


@dataclass
class _Post:
    """A job that is waited for, by its schedule or, without one, once. ``due`` is in seconds since
    1970; ``rested``, before which it isn't woken, in those of the monotonic clock. ``run`` is the
    one that hasn't ended, ``left`` what its last attempt said last."""

    job: Job
    schedule: Schedule | None
    due: float
    run: Run | None = None
    left: Any = None
    rested: float = 0.0


class Lane:
    """Runs the jobs that are ``mine``, until ``stopping``. While it is ``busy()`` elsewhere, they
    wait, ``LONGEST_DELAY`` seconds at most. Its posts are its own thread's alone."""

    def __init__(
        self,
        name: str,
        source: Source,
        attempts: Attempts,
        mine: Callable[[Job], bool],
        stopping: threading.Event,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name = name
        self._source = source
        self._attempts = attempts
        self._mine = mine
        self._stopping = stopping
        self._busy = busy
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._token: str | None = None
        self._posts: dict[str, _Post] = {}

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There may be something new."""
        self._wake.set()

    def ended(self, timeout: float) -> bool:
        """Wait for the thread's end, once it was told to stop; whether it came (seconds)."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.round()
                rest = self._rest()
            except Exception:
                LOGGER.exception("a round of %s failed; the next one follows", self.name)
                rest = SHORTEST_REST
                self._stopping.wait(rest)
            self._wake.wait(rest)
            self._wake.clear()

    def round(self) -> None:
        """Run what is due by now, that which is due longest first."""
        self._take_posts()
        self._hear()
        now = self._source.clock()
        ready = sorted(
            (post.due, name) for name, post in self._posts.items() if self._is_due(post, now)
        )
        for _, name in ready:
            if self._stopping.is_set():
                return
            self._execute(name)

    def _is_due(self, post: _Post, now: float) -> bool:
        """Whether its time has come: what has arrived becomes facts first, but not for ever."""
        late = now - post.due
        return late >= LONGEST_DELAY or (late >= 0 and not self._busy())

    def _execute(self, name: str) -> None:
        source, post = self._source, self._posts[name]
        run = post.run or Run(source.new_id(), post.job, "asked", source.clock())
        post.run = run
        began = source.monotonic()
        run, left = self._attempts.make(run, post.left, self._stopping.is_set)
        ended, now = source.monotonic(), source.clock()
        post.rested = ended + max(SHORTEST_REST, (ended - began) * (1 / SHARE - 1))
        if run.state == "retrying":
            post.run, post.left = run, left
            wait = run.job.patience.wait(run.attempt)
            post.due = now + wait * (1 + JITTER * source.random.random())
        elif post.schedule is None:
            del self._posts[name]
        else:
            post.run = post.left = None
            post.due = post.schedule.next_after(now)

    def _take_posts(self) -> None:
        """Make the posts those of what is wanted now."""
        source = self._source
        now = source.clock()
        wanted = {s.job.id: s for s in source.wanted() if self._mine(s.job) and not s.paused}
        ended = self._attempts.keep_again()
        open_runs = [run for run in source.open_runs() if self._mine(run.job)]
        for name, post in list(self._posts.items()):
            if post.schedule is not None and wanted.get(name) != post.schedule:
                self._change(name, post, wanted.get(name))
        for name, schedule in wanted.items():
            if name not in self._posts:
                self._posts[name] = _Post(schedule.job, schedule, self._first(schedule, now))
        for post in self._posts.values():
            self._mind_the_clock(post, now)
        held = {post.run.id for post in self._posts.values() if post.run}
        for run in open_runs:
            if run.id not in held and run.id not in ended:
                self._take_run(run, now)

    def _change(self, name: str, post: _Post, schedule: Schedule | None) -> None:
        """The schedule is another one now, or none; a run that is to be tried again waits for that
        as before."""
        if post.run and schedule and schedule.job == post.job:
            post.schedule = schedule
            return
        del self._posts[name]
        if post.run:
            self._posts[_name(post.run)] = replace(post, schedule=None)

    def _take_run(self, run: Run, now: float) -> None:
        """Go on with a run that was left, in the place of the job's next one; or begin one that was
        asked for."""
        scheduled = self._posts.get(run.job.id)
        if run.state != "asked" and scheduled and scheduled.job == run.job and not scheduled.run:
            scheduled.run, scheduled.due = run, now
        else:
            self._posts[_name(run)] = _Post(run.job, None, now, run)

    def _first(self, schedule: Schedule, now: float) -> float:
        """When a schedule is due that is seen for the first time here."""
        if schedule.job.kind == SWEEP:
            return now
        began = self._source.last_began(schedule.job.id)
        return schedule.next_after(now if began is None else min(began, now))

    def _mind_the_clock(self, post: _Post, now: float) -> None:
        """The clock was put back: what was due soon then would wait for long."""
        if post.schedule is None or post.run:
            if post.due > now + post.job.patience.longest * (1 + JITTER):
                post.due = now
        elif post.due > now + post.schedule.every:
            post.due = post.schedule.next_after(now)

    def _hear(self) -> None:
        """Let those that were woken be due at once, unless they have only just looked."""
        news = self._source.wakes.after(self._token)
        self._token = news.token
        now, rested = self._source.clock(), self._source.monotonic()
        for post in self._posts.values():
            woken = news.projects is None or post.job.project in news.projects
            if post.job.kind == SWEEP and woken and not post.run:
                post.due = min(post.due, now + max(0.0, post.rested - rested))

    def _rest(self) -> float:
        due = min((post.due for post in self._posts.values()), default=float("inf"))
        least = SHORTEST_REST if self._busy() else 0.05
        return max(least, min(due - self._source.clock(), LOOK))


def _name(run: Run) -> str:
    """The name of the post of a run that no schedule brings."""
    return f"run {run.id}"
