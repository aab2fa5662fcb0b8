"""The receivers behind a real server on a free port, for the tests of what their clients see.

Invariant: routes are made once for a module and serve the inbox of whichever test runs; nothing
outlives the block.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from graph_api import telemetry
from graph_api.body_limit import BodyLimit
from ingest.decoders import decoders
from ingest.events import Event
from ingest.evidence_store import Receipt
from ingest.inbox import Inbox
from ingest.pseudonyms import Pseudonyms
from ingest.quotas import Quotas
from ingest.sender import Sender

OTLP_BYTES = 1024
OTHER_BYTES = 10
"""What a body may hold that no receiver bounds itself."""

_DECODERS = decoders(Pseudonyms(b"key"))
_NONE: Mapping[str, str] = {}


class Box:
    """Stands between the routes, which are made once, and the inbox of each test; raises
    ``failure`` in its place where there is one."""

    inbox: Inbox
    failure: Exception | None = None

    @property
    def quotas(self) -> Quotas:
        return self.inbox.quotas

    async def submit(self, *arguments: Any) -> Receipt:
        if self.failure is not None:
            raise self.failure
        return await self.inbox.submit(*arguments)

    @property
    def kept(self) -> list[tuple[str, str]]:
        """(project, name) of every event in the inbox."""
        return [
            (item.project, item.name)
            for batch in self.inbox.pending(0, 1000)
            for item in _DECODERS[batch.source](self.inbox.payload(batch.seq), batch)
            if isinstance(item, Event)
        ]


@dataclass
class Server:
    """The receivers as a client reaches them; ``headers`` go with every :meth:`post`."""

    box: Box
    client: httpx.Client = field(repr=False)
    headers: Mapping[str, str]

    def post(
        self, path: str, body: object, headers: Mapping[str, str] = _NONE, /, **named: str
    ) -> httpx.Response:
        """Post bytes, or anything else as JSON; names of headers may have underscores."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        spelled = {name.replace("_", "-"): value for name, value in named.items()}
        return self.client.post(
            path, content=content, headers={**self.headers, **headers} | spelled
        )

    @property
    def inbox(self) -> Inbox:
        return self.box.inbox

    @property
    def kept(self) -> list[tuple[str, str]]:
        return self.box.kept


@dataclass(frozen=True)
class Receivers:
    """All receivers on one port."""

    box: Box
    port: int

    @contextmanager
    def over(self, inbox: Inbox, headers: Mapping[str, str] = _NONE) -> Iterator[Server]:
        """The server as it fills this inbox."""
        self.box.inbox, self.box.failure = inbox, None
        address = f"http://127.0.0.1:{self.port}"
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            yield Server(self.box, client, headers)


@contextmanager
def receiving(senders: Mapping[str, Sender]) -> Iterator[Receivers]:
    """The routes as the platform makes them, for these keys."""
    app, box = FastAPI(), Box()
    telemetry.add_routes(app, box, senders.get, otlp_bytes=OTLP_BYTES)  # type: ignore[arg-type]
    with serving(BodyLimit(app, telemetry.OWN_BODIES, limit=OTHER_BYTES)) as port:
        yield Receivers(box, port)


@contextmanager
def serving(app: ASGIApp, **options: Any) -> Iterator[int]:
    """The port of this machine that an application answers on; ``options`` are uvicorn's."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", **options)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while not running.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield running.servers[0].sockets[0].getsockname()[1]
    finally:
        running.should_exit = True
        thread.join(20)
