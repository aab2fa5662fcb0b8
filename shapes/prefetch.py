"""Reads in few queries what constraints will ask of many nodes.

Invariant: it changes what a validation costs and never what it finds; whatever is not read here is
looked up when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyoxigraph import NamedNode

from shapes.affected import Affected
from shapes.compile import Program, one_step
from shapes.model import InstanceOf, Shape
from shapes.overlay import Overlay
from shapes.paths import Inverse, Path, Predicate
from shapes.view import TYPE, Node

SEVERAL = 4
"""Predicates of one node from which on it is quicker to read all that is said of it."""


def prefetch_shape(program: Program, shape: Shape, overlay: Overlay, foci: Sequence[Node]) -> None:
    """For all of a shape at these nodes."""
    units = program.units[shape]
    predicates = {unit.shape.path for unit in units if isinstance(unit.shape.path, Predicate)}
    if len(predicates) >= SEVERAL:
        overlay.prefetch_nodes(foci)
    steps: dict[tuple[NamedNode, bool], set[Node]] = {}
    for unit in units:
        _note_step(steps, unit.shape.path, foci)
    _read(overlay, steps)
    kinds: set[Node] = set()
    for unit in units:
        if isinstance(unit.constraint, InstanceOf):
            _note_values(kinds, unit.shape.path, overlay, foci)
    overlay.prefetch(TYPE, kinds)


def prefetch_affected(affected: Affected, overlay: Overlay) -> None:
    """For what a change can turn."""
    for shape, foci in affected.whole.items():
        prefetch_shape(affected.program, shape, overlay, list(foci))
    steps: dict[tuple[NamedNode, bool], set[Node]] = {}
    kinds: set[Node] = set()
    typed: list[tuple[Path | None, set[Node]]] = []
    for unit, asked_of in affected.units.items():
        entirely = {focus for focus, asked in asked_of.items() if None in asked}
        _note_step(steps, unit.shape.path, entirely if unit.each_value else asked_of)
        if isinstance(unit.constraint, InstanceOf):
            kinds.update(v for asked in asked_of.values() for v in asked if v is not None)
            typed.append((unit.shape.path, entirely))
    _read(overlay, steps)
    for path, nodes in typed:
        _note_values(kinds, path, overlay, nodes)
    overlay.prefetch(TYPE, kinds)


def _read(overlay: Overlay, steps: dict[tuple[NamedNode, bool], set[Node]]) -> None:
    for (predicate, backwards), nodes in steps.items():
        overlay.prefetch(predicate, nodes, backwards=backwards)


def _note_step(
    steps: dict[tuple[NamedNode, bool], set[Node]], path: Path | None, foci: Iterable[Node]
) -> None:
    match path:
        case Predicate(iri):
            steps.setdefault((iri, False), set()).update(foci)
        case Inverse(Predicate(iri)):
            steps.setdefault((iri, True), set()).update(foci)


def _note_values(
    kinds: set[Node], path: Path | None, overlay: Overlay, foci: Iterable[Node]
) -> None:
    if path is None:
        kinds.update(foci)
    elif one_step(path):
        for focus in foci:
            kinds.update(path.follow(overlay, focus))
