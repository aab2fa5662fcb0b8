"""The asserted quads that count, as one change leaves them.

Invariant: a view, never a write: the unrestricted asserted quads of the store, minus removals, plus
additions, with graphs that turn restricted or no longer are. Each question costs a lookup of its
own nodes at most, and the change itself is gone through once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from typing import TypeVar

from pyoxigraph import NamedNode, Quad

from ontology.entailment_rules import TYPE, ends
from ontology.store import GraphStore, Term
from ontology.terms import Delta

MOST_REMEMBERED = 20_000
"""Answers of the store that are kept while one change is followed."""


class PostState:
    """A store under a change. ``shown`` is the change of what counts."""

    def __init__(
        self,
        store: GraphStore,
        delta: Delta,
        was_hidden: frozenset[str],
        is_hidden: frozenset[str],
    ) -> None:
        self._store = store
        self.shown = store.shown(delta, was_hidden, is_hidden)
        # What is gone, whether it counted or not.
        self._gone = self.shown.removals | delta.removals
        self._was_hidden = was_hidden
        self._is_hidden = is_hidden
        # A removal asks the same of its own nodes several times over.
        self._classes_of: dict[NamedNode, frozenset[str]] = {}
        self._properties_of: dict[tuple[NamedNode, Term], frozenset[str]] = {}

    @cached_property
    def _added_between(self) -> dict[tuple[object, object], list[str]]:
        """The properties that the change adds between two terms: a hub may get many at once."""
        found: dict[tuple[object, object], list[str]] = {}
        for quad in self.shown.additions:
            found.setdefault((quad.subject, quad.object), []).append(quad.predicate.value)
        return found

    @cached_property
    def _added_classes(self) -> dict[object, list[str]]:
        """The classes that the change adds to a thing."""
        found: dict[object, list[str]] = {}
        for quad in self.shown.additions:
            if quad.predicate == TYPE and isinstance(quad.object, NamedNode):
                found.setdefault(quad.subject, []).append(quad.object.value)
        return found

    def _kept(
        self, subject: NamedNode, predicate: NamedNode | None, value: Term | None
    ) -> Iterator[Quad]:
        """Matching quads that the change leaves there."""
        for quad in self._store.unrestricted(self._is_hidden, subject, predicate, value):
            if quad not in self._gone:
                yield quad

    def remains(self, quad: Quad) -> bool:
        """Whether a triple is stated after the change."""
        subject, value = ends(quad)
        if quad.predicate == TYPE and isinstance(value, NamedNode):
            return value.value in self.classes(subject)
        return quad.predicate.value in self.between(subject, value)

    def classes(self, subject: NamedNode) -> frozenset[str]:
        """The classes that a thing is stated to be of after the change."""
        found = self._classes_of.get(subject)
        if found is None:
            quads = self._kept(subject, TYPE, None)
            kept = (quad.object.value for quad in quads if isinstance(quad.object, NamedNode))
            found = frozenset(chain(kept, self._added_classes.get(subject, ())))
            _remember(self._classes_of, subject, found)
        return found

    def between(self, subject: NamedNode, value: Term) -> frozenset[str]:
        """The properties that two terms are stated to have between them after the change."""
        found = self._properties_of.get((subject, value))
        if found is None:
            kept = (quad.predicate.value for quad in self._kept(subject, None, value))
            found = frozenset(chain(kept, self._added_between.get((subject, value), ())))
            _remember(self._properties_of, (subject, value), found)
        return found

    def was_stated(self, quad: Quad) -> bool:
        """Whether a triple was stated before the change."""
        return self._states(quad, self._was_hidden)

    def is_stored(self, quad: Quad) -> bool:
        """Whether a triple is stated in the store as it is, of the graphs that count afterwards."""
        return self._states(quad, self._is_hidden)

    def _states(self, quad: Quad, hidden: frozenset[str]) -> bool:
        subject, value = ends(quad)
        found = self._store.unrestricted(hidden, subject, quad.predicate, value)
        return next(found, None) is not None

    def unchanged(self, predicate: NamedNode, value: NamedNode | None) -> Iterator[Quad]:
        """Matching quads that count before the change and after it."""
        for quad in self._store.unrestricted(
            self._was_hidden | self._is_hidden, None, predicate, value
        ):
            if quad not in self._gone:
                yield quad


_Key = TypeVar("_Key")


def _remember(memory: dict[_Key, frozenset[str]], key: _Key, value: frozenset[str]) -> None:
    if len(memory) >= MOST_REMEMBERED:
        memory.clear()
    memory[key] = value
