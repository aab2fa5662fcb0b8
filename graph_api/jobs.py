"""``/jobs``: asking for runs, noting where they stand, and what is wanted of an executor.

Invariant: what is answered with 202 is on disk; a run that has ended stays as it ended. Nothing is
executed here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from graph_api.assembly_jobs import Jobs
from graph_api.auth import Authenticator, Caller
from graph_api.changed_facts import ChangedFacts
from graph_api.endpoint import until_gone
from graph_api.job_json import (
    LONGEST_ID,
    RUN_ID,
    DocumentBody,
    JobBody,
    RereadingBody,
    RunBody,
    invalid,
    plain,
    run_json,
)
from graph_api.job_watch import LONGEST_WAIT, JobWatch
from graph_api.problems import Problem, of_ingest
from graph_api.projects import known_project
from ingest.bodies import read_body
from ingest.errors import IngestError
from proofs.governance import OPERATOR, Governance
from stewards.errors import JobInvalid
from stewards.job_store import LONGEST_DOCUMENT, Run
from stewards.jobs import KINDS, Job
from stewards.staff import Assignment
from stewards.wakes import News

RunId = Annotated[str, Path(pattern=RUN_ID)]
JobId = Annotated[str, Path(max_length=LONGEST_ID)]
_NO_STORE = {"Cache-Control": "no-store"}
_DOCUMENT_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": DocumentBody.model_json_schema()}},
    }
}


def build_router(
    *,
    jobs: Jobs,
    watch: JobWatch,
    authenticator: Authenticator,
    governance: Callable[[], Governance],
    assignments: Callable[[], Iterable[Assignment]],
    changed: ChangedFacts,
    new_id: Callable[[], str],
) -> APIRouter:
    """Routes below ``/jobs``, and those that who executes a steward's sweeps needs: its token, and
    which facts it is to read again. ``assignments`` are the stewards with their tokens, ``new_id``
    makes the id of a run."""
    router = APIRouter(tags=["jobs"])
    operator = authenticator.require(OPERATOR)
    operators = Depends(operator)

    def job_of(body: JobBody) -> Job:
        job = body.job()
        if job.project is not None:
            known_project(governance(), job.project)
        return job

    def known(job: str) -> str:
        """An id that a job may have, to remember something by."""
        kind, _, rest = job.partition(":")
        project = rest.partition(":")[0]
        if kind not in KINDS or (project and project not in governance().projects):
            raise Problem(
                404,
                "unknown-job",
                "There is no such job",
                f"no job has the id {job!r}: 'fractalops schedules list' shows such as there are",
            )
        return job

    @router.post("/jobs", status_code=202)
    def ask(body: JobBody, caller: Caller = operators) -> JSONResponse:
        """Ask for a run of a job. Where the same waits to begin already, it is that one."""
        asked = Run(new_id(), job_of(body), "asked", jobs.clock(), asked_by=caller.principal)
        try:
            kept = jobs.ask(asked)
        except JobInvalid as error:
            raise invalid(error) from error
        return JSONResponse(run_json(kept), 202, headers={"Location": f"/jobs/runs/{kept.id}"})

    @router.get("/jobs/runs")
    def list_runs(
        job: Annotated[str | None, Query(max_length=LONGEST_ID)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
        caller: Caller = operators,
    ) -> dict[str, Any]:
        """Runs, the newest first."""
        return {"items": [run_json(run) for run in jobs.store.runs(job, limit)]}

    @router.get("/jobs/runs/{identifier}")
    def show_run(identifier: RunId, caller: Caller = operators) -> dict[str, Any]:
        """One run."""
        return run_json(kept_run(identifier))

    @router.put("/jobs/runs/{identifier}")
    def note_run(identifier: RunId, body: RunBody, caller: Caller = operators) -> dict[str, Any]:
        """Note where a run stands; whoever executes it does. The answer is what is kept."""
        run = body.run(identifier, jobs.clock())
        before = jobs.store.run(identifier)
        if before is None:
            if run.job.project is not None:
                known_project(governance(), run.job.project)
        elif before.job.id != run.job.id:
            raise Problem(
                409,
                "run-of-another-job",
                "The run is another job's",
                f"{identifier} is a run of {before.job.id}: give a run of {run.job.id} an id of its"
                " own.",
            )
        jobs.note(run)
        return run_json(kept_run(identifier))

    def kept_run(identifier: str) -> Run:
        found = jobs.store.run(identifier)
        if found is None:
            raise Problem(
                404,
                "unknown-run",
                "There is no such run",
                f"no run has the id {identifier!r}, or it is too old: 'fractalops jobs list' shows"
                " those that are kept",
            )
        return found

    @router.get("/jobs/documents/{job}")
    def show_document(job: JobId, caller: Caller = operators) -> dict[str, Any]:
        """What a job remembers between its runs; version 0 for nothing yet."""
        found = jobs.store.document(known(job))
        return {"version": found.version, "value": found.value}

    @router.put("/jobs/documents/{job}", openapi_extra=_DOCUMENT_BODY)
    async def keep_document(
        job: JobId, request: Request, caller: Caller = operators
    ) -> dict[str, Any]:
        """Remember this in the place of version ``after``. It may be larger than other bodies."""
        try:
            given = await read_body(request.stream(), request.headers, LONGEST_DOCUMENT)
        except IngestError as error:
            raise of_ingest(error) from error
        return await run_in_threadpool(kept_document, job, DocumentBody.read(given))

    def kept_document(job: str, body: DocumentBody) -> dict[str, Any]:
        value = plain(body.value, "the value", LONGEST_DOCUMENT)
        try:
            version = jobs.store.keep_document(known(job), value, after=body.after)
        except JobInvalid as error:
            raise invalid(error) from error
        if version is None:
            raise Problem(
                409,
                "document-changed",
                "The document has changed",
                f"What {job} remembers is not version {body.after} any more: read it again, and"
                " begin from there.",
            )
        return {"version": version}

    @router.get("/jobs/wanted")
    async def wanted(
        request: Request,
        after: Annotated[str | None, Query(max_length=100)] = None,
        wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT, allow_inf_nan=False)] = 0,
        caller: Caller = operators,
    ) -> dict[str, Any]:
        """Schedules, runs that haven't ended, and the projects that have something to look at:
        once something changed after the token ``after``, or ``wait`` seconds have passed."""
        jobs.worker_asks()
        gone = asyncio.ensure_future(until_gone(request.receive))
        try:
            news = await watch.news(after, wait, gone)
        finally:
            gone.cancel()
        # The token may have ended meanwhile.
        operator(request)
        return await run_in_threadpool(wanted_json, news)

    def wanted_json(news: News) -> dict[str, Any]:
        return {
            "token": news.token,
            "woken": None if news.projects is None else sorted(news.projects),
            "schedules": jobs.schedules_json(),
            "runs": [run_json(run) for run in jobs.store.open_runs()],
            "changed": changed.to_read(),
        }

    @router.post("/stewards/{name}/rereading", status_code=204)
    def will_be_read(name: str, body: RereadingBody, caller: Caller = operators) -> Response:
        """The steward will read its facts again from this batch on: ``/jobs/wanted`` needn't say so
        any more."""
        changed.will_be_read(assigned(name).project, body.since)
        return Response(status_code=204)

    @router.post("/stewards/{name}/token")
    def lend(name: str, caller: Caller = operators) -> JSONResponse:
        """The token that a steward acts with, for who executes its sweeps; it ends with the
        server's process."""
        found = assigned(name)
        answer = {"token": found.token, "project": found.project}
        return JSONResponse(answer, headers=_NO_STORE)

    def assigned(name: str) -> Assignment:
        for assignment in assignments():
            if assignment.name == name:
                return assignment
        raise Problem(
            404,
            "unknown-steward",
            "There is no such steward",
            f"there is no steward {name[:80]!r}: GET /stewards lists them",
        )

    return router
