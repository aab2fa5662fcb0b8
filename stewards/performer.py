"""The activities of Temporal: an attempt at a job, and a note of how its run ended.

Invariant: what is raised here says a sentence that a person can use, and nothing else: what an
unknown fault says of itself stays in this machine's log. A platform that is away counts as no
attempt: it is waited for. That an attempt began or failed is noted where it can be; how a run ended
is noted by an activity of its own, which is repeated until it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextvars import copy_context
from datetime import timedelta
from typing import Any, Literal

from temporalio import activity
from temporalio.exceptions import ApplicationError, CancelledError

from stewards import orders
from stewards.activities import Activities, Pulse
from stewards.errors import (
    GateBusy,
    GateRefused,
    GateUnreachable,
    JobInvalid,
    JobRefused,
    JobStopped,
    NotAllowed,
    StewardError,
    UnexpectedAnswer,
)
from stewards.job_store import Run
from stewards.jobs import SWEEP, Job
from stewards.orders import Attempt, Ended, Order, Performed
from stewards.outcome import is_no_news
from stewards.platform_client import PlatformClient

LOGGER = logging.getLogger(__name__)

EXECUTOR = "temporal"
LONGEST_TEXT = 1_000
AGAIN_SOON = timedelta(seconds=1)
_LOOK = 2.0
"""Seconds between two looks for a platform that is away."""

State = Literal["running", "retrying", "done", "failed"]


class Performer:
    """Performs jobs; any thread may call."""

    def __init__(
        self,
        activities: Activities,
        platform: PlatformClient,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._activities = activities
        self._platform = platform
        self._sleep = sleep

    @activity.defn(name=orders.PERFORM, no_thread_cancel_exception=True)
    def perform(self, attempt: Attempt) -> Performed:
        """One attempt at a job, in a thread of the worker's."""
        times = activity.info().attempt
        try:
            job = job_of(attempt.order)
        except JobInvalid as error:
            raise _failure(error, times, final=True) from None
        try:
            if job.kind != SWEEP or attempt.order.run:
                self._try_to_note(attempt, job, "running", times)
            outcome = dict(self._run(job, _pulse(attempt.run)))
        except (JobRefused, JobInvalid) as error:
            raise _failure(error, times, final=True) from None
        except JobStopped as error:
            if activity.is_cancelled() and not activity.is_worker_shutdown():
                raise CancelledError(str(error)) from None
            raise _failure(error, times, again=AGAIN_SOON) from None
        except StewardError as error:
            self._try_to_note(attempt, job, "retrying", times, str(error))
            raise _failure(error, times) from None
        except Exception as error:
            LOGGER.exception("job %s met a fault", attempt.order.kind)
            raise ApplicationError(
                f"a fault of the worker's, which its log describes: {type(error).__name__}",
                times,
                type="Fault",
            ) from None
        return Performed(times, outcome, is_no_news(job, times, outcome, attempt.order.run))

    @activity.defn(name=orders.NOTE, no_thread_cancel_exception=True)
    def note(self, ended: Ended) -> None:
        """Tell the platform how a run ended."""
        state: State = "failed" if ended.error else "done"
        try:
            self._platform.note(
                _run(
                    ended.order,
                    ended.run,
                    ended.began,
                    state,
                    ended.attempt,
                    ended.error,
                    ended=ended.ended,
                    outcome=ended.outcome,
                )
            )
        except GateRefused as error:
            # What is away, busy or has forgotten the token may take it later.
            later = isinstance(error, GateBusy | NotAllowed) or error.status >= 500
            raise _failure(error, activity.info().attempt, final=not later) from None
        except (JobInvalid, StewardError) as error:
            raise _failure(
                error, activity.info().attempt, final=isinstance(error, JobInvalid)
            ) from None

    def _run(self, job: Job, pulse: Pulse) -> Any:
        while True:
            try:
                return self._activities.run(job, pulse)
            except (JobRefused, JobInvalid, JobStopped):
                raise
            except StewardError:
                if not self._is_away():
                    raise
            LOGGER.info("job %s waits for the platform", job.id)
            while self._is_away():
                pulse.beat(pulse.left)
                if pulse.stopping():
                    raise JobStopped("told to stop while the platform was away")
                self._sleep(_LOOK)

    def _is_away(self) -> bool:
        try:
            self._platform.identity()
        except (GateUnreachable, GateBusy, UnexpectedAnswer):
            return True
        except GateRefused as error:
            return error.status >= 500
        return False

    def _try_to_note(
        self, attempt: Attempt, job: Job, state: State, times: int, error: str = ""
    ) -> None:
        try:
            self._platform.note(
                _run(attempt.order, attempt.run, attempt.began, state, times, error)
            )
        except StewardError as problem:
            LOGGER.info("where run %s of %s stands was not noted: %s", attempt.run, job.id, problem)


def job_of(order: Order) -> Job:
    """The job that is ordered. Raises :class:`JobInvalid` where this version knows none such."""
    return Job(order.kind, order.project, order.label, order.arguments)


def _pulse(run: str) -> Pulse:
    held = copy_context()
    info = activity.info()
    return Pulse(
        run,
        info.attempt,
        info.heartbeat_details[0] if info.heartbeat_details else None,
        beat=activity.heartbeat,
        # Asked from other threads as well, which don't know what activity they are of.
        stopping=lambda: held.copy().run(_is_stopping),
    )


def _is_stopping() -> bool:
    return activity.is_cancelled() or activity.is_worker_shutdown()


def _run(
    order: Order,
    run: str,
    began: float,
    state: State,
    attempt: int,
    error: str = "",
    *,
    ended: float | None = None,
    outcome: dict[str, Any] | None = None,
) -> Run:
    return Run(
        run,
        job_of(order),
        state,
        began,
        attempt,
        EXECUTOR,
        ended=ended,
        outcome=outcome,
        error=error[:LONGEST_TEXT],
    )


def _failure(
    error: StewardError, times: int, *, final: bool = False, again: timedelta | None = None
) -> ApplicationError:
    return ApplicationError(
        str(error)[:LONGEST_TEXT],
        times,
        type=type(error).__name__,
        non_retryable=final,
        next_retry_delay=again,
    )
