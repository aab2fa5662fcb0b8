"""``/projects``: founding projects, and the keys that send for them.

Invariant: creating a project is a proposal like any other and goes through the same gate; a secret
is answered once and never again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from graph_api.auth import Authenticator, Caller
from graph_api.ingest_keys import IngestKeys
from graph_api.problems import Problem
from graph_api.proposing import Proposing
from graph_api.steward_keys import next_key
from ingest.errors import HistoryError
from ingest.glitchtip_projects import GlitchTipProjects
from ontology.ids import Ids
from proofs.genesis import project_delta, steward_slug
from proofs.governance import OPERATOR, Governance, Project
from proofs.submission import Request
from runtime.steward_keys import StewardKeys

PROJECT_SLUG = r"^[a-z0-9][a-z0-9-]{0,54}$"
"""Eight characters shorter than other slugs, so that the slug of the project's steward is one."""


class ProjectBody(BaseModel):
    """A project to create."""

    model_config = ConfigDict(extra="forbid")

    slug: str = Field(pattern=PROJECT_SLUG)
    label: str | None = Field(default=None, min_length=1, max_length=200)
    restricted: bool = False


class KeyBody(BaseModel):
    """An ingest key to make: one for servers, or one that stands in pages."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["server", "browser"] = Field(default="server")


def known_project(governance: Governance, slug: str) -> Project:
    """The project. Raises :class:`Problem` where there is none."""
    found = governance.projects.get(slug)
    if found is None:
        raise Problem(
            404,
            "unknown-project",
            "There is no such project",
            f"there is no project {slug!r}: 'fractalops projects list' shows them, 'fractalops"
            f" projects create {slug}' makes it",
        )
    return found


def readable_projects(governance: Governance, caller: Caller) -> list[dict[str, Any]]:
    return [
        {
            "slug": item.slug,
            "label": item.label,
            "iri": item.iri,
            "graph": item.graph,
            "restricted": item.restricted,
        }
        for item in sorted(governance.projects.values(), key=lambda item: item.slug)
        if caller.may_read(item.graph)
    ]


def build_router(
    *,
    proposing: Proposing,
    governance: Callable[[], Governance],
    ingest_keys: IngestKeys,
    authenticator: Authenticator,
    ids: Ids,
    keys: StewardKeys,
    log: str,
    glitchtip: GlitchTipProjects | None,
) -> APIRouter:
    """Routes below ``/projects``; ``log`` is the proof log's first verifier key, by which no two
    servers are alike, ``keys`` those that stewards sign with, ``glitchtip`` where projects are made
    too."""
    router = APIRouter(prefix="/projects", tags=["operations"])
    anybody = Depends(authenticator.require())
    operators = Depends(authenticator.require(OPERATOR))

    def known(slug: str) -> str:
        return known_project(governance(), slug).slug

    @router.get("")
    def list_projects(caller: Caller = anybody) -> dict[str, Any]:
        """The projects you may read."""
        return {"items": readable_projects(governance(), caller)}

    @router.post("", status_code=201)
    def create_project(body: ProjectBody, caller: Caller = operators) -> Response:
        """Found a project; the answer holds its two ingest keys, which are shown this once."""
        found = governance()
        if body.slug in found.projects:
            raise Problem(
                409,
                "project-exists",
                "The project exists already",
                f"project {body.slug!r} is there; 'fractalops projects key {body.slug}' makes it"
                " another ingest key",
            )
        delta = project_delta(
            ids,
            found.organisation,
            body.slug,
            body.label or body.slug,
            restricted=body.restricted,
            key=next_key(keys, steward_slug(body.slug), found),
        )
        view = proposing.submit(
            caller,
            Request(
                delta.additions,
                delta.removals,
                rationale=f"found project {body.slug}",
                media_type="application/x-project",
                source=body.model_dump_json().encode(),
            ),
        )
        assert view is not None
        answer: dict[str, Any] = {
            "project": {
                "slug": body.slug,
                "label": body.label or body.slug,
                "iri": ids.project(body.slug),
                "graph": ids.lineage_graph(body.slug),
                "restricted": body.restricted,
            },
            "proposal": proposing.shown(view),
        }
        if glitchtip is not None:
            try:
                answer["glitchtip"] = {"GLITCHTIP_DSN": glitchtip.dsn_of(body.slug)}
            except HistoryError as error:
                # The project is there: what lies outside can be asked for again.
                answer["glitchtip_problem"] = error.detail
        return JSONResponse(
            {**answer, **ingest_keys.new(body.slug), **ingest_keys.new_browser(body.slug)},
            201,
            headers={"Location": f"/id/project/{body.slug}", "Cache-Control": "no-store"},
        )

    @router.post("/{slug}/keys", status_code=201)
    def create_key(
        slug: str, lent: bool = False, body: KeyBody | None = None, caller: Caller = operators
    ) -> Response:
        """Another ingest key for a project; it is shown this once.

        One that is ``lent`` is kept nowhere and ends with the server's process.
        """
        slug = known(slug)
        if lent:
            answer = {"ingest_key": ingest_keys.lent(slug), "log": log}
        elif body is not None and body.kind == "browser":
            answer = ingest_keys.new_browser(slug)
        else:
            answer = ingest_keys.new(slug)
        return JSONResponse(answer, 201, headers={"Cache-Control": "no-store"})

    @router.post("/{slug}/glitchtip")
    def provision(slug: str, caller: Caller = operators) -> Response:
        """The DSN of the project in GlitchTip, where it is made if it is missing."""
        slug = known(slug)
        if glitchtip is None:
            raise Problem(
                409,
                "glitchtip-not-configured",
                "No GlitchTip is configured",
                "Start the server with FRACTALOPS_GLITCHTIP_URL, _ORGANISATION, _TEAM and _TOKEN.",
            )
        try:
            found = glitchtip.dsn_of(slug)
        except HistoryError as error:
            raise Problem(
                502, "glitchtip-unavailable", "GlitchTip did not do it", error.detail
            ) from error
        return JSONResponse(
            {"glitchtip": {"GLITCHTIP_DSN": found}}, headers={"Cache-Control": "no-store"}
        )

    @router.get("/{slug}/keys")
    def list_keys(slug: str, caller: Caller = operators) -> dict[str, Any]:
        """The ingest keys of a project, without their secrets, and how they are used."""
        return {"items": ingest_keys.shown(known(slug))}

    @router.delete("/{slug}/keys/{identifier}", status_code=204)
    def revoke_key(slug: str, identifier: str, caller: Caller = operators) -> Response:
        """Ends an ingest key of a project at once."""
        if not ingest_keys.revoke(known(slug), identifier):
            raise Problem(
                404,
                "unknown-key",
                "There is no such key",
                f"no key of project {slug!r} has the id {identifier!r}; 'fractalops projects keys"
                f" {slug}' shows them",
            )
        return Response(status_code=204)

    return router
