"""Random graphs over the closed vocabulary, random changes of them, and whole cases.

Invariant: the cases of one seed are the same everywhere. A case for a store has no blank nodes, its
literals are canonical, and its triples lie in two graphs, some in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from pyoxigraph import BlankNode, Literal, NamedNode, Quad

from ontology.ids import Ids
from tests.shapes.oracle.oracle_cases import Case, Change, Statement, recursive
from tests.shapes.oracle.oracle_constraints import CoreMaker, NestedMaker
from tests.shapes.oracle.oracle_shapes import ShapesMaker
from tests.shapes.oracle.oracle_terms import (
    BLANKS,
    CLASSES,
    LITERALS,
    NODES,
    NUMBERS,
    PREDICATES,
    RAW_LITERALS,
    STRINGS,
    SUBCLASS,
    TAGGED,
    TRUE,
    TYPE,
    Term,
    ex,
    rdfs,
    sh,
)

IDS = Ids()
SHAPES_GRAPH = NamedNode(IDS.graph("shapes"))
GRAPHS = tuple(NamedNode(IDS.lineage_graph(name)) for name in ("shop", "billing"))
META = ex("Meta")

Subject = NamedNode | BlankNode


@dataclass(frozen=True)
class Terms:
    """What a graph is made of."""

    nodes: Sequence[Subject] = NODES
    literals: Sequence[Literal] = LITERALS
    numbers: Sequence[Literal] = NUMBERS
    tagged: Sequence[Literal] = TAGGED


ALL = Terms()
FEW = Terms(NODES[:4], (*STRINGS[:1], *TAGGED[:3]), NUMBERS[1:4], TAGGED[:3])
RAW = Terms((*NODES[:3], *BLANKS), (*LITERALS, *RAW_LITERALS, *RAW_LITERALS))


def store_case(random: Random, changes: int = 3) -> Case:
    """Shapes, a graph and changes that follow one another, fit for a store."""
    return chained(CoreMaker(random), changes)


def nested_case(random: Random, changes: int = 20) -> Case:
    """As :func:`store_case`, with shapes that a change is felt through, and changes of one quad
    mostly: a violation that is felt from one side only is lost sight of among others."""
    return chained(NestedMaker(random), changes, FEW, single=0.8)


def reshaped_case(random: Random, changes: int = 12) -> Case:
    """As :func:`store_case`, with changes that change the shapes too, mostly."""
    maker = (CoreMaker if random.random() < 0.7 else NestedMaker)(random)
    return chained(maker, changes, FEW if random.random() < 0.5 else ALL, reshaping=0.75)


def chained(
    maker: ShapesMaker,
    changes: int,
    terms: Terms = ALL,
    single: float = 0.2,
    reshaping: float = 0.12,
) -> Case:
    """The shapes of this maker, with a graph and changes, of which a share is of a single quad and
    a share of the others changes shapes."""
    random = maker.random
    shapes = _made(maker)
    data = facts(random, random.randint(2, 14), terms)
    state = Case(shapes, data)
    made: list[Change] = []
    for _ in range(changes):
        if random.random() < single:
            change = _single(random, state, terms)
        else:
            change = _change(random, state, maker, terms, reshaping)
        if not recursive(state.after(change).shapes):
            made.append(change)
            state = state.after(change)
    return Case(shapes, data, tuple(made))


def raw_case(random: Random) -> Case:
    """Shapes and a graph that no store would keep as it is: blank nodes, literals as they come."""
    shapes = _made(CoreMaker(random))
    data = facts(random, random.randint(2, 14), RAW)
    return Case(shapes, data)


def _made(maker: ShapesMaker) -> tuple[Statement, ...]:
    maker.make()
    while recursive(maker.statements):
        maker.statements.pop()
    return tuple(maker.statements)


def facts(random: Random, count: int, terms: Terms = ALL) -> tuple[Quad, ...]:
    made = (Quad(*_fact(random, terms), random.choice(GRAPHS)) for _ in range(count))
    return tuple(dict.fromkeys(made))


def _fact(random: Random, terms: Terms) -> tuple[Subject, NamedNode, Term]:
    kind = random.random()
    subject = random.choice(terms.nodes)
    if kind < 0.3:
        return subject, TYPE, random.choice(CLASSES)
    if kind < 0.4:
        # A class may be below itself by way of others, which is no error.
        return random.choice(CLASSES), SUBCLASS, random.choice(CLASSES)
    if kind < 0.42:
        return META, SUBCLASS, rdfs("Class")
    predicate = random.choice(PREDICATES)
    if kind < 0.7:
        return subject, predicate, random.choice((*terms.nodes, *terms.nodes, *CLASSES))
    if kind < 0.8:
        return subject, predicate, random.choice(terms.numbers)
    if kind < 0.87:
        return subject, predicate, random.choice(terms.tagged)
    return subject, predicate, random.choice(terms.literals)


def _single(random: Random, state: Case, terms: Terms) -> Change:
    if state.data and random.random() < 0.5:
        return Change(removals=(random.choice(state.data),))
    added = facts(random, 1, terms)
    return Change() if added[0] in state.data else Change(additions=added)


def _change(
    random: Random, state: Case, maker: ShapesMaker, terms: Terms, reshaping: float
) -> Change:
    known = list(state.data)
    removals = random.sample(known, min(len(known), random.choice((0, 0, 1, 1, 2, 3))))
    additions = list(facts(random, random.choice((0, 1, 1, 2, 3)), terms))
    if removals and random.random() < 0.2:
        # What one graph loses another has, or gets.
        moved = removals[0]
        other = GRAPHS[1] if moved.graph_name == GRAPHS[0] else GRAPHS[0]
        additions.append(Quad(moved.subject, moved.predicate, moved.object, other))
    present = set(known)
    added = tuple(quad for quad in dict.fromkeys(additions) if quad not in present)
    if random.random() < reshaping:
        shapes_added, shapes_removed = _shapes_change(random, state, maker)
    else:
        shapes_added, shapes_removed = (), ()
    return Change(added, tuple(removals), shapes_added, shapes_removed)


def _shapes_change(
    random: Random, state: Case, maker: ShapesMaker
) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
    kind = random.random()
    present = set(state.shapes)
    if kind < 0.4:
        going = [item for item in state.shapes if item.removable]
        return (), (random.choice(going),) if going else ()
    before = len(maker.statements)
    if kind < 0.7:
        maker.shape(targeted=True)
    elif kind < 0.8:
        maker.target(random.choice([*maker.nodes, *maker.properties]))
    elif kind < 0.92:
        shape = random.choice([*maker.nodes, *maker.properties])
        maker.constraint(shape, {item.slot for item in state.shapes if item.shape == shape})
    else:
        silent = [item for item in maker.nodes if not _says(state, item, "deactivated")]
        if silent:
            shape = random.choice(silent)
            maker.say(shape, "deactivated", (shape, sh("deactivated"), TRUE))
    made = tuple(item for item in maker.statements[before:] if item not in present)
    return made, ()


def _says(state: Case, shape: NamedNode, slot: str) -> bool:
    return any(item.shape == shape and item.slot == slot for item in state.shapes)
