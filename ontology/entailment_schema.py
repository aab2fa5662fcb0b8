"""The axioms that entailment follows, and what each of them leads to.

Invariant: a :class:`Schema` is a value: a function of the axioms it holds, changed only into
another one. Which classes lie above a class, and which properties a property implies, are
reachability in a graph of axioms, so cycles, mutual inverses and equivalences need no special care.

Axioms are ``rdfs:subClassOf``, ``rdfs:subPropertyOf``, ``owl:equivalentClass``,
``owl:equivalentProperty``, ``owl:inverseOf`` between IRIs, and that something is an
``owl:SymmetricProperty``. A property axiom about one of these words themselves, or about
``rdf:type``, is not followed: OWL 2 DL allows none, and it would let a small change of one
project's graph rewrite what everybody else's says.
Specification: https://www.w3.org/TR/owl2-profiles/#Reasoning_in_OWL_2_RL_and_RDF_Graphs_using_Rules
(cax-sco, cax-eqc, prp-spo1, prp-eqp, prp-inv, prp-symp, scm-sco, scm-spo, scm-eqc1, scm-eqp1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TypeVar

from pyoxigraph import NamedNode, Quad

from ontology.vocab import Owl, Rdf, Rdfs

CLASS_AXIOMS = frozenset({Rdfs.subClassOf, Owl.equivalentClass})
PROPERTY_AXIOMS = frozenset({Rdfs.subPropertyOf, Owl.equivalentProperty, Owl.inverseOf})
RELATIONS = (*sorted(CLASS_AXIOMS), *sorted(PROPERTY_AXIOMS))
"""The predicates whose triples are axioms."""

STRUCTURAL = frozenset({Rdf.type, *RELATIONS})
MOST_REMEMBERED = 20_000
"""Classes or properties whose reach is kept; with more of them it is found again."""

Axiom = tuple[str, str, str]
"""Subject, predicate and object of an axiom, as IRIs."""

Step = tuple[str, bool]
"""A property, and whether subject and object have changed places on the way to it."""

_Links = dict[str, AbstractSet[str]]
_Node = TypeVar("_Node")


def axiom_of(quad: Quad) -> Axiom | None:
    """The axiom a quad states, or ``None``."""
    predicate = quad.predicate.value
    if predicate not in STRUCTURAL:
        return None
    subject, value = quad.subject, quad.object
    if not isinstance(subject, NamedNode) or not isinstance(value, NamedNode):
        return None
    ends = (subject.value, value.value)
    if predicate == Rdf.type:
        if ends[1] != Owl.SymmetricProperty or ends[0] in STRUCTURAL:
            return None
    elif predicate in PROPERTY_AXIOMS and not STRUCTURAL.isdisjoint(ends):
        return None
    return ends[0], predicate, ends[1]


@dataclass(frozen=True, slots=True)
class Reach:
    """What follows from a property: ``steps`` where its value is an IRI, ``plain`` always."""

    steps: frozenset[Step]
    plain: frozenset[str]


@dataclass(frozen=True, slots=True)
class Schema:
    """Axioms, by predicate and then by subject (``_up``) and by object (``_down``)."""

    _up: dict[str, _Links] = field(default_factory=dict)
    _down: dict[str, _Links] = field(default_factory=dict)
    _superclasses: dict[str, frozenset[str]] = field(default_factory=dict)
    _reaches: dict[str, Reach] = field(default_factory=dict)

    def changed(self, removed: Iterable[Axiom], added: Iterable[Axiom]) -> Schema:
        """Another schema, without some axioms and with others."""
        up, down = _Editor(self._up), _Editor(self._down)
        for subject, predicate, value in removed:
            up.drop(predicate, subject, value)
            down.drop(predicate, value, subject)
        for subject, predicate, value in added:
            up.put(predicate, subject, value)
            down.put(predicate, value, subject)
        return Schema(up.links, down.links)

    # --- classes

    def superclasses(self, class_: str) -> frozenset[str]:
        """Every other class that the members of this one belong to."""
        found = self._superclasses.get(class_)
        if found is None:
            found = frozenset(_reachable(class_, self.classes_above))
            _remember(self._superclasses, class_, found)
        return found

    def classes(self) -> set[str]:
        """The classes that have others above them."""
        return self._with_others_above(Rdfs.subClassOf, Owl.equivalentClass)

    def classes_below(self, classes: Iterable[str]) -> set[str]:
        """These classes and all below them."""
        return _all_reachable(classes, self._classes_below)

    def classes_above(self, class_: str) -> Iterator[str]:
        """The classes one axiom above this one."""
        yield from self._over(Rdfs.subClassOf, class_)
        yield from self._beside(Owl.equivalentClass, class_)

    def _classes_below(self, class_: str) -> Iterator[str]:
        yield from self._under(Rdfs.subClassOf, class_)
        yield from self._beside(Owl.equivalentClass, class_)

    # --- properties

    def reach(self, property_: str) -> Reach:
        """What a triple with this property leads to."""
        found = self._reaches.get(property_)
        if found is None:
            steps = frozenset(_reachable((property_, False), self.steps_from))
            plain = frozenset(_reachable(property_, self._properties_above))
            found = Reach(steps, plain)
            _remember(self._reaches, property_, found)
        return found

    def properties(self) -> set[str]:
        """The properties that have others above them."""
        return self._with_others_above(Rdfs.subPropertyOf, Owl.equivalentProperty)

    def properties_below(self, properties: Iterable[str]) -> set[str]:
        """These properties and all whose triples lead to triples with them."""
        return _all_reachable(properties, self._properties_leading_to)

    def is_implied(self, property_: str) -> bool:
        """Whether any axiom leads to triples with this property."""
        return next(self._properties_leading_to(property_), None) is not None

    def steps_from(self, step: Step) -> Iterator[Step]:
        """The steps one axiom further."""
        property_, turned = step
        for above in self._properties_above(property_):
            yield above, turned
        for inverse in self._beside(Owl.inverseOf, property_):
            yield inverse, not turned
        if self.is_symmetric(property_):
            yield property_, not turned

    def is_symmetric(self, property_: str) -> bool:
        return bool(self._over(Rdf.type, property_))

    def _properties_above(self, property_: str) -> Iterator[str]:
        yield from self._over(Rdfs.subPropertyOf, property_)
        yield from self._beside(Owl.equivalentProperty, property_)

    def _properties_leading_to(self, property_: str) -> Iterator[str]:
        yield from self._under(Rdfs.subPropertyOf, property_)
        yield from self._beside(Owl.equivalentProperty, property_)
        yield from self._beside(Owl.inverseOf, property_)
        if self.is_symmetric(property_):
            yield property_

    # --- links

    def _with_others_above(self, below: str, beside: str) -> set[str]:
        up, down = self._up, self._down
        found = up.get(below, _NO_LINKS).keys() | up.get(beside, _NO_LINKS).keys()
        return found | down.get(beside, _NO_LINKS).keys()

    def _over(self, predicate: str, term: str) -> AbstractSet[str]:
        return self._up.get(predicate, _NO_LINKS).get(term, _NONE)

    def _under(self, predicate: str, term: str) -> AbstractSet[str]:
        return self._down.get(predicate, _NO_LINKS).get(term, _NONE)

    def _beside(self, predicate: str, term: str) -> AbstractSet[str]:
        return self._over(predicate, term) | self._under(predicate, term)


_NONE: AbstractSet[str] = frozenset()
_NO_LINKS: _Links = {}


class _Editor:
    """Links in the making: what is not touched is shared with what it was made from."""

    def __init__(self, links: dict[str, _Links]) -> None:
        self.links = dict(links)
        self._own: dict[str, dict[str, set[str]]] = {}

    def put(self, predicate: str, start: str, end: str) -> None:
        self._ends(predicate, start).add(end)

    def drop(self, predicate: str, start: str, end: str) -> None:
        self._ends(predicate, start).discard(end)

    def _ends(self, predicate: str, start: str) -> set[str]:
        own = self._own.get(predicate)
        if own is None:
            own = self._own[predicate] = {}
            self.links[predicate] = dict(self.links.get(predicate, _NO_LINKS))
        ends = own.get(start)
        if ends is None:
            links = self.links[predicate]
            ends = own[start] = set(links.get(start, _NONE))
            links[start] = ends
        return ends


def _reachable(start: _Node, following: Callable[[_Node], Iterable[_Node]]) -> set[_Node]:
    """Everything that can be reached from here but the start itself."""
    found = _all_reachable((start,), following)
    found.discard(start)
    return found


def _all_reachable(
    starts: Iterable[_Node], following: Callable[[_Node], Iterable[_Node]]
) -> set[_Node]:
    found = set(starts)
    waiting = list(found)
    while waiting:
        for node in following(waiting.pop()):
            if node not in found:
                found.add(node)
                waiting.append(node)
    return found


_Kept = TypeVar("_Kept")


def _remember(memory: dict[str, _Kept], key: str, value: _Kept) -> None:
    if len(memory) >= MOST_REMEMBERED:
        memory.clear()
    memory[key] = value
