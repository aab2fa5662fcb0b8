"""Running the platform over HTTP: status, projects, tokens.

Invariant: creating a project or naming a principal is a proposal like any other and goes through
the same gate; a secret is answered once and never again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from graph_api.auth import Authenticator, Caller
from graph_api.problems import Problem
from graph_api.proposal_json import problem_of, proposal_json
from graph_api.steward_keys import next_key
from ingest.errors import HistoryError
from ingest.glitchtip_projects import GlitchTipProjects
from ingest.sentry_dsn import dsn
from ontology.ids import Ids
from proofs.errors import Invalid, ProofError
from proofs.genesis import principal_delta, project_delta, steward_slug
from proofs.governance import OPERATOR, STEWARD, Governance, Project
from proofs.ledger import Ledger
from proofs.proposal import ProposalView
from proofs.submission import Request
from runtime.access import BROWSER, INGEST, INGEST_ROLES, Access, Credential
from runtime.steward_keys import StewardKeys

SLUG = r"^[a-z0-9][a-z0-9-]{0,62}$"
_NAMED = r"\b(?:project |steward-)([a-z0-9-]+)"
"""A project that a warning is about, or whose steward it is about."""
_WHOLE = "of all projects"
"""What a warning says that may tell of each of them."""
PROJECT_SLUG = r"^[a-z0-9][a-z0-9-]{0,54}$"
"""Eight characters shorter, so that the slug of the project's steward is a slug too."""


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


class TokenBody(BaseModel):
    """A token to make. A steward's token acts as the steward of its project."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=SLUG)
    role: Literal["analyst", "steward", "operator", "auditor"]
    project: str | None = None


def build_router(
    *,
    ledger: Ledger,
    access: Access,
    authenticator: Authenticator,
    ids: Ids,
    keys: StewardKeys,
    status: Callable[[], dict[str, Any]],
    url: Callable[[], str],
    log: str,
    glitchtip: GlitchTipProjects | None,
    published: Callable[[], int],
    committed: Callable[[str, int], None],
) -> APIRouter:
    """Routes ``/status``, ``/projects`` and ``/tokens``; ``log`` is the verifier key
    of the proof log, by which no two servers are alike, ``keys`` those that stewards sign with,
    ``glitchtip`` where projects are made too."""
    router = APIRouter(tags=["operations"])
    anybody = Depends(authenticator.require())
    operators = Depends(authenticator.require(OPERATOR))

    def submit(caller: Caller, request: Request) -> ProposalView | None:
        try:
            view = ledger.submit(caller.principal, request)
        except Invalid as error:
            raise Problem(
                422,
                "shapes-violated",
                "The shapes refuse it",
                str(error),
                extra=proposal_json(ledger.proposal(error.proposal), published()),
            ) from error
        except ProofError as error:
            raise problem_of(error) from error
        if view is not None:
            committed(caller.principal, view.head)
        return view

    def project(slug: str) -> Project:
        found = ledger.governance.projects.get(slug)
        if found is None:
            raise Problem(
                404,
                "unknown-project",
                "There is no such project",
                f"there is no project {slug!r}: 'fractalops projects create {slug}' makes it",
            )
        return found

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
            return ids.principal(steward_slug(project(body.project).slug)), None
        if body.project is not None:
            raise Problem(
                422,
                "project-not-taken",
                "Only a steward belongs to a project",
                f"Leave the project out: {body.role} is a role in the whole organisation.",
            )
        principal = ids.principal(body.name)
        if ledger.governance.has_role(principal, body.role):
            return principal, None
        delta = principal_delta(ids, ledger.governance.organisation, body.name, body.role)
        request = Request(
            delta.additions,
            delta.removals,
            rationale=f"name {body.name} as {body.role}",
            media_type="application/x-principal",
            source=body.model_dump_json().encode(),
        )
        return principal, submit(caller, request)

    def new_key(slug: str) -> dict[str, Any]:
        _, key = access.issue(f"{slug} telemetry", INGEST, ids.project(slug), slug)
        return {
            "ingest_key": key,
            "environment": _environment(url(), slug, key),
            "posthog": _posthog(url(), key),
            "sentry": {"SENTRY_DSN": dsn(url(), key)},
            "openlineage": {"OPENLINEAGE_URL": url(), "OPENLINEAGE_API_KEY": key},
        }

    def new_browser_key(slug: str) -> dict[str, Any]:
        _, key = access.issue(f"{slug} pages", BROWSER, ids.project(slug), slug)
        # The names by which bundlers let settings into a page are their own; these are the plain.
        return {
            "browser_key": key,
            "browser": {
                "OTEL_EXPORTER_OTLP_HEADERS": _headers(key),
                **_posthog(url(), key),
                "SENTRY_DSN": dsn(url(), key),
            },
        }

    def ingest_keys(slug: str) -> list[Credential]:
        return [item for item in access.all() if item.role in INGEST_ROLES and item.project == slug]

    @router.get("/status")
    def show_status(caller: Caller = anybody) -> dict[str, Any]:
        """How the platform is."""
        found = status()
        if caller.hidden_graphs:
            visible = {p["slug"] for p in readable_projects(ledger.governance, caller)}
            found["projects"] = [p for p in found["projects"] if p["slug"] in visible]
            for place in (found, found["steward_keys"]):
                place["stewards"] = [s for s in place["stewards"] if s.get("project") in visible]
            hidden = set(ledger.governance.projects) - visible
            found["warnings"] = [
                text
                for text in found["warnings"]
                if _WHOLE not in text and not hidden & set(re.findall(_NAMED, text))
            ]
        return found

    @router.get("/projects")
    def listreadable_projects(caller: Caller = anybody) -> dict[str, Any]:
        """The projects you may read."""
        return {"items": readable_projects(ledger.governance, caller)}

    @router.post("/projects", status_code=201)
    def create_project(body: ProjectBody, caller: Caller = operators) -> Response:
        """Found a project; the answer holds its two ingest keys, which are shown this once."""
        governance = ledger.governance
        if body.slug in governance.projects:
            raise Problem(
                409,
                "project-exists",
                "The project exists already",
                f"project {body.slug!r} is there; 'fractalops projects key {body.slug}' makes it"
                " another ingest key",
            )
        delta = project_delta(
            ids,
            governance.organisation,
            body.slug,
            body.label or body.slug,
            restricted=body.restricted,
            key=next_key(keys, steward_slug(body.slug), governance),
        )
        view = submit(
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
            "proposal": proposal_json(view, published()),
        }
        if glitchtip is not None:
            try:
                answer["glitchtip"] = {"GLITCHTIP_DSN": glitchtip.dsn_of(body.slug)}
            except HistoryError as error:
                # The project is there: what lies outside can be asked for again.
                answer["glitchtip_problem"] = error.detail
        return JSONResponse(
            {**answer, **new_key(body.slug), **new_browser_key(body.slug)},
            201,
            headers={"Location": f"/id/project/{body.slug}", "Cache-Control": "no-store"},
        )

    @router.post("/projects/{slug}/keys", status_code=201)
    def create_key(
        slug: str, lent: bool = False, body: KeyBody | None = None, caller: Caller = operators
    ) -> Response:
        """Another ingest key for a project; it is shown this once.

        One that is ``lent`` is kept nowhere and ends with the server's process.
        """
        slug = project(slug).slug
        if lent:
            key = access.lend(f"{slug} history", INGEST, ids.project(slug), slug)
            answer = {"ingest_key": key, "log": log}
        elif body is not None and body.kind == "browser":
            answer = new_browser_key(slug)
        else:
            answer = new_key(slug)
        return JSONResponse(answer, 201, headers={"Cache-Control": "no-store"})

    @router.post("/projects/{slug}/glitchtip")
    def provision(slug: str, caller: Caller = operators) -> Response:
        """The DSN of the project in GlitchTip, where it is made if it is missing."""
        slug = project(slug).slug
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

    @router.get("/projects/{slug}/keys")
    def list_keys(slug: str, caller: Caller = operators) -> dict[str, Any]:
        """The ingest keys of a project, without their secrets, and how they are used."""
        held = project(slug).slug
        return {"items": [_ingest_key(item, access) for item in ingest_keys(held)]}

    @router.delete("/projects/{slug}/keys/{identifier}", status_code=204)
    def revoke_key(slug: str, identifier: str, caller: Caller = operators) -> Response:
        """Ends an ingest key of a project at once."""
        if not any(item.id == identifier for item in ingest_keys(project(slug).slug)):
            raise Problem(
                404,
                "unknown-key",
                "There is no such key",
                f"no key of project {slug!r} has the id {identifier!r}; 'fractalops projects keys"
                f" {slug}' shows them",
            )
        access.revoke(identifier)
        return Response(status_code=204)

    @router.get("/tokens")
    def list_tokens(caller: Caller = operators) -> dict[str, Any]:
        """Tokens and ingest keys, without their secrets."""
        return {"items": [_credential(item) for item in access.all()]}

    @router.post("/tokens", status_code=201)
    def create_token(body: TokenBody, caller: Caller = operators) -> Response:
        """A new token; it is shown this once."""
        principal, view = principal_for(body, caller)
        credential, token = access.issue(body.name, body.role, principal, body.project)
        answer = {**_credential(credential), "token": token}
        if view is not None and view.state != "applied":
            answer["proposal"] = proposal_json(view, published())
            answer["note"] = (
                f"the token works once proposal {view.id} is applied: giving this role is decided"
                " by a person other than its author"
            )
        return JSONResponse(answer, 201, headers={"Cache-Control": "no-store"})

    @router.delete("/tokens/{identifier}", status_code=204)
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


def _ingest_key(item: Credential, access: Access) -> dict[str, Any]:
    use = access.use_of(item.id)
    return {
        "id": item.id,
        "kind": "browser" if item.role == BROWSER else "server",
        "created_at": item.created_at,
        "revoked_at": item.revoked_at,
        "last_used": use.last_used,
        "from_pages": use.from_pages,
    }


def _headers(key: str) -> str:
    """The header that carries an ingest key, percent-encoded as OpenTelemetry's SDKs read it."""
    return "authorization=" + quote(f"Bearer {key}", safe="")


def _environment(url: str, slug: str, key: str) -> dict[str, str]:
    """What an OpenTelemetry SDK reads; header values there are percent-encoded.

    Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
    """
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_HEADERS": _headers(key),
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
    }


def _posthog(url: str, key: str) -> dict[str, str]:
    """What a PostHog client is given, by the names that PostHog's own guides use.

    Source: https://posthog.com/docs/libraries/python
    """
    return {"POSTHOG_HOST": url, "POSTHOG_PROJECT_API_KEY": key}
