"""The reading endpoints of the platform on a free port, and the hand that lays graphs before them.

Invariant: what answers is what answers in use: uvicorn with our protocol, the SPARQL and graph
endpoints, the query service, sandboxed query workers, snapshots. Two things are made up: who is
calling, and where a snapshot comes from. :class:`ontology.snapshots.Snapshots` takes the hand that
cuts them; here it cuts them from a store that holds the data of one test, which never passed the
gate (the gate takes no blank nodes and canonicalises literals, and these suites are not about it).
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI
from pyoxigraph import NamedNode, RdfFormat, Store

from graph_api import reading
from graph_api.endpoint import Direct
from graph_api.query_protocol import query_protocol
from graph_api.query_service import QueryLimits, QueryService
from graph_api.query_workers import QueryPool
from graph_api.sparql import SparqlEndpoint
from ontology.errors import SnapshotError
from ontology.ids import Ids
from ontology.snapshots import Snapshot, Snapshots

MEBIBYTE = 1024 * 1024
BASE = "http://conformance.example"
START_SECONDS = 60.0


@dataclass(frozen=True)
class Source:
    """A document of RDF: its bytes, its format, and the IRI it is read at."""

    data: bytes
    format: RdfFormat
    base: str


@dataclass(frozen=True)
class Graphs:
    """A dataset: what its default graph is made of, and each named graph."""

    default: tuple[Source, ...] = ()
    named: tuple[tuple[str, tuple[Source, ...]], ...] = ()


@dataclass(frozen=True)
class _Anybody:
    principal: str = "suite"
    hidden_graphs: frozenset[str] = field(default_factory=frozenset)


class _Everybody:
    def authenticate(self, headers: Mapping[str, str]) -> _Anybody:
        return _Anybody()


class Platform:
    """A server that answers from whatever was laid before it last."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = Store(str(folder / "graph"))
        self._laid = Graphs()
        self._head = 0
        self.url = ""
        self._snapshots = Snapshots(
            folder / "snapshots", self._cut, self._no_older, 64 * MEBIBYTE, interval=0.0
        )

    def lay(self, graphs: Graphs) -> None:
        """Has everything that is asked from now on answered from these graphs."""
        if graphs == self._laid:
            return
        self._store.clear()
        for source in graphs.default:
            self._load(source, None)
        for name, sources in graphs.named:
            graph = NamedNode(name)
            self._store.add_graph(graph)  # also one that nothing is in
            for source in sources:
                self._load(source, graph)
        self._laid = graphs
        self._head += 1
        self._snapshots.refresh()

    def client(self) -> httpx.Client:
        """A client of the server; a test that takes longer than this has failed."""
        return httpx.Client(base_url=self.url, timeout=60.0, trust_env=False)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answers for as long as the block lasts."""
        self._snapshots.start()
        pool = QueryPool(self._snapshots, self._folder / "scratch", 1, 512 * MEBIBYTE)
        service = QueryService(
            self._snapshots, pool, Ids(BASE), QueryLimits(), lambda principal: self._head
        )

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            async with reading.running(pool, service):
                yield

        app = FastAPI(lifespan=lifespan)
        short_cuts = reading.add_routes(app, service, _Everybody())
        protocol = query_protocol(SparqlEndpoint(service, _Everybody()))
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            server = uvicorn.Server(
                uvicorn.Config(
                    Direct(app, short_cuts), http=protocol, log_config=None, access_log=False
                )
            )
            thread = threading.Thread(target=server.run, args=([listening],))
            thread.start()
            try:
                self._await(server, thread)
                yield
            finally:
                server.should_exit = True
                thread.join()
                self._snapshots.close()
                shutil.rmtree(self._folder, ignore_errors=True)

    def _await(self, server: uvicorn.Server, thread: threading.Thread) -> None:
        give_up = time.monotonic() + START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > give_up:
                raise RuntimeError("the server did not start; run the tests of tests/graph_api")
            time.sleep(0.01)

    def _load(self, source: Source, graph: NamedNode | None) -> None:
        self._store.load(source.data, source.format, base_iri=source.base, to_graph=graph)

    def _cut(self, path: Path) -> int:
        self._store.backup(str(path))
        return self._head

    def _no_older(self, head: int, path: Path, base: Snapshot | None) -> None:
        raise SnapshotError("the suites read the newest graphs only")
