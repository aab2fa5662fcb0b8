"""Which questions to a whole store find the suspects of each shape.

Invariant: every constraint of a shape has its question for every target of the shape; a shape with
a constraint or a target of another kind is asked of everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pyoxigraph import NamedNode

from shapes.compile import Program, Unit
from shapes.enough import term_test, type_is_enough
from shapes.model import Constraint, Count, InstanceOf, Shape, TargetKind
from shapes.paths import Predicate
from shapes.tasks import Instances, Outcome, Pointing, Profile, Subjects, Task, Values, ValueTypes
from shapes.value_tests import Test
from shapes.view import Node

SLICE = 20_000
"""Instances of a class that are counted together."""


@dataclass(frozen=True)
class Counted:
    """How many values of a predicate a shape asks for: at least one, or at most ``bound``."""

    shape: int
    predicate: NamedNode
    bound: int
    at_least: bool


@dataclass
class Tested:
    """A test of the values of a predicate, and the shapes that ask it."""

    test: Test
    shapes: list[int] = field(default_factory=list)


@dataclass
class Plan:
    """What is asked; shapes are numbered by their place in the program."""

    counted: dict[NamedNode, list[Counted]] = field(default_factory=dict)
    """By class."""
    tested: dict[NamedNode, dict[Constraint, Tested]] = field(default_factory=dict)
    """By predicate."""
    targets: dict[int, frozenset[NamedNode] | None] = field(default_factory=dict)
    """The types of which a shape's focus nodes are; ``None`` where they may have none."""
    first: Outcome = field(default_factory=Outcome)
    """The tasks to begin with."""


@dataclass
class _Questions:
    """Those of one shape."""

    counted: list[tuple[NamedNode, Count]] = field(default_factory=list)
    tested: list[tuple[NamedNode, Constraint, Test]] = field(default_factory=list)
    value_types: list[tuple[NamedNode, frozenset[NamedNode]]] = field(default_factory=list)
    own_types: list[frozenset[NamedNode]] = field(default_factory=list)


class Planner:
    """Makes the plan for one program and one store."""

    def __init__(
        self,
        kinds: Mapping[NamedNode, int],
        superclasses: Callable[[Node], frozenset[Node]],
        is_used: Callable[[NamedNode], bool],
    ) -> None:
        """``kinds`` are all types that nodes have, with the number of statements of each;
        ``superclasses`` are those of a class with itself, ``is_used`` says whether a predicate is.
        """
        self._kinds = kinds
        self._above = {kind: superclasses(kind) for kind in kinds}
        self._is_used = is_used
        self._plan = Plan(first=Outcome(kinds=kinds))
        self._profiled: set[NamedNode] = set()
        self._pointed: set[NamedNode] = set()
        self._value_types: dict[tuple[NamedNode, frozenset[NamedNode]], list[int]] = {}

    def plan(self, program: Program) -> Plan:
        for number, shape in enumerate(program.targeted):
            if not self._add(number, shape, program.units[shape]):
                self._plan.first.everybody.add(number)
        self._plan.first.tasks += self._begun_with()
        return self._plan

    def _begun_with(self) -> Iterable[Task]:
        # What takes longest comes first, so that no process ends long after the others.
        for kind in sorted(self._profiled, key=lambda kind: (-self._kinds[kind], kind.value)):
            for start in range(0, self._kinds[kind], SLICE):
                yield Profile(kind, start)
                if kind in self._pointed:
                    yield Pointing(kind, start)
        for predicate in sorted(self._plan.tested, key=str):
            yield Values(predicate)
        for (predicate, enough), shapes in self._value_types.items():
            yield ValueTypes(predicate, enough, tuple(shapes))

    # --- one shape

    def _add(self, number: int, shape: Shape, units: Iterable[Unit]) -> bool:
        """Whether all that it asks can be asked in this way."""
        kinds: set[NamedNode] = set()
        predicates: list[NamedNode] = []
        for target in shape.targets:
            if target.kind is TargetKind.CLASS:
                kinds.update(kind for kind, above in self._above.items() if target.term in above)
            elif target.kind is TargetKind.SUBJECTS_OF and isinstance(target.term, NamedNode):
                if self._is_used(target.term):
                    predicates.append(target.term)
            else:
                return False
        if not kinds and not predicates:
            return True
        asked = _Questions()
        if not all(self._question(unit, asked) for unit in units):
            return False
        if asked.counted and predicates:
            return False
        if any(kinds and kinds.isdisjoint(enough) for enough in asked.own_types):
            # All of them are suspects.
            return False
        self._note(number, frozenset(kinds), predicates, asked)
        return True

    def _question(self, unit: Unit, asked: _Questions) -> bool:
        path, constraint = unit.shape.path, unit.constraint
        if isinstance(constraint, Count):
            if not isinstance(path, Predicate) or (constraint.at_least and constraint.bound > 1):
                return False
            asked.counted.append((path.iri, constraint))
            return True
        test = term_test(constraint)
        if test is not None and isinstance(path, Predicate):
            asked.tested.append((path.iri, constraint, test))
            return True
        enough = frozenset(
            k for k, above in self._above.items() if type_is_enough(constraint, above)
        )
        if not enough and not isinstance(constraint, InstanceOf):
            return False
        if path is None:
            asked.own_types.append(enough)
            return True
        if isinstance(path, Predicate):
            asked.value_types.append((path.iri, enough))
            return True
        return False

    def _note(
        self,
        number: int,
        kinds: frozenset[NamedNode],
        predicates: list[NamedNode],
        asked: _Questions,
    ) -> None:
        plan = self._plan
        plan.targets[number] = None if predicates else kinds
        for predicate, count in asked.counted:
            if count.bound or not count.at_least:
                counted = Counted(number, predicate, count.bound, count.at_least)
                for kind in kinds:
                    plan.counted.setdefault(kind, []).append(counted)
                    self._profiled.add(kind)
        for predicate, constraint, test in asked.tested:
            tests = plan.tested.setdefault(predicate, {})
            tests.setdefault(constraint, Tested(test)).shapes.append(number)
        for predicate, enough in asked.value_types:
            self._value_types.setdefault((predicate, enough), []).append(number)
            self._pointed |= enough
            self._profiled |= enough
        for enough in asked.own_types:
            for kind in sorted(kinds - enough, key=str):
                plan.first.tasks.append(Instances(kind, enough, number))
            for predicate in predicates:
                plan.first.tasks.append(Subjects(predicate, enough, number))
                self._profiled |= enough
