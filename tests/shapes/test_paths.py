"""Property paths: their text, their RDF, where they lead, and what they rest on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyoxigraph import BlankNode, Literal, NamedNode, Triple

from ontology.vocab import Sh
from shapes.parse import read_shapes
from shapes.paths import (
    HERE,
    Chain,
    Either,
    Inverse,
    Optional,
    Path,
    Predicate,
    Repeated,
    chain,
    edges,
    inward,
    path_triples,
    read_path,
)
from shapes.view import MemoryView, Node

PREDICATES = [NamedNode(f"http://e/p{number}") for number in range(3)]
NODES = [NamedNode(f"http://e/n{number}") for number in range(5)]


def several(inner: st.SearchStrategy[Path]) -> st.SearchStrategy[tuple[Path, ...]]:
    return st.lists(inner, min_size=2, max_size=3).map(tuple)


PATHS: st.SearchStrategy[Path] = st.recursive(
    st.sampled_from(PREDICATES).map(Predicate),
    lambda inner: st.one_of(
        inner.map(Inverse),
        several(inner).map(Chain),
        several(inner).map(Either),
        st.builds(Repeated, inner, st.booleans()),
        inner.map(Optional),
    ),
    max_leaves=6,
)
TRIPLES = st.frozensets(
    st.builds(
        Triple,
        st.sampled_from(NODES),
        st.sampled_from(PREDICATES),
        st.sampled_from([*NODES, Literal("x")]),
    ),
    max_size=14,
)


@settings(deadline=None, derandomize=True)
@given(PATHS)
def test_its_text_reads_as_the_same_path(path: Path) -> None:
    assert str(read_path(str(path))) == str(path)


@settings(deadline=None, derandomize=True)
@given(PATHS)
def test_its_triples_read_as_the_same_path(path: Path) -> None:
    node, triples = path_triples(path, "path")
    shape = NamedNode("http://e/S")
    targeted = Triple(shape, NamedNode(Sh.targetNode), NODES[0])
    (read,) = read_shapes([Triple(shape, NamedNode(Sh.path), node), targeted, *triples]).targeted
    assert str(read.path) == str(path)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(PATHS, TRIPLES)
def test_walking_back_is_following_turned_round(path: Path, triples: frozenset[Triple]) -> None:
    view = MemoryView(triples)
    nodes: list[Node] = [*NODES, Literal("x")]
    for turned in (path, inward(path)):
        forth = {(a, b) for a in nodes for b in turned.follow(view, a)}
        back = {(a, b) for b in nodes for a in turned.back(view, b)}
        assert forth == back
        assert forth == {(a, b) for a in nodes for b in path.follow(view, a)}
        assert all(len(found) == len(set(found)) for a in nodes if (found := path.follow(view, a)))


@settings(deadline=None, derandomize=True, max_examples=300)
@given(PATHS, TRIPLES, TRIPLES)
def test_a_new_value_rests_on_an_edge_that_came(
    path: Path, before: frozenset[Triple], added: frozenset[Triple]
) -> None:
    """What finding the affected nodes rests on: see shapes.compile."""
    old, new = MemoryView(before), MemoryView(before | added)
    walked = {
        start
        for edge in edges(inward(path))
        for triple in added - before
        if edge.predicate == triple.predicate
        for start in edge.prefix.back(new, _end(triple, edge.forwards))
    }
    for node in NODES:
        if set(path.follow(new, node)) - set(path.follow(old, node)):
            assert node in walked


def _end(triple: Triple, forwards: bool) -> Node:
    end = triple.subject if forwards else triple.object
    assert not isinstance(end, Triple)
    return end


def test_a_path_that_goes_nowhere_stays_where_it_is() -> None:
    view = MemoryView([])
    assert HERE.follow(view, NODES[0]) == (NODES[0],)
    assert chain(HERE, Predicate(PREDICATES[0])) == Predicate(PREDICATES[0])
    assert Repeated(Predicate(PREDICATES[0])).follow(view, Literal("x")) == (Literal("x"),)
    assert Optional(Predicate(PREDICATES[0])).follow(view, BlankNode("b")) == (BlankNode("b"),)


@pytest.mark.parametrize("text", ["", "<http://e/p>/", "<http://e/p", "(<http://e/p>", "p", "^"])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match="is no property path"):
        read_path(text)
