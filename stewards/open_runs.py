"""Runs that haven't ended, as workflows of Temporal: begun, woken, and looked for.

Invariant: a run that was asked for is begun once, by its name, however often that is tried. One
whose workflow has ended, or is gone, without that being noted, is noted as ended, so that nobody
waits for it for ever.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from stewards.at_once import each_of
from stewards.errors import StewardError
from stewards.job_store import Run
from stewards.jobs import SWEEP, Job
from stewards.orders import JOB_WORKFLOW, WAKE
from stewards.performer import EXECUTOR
from stewards.platform_client import PlatformClient, WantedJobs
from stewards.temporal_schedules import order_of

LOGGER = logging.getLogger(__name__)

LOOK = 60.0
"""Seconds between two looks for workflows that ended without a word."""


class OpenRuns:
    """The workflows of one platform's runs. ``clock`` gives seconds since 1970."""

    def __init__(
        self,
        client: Client,
        platform: PlatformClient,
        name: str,
        queue: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._platform = platform
        self._name = name
        self._queue = queue
        self._clock = clock
        self._looked = 0.0

    async def begin(self, runs: Iterable[Run]) -> None:
        """Begin those that were asked for, and those that another executor has left; see to those
        of ours whose workflow may have ended. Raises :class:`RPCError`."""
        ours = [run for run in runs if run.executor == EXECUTOR]
        await each_of(self._begin(run) for run in runs if run.executor != EXECUTOR)
        now = self._clock()
        if abs(now - self._looked) < LOOK:
            return
        self._looked = now
        await each_of(self._see_to(run) for run in ours if run.began < now - LOOK)

    async def wake(self, wanted: WantedJobs) -> None:
        """Let the projects that have something to look at be swept, soon."""
        await each_of(
            self._wake(each.schedule.job)
            for each in wanted.schedules
            if each.schedule.job.kind == SWEEP
            and not each.schedule.paused
            and (wanted.woken is None or each.schedule.job.project in wanted.woken)
        )

    async def _begin(self, run: Run) -> None:
        try:
            await self._client.start_workflow(
                JOB_WORKFLOW,
                order_of(run.job, self._name, run.id),
                id=self._workflow_of(run),
                task_queue=self._queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            )
        except WorkflowAlreadyStartedError:
            # A worker that was quicker, or an answer that got lost; or it has ended by now, and
            # nobody could tell.
            if run.began < self._clock() - LOOK:
                await self._see_to(run)

    async def _wake(self, job: Job) -> None:
        """One workflow sweeps a woken project; what wakes it while it is at work lets it sweep once
        more."""
        await self._client.start_workflow(
            JOB_WORKFLOW,
            order_of(job, self._name),
            id=f"{self._name}.{job.id}",
            task_queue=self._queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal=WAKE,
        )

    async def _see_to(self, run: Run) -> None:
        """Note how a run ended whose workflow has."""
        name, _, execution = run.id.partition("~")
        handle = (
            self._client.get_workflow_handle(f"{self._name}.{name}", run_id=execution)
            if execution
            else self._client.get_workflow_handle(self._workflow_of(run))
        )
        try:
            status = (await handle.describe()).status
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            status = None
        if status == WorkflowExecutionStatus.RUNNING:
            return
        went_well = status in (
            WorkflowExecutionStatus.COMPLETED,
            WorkflowExecutionStatus.CONTINUED_AS_NEW,
        )
        ended = replace(
            run,
            executor=EXECUTOR,
            state="done" if went_well else "failed",
            ended=self._clock(),
            error=""
            if went_well
            else f"its workflow is {status.name.lower().replace('_', ' ')} in Temporal"
            if status
            else "its workflow isn't known to Temporal any more",
        )
        try:
            await asyncio.to_thread(self._platform.note, ended)
        except StewardError as error:
            LOGGER.info("that run %s ended was not noted: %s", run.id, error)

    def _workflow_of(self, run: Run) -> str:
        return f"{self._name}.run:{run.id}"
