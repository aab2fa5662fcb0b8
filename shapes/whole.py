"""Validates a whole graph: every focus node of every shape.

Invariant: focus nodes are taken as they come and never remembered; of what is found, examples can
be kept and the rest counted. :mod:`shapes.suspects` asks fewer of them, where a store is on disk.
Specification: https://www.w3.org/TR/shacl/#validation-definition
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from pyoxigraph import NamedNode

from shapes.compile import Program
from shapes.evaluate import SUBCLASS, Run
from shapes.model import Shape, Target, TargetKind
from shapes.overlay import Overlay
from shapes.prefetch import prefetch_shape
from shapes.report import Report, Result
from shapes.results import result_of
from shapes.sparql_constraints import Queries
from shapes.view import TYPE, Node, View

CHUNK = 1_000
"""Focus nodes looked at together."""
EXAMPLES = 1_000
"""Results kept, of violations and of the rest each; how many there are is counted to the end."""


@dataclass(frozen=True)
class Progress:
    """How far a validation is: parts begun, of how many as far as is known, nodes looked at, and
    results found. A part is a question to the store, or focus nodes to be asked."""

    part: int
    parts: int
    nodes: int
    found: int


Tell = Callable[[Progress], None]


@dataclass
class Tally:
    """What was found so far; :meth:`add` may be called for each share of the work."""

    violations: list[Result] = field(default_factory=list)
    others: list[Result] = field(default_factory=list)
    found: int = 0
    nodes: dict[str, int] = field(default_factory=dict)
    """Focus nodes that do not conform, by the shape that targets them."""

    def note(self, shape: Shape, results: list[Result], most: int | None) -> None:
        """Counts what one shape found at one focus node."""
        if not results:
            return
        self.found += len(results)
        name = str(shape.node)
        self.nodes[name] = self.nodes.get(name, 0) + 1
        for result in results:
            kept = self.violations if result.severity == "Violation" else self.others
            if most is None or len(kept) < most:
                kept.append(result)

    def add(self, other: Tally, most: int | None = EXAMPLES) -> None:
        self.found += other.found
        for name, number in other.nodes.items():
            self.nodes[name] = self.nodes.get(name, 0) + number
        for mine, theirs in ((self.violations, other.violations), (self.others, other.others)):
            mine += theirs if most is None else theirs[: most - len(mine)]

    def report(self) -> Report:
        results = sorted(self.violations + self.others, key=Result.order)
        nodes = tuple(sorted(self.nodes.items()))
        return Report(tuple(results), self.found - len(results), nodes)


def validate_graph(program: Program, view: View) -> Report:
    """The report on everything a view holds, all of it."""
    found = Tally()
    with Queries(view) as queries:
        run = Run(view, queries=queries)
        for shape in program.targeted:
            foci = list(focus_nodes(shape, view, queries))
            run.ask_ahead([(unit.shape, unit.constraint) for unit in program.units[shape]], foci)
            for focus in foci:
                results = [result_of(finding, None) for finding in run.find(shape, focus)]
                found.note(shape, results, None)
    return found.report()


def tally_overlay(
    program: Program,
    overlay: Overlay,
    queries: Queries,
    *,
    most: int | None = EXAMPLES,
    tell: Tell | None = None,
) -> Tally:
    """Everything that a store and a change on top of it hold, shape by shape."""
    found = Tally()
    nodes = 0
    superclasses: dict[Node, tuple[Node, ...]] = {}
    for part, shape in enumerate(program.targeted, 1):
        foci = focus_nodes(shape, overlay, queries)
        while chunk := list(islice(foci, CHUNK)):
            queries.forget()
            overlay.forget(keep_types=True)
            run = Run(overlay, superclasses, queries=queries)
            tally_nodes(program, shape, chunk, run, overlay, found, most)
            nodes += len(chunk)
            if tell is not None:
                tell(Progress(part, len(program.targeted), nodes, found.found))
    return found


def tally_nodes(
    program: Program,
    shape: Shape,
    foci: Sequence[Node],
    run: Run,
    overlay: Overlay,
    found: Tally,
    most: int | None,
) -> None:
    """Adds what a shape finds at these focus nodes."""
    prefetch_shape(program, shape, overlay, foci)
    run.ask_ahead([(unit.shape, unit.constraint) for unit in program.units[shape]], foci)
    for focus in foci:
        found.note(shape, [result_of(finding, None) for finding in run.find(shape, focus)], most)


def is_focus_node(shape: Shape, view: View, queries: Queries, node: Node) -> bool:
    return any(_chooses(shape, target, view, queries, node) for target in shape.targets)


def focus_nodes(shape: Shape, view: View, queries: Queries) -> Iterator[Node]:
    """The focus nodes of a shape, each once, without remembering them."""
    for number, target in enumerate(shape.targets):
        before = shape.targets[:number]
        for focus in _chosen(shape, target, view, queries):
            if not any(_chooses(shape, other, view, queries, focus) for other in before):
                yield focus


def _chosen(shape: Shape, target: Target, view: View, queries: Queries) -> Iterator[Node]:
    if target.query is not None:
        yield from queries.targets(shape, target.query)
    elif target.kind is TargetKind.NODE:
        yield target.term
    elif target.kind is TargetKind.CLASS:
        kinds = _classes_below(view, target.term)
        for number, kind in enumerate(kinds):
            before = kinds[:number]
            for focus in view.instances(kind):
                if not before or not _has_type(view, focus, before):
                    yield focus
    else:
        predicate = NamedNode(target.term.value)
        last: Node | None = None
        for subject, value in view.pairs(predicate):
            if target.kind is TargetKind.OBJECTS_OF:
                # The pairs come by value.
                if value != last:
                    yield value
                last = value
            elif view.objects(subject, predicate)[0] == value:
                yield subject


def _chooses(shape: Shape, target: Target, view: View, queries: Queries, focus: Node) -> bool:
    if target.query is not None:
        return focus in queries.targets(shape, target.query)
    if target.kind is TargetKind.NODE:
        return focus == target.term
    if target.kind is TargetKind.CLASS:
        return _has_type(view, focus, _classes_below(view, target.term))
    predicate = NamedNode(target.term.value)
    if target.kind is TargetKind.SUBJECTS_OF:
        return bool(view.objects(focus, predicate, 1))
    return bool(view.subjects(predicate, focus, 1))


def _has_type(view: View, focus: Node, kinds: Sequence[Node]) -> bool:
    return any(kind in kinds for kind in view.objects(focus, TYPE))


def _classes_below(view: View, kind: Node) -> list[Node]:
    """A class and its subclasses."""
    kinds = [kind]
    for item in kinds:
        kinds += [below for below in view.subjects(SUBCLASS, item) if below not in kinds]
    return kinds
