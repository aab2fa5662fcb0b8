"""What follows from one triple, given what its property or class leads to.

Invariant: a conclusion is a quad of ``graph/inferred`` between named things: classes and properties
without a name (former blank nodes) are followed and never concluded, as nobody asks for them, and
a literal never becomes a subject.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache

from pyoxigraph import Literal, NamedNode, Quad

from ontology.entailment_schema import STRUCTURAL, Schema, Step
from ontology.store import GraphStore, Term
from ontology.terms import skolem_prefix
from ontology.vocab import Rdf, Rdfs

TYPE = NamedNode(Rdf.type)
SUBCLASS = NamedNode(Rdfs.subClassOf)
SUBPROPERTY = NamedNode(Rdfs.subPropertyOf)
HIERARCHIES = frozenset({Rdf.type, Rdfs.subClassOf, Rdfs.subPropertyOf})

# The same few classes and properties are concluded again and again.
named = lru_cache(maxsize=4096)(NamedNode)


class Rules:
    """Conclusions in the inferred graph of a store."""

    def __init__(self, store: GraphStore) -> None:
        self._graph = store.inferred
        self._nameless = skolem_prefix(store.ids.base)

    def conclusions(self, schema: Schema, quad: Quad) -> Iterator[Quad]:
        """What follows from a triple that is no axiom."""
        subject, value = ends(quad)
        property_ = quad.predicate.value
        if property_ not in STRUCTURAL:
            reach = schema.reach(property_)
            yield from self.related(subject, value, reach.steps, reach.plain)
        elif property_ == Rdf.type and isinstance(value, NamedNode):
            yield from self.typed(subject, schema.superclasses(value.value))

    def typed(self, subject: NamedNode, classes: Collection[str]) -> Iterator[Quad]:
        """That a thing is of these classes."""
        for class_ in classes:
            if not class_.startswith(self._nameless):
                yield Quad(subject, TYPE, named(class_), self._graph)

    def related(
        self, subject: NamedNode, value: Term, steps: Collection[Step], plain: Collection[str]
    ) -> Iterator[Quad]:
        """What a triple with these ends leads to: by ``steps``, or ``plain`` ones for a literal."""
        if isinstance(value, Literal):
            for property_ in plain:
                if not property_.startswith(self._nameless):
                    yield Quad(subject, named(property_), value, self._graph)
            return
        for property_, turned in steps:
            if property_.startswith(self._nameless):
                continue
            if turned:
                yield Quad(value, named(property_), subject, self._graph)
            else:
                yield Quad(subject, named(property_), value, self._graph)

    def below(self, term: str, relation: NamedNode, above: Collection[str]) -> Iterator[Quad]:
        """That a class or a property lies below these others."""
        if above and not term.startswith(self._nameless):
            for other in above:
                if not other.startswith(self._nameless):
                    yield Quad(named(term), relation, named(other), self._graph)

    def has_name(self, quad: Quad) -> bool:
        """Whether a triple may be concluded: no class or property in it lacks a name."""
        subject, value = ends(quad)
        property_ = quad.predicate.value
        about = [property_]
        if property_ in HIERARCHIES and isinstance(value, NamedNode):
            about.append(value.value)
        if property_ in (Rdfs.subClassOf, Rdfs.subPropertyOf):
            about.append(subject.value)
        return not any(term.startswith(self._nameless) for term in about)

    def inferred(self, quad: Quad) -> Quad:
        """The same triple as a quad of the inferred graph."""
        return Quad(quad.subject, quad.predicate, quad.object, self._graph)


def ends(quad: Quad) -> tuple[NamedNode, Term]:
    """Subject and object of a canonical quad; such quads have no blank nodes and no triples."""
    subject, value = quad.subject, quad.object
    assert isinstance(subject, NamedNode)
    assert isinstance(value, NamedNode | Literal)
    return subject, value
