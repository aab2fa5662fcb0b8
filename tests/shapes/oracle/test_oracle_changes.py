"""Disagreements over changes, each by the smallest case that had it."""

from __future__ import annotations

import pytest

from ontology.store import GraphStore
from ontology.terms import Delta
from shapes.validator import Validator
from tests.shapes.oracle.oracle_cases import in_graph
from tests.shapes.oracle.oracle_graphs import GRAPHS, IDS, SHAPES_GRAPH
from tests.shapes.oracle.oracle_named import triples

INSTANCES = "ex:A a rdfs:Class , sh:NodeShape ; sh:nodeKind sh:Literal ."
BELOW = "ex:D rdfs:subClassOf ex:A ."


def added(turtle: str) -> Delta:
    return Delta(in_graph(triples(turtle), GRAPHS[0]))


def world(data: str = "") -> GraphStore:
    store = GraphStore(None, IDS)
    given = in_graph(triples(INSTANCES), SHAPES_GRAPH) | added(data).additions
    store.apply(Delta(given), Delta(), 0)
    return store


@pytest.mark.parametrize("below", [False, True])
def test_what_rests_on_a_hierarchy_known_before_is_turned_by_it_too(below: bool) -> None:
    # The second look at a class was answered from memory, and not among what was read.
    validator = Validator(world(BELOW if below else ""))
    validator.examine(added("ex:n1 a ex:D ."))
    found = validator.examine(added("ex:n2 a ex:D ."))
    assert bool(found.report.results) is below
    assert found.reads.meet(added(BELOW).inverse() if below else added(BELOW))


def test_a_hierarchy_that_was_known_is_read_again_once_it_has_changed() -> None:
    store = world()
    validator = Validator(store)
    assert not validator.validate(added("ex:n1 a ex:D .")).results
    store.apply(added(BELOW), Delta(), 1)
    validator.settled(added(BELOW))
    assert validator.validate(added("ex:n1 a ex:D .")).results
