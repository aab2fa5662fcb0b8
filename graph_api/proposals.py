"""The gate over HTTP: propose, look, decide, revert.

Invariant: everything that wants to change the graph comes through here, our own stewards included,
and gets the same answers. Bodies are read with a limit before anything is parsed; work on them
happens in threads, so that readers never wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from graph_api.auth import Authenticator, Caller
from graph_api.decision_card import DecisionCards
from graph_api.negotiate import best
from graph_api.problems import Problem
from graph_api.proposal_json import answered, nodes_told, problem_of, proposal_json
from graph_api.readable_report import readable_report
from graph_api.submitted import described, read_request
from graph_api.validation import JSON, REPORT_FORMATS, report_graph
from ontology.ids import Ids
from ontology.store import GraphStore
from ontology.terms import to_nquads
from proofs.errors import Invalid, ProofError
from proofs.governance import OPERATOR, STEWARD
from proofs.ledger import Ledger
from proofs.proposal import TRANSITIONS, ProposalView
from shapes.report import Report

PROBLEM = "application/problem+json"
PATCH = "text/x-rdf-patch"


class DecisionBody(BaseModel):
    """A decision on a proposal."""

    model_config = ConfigDict(extra="forbid")

    outcome: Literal["approve", "reject", "request-changes", "withdraw"]
    reason: str = Field(default="", max_length=4000)


class RevertBody(BaseModel):
    """Why a proposal is to be undone."""

    model_config = ConfigDict(extra="forbid")

    rationale: str = Field(default="", max_length=4000)


def build_router(
    ledger: Ledger,
    authenticator: Authenticator,
    ids: Ids,
    store: GraphStore,
    *,
    body_limit: int,
    published: Callable[[], int],
    committed: Callable[[str, int], None],
    proposals: Callable[..., list[tuple[int, ProposalView]]],
    cards: DecisionCards,
) -> APIRouter:
    """Routes below ``/proposals``.

    ``published`` tells how many log entries are published, ``committed(principal, head)`` is told
    what a caller has just changed, ``proposals`` lists them (:meth:`proofs.index.Index.proposals`).
    """
    router = APIRouter(tags=["proposals"])
    anybody = Depends(authenticator.require())
    writers = Depends(authenticator.require(STEWARD, OPERATOR))

    def shown(view: ProposalView, caller: Caller, entries: int | None = None) -> dict[str, Any]:
        # What was just committed is applied; publication follows, and shows as "proven".
        resource = proposal_json(view, published() if entries is None else entries)
        return {**resource, "report": told(view, caller)}

    def told(view: ProposalView, caller: Caller) -> dict[str, Any] | None:
        if not (view.report and view.report["results"] and caller.hidden_graphs):
            return view.report
        return readable_report(
            view.report, answered(ledger.delta_of, view), caller.hidden_graphs, store
        )

    def readable(identifier: str, caller: Caller) -> ProposalView:
        view = answered(ledger.proposal, identifier)
        graphs = view.graphs
        if view.order is not None and view.project is not None:
            graphs = (ids.lineage_graph(view.project),)
        if view.restricted and not all(caller.may_read(graph) for graph in graphs):
            # The same answer as for one that does not exist: its existence is restricted too.
            raise Problem(
                404,
                "unknown-proposal",
                "There is no such proposal",
                f"there is no proposal {identifier!r}",
            )
        return view

    def answer(caller: Caller, view: ProposalView | None) -> Response:
        if view is None:
            return JSONResponse(
                {
                    "id": None,
                    "state": "unchanged",
                    "head": ledger.head,
                    "proof": None,
                    "report": None,
                }
            )
        committed(caller.principal, view.head)
        return JSONResponse(
            shown(view, caller, 0), 201, headers={"Location": f"/proposals/{view.id}"}
        )

    @router.post("/proposals", status_code=201, openapi_extra=described(required=True))
    async def propose(request: Request, caller: Caller = writers) -> Response:
        """Propose a change: 201 with the proposal, 200 when it would change nothing, 422 with the
        SHACL report, 409 when what it is about has changed, 403 when it is not yours to change."""
        asked = await read_request(request, caller, ids, body_limit)
        try:
            view = await run_in_threadpool(ledger.submit, caller.principal, asked)
        except Invalid as error:
            view = ledger.proposal(error.proposal)
            committed(caller.principal, view.head)
            return await run_in_threadpool(_refusal, request, caller, view, str(error))
        except ProofError as error:
            raise problem_of(error) from error
        return await run_in_threadpool(answer, caller, view)

    @router.get("/proposals")
    def listing(
        caller: Caller = anybody,
        state: Annotated[list[str] | None, Query()] = None,
        project: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        before: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,
        orders: Annotated[
            Literal["decided", "all"],
            Query(description="Of the orders, those that somebody decided on or that change."),
        ] = "decided",
    ) -> dict[str, Any]:
        """Proposals, newest first."""
        wanted = set(state or [])
        unknown = sorted(wanted - set(TRANSITIONS))
        if unknown:
            raise Problem(
                400,
                "unknown-state",
                "There is no such state",
                f"{unknown[0]!r} is not one of {', '.join(TRANSITIONS)}",
            )
        if "proven" in wanted:
            wanted.add("applied")
        rows = proposals(
            states=sorted(wanted),
            project=project,
            limit=limit,
            before=before,
            readable=ledger.governance.readable_projects(caller.hidden_graphs),
            unlisted=orders == "all",
        )
        return {
            "items": [shown(view, caller) for _, view in rows],
            "next": rows[-1][0] if len(rows) == limit else None,
        }

    @router.get("/proposals/{identifier}")
    def show(identifier: str, caller: Caller = anybody) -> dict[str, Any]:
        """One proposal."""
        return shown(readable(identifier, caller), caller)

    @router.get("/proposals/{identifier}/card")
    def card(identifier: str, caller: Caller = anybody) -> dict[str, Any]:
        """All that somebody needs who decides on it: what it says and what bears it out, the things
        as they would be, and what saved queries would answer."""
        view = readable(identifier, caller)
        return {"proposal": shown(view, caller), **answered(cards.card, view, caller)}

    @router.get("/proposals/{identifier}/diff")
    def diff(identifier: str, request: Request, caller: Caller = anybody) -> Response:
        """What it would change, as RDF Patch or as JSON with N-Quads."""
        view = readable(identifier, caller)
        delta = answered(ledger.delta_of, view)
        if best(request.headers.get("accept"), (PATCH, JSON)) == JSON:
            return JSONResponse(
                {
                    "additions": to_nquads(delta.additions).decode(),
                    "removals": to_nquads(delta.removals).decode(),
                }
            )
        return Response(delta.patch(), media_type=PATCH)

    @router.get("/proposals/{identifier}/report")
    def report(identifier: str, request: Request, caller: Caller = anybody) -> Response:
        """The validation report, as Turtle, JSON-LD, N-Triples or JSON."""
        view = readable(identifier, caller)
        found = told(view, caller)
        if found is None:
            raise Problem(
                404,
                "no-report",
                "There is no report",
                f"proposal {identifier} was not validated against shapes",
            )
        chosen = best(request.headers.get("accept"), (JSON, *REPORT_FORMATS)) or JSON
        if chosen == JSON:
            return JSONResponse(found)
        return report_graph(Report.from_dict(found), chosen)

    @router.post("/proposals/{identifier}/decisions")
    async def decide(
        identifier: str, body: DecisionBody, request: Request, caller: Caller = writers
    ) -> Response:
        """Approve what another person proposed, reject it, ask for changes with the reason; or
        withdraw what you proposed."""
        readable(identifier, caller)
        decisions = {
            "approve": ledger.approve,
            "reject": ledger.reject,
            "request-changes": ledger.request_changes,
            "withdraw": ledger.withdraw,
        }
        try:
            view = await run_in_threadpool(
                decisions[body.outcome], caller.principal, identifier, body.reason
            )
        except Invalid as error:
            return await run_in_threadpool(
                _refusal, request, caller, ledger.proposal(error.proposal), str(error)
            )
        except ProofError as error:
            raise problem_of(error) from error
        committed(caller.principal, view.head)
        return JSONResponse(await run_in_threadpool(shown, view, caller, 0))

    @router.post("/proposals/{identifier}/revert", status_code=201)
    async def revert(
        identifier: str, request: Request, body: RevertBody | None = None, caller: Caller = writers
    ) -> Response:
        """Propose the exact inverse of an applied proposal."""
        readable(identifier, caller)
        rationale = body.rationale if body else ""
        try:
            view = await run_in_threadpool(ledger.revert, caller.principal, identifier, rationale)
        except Invalid as error:
            return await run_in_threadpool(
                _refusal, request, caller, ledger.proposal(error.proposal), str(error)
            )
        except ProofError as error:
            raise problem_of(error) from error
        return await run_in_threadpool(answer, caller, view)

    def _refusal(request: Request, caller: Caller, view: ProposalView, summary: str) -> Response:
        found = told(view, caller)
        assert found is not None
        if caller.hidden_graphs:
            summary = Report.from_dict(found).summary()
        chosen = best(request.headers.get("accept"), (PROBLEM, JSON, *REPORT_FORMATS)) or PROBLEM
        location = {"Location": f"/proposals/{view.id}"}
        if chosen in REPORT_FORMATS:
            answer = report_graph(Report.from_dict(found), chosen)
            answer.status_code = 422
            answer.headers.update(location)
            return answer
        nodes = nodes_told(found)
        counted = f" Nodes that would not conform: {nodes}." if nodes else ""
        return Problem(
            422,
            "shapes-violated",
            "The shapes refuse it",
            f"{summary.rstrip('.')}.{counted} The graph is as it was; mend what the report names"
            " and propose again.",
            extra={**shown(view, caller), "report": found},
            headers=location,
        ).response()

    return router
