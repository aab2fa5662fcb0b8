"""Shapes, made ready to run over changes: what each of them reads, and which change can turn it.

Invariant: for each constraint of each shape with targets, the statements are known whose coming or
going can bring a new violation. A change of any other statement cannot.

What a constraint reads is a set of edges: a prefix path from the focus node, then one predicate.
For most constraints only one direction of change can hurt: a new value may break a value test, a
lost one never does; ``sh:not`` turns the direction round, and a count of shapes minds both. A
violation that is new in the post-state rests on an edge that changed and whose prefix exists in the
post-state, so walking the prefix back from the changed statement, over the post-state, finds the
focus node.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, Flag, auto

from pyoxigraph import NamedNode, Quad, Triple

from shapes.evaluate import SUBCLASS
from shapes.harmless import OF_EACH_VALUE, Harmless, harmless
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
    TargetKind,
    UniqueLanguages,
    ValueTest,
)
from shapes.parse import read_shapes
from shapes.paths import HERE, Edge, Inverse, Path, Predicate, Repeated, chain, edges, inward
from shapes.view import TYPE, Node

SUPERCLASSES = Repeated(Predicate(SUBCLASS))


class Change(Flag):
    """What can happen to a statement."""

    ADDED = auto()
    REMOVED = auto()

    def turned(self) -> Change:
        """The other one; both stay both."""
        return {Change.ADDED: Change.REMOVED, Change.REMOVED: Change.ADDED}.get(self, self)


BOTH = Change.ADDED | Change.REMOVED


@dataclass(frozen=True, slots=True)
class Read:
    """A statement that counts, and which change of it can hurt."""

    edge: Edge
    hurts: Change
    everywhere: bool = False
    """Whether it may be any statement of that predicate, wherever it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """One constraint of one shape, as asked of the focus nodes of ``target``."""

    target: Shape
    shape: Shape
    constraint: Constraint
    each_value: bool
    """Whether it is asked of each value by itself and the values lie one step away, or none, so
    that only values that changed need be looked at."""


class Anchor(Enum):
    """What walking back from a statement leads to."""

    FOCUS = "focus"
    VALUE = "value"
    """A value, whose focus nodes are one step further back."""
    EDGE = "edge"
    """The statement itself leads from a focus node to its value."""


@dataclass(slots=True)
class Trigger:
    """What one kind of change sets off: walk back from the statement to the values or focus nodes,
    and ask these units of them. ``path`` leads from a focus node to such values."""

    prefix: Path
    forwards: bool
    anchor: Anchor
    path: Path | None
    units: dict[Shape, list[Unit]] = field(default_factory=dict)
    whole: set[Shape] = field(default_factory=set)
    """Shapes whose focus nodes these may newly be: all of their units are asked."""


@dataclass(slots=True, eq=False)
class Near:
    """What a change sets off at its own subject: no walk is needed. With each unit, whether the
    statement leads to a value of it."""

    units: dict[Shape, list[tuple[Unit, bool]]] = field(default_factory=dict)
    whole: set[Shape] = field(default_factory=set)
    """Shapes that it may newly be a focus node of, as its class has it."""
    subject_of: set[Shape] = field(default_factory=set)
    """Shapes that it is a focus node of, since they target the subjects of this predicate."""
    harmless: Harmless | None = None
    """When nothing is set off but what makes the subject a focus node."""


@dataclass(slots=True)
class Triggers:
    """What statements set off when they come, or when they go, by predicate; ``None`` is any."""

    near: dict[NamedNode | None, Near] = field(default_factory=dict)
    far: dict[NamedNode | None, list[Trigger]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Program:
    """Shapes, ready to run."""

    targeted: tuple[Shape, ...]
    count: int
    units: dict[Shape, list[Unit]] = field(default_factory=dict)
    coming: Triggers = field(default_factory=Triggers)
    going: Triggers = field(default_factory=Triggers)
    by_class: dict[Node, list[Shape]] = field(default_factory=dict)
    by_node: dict[Node, list[Shape]] = field(default_factory=dict)
    otherwise: dict[Shape, list[tuple[bool, NamedNode]]] = field(default_factory=dict)
    """Shapes that target the subjects (true) or the objects (false) of a predicate."""
    of_objects: set[Shape] = field(default_factory=set)
    """Those of them that target objects."""
    everywhere: dict[NamedNode | None, dict[Unit, None]] = field(default_factory=dict)
    """What any change of a predicate may turn at any focus node; ``None`` is any predicate."""
    retargeted: dict[NamedNode | None, dict[Shape, None]] = field(default_factory=dict)
    """Shapes whose targets a query selects, in the same way."""


def compile_shapes(quads: Iterable[Quad | Triple], *, strict: bool = False) -> Program:
    """Raises :class:`shapes.errors.MalformedShapes`; ``strict`` as in :func:`read_shapes`."""
    read = read_shapes(quads, strict=strict)
    return _program([shape for shape in read.targeted if not shape.deactivated], read.count)


def part_of(program: Program, shapes: Collection[Shape]) -> Program:
    """The program of some of a program's shapes."""
    return _program([shape for shape in program.targeted if shape in shapes], program.count)


def _program(targeted: Sequence[Shape], count: int) -> Program:
    program = Program(tuple(targeted), count)
    builder = _Triggers(program)
    for shape in targeted:
        program.units[shape] = list(_units(shape))
        for target in shape.targets:
            match target.kind:
                case TargetKind.CLASS:
                    program.by_class.setdefault(target.term, []).append(shape)
                case TargetKind.NODE:
                    program.by_node.setdefault(target.term, []).append(shape)
                case TargetKind.SUBJECTS_OF | TargetKind.OBJECTS_OF:
                    assert isinstance(target.term, NamedNode)
                    subjects = target.kind is TargetKind.SUBJECTS_OF
                    program.otherwise.setdefault(shape, []).append((subjects, target.term))
                    if not subjects:
                        program.of_objects.add(shape)
        builder.add(shape)
    for triggers in (program.coming, program.going):
        for predicate, near in triggers.near.items():
            asked = {
                (unit.shape, unit.constraint): None
                for units in near.units.values()
                for unit, _ in units
            }
            near.harmless = harmless(asked, predicate)
    return program


def _units(target: Shape) -> Iterator[Unit]:
    for constraint in target.constraints:
        if isinstance(constraint, Nested) and target.path is None:
            inner = constraint.shape
            if not inner.deactivated:
                for asked in inner.constraints:
                    yield Unit(target, inner, asked, _each_value(inner, asked))
        else:
            yield Unit(target, target, constraint, _each_value(target, constraint))


def _each_value(shape: Shape, constraint: Constraint) -> bool:
    return isinstance(constraint, OF_EACH_VALUE) and (shape.path is None or one_step(shape.path))


def one_step(path: Path | None) -> bool:
    """Whether a path is a predicate, or one taken backwards."""
    return isinstance(path, Predicate) or (
        isinstance(path, Inverse) and isinstance(path.path, Predicate)
    )


class _Triggers:
    """Gathers what sets off what; triggers that walk the same way are one."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._known: dict[tuple[object, ...], Trigger] = {}

    def add(self, shape: Shape) -> None:
        for target in shape.targets:
            if target.query is not None:
                self._add_retargeted(shape, target.query)
            for read in _target_reads(target.kind, target.term):
                for triggers in self._of(read):
                    if _is_near(read.edge):
                        near = triggers.near.setdefault(read.edge.predicate, Near())
                        by_class = target.kind is TargetKind.CLASS
                        (near.whole if by_class else near.subject_of).add(shape)
                    else:
                        self._far(triggers, read.edge, Anchor.FOCUS).whole.add(shape)
        for unit in self._program.units[shape]:
            for read, anchor in _unit_reads(unit):
                if read.everywhere:
                    units = self._program.everywhere.setdefault(read.edge.predicate, {})
                    units[unit] = None
                    continue
                for triggers in self._of(read):
                    if _is_near(read.edge) and anchor is not Anchor.VALUE:
                        near = triggers.near.setdefault(read.edge.predicate, Near())
                        near.units.setdefault(shape, []).append((unit, anchor is Anchor.EDGE))
                    else:
                        path = unit.shape.path if anchor is Anchor.VALUE else None
                        far = self._far(triggers, read.edge, anchor, path)
                        far.units.setdefault(shape, []).append(unit)

    def _add_retargeted(self, shape: Shape, query: Query) -> None:
        """What its query selects is not looked for backwards: the shape is asked in full."""
        read = {
            read.edge.predicate
            for unit in self._program.units[shape]
            for read, _ in _unit_reads(unit)
        }
        for predicate in read.union({None} if query.predicates is None else query.predicates):
            self._program.retargeted.setdefault(predicate, {})[shape] = None

    def _of(self, read: Read) -> Iterator[Triggers]:
        if Change.ADDED in read.hurts:
            yield self._program.coming
        if Change.REMOVED in read.hurts:
            yield self._program.going

    def _far(
        self, triggers: Triggers, edge: Edge, anchor: Anchor, path: Path | None = None
    ) -> Trigger:
        key = (id(triggers), edge, anchor, None if path is None else str(path))
        if key not in self._known:
            trigger = Trigger(edge.prefix, edge.forwards, anchor, path)
            self._known[key] = trigger
            triggers.far.setdefault(edge.predicate, []).append(trigger)
        return self._known[key]


def _is_near(edge: Edge) -> bool:
    return edge.forwards and edge.prefix == HERE


def _target_reads(kind: TargetKind, term: Node) -> Iterator[Read]:
    match kind:
        case TargetKind.CLASS:
            yield Read(Edge(HERE, TYPE, True), Change.ADDED)
            above = chain(Predicate(TYPE), SUPERCLASSES)
            yield Read(Edge(above, SUBCLASS, True), Change.ADDED)
        case TargetKind.SUBJECTS_OF | TargetKind.OBJECTS_OF:
            assert isinstance(term, NamedNode)
            yield Read(Edge(HERE, term, kind is TargetKind.SUBJECTS_OF), Change.ADDED)


def _unit_reads(unit: Unit) -> Iterator[tuple[Read, Anchor]]:
    path, constraint = unit.shape.path, unit.constraint
    if not unit.each_value:
        for read in _reads(constraint, unit.shape.path, HERE, True):
            yield read, Anchor.FOCUS
        return
    if path is not None:
        for edge in edges(inward(path)):
            yield Read(edge, Change.ADDED), Anchor.EDGE
    for read in _value_reads(constraint, HERE, True):
        yield read, Anchor.FOCUS if path is None else Anchor.VALUE


def shape_reads(shape: Shape, prefix: Path, good: bool | None) -> Iterator[Read]:
    """What counts for whether a shape holds of what ``prefix`` leads to. ``good`` is whether it is
    good if it holds; ``None`` where either may hurt."""
    if shape.deactivated:
        return
    for constraint in shape.constraints:
        yield from _reads(constraint, shape.path, prefix, good)


def _reads(
    constraint: Constraint, path: Path | None, prefix: Path, good: bool | None
) -> Iterator[Read]:
    """The reads of one constraint, its values being what ``path`` leads to from ``prefix``."""
    if path is not None:
        for edge in edges(inward(path), prefix):
            yield Read(
                edge, _towards(_PATH_CHANGES.get(type(constraint), _counts(constraint)), good)
            )
    values = prefix if path is None else chain(prefix, inward(path))
    yield from _value_reads(constraint, values, good)
    if isinstance(constraint, Query):
        yield from _query_reads(constraint, prefix)
    if isinstance(constraint, Compared):
        edge = Edge(prefix, constraint.predicate, True)
        both = constraint.component.endswith("#EqualsConstraintComponent")
        yield Read(edge, _towards(BOTH if both else Change.ADDED, good))


def _query_reads(query: Query, prefix: Path) -> Iterator[Read]:
    """What a query rests on: edges from the focus node, or whatever it mentions."""
    if query.around is None:
        for predicate in (None,) if query.predicates is None else query.predicates:
            yield Read(Edge(HERE, predicate, True), BOTH, everywhere=True)
        return
    for edge in query.around.edges:
        yield Read(Edge(chain(prefix, edge.prefix), edge.predicate, edge.forwards), BOTH)


def _value_reads(constraint: Constraint, values: Path, good: bool | None) -> Iterator[Read]:
    """What a constraint reads of its values, which ``values`` leads to."""
    match constraint:
        case InstanceOf():
            yield Read(Edge(values, TYPE, True), _towards(Change.REMOVED, good))
            above = chain(values, Predicate(TYPE), SUPERCLASSES)
            yield Read(Edge(above, SUBCLASS, True), _towards(Change.REMOVED, good))
        case Closed():
            yield Read(Edge(values, None, True), _towards(Change.ADDED, good))
        case Nested(shape=shape):
            yield from shape_reads(shape, values, good)
        case Combined(shapes=shapes, fewest=fewest, most=most):
            wanted = True if most == len(shapes) else False if fewest == 0 else None
            inner = None if wanted is None or good is None else wanted == good
            for shape in shapes:
                yield from shape_reads(shape, values, inner)
        case Qualified(shape=shape, siblings=siblings):
            for item in (shape, *siblings):
                yield from shape_reads(item, values, None)


_PATH_CHANGES: dict[type[Constraint], Change] = {
    ValueTest: Change.ADDED,
    InstanceOf: Change.ADDED,
    UniqueLanguages: Change.ADDED,
    HasValue: Change.REMOVED,
    Combined: Change.ADDED,
    Nested: Change.ADDED,
    Closed: Change.ADDED,
}


def _counts(constraint: Constraint) -> Change:
    """Which change of its values can hurt a constraint that counts or compares them."""
    match constraint:
        case Count(at_least=at_least) | Qualified(at_least=at_least):
            return Change.REMOVED if at_least else Change.ADDED
        case Compared(component=component):
            both = component.endswith("#EqualsConstraintComponent")
            return BOTH if both else Change.ADDED
    return BOTH


def _towards(change: Change, good: bool | None) -> Change:
    if good is None:
        return BOTH
    return change if good else change.turned()
