"""What stewards are tested against: real facts in a real warehouse, and a gate played over HTTP.

The played gate keeps a real graph, validates with the shipped shapes and answers as the contract
says; a test may tell it to refuse. Its facts are the warehouse's own answers.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from pyoxigraph import (
    NamedNode,
    Quad,
    QueryResultsFormat,
    QuerySolutions,
    RdfFormat,
    Store,
    parse,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ingest.classify import Classifier, rules_from_quads
from ingest.events import SPAN_SOURCE, Event
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from ontology.library import ontology_turtle, rules_turtle
from ontology.store import GraphStore
from ontology.terms import Delta, from_nquads, skolemise, to_nquads
from ontology.vocab import Fo
from shapes.library import shapes_turtle
from shapes.validator import Validator
from stewards.conduct import Conduct
from stewards.gate_client import GateClient
from stewards.loop import TelemetrySteward
from stewards.runs import Runs
from stewards.sweep import Sweep
from stewards.watermark import WatermarkStore

TOKEN = "fot_" + "s" * 43
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

_PROJECTS = count(1)


def digest(seq: int) -> str:
    """The commitment of the played batch with this number."""
    return f"sha256:{seq:064x}"


@pytest.fixture(scope="session")
def ids() -> Ids:
    return Ids()


@pytest.fixture(scope="session")
def classifier(ids: Ids) -> Classifier:
    quads = [
        quad
        for turtle in rules_turtle().values()
        for quad in parse(turtle, format=RdfFormat.TURTLE)
    ]
    return Classifier(rules_from_quads(quads), ids)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    facts = Warehouse(tmp_path_factory.mktemp("facts"))
    yield facts
    facts.close()


@pytest.fixture
def project() -> str:
    """A project of its own for every test: the warehouse is shared."""
    return f"shop-{next(_PROJECTS)}"


@dataclass
class Traffic:
    """Sends spans of one project into the warehouse, batch by batch."""

    project: str
    warehouse: Warehouse
    classifier: Classifier
    seq: int = 0

    def span(
        self,
        trace: str,
        span: str,
        parent: str,
        service: str,
        kind: str,
        attributes: dict[str, str] | None = None,
        **more: Any,
    ) -> Event:
        """One span; ``attributes`` by their OpenTelemetry keys."""
        return Event(
            project=self.project,
            source=SPAN_SOURCE,
            event_id=f"{trace}-{span}",
            time=1_763_000_000_000_000_000,
            duration_ns=1_000,
            name=more.pop("name", kind),
            kind=kind,
            status="unset",
            service=service,
            release=more.pop("release", ""),
            environment=more.pop("environment", ""),
            session="",
            trace_id=trace,
            span_id=span,
            parent_span_id=parent,
            attributes=attributes or {},
        )

    def send(self, *spans: Event) -> int:
        """Store the spans as one batch; its number."""
        self.seq += 1
        self.warehouse.insert(
            [
                self.classifier.classify(span)._replace(seq=self.seq, batch=digest(self.seq))
                for span in spans
            ]
        )
        return self.seq

    def order(self, trace: str = "t1") -> list[Event]:
        """One order in a small shop: two services, a database and a queue in between."""
        return [
            self.span(trace, "1", "", "web", "server", http("POST", route="/checkout")),
            self.span(trace, "2", "1", "web", "client", http("POST", host="orders.shop")),
            self.span(trace, "3", "2", "orders", "server", http("POST", route="/orders")),
            self.span(trace, "4", "3", "orders", "internal", name="price the order"),
            self.span(
                trace,
                "5",
                "4",
                "orders",
                "client",
                sql("INSERT INTO orders (customer, card) VALUES (?, 'token-4711')"),
            ),
            self.span(trace, "6", "3", "orders", "producer", queue("shipments")),
            self.span(trace, "7", "6", "fulfilment", "consumer", queue("shipments")),
            self.span(
                trace,
                "8",
                "7",
                "fulfilment",
                "client",
                sql("UPDATE stock SET on_hand = on_hand - ? WHERE sku = ?"),
            ),
        ]


def http(method: str, route: str = "", host: str = "") -> dict[str, str]:
    attributes = {"http.request.method": method}
    if route:
        attributes["http.route"] = route
    if host:
        attributes["server.address"] = host
    return attributes


def sql(statement: str, system: str = "postgresql") -> dict[str, str]:
    return {
        "db.system.name": system,
        "db.namespace": "shop",
        "server.address": "db.shop",
        "db.query.text": statement,
    }


def queue(name: str) -> dict[str, str]:
    return {
        "messaging.system": "rabbitmq",
        "messaging.destination.name": name,
        "server.address": "mq.shop",
    }


@pytest.fixture
def traffic(project: str, warehouse: Warehouse, classifier: Classifier) -> Traffic:
    return Traffic(project, warehouse, classifier)


Rule = Callable[[str, str, bytes], Response | None]
"""``(method, path, body)`` to an answer, or ``None`` to leave it to the gate."""


@dataclass
class PlayedGate:
    """The platform as a steward sees it."""

    ids: Ids
    warehouse: Warehouse
    graph: GraphStore
    validator: Validator
    store: Store
    head: int
    url: str = ""
    max_rows: int = 10_000
    proposals: dict[str, dict[str, Any]] = field(default_factory=dict)
    deltas: dict[str, Delta] = field(default_factory=dict)
    auto_apply_limit: int = 20_000
    cursor: int | None = None
    """Up to where the facts are whole; ``None`` for all of them."""
    pending: int = 0
    """Batches that aren't facts yet."""
    requests: list[str] = field(default_factory=list)
    now: Callable[[], datetime] = lambda: START
    rules: list[Rule] = field(default_factory=list)
    """Asked first about each request; an answer is given as it is."""

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/facts", self._guarded(self._facts), methods=["POST"]),
                Route("/sparql", self._guarded(self._sparql), methods=["POST"]),
                Route("/facts/progress", self._guarded(self._progress)),
                Route("/proposals", self._guarded(self._propose), methods=["POST"]),
                Route("/proposals", self._guarded(self._list), methods=["GET"]),
                Route("/proposals/{identifier}", self._guarded(self._show)),
                Route("/proposals/{identifier}/diff", self._guarded(self._diff)),
            ]
        )

    def found(self, project: str) -> None:
        """Make a project, as an operator would."""
        graph = NamedNode(self.ids.graph("governance"))
        lineage = self.ids.lineage_graph(project)
        turtle = (
            f'<{self.ids.project(project)}> a <{Fo.Project}> ; <{Fo.slug}> "{project}" ;'
            f" <{Fo.lineageGraph}> <{lineage}> . <{lineage}> a <{Fo.NamedGraph}> ."
        )
        self.add(Quad(*_spo(quad), graph) for quad in parse(turtle, format=RdfFormat.TURTLE))

    def add(self, quads: Iterable[Quad]) -> None:
        """Change the graph behind the steward's back."""
        self._apply(Delta(frozenset(quads)))

    def lineage(self, project: str) -> str:
        """The project's graph as canonical N-Quads."""
        graph = NamedNode(self.ids.lineage_graph(project))
        return to_nquads(self.store.quads_for_pattern(None, None, None, graph)).decode()

    def remove(self, quads: Iterable[Quad]) -> None:
        """Take back what :meth:`add` added."""
        self._apply(Delta(removals=frozenset(quads)))

    def decide(self, identifier: str, state: str) -> None:
        """A person's decision on a proposal: rejected, withdrawn, reverted or applied."""
        self.proposals[identifier]["state"] = state
        self.proposals[identifier]["transitions"].append(
            {"state": state, "at": self.now().isoformat()}
        )
        if state == "reverted":
            self._apply(self.deltas[identifier].inverse())
        if state == "applied":
            self._apply(self.deltas[identifier])

    def made(self) -> list[dict[str, Any]]:
        """The proposals made, oldest first."""
        return list(self.proposals.values())

    def select(self, query: str) -> list[tuple[Any, ...]]:
        solutions = self.store.query(query)
        assert isinstance(solutions, QuerySolutions)
        return sorted(tuple(str(term) for term in solution) for solution in solutions)

    def _apply(self, delta: Delta) -> None:
        self.head += 1
        self.graph.apply(delta, Delta(), self.head)
        for quad in delta.removals:
            self.store.remove(quad)
        self.store.extend(delta.additions)

    # --- the HTTP API

    def _guarded(self, answer: Callable[[Request, bytes], Response]) -> Any:
        async def endpoint(request: Request) -> Response:
            self.requests.append(f"{request.method} {request.url.path}")
            body = await request.body()
            for rule in self.rules:
                given = rule(request.method, request.url.path, body)
                if given is not None:
                    return given
            if request.headers.get("authorization") != f"Bearer {TOKEN}":
                return problem(401, "token-unknown", "The token is not known", "Ask an operator.")
            return answer(request, body)

        return endpoint

    def _facts(self, request: Request, body: bytes) -> Response:
        assert request.headers["content-type"] == "application/sql"
        result = self.warehouse.query(
            body.decode(),
            max_rows=self.max_rows,
            trusted_only=request.query_params.get("trusted") == "true",
        )
        return JSONResponse(
            {"columns": result.columns, "rows": result.rows, "truncated": result.truncated}
        )

    def _sparql(self, request: Request, body: bytes) -> Response:
        assert request.headers["content-type"] == "application/sparql-query"
        assert int(request.query_params["min_head"]) <= self.head
        solutions = self.store.query(body.decode())
        assert isinstance(solutions, QuerySolutions)
        return Response(
            solutions.serialize(format=QueryResultsFormat.JSON),
            media_type="application/sparql-results+json",
        )

    def _progress(self, request: Request, body: bytes) -> Response:
        newest = self.warehouse.query("SELECT max(seq) FROM events").rows[0][0]
        cursor = int(newest) if self.cursor is None else self.cursor
        return JSONResponse({"head": self.head, "cursor": cursor, "pending": self.pending})

    def _propose(self, request: Request, body: bytes) -> Response:
        asked = json.loads(body)
        lineage = NamedNode(self.ids.lineage_graph(asked["project"]))
        additions = frozenset(from_nquads(asked["additions"].encode()))
        removals = frozenset(from_nquads(asked["removals"].encode()))
        graphs = {str(quad.graph_name) for quad in additions | removals}
        shared = {str(NamedNode(self.ids.graph(name))) for name in ("ontology", "shapes", "rules")}
        # Rules, classes and shapes never come together with what is known of a project.
        assert graphs == {str(lineage)} or graphs <= shared
        # Of what the graph holds a steward takes back nothing but its own marks and conflicts.
        stated = (self.ids.conflicts(asked["project"]), f"{self.ids.base}/id/source-claim/")
        taken = [quad for quad in removals if not _spo(quad)[0].value.startswith(stated)]
        assert {quad.predicate.value for quad in taken} <= {Fo.dormantSince}
        assert asked["base"] <= self.head
        delta = self.graph.effective(Delta(additions, removals))
        if not delta:
            return JSONResponse({"id": None, "state": "unchanged", "head": self.head})
        for known, made in self.proposals.items():
            # As the gate does: of the same change by the same author one waits.
            if made["state"] == "awaiting decision" and self.deltas[known] == delta:
                return JSONResponse({**made, "head": self.head}, 201)
        report = self.validator.validate(delta)
        identifier = f"p{len(self.proposals) + 1}"
        state = "invalid"
        if report.conforms:
            over = len(delta) > self.auto_apply_limit or asked.get("hold") or graphs <= shared
            state = "awaiting decision" if over else "applied"
        self.deltas[identifier] = delta
        if state == "applied":
            self._apply(delta)
        view = {
            "id": identifier,
            "state": state,
            "head": self.head,
            "project": asked["project"],
            "author": self.ids.principal("shop-steward"),
            "rationale": asked["rationale"],
            "evidence": asked["evidence"],
            "hold": asked.get("hold") or None,
            "graphs": delta.graphs(),
            "transitions": [{"state": state, "at": self.now().isoformat()}],
            "report": report.to_dict(),
        }
        self.proposals[identifier] = view
        if state == "invalid":
            return problem(422, "shapes-violated", "The shapes refuse it", "Mend it.", **view)
        return JSONResponse(view, 201)

    def _list(self, request: Request, body: bytes) -> Response:
        parameters = request.query_params
        items = [
            proposal
            for proposal in reversed(self.proposals.values())
            if proposal["state"] == parameters["state"]
            and proposal["project"] == parameters["project"]
        ]
        # Pages of two, so that following them is tested.
        start = int(parameters.get("before", "0"))
        following = start + 2 if len(items) > start + 2 else None
        return JSONResponse({"items": items[start : start + 2], "next": following})

    def _show(self, request: Request, body: bytes) -> Response:
        found = self.proposals.get(request.path_params["identifier"])
        return JSONResponse(found) if found else problem(404, "unknown-proposal", "None", "None.")

    def _diff(self, request: Request, body: bytes) -> Response:
        delta = self.deltas[request.path_params["identifier"]]
        return JSONResponse(
            {
                "additions": to_nquads(delta.additions).decode(),
                "removals": to_nquads(delta.removals).decode(),
            }
        )


def problem(status: int, kind: str, title: str, detail: str, **extra: Any) -> Response:
    """An RFC 9457 answer."""
    headers = {"Retry-After": str(extra.pop("retry_after"))} if "retry_after" in extra else {}
    return JSONResponse(
        {
            "type": f"https://w3id.org/fractalops/problems/{kind}",
            "title": title,
            "status": status,
            "detail": detail,
            **extra,
        },
        status,
        headers=headers,
        media_type="application/problem+json",
    )


def _spo(quad: Any) -> tuple[Any, Any, Any]:
    return quad.subject, quad.predicate, quad.object


@pytest.fixture(scope="session")
def shipped(ids: Ids) -> frozenset[Quad]:
    """What ontology and shapes graphs hold at genesis, without the blank nodes of the ontology."""
    quads = set()
    for name, files in (("ontology", ontology_turtle()), ("shapes", shapes_turtle())):
        graph = NamedNode(ids.graph(name))
        for turtle in files.values():
            text = "\n".join(
                line for line in turtle.decode().splitlines() if not line.startswith("#")
            )
            for quad in parse(text.encode(), format=RdfFormat.TURTLE):
                quads.add(Quad(*_spo(quad), graph))
    return skolemise(quads, ids.base)


@pytest.fixture(scope="session")
def organisation(ids: Ids, shipped: frozenset[Quad]) -> tuple[GraphStore, Validator, Store]:
    """One graph for all tests, each of which has its own project in it."""
    graph, store = GraphStore(None, ids), Store()
    graph.apply(Delta(shipped), Delta(), 0)
    store.extend(shipped)
    return graph, Validator(graph), store


@pytest.fixture
def gate(
    ids: Ids,
    warehouse: Warehouse,
    organisation: tuple[GraphStore, Validator, Store],
    project: str,
) -> Iterator[PlayedGate]:
    graph, validator, store = organisation
    played = PlayedGate(ids, warehouse, graph, validator, store, head=graph.head() or 0)
    played.found(project)
    server = uvicorn.Server(
        uvicorn.Config(played.app(), host="127.0.0.1", port=0, log_level="error", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    waited = threading.Event()
    for _ in range(500):
        if server.started:
            break
        waited.wait(0.01)
    assert server.started
    port = server.servers[0].sockets[0].getsockname()[1]
    played.url = f"http://127.0.0.1:{port}"
    yield played
    server.should_exit = True
    thread.join(10)


@dataclass
class Clock:
    """A clock that tests move."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, time: timedelta) -> None:
        self.now += time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watermarks(tmp_path: Path) -> Iterator[WatermarkStore]:
    store = WatermarkStore(tmp_path / "stewards.sqlite")
    yield store
    store.close()


Hire = Callable[..., TelemetrySteward]


@pytest.fixture
def hire(
    gate: PlayedGate, ids: Ids, project: str, watermarks: WatermarkStore, clock: Clock
) -> Iterator[Hire]:
    """Makes stewards of the project; keyword arguments are how they go about it."""
    hired: list[tuple[TelemetrySteward, Runs]] = []

    def make(store: WatermarkStore | None = None, **conduct: Any) -> TelemetrySteward:
        runs = Runs(store or watermarks)
        sweep = Sweep(
            "shop-steward",
            project,
            GateClient.connect(gate.url, TOKEN, lambda seconds: None),
            ids,
            store or watermarks,
            clock,
            Conduct(**conduct),
        )
        steward = TelemetrySteward(sweep, runs)
        hired.append((steward, runs))
        return steward

    yield make
    for steward, runs in hired:
        steward.close()
        runs.close()
