"""Classification over HTTP: why an event has its class, and facts classified again.

Invariant: explaining keeps nothing of what was sent; classifying again changes facts alone, by the
rules of the graph, and is for operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from graph_api.auth import Authenticator, Caller
from graph_api.problems import of_ingest
from graph_api.projects import PROJECT_SLUG
from ingest.bodies import read_body
from ingest.classify import Classifier
from ingest.decoders import Decoder
from ingest.errors import IngestError
from ingest.events import Skipped
from ingest.evidence import EvidenceBatch
from ingest.explain import Explanation, explain_payload
from ingest.reclassify import Reclassification
from proofs.governance import OPERATOR

MAX_PAYLOAD = 1024 * 1024
"""Bytes of a payload to explain, after Content-Encoding is undone."""

_ANYTHING = "application/octet-stream"
_UNSAID = frozenset({"", _ANYTHING, "application/x-www-form-urlencoded", "text/plain"})
_PAYLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {_ANYTHING: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class ReclassifyBody(BaseModel):
    """Which facts to classify again: of a project or of all, from a batch on."""

    model_config = ConfigDict(extra="forbid")

    project: str | None = Field(default=None, pattern=PROJECT_SLUG)
    since: int = Field(default=0, ge=0)
    dry_run: bool = False


class Reclassify(Protocol):
    """Classifies stored facts again."""

    def __call__(self, project: str | None, since: int, *, dry_run: bool) -> Reclassification: ...


def build_router(
    *,
    classifier: Callable[[], Classifier],
    decoders: Mapping[str, Decoder],
    reclassify: Reclassify,
    authenticator: Authenticator,
) -> APIRouter:
    """Routes ``/classify/explain`` and ``/facts/reclassify``."""
    router = APIRouter(tags=["classification"])
    anybody = Depends(authenticator.require())
    operators = Depends(authenticator.require(OPERATOR))

    @router.post("/classify/explain", openapi_extra=_PAYLOAD_BODY)
    async def explain_classification(
        request: Request,
        source: Annotated[str, Query(description="Its source; found out if not given.")] = "",
        project: Annotated[str, Query(pattern=PROJECT_SLUG)] = "project",
        caller: Caller = anybody,
    ) -> dict[str, Any]:
        """Say for a payload which rule would choose the class of each event, and why."""
        said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        content_type = "" if said in _UNSAID else said

        def run(payload: bytes) -> dict[str, Any]:
            batch = EvidenceBatch(0, "", project, source, content_type, len(payload), 0, None)
            rules = classifier()
            found, items = explain_payload(payload, batch, decoders, rules)
            explained = [item for item in items if isinstance(item, Explanation)]
            skipped = [item.reason for item in items if isinstance(item, Skipped)]
            return {
                "source": found,
                "rules": rules.version,
                "events": [_explanation(item) for item in explained],
                "skipped": skipped,
            }

        try:
            payload = await read_body(request.stream(), request.headers, MAX_PAYLOAD)
            return await run_in_threadpool(run, payload)
        except IngestError as error:
            raise of_ingest(error) from error

    @router.post("/facts/reclassify")
    def reclassify_facts(body: ReclassifyBody, caller: Caller = operators) -> dict[str, Any]:
        """Classify stored facts again by the rules as they stand; says how many changed."""
        try:
            found = reclassify(body.project, body.since, dry_run=body.dry_run)
        except IngestError as error:
            raise of_ingest(error) from error
        return {
            "rules": found.rules,
            "dry_run": body.dry_run,
            "looked_at": found.looked_at,
            "changed": sum(found.changed.values()),
            "changes": [
                {"before": before or None, "after": after or None, "events": events}
                for (before, after), events in sorted(found.changed.items())
            ],
        }

    return router


def _explanation(found: Explanation) -> dict[str, Any]:
    event = found.event
    return {
        "event_id": event.event_id,
        "name": event.name,
        "kind": event.kind,
        "service": event.service,
        "class": event.event_class or None,
        "rule": event.rule or None,
        "subject": event.subject or None,
        "subject_name": found.name or None,
        "trials": [
            {
                "rule": trial.rule,
                "priority": trial.priority,
                "won": trial.won,
                "conditions": [
                    {"asks": each.asks, "met": each.met, "found": each.found}
                    for each in trial.conditions
                ],
            }
            for trial in found.trials
        ],
    }
