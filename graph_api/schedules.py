"""``/schedules``: when each job runs, seen, set and taken back.

Invariant: only what people set is kept; the usual schedules follow from the projects, and are what
is left where a set one is taken back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from pydantic import Field

from graph_api.assembly_jobs import Jobs
from graph_api.auth import Authenticator, Caller
from graph_api.job_json import LONGEST_ID, JobBody, invalid, schedule_json
from graph_api.problems import Problem
from graph_api.projects import known_project
from proofs.governance import OPERATOR, Governance
from stewards.errors import JobInvalid
from stewards.jobs import Schedule, usual_schedule
from stewards.wanted import Wanted


class ScheduleBody(JobBody):
    """A job, and when it runs: every so many seconds, ``offset`` seconds after the multiples of
    that since 1970, UTC. Without an offset it gets one that spreads jobs over the interval."""

    every: float = Field(allow_inf_nan=False)
    offset: float | None = Field(default=None, allow_inf_nan=False)
    paused: bool = False

    def schedule(self) -> Schedule:
        """Raises :class:`Problem` where there is no such job or moment."""
        job = self.job()
        try:
            offset = self.offset
            if offset is None:
                # An interval that can't be is refused before anything is reckoned with it.
                offset = usual_schedule(job, Schedule(job, self.every).every).offset
            return Schedule(job, self.every, offset, self.paused)
        except JobInvalid as error:
            raise invalid(error) from error


def build_router(
    *, jobs: Jobs, authenticator: Authenticator, governance: Callable[[], Governance]
) -> APIRouter:
    """Routes for operators."""
    router = APIRouter(prefix="/schedules", tags=["jobs"])
    operators = Depends(authenticator.require(OPERATOR))

    @router.get("")
    def list_schedules(caller: Caller = operators) -> dict[str, Any]:
        """Every job that runs by schedule: when next, and how it went last."""
        return {"items": jobs.schedules_json()}

    @router.put("")
    def set_schedule(body: ScheduleBody, caller: Caller = operators) -> dict[str, Any]:
        """Set when a job runs, in the place of what was set before, or of the usual."""
        schedule = body.schedule()
        if schedule.job.project is not None:
            known_project(governance(), schedule.job.project)
        try:
            jobs.set_schedule(schedule)
        except JobInvalid as error:
            raise invalid(error) from error
        return schedule_json(Wanted(schedule, set=True), jobs.store.newest(), jobs.clock())

    @router.delete("/{job}", status_code=204)
    def drop_schedule(
        job: Annotated[str, Path(max_length=LONGEST_ID)], caller: Caller = operators
    ) -> Response:
        """Take back what was set: the usual schedule is left, where the job has one."""
        if not jobs.drop_schedule(job):
            raise Problem(
                404,
                "schedule-not-set",
                "No schedule is set",
                f"nobody has set a schedule for {job!r}: it runs as it usually does, or not at all;"
                " 'fractalops schedules list' shows them",
            )
        return Response(status_code=204)

    return router
