"""Attempts at runs, made in this process.

Invariant: whatever an activity does, an attempt ends with where the run stands: done, to be tried
again, or failed for good; and it is noted before anything else happens to the run. How a run ended
is noted later where it can't be now, on a full disk say. A sweep by schedule that found nothing is
noted nowhere: that nothing happened is no news. An attempt whose process was killed counts as one,
so that what brings the process down doesn't do so for ever.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from stewards.activities import Activities, Pulse
from stewards.errors import JobInvalid, JobRefused, StewardError
from stewards.job_store import ENDED, Run
from stewards.jobs import SWEEP
from stewards.outcome import is_no_news

LOGGER = logging.getLogger(__name__)

EMBEDDED = "embedded"
MOST_UNKEPT = 1_000
"""So many runs are remembered of which it couldn't be noted that they ended, the newest."""


class Attempts:
    """Any thread may call. ``note`` keeps where a run stands; ``clock`` gives seconds since
    1970."""

    def __init__(
        self, activities: Activities, note: Callable[[Run], None], clock: Callable[[], float]
    ) -> None:
        self._activities = activities
        self._note = note
        self._clock = clock
        self._lock = threading.Lock()
        self._unkept: dict[str, Run] = {}

    def make(self, run: Run, left: Any, stopping: Callable[[], bool]) -> tuple[Run, Any]:
        """Make the next attempt at a run: where it stands then, and what the attempt said last;
        ``left`` is what the one before it said."""
        if run.state == "running" and run.attempt and run.job.patience.is_over(run.attempt):
            return self._given_up(run), None
        said = [left]
        run = replace(run, state="running", attempt=run.attempt + 1, executor=EMBEDDED, error="")
        # Who asks for a sweep that has begun wants another one: what is new by then it may not see.
        if run.job.kind != SWEEP or run.asked_by:
            self._keep(run)
        pulse = Pulse(
            run.id,
            run.attempt,
            left,
            beat=lambda details: said.__setitem__(0, details),
            stopping=stopping,
        )
        run = self._ended(run, pulse, stopping)
        if run.state == "done":
            if is_no_news(run.job, run.attempt, run.outcome or {}, run.asked_by):
                return run, None
        else:
            LOGGER.warning("job %s, attempt %d: %s", run.job.id, run.attempt, run.error)
        self._keep(run)
        return run, said[0]

    def keep_again(self) -> frozenset[str]:
        """Note how runs ended of which that couldn't be noted before; the ids of those of which it
        still can't."""
        with self._lock:
            unkept = list(self._unkept.values())
        for run in unkept:
            try:
                self._note(run)
            except Exception as error:  # noqa: BLE001 (told in full the first time)
                LOGGER.warning("how run %s ended can't be kept yet: %s", run.id, error)
                break
            with self._lock:
                self._unkept.pop(run.id, None)
        with self._lock:
            return frozenset(self._unkept)

    def _given_up(self, run: Run) -> Run:
        error = (
            f"the process ended during attempt {run.attempt}, the last one: see its log, then ask"
            " for the job again"
        )
        LOGGER.warning("job %s: %s", run.job.id, error)
        run = replace(run, state="failed", error=error, ended=self._clock())
        self._keep(run)
        return run

    def _ended(self, run: Run, pulse: Pulse, stopping: Callable[[], bool]) -> Run:
        try:
            outcome = self._activities.run(run.job, pulse)
        except (JobRefused, JobInvalid) as error:
            return replace(run, state="failed", error=str(error), ended=self._clock())
        except StewardError as error:
            said = str(error)
        except Exception as error:
            LOGGER.exception("job %s met a fault", run.job.id)
            said = f"a fault here, which the log describes: {error}"
        else:
            return replace(run, state="done", outcome=outcome, ended=self._clock())
        if run.job.patience.is_over(run.attempt) and not stopping():
            return replace(run, state="failed", error=said, ended=self._clock())
        return replace(run, state="retrying", error=said)

    def _keep(self, run: Run) -> None:
        try:
            self._note(run)
        except Exception:
            # A full disk, say. The job itself went as it went.
            LOGGER.exception("how run %s of job %s stands was not kept", run.id, run.job.id)
            if run.state in ENDED:
                with self._lock:
                    self._unkept[run.id] = run
                    if len(self._unkept) > MOST_UNKEPT:
                        del self._unkept[next(iter(self._unkept))]
