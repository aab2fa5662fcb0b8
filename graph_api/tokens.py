"""``/tokens``: what callers show, made, listed and ended.

Invariant: naming a principal is a proposal like any other and goes through the same gate; a token
is answered once and never again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from graph_api.auth import Authenticator, Caller
from graph_api.problems import Problem
from graph_api.projects import known_project
from graph_api.proposing import Proposing
from ontology.ids import Ids
from proofs.genesis import principal_delta, steward_slug
from proofs.governance import OPERATOR, STEWARD, Governance
from proofs.proposal import ProposalView
from proofs.submission import Request
from runtime.access import Access, Credential

SLUG = r"^[a-z0-9][a-z0-9-]{0,62}$"


class TokenBody(BaseModel):
    """A token to make. A steward's token acts as the steward of its project."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=SLUG)
    role: Literal["analyst", "steward", "operator", "auditor"]
    project: str | None = None


def build_router(
    *,
    proposing: Proposing,
    governance: Callable[[], Governance],
    access: Access,
    authenticator: Authenticator,
    ids: Ids,
) -> APIRouter:
    """Routes below ``/tokens``, for operators."""
    router = APIRouter(prefix="/tokens", tags=["operations"])
    operators = Depends(authenticator.require(OPERATOR))

    def principal_for(body: TokenBody, caller: Caller) -> tuple[str, ProposalView | None]:
        """The principal a token acts as, proposed to the governance graph where it is new."""
        if body.role == STEWARD:
            if body.project is None:
                raise Problem(
                    422,
                    "project-missing",
                    "A steward belongs to a project",
                    "Name the project: a steward's token acts as the steward of that project.",
                )
            return ids.principal(steward_slug(known_project(governance(), body.project).slug)), None
        if body.project is not None:
            raise Problem(
                422,
                "project-not-taken",
                "Only a steward belongs to a project",
                f"Leave the project out: {body.role} is a role in the whole organisation.",
            )
        principal = ids.principal(body.name)
        if governance().has_role(principal, body.role):
            return principal, None
        delta = principal_delta(ids, governance().organisation, body.name, body.role)
        request = Request(
            delta.additions,
            delta.removals,
            rationale=f"name {body.name} as {body.role}",
            media_type="application/x-principal",
            source=body.model_dump_json().encode(),
        )
        return principal, proposing.submit(caller, request)

    @router.get("")
    def list_tokens(caller: Caller = operators) -> dict[str, Any]:
        """Tokens and ingest keys, without their secrets."""
        return {"items": [_credential(item) for item in access.all()]}

    @router.post("", status_code=201)
    def create_token(body: TokenBody, caller: Caller = operators) -> Response:
        """A new token; it is shown this once."""
        principal, view = principal_for(body, caller)
        credential, token = access.issue(body.name, body.role, principal, body.project)
        answer = {**_credential(credential), "token": token}
        if view is not None and view.state != "applied":
            answer["proposal"] = proposing.shown(view)
            answer["note"] = (
                f"the token works once proposal {view.id} is applied: giving this role is decided"
                " by a person other than its author"
            )
        return JSONResponse(answer, 201, headers={"Cache-Control": "no-store"})

    @router.delete("/{identifier}", status_code=204)
    def revoke_token(identifier: str, caller: Caller = operators) -> Response:
        """Ends a token or an ingest key at once."""
        if access.revoke(identifier) is None:
            raise Problem(
                404,
                "unknown-token",
                "There is no such token",
                f"no token has the id {identifier!r}; 'fractalops tokens list' shows them",
            )
        return Response(status_code=204)

    return router


def _credential(item: Credential) -> dict[str, Any]:
    return {
        "id": item.id,
        "name": item.name,
        "role": item.role,
        "principal": item.principal,
        "project": item.project,
        "created_at": item.created_at,
        "revoked_at": item.revoked_at,
    }
