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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pyoxigraph import NamedNode, Quad

from ontology.store import GraphStore
from ontology.terms import Delta, graph_of
from shapes.affected import Affected, Asked, TooMany
from shapes.compile import Program, Unit, compile_shapes, one_step
from shapes.evaluate import SUBCLASS, Finding, Run
from shapes.model import Count, Shape
from shapes.overlay import Overlay, Row
from shapes.paths import Inverse, Predicate
from shapes.paths import Path as PropertyPath
from shapes.prefetch import prefetch_affected
from shapes.reads import Reads
from shapes.report import Report, Result
from shapes.results import result_of
from shapes.sparql_constraints import Limits, Queries
from shapes.view import Node
from shapes.whole import CHUNK, EXAMPLES, Tally, Tell, focus_nodes
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
            shapes = list(Overlay(self._store, delta).of_graph(self._graph))
            return self._everything(compile_shapes(shapes, strict=True), shapes, delta, tell)
        version = self._current()
        overlay = Overlay(self._store, delta)
        # A change of the hierarchy is seen by this run alone.
        shared = None if _changes_hierarchy(delta) else version.superclasses
        with Queries(overlay, self._scratch, self._limits) as queries:
            run = Run(overlay, shared, overlay.reads.objects.setdefault(SUBCLASS, set()), queries)
            affected = Affected(version.program, run, overlay, MOST)
            try:
                affected.read()
            except TooMany:
                return self._everything(version.program, self._shapes(), delta, tell)
            return Validation(_reported(affected, run, overlay), overlay.reads)

    def examine_all(self, tell: Tell | None = None) -> Validation:
        """Validates the graph as it stands."""
        return self._everything(self._current().program, self._shapes(), Delta(), tell)

    def _everything(
        self, program: Program, shapes: list[Quad], delta: Delta, tell: Tell | None
    ) -> Validation:
        found = tally_store(program, shapes, self._store, delta, self._scratch, tell, self._limits)
        return Validation(found.report(), Reads(everything=True))

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


# --- asking what is affected


def _reported(affected: Affected, run: Run, overlay: Overlay) -> Report:
    by_focus: dict[tuple[Shape, Node], dict[tuple[str | None, ...], Result]] = {}
    stated: dict[tuple[Node, NamedNode, Node], Row] | None = None
    for target, focus, finding, cause in _findings(affected, run, overlay):
        if stated is None:
            stated = {(row.subject, row.predicate, row.value): row for row in overlay.rows}
        result = result_of(finding, _nearest(finding, stated, cause))
        by_focus.setdefault((target, focus), {}).setdefault(result.key(), result)
    found = Tally()
    for (target, _), results in by_focus.items():
        found.note(target, list(results.values()), EXAMPLES)
    return found.report()


def _nearest(
    finding: Finding, stated: Mapping[tuple[Node, NamedNode, Node], Row], cause: Row
) -> Row:
    """The statement of the change that a finding is of, where the change makes it itself."""
    if isinstance(finding.path, Predicate) and finding.value is not None:
        return stated.get((finding.focus, finding.path.iri, finding.value), cause)
    return cause


def _findings(
    affected: Affected, run: Run, overlay: Overlay
) -> Iterator[tuple[Shape, Node, Finding, Row]]:
    prefetch_affected(affected, overlay)
    units = affected.program.units
    for shape, foci in affected.whole.items():
        run.ask_ahead([(unit.shape, unit.constraint) for unit in units[shape]], foci)
        for focus, cause in foci.items():
            for finding in run.find(shape, focus):
                yield shape, focus, finding, cause
    for unit, asked_of in affected.units.items():
        run.ask_ahead([(unit.shape, unit.constraint)], asked_of)
        for focus, asked in asked_of.items():
            for finding, cause in _ask(run, unit, focus, asked):
                yield unit.target, focus, finding, cause
    yield from _everywhere(affected, run)


def _everywhere(affected: Affected, run: Run) -> Iterator[tuple[Shape, Node, Finding, Row]]:
    """What has to be asked of every focus node."""
    for unit, cause in affected.everywhere.items():
        for chunk in _chunks(unit.target, run):
            run.ask_ahead([(unit.shape, unit.constraint)], chunk)
            for focus in chunk:
                values = run.values(unit.shape, focus)
                for finding in run.check(unit.shape, unit.constraint, focus, values):
                    yield unit.target, focus, finding, cause
            run.queries.forget()
    for shape, cause in affected.retargeted.items():
        asked = [(unit.shape, unit.constraint) for unit in affected.program.units[shape]]
        for chunk in _chunks(shape, run):
            run.ask_ahead(asked, chunk)
            for focus in chunk:
                for finding in run.find(shape, focus):
                    yield shape, focus, finding, cause
            run.queries.forget()


def _chunks(shape: Shape, run: Run) -> Iterator[list[Node]]:
    foci = focus_nodes(shape, run.view, run.queries)
    while chunk := list(islice(foci, CHUNK)):
        yield chunk


def _ask(run: Run, unit: Unit, focus: Node, asked: Asked) -> Iterator[tuple[Finding, Row]]:
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


def _enough(run: Run, path: PropertyPath | None, focus: Node, limit: int) -> Sequence[Node]:
    match path:
        case Predicate(iri):
            return run.view.objects(focus, iri, limit)
        case Inverse(Predicate(iri)):
            return run.view.subjects(iri, focus, limit)
    raise TypeError(f"{path} is more than one step")
