"""The HTTP application, and the server that runs it.

Invariant: every answer but health, the API description and its page needs a token; every error is
one RFC 9457 problem; what a handler does not expect is logged here in full and told to the caller
without internals.
"""

from __future__ import annotations

import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from graph_api import (
    catalog,
    classification,
    evidence,
    facts,
    live,
    operations,
    proofs,
    proposals,
    reading,
    steward_keys,
    telemetry,
    upstreams,
    validation,
)
from graph_api.assembly import Assembly
from graph_api.body_limit import BodyLimit
from graph_api.catalog_journal import CatalogJournal
from graph_api.endpoint import Direct
from graph_api.problems import Problem, handle_problem
from graph_api.query_protocol import query_protocol
from graph_api.sparql import SparqlEndpoint
from graph_api.status import Status, version
from ingest.relay import Relay
from ontology.errors import OntologyError
from proofs.errors import ProofError
from runtime.errors import RuntimeFloorError
from runtime.settings import GRPC_PORT, Settings
from shapes.errors import ValidationFailed

LOGGER = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 10
HEAD = Gauge("fractalops_head", "Index of the newest journal entry.")
PUBLISHED = Gauge("fractalops_published_entries", "Log entries that are published.")
WARNINGS = Gauge("fractalops_warnings", "What a person should look at now.")
TROUBLES = Gauge("fractalops_troubles", "What keeps the platform from all of its work now.")

_READ_THEIR_OWN_BODIES = (
    *("/proposals", "/validate", "/sparql", "/facts", "/classify/explain"),
    *telemetry.OWN_BODIES,
)

_KINDS = {404: "not-found", 405: "method-not-allowed", 413: "body-too-large"}
_HINTS = {
    404: "GET /docs lists what there is.",
    405: "GET /docs lists the methods of each path.",
}


def create_app(assembly: Assembly, grpc_port: int | None = None) -> ASGIApp:
    """The application over what an assembly has opened. With a ``grpc_port``, 0 for any free one,
    OTLP/gRPC is served for as long as the application runs."""

    relay = Relay()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            reading.running(assembly.workers, assembly.reading),
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
    app.add_exception_handler(Problem, handle_problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(ValidationFailed, _unvalidated)
    app.add_exception_handler(Exception, _unexpected)

    authenticator = assembly.authenticator
    settings = assembly.settings
    telemetry.add_routes(
        app,
        assembly.inbox,
        assembly.sender_of,
        otlp_bytes=settings.otlp_bytes,
        outbox=assembly.outbox,
        relay=relay,
    )
    short_cuts = reading.add_routes(app, assembly.reading, authenticator)
    app.router.routes.extend(
        catalog.build_routes(
            assembly.reading,
            authenticator,
            CatalogJournal(assembly.journal, assembly.index, assembly.verifier, assembly.ids),
        )
    )

    status = Status(assembly)

    def published() -> int:
        return assembly.publisher.size

    app.include_router(
        proposals.build_router(
            assembly.ledger,
            authenticator,
            assembly.ids,
            assembly.store,
            body_limit=settings.proposal_bytes,
            published=published,
            committed=assembly.committed,
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
            trace=assembly.trace,
            audit=assembly.audit,
            rebuild=assembly.audit,
            witnesses=assembly.witnesses,
            cosigned=assembly.publisher.notify,
        )
    )
    app.include_router(
        upstreams.build_router(
            upstreams=assembly.upstreams,
            forwarder=assembly.forwarder,
            access=assembly.access,
            authenticator=authenticator,
            ids=assembly.ids,
            governance=lambda: assembly.ledger.governance,
        )
    )
    app.include_router(
        operations.build_router(
            ledger=assembly.ledger,
            access=assembly.access,
            authenticator=authenticator,
            ids=assembly.ids,
            stewards=assembly.stewards,
            keys=assembly.steward_keys,
            status=status,
            url=lambda: assembly.url,
            log=str(assembly.verifier),
            glitchtip=assembly.glitchtip(),
            published=published,
            committed=assembly.committed,
        )
    )
    app.include_router(
        steward_keys.build_router(
            ledger=assembly.ledger,
            explainer=assembly.explainer,
            keys=assembly.steward_keys,
            authenticator=authenticator,
            ids=assembly.ids,
            published=published,
            committed=assembly.committed,
        )
    )
    app.include_router(
        evidence.build_router(
            inbox=assembly.inbox,
            trace=assembly.trace,
            eraser=assembly.eraser,
            authenticator=authenticator,
            governance=lambda: assembly.ledger.governance,
        )
    )
    app.include_router(live.build_router(assembly.live, authenticator))
    app.include_router(
        facts.build_router(assembly.warehouse, authenticator, seconds=settings.facts_seconds)
    )
    app.include_router(
        classification.build_router(
            classifier=assembly.classifier,
            decoders=assembly.decoders,
            reclassify=assembly.reclassify,
            authenticator=authenticator,
        )
    )
    _add_health(app, assembly, status)
    app.openapi = _with_bearer(app.openapi)  # type: ignore[method-assign]
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
        assembly.inbox, assembly.sender_of, otlp_bytes=limit, outbox=assembly.outbox
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


def _with_bearer(described: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """The description with its one security scheme, so that the page at /docs can send a token."""

    def openapi() -> dict[str, Any]:
        schema = described()
        components = schema.setdefault("components", {})
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"token": []}]
        return schema

    return openapi


def _add_health(app: FastAPI, assembly: Assembly, status: Status) -> None:
    @app.get("/healthz", tags=["health"])
    def healthy() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"])
    def ready() -> Response:
        """Whether everything works; 503 says what does not."""
        found = status.problems()
        state = {"status": "not ready" if found else "ready", "problems": len(found)}
        return JSONResponse(state, 503 if found else 200)

    @app.get("/metrics", tags=["health"], dependencies=[Depends(assembly.authenticator.require())])
    def metrics() -> Response:
        """Prometheus metrics."""
        HEAD.set(assembly.ledger.head)
        PUBLISHED.set(assembly.publisher.size)
        TROUBLES.set(len(status.problems()))
        WARNINGS.set(len(status.warnings()))
        assembly.forwarder.measure()
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [
        {
            "where": ".".join(str(part) for part in item["loc"]),
            "message": item["msg"],
        }
        for item in error.errors()
    ]
    first = found[0] if found else {"where": "the request", "message": "is not valid"}
    return Problem(
        422,
        "invalid-request",
        "The request is not valid",
        f"{first['where']}: {first['message']}",
        extra={"errors": found},
    ).response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _KINDS.get(error.status_code, "http-error")
    said = str(error.detail).rstrip(".")
    return Problem(
        error.status_code,
        kind,
        HTTPStatus(error.status_code).phrase,
        f"{request.method} {request.url.path}: {said}. {_HINTS.get(error.status_code, '')}",
        headers=dict(error.headers or {}),
    ).response()


async def _gone(request: Request, error: Exception) -> Response:
    return Problem(
        400, "client-gone", "The client hung up", "The body ended early; nothing was stored."
    ).response()


async def _unvalidated(request: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationFailed)
    LOGGER.error("%s %s: %s", request.method, request.url.path, error)
    return validation.unvalidated(error).response()


async def _unexpected(request: Request, error: Exception) -> Response:
    LOGGER.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return Problem(
        500,
        "internal",
        "Something went wrong here",
        "The server's log has the details; whether the request took effect can be read back.",
    ).response()


Announce = Callable[[str], None]


def serve(settings: Settings, announce: Announce) -> int:
    """Runs the server until it is told to stop; the exit code.

    ``announce`` is handed each line the operator should see. Errors that keep it from starting are
    announced, and the code is 1.
    """
    try:
        listening = _listen(settings.host, settings.port)
    except OSError as error:
        announce(_no_port("--port", settings.host, settings.port, error))
        return 1
    try:
        grpc_port = _grpc_port(settings, announce)
    except OSError as error:
        listening.close()
        announce(_no_port("--grpc-port", settings.host, settings.grpc_port, error))
        return 1
    # A service manager's way to end it; the folder is closed as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with listening:
        try:
            with Assembly(settings, announce) as assembly:
                return _run(assembly, listening, grpc_port, announce)
        except (ProofError, OntologyError, RuntimeFloorError, ValueError, OSError) as error:
            LOGGER.debug("the server did not start", exc_info=error)
            announce(f"cannot start: {error}")
            return 1


def _no_port(option: str, host: str, port: object, error: OSError) -> str:
    return (
        f"cannot listen on {host}:{port}: {error.strerror or error}. Give another port with"
        f" {option}, or 0 for any free one"
    )


def _grpc_port(settings: Settings, announce: Announce) -> int | None:
    """The port for OTLP/gRPC, ``None`` for none. Raises :class:`OSError` where one was asked for
    that can't be had; that the usual one is taken is only said."""
    wanted = settings.grpc_port
    if wanted == "off":
        return None
    port = GRPC_PORT if wanted is None else wanted
    try:
        # Released again: the library that serves it takes an address and no socket.
        _listen(settings.host, port).close()
    except OSError:
        if wanted is not None:
            raise
        announce(
            f"OTLP/gRPC is off, because port {port} is taken: name another with --grpc-port, or 0"
            " for any free one"
        )
        return None
    return port


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening


def _run(
    assembly: Assembly, listening: socket.socket, grpc_port: int | None, announce: Announce
) -> int:
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    url = f"http://{shown}:{port}"
    config = uvicorn.Config(
        create_app(assembly, grpc_port),
        http=query_protocol(SparqlEndpoint(assembly.reading, assembly.authenticator)),
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = _Server(config, lambda: _ready(assembly, url, announce), assembly.live.close)
    # uvicorn has answered what was open and closed its sockets when it hands the signal on to us.
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
    if server.lifespan.should_exit and not server.started:
        announce("cannot start: the log says why")
        return 1
    assembly.folder.retire()
    announce("stopped")
    return 0


def _ready(assembly: Assembly, url: str, announce: Announce) -> None:
    # What is here now stays: a collection need not look at it again, in a commit least of all.
    gc.collect()
    gc.freeze()
    # What comes and goes afterwards, events and rows by the thousand, refers to nothing in circles.
    gc.set_threshold(20_000, 20, 20)
    assembly.folder.announce(url)
    assembly.start_stewards(url)
    announce(f"ready at {url} (head {assembly.ledger.head}); Ctrl-C stops it")


class _Server(uvicorn.Server):
    """A uvicorn server that says when it answers, and when it is about to stop."""

    def __init__(
        self, config: uvicorn.Config, ready: Callable[[], None], stopping: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # What never ends by itself is not waited for.
        self._stopping()
        await super().shutdown(sockets=sockets)
