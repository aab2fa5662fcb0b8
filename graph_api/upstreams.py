"""``/projects/{slug}/upstreams``: the products behind a project, stated, shown and removed.

Invariant: keys and values of headers go in and never come out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from graph_api.auth import Authenticator, Caller
from graph_api.problems import Problem, of_ingest
from graph_api.projects import known_project
from ingest.errors import IngestError
from ingest.forward import Forwarder
from ingest.outbox_tally import OUTCOMES
from ingest.upstream import Upstream, upstream
from ingest.upstreams import Upstreams
from ontology.ids import Ids
from proofs.governance import OPERATOR, Governance
from runtime.access import BROWSER, INGEST, Access


class UpstreamBody(BaseModel):
    """A product behind a project. ``trusted`` says that its key stands on servers alone."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(min_length=1, max_length=2_000)
    key: str = Field(default="", max_length=500)
    headers: dict[str, str] = Field(default_factory=dict, max_length=20)
    trusted: bool = False


def build_router(
    *,
    upstreams: Upstreams,
    forwarder: Forwarder,
    access: Access,
    authenticator: Authenticator,
    ids: Ids,
    governance: Callable[[], Governance],
) -> APIRouter:
    """Routes for operators."""
    router = APIRouter(tags=["operations"])
    operators = Depends(authenticator.require(OPERATOR))

    def known(slug: str) -> str:
        return known_project(governance(), slug).slug

    @router.get("/projects/{slug}/upstreams")
    def list_upstreams(slug: str, caller: Caller = operators) -> dict[str, Any]:
        """The products that what arrives for a project is forwarded to, and how that goes."""
        held = known(slug)
        lanes = {lane["kind"]: lane for lane in forwarder.status() if lane["project"] == held}
        return {"items": [_shown(there, lanes.get(there.kind)) for there in upstreams.of(slug)]}

    @router.put("/projects/{slug}/upstreams/{kind}")
    def state_upstream(
        slug: str, kind: str, body: UpstreamBody, caller: Caller = operators
    ) -> dict[str, Any]:
        """Forward what arrives for a project to this product, and take in what its clients send."""
        try:
            there = upstream(kind, body.url, body.key, body.headers)
        except IngestError as error:
            raise of_ingest(error) from error
        if there.key:
            role = INGEST if body.trusted else BROWSER
            name = f"{known(slug)} {kind}"
            adopted = access.adopt(there.key, name, role, ids.project(slug), slug)
            if adopted is None:
                raise Problem(
                    409,
                    "key-taken",
                    "The key belongs to another project",
                    "Remove the upstream of that project first, or give this one a key of its own.",
                )
        upstreams.state(known(slug), there)
        forwarder.begin((slug, kind))
        return _shown(there, None)

    @router.delete("/projects/{slug}/upstreams/{kind}", status_code=204)
    def remove_upstream(slug: str, kind: str, caller: Caller = operators) -> Response:
        """Forward nothing more; what still waits is dropped, and the product's key is refused."""
        there = upstreams.remove(known(slug), kind)
        if there is None:
            raise Problem(
                404,
                "unknown-upstream",
                "There is no such upstream",
                f"project {slug!r} has nothing of kind {kind!r} behind it",
            )
        held = access.find(there.key) if there.key else None
        if held is not None and held.project == slug:
            access.revoke(held.id)
        forwarder.wake((slug, kind))
        return Response(status_code=204)

    return router


def _shown(there: Upstream, lane: dict[str, Any] | None) -> dict[str, Any]:
    counted = ("waiting", "waiting_bytes", "oldest_seconds", *OUTCOMES)
    return {
        "kind": there.kind,
        "url": there.url,
        "number": there.number,
        "headers": sorted(there.headers),
        **{name: lane[name] if lane else 0 for name in counted},
        "trouble": lane["trouble"] if lane else "",
        "last_refusal": lane["last_refusal"] if lane else "",
    }
