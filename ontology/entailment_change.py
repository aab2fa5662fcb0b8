"""What one change of the graph does to what is inferred.

Invariant: the result is the difference between what the store entails before and after the
change, found without writing. A triple that a changed one leads to is inferred afterwards exactly
when something that remains leads to it and nothing states it, so no order of rules matters, and no
triple is taken back and given again.

Classes and properties without a name (former blank nodes) are followed and never concluded: nobody
asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cached_property, lru_cache
from itertools import chain
from typing import TypeVar

from pyoxigraph import DefaultGraph, Literal, NamedNode, Quad

from ontology.entailment_schema import (
    CLASS_AXIOMS,
    PROPERTY_AXIOMS,
    STRUCTURAL,
    Axiom,
    Schema,
    Step,
    axiom_of,
)
from ontology.store import GraphStore, Term
from ontology.terms import Delta, skolem_prefix
from ontology.vocab import Owl, Rdf, Rdfs

_TYPE = NamedNode(Rdf.type)
_SUBCLASS = NamedNode(Rdfs.subClassOf)
_SUBPROPERTY = NamedNode(Rdfs.subPropertyOf)
_HIERARCHIES = frozenset({Rdf.type, Rdfs.subClassOf, Rdfs.subPropertyOf})
_BOTH_WAYS = frozenset({Owl.equivalentClass, Owl.equivalentProperty, Owl.inverseOf})
_MERGE = DefaultGraph()

MOST_REMEMBERED = 20_000
"""Answers of the store that are kept while one change is followed."""

MOST_HELD = 20_000
"""Inferred quads that one update adds or removes, so that its memory is bounded."""

_Stated = Callable[[Quad], bool]
_Below = Callable[[Schema, set[str]], set[str]]

# The same few classes and properties are concluded again and again.
_named = lru_cache(maxsize=4096)(NamedNode)


class Inference:
    """One change of a store that is about to be written, under the axioms of the store.

    ``delta`` is the change of asserted quads; ``was_hidden`` and ``is_hidden`` name the restricted
    graphs before and after it. ``schema`` are the axioms before it, the attribute those after it.
    ``spill`` is handed what was found whenever that is :data:`MOST_HELD` quads, and writes it at
    once: nothing that is still to be found depends on it.
    """

    def __init__(
        self,
        store: GraphStore,
        schema: Schema,
        delta: Delta,
        was_hidden: frozenset[str],
        is_hidden: frozenset[str],
        spill: Callable[[Delta], None] | None = None,
    ) -> None:
        self._store = store
        self._spill = spill
        self._graph = store.inferred
        self._anonymous = skolem_prefix(store.ids.base)
        # What changes of the quads that count; and what is gone, whether it counted or not.
        self._shown = shown = store.shown(delta, was_hidden, is_hidden)
        self._gone = shown.removals | delta.removals
        self._is_hidden = is_hidden
        self._ever_hidden = was_hidden | is_hidden
        self._additions: set[Quad] = set()
        self._removals: set[Quad] = set()
        self._stated_now: set[Quad] = set()
        # A removal asks the same of its own nodes several times over.
        self._classes_of: dict[NamedNode, frozenset[str]] = {}
        self._properties_of: dict[tuple[NamedNode, Term], frozenset[str]] = {}
        self._followable: dict[str, bool] = {}
        self._before = schema
        lost = self._changed_axioms(shown.removals, self._remaining)
        gained = self._changed_axioms(shown.additions, self._present(was_hidden))
        self._axioms = lost | gained
        self.schema = schema.changed(lost, gained) if self._axioms else schema

    def run(self) -> Delta:
        """The change of ``graph/inferred``, as far as it was not spilled."""
        shown, schema = self._shown, self.schema
        self._stated_now.update(
            self._inferred(quad) for quad in shown.additions if self._may_follow(quad)
        )
        for quad in self._stated_now:
            if quad in self._store:
                self._removals.add(quad)
        for quad in shown.additions:
            for conclusion in self._conclusions(schema, quad):
                self._arise(conclusion)
        for quad in shown.removals:
            conclusions = list(self._conclusions(self._before, quad))
            may_follow = self._may_follow(quad)
            if not conclusions and not may_follow:
                continue
            remains = self._remaining(quad)
            if not remains or schema is not self._before:
                for conclusion in conclusions:
                    self._vanish(conclusion)
            if may_follow and not remains and self.follows(quad) and self._has_name(quad):
                self._additions.add(self._inferred(quad))
        if schema is not self._before:
            self._follow_axioms()
        return self._taken()

    def _taken(self) -> Delta:
        """What was found since the last call."""
        found = Delta(frozenset(self._additions), frozenset(self._removals))
        self._additions.clear()
        self._removals.clear()
        return found

    def _hold(self, quads: set[Quad], quad: Quad) -> None:
        quads.add(quad)
        if self._spill is not None and len(self._additions) + len(self._removals) >= MOST_HELD:
            self._spill(self._taken())

    # --- what follows from what

    def conclusions(self, quad: Quad) -> Iterator[Quad]:
        """What follows from one triple that is no axiom, stated or not."""
        return self._conclusions(self.schema, quad)

    def hierarchies(self) -> Iterator[Quad]:
        """What follows from the axioms for the hierarchies of classes and properties."""
        for class_ in self.schema.classes():
            yield from self._below(class_, _SUBCLASS, self.schema.superclasses(class_))
        for property_ in self.schema.properties():
            yield from self._below(property_, _SUBPROPERTY, self.schema.reach(property_).plain)

    def follows(self, quad: Quad) -> bool:
        """Whether a triple follows from others after the change."""
        subject, value = _ends(quad)
        property_ = quad.predicate.value
        if isinstance(value, NamedNode):
            if property_ == Rdf.type:
                return any(
                    value.value in self.schema.superclasses(class_)
                    for class_ in self._classes(subject)
                )
            if property_ == Rdfs.subClassOf:
                return value.value in self.schema.superclasses(subject.value)
            if property_ == Rdfs.subPropertyOf:
                return value.value in self.schema.reach(subject.value).plain
        if not self.schema.is_implied(property_):
            return False
        if isinstance(value, Literal):
            return any(
                property_ in self.schema.reach(other).plain
                for other in self._between(subject, value)
            )
        return self._leads(subject, value, (property_, False)) or self._leads(
            value, subject, (property_, True)
        )

    def _leads(self, subject: NamedNode, value: NamedNode, step: Step) -> bool:
        return any(
            step in self.schema.reach(other).steps for other in self._between(subject, value)
        )

    def is_stated(self, quad: Quad) -> bool:
        """Whether a graph that counts states this triple, in the store as it is."""
        subject, value = _ends(quad)
        found = self._store.unrestricted(self._is_hidden, subject, quad.predicate, value)
        return next(found, None) is not None

    def _conclusions(self, schema: Schema, quad: Quad) -> Iterator[Quad]:
        subject, value = _ends(quad)
        property_ = quad.predicate.value
        if property_ not in STRUCTURAL:
            reach = schema.reach(property_)
            yield from self._related(subject, value, reach.steps, reach.plain)
        elif property_ == Rdf.type and isinstance(value, NamedNode):
            yield from self._typed(subject, schema.superclasses(value.value))

    def _typed(self, subject: NamedNode, classes: Collection[str]) -> Iterator[Quad]:
        for class_ in classes:
            if not class_.startswith(self._anonymous):
                yield Quad(subject, _TYPE, _named(class_), self._graph)

    def _related(
        self, subject: NamedNode, value: Term, steps: Collection[Step], plain: Collection[str]
    ) -> Iterator[Quad]:
        if isinstance(value, Literal):
            for property_ in plain:
                if not property_.startswith(self._anonymous):
                    yield Quad(subject, _named(property_), value, self._graph)
            return
        for property_, turned in steps:
            if property_.startswith(self._anonymous):
                continue
            if turned:
                yield Quad(value, _named(property_), subject, self._graph)
            else:
                yield Quad(subject, _named(property_), value, self._graph)

    def _below(self, term: str, relation: NamedNode, above: Collection[str]) -> Iterator[Quad]:
        if above and not term.startswith(self._anonymous):
            for other in above:
                if not other.startswith(self._anonymous):
                    yield Quad(_named(term), relation, _named(other), self._graph)

    # --- candidates

    def _arise(self, quad: Quad) -> None:
        """Takes in what follows after the change, unless it is stated or there already."""
        if quad in self._stated_now:
            return
        subject, value = _ends(quad)
        if Quad(subject, quad.predicate, value, _MERGE) in self._store and (
            quad in self._store or self._remaining(quad)
        ):
            return
        self._hold(self._additions, quad)

    def _vanish(self, quad: Quad) -> None:
        """Takes out what followed before the change, unless something else leads to it."""
        if quad not in self._removals and quad in self._store and not self.follows(quad):
            self._hold(self._removals, quad)

    def _may_follow(self, quad: Quad) -> bool:
        """Whether any axiom, before the change or after it, leads to triples like this one."""
        property_ = quad.predicate.value
        found = self._followable.get(property_)
        if found is None:
            found = self._followable[property_] = property_ in _HIERARCHIES or (
                self.schema.is_implied(property_) or self._before.is_implied(property_)
            )
        return found

    def _has_name(self, quad: Quad) -> bool:
        """Whether a triple may be concluded: it is about no class or property without a name."""
        subject, value = _ends(quad)
        property_ = quad.predicate.value
        about = [property_]
        if property_ in _HIERARCHIES and isinstance(value, NamedNode):
            about.append(value.value)
        if property_ in (Rdfs.subClassOf, Rdfs.subPropertyOf):
            about.append(subject.value)
        return not any(term.startswith(self._anonymous) for term in about)

    # --- a change of the axioms

    def _follow_axioms(self) -> None:
        """Takes in what changed axioms do to triples that did not change themselves."""
        for class_ in self._affected(CLASS_AXIOMS, Schema.classes_below):
            was, is_ = self._before.superclasses(class_), self.schema.superclasses(class_)
            if was == is_:
                continue
            lost, gained = was - is_, is_ - was
            self._take(self._below(class_, _SUBCLASS, lost), True)
            self._take(self._below(class_, _SUBCLASS, gained), False)
            for quad in self._unchanged(_TYPE, _named(class_)):
                subject, _ = _ends(quad)
                self._take(self._typed(subject, lost), True)
                self._take(self._typed(subject, gained), False)
        for property_ in self._affected(PROPERTY_AXIOMS | {Rdf.type}, Schema.properties_below):
            before, after = self._before.reach(property_), self.schema.reach(property_)
            if before == after:
                continue
            steps_lost, steps_gained = before.steps - after.steps, after.steps - before.steps
            plain_lost, plain_gained = before.plain - after.plain, after.plain - before.plain
            self._take(self._below(property_, _SUBPROPERTY, plain_lost), True)
            self._take(self._below(property_, _SUBPROPERTY, plain_gained), False)
            for quad in self._unchanged(_named(property_), None):
                subject, value = _ends(quad)
                self._take(self._related(subject, value, steps_lost, plain_lost), True)
                self._take(self._related(subject, value, steps_gained, plain_gained), False)

    def _take(self, quads: Iterator[Quad], lost: bool) -> None:
        for quad in quads:
            if lost:
                self._vanish(quad)
            else:
                self._arise(quad)

    def _affected(self, relations: Collection[str], below: _Below) -> set[str]:
        starts = set()
        for subject, relation, value in self._axioms:
            if relation in relations:
                starts.add(subject)
                if relation in _BOTH_WAYS:
                    starts.add(value)
        return below(self._before, starts) | below(self.schema, starts)

    def _changed_axioms(
        self, quads: Collection[Quad], otherwise_stated: _Stated
    ) -> frozenset[Axiom]:
        found = ((axiom_of(quad), quad) for quad in quads)
        return frozenset(
            axiom for axiom, quad in found if axiom is not None and not otherwise_stated(quad)
        )

    # --- the asserted quads that count

    @cached_property
    def _added_between(self) -> dict[tuple[object, object], list[str]]:
        """The properties that the change adds between two terms: a hub may get many at once."""
        found: dict[tuple[object, object], list[str]] = {}
        for quad in self._shown.additions:
            found.setdefault((quad.subject, quad.object), []).append(quad.predicate.value)
        return found

    @cached_property
    def _added_classes(self) -> dict[object, list[str]]:
        """The classes that the change adds to a thing."""
        found: dict[object, list[str]] = {}
        for quad in self._shown.additions:
            if quad.predicate == _TYPE and isinstance(quad.object, NamedNode):
                found.setdefault(quad.subject, []).append(quad.object.value)
        return found

    def _kept(
        self, subject: NamedNode, predicate: NamedNode | None, value: Term | None
    ) -> Iterator[Quad]:
        """Matching quads that the change leaves there."""
        for quad in self._store.unrestricted(self._is_hidden, subject, predicate, value):
            if quad not in self._gone:
                yield quad

    def _remaining(self, quad: Quad) -> bool:
        """Whether a triple is stated after the change."""
        subject, value = _ends(quad)
        if quad.predicate == _TYPE and isinstance(value, NamedNode):
            return value.value in self._classes(subject)
        return quad.predicate.value in self._between(subject, value)

    def _classes(self, subject: NamedNode) -> frozenset[str]:
        """The classes that a thing is stated to be of after the change."""
        found = self._classes_of.get(subject)
        if found is None:
            quads = self._kept(subject, _TYPE, None)
            kept = (quad.object.value for quad in quads if isinstance(quad.object, NamedNode))
            found = frozenset(chain(kept, self._added_classes.get(subject, ())))
            _remember(self._classes_of, subject, found)
        return found

    def _between(self, subject: NamedNode, value: Term) -> frozenset[str]:
        """The properties that two terms are stated to have between them after the change."""
        found = self._properties_of.get((subject, value))
        if found is None:
            kept = (quad.predicate.value for quad in self._kept(subject, None, value))
            found = frozenset(chain(kept, self._added_between.get((subject, value), ())))
            _remember(self._properties_of, (subject, value), found)
        return found

    def _present(self, hidden: frozenset[str]) -> _Stated:
        def is_present(quad: Quad) -> bool:
            subject, value = _ends(quad)
            found = self._store.unrestricted(hidden, subject, quad.predicate, value)
            return next(found, None) is not None

        return is_present

    def _unchanged(self, predicate: NamedNode, value: NamedNode | None) -> Iterator[Quad]:
        """Matching quads that count before the change and after it."""
        for quad in self._store.unrestricted(self._ever_hidden, None, predicate, value):
            if quad not in self._gone:
                yield quad

    def _inferred(self, quad: Quad) -> Quad:
        return Quad(quad.subject, quad.predicate, quad.object, self._graph)


_Key = TypeVar("_Key")


def _remember(memory: dict[_Key, frozenset[str]], key: _Key, value: frozenset[str]) -> None:
    if len(memory) >= MOST_REMEMBERED:
        memory.clear()
    memory[key] = value


def _ends(quad: Quad) -> tuple[NamedNode, Term]:
    """Subject and object of a canonical quad; such quads have no blank nodes and no triples."""
    subject, value = quad.subject, quad.object
    assert isinstance(subject, NamedNode)
    assert isinstance(value, NamedNode | Literal)
    return subject, value
