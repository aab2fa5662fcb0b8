"""What one change of the graph does to what is inferred.

Invariant: the result is the difference between what the store entails before and after the
change, found without writing. A triple that a changed one leads to is inferred afterwards exactly
when something that remains leads to it and nothing states it, so no order of rules matters, and no
triple is taken back and given again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from pyoxigraph import DefaultGraph, Literal, NamedNode, Quad

from ontology.entailment_rules import HIERARCHIES, SUBCLASS, SUBPROPERTY, TYPE, Rules, ends, named
from ontology.entailment_schema import (
    CLASS_AXIOMS,
    PROPERTY_AXIOMS,
    Axiom,
    Schema,
    Step,
    axiom_of,
)
from ontology.entailment_state import PostState
from ontology.store import GraphStore
from ontology.terms import Delta
from ontology.vocab import Owl, Rdf, Rdfs

MOST_HELD = 20_000
"""Inferred quads that one update adds or removes, so that its memory is bounded."""

_BOTH_WAYS = frozenset({Owl.equivalentClass, Owl.equivalentProperty, Owl.inverseOf})
_MERGE = DefaultGraph()
_Stated = Callable[[Quad], bool]
_Below = Callable[[Schema, set[str]], set[str]]


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
        self._rules = Rules(store)
        self._state = PostState(store, delta, was_hidden, is_hidden)
        self._additions: set[Quad] = set()
        self._removals: set[Quad] = set()
        self._stated_now: set[Quad] = set()
        self._followable: dict[str, bool] = {}
        self._before = schema
        shown = self._state.shown
        lost = self._changed_axioms(shown.removals, self._state.remains)
        gained = self._changed_axioms(shown.additions, self._state.was_stated)
        self._axioms = lost | gained
        self.schema = schema.changed(lost, gained) if self._axioms else schema

    def run(self) -> Delta:
        """The change of ``graph/inferred``, as far as it was not spilled."""
        shown, schema, rules = self._state.shown, self.schema, self._rules
        self._stated_now.update(
            rules.inferred(quad) for quad in shown.additions if self._may_follow(quad)
        )
        for quad in self._stated_now:
            if quad in self._store:
                self._removals.add(quad)
        for quad in shown.additions:
            for conclusion in rules.conclusions(schema, quad):
                self._arise(conclusion)
        for quad in shown.removals:
            conclusions = list(rules.conclusions(self._before, quad))
            may_follow = self._may_follow(quad)
            if not conclusions and not may_follow:
                continue
            remains = self._state.remains(quad)
            if not remains or schema is not self._before:
                for conclusion in conclusions:
                    self._vanish(conclusion)
            if may_follow and not remains and self.follows(quad) and rules.has_name(quad):
                self._additions.add(rules.inferred(quad))
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
        return self._rules.conclusions(self.schema, quad)

    def hierarchies(self) -> Iterator[Quad]:
        """What follows from the axioms for the hierarchies of classes and properties."""
        for class_ in self.schema.classes():
            yield from self._rules.below(class_, SUBCLASS, self.schema.superclasses(class_))
        for property_ in self.schema.properties():
            yield from self._rules.below(property_, SUBPROPERTY, self.schema.reach(property_).plain)

    def follows(self, quad: Quad) -> bool:
        """Whether a triple follows from others after the change."""
        subject, value = ends(quad)
        property_ = quad.predicate.value
        if isinstance(value, NamedNode):
            if property_ == Rdf.type:
                return any(
                    value.value in self.schema.superclasses(class_)
                    for class_ in self._state.classes(subject)
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
                for other in self._state.between(subject, value)
            )
        return self._leads(subject, value, (property_, False)) or self._leads(
            value, subject, (property_, True)
        )

    def _leads(self, subject: NamedNode, value: NamedNode, step: Step) -> bool:
        return any(
            step in self.schema.reach(other).steps for other in self._state.between(subject, value)
        )

    def is_stated(self, quad: Quad) -> bool:
        """Whether a graph that counts states this triple, in the store as it is."""
        return self._state.is_stored(quad)

    # --- candidates

    def _arise(self, quad: Quad) -> None:
        """Takes in what follows after the change, unless it is stated or there already."""
        if quad in self._stated_now:
            return
        subject, value = ends(quad)
        if Quad(subject, quad.predicate, value, _MERGE) in self._store and (
            quad in self._store or self._state.remains(quad)
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
            found = self._followable[property_] = property_ in HIERARCHIES or (
                self.schema.is_implied(property_) or self._before.is_implied(property_)
            )
        return found

    # --- a change of the axioms

    def _follow_axioms(self) -> None:
        """Takes in what changed axioms do to triples that did not change themselves."""
        for class_ in self._affected(CLASS_AXIOMS, Schema.classes_below):
            was, is_ = self._before.superclasses(class_), self.schema.superclasses(class_)
            if was == is_:
                continue
            lost, gained = was - is_, is_ - was
            self._take(self._rules.below(class_, SUBCLASS, lost), True)
            self._take(self._rules.below(class_, SUBCLASS, gained), False)
            for quad in self._state.unchanged(TYPE, named(class_)):
                subject, _ = ends(quad)
                self._take(self._rules.typed(subject, lost), True)
                self._take(self._rules.typed(subject, gained), False)
        for property_ in self._affected(PROPERTY_AXIOMS | {Rdf.type}, Schema.properties_below):
            before, after = self._before.reach(property_), self.schema.reach(property_)
            if before == after:
                continue
            steps_lost, steps_gained = before.steps - after.steps, after.steps - before.steps
            plain_lost, plain_gained = before.plain - after.plain, after.plain - before.plain
            self._take(self._rules.below(property_, SUBPROPERTY, plain_lost), True)
            self._take(self._rules.below(property_, SUBPROPERTY, plain_gained), False)
            for quad in self._state.unchanged(named(property_), None):
                subject, value = ends(quad)
                self._take(self._rules.related(subject, value, steps_lost, plain_lost), True)
                self._take(self._rules.related(subject, value, steps_gained, plain_gained), False)

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
