"""Shapes as plain functions that say whether a node conforms, and nothing more.

Invariant: true means that the shape finds nothing at the node; false only that it has to be asked
in full (:meth:`shapes.evaluate.Run.find`), which tells what it finds. Nearly every node conforms,
so this is what nearly every node costs: loops stand where ``all()`` would make a generator each
time.
"""

# ruff: noqa: SIM110

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from shapes.model import Combined, Constraint, Count, InstanceOf, Nested, Query, Shape, ValueTest
from shapes.paths import Predicate
from shapes.view import Node

if TYPE_CHECKING:
    from shapes.evaluate import Run

Passes = Callable[["Run", Node], bool]
Check = Callable[["Run", Node, Sequence[Node]], bool]
"""Says of a focus node and some values of it whether one constraint finds nothing there."""


def passes(shape: Shape) -> Passes:
    """The function of a shape, made once."""
    if shape.passes is None:
        shape.passes = _made(shape)
    return shape.passes


def _made(shape: Shape) -> Passes:
    if shape.deactivated:
        return lambda _run, _focus: True
    path = shape.path
    # What fails soonest and costs least comes first.
    checks = [check_of(shape, item) for item in sorted(shape.constraints, key=_cost)]
    if path is None:

        def of_itself(run: Run, focus: Node) -> bool:
            values = (focus,)
            for check in checks:
                if not check(run, focus, values):
                    return False
            return True

        return of_itself
    if isinstance(path, Predicate):
        iri = path.iri

        def of_values(run: Run, focus: Node) -> bool:
            values = run.view.objects(focus, iri)
            for check in checks:
                if not check(run, focus, values):
                    return False
            return True

        return of_values

    def of_path(run: Run, focus: Node) -> bool:
        values = path.follow(run.view, focus)
        return all(check(run, focus, values) for check in checks)

    return of_path


def _cost(constraint: Constraint) -> int:
    order = (Count, ValueTest, InstanceOf, Combined, Nested)
    return next((n for n, kind in enumerate(order) if isinstance(constraint, kind)), len(order))


def check_of(shape: Shape, constraint: Constraint) -> Check:
    """The function of one constraint of a shape."""
    match constraint:
        case ValueTest(holds=holds):

            def each(_run: Run, _focus: Node, values: Sequence[Node]) -> bool:
                for value in values:
                    if not holds(value):
                        return False
                return True

            return each
        case Count(bound=bound, at_least=at_least):
            if at_least:
                return lambda _run, _focus, values: len(values) >= bound
            return lambda _run, _focus, values: len(values) <= bound
        case InstanceOf(type=kind):

            def instances(run: Run, _focus: Node, values: Sequence[Node]) -> bool:
                for value in values:
                    if not run.is_instance(value, kind):
                        return False
                return True

            return instances
        case Nested(shape=inner):

            def nested(run: Run, _focus: Node, values: Sequence[Node]) -> bool:
                inside = passes(inner)
                for value in values:
                    if not inside(run, value):
                        return False
                return True

            return nested
        case Combined(shapes=shapes, fewest=fewest, most=most):
            return lambda run, _focus, values: all(
                fewest <= sum(run.holds(inner, value) for inner in shapes) <= most
                for value in values
            )
        case Query():
            # Many focus nodes are asked together, which only asking in full does.
            return lambda _run, _focus, _values: False
    return lambda run, focus, values: (
        next(run.check(shape, constraint, focus, values), None) is None
    )
