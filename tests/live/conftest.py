"""Real servers for the live tests: started, watched, killed and stopped like an operator's own.

Invariant: every server has a port that the system picked and a folder of its own, and is gone when
the test that asked for it is. What it leaves is searched for seeded secrets at the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ontology.ids import Ids
from ontology.vocab import Fo, Rdf, Rdfs, Skos
from tests.seeded_secrets import remember, watch

READY_SECONDS = 120.0
"""A machine that does much else at once takes its time to start a server."""

COMMAND = (sys.executable, "-m", "graph_api.cli")
PROTOBUF = "application/x-protobuf"

Document = dict[str, Any]


def own_environment(**settings: str) -> dict[str, str]:
    """This process's environment without what would set the platform, or send it elsewhere."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FRACTALOPS_", "OTEL_")) and not name.lower().endswith("_proxy")
    }
    return kept | settings


def wait_until(condition: Callable[[], bool], what: str, seconds: float = READY_SECONDS) -> None:
    """Wait for something another process brings about; fails with ``what`` when it doesn't."""
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            raise AssertionError(f"{what} did not happen within {seconds:g} seconds")
        time.sleep(0.02)


@dataclass(frozen=True)
class Ended:
    """How a command ended; ``text`` is everything it printed."""

    code: int
    text: str


def run_command(*arguments: str | Path, seconds: float = 120.0) -> Ended:
    """Run ``fractalops`` with these arguments to its end."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=own_environment(COLUMNS="400"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Ended(done.returncode, done.stdout)


@dataclass
class Server:
    """One ``fractalops up`` on a data folder; it may be started again after it ended."""

    data: Path
    output: Path
    options: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    grpc: Sequence[str] = ("--grpc-port", "off")
    """Without the usual port, which only one of many servers could have."""

    prefix: Sequence[str] = ()
    """The beginning of a command that prepares something and then becomes the server."""

    process: subprocess.Popen[bytes] | None = None
    url: str = ""
    ids: Ids = field(default_factory=Ids)

    def begin(self, *, tidy: bool = True) -> None:
        """Start the process, without waiting for it. What a killed server said is forgotten first,
        unless it is not to be ``tidy``."""
        if tidy:
            (self.data / "server.json").unlink(missing_ok=True)
        options = [*self.options]
        mirrors = [Path(options[n + 1]) for n, said in enumerate(options) if said == "--mirror"]
        watch(self.data, self.output, *mirrors)
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(*self.prefix, *COMMAND, "up"),
                    *("--data", str(self.data), "--port", "0"),
                    *self.grpc,
                    *self.options,
                ],
                env=own_environment(**self.settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def start(self, *, troubled: bool = False) -> Server:
        """Start the process and wait until it is ready; a ``troubled`` one need only answer."""
        self.begin()
        self.wait_ready(troubled=troubled)
        return self

    def wait_ready(self, seconds: float = READY_SECONDS, *, troubled: bool = False) -> None:
        """Wait until the server says that it answers, and that all of it works."""
        place = self.data / "server.json"

        def answers() -> bool:
            self._must_run()
            if not place.exists():
                return False
            self.url = json.loads(place.read_text())["url"]
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.get(f"{self.url}/readyz", timeout=10, trust_env=False, verify=False)
                return troubled or answer.is_success
            return False

        wait_until(answers, f"the start of a server on {self.data}", seconds)

    def _must_run(self) -> None:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(
                f"the server on {self.data} ended with {self.process.returncode}:\n{self.text}"
            )

    @property
    def text(self) -> str:
        """Everything the server printed, in all its lives."""
        return self.output.read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it as Ctrl-C does; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def end(self) -> None:
        """End it whatever state it is in."""
        if self.running:
            try:
                self.stop()
            except subprocess.TimeoutExpired as error:
                raise AssertionError(f"the server on {self.data} did not stop:\n{self.text}") from (
                    error
                )

    @property
    def token(self) -> str:
        """The founding operator's."""
        return (self.data / "operator.token").read_text().strip()

    def client(self, token: str | None = None, *, anonymous: bool = False) -> httpx.Client:
        """An HTTP client of this server: the operator, the holder of ``token``, or nobody."""
        headers = {} if anonymous else {"Authorization": f"Bearer {token or self.token}"}
        # Plain HTTP has no certificates to verify, and the trusted ones take longer to read than
        # most answers take to come.
        return httpx.Client(
            base_url=self.url, headers=headers, timeout=60, trust_env=False, verify=False
        )

    def get(self, path: str, **parameters: str | int) -> Document:
        """The JSON document at a path, as the operator sees it."""
        with self.client() as client:
            answer = client.get(path, params=parameters)
        assert answer.is_success, answer.text
        found: Document = answer.json()
        return found

    def post(self, path: str, document: object = None) -> Document:
        """The answer to a JSON document, as the operator."""
        with self.client() as client:
            answer = client.post(path, json=document, timeout=300)
        assert answer.is_success, f"{answer.status_code} {answer.text}"
        found: Document = answer.json()
        return found

    def token_of(self, name: str, role: str, project: str | None = None) -> str:
        """A new token."""
        made = self.post("/tokens", {"name": name, "role": role, "project": project})
        token = str(made["token"])
        remember(f"token {made['id']} of {name}", token)
        return token

    def propose(
        self, project: str, turtle: str, *, token: str | None = None, rationale: str = "test"
    ) -> Document:
        """Propose additions to a project's lineage graph; the proposal that was made of them."""
        with self.client(token) as client:
            answer = client.post(
                "/proposals",
                params={
                    "project": project,
                    "graph": f"lineage/{project}",
                    "rationale": rationale,
                },
                content=turtle,
                headers={"Content-Type": "text/turtle"},
            )
        assert answer.status_code == 201, answer.text
        proposal: Document = answer.json()
        return proposal

    def send(self, key: str, request: ExportTraceServiceRequest) -> None:
        """Export spans with a project's key; fails unless they are acknowledged."""
        with self.client(key) as client:
            answer = client.post(
                "/v1/traces",
                content=request.SerializeToString(),
                headers={"Content-Type": PROTOBUF},
            )
        assert answer.status_code == 200, answer.text

    def facts(self, sql: str) -> list[list[Any]]:
        """The rows of a question to the facts."""
        with self.client() as client:
            answer = client.post("/facts", content=sql, headers={"Content-Type": "application/sql"})
        assert answer.is_success, answer.text
        rows: list[list[Any]] = answer.json()["rows"]
        return rows

    def select(self, query: str, **parameters: str | int) -> list[tuple[str, ...]]:
        """The rows of a SPARQL query, values only, sorted; at the newest head, if at no other."""
        if "at" not in parameters:
            parameters["min_head"] = self.head
        with self.client() as client:
            answer = client.get(
                "/sparql",
                params={"query": query, **parameters},
                headers={"Accept": "application/sparql-results+json"},
            )
        assert answer.is_success, answer.text
        found = answer.json()
        names = found["head"]["vars"]
        return sorted(
            tuple(row[name]["value"] if name in row else "" for name in names)
            for row in found["results"]["bindings"]
        )

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric, 0 when it was never counted."""
        with self.client() as client:
            text = client.get("/metrics").text
        wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
        sample = f"{name}{{{wanted}}}" if labels else name
        for line in text.splitlines():
            found, _, value = line.rpartition(" ")
            if found == sample:
                return float(value)
        return 0.0

    def problems(self, kind: str) -> float:
        """How often a problem of this type was answered."""
        return self.metric("fractalops_problems_total", type=kind)

    def settle(self) -> None:
        """Wait until all that was received is facts, and the stewards have read them."""

        def settled() -> bool:
            if self.get("/status")["inbox"]["pending"]:
                return False
            head = self.head
            for steward in self.get("/stewards")["items"]:
                self.post(f"/stewards/{steward['name']}/run")
            return head == self.head

        def recorded() -> bool:
            status = self.get("/status")
            entries = self.facts("SELECT count() FROM proof_entries")
            return bool(status["published"] == status["head"] + 1 == int(entries[0][0]))

        wait_until(settled, "the stewards' reading of everything received")
        wait_until(recorded, "the publication of the log")

    @property
    def head(self) -> int:
        return int(self.get("/status")["head"])

    def resident(self) -> int:
        """Bytes of memory that the server and its children hold now."""
        return sum(_resident(pid) for pid in [self.pid, *self.children()])

    def own_resident(self) -> int:
        """Bytes of memory that the server process alone holds now."""
        return _resident(self.pid)

    def children(self) -> list[int]:
        """The processes the server started that still run."""
        found = []
        for place in Path(f"/proc/{self.pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(pid) for pid in place.read_text().split()]
        return found


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


Serve = Callable[..., Server]


@contextmanager
def serving(folder: Path) -> Iterator[Serve]:
    """A maker of servers that all end with the block."""
    made: list[Server] = []

    def serve(
        data: Path | None = None,
        *options: str,
        settings: Mapping[str, str] | None = None,
    ) -> Server:
        number = len(made)
        server = Server(
            data or folder / f"data {number}",
            folder / f"server-{number}.txt",
            options,
            settings or {},
        )
        made.append(server)
        return server

    try:
        yield serve
    finally:
        for server in made:
            if server.running:
                server.kill()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Makes servers for one test: ``serve(data, "--option", settings={...})``, not started yet."""
    with serving(tmp_path) as maker:
        yield maker


@dataclass(frozen=True)
class Grown:
    """A stopped data folder with a past: copy it, then do to the copy what you like.

    ``token`` is the operator's, ``backup`` a copy from before the last entries.
    """

    data: Path
    backup: Path
    ids: Ids

    def copy(self, to: Path) -> Path:
        """A copy of the folder at ``to``, which must not exist."""
        shutil.copytree(self.data, to, symlinks=True)
        return to

    @contextmanager
    def served(self, folder: Path) -> Iterator[Server]:
        """A server on a copy, not started yet, that ends with the block."""
        with serving(folder) as serve:
            yield serve(self.copy(folder / "data"))


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    """Two projects, proposals of many outcomes, telemetry that became facts and lineage."""
    folder = tmp_path_factory.mktemp("grown")
    with serving(folder) as maker:
        server = maker(folder / "data", "--steward-seconds", "0.2").start()
        keys = {}
        for project in ("shop", "bank"):
            keys[project] = server.post("/projects", {"slug": project})["ingest_key"]
        for number in range(4):
            server.propose("shop", service_turtle(server.ids, "shop", f"early-{number}"))
        for project, key in keys.items():
            server.send(key, spans(f"{project} round", 20, f"{project}-web"))
        server.settle()
        backup = folder / "backup"
        ended = run_command("--data", server.data, "backup", backup)
        assert ended.code == 0, ended.text
        for number in range(4):
            server.propose("bank", service_turtle(server.ids, "bank", f"late-{number}"))
        waiting = server.post(
            "/proposals",
            {
                "rationale": "a class of ours",
                "additions": f'<{Fo.Service}> <{Rdfs.comment}> "ours"'
                f" <{server.ids.graph('ontology')}> .\n",
            },
        )
        assert waiting["state"] == "awaiting decision", waiting
        server.settle()
        server.stop()
    return Grown(folder / "data", backup, server.ids)


def service_turtle(ids: Ids, project: str, name: str, triples: int = 20) -> str:
    """What a proposal says of one service, in this many triples."""
    service = ids.service(project, name)
    lines = [
        f"<{service}> <{Rdf.type}> <{Fo.Service}> .",
        f"<{service}> <{Fo.inProject}> <{ids.project(project)}> .",
        f'<{service}> <{Rdfs.label}> "{name}" .',
    ]
    lines += [
        f'<{service}> <{Skos.scopeNote}> "{name} note {number}" .'
        for number in range(triples - len(lines))
    ]
    return "\n".join(lines) + "\n"


def spans(seed: str, count: int, service: str = "web") -> ExportTraceServiceRequest:
    """A real request of an exporter, with span ids that follow from ``seed`` and nothing else."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.append(_attribute("service.name", service))
    scope = resource.scope_spans.add()
    now = time.time_ns()
    for number in range(count):
        scope.spans.append(
            Span(
                trace_id=hashlib.sha256(seed.encode()).digest()[:16],
                span_id=hashlib.sha256(f"{seed} {number}".encode()).digest()[:8],
                name=f"GET /things/{number % 4}",
                kind=Span.SPAN_KIND_SERVER,
                start_time_unix_nano=now,
                end_time_unix_nano=now + 1_000_000,
                attributes=[
                    _attribute("http.request.method", "GET"),
                    _attribute("http.route", f"/things/{number % 4}"),
                ],
            )
        )
    return request


MakeSpans = Callable[[str, int], ExportTraceServiceRequest]
ServiceTurtle = Callable[[Ids, str, str], str]
RunCommand = Callable[..., Ended]


@pytest.fixture(scope="session")
def make_spans() -> MakeSpans:
    """``make_spans(seed, count)``: a request of an exporter."""
    return spans


@pytest.fixture(scope="session")
def turtle_of() -> ServiceTurtle:
    """``turtle_of(ids, project, name)``: what a proposal says of a service."""
    return service_turtle


@pytest.fixture(scope="session")
def command() -> RunCommand:
    """``command("proofs", "audit", ...)``: the command line, in a process of its own."""
    return run_command


def _attribute(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


Serving = Callable[[Path], AbstractContextManager[Serve]]


@pytest.fixture(scope="session")
def serving_in() -> Serving:
    """``with serving_in(folder) as serve``: servers that outlive a single test."""
    return serving


@dataclass(frozen=True)
class Platform:
    """A running server with two projects and somebody in each role.

    ``tokens`` by name: operator, second (another operator), analyst, auditor, shop and bank (the
    stewards of these projects); ``keys`` are the ingest keys of the two projects.
    """

    server: Server
    tokens: Mapping[str, str]
    keys: Mapping[str, str]

    def client(self, name: str) -> httpx.Client:
        """An HTTP client that speaks as one of them."""
        return self.server.client(self.tokens[name])


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One server for all tests that leave it as useful as they found it."""
    with serving(tmp_path_factory.mktemp("platform")) as maker:
        server = maker(
            None,
            *("--time-lock", "1s", "--query-seconds", "6", "--steward-seconds", "3600"),
            settings={
                "FRACTALOPS_QUERY_MEMORY": str(256 * 1024 * 1024),
                "FRACTALOPS_FACTS_SECONDS": "1",
            },
        ).start()
        projects = ("shop", "bank")
        keys = {
            project: server.post("/projects", {"slug": project})["ingest_key"]
            for project in projects
        }
        tokens = {project: server.token_of(project, "steward", project) for project in projects}
        for role in ("analyst", "auditor"):
            tokens[role] = server.token_of(role, role)
        tokens["operator"] = server.token
        tokens["second"] = server.token_of("second", "operator")

        def second_works() -> bool:
            with server.client(tokens["second"]) as client:
                return client.get("/status").is_success

        # A single operator's own proposal of a second one is applied when its time lock runs out.
        wait_until(second_works, "the second operator's beginning")
        yield Platform(server, tokens, keys)
        server.end()
