"""Runs the server: its sockets, its start and its end.

Invariant: the address is announced once everything answers, and taken back when it is over; what
keeps it from starting is said in a sentence, and the exit code is 1.
"""

from __future__ import annotations

import gc
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from graph_api.app import SHUTDOWN_SECONDS, create_app
from graph_api.assembly import Assembly
from graph_api.query_protocol import query_protocol
from graph_api.sparql import SparqlEndpoint
from ontology.errors import OntologyError
from proofs.errors import ProofError
from runtime.errors import RuntimeFloorError
from runtime.local_urls import local_url
from runtime.serving_settings import GRPC_PORT
from runtime.settings import Settings

LOGGER = logging.getLogger(__name__)

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
    url = local_url(host, port)
    config = uvicorn.Config(
        create_app(assembly, grpc_port),
        http=query_protocol(SparqlEndpoint(assembly.readers.queries, assembly.authenticator)),
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = _Server(config, lambda: _ready(assembly, url, announce), assembly.let_go)
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
