"""Asks shapes of nodes, over a view.

Invariant: what is found follows from the view alone. A shape holds of a node when it finds nothing
there, whatever its severity; what was worked out once in a run is not worked out again.
Specification: https://www.w3.org/TR/shacl/#validation
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pyoxigraph import Literal, NamedNode

from ontology.vocab import Rdfs
from shapes.closures import passes
from shapes.comparison import at_most, less
from shapes.model import (
    Closed,
    Combined,
    Compared,
    Constraint,
    Count,
    HasValue,
    InstanceOf,
    Nested,
    Qualified,
    Query,
    Shape,
    UniqueLanguages,
    ValueTest,
)
from shapes.paths import Path, Predicate
from shapes.sparql_constraints import Queries
from shapes.view import TYPE, Node, View

SUBCLASS = NamedNode(Rdfs.subClassOf)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a node does not meet. ``path`` is what the result names, ``count`` how many
    values there were where it is their number that counts."""

    shape: Shape
    constraint: Constraint
    focus: Node
    path: Path | None
    value: Node | None
    count: int = 0
    bindings: tuple[tuple[str, Node], ...] = ()
    """What a query's solution says, for messages to name."""


class Run:
    """One validation of one state."""

    def __init__(
        self,
        view: View,
        superclasses: dict[Node, tuple[Node, ...]] | None = None,
        classes_read: set[Node] | None = None,
        queries: Queries | None = None,
    ) -> None:
        """``superclasses`` are direct ones that are known already, and are added to;
        ``classes_read`` hears of every class whose superclasses count, known or not."""
        self.view = view
        self.queries = Queries(view) if queries is None else queries
        self._direct = {} if superclasses is None else superclasses
        self._classes_read = classes_read
        self._above: dict[Node, frozenset[Node]] = {}
        self._holds: dict[tuple[Shape, Node], bool] = {}

    def find(
        self, shape: Shape, focus: Node, values: Sequence[Node] | None = None
    ) -> Iterator[Finding]:
        """What ``shape`` finds at ``focus``; of these values alone, where they are given."""
        if shape.deactivated or (values is None and passes(shape)(self, focus)):
            return
        if values is None:
            values = self.values(shape, focus)
        for constraint in shape.constraints:
            yield from self.check(shape, constraint, focus, values)

    def check(
        self, shape: Shape, constraint: Constraint, focus: Node, values: Sequence[Node]
    ) -> Iterator[Finding]:
        """What one constraint finds."""
        return _CHECKS[type(constraint)](self, shape, constraint, focus, values)

    def ask_ahead(self, asked: Iterable[tuple[Shape, Constraint]], foci: Collection[Node]) -> None:
        """Has the queries among these constraints asked of many focus nodes at once."""
        for shape, constraint in asked:
            if isinstance(constraint, Query):
                self.queries.ask_ahead(
                    shape, constraint, ((focus, self.values(shape, focus)) for focus in foci)
                )

    def values(self, shape: Shape, focus: Node) -> Sequence[Node]:
        """The value nodes of a shape at a focus node."""
        return (focus,) if shape.path is None else shape.path.follow(self.view, focus)

    def holds(self, shape: Shape, node: Node) -> bool:
        """Whether a node conforms to a shape."""
        key = (shape, node)
        known = self._holds.get(key)
        if known is None:
            known = passes(shape)(self, node) or next(self.find(shape, node), None) is None
            self._holds[key] = known
        return known

    def is_instance(self, node: Node, kind: Node) -> bool:
        """Whether a node is a SHACL instance of a class."""
        for item in self.view.objects(node, TYPE):
            if item == kind or kind in self.superclasses(item):
                return True
        return False

    def superclasses(self, kind: Node) -> frozenset[Node]:
        """A class and everything above it."""
        known = self._above.get(kind)
        if known is None:
            found = {kind}
            waiting = [kind]
            while waiting:
                for item in self._parents(waiting.pop()):
                    if item not in found:
                        found.add(item)
                        waiting.append(item)
            known = self._above[kind] = frozenset(found)
        return known

    def _parents(self, kind: Node) -> tuple[Node, ...]:
        if self._classes_read is not None:
            self._classes_read.add(kind)
        known = self._direct.get(kind)
        if known is None:
            known = self._direct[kind] = tuple(self.view.objects(kind, SUBCLASS))
        return known


# --- one function for each kind of constraint


def _value_test(
    run: Run, shape: Shape, asked: ValueTest, focus: Node, values: Sequence[Node]
) -> Iterator[Finding]:
    holds = asked.holds
    for value in values:
        if not holds(value):
            yield Finding(shape, asked, focus, shape.path, value)


def _instance_of(
    run: Run, shape: Shape, asked: InstanceOf, focus: Node, values: Sequence[Node]
) -> Iterator[Finding]:
    for value in values:
        if not run.is_instance(value, asked.type):
            yield Finding(shape, asked, focus, shape.path, value)


def _count(
    run: Run, shape: Shape, asked: Count, focus: Node, values: Sequence[Node]
) -> Iterator[Finding]:
    number = len(values)
    if number < asked.bound if asked.at_least else number > asked.bound:
        yield Finding(shape, asked, focus, shape.path, None, number)


def _unique_languages(
    run: Run, shape: Shape, asked: UniqueLanguages, focus: Node, values: Sequence[Node]
) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for value in values:
        if isinstance(value, Literal) and value.language:
            language = value.language.lower()
            seen[language] = seen.get(language, 0) + 1
    for number in seen.values():
        if number > 1:
            yield Finding(shape, asked, focus, shape.path, None, number)


def _has_value(
    run: Run, shape: Shape, asked: HasValue, focus: Node, values: Sequence[Node]
) -> Iterator[Finding]:
    if asked.value not in values:
        yield Finding(shape, asked, focus, shape.path, None)


def _compared(
    run: Run, shape: Shape, asked: Compared, focus: Node, values: Sequence[Node]
) -> Iterator[Finding]:
    others = run.view.objects(focus, asked.predicate)
    kind = asked.component.rpartition("#")[2]
    offenders: Iterable[Node]
    if kind == "EqualsConstraintComponent":
        mine, theirs = set(values), set(others)
        offenders = [v for v in values if v not in theirs] + [o for o in others if o not in mine]
    elif kind == "DisjointConstraintComponent":
        theirs = set(others)
        offenders = [value for value in values if value in theirs]
    else:
        holds = less if kind == "LessThanConstraintComponent" else at_most
        offenders = [value for value in values for other in others if not holds(value, other)]
    for value in offenders:
        yield Finding(shape, asked, focus, shape.path, value)


def _combined(
    run: Run, shape: Shape, asked: Combined, focus: Node, values: Sequence[Node]
) -> Iterator[Finding]:
    for value in values:
        held = sum(run.holds(inner, value) for inner in asked.shapes)
        if not asked.fewest <= held <= asked.most:
            yield Finding(shape, asked, focus, shape.path, value, held)


def _nested(
    run: Run, shape: Shape, asked: Nested, focus: Node, values: Sequence[Node]
) -> Iterator[Finding]:
    for value in values:
        yield from run.find(asked.shape, value)


def _qualified(
    run: Run, shape: Shape, asked: Qualified, focus: Node, values: Sequence[Node]
) -> Iterator[Finding]:
    number = sum(
        run.holds(asked.shape, value)
        and not any(run.holds(sibling, value) for sibling in asked.siblings)
        for value in values
    )
    if number < asked.bound if asked.at_least else number > asked.bound:
        yield Finding(shape, asked, focus, shape.path, None, number)


def _closed(
    run: Run, shape: Shape, asked: Closed, focus: Node, values: Sequence[Node]
) -> Iterator[Finding]:
    for value in values:
        for predicate, objects in run.view.outgoing(value).items():
            if predicate not in asked.allowed:
                for item in objects:
                    yield Finding(shape, asked, focus, Predicate(predicate), item)


def _query(
    run: Run, shape: Shape, asked: Query, focus: Node, values: Sequence[Node]
) -> Iterator[Finding]:
    for solution in run.queries.solutions(shape, asked, focus, values):
        path = shape.path if solution.path is None else Predicate(solution.path)
        yield Finding(shape, asked, focus, path, solution.value, bindings=solution.bindings)


_CHECKS: dict[
    type[Constraint], Callable[[Run, Shape, Any, Node, Sequence[Node]], Iterator[Finding]]
]
_CHECKS = {
    ValueTest: _value_test,
    InstanceOf: _instance_of,
    Count: _count,
    UniqueLanguages: _unique_languages,
    HasValue: _has_value,
    Compared: _compared,
    Combined: _combined,
    Nested: _nested,
    Qualified: _qualified,
    Closed: _closed,
    Query: _query,
}
