"""Validating over HTTP: a change as it would be proposed, or the whole graph as it stands.

Invariant: nothing is recorded. At most one validation of the whole graph runs at a time, it runs in
a thread, and it ends soon after the client that asked for it has hung up.
Specification of the report graph: https://www.w3.org/TR/shacl/#validation-report
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pyoxigraph import RdfFormat, serialize
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, StreamingResponse

from graph_api.auth import Authenticator, Caller
from graph_api.negotiate import best
from graph_api.problems import Problem
from graph_api.proposal_json import problem_of
from graph_api.readable_report import readable_report
from graph_api.submitted import asks_nothing, described, read_request
from ontology.ids import Ids
from ontology.store import GraphStore
from ontology.terms import Delta, graph_of
from proofs.check import Checked
from proofs.errors import ProofError
from proofs.governance import AUDITOR, OPERATOR, STEWARD
from proofs.ledger import Ledger
from shapes.errors import ValidationFailed
from shapes.report import Report
from shapes.whole import Progress, Tell

LOGGER = logging.getLogger(__name__)

JSON = "application/json"
LINES = "application/x-ndjson"
REPORT_FORMATS = {
    "text/turtle": RdfFormat.TURTLE,
    "application/ld+json": RdfFormat.JSON_LD,
    "application/n-triples": RdfFormat.N_TRIPLES,
}

PAUSE = 0.2
"""Seconds between two looks at how far a validation is."""
RETRY = 15
"""Seconds after which a caller who met another's validation of the whole graph may ask again."""

_PREFIXES = {"sh": "http://www.w3.org/ns/shacl#"}

_UNEXPECTED = Problem(
    500,
    "internal",
    "Something went wrong here",
    "The server's log has the details; nothing was changed or recorded.",
)


def report_graph(report: Report, media_type: str) -> Response:
    """The W3C report graph in one of :data:`REPORT_FORMATS`."""
    body = serialize(report.triples(), format=REPORT_FORMATS[media_type], prefixes=_PREFIXES)
    return Response(body, media_type=media_type)


def unvalidated(error: ValidationFailed) -> Problem:
    """The answer where a validation came to no end: nothing is known, and nothing was changed."""
    return Problem(
        503,
        "validation-failed",
        "The validation came to no end",
        f"{error}. Nothing was changed or recorded; if it happens again, the server's log and the"
        " machine's memory are the places to look.",
        headers={"Retry-After": str(RETRY)},
    )


def build_router(
    ledger: Ledger, authenticator: Authenticator, ids: Ids, store: GraphStore, *, body_limit: int
) -> APIRouter:
    """The route ``/validate``."""
    router = APIRouter(tags=["proposals"])
    anybody = Depends(authenticator.require())
    writers = authenticator.require(STEWARD, OPERATOR)
    overseers = authenticator.require(OPERATOR, AUDITOR)
    shapes = ids.graph("shapes")
    turn = threading.Lock()

    @router.post("/validate", openapi_extra=described(required=False))
    async def validate(request: Request, caller: Caller = anybody) -> Response:
        """What the shapes would say of a proposal, without recording anything; without a body,
        what they say of the whole graph, to those who may read all of it."""
        whole = asks_nothing(request)
        (overseers if whole else writers)(request)
        if whole:
            job = _Job(ledger.check_all, turn, whole=True)
        else:
            asked = await read_request(request, caller, ids, body_limit)
            delta = Delta(asked.additions, asked.removals)
            job = _Job(
                lambda tell: ledger.dry_run(caller.principal, asked, tell),
                turn,
                whole=any(graph_of(quad) == shapes for quad in delta.quads),
            )

        def document(checked: Checked) -> dict[str, Any]:
            report = readable_report(
                checked.report.to_dict(), checked.delta, caller.hidden_graphs, store
            )
            if whole:
                return {**report, "head": checked.head, "head_at_end": ledger.head}
            return {
                **report,
                "additions": len(checked.delta.additions),
                "removals": len(checked.delta.removals),
                "head": checked.head,
            }

        chosen = best(request.headers.get("accept"), (JSON, *REPORT_FORMATS, LINES)) or JSON
        try:
            await job.begun(request, wholly=chosen != LINES)
        except BaseException:
            job.end()
            raise
        if chosen == LINES:
            return StreamingResponse(job.lines(document), media_type=LINES)
        found = await run_in_threadpool(document, job.result())
        if chosen in REPORT_FORMATS:
            return report_graph(Report.from_dict(found), chosen)
        return JSONResponse(found)

    return router


class _Unwanted(Exception):
    """Nobody waits for this validation any more."""


class _Job:
    """One validation in a thread, as the event loop sees it."""

    def __init__(
        self, work: Callable[[Tell], Checked], turn: threading.Lock, *, whole: bool
    ) -> None:
        """``whole`` says that it is known to take the whole graph; otherwise it shows."""
        self._turn = turn
        self._holds_turn = False
        self._ended = False
        self._progress: Progress | None = None
        self._task = asyncio.create_task(run_in_threadpool(self._run, work, whole))
        # A task that nobody awaits any more must not complain about what became of it.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    # --- in the thread

    def _run(self, work: Callable[[Tell], Checked], whole: bool) -> Checked:
        try:
            if whole:
                self._take_turn()
            return work(self._tell)
        finally:
            if self._holds_turn:
                self._turn.release()

    def _tell(self, progress: Progress) -> None:
        if self._ended:
            raise _Unwanted
        self._take_turn()
        self._progress = progress

    def _take_turn(self) -> None:
        self._holds_turn = self._holds_turn or self._turn.acquire(blocking=False)
        if not self._holds_turn:
            raise Problem(
                503,
                "validation-busy",
                "The whole graph is being validated",
                "This takes the whole graph too, and one such validation runs at a time; try again"
                " when it is done.",
                headers={"Retry-After": str(RETRY)},
            )

    # --- in the event loop

    def end(self) -> None:
        """Tells the thread that its work is not wanted."""
        self._ended = True

    async def begun(self, request: Request, *, wholly: bool) -> None:
        """Waits until it is done, or (not ``wholly``) until there is progress to tell."""
        while not self._task.done() and (wholly or self._progress is None):
            await asyncio.wait((self._task,), timeout=PAUSE)
            if not self._task.done() and await request.is_disconnected():
                raise ClientDisconnect
        if self._task.done():
            self.result()

    def result(self) -> Checked:
        """What came out of it. Raises :class:`Problem` where it was refused."""
        try:
            return self._task.result()
        except ProofError as error:
            raise problem_of(error) from error
        except ValidationFailed as error:
            raise unvalidated(error) from error

    async def lines(self, document: Callable[[Checked], dict[str, Any]]) -> AsyncIterator[bytes]:
        """How far it is, again and again, and at last the report: one JSON object a line.

        What goes wrong once the first line is sent comes as the last line, ``{"problem": ...}``.
        """
        told: Progress | None = None
        try:
            while not self._task.done():
                if self._progress is not None and self._progress is not told:
                    told = self._progress
                    yield _line("progress", asdict(told))
                await asyncio.wait((self._task,), timeout=PAUSE)
            try:
                last = _line("report", await run_in_threadpool(document, self.result()))
            except Problem as problem:
                last = _line("problem", problem.told())
            except Exception:
                LOGGER.exception("a validation failed")
                last = _line("problem", _UNEXPECTED.told())
            yield last
        finally:
            self.end()


def _line(name: str, value: dict[str, Any]) -> bytes:
    return json.dumps({name: value}, ensure_ascii=False).encode() + b"\n"
