"""A status is stated when it changes, at once, by the platform itself, and not too often."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyoxigraph import NamedNode, Quad

from ontology.ids import Ids
from proofs.observed_policy import STATUS
from proofs.submission import Request
from runtime.asset_graph import read_assets
from runtime.asset_quads import Statements
from runtime.asset_status import MOST_CHANGES, WINDOW, Observation, StatusKeeper, status_change
from runtime.assets import Locators, RuntimeAsset, State, Status
from tests.proofs.conftest import Gate, founded, gate, signer

__all__ = ["founded", "gate", "signer"]

IDS = Ids()
DIGEST = "sha256:" + "0a" * 32
ASSET = RuntimeAsset("box", "lxc", IDS.organisation("acme"), Locators(container="box"))
START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
STATES = st.sampled_from(["running", "stopped", "unreachable", "unknown"])
OBSERVATIONS = st.lists(
    st.builds(
        Observation,
        STATES,
        st.integers(0, 30).map(lambda n: START + timedelta(seconds=n)),
        st.sets(st.sampled_from([DIGEST, IDS.proof(7)])).map(lambda found: tuple(sorted(found))),
    ),
    max_size=8,
)


def stated(asset: RuntimeAsset) -> set[Quad]:
    statements = Statements(IDS)
    statements.asset(asset)
    graph = NamedNode(IDS.graph("assets"))
    return {Quad(t.subject, t.predicate, t.object, graph) for t in statements.triples}


@pytest.fixture
def keeper(gate: Gate) -> StatusKeeper:
    """Of a platform that knows one asset, of which nothing was observed."""
    request = Request(frozenset(stated(ASSET)), frozenset(), rationale="a box")
    view = gate.ledger.submit(gate.operator, request)
    assert view is not None
    gate.clock.move(hours=25)
    assert gate.ledger.tick()
    return StatusKeeper(gate.ledger, gate.store, gate.ids, clock=gate.clock)


def status(gate: Gate) -> Status | None:
    return read_assets(gate.asserted("assets")).asset("box").status


@given(OBSERVATIONS)
def test_what_is_stated_is_one_state_with_its_time(observations: list[Observation]) -> None:
    iri = IDS.runtime_asset("box")
    quads = stated(ASSET)
    known = set(quads)
    latest: Observation | None = None
    for observation in observations:
        delta = status_change(IDS, iri, quads, observation)
        news = latest is None or (observation.state != latest.state and observation.at > latest.at)
        assert (delta is not None) == news
        if delta is not None:
            assert not delta.additions & quads
            assert delta.removals <= quads
            quads = (quads - delta.removals) | delta.additions
            latest = observation
    found = read_assets(quads).asset("box").status
    assert (found is None) == (latest is None)
    if found is not None and latest is not None:
        assert found.state == latest.state
        assert datetime.fromisoformat(found.since) == latest.at
        assert len(found.evidence) == len(latest.evidence)
    assert {quad for quad in quads if quad.predicate.value not in STATUS} == known


def test_a_change_applies_at_once_and_the_same_again_is_none(
    gate: Gate, keeper: StatusKeeper
) -> None:
    view = keeper.observed(ASSET, "running", at=gate.clock(), evidence=[DIGEST], by="a check")
    assert view is not None
    assert (view.state, view.author) == ("applied", IDS.principal("policy"))
    assert view.rationale == "found running by a check"
    assert view.evidence == (DIGEST,)
    found = status(gate)
    assert found is not None
    assert (found.state, found.evidence) == ("running", (IDS.evidence("0a" * 32),))
    head = gate.ledger.head
    gate.clock.move(minutes=1)
    assert keeper.observed(ASSET, "running", at=gate.clock(), by="a check") is None
    assert gate.ledger.head == head
    assert keeper.observed(ASSET, "stopped", at=gate.clock(), by="a check") is not None
    found = status(gate)
    assert found is not None
    assert (found.state, found.evidence) == ("stopped", ())
    gate.sound()


def test_late_news_is_none_and_none_is_of_the_future(gate: Gate, keeper: StatusKeeper) -> None:
    now = gate.clock()
    assert keeper.observed(ASSET, "running", at=now + timedelta(days=9), by="a check")
    found = status(gate)
    assert found is not None
    assert datetime.fromisoformat(found.since) == now
    gate.clock.move(minutes=1)
    assert keeper.observed(ASSET, "stopped", at=now - timedelta(minutes=1), by="a check") is None
    assert keeper.tick() == 0
    assert status(gate) == found


def test_an_asset_that_flaps_is_stated_so_often_and_ends_with_its_last_state(
    gate: Gate, keeper: StatusKeeper
) -> None:
    states: list[State] = ["running", "stopped"]
    began = gate.ledger.head
    for number in range(60):
        gate.clock.move(seconds=1)
        keeper.observed(ASSET, states[number % 2], at=gate.clock(), by="a check")
    gate.clock.move(seconds=1)
    keeper.observed(ASSET, "unreachable", at=gate.clock(), by="a check")
    assert gate.ledger.head - began == MOST_CHANGES
    assert keeper.tick() == 0
    seen = gate.clock()
    gate.clock.move(seconds=WINDOW.total_seconds())
    assert keeper.tick() == 1
    found = status(gate)
    assert found is not None
    assert (found.state, datetime.fromisoformat(found.since)) == ("unreachable", seen)
    assert keeper.tick() == 0


def test_what_goes_back_while_it_waits_is_not_stated(gate: Gate, keeper: StatusKeeper) -> None:
    states: list[State] = ["running", "stopped", "running", "stopped", "running", "stopped"]
    for state in states:
        gate.clock.move(seconds=1)
        keeper.observed(ASSET, state, at=gate.clock(), by="a check")
    head = gate.ledger.head
    gate.clock.move(seconds=WINDOW.total_seconds())
    assert keeper.tick() == 0
    assert gate.ledger.head == head


def test_of_an_asset_that_is_gone_nothing_is_stated(gate: Gate, keeper: StatusKeeper) -> None:
    other = RuntimeAsset("gone", "lxc", ASSET.owner, Locators(container="gone"))
    head = gate.ledger.head
    assert keeper.observed(other, "running", at=gate.clock(), by="a check") is None
    assert keeper.tick() == 0
    assert gate.ledger.head == head


def test_many_at_once_state_it_once(gate: Gate, keeper: StatusKeeper) -> None:
    began = gate.ledger.head
    gate.clock.move(seconds=1)
    at = gate.clock()
    threads = [
        threading.Thread(target=lambda: keeper.observed(ASSET, "running", at=at, by="a check"))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gate.ledger.head == began + 1


def test_a_state_that_is_none_is_refused(gate: Gate, keeper: StatusKeeper) -> None:
    with pytest.raises(ValueError, match="is no state"):
        keeper.observed(ASSET, "fine", at=gate.clock(), by="a check")  # type: ignore[arg-type]


def test_a_time_that_has_not_come_keeps_nothing_from_being_stated(
    gate: Gate, keeper: StatusKeeper
) -> None:
    """Who may state how assets are could else end that for good."""
    ahead = Observation("stopped", gate.clock() + timedelta(days=36_500))
    known = gate.asserted("assets")
    forged = status_change(gate.ids, gate.ids.runtime_asset("box"), known, ahead)
    assert forged is not None
    view = gate.ledger.submit(gate.operator, Request(forged.additions, forged.removals))
    assert view is not None
    assert view.state == "applied"
    gate.clock.move(minutes=1)
    assert keeper.observed(ASSET, "running", at=gate.clock(), by="a check") is not None
    found = status(gate)
    assert found is not None
    assert (found.state, datetime.fromisoformat(found.since)) == ("running", gate.clock())
