"""Shapes as they were read: what they target, and what they ask.

Invariant: a value of these classes is well formed; nothing refers to itself.
Specification: https://www.w3.org/TR/shacl/#core-components
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pyoxigraph import Literal, NamedNode, Triple

from shapes.neighbourhood import Neighbourhood
from shapes.paths import Path
from shapes.sparql_text import Template
from shapes.view import Node


class TargetKind(Enum):
    CLASS = "class"
    NODE = "node"
    SUBJECTS_OF = "subjectsOf"
    OBJECTS_OF = "objectsOf"
    QUERY = "query"
    """What a query selects."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which nodes a shape is asked of."""

    kind: TargetKind
    term: Node
    query: Query | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Constraint:
    """One thing a shape asks. ``component`` is the IRI of its constraint component."""

    component: str


@dataclass(frozen=True, slots=True, eq=False)
class ValueTest(Constraint):
    """Asked of each value by itself; nothing else is read. ``requirement`` says it in words, after
    "must", and ``parameters`` are what a message may name. These and ``members`` are all that the
    test was made of: tests of the same component with the same of them say the same."""

    holds: Callable[[Node], bool]
    requirement: str
    parameters: tuple[tuple[str, Node], ...] = ()
    members: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class InstanceOf(Constraint):
    """``sh:class``"""

    type: NamedNode


@dataclass(frozen=True, slots=True, eq=False)
class Count(Constraint):
    """``sh:minCount`` or ``sh:maxCount``"""

    bound: int
    at_least: bool


@dataclass(frozen=True, slots=True, eq=False)
class UniqueLanguages(Constraint):
    """``sh:uniqueLang``"""


@dataclass(frozen=True, slots=True, eq=False)
class HasValue(Constraint):
    """``sh:hasValue``"""

    value: Node


@dataclass(frozen=True, slots=True, eq=False)
class Compared(Constraint):
    """``sh:equals``, ``sh:disjoint``, ``sh:lessThan``, ``sh:lessThanOrEquals``: the values against
    those of another predicate of the focus node."""

    predicate: NamedNode


@dataclass(frozen=True, slots=True, eq=False)
class Combined(Constraint):
    """``sh:not``, ``sh:and``, ``sh:or``, ``sh:xone``, ``sh:node``, asked of each value: ``fewest``
    to ``most`` of the shapes must hold."""

    shapes: tuple[Shape, ...]
    fewest: int
    most: int


@dataclass(frozen=True, slots=True, eq=False)
class Nested(Constraint):
    """``sh:property``: a property shape asked of each value."""

    shape: Shape


@dataclass(frozen=True, slots=True, eq=False)
class Qualified(Constraint):
    """``sh:qualifiedMinCount`` or ``sh:qualifiedMaxCount``: how many values the shape may hold of.
    ``siblings`` are what those must not hold of."""

    shape: Shape
    siblings: tuple[Shape, ...]
    bound: int
    at_least: bool


@dataclass(frozen=True, slots=True, eq=False)
class Closed(Constraint):
    """``sh:closed``: the only predicates that a value may have."""

    allowed: frozenset[NamedNode]


@dataclass(frozen=True, slots=True, eq=False)
class Query(Constraint):
    """``sh:sparql``, or a constraint component of a shapes graph: a query, asked of each focus node
    with SELECT, of each value with ASK. ``bound`` are its parameters; ``around`` is what it rests
    on, ``None`` where that may be anything, and then ``predicates`` are those that count, ``None``
    for all. ``shapes`` is the shapes graph, where the query reads it."""

    source: Node
    template: Template
    messages: tuple[Literal, ...]
    label: str | None
    bound: tuple[tuple[str, Node], ...]
    around: Neighbourhood | None
    predicates: frozenset[NamedNode] | None
    shapes: ShapesCopy | None


@dataclass(frozen=True, slots=True, eq=False)
class ShapesCopy:
    """The shapes graph as a query reads it."""

    name: NamedNode
    triples: tuple[Triple, ...]


@dataclass(slots=True, eq=False)
class Shape:
    """A node shape, or a property shape when it has a path.

    ``severity`` is ``Violation``, ``Warning``, ``Info`` or another IRI in full. Its constraints are
    filled in as the shapes it refers to are read.
    """

    node: Node
    path: Path | None
    severity: str
    messages: tuple[Literal, ...]
    deactivated: bool
    targets: tuple[Target, ...] = ()
    constraints: list[Constraint] = field(default_factory=list)
    passes: Callable[[Any, Node], bool] | None = None
    """What :mod:`shapes.closures` made of it, once it was asked."""
