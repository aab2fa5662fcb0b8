"""The view of a change says of every node what the state after it would say.

A property test holds it against the same triples in memory, with batches so small that every way of
reading is taken; the other tests count what is read, since cost must follow the change.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyoxigraph import Literal, NamedNode, Quad

from ontology.ids import Ids
from ontology.store import GraphStore
from ontology.terms import Delta
from ontology.vocab import Sh
from shapes import overlay
from shapes.overlay import SUBCLASS, Overlay
from shapes.validator import Validator
from shapes.view import TYPE, MemoryView, Node
from shapes.whole import EXAMPLES

IDS = Ids()
GRAPHS = [NamedNode(IDS.lineage_graph("one")), NamedNode(IDS.lineage_graph("two"))]
SYSTEM = NamedNode(IDS.graph("inferred"))
SHAPES = NamedNode(IDS.graph("shapes"))
NODES = [NamedNode(f"http://e/n{number}") for number in range(5)]
CLASSES = [NamedNode(f"http://e/C{number}") for number in range(2)]
PREDICATES = [NamedNode(f"http://e/p{number}") for number in range(3)]
LITERALS = [Literal("x"), Literal("x", language="en"), Literal("1")]

STATEMENTS = st.one_of(
    st.tuples(
        st.sampled_from(NODES), st.sampled_from(PREDICATES), st.sampled_from([*NODES, *LITERALS])
    ),
    st.tuples(st.sampled_from(NODES), st.just(TYPE), st.sampled_from(CLASSES)),
)
QUADS = st.frozensets(
    st.builds(
        lambda spo, graph: Quad(spo[0], spo[1], spo[2], graph), STATEMENTS, st.sampled_from(GRAPHS)
    ),
    max_size=25,
)


@pytest.fixture
def tiny_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "FEW", 1)
    monkeypatch.setattr(overlay, "BATCH", 2)


@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    QUADS,
    QUADS,
    QUADS,
    st.lists(st.integers(0, 5), max_size=6),
    st.sampled_from([1, 3, 50]),
    st.booleans(),
)
def test_it_says_what_the_state_after_the_change_says(
    tiny_batches: None,
    before: frozenset[Quad],
    added: frozenset[Quad],
    removed: frozenset[Quad],
    asked_first: list[int],
    many: int,
    on_disk: bool,
) -> None:
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        store = GraphStore(Path(folder) / "graph" if on_disk else None, IDS)
        _compare(store, before, added, removed, asked_first, many)


def _compare(
    store: GraphStore,
    before: frozenset[Quad],
    added: frozenset[Quad],
    removed: frozenset[Quad],
    asked_first: list[int],
    many: int,
) -> None:
    noise = frozenset(Quad(q.subject, q.predicate, q.object, SYSTEM) for q in added)
    store.apply(Delta(before), Delta(noise), 0)
    delta = store.effective(Delta(added - removed, removed))
    view = Overlay(store, delta)
    after = (before - delta.removals) | delta.additions
    expected = MemoryView(after)
    overlay.MANY, kept = many, overlay.MANY
    try:
        _ask_first(view, delta, asked_first)
    finally:
        overlay.MANY = kept
    asked: list[Node] = [*NODES, *LITERALS, *CLASSES]
    for node in asked:
        for predicate in (*PREDICATES, TYPE):
            assert set(view.objects(node, predicate)) == set(expected.objects(node, predicate))
            assert set(view.subjects(predicate, node)) == set(expected.subjects(predicate, node))
        assert _sets(view.outgoing(node)) == _sets(expected.outgoing(node))
    for predicate in (*PREDICATES, TYPE):
        pairs = list(view.pairs(predicate))
        assert set(pairs) == set(expected.pairs(predicate))
        assert len(pairs) == len(set(pairs))
        values = [value for _, value in pairs]
        turns = [a for a, b in zip([None, *values], values, strict=False) if a != b]
        assert len(turns) == len(set(values)), "the same values come together"
    for kind in CLASSES:
        found = list(view.instances(kind))
        assert len(found) == len(set(found))
        assert set(found) == set(expected.instances(kind))


def _ask_first(view: Overlay, delta: Delta, order: list[int]) -> None:
    """Reads in batches, in an order of hypothesis' choice."""
    for number in order:
        if number == 0:
            view.prefetch(TYPE, [*NODES, *LITERALS])
        elif number == 1:
            view.prefetch(PREDICATES[0], [*NODES, *LITERALS], backwards=True)
        elif number == 2:
            view.prefetch_nodes([*NODES, *LITERALS])
        elif number == 3:
            view.prefetch_pointing([*NODES, *LITERALS])
        elif number == 4:
            view.note_new(NODES)
        else:
            view.forget()


def _sets(values: object) -> dict[NamedNode, set[Node]]:
    assert isinstance(values, dict)
    return {predicate: set(found) for predicate, found in values.items()}


# --- the cost follows the change


class Counted(GraphStore):
    """Counts the quads and rows that are read."""

    def __init__(self, path: Path | None, ids: Ids) -> None:
        super().__init__(path, ids)
        self.read = 0

    def asserted(self, *pattern: Any) -> Iterator[Quad]:
        for quad in super().asserted(*pattern):
            self.read += 1
            yield quad

    def rows(self, query: str) -> Iterator[Any]:
        for row in super().rows(query):
            self.read += 1
            yield row


HUB_SHAPE = NamedNode("http://e/Hub")
HUB, MEMBER, LABEL = NODES[0], PREDICATES[0], PREDICATES[1]
MEMBERS = 5_000


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Counted, Validator]:
    """A node with thousands of values, each of which must be of a class, and has one label."""
    store = Counted(tmp_path_factory.mktemp("crowd") / "graph", IDS)
    sh = {name: NamedNode(getattr(Sh, name)) for name in ("path", "class_", "maxCount")}
    shape, values, label = HUB_SHAPE, NamedNode("http://e/values"), NamedNode("http://e/label")
    integer = NamedNode("http://www.w3.org/2001/XMLSchema#integer")
    shapes = {
        Quad(shape, TYPE, NamedNode(Sh.NodeShape), SHAPES),
        Quad(shape, NamedNode(Sh.targetClass), CLASSES[0], SHAPES),
        Quad(shape, NamedNode(Sh.property), values, SHAPES),
        Quad(shape, NamedNode(Sh.property), label, SHAPES),
        Quad(values, sh["path"], MEMBER, SHAPES),
        Quad(values, sh["class_"], CLASSES[1], SHAPES),
        Quad(values, NamedNode(Sh.minCount), Literal("1", datatype=integer), SHAPES),
        Quad(label, sh["path"], LABEL, SHAPES),
        Quad(label, sh["maxCount"], Literal("1", datatype=integer), SHAPES),
    }
    data = {Quad(HUB, TYPE, CLASSES[0], GRAPHS[0]), Quad(HUB, LABEL, Literal("hub"), GRAPHS[0])}
    for number in range(MEMBERS):
        member = NamedNode(f"http://e/member/{number}")
        data |= {Quad(HUB, MEMBER, member, GRAPHS[0]), Quad(member, TYPE, CLASSES[1], GRAPHS[0])}
    store.apply(Delta(frozenset(shapes | data)), Delta(), 0)
    validator = Validator(store)
    assert validator.validate(Delta(frozenset({Quad(HUB, LABEL, Literal("x"), GRAPHS[1])}))).results
    return store, validator


NEW = NamedNode("http://e/member/new")
OLD = NamedNode("http://e/member/7")
CHANGES = {
    "another value": (Delta(frozenset({Quad(HUB, MEMBER, OLD, GRAPHS[1])})), 0),
    "another value, of no class": (Delta(frozenset({Quad(HUB, MEMBER, NEW, GRAPHS[0])})), 1),
    "one value less": (Delta(frozenset(), frozenset({Quad(HUB, MEMBER, OLD, GRAPHS[0])})), 0),
    "a value's class goes": (
        Delta(frozenset(), frozenset({Quad(OLD, TYPE, CLASSES[1], GRAPHS[0])})),
        1,
    ),
    "a second label": (Delta(frozenset({Quad(HUB, LABEL, Literal("y"), GRAPHS[0])})), 1),
    "something nobody asks for": (Delta(frozenset({Quad(HUB, PREDICATES[2], OLD, GRAPHS[0])})), 0),
}


@pytest.mark.parametrize(("delta", "results"), CHANGES.values(), ids=CHANGES)
def test_a_node_with_very_many_values_costs_what_changes(
    crowd: tuple[Counted, Validator], delta: Delta, results: int
) -> None:
    store, validator = crowd
    store.read = 0
    assert len(validator.validate(delta).results) == results
    assert store.read < 60


def test_a_change_that_reaches_too_much_is_held_against_everything(
    crowd: tuple[Counted, Validator], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, validator = crowd
    other = Quad(CLASSES[1], SUBCLASS, NODES[1], GRAPHS[0])
    harmless = validator.examine(Delta(frozenset({other})))
    assert harmless.report.conforms
    assert not harmless.reads.everything
    # The class of all its values is no longer one of that kind.
    below = Quad(CLASSES[1], SUBCLASS, CLASSES[0], GRAPHS[0])
    reached = validator.examine(Delta(frozenset({below})))
    assert not reached.reads.everything
    monkeypatch.setattr("shapes.validator.MOST", 100)
    everything = validator.examine(Delta(frozenset({below})))
    assert everything.reads.everything
    # Examples are kept, and counted they are all.
    assert everything.report.nodes == reached.report.nodes == ((f"{HUB_SHAPE}", MEMBERS),)
    for report in (everything.report, reached.report):
        assert len(report.results) == EXAMPLES
        assert report.omitted == MEMBERS - EXAMPLES
