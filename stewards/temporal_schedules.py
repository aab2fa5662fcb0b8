"""The schedules of a platform's jobs, as schedules of Temporal.

Invariant: the platform says what is wanted, Temporal is made to have it: what is missing is
created, what differs is updated, what isn't wanted any more is deleted, and what was changed by
hand is put right. Only schedules whose id begins with the platform's name are touched, so several
platforms share a namespace.
Source: https://docs.temporal.io/schedule
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from stewards import jobs
from stewards.at_once import each_of
from stewards.jobs import SWEEP, Job, usual_schedule
from stewards.orders import JOB_WORKFLOW, Order
from stewards.platform_client import WantedSchedule

LOGGER = logging.getLogger(__name__)

USUAL_LOOK = 60.0
"""Seconds between the usual sweeps of a project. What it has to look at wakes it at once; this is
for what a wake-up was lost of, and for what is due by the clock."""
LOOK = 60.0
"""Seconds after which what was changed by hand is looked for."""
SHORTEST = 1.0
"""Seconds, the shortest interval that Temporal knows."""
LONGEST_CATCH_UP = timedelta(hours=1)
"""A moment that passed while Temporal was away is made up for in this time."""
_LOOK_CATCH_UP = timedelta(seconds=10)


class TemporalSchedules:
    """Those of one platform in one namespace, whose workflows are run by ``queue``."""

    def __init__(
        self,
        client: Client,
        platform: str,
        queue: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._platform = platform
        self._queue = queue
        self._monotonic = monotonic
        self._kept: tuple[WantedSchedule, ...] | None = None
        self._looked = 0.0

    async def keep(self, wanted: Sequence[WantedSchedule]) -> None:
        """Reconcile where something else is wanted than the last time, or that is long ago."""
        now = self._monotonic()
        if self._kept == tuple(wanted) and now - self._looked < LOOK:
            return
        await self.reconcile(wanted)
        self._kept, self._looked = tuple(wanted), now

    async def reconcile(self, wanted: Iterable[WantedSchedule]) -> int:
        """Make Temporal's schedules those that are wanted; how many were changed.

        Raises :class:`temporalio.service.RPCError`.
        """
        schedules = {self.id_of(each.schedule.job): self._schedule(each) for each in wanted}
        held = await self._held()
        changes = [self._delete(identifier) for identifier in held.keys() - schedules.keys()]
        for identifier, schedule in sorted(schedules.items()):
            if identifier not in held:
                changes.append(self._create(identifier, schedule))
            elif held[identifier] != (schedule.state.note, schedule.state.paused):
                changes.append(self._update(identifier, schedule))
        changed = len(changes)
        await each_of(changes)
        if changed:
            LOGGER.info("%d of %d schedules were changed", changed, len(schedules))
        return changed

    def id_of(self, job: Job) -> str:
        """What the schedule of a job is known by in Temporal."""
        return f"{self._platform}.{job.id}"

    async def _held(self) -> Mapping[str, tuple[str | None, bool]]:
        """Note and pause of the platform's schedules, by their ids."""
        return {
            each.id: (each.schedule.state.note, each.schedule.state.paused)
            async for each in await self._client.list_schedules(page_size=500)
            if each.id.startswith(f"{self._platform}.") and each.schedule is not None
        }

    def _schedule(self, wanted: WantedSchedule) -> Schedule:
        given = wanted.schedule
        job = given.job
        if not wanted.set and job.kind == SWEEP and given.every < USUAL_LOOK:
            given = usual_schedule(job, USUAL_LOOK)
        every = timedelta(seconds=max(given.every, SHORTEST))
        order = order_of(job, self._platform)
        description = [every.total_seconds(), given.offset, asdict(order), self._queue]
        digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
        sweeps = job.kind == SWEEP
        return Schedule(
            action=ScheduleActionStartWorkflow(
                JOB_WORKFLOW,
                order,
                id=self.id_of(job),
                task_queue=self._queue,
                static_summary=jobs.KINDS[job.kind].what,
            ),
            spec=ScheduleSpec(
                intervals=[ScheduleIntervalSpec(every, timedelta(seconds=given.offset))]
            ),
            policy=SchedulePolicy(
                overlap=ScheduleOverlapPolicy.SKIP if sweeps else ScheduleOverlapPolicy.BUFFER_ONE,
                catchup_window=_LOOK_CATCH_UP if sweeps else LONGEST_CATCH_UP,
            ),
            # What was changed by hand has another note, or another pause.
            state=ScheduleState(
                note=f"kept by fractalops worker, {digest[:12]}", paused=wanted.schedule.paused
            ),
        )

    async def _create(self, identifier: str, schedule: Schedule) -> None:
        try:
            await self._client.create_schedule(identifier, schedule)
        except ScheduleAlreadyRunningError:
            # The list lags behind, or another worker was quicker.
            await self._update(identifier, schedule)

    async def _update(self, identifier: str, schedule: Schedule) -> None:
        def put(before: ScheduleUpdateInput) -> ScheduleUpdate:
            return ScheduleUpdate(schedule)

        try:
            await self._client.get_schedule_handle(identifier).update(put)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            LOGGER.info("the schedule %s went away meanwhile; the next look makes it", identifier)

    async def _delete(self, identifier: str) -> None:
        try:
            await self._client.get_schedule_handle(identifier).delete()
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise


def order_of(job: Job, platform: str, run: str = "") -> Order:
    """The order of a job, with the patience that its kind has."""
    patience = job.patience
    return Order(
        platform,
        job.kind,
        job.project,
        job.label,
        dict(job.arguments),
        run,
        patience.first,
        patience.longest,
        patience.attempts,
        patience.limit,
        patience.silence,
    )
