"""A real server over a real store, for the tests of reading: only who is calling is made up."""

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
import pytest
import uvicorn
from fastapi import FastAPI
from pyoxigraph import Quad, RdfFormat, parse

from graph_api import reading
from graph_api.endpoint import Direct
from graph_api.problems import Problem
from graph_api.query_protocol import query_protocol
from graph_api.query_service import QueryLimits, QueryService
from graph_api.query_workers import QueryPool
from graph_api.sparql import SparqlEndpoint
from ontology.ids import Ids
from ontology.snapshots import Snapshot, Snapshots
from ontology.store import GraphStore
from ontology.terms import Delta

MEBIBYTE = 1024 * 1024
IDS = Ids("http://fractalops.localhost")
SHOP, CRM, SECRET = (IDS.lineage_graph(name) for name in ("shop", "crm", "secret"))


@dataclass(frozen=True)
class FakeCaller:
    """A caller as :class:`graph_api.auth.Caller` is one, as far as reading goes."""

    principal: str
    hidden_graphs: frozenset[str] = frozenset()


class FakeAuthenticator:
    """``Bearer NAME`` is the caller of that name; those named outsider may not read SECRET."""

    def authenticate(self, headers: Mapping[str, str]) -> FakeCaller:
        scheme, _, name = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            raise Problem(401, "token-missing", "A token is needed", "Send one.")
        hidden = frozenset({SECRET}) if name.startswith("outsider") else frozenset()
        return FakeCaller(name, hidden)


@dataclass
class Server:
    """A server of the reading endpoints, and the hand that changes what they read."""

    folder: Path
    url: str = ""
    head: int = -1
    committed: dict[str, int] = field(default_factory=dict)
    pool: QueryPool | None = None
    endpoint: SparqlEndpoint | None = None

    def __post_init__(self) -> None:
        self.store = GraphStore(self.folder / "graph", IDS)
        self._history: list[tuple[Delta, tuple[str, ...]]] = []
        self._lock = threading.Lock()
        self.rebuilt: list[int] = []
        self.snapshots = Snapshots(
            self.folder / "snapshots", self._cut, self._rebuild, 512 * MEBIBYTE, interval=0.05
        )

    def commit(
        self, trig: str, *, remove: str = "", restricted: tuple[str, ...] = (SECRET,)
    ) -> int:
        """Applies a change; the head it made."""
        delta = Delta(frozenset(_quads(trig)), frozenset(_quads(remove)))
        with self._lock:
            self.head += 1
            self.store.apply(delta, Delta(), self.head, restricted)
            self._history.append((delta, restricted))
        self.snapshots.notify(self.head)
        return self.head

    def _cut(self, path: Path) -> int:
        with self._lock:
            self.store.checkpoint(path)
            return self.head

    def _rebuild(self, head: int, path: Path, base: Snapshot | None) -> None:
        self.rebuilt.append(head)
        store = GraphStore(path, IDS)
        for number, (delta, restricted) in enumerate(self._history[: head + 1]):
            store.apply(delta, Delta(), number, restricted)

    def client(self, name: str = "ada", timeout: float = 30.0) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {name}"}, timeout=timeout
        )


def _quads(trig: str) -> list[Quad]:
    return [quad for quad in parse(trig, RdfFormat.TRIG) if isinstance(quad, Quad)]


BASE_DATA = f"""
PREFIX ex: <http://e/>
PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>
GRAPH <{SHOP}> {{
  <{IDS.service("shop", "cart")}> a ex:Service ; rdfs:label "cart" ; ex:calls ex:stock .
  ex:stock rdfs:label "stock"@en ; ex:rank 3 . ex:both ex:stated ex:twice .
}}
GRAPH <{CRM}> {{ ex:mail rdfs:label "mail, \\"quoted\\"" . ex:both ex:stated ex:twice . }}
GRAPH <{SECRET}> {{ ex:hidden rdfs:label "hidden" ; ex:calls ex:stock . }}
"""


@pytest.fixture
def base_data() -> str:
    return BASE_DATA


@pytest.fixture(scope="session")
def big_data() -> str:
    """A graph whose whole answer is larger than the server's limit."""
    rows = (f'<http://e/row/{n}> <http://e/text> "{n:06d} {"x" * 200}" .' for n in range(8000))
    return f"GRAPH <{IDS.graph('big')}> {{\n" + "\n".join(rows) + "\n}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, big_data: str) -> Iterator[Server]:
    """One server for the tests of a module; a test that commits uses names of its own."""
    made = Server(tmp_path_factory.mktemp("reading"))
    made.commit(BASE_DATA)
    made.commit(big_data)
    with serving(made):
        yield made
    shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@contextmanager
def serving(made: Server) -> Iterator[None]:
    """Runs uvicorn in a thread for as long as the block lasts."""
    made.snapshots.start()
    made.pool = pool = QueryPool(made.snapshots, made.folder / "scratch", 2, 256 * MEBIBYTE)
    limits = QueryLimits(
        seconds=2.0,
        most_seconds=4.0,
        result_bytes=MEBIBYTE,
        query_bytes=64 * 1024,
        wait_seconds=1.0,
    )
    service = QueryService(
        made.snapshots,
        pool,
        IDS,
        limits,
        lambda name: made.committed.get(name, -1),
        made.store.recent,
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with reading.running(pool, service):
            yield

    app = FastAPI(lifespan=lifespan)
    short_cuts = reading.add_routes(app, service, FakeAuthenticator())
    made.endpoint = SparqlEndpoint(service, FakeAuthenticator())
    protocol = query_protocol(made.endpoint)
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    made.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(
        uvicorn.Config(Direct(app, short_cuts), http=protocol, log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        give_up = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < give_up
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
        made.snapshots.close()
