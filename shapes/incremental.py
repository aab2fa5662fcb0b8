"""Asks what a change can turn, and nothing else.

Invariant: what is asked is what :class:`shapes.affected.Affected` names; each result is told once,
with a statement of the change that led to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from pyoxigraph import NamedNode

from shapes.affected import Affected, Asked
from shapes.compile import Unit, one_step
from shapes.evaluate import Finding, Run
from shapes.model import Count, Shape
from shapes.overlay import Overlay, Row
from shapes.paths import Inverse, Path, Predicate
from shapes.prefetch import prefetch_affected
from shapes.report import Result
from shapes.results import result_of
from shapes.view import Node
from shapes.whole import CHUNK, EXAMPLES, Tally, focus_nodes


def tally_affected(affected: Affected, run: Run, overlay: Overlay) -> Tally:
    """What is found of a change that was read."""
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
    return found


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


def _enough(run: Run, path: Path | None, focus: Node, limit: int) -> Sequence[Node]:
    match path:
        case Predicate(iri):
            return run.view.objects(focus, iri, limit)
        case Inverse(Predicate(iri)):
            return run.view.subjects(iri, focus, limit)
    raise TypeError(f"{path} is more than one step")
