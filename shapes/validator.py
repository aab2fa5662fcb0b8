"""Validates the state a change would lead to, before anything is written.

Invariant: a violation that the post-state has and the pre-state had not is never missed, and
nothing is reported that the post-state has not. The cost follows the change: only constraints are
asked that the change can turn, only at the nodes where it can. Shapes see asserted triples and the
class hierarchy, nothing inferred.

When the shapes themselves change, or when a change reaches more nodes than that is worth, the whole
graph is validated.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pyoxigraph import NamedNode

from ontology.store import GraphStore
from ontology.terms import Delta, graph_of
from shapes.affected import Affected, Asked, Cause, TooMany, prepared
from shapes.compile import Program, Unit, compile_shapes, one_step
from shapes.evaluate import SUBCLASS, TYPE, Finding, Run
from shapes.model import Count, InstanceOf, Shape
from shapes.overlay import Overlay, Reads
from shapes.paths import Inverse, Path, Predicate
from shapes.report import Report, Result
from shapes.results import result_of
from shapes.view import Node
from shapes.whole import find_everywhere

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

    def __init__(self, store: GraphStore) -> None:
        self._store = store
        self._graph = store.ids.graph("shapes")
        self._reading = threading.Lock()
        self._held: _Version | None = None
        self._number = 0

    def validate(self, delta: Delta) -> Report:
        """The report on the state after ``delta``, whose quads are canonical and effective.

        Raises :class:`shapes.errors.MalformedShapes` when the delta's own shapes are unusable.
        """
        return self.examine(delta).report

    def examine(self, delta: Delta) -> Validation:
        """As :meth:`validate`, with what was read."""
        overlay = Overlay(self._store, delta)
        if any(graph_of(quad) == self._graph for quad in (*delta.additions, *delta.removals)):
            program = compile_shapes(overlay.of_graph(self._graph), strict=True)
            return _whole(program, overlay)
        version = self._current()
        # A change of the hierarchy is seen by this run alone.
        shared = None if _changes_hierarchy(delta) else version.superclasses
        run = Run(overlay, shared)
        affected = Affected(version.program, run, MOST)
        prepared(overlay, delta)
        try:
            affected.read(delta)
        except TooMany:
            return _whole(version.program, Overlay(self._store, delta))
        results = {
            result_of(finding, cause) for finding, cause in _findings(affected, run, overlay)
        }
        return Validation(Report(tuple(sorted(results, key=Result.order))), overlay.reads)

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
            held = _Version(_read_shapes(self._store, self._graph), {})
            with self._reading:
                # Shapes that were forgotten while they were read are good for this once alone.
                if number == self._number:
                    self._held = held
        return held


def _read_shapes(store: GraphStore, graph: str) -> Program:
    return compile_shapes(store.match(graph=NamedNode(graph)))


def _changes_hierarchy(delta: Delta) -> bool:
    return any(quad.predicate == SUBCLASS for quad in (*delta.additions, *delta.removals))


def _whole(program: Program, overlay: Overlay) -> Validation:
    results = {result_of(finding, None) for finding in find_everywhere(program, overlay)}
    return Validation(Report(tuple(sorted(results, key=Result.order))), Reads(everything=True))


# --- asking what is affected


def _findings(
    affected: Affected, run: Run, overlay: Overlay
) -> Iterator[tuple[Finding, Cause | None]]:
    _prefetch(affected, overlay)
    for shape, foci in affected.whole.items():
        for focus, cause in foci.items():
            for finding in run.find(shape, focus):
                yield finding, cause
    for unit, asked_of in affected.units.items():
        for focus, asked in asked_of.items():
            yield from _ask(run, unit, focus, asked)


def _ask(run: Run, unit: Unit, focus: Node, asked: Asked) -> Iterator[tuple[Finding, Cause]]:
    first = next(iter(asked.values()))
    shape, constraint = unit.shape, unit.constraint
    values: Sequence[Node]
    if unit.each_value and None not in asked and shape.path is not None:
        values = [value for value in asked if value is not None]
    elif isinstance(constraint, Count) and one_step(shape.path):
        values = _enough(run, shape.path, focus, constraint.bound + 1)
    else:
        values = run.values(shape, focus)
    for finding in run.check(shape, constraint, focus, values):
        yield finding, asked.get(finding.value, first)


def _enough(run: Run, path: Path | None, focus: Node, limit: int) -> Sequence[Node]:
    match path:
        case Predicate(iri):
            return run.view.objects(focus, iri, limit)
        case Inverse(Predicate(iri)):
            return run.view.subjects(iri, focus, limit)
    raise TypeError(f"{path} is more than one step")


def _prefetch(affected: Affected, overlay: Overlay) -> None:
    """Reads in few queries what constraints will ask of many nodes: values, then their types."""
    steps: dict[tuple[NamedNode, bool], set[Node]] = {}
    typed: list[tuple[Shape, set[Node]]] = []
    kinds: set[Node] = set()
    for shape, foci in affected.whole.items():
        for unit in affected.program.units[shape]:
            _note_step(steps, unit.shape.path, foci)
            if isinstance(unit.constraint, InstanceOf):
                typed.append((unit.shape, set(foci)))
    for unit, asked_of in affected.units.items():
        all_values = {focus for focus, asked in asked_of.items() if None in asked}
        if not unit.each_value or all_values:
            _note_step(steps, unit.shape.path, all_values if unit.each_value else asked_of)
        if isinstance(unit.constraint, InstanceOf):
            kinds.update(v for asked in asked_of.values() for v in asked if v is not None)
            typed.append((unit.shape, all_values))
    for (predicate, backwards), nodes in steps.items():
        overlay.prefetch(predicate, nodes, backwards=backwards)
    for shape, nodes in typed:
        if shape.path is None:
            kinds |= nodes
        elif one_step(shape.path):
            for focus in nodes:
                kinds.update(shape.path.follow(overlay, focus))
    overlay.prefetch(TYPE, kinds)


def _note_step(
    steps: dict[tuple[NamedNode, bool], set[Node]], path: Path | None, foci: Iterable[Node]
) -> None:
    match path:
        case Predicate(iri):
            steps.setdefault((iri, False), set()).update(foci)
        case Inverse(Predicate(iri)):
            steps.setdefault((iri, True), set()).update(foci)
