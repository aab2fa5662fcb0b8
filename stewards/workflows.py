"""A job as a workflow of Temporal: one activity, as patiently as its kind is, then a note.

Invariant: deterministic: what it does follows from its order and its history alone, so that any
worker goes on with it from there. A change of what it does is made with ``workflow.patched``, and
the recorded histories of earlier versions go on to replay (docs/decisions/temporal-jobs.md). A
wake-up is never lost: one that comes while a sweep is at work lets another one follow.
Source: https://docs.temporal.io/develop/python/versioning
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, VersioningBehavior
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.exceptions import TimeoutError as TimedOut

with workflow.unsafe.imports_passed_through():
    from stewards import orders
    from stewards.orders import Attempt, Ended, Order, Performed

REFUSALS = ("JobRefused", "JobInvalid")
"""Errors after which another attempt won't help."""
SHORTEST_REST = 1.0
LONGEST_REST = 60.0
SHARE = 0.5
"""A project that is woken again and again is swept at most this part of the time. How many are
swept at once is bounded by the worker."""
# A worker that ends in the middle of a note holds up the project's next sweep for as long.
_NOTE_ATTEMPT = timedelta(seconds=10)
_NOTE_PATIENCE = timedelta(days=1)
_NOTE_RETRIES = RetryPolicy(maximum_interval=timedelta(seconds=30))


# A worker with newer code takes what is under way: there may be none with the old code any more.
@workflow.defn(name=orders.JOB_WORKFLOW, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class JobWorkflow:
    """One run of a job."""

    def __init__(self) -> None:
        self._stage = "performing"
        self._woken = False

    @workflow.run
    async def run(self, order: Order) -> dict[str, Any]:
        """What came of it. Fails, once that is noted, where the job did."""
        attempt = Attempt(order, _run_of(order), workflow.now().timestamp())
        self._woken = False
        try:
            performed = await self._perform(attempt)
        except ActivityError as error:
            times, said = _said(order, error)
            await self._note(attempt, times, error=said)
            raise
        if not performed.idle:
            await self._note(attempt, performed.attempt, outcome=performed.outcome)
        if self._woken:
            await self._rest(attempt)
            workflow.continue_as_new(order)
        self._stage = "ended"
        return performed.outcome

    @workflow.signal(name=orders.WAKE)
    def wake(self) -> None:
        """There is something to look at."""
        self._woken = True

    @workflow.query(name=orders.STATE)
    def state(self) -> dict[str, Any]:
        """``stage`` is performing, noting, resting or ended; ``woken`` tells whether another sweep
        follows."""
        return {"stage": self._stage, "woken": self._woken}

    async def _perform(self, attempt: Attempt) -> Performed:
        order = attempt.order
        queue = workflow.info().task_queue
        performed: Performed = await workflow.execute_activity(
            orders.PERFORM,
            attempt,
            result_type=Performed,
            # What may take hours doesn't keep sweeps waiting.
            task_queue=queue if order.kind == orders.SWEEP_KIND else queue + orders.JOBS_QUEUE,
            start_to_close_timeout=timedelta(seconds=order.limit),
            heartbeat_timeout=timedelta(seconds=order.silence),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=order.first),
                backoff_coefficient=2.0,
                maximum_interval=timedelta(seconds=order.longest),
                maximum_attempts=order.attempts,
                non_retryable_error_types=REFUSALS,
            ),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=order.kind,
        )
        return performed

    async def _note(
        self,
        attempt: Attempt,
        times: int,
        outcome: dict[str, Any] | None = None,
        error: str = "",
    ) -> None:
        self._stage = "noting"
        ended = workflow.now().timestamp()
        order, run, began = attempt.order, attempt.run, attempt.began
        try:
            await workflow.execute_activity(
                orders.NOTE,
                Ended(order, run, began, ended, times, outcome, error),
                start_to_close_timeout=_NOTE_ATTEMPT,
                schedule_to_close_timeout=_NOTE_PATIENCE,
                retry_policy=_NOTE_RETRIES,
            )
        except ActivityError as failure:
            # The platform was away for too long, or was never told of this job's project. Whoever
            # looks after its open runs finds that this workflow has ended.
            workflow.logger.warning("how run %s ended was not noted: %s", run, failure.cause)

    async def _rest(self, attempt: Attempt) -> None:
        self._stage = "resting"
        took = workflow.now().timestamp() - attempt.began
        await asyncio.sleep(min(max(SHORTEST_REST, took * (1 / SHARE - 1)), LONGEST_REST))


def _run_of(order: Order) -> str:
    """The id that the platform knows this run by: what it asked for, or else one from which the
    workflow is found again."""
    info = workflow.info()
    if order.run:
        return order.run
    name = info.workflow_id.removeprefix(order.platform + ".")
    # Scheduled ones have their moment in the workflow's id.
    return f"{name}~{info.run_id}"


def _said(order: Order, error: ActivityError) -> tuple[int, str]:
    """After how many attempts it failed, and why."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        times = cause.details[0] if cause.details else 1
        return (times if isinstance(times, int) else 1), cause.message
    if is_cancelled_exception(error):
        return 1, "it was cancelled in Temporal"
    if isinstance(cause, TimedOut):
        return (
            max(order.attempts, 1),
            f"no sign of life for {order.silence:g} seconds, or not done in {order.limit:g}: the"
            " process that executed it ended, or stands still",
        )
    return 1, f"it failed in Temporal: {type(cause).__name__}"
