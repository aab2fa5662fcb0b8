"""What follows from the graph, kept in ``graph/inferred`` as the graph changes.

Invariant: ``graph/inferred`` holds exactly what the asserted, unrestricted quads of the store
entail and none of them states: so asserted and inferred triples are disjoint, and what follows from
a restricted graph is nowhere. It is a function of these quads alone, whatever road led to them.
Graphs that the system writes are no premises. ``docs/decisions/entailment.md`` has the rules.

The cost of a change follows the change: the axioms are kept in memory, and each changed triple is
followed from its own nodes. Only a change of the axioms reaches further, to what they are about.
Specification: https://www.w3.org/TR/owl2-profiles/#OWL_2_RL
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from pyoxigraph import NamedNode, Quad

from ontology.entailment_change import Inference
from ontology.entailment_schema import RELATIONS, Schema, axiom_of
from ontology.store import GraphStore
from ontology.terms import Delta
from ontology.vocab import Owl, Rdf

VERSION = "1"
"""Of the rules. A store that was filled under other ones is brought up to date at the start."""

CHANGING = "changing"
"""The version while more is written than one update takes: cut off, it is brought up to date."""

BATCH = 5_000
"""Quads that one update writes while a store is brought up to date."""


@dataclass(frozen=True, slots=True)
class Consequence:
    """How an entry changes ``graph/inferred``, and the axioms as it leaves them.

    ``spilled`` tells that part of the change is written already."""

    delta: Delta
    schema: Schema
    restricted: frozenset[str]
    spilled: bool = False


class Entailment:
    """Entailment over one store. Only the thread that writes may use it."""

    def __init__(self, store: GraphStore) -> None:
        self._store = store
        self._schema: Schema | None = None
        self._restricted: frozenset[str] = frozenset()

    def consequence(
        self, delta: Delta, before: Collection[str], after: Collection[str]
    ) -> Consequence:
        """What a change of asserted quads, about to be written, does to ``graph/inferred``.

        ``before`` and ``after`` name the restricted graphs. Call :meth:`settle` once it is written.
        Where the change is large, as that of an axiom about many things can be, most of it is
        written by this, in batches under a mark. Raises :class:`ontology.errors.StoreError`.
        """
        was_hidden, is_hidden = frozenset(before), frozenset(after)
        old = self._schema_of(was_hidden)
        spilled = False

        def spill(change: Delta) -> None:
            nonlocal spilled
            self._store.write_inferred(change, is_hidden, CHANGING)
            spilled = True

        inference = Inference(self._store, old, delta, was_hidden, is_hidden, spill)
        return Consequence(inference.run(), inference.schema, is_hidden, spilled)

    def settle(self, consequence: Consequence) -> None:
        """Notes that the store has taken a change.

        Raises :class:`ontology.errors.StoreError`."""
        if consequence.spilled:
            self._store.write_inferred(Delta(), consequence.restricted, VERSION)
        self._schema, self._restricted = consequence.schema, consequence.restricted

    def forget(self) -> None:
        """Has the axioms read from the store again, as it may have changed unseen."""
        self._schema = None

    def bring_up_to_date(self, restricted: Collection[str]) -> bool:
        """Writes what the present rules infer, where the store was filled under other ones.

        In batches, the mark of the version last: cut off, it begins again. True when it was needed.
        Raises :class:`ontology.errors.StoreError`.
        """
        if self._store.entailment_version() == VERSION:
            return False
        hidden = frozenset(restricted)
        self.forget()
        for batch in _batches(self._missing(hidden)):
            self._store.write_inferred(Delta(additions=batch), hidden)
        for batch in _batches(self._stray(hidden)):
            self._store.write_inferred(Delta(removals=batch), hidden)
        self._store.write_inferred(Delta(), hidden, VERSION)
        return True

    def check(self, restricted: Collection[str]) -> Iterator[tuple[Quad, bool]]:
        """What is wrong in ``graph/inferred``: quads, and whether they are missing (else stray).

        What is missing may be named more than once. Reads everything, in bounded memory.
        """
        hidden = frozenset(restricted)
        self.forget()
        yield from ((quad, True) for quad in self._missing(hidden))
        yield from ((quad, False) for quad in self._stray(hidden))

    def _missing(self, hidden: frozenset[str]) -> Iterator[Quad]:
        inference = self._idle(hidden)
        for quad in chain(
            inference.hierarchies(),
            chain.from_iterable(map(inference.conclusions, self._store.unrestricted(hidden))),
        ):
            if not inference.is_stated(quad) and quad not in self._store:
                yield quad

    def _stray(self, hidden: frozenset[str]) -> Iterator[Quad]:
        inference = self._idle(hidden)
        for quad in self._store.match(graph=self._store.inferred):
            if inference.is_stated(quad) or not inference.follows(quad):
                yield quad

    def _idle(self, hidden: frozenset[str]) -> Inference:
        return Inference(self._store, self._schema_of(hidden), Delta(), hidden, hidden)

    def _schema_of(self, hidden: frozenset[str]) -> Schema:
        if self._schema is None or self._restricted != hidden:
            self._schema, self._restricted = read_schema(self._store, hidden), hidden
        return self._schema


def read_schema(store: GraphStore, restricted: frozenset[str]) -> Schema:
    """The axioms that the unrestricted graphs of a store state."""
    stated = chain.from_iterable(
        store.unrestricted(restricted, None, NamedNode(relation), None) for relation in RELATIONS
    )
    symmetric = NamedNode(Owl.SymmetricProperty)
    typed = store.unrestricted(restricted, None, NamedNode(Rdf.type), symmetric)
    axioms = (axiom_of(quad) for quad in chain(stated, typed))
    return Schema().changed((), (axiom for axiom in axioms if axiom is not None))


def _batches(quads: Iterable[Quad]) -> Iterator[frozenset[Quad]]:
    left = iter(quads)
    while batch := frozenset(islice(left, BATCH)):
        yield batch
