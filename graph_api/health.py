"""``/healthz``, ``/readyz`` and ``/metrics``: for what watches the process.

Invariant: whether it is alive and ready is told to anybody, and nothing else; what is measured
needs a token.
Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from starlette.responses import JSONResponse

from graph_api.auth import Authenticator
from graph_api.status import Status

HEAD = Gauge("fractalops_head", "Index of the newest journal entry.")
PUBLISHED = Gauge("fractalops_published_entries", "Log entries that are published.")
WARNINGS = Gauge("fractalops_warnings", "What a person should look at now.")
FAILED_JOBS = Gauge("fractalops_failed_jobs", "Jobs whose newest run failed.")
DEAD_LETTERS = Gauge(
    "fractalops_catalog_dead_letters", "Entities of the catalog that DataHub refused for good."
)
TROUBLES = Gauge("fractalops_troubles", "What keeps the platform from all of its work now.")


def build_router(
    *,
    status: Status,
    authenticator: Authenticator,
    head: Callable[[], int],
    published: Callable[[], int],
    measure: Callable[[], None],
) -> APIRouter:
    """The routes; ``head()`` is the newest entry, ``published()`` how many of the log are, and
    ``measure()`` has what is measured elsewhere brought up to date."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    def healthy() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @router.get("/readyz")
    def ready() -> Response:
        """Whether everything works; 503 says what does not."""
        found = status.problems()
        state = {"status": "not ready" if found else "ready", "problems": len(found)}
        return JSONResponse(state, 503 if found else 200)

    @router.get("/metrics", dependencies=[Depends(authenticator.require())])
    def metrics() -> Response:
        """Prometheus metrics."""
        HEAD.set(head())
        PUBLISHED.set(published())
        TROUBLES.set(len(status.problems()))
        WARNINGS.set(len(status.warnings()))
        FAILED_JOBS.set(len(status.jobs.failed()))
        DEAD_LETTERS.set(sum(status.jobs.dead_letters().values()))
        measure()
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router
