"""What the first entry states: the same for the same names, and sound by its own shapes."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from ontology.ids import Ids
from ontology.store import GraphStore
from ontology.terms import Delta, canonical_quad, graph_of, skolem_prefix
from proofs.genesis import genesis_delta, principal_delta, project_delta, steward_slug
from proofs.governance import read_governance
from shapes.validator import Validator

IDS = Ids()
ACME = IDS.organisation("acme")
GENESIS = genesis_delta(IDS, "acme", "olga", timedelta(hours=24))


@pytest.fixture
def store() -> GraphStore:
    store = GraphStore(None, IDS)
    store.apply(GENESIS, Delta(), 0)
    return store


def test_it_is_the_same_each_time() -> None:
    assert genesis_delta(IDS, "acme", "olga", timedelta(hours=24)) == GENESIS
    assert genesis_delta(IDS, "acme", "olga", timedelta(hours=25)) != GENESIS


def test_two_organisations_differ_in_their_names_alone() -> None:
    other = genesis_delta(IDS, "umbrella", "bob", timedelta(hours=24))
    assert len(other.additions) == len(GENESIS.additions)
    differing = {graph_of(quad) for quad in other.additions ^ GENESIS.additions}
    assert differing == {IDS.graph("governance")}


def test_it_fills_the_graphs_it_should_with_canonical_quads() -> None:
    counts = Counter(graph_of(quad) for quad in GENESIS.additions)
    assert set(counts) == {IDS.graph(n) for n in ("ontology", "shapes", "rules", "governance")}
    assert min(counts.values()) > 20
    assert GENESIS.removals == frozenset()
    assert all(canonical_quad(quad) == quad for quad in GENESIS.additions)
    text = "".join(map(str, GENESIS.additions))
    assert "_:" not in text.replace("urn:", "")
    assert skolem_prefix(IDS.base) in text


def test_genesis_conforms_to_its_own_shapes() -> None:
    report = Validator(GraphStore(None, IDS)).validate(GENESIS)
    assert report.conforms, report.summary()
    assert report.results == ()


def test_it_names_the_founding_operator() -> None:
    view = read_governance(GENESIS.in_graph(IDS.graph("governance")).additions)
    assert view.operators() == {IDS.principal("olga")}
    assert view.organisation == ACME
    assert view.time_lock == timedelta(hours=24)
    assert view.projects == {}


@pytest.mark.parametrize("restricted", [False, True])
def test_a_project_conforms_and_its_steward_has_its_grant(
    store: GraphStore, restricted: bool
) -> None:
    delta = project_delta(IDS, ACME, "shop", 'The "shop"', restricted=restricted)
    report = Validator(store).validate(delta)
    assert report.conforms, report.summary()
    view = read_governance(GENESIS.additions | delta.additions)
    project = view.projects["shop"]
    assert (project.label, project.restricted) == ('The "shop"', restricted)
    assert view.grant(IDS.principal(steward_slug("shop")), project.graph) is not None


@pytest.mark.parametrize("role", ["analyst", "steward", "operator", "auditor"])
def test_a_person_of_each_role_conforms(store: GraphStore, role: str) -> None:
    delta = principal_delta(IDS, ACME, "pat", role)
    assert Validator(store).validate(delta).conforms
    assert read_governance(delta.additions).has_role(IDS.principal("pat"), role)


def test_a_slug_that_is_none_is_refused_by_the_shapes(store: GraphStore) -> None:
    for slug in ("Pat", "pat\n", "-pat", "p" * 64):
        assert not Validator(store).validate(principal_delta(IDS, ACME, slug, "analyst")).conforms


def test_another_base_is_another_organisation() -> None:
    elsewhere = Ids("https://graph.example.org/x")
    found = genesis_delta(elsewhere, "acme", "olga", timedelta(hours=24))
    assert len(found) == len(GENESIS)
    assert not any(IDS.base in str(quad) for quad in found.additions)
