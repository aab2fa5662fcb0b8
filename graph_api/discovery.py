"""``/discovery`` and ``/drift``: looking round for machines.

Invariant: looking asks hosts and clusters, so it is an operator's to ask for; an auditor may see
how what is declared differs. What is new becomes a proposal and nothing else. They stand beside
``/runtime-assets``, since below it every name is that of an asset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from graph_api.auth import Authenticator, Caller
from graph_api.problems import Problem
from graph_api.proposal_json import problem_of
from proofs.errors import ProofError
from proofs.governance import AUDITOR, OPERATOR
from proofs.submission import check_text
from runtime.asset_drift import KINDS, Drift
from stewards.discovery import AssetDiscovery
from stewards.errors import DiscoveryBusy

_T = TypeVar("_T")


class DriftBody(BaseModel):
    """Why the difference is proposed."""

    model_config = ConfigDict(extra="forbid")

    rationale: str = Field(default="", max_length=1000)


def build_router(
    *,
    discovery: AssetDiscovery,
    authenticator: Authenticator,
    head: Callable[[], int],
) -> APIRouter:
    """The routes; ``head`` is that of the log."""
    router = APIRouter(tags=["runtime assets"])
    operators = Depends(authenticator.require(OPERATOR))
    overseers = Depends(authenticator.require(OPERATOR, AUDITOR))

    def looked(look: Callable[..., _T], *arguments: str) -> _T:
        try:
            return look(*arguments)
        except DiscoveryBusy as error:
            raise Problem(
                503,
                "discovery-busy",
                "It is being looked round",
                f"{error}.",
                headers={"Retry-After": "5"},
            ) from error
        except ProofError as error:
            raise problem_of(error) from error

    @router.post("/discovery")
    def discover(caller: Caller = operators) -> dict[str, Any]:
        """Look round for machines: state how assets were found, and propose what is new."""
        return {**asdict(looked(discovery.discover)), "head": head()}

    @router.get("/drift")
    def show_drift(caller: Caller = overseers) -> dict[str, Any]:
        """How what is declared differs from what a look round finds."""
        return {"head": head(), "items": [drift_json(item) for item in looked(discovery.drift)]}

    @router.post("/drift", status_code=201, responses={200: {"description": "Nothing to propose"}})
    def propose_drift(body: DriftBody, caller: Caller = operators) -> JSONResponse:
        """Propose what was found beyond what is declared; nothing is taken away."""
        try:
            check_text(body.rationale, "the rationale")
        except ProofError as error:
            raise problem_of(error) from error
        view = looked(discovery.propose_drift, caller.principal, body.rationale)
        if view is None:
            return JSONResponse({"proposal": None, "state": "unchanged"})
        return JSONResponse(
            {"proposal": view.id, "state": view.state},
            201,
            headers={"Location": f"/proposals/{view.id}"},
        )

    return router


def drift_json(item: Drift) -> dict[str, Any]:
    """One difference; every member is always there."""
    return {
        "kind": item.kind,
        "asset_id": item.asset_id or None,
        "meaning": KINDS[item.kind],
        "detail": item.detail or None,
        "service": item.service or None,
        "locators": {name: value for name, value in asdict(item.locators).items() if value},
    }
