"""Validates the state a change would lead to, before anything is written.

Invariant: a violation that the post-state has and the pre-state had not is never missed, and
nothing is reported that the post-state has not. The cost follows the change: only constraints are
asked that the change can turn, only at the nodes where it can. Shapes see asserted triples and the
class hierarchy, nothing inferred.

Where the shapes themselves change, those that are new or mean something else are asked of all their
focus nodes; the others are asked what the change can turn, as ever. When a change reaches more
nodes than that is worth, the whole graph is validated.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from pyoxigraph import NamedNode, Quad

from ontology.store import GraphStore
from ontology.terms import Delta, graph_of
from shapes.affected import Affected, TooMany
from shapes.compile import Program, compile_shapes, part_of
from shapes.errors import MalformedShapes
from shapes.evaluate import SUBCLASS, Run
from shapes.incremental import tally_affected
from shapes.meaning import changed
from shapes.overlay import Overlay
from shapes.reads import Reads
from shapes.report import Report
from shapes.sparql_constraints import Limits, Queries
from shapes.view import Node
from shapes.whole import Tally, Tell
from shapes.whole_store import tally_store

MOST = 200_000
"""Things to ask beyond which the whole graph is validated instead."""


@dataclass(frozen=True)
class Validation:
    """A report, and what it rests on: :meth:`Reads.meet` says whether another change turns it."""

    report: Report
    reads: Reads


@dataclass(frozen=True)
class _Version:
    """One version of the shapes and the class hierarchy; the latter is read as it is needed."""

    program: Program
    superclasses: dict[Node, tuple[Node, ...]]


class Validator:
    """Validates changes of one store; keeps the shapes of the last graph it saw compiled."""

    def __init__(
        self, store: GraphStore, scratch: Path | None = None, limits: Limits | None = None
    ) -> None:
        """``scratch`` is a folder on the store's disk, for checkpoints of it (see
        :func:`shapes.whole_store.tally_store`); ``limits`` are those of the shapes' queries."""
        self._store = store
        self._scratch = scratch
        self._limits = limits
        self._graph = store.ids.graph("shapes")
        self._reading = threading.Lock()
        self._held: _Version | None = None
        self._number = 0

    def validate(self, delta: Delta) -> Report:
        """The report on the state after ``delta``, whose quads are canonical and effective.

        Raises :class:`shapes.errors.MalformedShapes` when the delta's own shapes are unusable.
        """
        return self.examine(delta).report

    def examine(self, delta: Delta, tell: Tell | None = None) -> Validation:
        """As :meth:`validate`, with what was read; ``tell`` hears how far a validation of the whole
        graph is. Raises :class:`shapes.errors.ValidationFailed` too."""
        if any(graph_of(quad) == self._graph for quad in (*delta.additions, *delta.removals)):
            return self._with_other_shapes(delta, tell)
        version = self._current()
        followed = self._followed(version, version.program, delta)
        if followed is None:
            return self._everything(version.program, self._shapes(), delta, tell)
        found, reads = followed
        return Validation(found.report(), reads)

    def _with_other_shapes(self, delta: Delta, tell: Tell | None) -> Validation:
        shapes = list(Overlay(self._store, delta).of_graph(self._graph))
        program = compile_shapes(shapes, strict=True)
        try:
            version = self._current()
        except MalformedShapes:
            # Nothing can be said of what held before shapes that are mended now.
            return self._everything(program, shapes, delta, tell)
        other = set(changed(version.program, program))
        same = [shape for shape in program.targeted if shape not in other]
        followed = self._followed(version, part_of(program, same), delta)
        if followed is None:
            return self._everything(program, shapes, delta, tell)
        found, reads = followed
        if not other:
            return Validation(found.report(), reads)
        found.add(self._whole(part_of(program, other), shapes, delta, tell))
        return Validation(found.report(), Reads(everything=True))

    def _followed(
        self, version: _Version, program: Program, delta: Delta
    ) -> tuple[Tally, Reads] | None:
        """What these shapes find that the change can turn; ``None`` where that is too much."""
        overlay = Overlay(self._store, delta)
        # A change of the hierarchy is seen by this run alone.
        shared = None if _changes_hierarchy(delta) else version.superclasses
        with Queries(overlay, self._scratch, self._limits) as queries:
            run = Run(overlay, shared, overlay.reads.objects.setdefault(SUBCLASS, set()), queries)
            affected = Affected(program, run, overlay, MOST)
            try:
                affected.read()
            except TooMany:
                return None
            return tally_affected(affected, run, overlay), overlay.reads

    def examine_all(self, tell: Tell | None = None) -> Validation:
        """Validates the graph as it stands."""
        return self._everything(self._current().program, self._shapes(), Delta(), tell)

    def _everything(
        self, program: Program, shapes: list[Quad], delta: Delta, tell: Tell | None
    ) -> Validation:
        found = self._whole(program, shapes, delta, tell)
        return Validation(found.report(), Reads(everything=True))

    def _whole(
        self, program: Program, shapes: list[Quad], delta: Delta, tell: Tell | None
    ) -> Tally:
        return tally_store(program, shapes, self._store, delta, self._scratch, tell, self._limits)

    def _shapes(self) -> list[Quad]:
        return list(self._store.match(graph=NamedNode(self._graph)))

    def settled(self, delta: Delta) -> None:
        """Notes that the store has taken this change; call it once it has."""
        graphs = delta.graphs()
        if self._graph in graphs or _changes_hierarchy(delta):
            self.forget()

    def forget(self) -> None:
        """Drops the compiled shapes; call it once the store has other ones."""
        with self._reading:
            self._number += 1
            self._held = None

    def _current(self) -> _Version:
        with self._reading:
            held, number = self._held, self._number
        if held is None:
            held = _Version(_read_shapes(self._shapes()), {})
            with self._reading:
                # Shapes that were forgotten while they were read are good for this once alone.
                if number == self._number:
                    self._held = held
        return held


def _read_shapes(quads: list[Quad]) -> Program:
    return compile_shapes(quads)


def _changes_hierarchy(delta: Delta) -> bool:
    return any(quad.predicate == SUBCLASS for quad in (*delta.additions, *delta.removals))
