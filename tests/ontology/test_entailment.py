"""What is inferred is what follows, however the graph came to be what it is."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyoxigraph import DefaultGraph, Literal, NamedNode, Quad, Triple

from ontology.entailment import VERSION, Entailment
from ontology.ids import Ids
from ontology.store import PROPOSALS, GraphStore
from ontology.terms import Delta, graph_of, skolem_prefix
from ontology.vocab import Owl, Rdf, Rdfs

IDS = Ids("http://fractalops.localhost")
INFERRED = NamedNode(IDS.graph("inferred"))
ONTOLOGY = NamedNode(IDS.graph("ontology"))
SHOP = NamedNode(IDS.lineage_graph("shop"))
PRIVATE = NamedNode(IDS.lineage_graph("private"))
GRAPHS = (ONTOLOGY, SHOP, PRIVATE)

TYPE = NamedNode(Rdf.type)
SUBCLASS, SUBPROPERTY = NamedNode(Rdfs.subClassOf), NamedNode(Rdfs.subPropertyOf)
SAME_CLASS, SAME_PROPERTY = NamedNode(Owl.equivalentClass), NamedNode(Owl.equivalentProperty)
INVERSE, SYMMETRIC = NamedNode(Owl.inverseOf), NamedNode(Owl.SymmetricProperty)
WORDS = {TYPE, SUBCLASS, SUBPROPERTY, SAME_CLASS, SAME_PROPERTY, INVERSE}


def ex(name: str) -> NamedNode:
    return NamedNode(f"http://example.org/{name}")


NAMELESS = NamedNode(skolem_prefix(IDS.base) + "0" * 40)
CLASSES = [ex("A"), ex("B"), ex("C"), ex("D"), NAMELESS]
PROPERTIES = [ex("p"), ex("q"), ex("r"), NAMELESS]
THINGS = [ex("x"), ex("y"), ex("z")]
VALUES = [*THINGS, Literal("text")]


def quad(s: NamedNode, p: NamedNode, o: NamedNode | Literal, graph: NamedNode = SHOP) -> Quad:
    return Quad(s, p, o, graph)


class World:
    """A store, and what it has been told; graphs may turn restricted as it goes."""

    def __init__(self) -> None:
        self.store = GraphStore(None, IDS)
        self.entailment = Entailment(self.store)
        self.restricted: frozenset[str] = frozenset()
        self.head = 0

    def change(
        self,
        add: Iterable[Quad] = (),
        remove: Iterable[Quad] = (),
        restricted: Iterable[NamedNode] | None = None,
        system: Delta = Delta(),  # noqa: B008
    ) -> None:
        before = self.restricted
        if restricted is not None:
            self.restricted = frozenset(graph.value for graph in restricted)
        removed = frozenset(remove)
        delta = self.store.effective(Delta(frozenset(add) - removed, removed))
        result = self.entailment.consequence(delta, before, self.restricted)
        own = Delta(
            system.additions | result.delta.additions, system.removals | result.delta.removals
        )
        self.store.apply(delta, own, self.head, self.restricted, before)
        self.entailment.settle(result)
        self.head += 1

    def inferred(self) -> set[Triple]:
        return {found.triple for found in self.store.match(graph=INFERRED)}

    def asserted(self) -> set[Triple]:
        return {
            found.triple
            for found in self.store.asserted()
            if graph_of(found) not in self.restricted
        }

    def merge(self) -> set[Triple]:
        return {
            found.triple
            for found in self.store.match()
            if isinstance(found.graph_name, DefaultGraph)
        }


def closure(asserted: set[Triple]) -> set[Triple]:
    """Everything that follows, by the rules one at a time until nothing is new."""
    known = set(asserted)
    while True:
        fresh = {t for t in _once(known, asserted) if _worth(t)} - known
        if not fresh:
            break
        known |= fresh
    return {t for t in known - asserted if not _nameless(t)}


def _once(known: set[Triple], asserted: set[Triple]) -> Iterable[Triple]:
    classes = {t for t in known if t.predicate == SUBCLASS and isinstance(t.object, NamedNode)}
    properties = {
        t
        for t in known
        if t.predicate == SUBPROPERTY and not WORDS & {t.subject, t.object}
    }  # fmt: skip
    for t in known:
        if t.predicate == SAME_CLASS and isinstance(t.object, NamedNode):
            yield Triple(t.subject, SUBCLASS, t.object)
            yield Triple(t.object, SUBCLASS, t.subject)
        if t.predicate == SAME_PROPERTY and not WORDS & {t.subject, t.object}:
            yield Triple(t.subject, SUBPROPERTY, t.object)
            yield Triple(t.object, SUBPROPERTY, t.subject)
        if t.predicate == TYPE:
            yield from (Triple(t.subject, TYPE, a.object) for a in classes if a.subject == t.object)
    for one, other in product(classes, classes):
        if one.object == other.subject:
            yield Triple(one.subject, SUBCLASS, other.object)
    for one, other in product(properties, properties):
        if one.object == other.subject:
            yield Triple(one.subject, SUBPROPERTY, other.object)
    for t, a in product(known, properties):
        if t.predicate == a.subject:
            yield Triple(t.subject, a.object, t.object)
    for a in asserted:
        if a.predicate == INVERSE and not WORDS & {a.subject, a.object}:
            pairs = [(a.subject, a.object), (a.object, a.subject)]
        elif a.predicate == TYPE and a.object == SYMMETRIC and a.subject not in WORDS:
            pairs = [(a.subject, a.subject)]
        else:
            continue
        for (p, q), t in product(pairs, known):
            if t.predicate == p and isinstance(t.object, NamedNode):
                yield Triple(t.object, q, t.subject)


def _worth(t: Triple) -> bool:
    return not (t.predicate in (SUBCLASS, SUBPROPERTY) and t.subject == t.object)


def _nameless(t: Triple) -> bool:
    ends = {t.predicate}
    if t.predicate in (TYPE, SUBCLASS, SUBPROPERTY):
        ends.add(t.object)
    if t.predicate in (SUBCLASS, SUBPROPERTY):
        ends.add(t.subject)
    return NAMELESS in ends


def triples() -> st.SearchStrategy[tuple[NamedNode, NamedNode, NamedNode | Literal]]:
    thing, value = st.sampled_from(THINGS), st.sampled_from(VALUES)
    class_, property_ = st.sampled_from(CLASSES), st.sampled_from(PROPERTIES)
    return st.one_of(
        st.tuples(thing, st.just(TYPE), class_),
        st.tuples(thing, property_, value),
        st.tuples(class_, st.sampled_from([SUBCLASS, SAME_CLASS]), class_),
        st.tuples(
            property_, st.sampled_from([SUBPROPERTY, SAME_PROPERTY, INVERSE]), property_
        ),
        st.tuples(property_, st.just(TYPE), st.just(SYMMETRIC)),
        st.tuples(
            st.sampled_from([*PROPERTIES, TYPE, SUBCLASS]),
            st.sampled_from([SUBPROPERTY, SAME_PROPERTY, INVERSE]),
            st.sampled_from([TYPE, SUBCLASS, SUBPROPERTY, ex("p")]),
        ),
    )


QUADS = st.builds(lambda t, g: Quad(*t, g), triples(), st.sampled_from(GRAPHS))
CHANGES = st.lists(
    st.tuples(
        st.sets(QUADS, max_size=8),
        st.lists(st.integers(0, 10_000), max_size=6),
        st.none() | st.sets(st.sampled_from([SHOP, PRIVATE])),
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(changes=CHANGES)
def test_kept_step_by_step_it_is_what_follows_from_what_is_stated(
    changes: list[tuple[set[Quad], list[int], set[NamedNode] | None]],
) -> None:
    world = World()
    for add, picks, restricted in changes:
        present = sorted(world.store.asserted(), key=str)
        remove = {present[pick % len(present)] for pick in picks} if present else set()
        world.change(add, remove, restricted)
        asserted = world.asserted()
        assert world.inferred() == closure(asserted)
        assert world.merge() == asserted | world.inferred()
        assert list(world.entailment.check(world.restricted)) == []
