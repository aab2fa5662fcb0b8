"""Pages of the catalog, as a worker makes them of a store."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import Any

import pytest
from pyoxigraph import RdfFormat, Store, parse

from graph_api import catalog_dcat
from graph_api.catalog_page import KINDS, page
from graph_api.query_messages import Task
from ontology.ids import Ids
from ontology.store import open_memory

IDS = Ids("http://fractalops.localhost")
SHOP, SECRET = IDS.lineage_graph("shop"), IDS.lineage_graph("secret")
ORDERS = IDS.dataset("postgresql", "db.example", "shop", "orders")
TOTALS = IDS.dataset("postgresql", "db.example", "shop", "totals")
HIDDEN = IDS.dataset("postgresql", "db.example", "shop", "salaries")
TOTAL = IDS.column("dataset", "postgresql", "db.example", "shop", "totals", "sum")
PRICE = IDS.column("dataset", "postgresql", "db.example", "shop", "orders", "price")
CART = IDS.service("shop", "cart")
BUY = IDS.operation("shop", "cart", "http", "POST /buy")

DATA = f"""
PREFIX fo: <https://w3id.org/fractalops/ns#>
PREFIX owl: <http://www.w3.org/2002/07/owl#>
PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>
GRAPH <{SHOP}> {{
  <{ORDERS}> a fo:Dataset ; rdfs:label "orders" ; fo:system "postgresql" .
  <{TOTALS}> a fo:Dataset ; rdfs:label "totals" ; fo:derivedFrom <{ORDERS}> .
  <{TOTAL}> a fo:Column ; rdfs:label "sum" ; fo:columnOf <{TOTALS}> ;
    fo:derivedFromColumn <{PRICE}> .
  <{PRICE}> a fo:Column ; rdfs:label "price" ; fo:columnOf <{ORDERS}> .
  <{CART}> a fo:Service ; rdfs:label "cart" ; fo:offers <{BUY}> .
  <{BUY}> a fo:HttpRoute ; rdfs:label "POST /buy" ; fo:writes <{ORDERS}> .
}}
GRAPH <{SHOP}> {{
  <{IDS.base}/id/conflict/shop/type/1> a fo:Conflict ; rdfs:label "type: a or b" ;
    fo:disputes <{ORDERS}> .
}}
GRAPH <{SECRET}> {{
  <{IDS.base}/id/conflict/secret/owner/1> a fo:Conflict ; rdfs:label "a secret quarrel" ;
    fo:disputes <{ORDERS}> .
  <{HIDDEN}> a fo:Dataset ; rdfs:label "salaries" .
  <{ORDERS}> a fo:Dataset ; rdfs:label "a secret name" ; fo:derivedFrom <{HIDDEN}> .
}}
GRAPH <{IDS.graph("ontology")}> {{ fo:Dataset a owl:Class ; rdfs:label "Dataset"@en . }}
"""


@pytest.fixture(scope="module")
def store() -> Store:
    made = open_memory()
    made.extend(parse(DATA, RdfFormat.TRIG))
    return made


def read(
    store: Store,
    *,
    kinds: Iterable[str] = KINDS,
    limit: int = 100,
    after: tuple[str, str] | None = None,
    only: list[str] | None = None,
    gone: tuple[str, ...] = (),
    hidden: tuple[str, ...] = (SECRET,),
) -> dict[str, Any]:
    what = {"kinds": list(kinds), "limit": limit, "after": after, "only": only, "gone": gone}
    task = Task("catalog", "", json.dumps(what), hidden=hidden, base=f"{IDS.base}/")
    output = io.BytesIO()
    assert page(store, task, output) == "application/json"
    made: dict[str, Any] = json.loads(output.getvalue())
    return made


def ids(document: dict[str, Any]) -> list[str]:
    return [item["id"] for item in document["items"]]


def test_pages_of_any_size_give_every_entity_once_and_in_one_order(store: Store) -> None:
    whole = ids(read(store))
    assert len(set(whole)) == len(whole) == 5
    for limit in range(1, 7):
        found: list[str] = []
        after: tuple[str, str] | None = None
        while True:
            document = read(store, limit=limit, after=after)
            assert len(document["items"]) <= limit
            found += ids(document)
            if document["next"] is None:
                break
            after = document["next"]
        assert found == whole


def test_an_entity_tells_what_the_readable_graphs_state_of_it(store: Store) -> None:
    by_id = {item["id"]: item for item in read(store)["items"]}
    assert by_id[ORDERS]["label"] == "orders"
    assert by_id[ORDERS]["projects"] == ["shop"]
    assert by_id[ORDERS]["properties"] == {"system": ["postgresql"]}
    assert by_id[ORDERS]["links"] == {}
    assert by_id[TOTALS]["links"] == {"derivedFrom": [ORDERS]}
    assert by_id[TOTALS]["columns"] == [{"id": TOTAL, "label": "sum", "derivedFrom": [PRICE]}]
    told = {"id": f"{IDS.base}/id/conflict/shop/type/1", "label": "type: a or b"}
    assert (by_id[ORDERS]["conflicts"], by_id[TOTALS]["conflicts"]) == ([told], [])
    assert by_id[BUY]["services"] == [CART]
    assert by_id[BUY]["links"] == {"writes": [ORDERS]}


def test_a_restricted_graph_is_in_the_catalog_of_its_readers_alone(store: Store) -> None:
    assert HIDDEN not in json.dumps(read(store))
    allowed = {item["id"]: item for item in read(store, hidden=())["items"]}
    assert allowed[HIDDEN]["projects"] == ["secret"]
    assert allowed[ORDERS]["projects"] == ["secret", "shop"]


def test_what_changed_is_told_by_the_entity_it_belongs_to(store: Store) -> None:
    lost = IDS.dataset("postgresql", "db.example", "shop", "lost")
    document = read(store, only=[TOTAL, IDS.release("cart", "1")], gone=(lost, ORDERS))
    assert ids(document) == [TOTALS]
    assert document["gone"] == [lost]
    assert ids(read(store, only=[HIDDEN])) == []


@pytest.mark.parametrize("media_type", ["text/turtle", "application/n-triples"])
def test_a_page_is_dcat_too(store: Store, media_type: str) -> None:
    items = read(store, kinds=catalog_dcat.KINDS)["items"]
    body = catalog_dcat.render(items, IDS, 3, media_type)
    form = RdfFormat.TURTLE if media_type == "text/turtle" else RdfFormat.N_TRIPLES
    said = {str(quad.triple) for quad in parse(body, form)}
    dcat = "http://www.w3.org/ns/dcat#"
    catalog = f"<{IDS.base}/catalog>"
    assert f"{catalog} <{dcat}dataset> <{ORDERS}>" in said
    assert f"{catalog} <{dcat}service> <{CART}>" in said
    derived = "http://www.w3.org/ns/prov#wasDerivedFrom"
    assert f"<{TOTALS}> <{derived}> <{ORDERS}>" in said
