"""Random shapes of the kinds that a whole store is asked about, and graphs to ask.

Invariant: targets are classes and subjects of predicates, and paths are single predicates. What
shapes ask of values is of their terms, their types or their number, in any combination.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pyoxigraph import NamedNode

from tests.shapes.oracle.oracle_cases import Case, Statement
from tests.shapes.oracle.oracle_constraints import ON_PROPERTIES
from tests.shapes.oracle.oracle_graphs import chained, facts
from tests.shapes.oracle.oracle_shapes import Maker, ShapesMaker, Spo
from tests.shapes.oracle.oracle_terms import CLASSES, PREDICATES, SUBCLASS, TYPE, Term, sh, typed


class PlainMaker(ShapesMaker):
    """Makes such shapes: some for values, then properties of them, then shapes with targets."""

    def __init__(self, random: Random) -> None:
        super().__init__(random, plain_paths=1.0)
        self._of_values: list[NamedNode] = []

    def make(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            shape = self.name("S")
            self.say(shape, "type", (shape, TYPE, sh("NodeShape")))
            self._constraints(shape, _OF_VALUES)
            self._of_values.append(shape)
            self.nodes.append(shape)
        for _ in range(self.random.randint(1, 4)):
            self.property_shape(targeted=self.chance(0.5))
        for _ in range(self.random.randint(1, 2)):
            self.node_shape(targeted=True)

    def target(self, shape: NamedNode) -> Statement:
        kind = self.random.choice(("Class", "Class", "SubjectsOf"))
        values: Sequence[Term] = CLASSES if kind == "Class" else (*PREDICATES, TYPE, SUBCLASS)
        return self.say(shape, "target", (shape, sh(f"target{kind}"), self.random.choice(values)))

    def on_nodes(self) -> Sequence[tuple[str, Maker]]:
        return _ON_NODES

    def on_properties(self) -> Sequence[tuple[str, Maker]]:
        return _ON_PROPERTIES


def _of_values(predicate: str) -> Maker:
    def make(maker: ShapesMaker, shape: NamedNode) -> list[Spo]:
        assert isinstance(maker, PlainMaker)
        known = [item for item in maker.nodes if item != shape]
        if not known:
            return []
        if predicate in ("node", "not"):
            return [(shape, sh(predicate), maker.random.choice(known))]
        triples: list[Spo] = []
        head = maker.listed(triples, maker.random.sample(known, min(len(known), 2)))
        return [(shape, sh(predicate), head), *triples]

    return make


def _property(maker: ShapesMaker, shape: NamedNode) -> list[Spo]:
    if not maker.properties:
        return []
    return [(shape, sh("property"), maker.random.choice(maker.properties))]


def _class(maker: ShapesMaker, shape: NamedNode) -> list[Spo]:
    return [(shape, sh("class"), maker.random.choice(CLASSES))]


def _number(predicate: str, values: Sequence[int]) -> Maker:
    def make(maker: ShapesMaker, shape: NamedNode) -> list[Spo]:
        value = typed(str(maker.random.choice(values)), "integer")
        return [(shape, sh(predicate), value)]

    return make


_TESTS = tuple(
    item
    for item in ON_PROPERTIES
    if item[0] in ("datatype", "nodeKind", "in", "pattern", "maxLength", "minInclusive")
)
_COMBINED: tuple[tuple[str, Maker], ...] = (
    *((("or", _of_values("or")),) * 3),
    ("and", _of_values("and")),
    ("node", _of_values("node")),
    ("not", _of_values("not")),
    ("xone", _of_values("xone")),
)
_OF_VALUES = (*((("class", _class),) * 5), *_TESTS, *_COMBINED)
_ON_PROPERTIES = (
    *((("class", _class),) * 3),
    *((("minCount", _number("minCount", (0, 1, 1, 1))),) * 3),
    *((("maxCount", _number("maxCount", (0, 1, 1, 2))),) * 3),
    *_TESTS,
    *_COMBINED,
)
_ON_NODES = (
    *((("property", _property),) * 5),
    ("class", _class),
    ("or", _of_values("or")),
)


def plain_case(random: Random) -> Case:
    """A case fit for a store, of more statements than others."""
    case = chained(PlainMaker(random), 1)
    more = facts(random, random.randint(5, 40))
    return Case(case.shapes, tuple(dict.fromkeys((*case.data, *more))), case.changes)
