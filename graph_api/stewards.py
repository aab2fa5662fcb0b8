"""``/stewards``: who turns facts into proposals, and how far each has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends

from graph_api.assembly_stewards import Stewards
from graph_api.auth import Authenticator, Caller
from graph_api.problems import Problem
from graph_api.projects import readable_projects
from proofs.governance import OPERATOR, Governance
from stewards.errors import UnknownSteward


def build_router(
    *, stewards: Stewards, authenticator: Authenticator, governance: Callable[[], Governance]
) -> APIRouter:
    """The stewards, and letting one work at once."""
    router = APIRouter(prefix="/stewards", tags=["operations"])
    anybody = Depends(authenticator.require())
    operators = Depends(authenticator.require(OPERATOR))

    @router.get("")
    def list_stewards(caller: Caller = anybody) -> dict[str, Any]:
        """The stewards at work, and how far each has read."""
        visible = {project["slug"] for project in readable_projects(governance(), caller)}
        return {"items": [s for s in stewards.status() if s.get("project") in visible]}

    @router.post("/{name}/run")
    def run_steward(name: str, caller: Caller = operators) -> dict[str, Any]:
        """Lets a steward look for new facts now; answers when it is done."""
        try:
            return stewards.run(name)
        except UnknownSteward as error:
            raise Problem(404, "unknown-steward", "There is no such steward", str(error)) from error

    return router
