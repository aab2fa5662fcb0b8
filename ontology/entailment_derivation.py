"""Why a triple follows: one shortest way to it from triples that are stated.

Invariant: every premise of a derivation is a triple that an unrestricted graph states, or what an
earlier step concludes; the last step concludes what was asked for. The search goes from what is
stated of the triple's own nodes upwards and visits each class or property once, so it ends whatever
circles the axioms make.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from pyoxigraph import Literal, NamedNode, Quad, Triple

from ontology.entailment_schema import STRUCTURAL, axiom_of
from ontology.store import GraphStore, Term
from ontology.vocab import Owl, Rdf, Rdfs

_TYPE = NamedNode(Rdf.type)
_SUBCLASS, _SUBPROPERTY = NamedNode(Rdfs.subClassOf), NamedNode(Rdfs.subPropertyOf)
_SAME_CLASS = NamedNode(Owl.equivalentClass)
_SAME_PROPERTY = NamedNode(Owl.equivalentProperty)
_INVERSE = NamedNode(Owl.inverseOf)
_SYMMETRIC = NamedNode(Owl.SymmetricProperty)
_MEMBERS = {_SUBCLASS: (_SUBCLASS, _SAME_CLASS), _SUBPROPERTY: (_SUBPROPERTY, _SAME_PROPERTY)}

_RULES = {
    Rdfs.subClassOf: "rdfs:subClassOf",
    Rdfs.subPropertyOf: "rdfs:subPropertyOf",
    Owl.equivalentClass: "owl:equivalentClass",
    Owl.equivalentProperty: "owl:equivalentProperty",
    Owl.inverseOf: "owl:inverseOf",
    Rdf.type: "owl:SymmetricProperty",
}


@dataclass(frozen=True, slots=True)
class Conclusion:
    """One step: ``rule`` is the word of the vocabulary whose meaning it uses."""

    rule: str
    premises: tuple[Triple, ...]
    conclusion: Triple


@dataclass(frozen=True, slots=True)
class Derivation:
    """Steps in order; what they rest on is stated."""

    steps: tuple[Conclusion, ...]

    @property
    def rule(self) -> str:
        """The rule of the last step."""
        return self.steps[-1].rule

    def stated(self) -> list[Triple]:
        """The premises that no step concludes, each once, in the order they are used."""
        concluded = {step.conclusion for step in self.steps}
        premises = (premise for step in self.steps for premise in step.premises)
        return [premise for premise in dict.fromkeys(premises) if premise not in concluded]


@dataclass(frozen=True, slots=True)
class _Reached:
    """A triple that follows, by which axiom from which other one; a stated one by none."""

    triple: Triple
    axiom: Triple | None = None
    before: _Reached | None = None


def derive(store: GraphStore, wanted: Triple, restricted: frozenset[str]) -> Derivation | None:
    """A shortest derivation of a triple from others, or ``None`` where there is none.

    ``restricted`` names the graphs that are no premises.
    """
    search = _Search(store, restricted)
    waiting = deque(search.starts(wanted))
    seen = {reached.triple for reached in waiting}
    for reached in waiting:
        if reached.triple == wanted and reached.before is not None:
            return Derivation(tuple(_steps(reached)))
    while waiting:
        reached = waiting.popleft()
        for axiom, triple in search.further(reached.triple):
            if triple in seen:
                continue
            seen.add(triple)
            further = _Reached(triple, axiom, reached)
            if triple == wanted:
                return Derivation(tuple(_steps(further)))
            waiting.append(further)
    return None


class _Search:
    """What is one axiom away from a triple, read from a store."""

    def __init__(self, store: GraphStore, restricted: frozenset[str]) -> None:
        self._store = store
        self._restricted = restricted

    def starts(self, wanted: Triple) -> Iterator[_Reached]:
        """The stated triples that one with these ends can follow from."""
        subject, predicate, value = _parts(wanted)
        if predicate in _MEMBERS:
            for axiom, other in self._above(subject, predicate):
                # An equivalence is not such a triple itself: the first step leads to one.
                triple = Triple(subject, predicate, other)
                if axiom == triple:
                    yield _Reached(triple)
                elif other != subject:
                    yield _Reached(triple, None, _Reached(axiom))
            return
        for pattern in self._patterns(subject, predicate, value):
            for quad in self._stated(*pattern):
                if quad.triple != wanted:
                    yield _Reached(quad.triple)

    @staticmethod
    def _patterns(
        subject: NamedNode, predicate: NamedNode, value: Term
    ) -> Iterator[tuple[NamedNode, NamedNode | None, Term | None]]:
        if predicate == _TYPE:
            yield subject, _TYPE, None
            return
        yield subject, None, value
        if isinstance(value, NamedNode):
            yield value, None, subject

    def further(self, triple: Triple) -> Iterator[tuple[Triple, Triple]]:
        """Axioms about a triple, each with what it leads to."""
        subject, predicate, value = _parts(triple)
        if predicate in _MEMBERS:
            if isinstance(value, NamedNode):
                for axiom, other in self._above(value, predicate):
                    if other != subject:
                        yield axiom, Triple(subject, predicate, other)
        elif predicate == _TYPE:
            if isinstance(value, NamedNode):
                for axiom, other in self._above(value, _SUBCLASS):
                    yield axiom, Triple(subject, _TYPE, other)
        elif predicate.value not in STRUCTURAL:
            for axiom, other in self._above(predicate, _SUBPROPERTY):
                yield axiom, Triple(subject, other, value)
            if isinstance(value, NamedNode):
                for axiom, other in self._inverses(predicate):
                    yield axiom, Triple(value, other, subject)

    def _above(self, term: NamedNode, below: NamedNode) -> Iterator[tuple[Triple, NamedNode]]:
        under, same = _MEMBERS[below]
        yield from self._axioms(term, under, None)
        yield from self._axioms(term, same, None)
        yield from self._axioms(None, same, term)

    def _inverses(self, property_: NamedNode) -> Iterator[tuple[Triple, NamedNode]]:
        yield from self._axioms(property_, _INVERSE, None)
        yield from self._axioms(None, _INVERSE, property_)
        for quad in self._stated(property_, _TYPE, _SYMMETRIC):
            yield quad.triple, property_

    def _axioms(
        self, subject: NamedNode | None, relation: NamedNode, value: NamedNode | None
    ) -> Iterator[tuple[Triple, NamedNode]]:
        """Axioms of one kind, each with its other end."""
        for quad in self._stated(subject, relation, value):
            other = quad.object if value is None else quad.subject
            if axiom_of(quad) is not None and isinstance(other, NamedNode):
                yield quad.triple, other

    def _stated(
        self, subject: NamedNode | None, predicate: NamedNode | None, value: Term | None
    ) -> Iterator[Quad]:
        return self._store.unrestricted(self._restricted, subject, predicate, value)


def _steps(last: _Reached) -> Iterator[Conclusion]:
    """The steps to what was reached, first to last."""
    chain = []
    reached: _Reached | None = last
    while reached is not None:
        chain.append(reached)
        reached = reached.before
    for reached in reversed(chain):
        if reached.before is not None:
            premises = (reached.before.triple, *((reached.axiom,) if reached.axiom else ()))
            yield Conclusion(_rule(premises[-1]), premises, reached.triple)


def _rule(axiom: Triple) -> str:
    return _RULES[axiom.predicate.value]


def _parts(triple: Triple) -> tuple[NamedNode, NamedNode, Term]:
    """The terms of a canonical triple; such triples have no blank nodes and no others in them."""
    assert isinstance(triple.subject, NamedNode)
    assert isinstance(triple.object, NamedNode | Literal)
    return triple.subject, triple.predicate, triple.object
