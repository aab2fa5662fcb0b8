"""``GET /status``: how the platform is, as far as the caller may know.

Invariant: who may not read a project isn't told that there is one: neither by a list nor by a
warning.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends

from graph_api.auth import Authenticator, Caller
from graph_api.projects import readable_projects
from proofs.governance import Governance

_NAMED = r"\b(?:project |steward-)([a-z0-9-]+)"
"""A project that a warning is about, or whose steward it is about."""
_WHOLE = "of all projects"
"""What a warning says that may tell of each of them."""


def build_router(
    *,
    status: Callable[[], dict[str, Any]],
    authenticator: Authenticator,
    governance: Callable[[], Governance],
) -> APIRouter:
    """The route; ``status`` gives all of it."""
    router = APIRouter(tags=["operations"])
    anybody = Depends(authenticator.require())

    @router.get("/status")
    def show_status(caller: Caller = anybody) -> dict[str, Any]:
        """How the platform is."""
        found = status()
        if caller.hidden_graphs:
            projects = governance()
            visible = {p["slug"] for p in readable_projects(projects, caller)}
            found["projects"] = [p for p in found["projects"] if p["slug"] in visible]
            for place in (found, found["steward_keys"]):
                place["stewards"] = [s for s in place["stewards"] if s.get("project") in visible]
            hidden = set(projects.projects) - visible
            found["warnings"] = [
                text
                for text in found["warnings"]
                if _WHOLE not in text and not hidden & set(re.findall(_NAMED, text))
            ]
        return found

    return router
