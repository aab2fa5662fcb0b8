"""Queries that ask for what was stated alone: exact, without duplicates, at any head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from pyoxigraph import NamedNode, Quad, RdfFormat, parse

from ontology import recent_changes
from ontology.entailment import Entailment
from ontology.ids import Ids
from ontology.snapshots import Snapshot, Snapshots
from ontology.store import GraphStore, open_snapshot
from ontology.terms import Delta
from ontology.unentailed import Unentailed

if TYPE_CHECKING:
    from tests.graph_api.reading.conftest import Server

IDS = Ids("http://fractalops.localhost")
INFERRED = IDS.graph("inferred")
SHOP, CRM, SECRET = (IDS.lineage_graph(name) for name in ("shop", "crm", "secret"))
TYPES = "SELECT ?class { <http://e/zebra> a ?class } ORDER BY ?class"
COUNT = "SELECT (COUNT(*) AS ?n) { <http://e/zebra> ?p ?o }"
SOMEWHERE = "SELECT DISTINCT ?g { GRAPH ?g { <http://e/zebra> a ?class } } ORDER BY ?g"
EVERY_GRAPH = "SELECT ?g { GRAPH ?g {} } ORDER BY ?g"

STATED = f"""
PREFIX z: <http://e/>
GRAPH <{SHOP}> {{ z:zebra a z:Horse . z:twice a z:Horse }}
GRAPH <{CRM}> {{ z:zebra a z:Horse }}
GRAPH <{IDS.graph("proposals")}> {{ z:twice a z:Animal }}
GRAPH <{INFERRED}> {{ z:zebra a z:Animal . z:twice a z:Animal }}
"""


@pytest.fixture(scope="module")
def head(server: Server) -> int:
    return server.commit(STATED)


def values(client: httpx.Client, query: str, head: int, **more: str) -> list[str]:
    answer = client.get("/sparql", params={"query": query, "min_head": str(head), **more})
    assert answer.status_code == 200, answer.text
    return [
        cell["value"].rpartition("/")[2]
        for row in answer.json()["results"]["bindings"]
        for cell in row.values()
    ]


def test_what_is_inferred_is_seen_unless_it_is_switched_off(
    client: httpx.Client, head: int
) -> None:
    for on in ({}, {"entailment": "on"}):
        assert values(client, TYPES, head, **on) == ["Animal", "Horse"]
        assert values(client, COUNT, head, **on) == ["2"]
        assert "inferred" in values(client, SOMEWHERE, head, **on)
    assert values(client, TYPES, head, entailment="off") == ["Horse"]
    # Two graphs state it: still one triple.
    assert values(client, COUNT, head, entailment="off") == ["1"]
    assert values(client, SOMEWHERE, head, entailment="off") == ["crm", "shop"]
    assert "inferred" not in values(client, EVERY_GRAPH, head, entailment="off")


def test_a_triple_that_the_system_states_too_stays(client: httpx.Client, head: int) -> None:
    query = TYPES.replace("zebra", "twice")
    assert values(client, query, head, entailment="off") == ["Animal", "Horse"]


def test_no_dataset_reaches_what_is_switched_off(client: httpx.Client, head: int) -> None:
    chosen = f"SELECT ?o FROM <{INFERRED}> FROM <{SHOP}> {{ <http://e/zebra> a ?o }} ORDER BY ?o"
    assert values(client, chosen, head) == ["Animal", "Horse"]
    assert values(client, chosen, head, entailment="off") == ["Horse"]
    named = f"SELECT ?o {{ GRAPH <{INFERRED}> {{ <http://e/zebra> a ?o }} }}"
    assert values(client, named, head, entailment="off", **{"named-graph-uri": INFERRED}) == []


def test_by_form_and_for_a_reader_with_fewer_rights(server: Server, head: int) -> None:
    secret = server.commit(f"GRAPH <{SECRET}> {{ <http://e/zebra> a <http://e/Spy> }}")
    with server.client() as client, server.client("outsider") as outsider:
        form = {"query": SOMEWHERE, "entailment": "off", "min_head": str(secret)}
        insider = client.post("/sparql", data=form).json()["results"]["bindings"]
        assert SECRET in [row["g"]["value"] for row in insider]
        seen = outsider.post("/sparql", data=form).json()["results"]["bindings"]
        assert [row["g"]["value"] for row in seen] == [CRM, SHOP]


def test_a_later_and_an_earlier_head(server: Server, client: httpx.Client, head: int) -> None:
    later = server.commit(
        f"GRAPH <{CRM}> {{ <http://e/zebra> a <http://e/Animal> }}",
        remove=f"GRAPH <{INFERRED}> {{ <http://e/zebra> a <http://e/Animal> }}",
    )
    assert values(client, TYPES, later, entailment="off") == ["Animal", "Horse"]
    assert values(client, TYPES, 0, entailment="off", at=str(head)) == ["Horse"]


def test_the_tag_of_an_answer_tells_them_apart(client: httpx.Client, head: int) -> None:
    question = {"query": TYPES, "min_head": str(head)}
    usual = client.get("/sparql", params=question)
    off = client.get("/sparql", params={**question, "entailment": "off"})
    assert usual.headers["etag"] != off.headers["etag"]
    again = client.get(
        "/sparql",
        params={**question, "entailment": "off"},
        headers={"If-None-Match": off.headers["etag"]},
    )
    assert again.status_code == 304


@pytest.mark.parametrize("value", ["", "maybe", "OFF"])
def test_another_word_is_refused(client: httpx.Client, value: str) -> None:
    answer = client.get("/sparql", params={"query": TYPES, "entailment": value})
    assert answer.status_code == 400
    assert answer.json()["type"].endswith("/parameter-invalid")
    twice = client.get("/sparql", params=[("query", TYPES), *[("entailment", "off")] * 2])
    assert twice.status_code == 400


# --- the copies themselves

PREFIXES = """
PREFIX z: <http://e/>
PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>
"""


class Kept:
    """A store with its snapshots, changed as a projection of the journal is."""

    def __init__(self, folder: Path) -> None:
        self.store = GraphStore(folder / "graph", IDS)
        self.entailment = Entailment(self.store)
        self.head = -1
        self.commit(f"GRAPH <{SHOP}> {{ z:Horse rdfs:subClassOf z:Animal . z:a a z:Horse }}")
        (folder / "snapshots").mkdir()
        self.snapshots = Snapshots(folder / "snapshots", self._cut, self._rebuild, 1 << 30)
        self.snapshots.refresh()

    def commit(self, add: str, remove: str = "", system: str = "") -> None:
        delta = Delta(frozenset(quads(add)), frozenset(quads(remove)))
        result = self.entailment.consequence(delta, (), ())
        additions = result.delta.additions | frozenset(quads(system))
        self.head += 1
        self.store.apply(delta, Delta(additions, result.delta.removals), self.head)
        self.entailment.settle(result)

    def _cut(self, path: Path) -> int:
        self.store.checkpoint(path)
        return self.head

    def _rebuild(self, head: int, path: Path, base: Snapshot | None) -> None:
        raise AssertionError("nothing is rebuilt here")

    def without_inferred(self, unentailed: Unentailed) -> set[str]:
        """What the copy of the newest head holds."""
        self.snapshots.refresh()
        with unentailed.make(self.snapshots.lease(self.head)) as copy:
            store = open_snapshot(copy.path)
            assert not store.contains_named_graph(NamedNode(INFERRED))
            return {str(quad) for quad in store}


def quads(trig: str) -> list[Quad]:
    found = parse(PREFIXES + trig, RdfFormat.TRIG)
    return [quad for quad in found if isinstance(quad, Quad)]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_a_copy_is_made_once_and_never_changes_its_snapshot(kept: Kept) -> None:
    unentailed = Unentailed(kept.snapshots, IDS)
    lease = kept.snapshots.lease(0)
    assert unentailed.ready(lease) is None
    with unentailed.make(lease) as copy:
        assert copy.head == 0
        assert len(open_snapshot(copy.path)) == len(kept.store) - 2
        made = copy.path.stat().st_ino
    assert len(open_snapshot(kept.snapshots.current().path)) == len(kept.store)
    ready = unentailed.ready(kept.snapshots.lease(0))
    assert ready is not None
    with ready as copy:
        assert copy.path.stat().st_ino == made
        assert copy.path.parent == kept.snapshots.current().path


def test_what_was_cut_off_is_begun_again(kept: Kept) -> None:
    left = kept.snapshots.current().path / ".asserted"
    left.mkdir()
    (left / "CURRENT").write_text("half")
    with Unentailed(kept.snapshots, IDS).make(kept.snapshots.lease(0)) as copy:
        assert len(open_snapshot(copy.path)) == len(kept.store) - 2
    assert not left.exists()


def test_a_copy_that_follows_the_one_before_is_the_same(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    following = Unentailed(kept.snapshots, IDS, kept.store.recent)
    kept.without_inferred(following)
    monkeypatch.setattr(GraphStore, "drop_inferred", _must_follow)
    proposals = IDS.graph("proposals")
    seen = []
    for changes in (
        [(f"GRAPH <{SHOP}> {{ z:b a z:Horse . z:b z:p z:c }}", "", "")],
        [
            (f"GRAPH <{CRM}> {{ z:b a z:Animal , z:Horse }}", "", ""),
            (
                "",
                f"GRAPH <{SHOP}> {{ z:b a z:Horse }}",
                f"GRAPH <{proposals}> {{ z:a a z:Animal }}",
            ),
        ],
        [(f"GRAPH <{CRM}> {{ z:Animal rdfs:subClassOf z:Being }}", "", ""), ("", "", "")],
        [("", f"GRAPH <{CRM}> {{ z:b a z:Animal }}", "")],
    ):
        for add, remove, system in changes:
            kept.commit(add, remove, system)
        seen.append(kept.without_inferred(following))
    monkeypatch.undo()
    for head, followed in zip((1, 3, 5, 6), seen, strict=True):
        # Made anew from the same snapshot.
        path = kept.snapshots.at(head).path
        (path / "asserted").rename(path / "followed")
        with Unentailed(kept.snapshots, IDS).make(kept.snapshots.lease(head)) as copy:
            assert {str(quad) for quad in open_snapshot(copy.path)} == followed


def _must_follow(store: GraphStore) -> None:
    raise AssertionError("the copy was made anew")


def test_a_copy_is_made_anew_where_too_much_has_changed_since(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    unentailed = Unentailed(kept.snapshots, IDS, kept.store.recent)
    kept.without_inferred(unentailed)
    monkeypatch.setattr(recent_changes, "MOST_QUADS", 3)
    for number in range(4):
        kept.commit(f"GRAPH <{SHOP}> {{ z:n{number} a z:Horse }}")
    assert kept.store.recent.between(0, 4) is None
    assert kept.store.recent.between(3, 4) is not None
    found = kept.without_inferred(unentailed)
    assert len(found) == len(kept.store) - 2 * 5
