"""Looking round: one identity, status at once, new things by proposal, and nothing asked twice."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from pyoxigraph import NamedNode, Quad

from ingest.events import Event
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from proofs.submission import Request
from runtime.asset_plan import DECIDED
from runtime.asset_quads import Statements
from runtime.asset_sightings import Look, Place, Sighting
from runtime.asset_status import StatusKeeper
from runtime.assets import Kind, Locators, RuntimeAsset, State
from stewards.discovery import MOST_WAITING, AssetDiscovery
from stewards.discovery_telemetry import FRESH, MOST_ROWS, machines, sightings
from stewards.errors import DiscoveryBusy
from tests.proofs.conftest import Gate, founded, gate, signer

__all__ = ["founded", "gate", "signer"]  # fixtures

IDS = Ids()
BOX = Locators(container="box")
WEB = Locators(cluster="main", namespace="shop", workload="deployment/web")
WORKBENCH = RuntimeAsset("workbench", "lxc", IDS.organisation("acme"), BOX, capabilities=("run",))
PLATFORM = IDS.principal("policy")


@dataclass
class Places:
    """What there is to be seen; a test says it."""

    gate: Gate
    sightings: list[Sighting] = field(default_factory=list)
    silent: dict[Place, str] = field(default_factory=dict)

    def __call__(self) -> Look:
        return Look(tuple(self.sightings), frozenset({Place("lxc", "")}), self.silent)

    def see(self, name: str, locators: Locators, state: State = "running", **named: object) -> None:
        kind: Kind = "kubernetes" if locators.workload else "lxc"
        values: dict[str, object] = {"names": (name,), "state": state} | named
        self.sightings.append(
            Sighting(kind, kind, locators, self.gate.clock(), **values)  # type: ignore[arg-type]
        )


@pytest.fixture
def places(gate: Gate) -> Places:
    return Places(gate)


@pytest.fixture
def discovery(gate: Gate, places: Places) -> AssetDiscovery:
    keeper = StatusKeeper(gate.ledger, gate.store, gate.ids, clock=gate.clock)
    return AssetDiscovery(gate.ledger, gate.store, gate.ids, keeper, gate.index.proposals, [places])


def state_asset(gate: Gate, asset: RuntimeAsset) -> None:
    statements = Statements(IDS)
    statements.asset(asset)
    graph = NamedNode(IDS.graph("assets"))
    quads = frozenset(Quad(t.subject, t.predicate, t.object, graph) for t in statements.triples)
    view = gate.ledger.submit(gate.operator, Request(quads, frozenset()))
    assert view is not None
    gate.clock.move(hours=25)
    assert gate.ledger.tick()


def test_what_is_new_waits_for_a_person_and_is_an_asset_then(
    gate: Gate, places: Places, discovery: AssetDiscovery
) -> None:
    places.see("box", BOX)
    places.see("web", WEB)
    found = discovery.discover()
    assert (found.seen, found.known, found.changed) == (2, 0, 0)
    assert sorted(found.assets) == ["box", "web"]
    assert found.proposal is not None
    view = gate.ledger.proposal(found.proposal)
    assert (view.author, view.state) == (PLATFORM, "awaiting decision")
    assert view.rationale == "found by looking round: web (kubernetes), box (lxc)"
    # Who found it is nobody's person, so that one suffices.
    gate.ledger.approve(gate.operator, view.id, "seen")
    graph = discovery.assets()
    assert sorted(graph.assets) == ["box", "web"]
    assert graph.asset("box").owner == IDS.organisation("acme")
    assert discovery.discover().proposal is None
    gate.sound()


def test_what_waits_or_was_turned_down_is_not_proposed_again(
    gate: Gate, places: Places, discovery: AssetDiscovery
) -> None:
    places.see("box", BOX)
    first = discovery.discover().proposal
    assert first is not None
    places.see("box", BOX, "stopped")
    again = discovery.discover()
    assert (again.proposal, again.set_aside) == (None, {DECIDED: 1})
    gate.ledger.reject(gate.operator, first, "it is somebody's toy")
    places.see("web", WEB)
    second = discovery.discover()
    assert second.assets == ("web",)
    assert second.proposal is not None
    gate.ledger.withdraw(PLATFORM, second.proposal, "not now")
    assert discovery.discover().assets == ("web",)


def test_what_was_approved_and_taken_back_stays_so(
    gate: Gate, places: Places, discovery: AssetDiscovery
) -> None:
    places.see("box", BOX)
    found = discovery.discover().proposal
    assert found is not None
    gate.ledger.approve(gate.operator, found, "seen")
    back = gate.ledger.revert(gate.operator, found, "a mistake")
    assert back is not None
    gate.clock.move(hours=25)
    assert gate.ledger.tick()
    assert not discovery.assets().assets
    assert discovery.discover().proposal is None


def test_so_many_wait_at_a_time(gate: Gate, places: Places, discovery: AssetDiscovery) -> None:
    for number in range(MOST_WAITING + 3):
        places.see(f"box{number:x}", Locators(container=f"box{number:x}"))
        discovery.discover()
    waiting = [view for view in gate.views() if view.state == "awaiting decision"]
    assert len(waiting) == MOST_WAITING


def test_a_declared_asset_gets_its_status_and_never_a_second_one(
    gate: Gate, places: Places, discovery: AssetDiscovery
) -> None:
    state_asset(gate, WORKBENCH)
    places.see("box", BOX)
    found = discovery.discover()
    assert (found.known, found.changed, found.proposal) == (1, 1, None)
    status = discovery.assets().asset("workbench").status
    assert status is not None
    assert status.state == "running"
    head = gate.ledger.head
    assert discovery.discover().changed == 0
    assert gate.ledger.head == head
    gate.clock.move(seconds=1)
    places.sightings.clear()
    places.see("box", BOX, "stopped")
    assert discovery.discover().changed == 1
    assert list(discovery.assets().assets) == ["workbench"]


def test_services_that_everybody_may_read_of_are_hosted(
    gate: Gate, places: Places, discovery: AssetDiscovery
) -> None:
    state_asset(gate, WORKBENCH)
    gate.found_project("hush", restricted=True)
    for slug in ("shop", "hush"):
        service = IDS.service(slug, "web")
        turtle = f'<{service}> a fo:Service ; rdfs:label "web" ; fo:inProject project:{slug} .'
        gate.propose(turtle, f"lineage/{slug}", by=gate.operator)
    shown = tuple(IDS.service(slug, "web") for slug in ("hush", "shop", "unknown"))
    places.see("box", BOX, services=shown, projects=("shop",))
    found = discovery.discover()
    assert found.hosted == 1
    assert found.proposal is not None
    gate.ledger.approve(gate.operator, found.proposal, "seen")
    assert discovery.assets().asset("workbench").hosts == (IDS.service("shop", "web"),)


def test_a_place_that_does_not_answer_is_told(places: Places, discovery: AssetDiscovery) -> None:
    places.silent = {Place("kubernetes", "main"): "it refused the connection"}
    places.see("box", BOX)
    found = discovery.discover()
    assert found.silent == ("kubernetes main: it refused the connection",)
    assert found.assets == ("box",)
    assert [item.kind for item in discovery.drift()] == ["not-declared", "silent-place"]


def test_drift_is_proposed_by_whoever_asks_for_it(
    gate: Gate, places: Places, discovery: AssetDiscovery
) -> None:
    assert discovery.propose_drift(gate.operator) is None
    places.see("box", BOX)
    turned_down = discovery.discover().proposal
    assert turned_down is not None
    gate.ledger.reject(gate.operator, turned_down, "no")
    view = discovery.propose_drift(gate.operator, "it is ours after all")
    assert view is not None
    assert (view.author, view.state) == (gate.operator, "awaiting decision")
    assert view.rationale == "it is ours after all: box (lxc)"
    assert discovery.propose_drift(gate.operator) == view


def test_who_asks_while_it_is_looked_round_is_told_so(
    places: Places, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stewards.discovery._PATIENCE", 0.01)
    asked, go_on = threading.Event(), threading.Event()

    def slow() -> Look:
        asked.set()
        assert go_on.wait(60)
        return Look()

    keeper = StatusKeeper(gate.ledger, gate.store, gate.ids, clock=gate.clock)
    discovery = AssetDiscovery(
        gate.ledger, gate.store, gate.ids, keeper, gate.index.proposals, [slow]
    )
    looking = threading.Thread(target=discovery.drift)
    looking.start()
    try:
        assert asked.wait(60)
        with pytest.raises(DiscoveryBusy):
            discovery.discover()
    finally:
        go_on.set()
        looking.join()
    assert discovery.discover().seen == 0


# --- what telemetry shows


def event(number: int, service: str, attributes: dict[str, str], **more: object) -> Event:
    values = dict.fromkeys(
        ("name", "kind", "status", "release", "environment", "session"), ""
    ) | dict.fromkeys(("trace_id", "span_id", "parent_span_id"), "")
    named: dict[str, object] = {
        **values,
        "project": "shop",
        "source": "otel.log",
        "event_id": str(number),
        "time": time.time_ns(),
        "duration_ns": 0,
        "service": service,
        "attributes": attributes,
        "seq": number,
        "batch": f"sha256:{number:064x}",
    }
    return Event(**(named | more))  # type: ignore[arg-type]


WORKLOAD = {
    "k8s.namespace.name": "shop",
    "k8s.deployment.name": "web",
    "k8s.container.name": "app",
    "k8s.pod.name": "web-6d4cf56db6-x2x8p",
    "host.name": "web-6d4cf56db6-x2x8p",
}


def test_telemetry_shows_machines(warehouse: Warehouse) -> None:
    old = time.time_ns() - 2 * 86_400 * 10**9
    earlier = time.time_ns() - 2 * int(FRESH.total_seconds()) * 10**9
    ahead = time.time_ns() + 86_400 * 10**9
    warehouse.insert(
        [
            event(1, "web", WORKLOAD, environment="production"),
            event(2, "web", WORKLOAD, environment="production", time=ahead),
            event(3, "worker", {"container.name": "box", "host.name": "host"}, time=earlier),
            event(4, "agent", {"host.name": "box"}),
            event(5, "past", WORKLOAD, time=old),
            event(6, "nowhere", {"server.address": "db"}),
            event(7, "stranger", WORKLOAD, trusted=False),
            event(8, "secret", WORKLOAD, project="hush"),
            event(9, "long", {"host.name": "h" * 300}),
            event(10, "", WORKLOAD),
        ]
    )
    result = warehouse.query(
        machines(), hidden_projects=["hush"], trusted_only=True, max_rows=MOST_ROWS
    )
    now = datetime.now(UTC)
    found = {item.services: item for item in sightings(result.rows, IDS, now)}
    assert set(found) == {(IDS.service("shop", name),) for name in ("web", "worker", "agent")}
    web = found[(IDS.service("shop", "web"),)]
    assert web.locators == Locators(container="app", namespace="shop", workload="deployment/web")
    assert (web.kind, web.state, web.hint, web.names) == ("kubernetes", "running", False, ("web",))
    assert (web.environment, web.projects) == ("production", ("shop",))
    # A clock that is ahead shows nothing of the future.
    assert web.at <= now + timedelta(seconds=1)
    assert web.evidence == (f"sha256:{2:064x}",)
    worker = found[(IDS.service("shop", "worker"),)]
    assert worker.locators == Locators(node="host", container="box")
    assert (worker.kind, worker.state, worker.hint) == ("lxc", None, True)
    agent = found[(IDS.service("shop", "agent"),)]
    assert agent.locators == BOX
    assert (agent.state, agent.hint) == (None, True)
