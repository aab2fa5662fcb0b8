"""Random shapes: small, well formed, and as nasty as their makers know how.

Invariant: a shape refers only to shapes made before it, so that no shape is recursive (which SHACL
leaves undefined); and what the specification allows once per shape is stated once.
Specification: https://www.w3.org/TR/shacl/#core-components
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from random import Random

from pyoxigraph import Literal, NamedNode, Triple

from tests.shapes.oracle.oracle_cases import Statement
from tests.shapes.oracle.oracle_terms import (
    CLASSES,
    FALSE,
    LITERALS,
    NODES,
    PREDICATES,
    SEVERITIES,
    SUBCLASS,
    TRUE,
    TYPE,
    Term,
    ex,
    rdf,
    rdfs,
    sh,
    typed,
)

PATH_PREFIX = "path-"
NIL = rdf("nil")


@dataclass
class ShapesMaker(ABC):
    """Makes one shapes graph, as its random numbers will have it; subclasses say of what."""

    random: Random
    plain_paths: float = 0.55
    """The share of paths that are a single predicate."""
    statements: list[Statement] = field(default_factory=list)
    nodes: list[NamedNode] = field(default_factory=list)
    properties: list[NamedNode] = field(default_factory=list)
    _names: int = 0

    def make(self) -> None:
        """Two to six shapes; at least one has targets."""
        for _ in range(self.random.randint(1, 5)):
            self.shape()
        if self.chance(0.12):
            self.siblings()
        self.shape(targeted=True)

    @abstractmethod
    def on_nodes(self) -> Sequence[tuple[str, Maker]]:
        """What node shapes may ask, one entry as likely as another."""

    @abstractmethod
    def on_properties(self) -> Sequence[tuple[str, Maker]]:
        """What property shapes may ask."""

    def shape(self, targeted: bool = False) -> NamedNode:
        """One more shape, which may refer to those that are there."""
        if self.chance(0.5):
            return self.property_shape(targeted)
        return self.node_shape(targeted)

    def node_shape(self, targeted: bool = False) -> NamedNode:
        free = [item for item in CLASSES if item not in self.nodes]
        implicit = bool(free) and self.chance(0.12)
        shape = self.random.choice(free) if implicit else self.name("S")
        if not self.chance(0.1) or implicit:
            self.say(shape, "type", (shape, TYPE, sh("NodeShape")))
        if implicit:
            self._as_class(shape)
        self._targets(shape, targeted and not implicit)
        self._constraints(shape, self.on_nodes())
        self.nodes.append(shape)
        return shape

    def property_shape(self, targeted: bool = False) -> NamedNode:
        shape = self.name("P")
        if not self.chance(0.2):
            self.say(shape, "type", (shape, TYPE, sh("PropertyShape")))
        self._path_of(shape)
        self._targets(shape, targeted)
        self._constraints(shape, self.on_properties())
        self.properties.append(shape)
        return shape

    def siblings(self) -> None:
        """Qualified shapes that exclude each other."""
        kinds = [self._kind(), self._kind()]
        parent = self.name("S")
        self.say(parent, "type", (parent, TYPE, sh("NodeShape")))
        path = self.random.choice(PREDICATES)
        for kind in kinds:
            shape = self.name("P")
            self.say(shape, "path", (shape, sh("path"), path), removable=False)
            disjoint = TRUE if self.chance(0.8) else FALSE
            self.say(shape, "qualified", *self.qualified(shape, kind, disjoint))
            self.properties.append(shape)
            self.say(parent, "property", (parent, sh("property"), shape))
        self._targets(parent, True)
        self.nodes.append(parent)

    def _kind(self) -> NamedNode:
        """A shape to count by: of a class, with some property, or any other."""
        if self.chance(0.3):
            return self.node_shape()
        if self.chance(0.5):
            shape = self.name("S")
            kind = self.random.choice(CLASSES)
            self.say(shape, "class", (shape, sh("class"), kind), removable=False)
            self.nodes.append(shape)
        else:
            shape = self.name("P")
            path = (shape, sh("path"), self.random.choice(PREDICATES))
            least = (shape, sh("minCount"), typed("1", "integer"))
            self.say(shape, "minCount", path, least, removable=False)
            self.properties.append(shape)
        return shape

    # --- the parts of a shape

    def _as_class(self, shape: NamedNode) -> None:
        """It targets its own instances: its type is a class of classes."""
        if self.chance(0.7):
            self.say(shape, "class", (shape, TYPE, rdfs("Class")))
            return
        meta = ex("Meta")
        self.say(shape, "class", (shape, TYPE, meta))
        self.say(meta, "meta", (meta, SUBCLASS, rdfs("Class")))

    def _targets(self, shape: NamedNode, wanted: bool) -> None:
        if not wanted and not self.chance(0.25):
            return
        for _ in range(self.random.choice((1, 1, 1, 2))):
            self.target(shape)

    def target(self, shape: NamedNode) -> Statement:
        """One more target of the shape."""
        kind = self.random.choice(("Class", "Class", "Class", "Node", "SubjectsOf", "ObjectsOf"))
        values: Sequence[Term] = (*PREDICATES, *PREDICATES, TYPE, SUBCLASS)
        if kind == "Class":
            values = CLASSES
        elif kind == "Node":
            values = (*NODES, *NODES, *LITERALS)
        value = self.random.choice(values)
        return self.say(shape, "target", (shape, sh(f"target{kind}"), value))

    def _constraints(self, shape: NamedNode, kinds: Sequence[tuple[str, Maker]]) -> None:
        if self.chance(0.2):
            self.say(shape, "severity", (shape, sh("severity"), self.random.choice(SEVERITIES)))
        if self.chance(0.06):
            value = TRUE if self.chance(0.8) else FALSE
            self.say(shape, "deactivated", (shape, sh("deactivated"), value))
        stated: set[str] = set()
        for _ in range(self.random.choice((1, 1, 2, 2, 3))):
            slot, maker = self.random.choice(kinds)
            if slot in stated and slot not in _REPEATED:
                continue
            triples = maker(self, shape)
            if triples:
                stated.add(slot)
                self.say(shape, slot, *triples)

    def constraint(self, shape: NamedNode, stated: Collection[str]) -> None:
        """One more constraint, if chance has it, of a shape that states these slots."""
        kinds = self.on_nodes() if shape in self.nodes else self.on_properties()
        slot, maker = self.random.choice(kinds)
        if slot not in stated or slot in _REPEATED:
            triples = maker(self, shape)
            if triples:
                self.say(shape, slot, *triples)

    def _path_of(self, shape: NamedNode) -> None:
        triples: list[Spo] = []
        path = self.path(triples, 0)
        self.say(shape, "path", (shape, sh("path"), path), *triples, removable=False)

    def path(self, triples: list[Spo], depth: int) -> NamedNode:
        """A path, whose parts are added to the triples."""
        if self.chance(self.plain_paths) or depth == 3:
            return self.random.choice((*PREDICATES, *PREDICATES, TYPE, SUBCLASS))
        kind = self.random.choice(
            ("inversePath", "zeroOrMorePath", "oneOrMorePath", "zeroOrOnePath", "seq", "or")
        )
        node = self.name(PATH_PREFIX)
        if kind in ("seq", "or"):
            items = [self.path(triples, depth + 1) for _ in range(self.random.choice((2, 2, 3)))]
            if kind == "seq":
                return self.listed(triples, items, PATH_PREFIX)
            head = self.listed(triples, items, PATH_PREFIX)
            triples.append((node, sh("alternativePath"), head))
        else:
            triples.append((node, sh(kind), self.path(triples, depth + 1)))
        return node

    def listed(self, triples: list[Spo], items: Sequence[Term], prefix: str = "list-") -> NamedNode:
        """The head of a list of these."""
        head = NIL
        for item in reversed(items):
            cell = self.name(prefix)
            triples += [(cell, rdf("first"), item), (cell, rdf("rest"), head)]
            head = cell
        return head

    # --- constraints

    def qualified(self, shape: NamedNode, kind: NamedNode, disjoint: Literal) -> list[Spo]:
        """A qualified constraint: its shape, its counts, and whether siblings exclude it."""
        triples: list[Spo] = [(shape, sh("qualifiedValueShape"), kind)]
        low, high = self.random.choice(((1, None), (2, None), (None, 0), (None, 1), (1, 1), (0, 2)))
        if low is not None:
            triples.append((shape, sh("qualifiedMinCount"), typed(str(low), "integer")))
        if high is not None:
            triples.append((shape, sh("qualifiedMaxCount"), typed(str(high), "integer")))
        if disjoint == TRUE or self.chance(0.1):
            triples.append((shape, sh("qualifiedValueShapesDisjoint"), disjoint))
        return triples

    # --- helpers

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def name(self, prefix: str) -> NamedNode:
        self._names += 1
        return ex(f"{prefix}{self._names}")

    def say(self, shape: NamedNode, slot: str, *triples: Spo, removable: bool = True) -> Statement:
        made = tuple(Triple(*triple) for triple in triples)
        statement = Statement(shape, slot, made, removable)
        self.statements.append(statement)
        return statement


Spo = tuple[NamedNode, NamedNode, Term]
Maker = Callable[[ShapesMaker, NamedNode], list[Spo]]

# Each value of these is a constraint of its own.
_REPEATED = frozenset(
    (
        *("class", "equals", "disjoint", "lessThan", "lessThanOrEquals", "not", "and", "or"),
        *("xone", "node", "property", "hasValue"),
    )
)
