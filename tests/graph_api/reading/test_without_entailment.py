"""Queries that ask for what was stated alone: exact, without duplicates, at any head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from pyoxigraph import Quad, RdfFormat, parse

from ontology.entailment import Entailment
from ontology.ids import Ids
from ontology.snapshots import Snapshots
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


@pytest.fixture
def store(tmp_path: Path) -> GraphStore:
    store = GraphStore(tmp_path / "graph", IDS)
    entailment = Entailment(store)
    delta = Delta(
        frozenset(
            quad
            for quad in parse(
                f"""
                PREFIX z: <http://e/>
                PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>
                GRAPH <{SHOP}> {{ z:Horse rdfs:subClassOf z:Animal . z:a a z:Horse }}
                """,
                RdfFormat.TRIG,
            )
            if isinstance(quad, Quad)
        )
    )
    store.apply(delta, entailment.consequence(delta, (), ()).delta, 0)
    return store


def kept(store: GraphStore, folder: Path) -> Snapshots:
    def cut(path: Path) -> int:
        store.checkpoint(path)
        return 0

    def rebuild(head: int, path: Path) -> None:
        raise AssertionError("nothing is rebuilt here")

    folder.mkdir()
    snapshots = Snapshots(folder, cut, rebuild, 1 << 30)
    snapshots.refresh()
    return snapshots


def test_a_copy_is_made_once_counted_and_never_changes_its_snapshot(
    store: GraphStore, tmp_path: Path
) -> None:
    snapshots = kept(store, tmp_path / "snapshots")
    unentailed = Unentailed(snapshots, IDS)
    lease = snapshots.lease(0)
    assert unentailed.ready(lease) is None
    with unentailed.make(lease) as copy:
        assert copy.head == 0
        assert len(open_snapshot(copy.path)) == len(store) - 2
        made = copy.path.stat().st_ino
    assert len(open_snapshot(snapshots.current().path)) == len(store)
    ready = unentailed.ready(snapshots.lease(0))
    assert ready is not None
    with ready as copy:
        assert copy.path.stat().st_ino == made
        assert copy.path.parent == snapshots.current().path


def test_what_was_cut_off_is_begun_again(store: GraphStore, tmp_path: Path) -> None:
    snapshots = kept(store, tmp_path / "snapshots")
    left = snapshots.current().path / ".asserted"
    left.mkdir()
    (left / "CURRENT").write_text("half")
    with Unentailed(snapshots, IDS).make(snapshots.lease(0)) as copy:
        assert len(open_snapshot(copy.path)) == len(store) - 2
    assert not left.exists()
