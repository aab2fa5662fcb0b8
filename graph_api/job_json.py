"""Jobs, their schedules and runs as JSON, and what is read of them from strangers.

Invariant: whoever shows a job shows it the same way; what is kept of a run is bounded plain data,
which can always be written as JSON again. Moments are ISO 8601 in UTC, intervals seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from graph_api.problems import Problem
from stewards.errors import JobInvalid
from stewards.job_store import ENDED, Run
from stewards.jobs import Job
from stewards.wanted import Wanted

LONGEST_ERROR = 2_000
LONGEST_OUTCOME = 16 * 1024
LONGEST_ID = 200
RUN_ID = rf"^[A-Za-z0-9][A-Za-z0-9._:~-]{{0,{LONGEST_ID - 1}}}$"
_LONGEST_DETAIL = 500

Json = dict[str, Any]


class JobBody(BaseModel):
    """A job: of a kind, of a project where it has one, with its arguments; ``label`` tells those of
    the same kind and project apart."""

    model_config = ConfigDict(extra="forbid")

    kind: str = Field(max_length=64)
    project: str | None = Field(default=None, max_length=64)
    label: str = Field(default="", max_length=64)
    arguments: Json = Field(default_factory=dict, max_length=50)

    def job(self) -> Job:
        """The job. Raises :class:`Problem` where there is none like this."""
        try:
            return Job(self.kind, self.project, self.label, plain(self.arguments, "arguments"))
        except JobInvalid as error:
            raise invalid(error) from error


class RunBody(JobBody):
    """Where a run stands, as whoever executes it says."""

    state: Literal["running", "retrying", "done", "failed"]
    attempt: int = Field(ge=0, le=1_000_000_000)
    executor: str = Field(min_length=1, max_length=100)
    began: AwareDatetime
    ended: AwareDatetime | None = None
    outcome: Json | None = None
    error: str = ""

    def run(self, identifier: str, now: float) -> Run:
        """The run; one that has ended without saying when has ended ``now``."""
        ended = (self.ended.timestamp() if self.ended else now) if self.state in ENDED else None
        return Run(
            identifier,
            self.job(),
            self.state,
            self.began.timestamp(),
            self.attempt,
            self.executor,
            ended=ended,
            outcome=plain(self.outcome, "the outcome") if self.outcome is not None else None,
            # Whatever an error says, that there was one is noted.
            error=self.error[:LONGEST_ERROR].encode(errors="replace").decode(),
        )


class DocumentBody(BaseModel):
    """What a job remembers from now on, in the place of version ``after``."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[int, Field(ge=0, le=2**53)]
    value: Json

    @classmethod
    def read(cls, body: bytes) -> Self:
        """From the bytes of a request. Raises :class:`RequestValidationError`."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise RequestValidationError(
                [{**found, "loc": ("body", *found["loc"])} for found in error.errors()]
            ) from error


class RereadingBody(BaseModel):
    """From which batch on facts will be read again."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[int, Field(ge=0, le=2**53)]


def plain(value: Json, what: str, longest: int = LONGEST_OUTCOME) -> Json:
    """The value, which can be written as JSON of at most so many bytes. Raises :class:`Problem`."""
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, RecursionError) as error:
        raise Problem(
            422,
            "job-invalid",
            "That is no job",
            f"{what} must be plain JSON: finite numbers, whole characters, not nested too deeply.",
        ) from error
    if size > longest:
        raise Problem(
            422,
            "job-invalid",
            "That is no job",
            f"{what} may have {longest} bytes, not {size}.",
        )
    return value


def invalid(error: JobInvalid) -> Problem:
    """The answer to what describes no job, or one too many."""
    return Problem(422, "job-invalid", "That is no job", str(error)[:_LONGEST_DETAIL])


def moment(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 text."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def job_json(job: Job) -> Json:
    return {
        "job": job.id,
        "kind": job.kind,
        "project": job.project,
        "label": job.label,
        "arguments": dict(job.arguments),
    }


def run_json(run: Run) -> Json:
    """A run as every route shows it."""
    return {
        "id": run.id,
        **job_json(run.job),
        "state": run.state,
        "attempt": run.attempt,
        "executor": run.executor,
        "asked_by": run.asked_by,
        "began": moment(run.began),
        "ended": None if run.ended is None else moment(run.ended),
        "outcome": run.outcome,
        "error": run.error,
    }


def schedule_json(wanted: Wanted, newest: Mapping[str, Run], now: float) -> Json:
    """A schedule with its next moment, none where it is paused, and its newest run that ended."""
    schedule = wanted.schedule
    last = newest.get(schedule.job.id)
    return {
        **job_json(schedule.job),
        "every": float(schedule.every),
        "offset": float(schedule.offset),
        "paused": schedule.paused,
        "set": wanted.set,
        "next": None if schedule.paused else moment(schedule.next_after(now)),
        "last": None if last is None else run_json(last),
    }
