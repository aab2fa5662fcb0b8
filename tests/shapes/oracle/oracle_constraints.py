"""The constraints that random shapes are made of.

Invariant: a maker gives the triples of one well-formed constraint, or none where the shapes that it
would refer to aren't there yet.
Specification: https://www.w3.org/TR/shacl/#core-components
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pyoxigraph import Literal, NamedNode

from tests.shapes.oracle.oracle_shapes import Maker, ShapesMaker, Spo
from tests.shapes.oracle.oracle_terms import (
    CLASSES,
    DATATYPES,
    FALSE,
    FLAGS,
    LANGUAGE_RANGES,
    LITERALS,
    NODE_KINDS,
    NODES,
    NUMBERS,
    PATTERNS,
    PREDICATES,
    STRINGS,
    TIMES,
    TRUE,
    TYPE,
    Term,
    sh,
    typed,
)


def _one_of(predicate: str, values: Sequence[Term]) -> Maker:
    def make(maker: ShapesMaker, shape: NamedNode) -> list[Spo]:
        return [(shape, sh(predicate), maker.random.choice(values))]

    return make


def _count(predicate: str, values: Sequence[int]) -> Maker:
    return _one_of(predicate, [typed(str(value), "integer") for value in values])


def _list_of(predicate: str, values: Sequence[Term], most: int = 3) -> Maker:
    def make(maker: ShapesMaker, shape: NamedNode) -> list[Spo]:
        triples: list[Spo] = []
        items = maker.random.sample(values, maker.random.randint(1, most))
        head = maker.listed(triples, items)
        return [(shape, sh(predicate), head), *triples]

    return make


def _shape_of(predicate: str, kinds: str) -> Maker:
    def make(maker: ShapesMaker, shape: NamedNode) -> list[Spo]:
        known = _known(maker, kinds)
        return [(shape, sh(predicate), maker.random.choice(known))] if known else []

    return make


def _shapes_of(predicate: str) -> Maker:
    def make(maker: ShapesMaker, shape: NamedNode) -> list[Spo]:
        known = _known(maker, "both")
        if not known:
            return []
        triples: list[Spo] = []
        items = maker.random.sample(known, min(len(known), maker.random.choice((1, 2, 2, 3))))
        head = maker.listed(triples, items)
        return [(shape, sh(predicate), head), *triples]

    return make


def _known(maker: ShapesMaker, kinds: str) -> list[NamedNode]:
    nodes = maker.nodes if kinds in ("nodes", "both") else []
    properties = maker.properties if kinds in ("properties", "both") else []
    return [*nodes, *properties]


def _pattern(maker: ShapesMaker, shape: NamedNode) -> list[Spo]:
    triples: list[Spo] = [(shape, sh("pattern"), Literal(maker.random.choice(PATTERNS)))]
    flags = maker.random.choice(FLAGS)
    if flags is not None:
        triples.append((shape, sh("flags"), Literal(flags)))
    return triples


def _closed(maker: ShapesMaker, shape: NamedNode) -> list[Spo]:
    triples: list[Spo] = [(shape, sh("closed"), TRUE if maker.chance(0.9) else FALSE)]
    if maker.chance(0.7):
        ignored = maker.random.sample((*PREDICATES, TYPE), maker.random.randint(0, 3))
        head = maker.listed(triples, ignored)
        triples.append((shape, sh("ignoredProperties"), head))
    return triples


def _qualified(maker: ShapesMaker, shape: NamedNode) -> list[Spo]:
    known = _known(maker, "both")
    if not known:
        return []
    disjoint = TRUE if maker.chance(0.3) else FALSE
    return maker.qualified(shape, maker.random.choice(known), disjoint)


class CoreMaker(ShapesMaker):
    """Makes shapes of every component of SHACL Core."""

    def on_nodes(self) -> Sequence[tuple[str, Maker]]:
        return ON_NODES

    def on_properties(self) -> Sequence[tuple[str, Maker]]:
        return ON_PROPERTIES


class NestedMaker(ShapesMaker):
    """Makes shapes that ask of other shapes, by long paths: what a change is felt through. What
    they ask in the end holds as often as not, so that a change can turn it."""

    def __init__(self, random: Random) -> None:
        super().__init__(random, plain_paths=0.4)

    def make(self) -> None:
        for _ in range(self.random.randint(3, 6)):
            self.shape()
        if self.chance(0.4):
            self.siblings()
        self.shape(targeted=True)
        self.shape(targeted=True)

    def on_nodes(self) -> Sequence[tuple[str, Maker]]:
        return _NESTED_NODES

    def on_properties(self) -> Sequence[tuple[str, Maker]]:
        return _NESTED_PROPERTIES


_VALUES: tuple[Term, ...] = (*NODES, *NODES, *CLASSES, *LITERALS)
_BOUNDS: tuple[Term, ...] = (*NUMBERS, *NUMBERS, *TIMES, *STRINGS, TRUE)
_LENGTHS = (0, 1, 2, 3, 10, 11)
_RANGES = tuple(Literal(text) for text in LANGUAGE_RANGES)

ON_NODES: tuple[tuple[str, Maker], ...] = (
    ("class", _one_of("class", CLASSES)),
    ("class", _one_of("class", CLASSES)),
    ("datatype", _one_of("datatype", DATATYPES)),
    ("nodeKind", _one_of("nodeKind", NODE_KINDS)),
    ("minExclusive", _one_of("minExclusive", _BOUNDS)),
    ("minInclusive", _one_of("minInclusive", _BOUNDS)),
    ("maxExclusive", _one_of("maxExclusive", _BOUNDS)),
    ("maxInclusive", _one_of("maxInclusive", _BOUNDS)),
    ("minLength", _count("minLength", _LENGTHS)),
    ("maxLength", _count("maxLength", _LENGTHS)),
    ("pattern", _pattern),
    ("languageIn", _list_of("languageIn", _RANGES, 2)),
    ("equals", _one_of("equals", PREDICATES)),
    ("disjoint", _one_of("disjoint", PREDICATES)),
    ("not", _shape_of("not", "both")),
    ("not", _shape_of("not", "both")),
    ("and", _shapes_of("and")),
    ("or", _shapes_of("or")),
    ("or", _shapes_of("or")),
    ("xone", _shapes_of("xone")),
    ("node", _shape_of("node", "nodes")),
    ("node", _shape_of("node", "nodes")),
    ("property", _shape_of("property", "properties")),
    ("property", _shape_of("property", "properties")),
    ("property", _shape_of("property", "properties")),
    ("closed", _closed),
    ("hasValue", _one_of("hasValue", _VALUES)),
    ("in", _list_of("in", _VALUES)),
)
ON_PROPERTIES: tuple[tuple[str, Maker], ...] = (
    *ON_NODES,
    ("minCount", _count("minCount", (0, 1, 1, 2))),
    ("maxCount", _count("maxCount", (0, 1, 1, 2))),
    ("uniqueLang", _one_of("uniqueLang", (TRUE, TRUE, FALSE))),
    ("lessThan", _one_of("lessThan", PREDICATES)),
    ("lessThanOrEquals", _one_of("lessThanOrEquals", PREDICATES)),
    ("qualified", _qualified),
    ("qualified", _qualified),
)
_NESTED_NODES: tuple[tuple[str, Maker], ...] = (
    *(item for item in ON_NODES if item[0] in ("not", "and", "or", "xone", "node", "property")),
    *(item for item in ON_NODES if item[0] in ("class", "equals", "disjoint", "closed")),
    ("nodeKind", _one_of("nodeKind", (sh("IRI"), sh("IRI"), sh("Literal")))),
    ("hasValue", _one_of("hasValue", NODES[:4])),
    ("in", _list_of("in", (*NODES[:4], *CLASSES[:2], typed("1", "integer")), 5)),
)
_NESTED_PROPERTIES: tuple[tuple[str, Maker], ...] = (
    *_NESTED_NODES,
    *(item for item in ON_PROPERTIES if item[0] in ("minCount", "maxCount", "lessThan")),
    *((("uniqueLang", _one_of("uniqueLang", (TRUE,))),) * 3),
    *((("qualified", _qualified),) * 4),
)
