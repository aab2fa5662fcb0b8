"""What a changed statement has to meet so that no shape can be broken by it, whichever ask it.

Invariant: a statement that meets all of it turns no constraint of its subject from holding to not
holding. So neither the subject's types nor its other values need be read, and that is what most
changed statements cost.

A value that passes a test of each value leaves "all values pass" as it was, and a number of values
that is kept leaves a count as it was. ``sh:and`` and ``sh:or`` of what is left as it was are left
as they were; under ``sh:not`` and ``sh:xone`` nothing is said to be harmless.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pyoxigraph import NamedNode

from shapes.closures import Check, check_of
from shapes.model import Closed, Combined, Constraint, Count, InstanceOf, Nested, Shape, ValueTest
from shapes.paths import Predicate
from shapes.view import TYPE

OF_EACH_VALUE = (ValueTest, InstanceOf, Combined, Nested, Closed)
"""Constraints that are asked of each value by itself."""


@dataclass(frozen=True, slots=True)
class Harmless:
    """The ``tests`` of the value, and the ``counts`` to be kept. ``asks_types`` is whether a test
    looks at more than the value itself."""

    tests: tuple[Check, ...]
    counts: tuple[Count, ...]
    asks_types: bool


def harmless(
    asked: Iterable[tuple[Shape, Constraint]], predicate: NamedNode | None
) -> Harmless | None:
    """For a statement of this predicate (``None`` is any), by what is asked of its subject; each
    with the shape whose values the constraint is about. ``None`` where it cannot be told from the
    statement alone."""
    if predicate is None or predicate == TYPE:
        return None
    tests: dict[tuple[Shape, Constraint], Check] = {}
    counts: dict[Count, None] = {}
    for shape, constraint in asked:
        for atom in _atoms(shape, constraint, predicate):
            if atom is None:
                return None
            if isinstance(atom[1], Count):
                counts[atom[1]] = None
            else:
                tests[atom] = check_of(*atom)
    asks_types = any(not isinstance(constraint, ValueTest) for _, constraint in tests)
    return Harmless(tuple(tests.values()), tuple(counts), asks_types)


def _atoms(
    shape: Shape, constraint: Constraint, predicate: NamedNode
) -> Iterator[tuple[Shape, Constraint] | None]:
    """The constraints on values of the predicate that another one is made of; ``None`` stands for
    something else that may depend on the statement."""
    if isinstance(shape.path, Predicate):
        if isinstance(constraint, (*OF_EACH_VALUE, Count)):
            if shape.path.iri == predicate:
                yield shape, constraint
        else:
            yield None
    elif shape.path is not None:
        yield None
    elif isinstance(constraint, Combined):
        # Only sh:or and sh:and grow with what they are made of.
        if constraint.most < len(constraint.shapes):
            yield None
            return
        for inner in constraint.shapes:
            yield from _atoms_of(inner, predicate)
    elif isinstance(constraint, Nested):
        yield from _atoms_of(constraint.shape, predicate)
    elif not isinstance(constraint, ValueTest | InstanceOf):
        yield None


def _atoms_of(shape: Shape, predicate: NamedNode) -> Iterator[tuple[Shape, Constraint] | None]:
    if not shape.deactivated:
        for constraint in shape.constraints:
            yield from _atoms(shape, constraint, predicate)
