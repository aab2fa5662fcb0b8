"""The store: one atomic update per entry, and a default graph that says each triple once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyoxigraph import DefaultGraph, Literal, NamedNode, Quad, QuerySolutions

from ontology.errors import StoreError
from ontology.ids import Ids
from ontology.store import GraphStore, open_scratch, open_snapshot
from ontology.terms import Delta, canonical_quad

IDS = Ids()
SHOP = NamedNode(IDS.lineage_graph("shop"))
BILLING = NamedNode(IDS.lineage_graph("billing"))
SECRET = NamedNode(IDS.lineage_graph("secret"))
PROPOSALS = NamedNode(IDS.graph("proposals"))
RESTRICTED = NamedNode(IDS.graph("proposals/restricted"))
P = NamedNode("http://e/p")
INTEGER = NamedNode("http://www.w3.org/2001/XMLSchema#integer")


def quad(graph: NamedNode, subject: str = "s", value: str = "x") -> Quad:
    return Quad(NamedNode(f"http://e/{subject}"), P, Literal(value), graph)


def adds(*quads: Quad) -> Delta:
    return Delta(frozenset(quads))


def removes(*quads: Quad) -> Delta:
    return Delta(frozenset(), frozenset(quads))


def merge(store: GraphStore) -> set[Quad]:
    return {found for found in store.match() if isinstance(found.graph_name, DefaultGraph)}


def merged(quads: Iterable[Quad]) -> set[Quad]:
    return {Quad(item.subject, item.predicate, item.object, DefaultGraph()) for item in quads}


@pytest.fixture
def store() -> GraphStore:
    return GraphStore(None, IDS)


def count(store: GraphStore, tmp_path: Path) -> int:
    """What an analyst's COUNT over the default graph of a snapshot says."""
    store.checkpoint(tmp_path / "snapshot")
    results = open_snapshot(tmp_path / "snapshot").query(
        "SELECT (COUNT(*) AS ?n) WHERE { ?s <http://e/p> ?o }"
    )
    assert isinstance(results, QuerySolutions)
    (row,) = results
    assert isinstance(row["n"], Literal)
    return int(row["n"].value)


def test_a_triple_of_two_graphs_is_one_triple_also_to_count(tmp_path: Path) -> None:
    store = GraphStore(tmp_path / "graph", IDS)
    store.apply(adds(quad(SHOP), quad(BILLING), quad(SHOP, "other")), Delta(), 0)
    assert merge(store) == merged([quad(SHOP), quad(SHOP, "other")])
    assert count(store, tmp_path) == 2


def test_a_triple_stays_in_the_merge_until_no_graph_states_it(store: GraphStore) -> None:
    store.apply(adds(quad(SHOP), quad(BILLING)), Delta(), 0)
    store.apply(removes(quad(SHOP)), Delta(), 1)
    assert merge(store) == merged([quad(BILLING)])
    store.apply(removes(quad(BILLING)), Delta(), 2)
    assert not merge(store)


def test_a_triple_that_moves_between_graphs_stays(store: GraphStore) -> None:
    store.apply(adds(quad(SHOP)), Delta(), 0)
    store.apply(Delta(frozenset({quad(BILLING)}), frozenset({quad(SHOP)})), Delta(), 1)
    assert merge(store) == merged([quad(BILLING)])


def test_a_triple_taken_from_both_graphs_at_once_goes(store: GraphStore) -> None:
    store.apply(adds(quad(SHOP), quad(BILLING)), Delta(), 0)
    store.apply(removes(quad(SHOP), quad(BILLING)), Delta(), 1)
    assert not merge(store)


def test_restricted_graphs_are_not_merged(store: GraphStore) -> None:
    restricted = {SECRET.value}
    store.apply(adds(quad(SECRET), quad(SHOP, "open")), Delta(), 0, restricted)
    assert merge(store) == merged([quad(SHOP, "open")])
    # What an open graph says too stays open when the restricted one takes it back, and the other
    # way about it is not held in the merge by a graph that nobody may read.
    store.apply(adds(quad(SHOP)), Delta(), 1, restricted)
    store.apply(removes(quad(SECRET)), Delta(), 2, restricted)
    assert quad(SHOP) in store
    assert merge(store) == merged([quad(SHOP), quad(SHOP, "open")])
    store.apply(adds(quad(SECRET)), Delta(), 3, restricted)
    store.apply(removes(quad(SHOP)), Delta(), 4, restricted)
    assert merge(store) == merged([quad(SHOP, "open")])


def test_system_quads_are_merged_but_for_the_restricted_ones(store: GraphStore) -> None:
    store.apply(Delta(), adds(quad(PROPOSALS), quad(RESTRICTED, "hidden")), 0)
    assert merge(store) == merged([quad(PROPOSALS)])
    assert list(store.asserted()) == []


def test_asserted_leaves_out_the_merge_and_the_systems_graphs(store: GraphStore) -> None:
    store.apply(adds(quad(SHOP), quad(BILLING)), adds(quad(PROPOSALS)), 0)
    assert set(store.asserted()) == {quad(SHOP), quad(BILLING)}
    assert set(store.asserted(value=Literal("x"))) == {quad(SHOP), quad(BILLING)}
    assert store.holds(SHOP.value)
    assert not store.holds(SECRET.value)


def test_the_head_moves_with_each_entry_and_stands_once(store: GraphStore) -> None:
    assert store.head() is None
    for head in range(3):
        store.apply(adds(quad(SHOP, f"s{head}")), Delta(), head)
        assert store.head() == head
    assert len(list(store.match(graph=NamedNode(IDS.graph("proofs"))))) == 1


def test_no_ops_are_dropped_and_what_remains_can_be_undone(store: GraphStore) -> None:
    store.apply(adds(quad(SHOP)), Delta(), 0)
    asked = Delta(
        frozenset({quad(SHOP), quad(SHOP, "new")}), frozenset({quad(SHOP, "none"), quad(BILLING)})
    )
    effective = store.effective(asked)
    assert effective == adds(quad(SHOP, "new"))
    before = set(store.asserted())
    store.apply(effective, Delta(), 1)
    store.apply(effective.inverse(), Delta(), 2)
    assert set(store.asserted()) == before


def test_an_update_that_fails_leaves_nothing(
    store: GraphStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.apply(adds(quad(SHOP)), Delta(), 0)
    before = set(store.match())
    monkeypatch.setattr(store, "_marker", lambda head: _Broken())
    with pytest.raises(StoreError, match="did not take entry 1"):
        store.apply(Delta(frozenset({quad(SHOP, "new")}), frozenset({quad(SHOP)})), Delta(), 1)
    assert set(store.match()) == before


class _Broken:
    """Stands for a quad, and makes the last operation of the update unparsable."""

    subject = predicate = object = "}"
    graph_name = SHOP


HOSTILE = [
    '" } ; DROP ALL ; INSERT DATA { <http://e/a> <http://e/b> "',
    "\\u0022 . } ; CLEAR ALL #",
    "\\",
    "\\\\u0041",
    "line\nline\r\tend",
    "\x00\x01\x07\x0b\x7f\u0085\u2028\u2029\ufffe\uffff",
    "'''\"\"\"",
    "# comment",
    "${x} {{y}} %s \U0001f4a3",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_literals_are_data_in_the_update(store: GraphStore, text: str) -> None:
    bystander = quad(BILLING, "bystander")
    store.apply(adds(bystander), Delta(), 0)
    hostile = quad(SHOP, value=text)
    tagged = Quad(hostile.subject, P, Literal(text, language="en"), SHOP)
    store.apply(adds(hostile, tagged), Delta(), 1)
    assert set(store.asserted()) == {bystander, hostile, tagged}
    store.apply(removes(hostile, tagged), Delta(), 2)
    assert set(store.asserted()) == {bystander}


@pytest.mark.parametrize(
    "iri",
    [
        "http://e/a/../b/./c",
        "http://e/%7e%41",
        "http://E.example/",
        "urn:x:\u00e9",
        "http://e/?a&b#c",
    ],
)
def test_iris_are_kept_letter_by_letter(store: GraphStore, iri: str) -> None:
    node = NamedNode(iri)
    found = Quad(node, node, node, SHOP)
    store.apply(adds(found), Delta(), 0)
    assert set(store.asserted()) == {found}


def test_a_value_is_not_taken_for_its_neighbour(tmp_path: Path) -> None:
    """On disk the engine itself answers 255 with 256 as well."""
    store = GraphStore(tmp_path / "graph", IDS)
    one, other = (
        Quad(NamedNode("http://e/s"), P, Literal(text, datatype=INTEGER), graph)
        for text, graph in (("255", SHOP), ("256", BILLING))
    )
    store.apply(adds(one, other), Delta(), 0)
    value = Literal("255", datatype=INTEGER)
    assert list(store.asserted(None, P, value)) == [one]
    store.apply(removes(one), Delta(), 1)
    assert not list(store.match(None, P, value))
    assert merge(store) == merged([other]) | {q for q in merge(store) if q.predicate != P}


def test_what_is_on_disk_is_there_again(tmp_path: Path) -> None:
    store = GraphStore(tmp_path / "graph", IDS)
    store.apply(adds(quad(SHOP)), Delta(), 7)
    del store
    again = GraphStore(tmp_path / "graph", IDS)
    assert again.head() == 7
    assert quad(SHOP) in again


def test_a_checkpoint_stays_as_it_was(tmp_path: Path) -> None:
    store = GraphStore(tmp_path / "graph", IDS)
    store.apply(adds(quad(SHOP)), Delta(), 0)
    store.checkpoint(tmp_path / "copy")
    store.apply(adds(quad(SHOP, "later")), Delta(), 1)
    scratch = open_scratch(tmp_path / "copy")
    assert quad(SHOP) in scratch
    assert quad(SHOP, "later") not in scratch
    scratch.add(quad(SHOP, "scratched"))
    assert quad(SHOP, "scratched") not in store
    with pytest.raises(StoreError, match="no snapshot could be cut"):
        store.checkpoint(tmp_path / "copy")


def test_a_store_that_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    holder = GraphStore(tmp_path / "graph", IDS)
    with pytest.raises(StoreError, match="rebuild it"):
        GraphStore(tmp_path / "graph", IDS)
    assert len(holder) == 0
    for opened in (open_snapshot, open_scratch):
        (tmp_path / "file").write_text("no folder")
        with pytest.raises(StoreError, match="cannot be opened"):
            opened(tmp_path / "file")


GRAPHS = st.sampled_from([SHOP, BILLING, SECRET, PROPOSALS, RESTRICTED])
QUADS = st.builds(quad, GRAPHS, st.sampled_from("ab"), st.sampled_from(["1", "2"]))
STEPS = st.lists(st.tuples(st.frozensets(QUADS, max_size=6), st.frozensets(QUADS, max_size=6)))


@settings(max_examples=60)
@given(STEPS)
def test_the_merge_is_always_the_distinct_triples_of_the_open_graphs(
    steps: list[tuple[frozenset[Quad], frozenset[Quad]]],
) -> None:
    store = GraphStore(None, IDS)
    hidden = {SECRET, RESTRICTED}
    plain: set[Quad] = set()
    for head, (added, removed) in enumerate(steps):
        delta = store.effective(Delta(added - removed, removed))
        store.apply(delta, Delta(), head, {SECRET.value})
        plain = (plain - removed) | (added - removed)
        assert merge(store) == merged(item for item in plain if item.graph_name not in hidden)


@given(st.text(max_size=40))
def test_any_text_survives_the_update(text: str) -> None:
    store = GraphStore(None, IDS)
    found = canonical_quad(quad(SHOP, value=text))
    store.apply(adds(found), Delta(), 0)
    assert set(store.asserted()) == {found}
