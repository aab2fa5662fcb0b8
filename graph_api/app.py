"""The HTTP application.

Invariant: every answer but health, the API description and its page needs a token; every error is
one RFC 9457 problem; what a handler does not expect is logged here in full and told to the caller
without internals.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp

from graph_api import (
    catalog,
    classification,
    control,
    description,
    discovery,
    evidence,
    facts,
    heads,
    health,
    http_errors,
    jobs,
    live,
    log_key,
    projects,
    proofs,
    proposals,
    reading,
    schedules,
    status_answer,
    steward_keys,
    stewards,
    telemetry,
    tokens,
    upstreams,
    validation,
)
from graph_api.assembly import Assembly
from graph_api.body_limit import BodyLimit
from graph_api.catalog_journal import CatalogJournal
from graph_api.endpoint import Direct
from graph_api.ingest_keys import IngestKeys
from graph_api.process import new_run_id
from graph_api.proposing import Proposing
from graph_api.status import Status, version
from graph_api.trace_context import TraceContext
from ingest.relay import Relay

SHUTDOWN_SECONDS = 10

_READ_THEIR_OWN_BODIES = (
    *("/proposals", "/validate", "/sparql", "/facts", "/classify/explain"),
    "/jobs/documents/{job}",
    *telemetry.OWN_BODIES,
)


def create_app(assembly: Assembly, grpc_port: int | None = None) -> ASGIApp:
    """The application over what an assembly has opened. With a ``grpc_port``, 0 for any free one,
    OTLP/gRPC is served for as long as the application runs."""

    relay = Relay()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            reading.running(assembly.readers.workers, assembly.readers.queries),
            _otlp_grpc(assembly, grpc_port),
            relay,
        ):
            yield

    app = FastAPIOffline(
        redoc_url=None,
        lifespan=lifespan,
        title="FractalOps Semantics",
        version=version(),
        description="A governed, provable knowledge graph of an organisation. Every change is a"
        " proposal; every triple can be explained and verified offline.",
    )
    http_errors.add_handlers(app)
    app.add_middleware(TraceContext)

    authenticator = assembly.authenticator
    settings = assembly.settings
    telemetry.add_routes(
        app,
        assembly.telemetry.inbox,
        assembly.telemetry.sender_of,
        otlp_bytes=settings.otlp_bytes,
        outbox=assembly.telemetry.outbox,
        relay=relay,
    )

    def published() -> int:
        return assembly.publisher.size

    proposing = Proposing(assembly.ledger, published, assembly.readers.committed)
    # Before the routes of what there is, which answer for whatever name and method is left.
    app.include_router(
        control.build_router(
            service=assembly.control.service,
            authenticator=authenticator,
            ids=assembly.ids,
            kept_output=assembly.control.evidence.output,
            governance=lambda: assembly.ledger.governance,
            proposing=proposing,
        )
    )
    app.include_router(
        discovery.build_router(
            discovery=assembly.discovery,
            authenticator=authenticator,
            head=lambda: assembly.ledger.head,
        )
    )
    short_cuts = reading.add_routes(app, assembly.readers.queries, authenticator)
    app.router.routes.extend(
        catalog.build_routes(
            assembly.readers.queries,
            authenticator,
            CatalogJournal(assembly.journal, assembly.index, assembly.keys, assembly.ids),
            lambda: assembly.ledger.governance.restricted,
        )
    )

    status = Status(assembly)
    app.include_router(
        proposals.build_router(
            assembly.ledger,
            authenticator,
            assembly.ids,
            assembly.store,
            body_limit=settings.proposal_bytes,
            published=published,
            committed=assembly.readers.committed,
            proposals=assembly.index.proposals,
            cards=assembly.cards,
        )
    )
    app.include_router(
        validation.build_router(
            assembly.ledger,
            authenticator,
            assembly.ids,
            assembly.store,
            body_limit=settings.proposal_bytes,
        )
    )
    app.include_router(
        proofs.build_router(
            journal=assembly.journal,
            index=assembly.index,
            explainer=assembly.explainer,
            authenticator=authenticator,
            ids=assembly.ids,
            governance=lambda: assembly.ledger.governance,
            folder=assembly.folder.log,
            published=published,
            trace=assembly.telemetry.trace,
            audit=assembly.audit,
            rebuild=assembly.audit,
            compare=lambda: assembly.publisher.compare(assembly.keys),
            witnesses=assembly.witnesses,
            cosigned=assembly.publisher.notify,
        )
    )
    app.include_router(
        log_key.build_router(
            authenticator=authenticator, rotate=assembly.rotate_log_key, keys=assembly.keys
        )
    )
    app.include_router(
        upstreams.build_router(
            upstreams=assembly.telemetry.upstreams,
            forwarder=assembly.telemetry.forwarder,
            access=assembly.access,
            authenticator=authenticator,
            ids=assembly.ids,
            governance=lambda: assembly.ledger.governance,
        )
    )
    app.include_router(
        status_answer.build_router(
            status=status,
            authenticator=authenticator,
            governance=lambda: assembly.ledger.governance,
        )
    )
    app.include_router(
        projects.build_router(
            proposing=proposing,
            governance=lambda: assembly.ledger.governance,
            ingest_keys=IngestKeys(assembly.access, assembly.ids, lambda: assembly.url),
            authenticator=authenticator,
            ids=assembly.ids,
            keys=assembly.roster.keys,
            log=str(assembly.keys.held[0].key),
            glitchtip=assembly.glitchtip(),
        )
    )
    app.include_router(
        tokens.build_router(
            proposing=proposing,
            governance=lambda: assembly.ledger.governance,
            access=assembly.access,
            authenticator=authenticator,
            ids=assembly.ids,
        )
    )
    app.include_router(
        stewards.build_router(
            stewards=assembly.stewards,
            authenticator=authenticator,
            governance=lambda: assembly.ledger.governance,
        )
    )
    app.include_router(
        steward_keys.build_router(
            proposing=proposing,
            governance=lambda: assembly.ledger.governance,
            explainer=assembly.explainer,
            keys=assembly.roster.keys,
            authenticator=authenticator,
            ids=assembly.ids,
        )
    )
    app.include_router(
        evidence.build_router(
            inbox=assembly.telemetry.inbox,
            trace=assembly.telemetry.trace,
            eraser=assembly.telemetry.eraser,
            outbox=assembly.telemetry.outbox,
            authenticator=authenticator,
            governance=lambda: assembly.ledger.governance,
        )
    )
    app.include_router(
        jobs.build_router(
            jobs=assembly.jobs,
            watch=assembly.job_watch,
            authenticator=authenticator,
            governance=lambda: assembly.ledger.governance,
            assignments=assembly.roster.assignments,
            changed=assembly.telemetry.changed_facts,
            new_id=new_run_id,
        )
    )
    app.include_router(
        schedules.build_router(
            jobs=assembly.jobs,
            authenticator=authenticator,
            governance=lambda: assembly.ledger.governance,
        )
    )
    app.include_router(live.build_router(assembly.live, authenticator))
    app.include_router(
        facts.build_router(
            assembly.telemetry.warehouse,
            authenticator,
            assembly.telemetry.inbox,
            lambda: assembly.ledger.head,
            seconds=settings.facts_seconds,
        )
    )
    app.include_router(
        classification.build_router(
            classifier=assembly.telemetry.classifier,
            decoders=assembly.telemetry.decoders,
            reclassify=assembly.telemetry.reclassify,
            authenticator=authenticator,
        )
    )
    app.include_router(
        heads.build_router(authenticator=authenticator, newest_by=assembly.index.newest_by)
    )
    app.include_router(
        health.build_router(
            status=status,
            authenticator=authenticator,
            head=lambda: assembly.ledger.head,
            published=published,
            measure=assembly.telemetry.forwarder.measure,
        )
    )
    app.openapi = description.complete(app.openapi)  # type: ignore[method-assign]
    return Direct(BodyLimit(app, _READ_THEIR_OWN_BODIES), short_cuts)


@asynccontextmanager
async def _otlp_grpc(assembly: Assembly, port: int | None) -> AsyncIterator[None]:
    """OTLP/gRPC on this port, in the event loop that serves everything else."""
    if port is None:
        yield
        return
    # Takes time to import, and not every server needs it.
    from ingest.otlp_grpc import serving

    limit = assembly.settings.otlp_bytes
    receivers = telemetry.otlp_receivers(
        assembly.telemetry.inbox,
        assembly.telemetry.sender_of,
        otlp_bytes=limit,
        outbox=assembly.telemetry.outbox,
    )
    async with serving(
        receivers,
        assembly.settings.host,
        port,
        max_message=limit,
        grace=SHUTDOWN_SECONDS,
    ) as assembly.grpc_address:
        assembly.announce(f"OTLP/gRPC at {assembly.grpc_address}")
        yield
