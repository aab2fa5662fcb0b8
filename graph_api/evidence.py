"""Evidence over HTTP: which batches there are, and erasing what they hold.

Invariant: no payload is ever answered, only its commitment and what is known without opening it; an
erasure is recorded in the proof log before anything is destroyed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from starlette.responses import JSONResponse

from graph_api.auth import Authenticator, Caller
from graph_api.erasure import Eraser
from graph_api.evidence_trace import EvidenceTrace
from graph_api.problems import Problem, of_ingest
from graph_api.projects import known_project
from graph_api.proposal_json import problem_of
from ingest.errors import IngestError
from ingest.inbox import Inbox
from ingest.outbox import Outbox
from proofs.erasure import MAX_COMMITMENTS, Erasure
from proofs.errors import ProofError
from proofs.governance import AUDITOR, OPERATOR, Governance

DIGEST = r"^sha256:[0-9a-f]{64}$"
Digest = Annotated[str, Field(pattern=DIGEST)]

# Moments are kept as nanoseconds in 64 bits.
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)


def _kept(moment: datetime) -> datetime:
    if not _FIRST <= moment < _LAST:
        raise ValueError("give a moment from 1970 to 2261")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_kept)]


class ErasureBody(BaseModel):
    """What to erase: batches, or of a project those received before a moment, or those that name a
    person. ``facts`` also removes what became of them, of a person's batches what is about that
    person; ``dry_run`` only counts."""

    model_config = ConfigDict(extra="forbid")

    batches: list[Digest] | None = Field(default=None, min_length=1, max_length=1000)
    project: str | None = None
    before: Moment | None = None
    person: str | None = Field(default=None, min_length=1, max_length=1000)
    reason: str = Field(min_length=1, max_length=1000)
    facts: bool = False
    dry_run: bool = False

    @model_validator(mode="after")
    def _chooses_once(self) -> Self:
        chosen = (
            self.batches is not None,
            self.before is not None,
            self.person is not None,
        )
        if sum(chosen) != 1 or (self.batches is None) == (self.project is None):
            raise ValueError("give batches; or project and before; or project and person")
        return self


def build_router(
    *,
    inbox: Inbox,
    trace: EvidenceTrace,
    eraser: Eraser,
    outbox: Outbox,
    authenticator: Authenticator,
    governance: Callable[[], Governance],
) -> APIRouter:
    """Routes below ``/evidence``."""
    router = APIRouter(prefix="/evidence", tags=["evidence"])
    inspectors = Depends(authenticator.require(OPERATOR, AUDITOR))
    operators = Depends(authenticator.require(OPERATOR))

    @router.get("")
    def batches(
        project: str | None = None,
        before: Moment | None = None,
        limit: int = Query(50, ge=1, le=1000),
        caller: Caller = inspectors,
    ) -> dict[str, Any]:
        """Evidence batches, newest first."""
        moment = int(before.timestamp() * 10**9) if before is not None else None
        found = inbox.evidence.batches(project=project, before=moment, newest=True, limit=limit)
        return {"items": [trace.batch(batch.digest) for batch in found]}

    @router.get("/{digest}")
    def batch(digest: str, caller: Caller = inspectors) -> dict[str, Any]:
        """One evidence batch, by its commitment."""
        found = trace.batch(digest)
        if not found["known"]:
            raise Problem(
                404,
                "unknown-evidence",
                "There is no such evidence",
                f"no batch has the commitment {digest!r}: GET /evidence lists them",
            )
        return found

    @router.post("/erasures")
    def erase(body: ErasureBody, caller: Caller = operators) -> JSONResponse:
        """Erase payloads for good. Their commitments stay, and every proof with them."""
        try:
            erasure = chosen(body)
            told: dict[str, Any] = {
                "batches": len(erasure.commitments),
                "facts": erasure.facts,
                "more": len(erasure.commitments) >= MAX_COMMITMENTS,
                "entry": None,
                "done": not erasure.commitments,
            }
            if body.dry_run or not erasure.commitments:
                return JSONResponse(told)
            told["entry"], told["done"] = eraser.erase(caller.principal, erasure, body.reason)
        except ProofError as error:
            raise problem_of(error) from error
        except IngestError as error:
            raise of_ingest(error) from error
        return JSONResponse(told, 201)

    @router.post("/retention")
    def retain(caller: Caller = operators) -> dict[str, Any]:
        """Let go of what is too old now: payloads, and requests that wait for the products behind.
        Facts that are too old go by themselves."""
        try:
            looked = eraser.look()
        except ProofError as error:
            raise problem_of(error) from error
        except IngestError as error:
            raise of_ingest(error) from error
        return {
            "erased_entries": looked.made,
            "carried_out_entries": looked.carried_out,
            "requests_given_up": sum(outbox.expire(lane) for lane in outbox.lanes()),
        }

    def chosen(body: ErasureBody) -> Erasure:
        if body.batches is not None:
            return eraser.of_batches(body.batches, facts=body.facts)
        assert body.project is not None
        known_project(governance(), body.project)
        if body.person is not None:
            return eraser.of_person(body.project, body.person, facts=body.facts)
        assert body.before is not None
        return eraser.of_project(body.project, body.before.astimezone(UTC), facts=body.facts)

    return router
