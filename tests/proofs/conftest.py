"""A gate on a real data folder: journal, store, index and log, as the server puts them together.

Founding takes a second, so it is done once and every test gets its own copy of the folder.
"""

from __future__ import annotations

import gc
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyoxigraph import DefaultGraph, NamedNode, Quad

from ontology.ids import Ids
from ontology.store import SYSTEM_GRAPHS, GraphStore
from ontology.terms import Delta, graph_of
from ontology.vocab import Rdfs
from proofs.audit import Auditor, AuditReport
from proofs.chain import Chain
from proofs.checkpoint import SignerKey
from proofs.explain import Explainer
from proofs.genesis import (
    control_grant_delta,
    genesis_delta,
    principal_delta,
    project_delta,
    steward_slug,
)
from proofs.index import Index
from proofs.journal import Journal
from proofs.ledger import Ledger
from proofs.log_keys import LogKeys
from proofs.orders import Order
from proofs.policy import Policy
from proofs.projections import Projections
from proofs.proposal import ProposalView
from proofs.publish import Publisher
from proofs.submission import Request, read_submission
from shapes.validator import Validator

BASE = "http://fractalops.localhost"
PREFIXES = f"""
@prefix fo: <https://w3id.org/fractalops/ns#> .
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix sh: <http://www.w3.org/ns/shacl#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
@prefix ex: <http://example.org/> .
@prefix project: <{BASE}/id/project/> .
@prefix principal: <{BASE}/id/principal/> .
@prefix graph: <{BASE}/graph/> .
"""


@dataclass
class Clock:
    """A clock that stands still until a test moves it."""

    now: datetime = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **span: float) -> None:
        self.now += timedelta(**span)


@dataclass
class Gate:
    """Everything that runs on one folder, without a server around it."""

    folder: Path
    key: SignerKey
    clock: Clock = field(default_factory=Clock)
    fatal: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ids = Ids(BASE)
        self.operator = self.ids.principal("olga")
        self.steward = self.ids.principal(steward_slug("shop"))
        self._numbers = itertools.count(1)
        self.open()

    @property
    def keys(self) -> LogKeys:
        return self._keys

    def open(self) -> int:
        """Opens the folder and catches up: how many entries that took."""
        try:
            return self._open()
        except Exception:
            self.close()
            raise

    def _open(self) -> int:
        # A store that an earlier failure left in a traceback holds its folder until it is gone.
        gc.collect()
        self.folder.mkdir(exist_ok=True)
        self.journal = Journal(self.folder / "journal.sqlite")
        self._keys = LogKeys.read(self.key.verifier, self.journal.rotations())
        self.store = GraphStore(self.folder / "graph", self.ids)
        self.index = Index(self.folder / "index.sqlite")
        self.projections = Projections(self.journal, self.store, self.index, self.ids, self.keys)
        caught_up = self.projections.catch_up()
        self.validator = Validator(self.store)
        self.ledger = Ledger(
            self.journal,
            Chain(self.journal, self.key, self.keys, self.fatal.append),
            self.projections,
            self.validator,
            Policy(self.ids),
            self.ids,
            clock=self.clock,
            new_id=lambda moment: f"p{self.journal.head() + 1}-{next(self._numbers)}",
        )
        return caught_up

    def close(self) -> None:
        for name in ("journal", "index"):
            if name in vars(self):
                getattr(self, name).close()
        # The engine holds its folder until nothing refers to it any more.
        for name in ("ledger", "validator", "projections", "store", "index", "journal"):
            vars(self).pop(name, None)
        gc.collect()

    def reopen(self) -> int:
        self.close()
        return self.open()

    # --- what tests do with it

    def service(self, name: str, project: str = "shop", label: str | None = None) -> str:
        """A service as a steward would state it, in Turtle."""
        return (
            f'ex:{name} a fo:Service ; rdfs:label "{label or name}" ;'
            f" fo:inProject project:{project} .\n"
        )

    def request(self, turtle: str, graph: str = "lineage/shop", **named: object) -> Request:
        named.setdefault("project", graph.partition("/")[2] or None)
        named.setdefault("rationale", "a test")
        body = (PREFIXES + turtle).encode()
        return read_submission(body, "text/turtle", self.ids, graph=graph, **named)  # type: ignore[arg-type]

    def propose(
        self, turtle: str, graph: str = "lineage/shop", by: str | None = None, **named: object
    ) -> ProposalView:
        """Submits Turtle as the shop's steward, or somebody else; it must change something."""
        view = self.ledger.submit(by or self.steward, self.request(turtle, graph, **named))
        assert view is not None
        return view

    def take_back(
        self, turtle: str, graph: str = "lineage/shop", by: str | None = None
    ) -> ProposalView:
        """Proposes to remove what the Turtle states."""
        asked = self.request(turtle, graph)
        turned = Request(frozenset(), asked.additions, project=asked.project, rationale="a test")
        view = self.ledger.submit(by or self.steward, turned)
        assert view is not None
        return view

    def found_project(self, slug: str, *, restricted: bool = False) -> ProposalView:
        delta = project_delta(
            self.ids, self.ids.organisation("acme"), slug, slug.title(), restricted=restricted
        )
        request = Request(delta.additions, delta.removals, rationale=f"found {slug}")
        view = self.ledger.submit(self.operator, request)
        assert view is not None
        return view

    def name(self, slug: str, role: str) -> str:
        """Names a person, waiting for the time lock where there is one."""
        delta = principal_delta(self.ids, self.ids.organisation("acme"), slug, role)
        view = self.ledger.submit(self.operator, Request(delta.additions, frozenset()))
        assert view is not None
        if view.state == "awaiting decision":
            self.clock.move(hours=25)
            assert self.ledger.tick()
        assert self.ledger.governance.has_role(self.ids.principal(slug), role)
        return self.ids.principal(slug)

    def state(self, view: ProposalView) -> str:
        return self.ledger.proposal(view.id).state

    def asserted(self, graph: str = "lineage/shop") -> set[Quad]:
        return set(self.store.match(graph=NamedNode(self.ids.graph(graph))))

    def derived(self) -> dict[str, set[str]]:
        """What nobody proposed: the merge and each of the system's graphs."""
        found: dict[str, set[str]] = {
            "merge": {
                str(quad)
                for quad in self.store.match()
                if isinstance(quad.graph_name, DefaultGraph)
            }
        }
        for name in SYSTEM_GRAPHS:
            found[name] = {str(quad) for quad in self.asserted(name)}
        return found

    def views(self) -> list[ProposalView]:
        return [view for _, view in self.index.proposals(limit=1000)]

    def origins(self) -> dict[str, int | None]:
        return {
            str(quad): self.index.origin(f"{quad} .\n".encode()) for quad in self.store.asserted()
        }

    def publish(self) -> Path:
        log = self.folder / "log"
        publisher = Publisher(self.journal, [log], lambda size: None)
        publisher.start()
        publisher.stop()
        assert not publisher.problems
        return log

    def explainer(self) -> Explainer:
        return Explainer(self.journal, self.index, self.store, self.keys)

    def audit(self, *, rebuild: bool = False) -> AuditReport:
        folders = [self.folder / "log"] if (self.folder / "log").exists() else []
        auditor = Auditor(self.journal, self.store, self.ids, self.keys, folders)
        return auditor.run(rebuilt=self.rebuilt() if rebuild else None)

    def rebuilt(self) -> GraphStore:
        """A store made anew from the journal, in memory."""
        path = self.folder / f"rebuilt-{next(self._numbers)}.sqlite"
        store, index = GraphStore(None, self.ids), Index(path)
        try:
            Projections(self.journal, store, index, self.ids, self.keys).catch_up()
        finally:
            index.close()
        return store

    def sound(self) -> None:
        """Everything in the folder agrees with everything else, and each quad has its origin."""
        report = self.audit(rebuild=True)
        assert report.ok, [finding for check in report.checks for finding in check.findings]
        assert report.state_digest == self.ledger.state_digest
        assert report.quads == self.index.quads()
        for quad, entry in self.origins().items():
            assert entry is not None, quad
        assert self.index.head() == self.store.head() == self.ledger.head == report.head


@pytest.fixture(scope="session")
def signer() -> SignerKey:
    return SignerKey.generate("fractalops.localhost/test")


@pytest.fixture(scope="session")
def founded(tmp_path_factory: pytest.TempPathFactory, signer: SignerKey) -> Path:
    """A folder with genesis (entry 0) and the projects shop and billing (entries 1 and 2)."""
    folder = tmp_path_factory.mktemp("founded") / "data"
    gate = Gate(folder, signer)
    delta = genesis_delta(gate.ids, "acme", "olga", timedelta(hours=24))
    # Of the vocabulary and the rules, what shapes look at: tests of the rest are in their place.
    texts = {gate.ids.graph("ontology"), gate.ids.graph("rules")}
    needed = frozenset(
        quad
        for quad in delta.additions
        if graph_of(quad) not in texts or quad.predicate.value == Rdfs.subClassOf
    )
    gate.ledger.found(gate.operator, Delta(needed), "acme is founded")
    gate.found_project("shop")
    gate.found_project("billing")
    gate.store.optimise()
    gate.close()
    # What is imported by now stays: each collection need only look at the tests' own.
    gc.freeze()
    return folder


@pytest.fixture
def gate(founded: Path, tmp_path: Path, signer: SignerKey) -> Iterator[Gate]:
    folder = tmp_path / "data"
    shutil.copytree(founded, folder, ignore=shutil.ignore_patterns("LOCK"))
    gate = Gate(folder, signer)
    yield gate
    gate.close()


@pytest.fixture(scope="session")
def controlled_folder(
    founded: Path, tmp_path_factory: pytest.TempPathFactory, signer: SignerKey
) -> Path:
    """As :func:`founded`, with the asset web-1 of the role web, and control grants: of the shop's
    steward on the role, of billing's on the asset, whose changes go at once."""
    folder = tmp_path_factory.mktemp("controlled") / "data"
    shutil.copytree(founded, folder, ignore=shutil.ignore_patterns("LOCK"))
    gate = Gate(folder, signer)
    waiting = [gate.propose(asset_turtle(gate.ids, "web-1"), "assets", by=gate.operator)]
    gate.clock.move(hours=25)
    assert gate.ledger.tick()
    for delta in (
        control_grant_delta(gate.ids, steward_slug("shop"), role="web"),
        control_grant_delta(gate.ids, steward_slug("billing"), asset_id="web-1", auto_approve=True),
    ):
        view = gate.ledger.submit(gate.operator, Request(delta.additions, frozenset()))
        assert view is not None
        waiting.append(view)
    gate.clock.move(hours=25)
    assert gate.ledger.tick() == 2
    assert {gate.state(view) for view in waiting} == {"applied"}
    gate.store.optimise()
    gate.close()
    return folder


@pytest.fixture
def controlled(controlled_folder: Path, tmp_path: Path, signer: SignerKey) -> Iterator[Gate]:
    folder = tmp_path / "data"
    shutil.copytree(controlled_folder, folder, ignore=shutil.ignore_patterns("LOCK"))
    gate = Gate(folder, signer)
    yield gate
    gate.close()


def asset_turtle(ids: Ids, asset_id: str) -> str:
    """A container with the role web, in Turtle."""
    return (
        f'<{ids.runtime_asset(asset_id)}> a fo:LxcAsset ; fo:assetId "{asset_id}" ;'
        f' fo:assetRole "web" ; fo:ownedBy <{ids.organisation("acme")}> ;'
        f' fo:locatorNode "n1" ; fo:locatorContainer "c-{asset_id}" .\n'
    )


def order_on(ids: Ids, *argv: str, asset_id: str = "web-1", **said: Any) -> Order:
    """An order to run that, which reads unless something else is said."""
    action = {"kind": "run", "argv": list(argv), "seconds": 60}
    usual = {"asset": ids.runtime_asset(asset_id), "asset_id": asset_id, "action": action}
    usual |= {"effect": "reads", "rule": '["uptime","..."]', "roles": ()}
    return Order(**(usual | said))
