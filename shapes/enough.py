"""What is enough for a value to pass a constraint, where its own term or its types decide.

Invariant: a type that is enough is so whatever else holds of the value and whatever else is in the
graph. What cannot be told here is taken not to be enough.
Specification: https://www.w3.org/TR/shacl/#core-components
"""

from __future__ import annotations

from collections.abc import Collection

from shapes.model import Combined, Constraint, InstanceOf, Shape, ValueTest
from shapes.value_tests import Test
from shapes.view import Node


def term_test(constraint: Constraint) -> Test | None:
    """The verdict on a value as it follows from its term; ``None`` where more than that counts."""
    match constraint:
        case ValueTest(holds=holds):
            return holds
        case Combined(shapes=shapes, fewest=fewest, most=most):
            found = [_term_test_of(shape) for shape in shapes]
            tests = [test for test in found if test is not None]
            if len(tests) == len(found):
                return lambda value: fewest <= sum(test(value) for test in tests) <= most
    return None


def _term_test_of(shape: Shape) -> Test | None:
    if shape.deactivated:
        return lambda _value: True
    found = [term_test(constraint) for constraint in shape.constraints]
    tests = [test for test in found if test is not None]
    if shape.path is not None or len(tests) < len(found):
        return None
    return lambda value: all(test(value) for test in tests)


def type_is_enough(constraint: Constraint, classes: Collection[Node]) -> bool:
    """Whether an instance of these classes passes for certain."""
    match constraint:
        case InstanceOf(type=kind):
            return kind in classes
        case Combined(shapes=shapes, fewest=fewest, most=most):
            # Only where all of the shapes may hold do those that are not certain do no harm.
            return most == len(shapes) and fewest <= sum(_holds(shape, classes) for shape in shapes)
    return False


def _holds(shape: Shape, classes: Collection[Node]) -> bool:
    if shape.deactivated:
        return True
    return shape.path is None and all(type_is_enough(item, classes) for item in shape.constraints)
