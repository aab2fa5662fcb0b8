"""DataHub's own command pulls the catalog of a real server: what it emits, beside SPARQL.

The source plugin runs as an executor of DataHub runs it: from its wheel, in an environment where
nothing of the platform can be imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyoxigraph import RdfFormat, parse

from ontology.dataset_names import DataName, Store
from ontology.vocab import FO, Fo, Rdf, Rdfs, Skos
from stewards.datahub_push import Source, Target, push
from tests.live.datahub_executor import Executor, aspects, make_executor, removed
from tests.live.datahub_server import serving_datahub
from tests.live.pushing import kept_in

if TYPE_CHECKING:
    from tests.live.conftest import Server, Serving

pytestmark = pytest.mark.live

LINEAGE_KINDS = (
    *("Dataset", "Topic", "Service", "Job", "ErrorIssue"),
    *("HttpRoute", "DatabaseOperation", "PublishOperation"),
)
SHOP = Store("postgresql", "db.shop", "shop")
ORDERS, TOTALS = (DataName("dataset", SHOP, name) for name in ("orders", "totals"))
PLACED = DataName("topic", Store("kafka", "bus.shop", ""), "orders.placed")
LOCAL = DataName("dataset", Store("sqlite", "", "shop.db"), "carts")
MEANWHILE = DataName("dataset", SHOP, "refunds")
URN = "urn:li:dataset:(urn:li:dataPlatform:%s,%s,PROD)"
URNS = {
    ORDERS: URN % ("postgres", "shop.public.orders"),
    TOTALS: URN % ("postgres", "shop.public.totals"),
    PLACED: URN % ("kafka", "orders.placed"),
    LOCAL: URN % ("sqlite", "shop.shop.db.carts"),
    MEANWHILE: URN % ("postgres", "shop.public.refunds"),
}


@pytest.fixture(scope="module")
def executor(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Executor:
    return make_executor(checkout, tmp_path_factory.mktemp("executor"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, serving_in: Serving) -> Iterator[Server]:
    with serving_in(tmp_path_factory.mktemp("catalog")) as serve:
        made: Server = serve(None).start()
        for project in ("shop", "bank"):
            made.post("/projects", {"slug": project})
        made.propose("shop", shop_turtle(made))
        account = made.ids.dataset("mysql", "db.bank", "bank", "accounts")
        made.propose("bank", dataset_turtle(account, "accounts", "mysql"))
        yield made
        made.end()


@pytest.fixture(scope="module")
def whole(executor: Executor, server: Server) -> list[dict[str, Any]]:
    """What a first run emits; in the executor's folder as ``whole.json`` too."""
    return executor.to_file(server, "whole")


@pytest.fixture(scope="module")
def replacing(executor: Executor, server: Server) -> list[dict[str, Any]]:
    """The same, where the recipe says to overwrite what people edit."""
    return executor.to_file(server, "replacing", overwrite=True)


def dataset_turtle(iri: str, label: str, system: str) -> str:
    return (
        f'<{iri}> <{Rdf.type}> <{Fo.Dataset}> ; <{Rdfs.label}> "{label}" ;'
        f' <{Fo.system}> "{system}" .\n'
    )


def shop_turtle(server: Server) -> str:
    ids = server.ids
    orders, totals, placed, local = (it.iri(ids, "shop") for it in (ORDERS, TOTALS, PLACED, LOCAL))
    price, total = ORDERS.column(ids, "shop", "price"), TOTALS.column(ids, "shop", "sum (net)")
    cart = ids.service("shop", "cart")
    buy = ids.operation("shop", "cart", "http", "POST /orders/{id}")
    insert = ids.operation("shop", "cart", "database", "INSERT orders")
    publish = ids.operation("shop", "cart", "publish", "orders.placed")
    issue, load = ids.error_issue("shop", "a" * 32), ids.job("shop", "nightly", "load")
    return f"""
PREFIX fo: <{FO}>
PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>
{dataset_turtle(orders, "orders", "postgresql")}
{dataset_turtle(totals, "totals", "postgresql")}
{dataset_turtle(local, "carts", "sqlite")}
<{totals}> fo:derivedFrom <{orders}> .
<{placed}> a fo:Topic ; rdfs:label "orders.placed" ; fo:system "kafka" .
<{price}> a fo:Column ; rdfs:label "price" ; fo:columnOf <{orders}> .
<{total}> a fo:Column ; rdfs:label "sum (net)" ; fo:columnOf <{totals}> ;
  fo:derivedFromColumn <{price}> .
<{cart}> a fo:Service ; rdfs:label "cart" ; fo:inProject <{ids.project("shop")}> ;
  fo:offers <{buy}> ; fo:performs <{insert}> , <{publish}> .
<{buy}> a fo:HttpRoute ; rdfs:label "POST /orders/{{id}}" ; fo:httpMethod "POST" ;
  fo:route "/orders/{{id}}" ; fo:invokes <{insert}> .
<{insert}> a fo:DatabaseOperation ; rdfs:label "INSERT orders" ; fo:writes <{orders}> .
<{publish}> a fo:PublishOperation ; rdfs:label "orders.placed" ; fo:writes <{placed}> .
<{load}> a fo:Job ; rdfs:label "load" ; fo:namespace "nightly" ;
  fo:reads <{orders}> ; fo:writes <{totals}> .
<{issue}> a fo:ErrorIssue ; rdfs:label "ZeroDivisionError in rebate" ;
  fo:errorType "ZeroDivisionError" ; fo:affects <{buy}> ; fo:inProject <{ids.project("shop")}> .
"""


def stated(server: Server) -> dict[str, tuple[str, str]]:
    """Class and label by IRI, of everything in the lineage graphs that DataHub is told of."""
    rows = server.select(
        f"SELECT ?s ?c ?l {{ VALUES ?c {{ {' '.join(f'<{FO}{kind}>' for kind in LINEAGE_KINDS)} }}"
        f" GRAPH ?g {{ ?s a ?c ; <{Rdfs.label}> ?l }}"
        f" FILTER STRSTARTS(STR(?g), '{server.ids.base}/graph/lineage/') }}"
    )
    return {iri: (name, label) for iri, name, label in rows}


def test_the_wheel_holds_the_plugin_alone(executor: Executor) -> None:
    assert "fractalops" in executor.run("check", "plugins", "--source", "fractalops")


def test_every_entity_is_told_as_sparql_tells_it(
    whole: list[dict[str, Any]], server: Server
) -> None:
    infos = {
        name: aspects(whole, name)
        for name in ("datasetProperties", "dataFlowInfo", "dataJobInfo", "incidentInfo")
    }
    told = {
        info["customProperties"]["iri"]: info["name"]
        for name in ("datasetProperties", "dataFlowInfo", "dataJobInfo")
        for info in infos[name].values()
        if "iri" in info.get("customProperties", {})
    }
    expected = stated(server)
    issues = {iri for iri, (name, _) in expected.items() if name == Fo.ErrorIssue}
    assert told == {iri: label for iri, (_, label) in expected.items() if iri not in issues}
    assert len(infos["incidentInfo"]) == len(issues) == 1

    by_iri = {
        info["customProperties"]["iri"]: urn for urn, info in infos["datasetProperties"].items()
    }
    for name in (ORDERS, TOTALS, PLACED, LOCAL):
        assert by_iri[name.iri(server.ids, "shop")] == URNS[name]
    assert by_iri[server.ids.dataset("mysql", "db.bank", "bank", "accounts")] == (
        URN % ("mysql", "bank.accounts")
    )

    definitions = server.select(
        f"SELECT ?t ?d {{ GRAPH ?g {{ ?t a <http://www.w3.org/2002/07/owl#Class> ;"
        f" <{Skos.definition}> ?d }} FILTER STRSTARTS(STR(?t), '{FO}') }}"
    )
    terms = aspects(whole, "glossaryTermInfo")
    assert {(it["sourceUrl"], it["definition"]) for it in terms.values()} == set(definitions)
    domains = aspects(whole, "domainProperties")
    projects = server.select(f"SELECT ?p {{ ?p a <{Fo.Project}> }}")
    assert {(it["customProperties"]["iri"],) for it in domains.values()} == set(projects)


def test_lineage_and_proof_are_those_of_the_graph(
    replacing: list[dict[str, Any]], server: Server
) -> None:
    emitted = replacing
    upstream = aspects(emitted, "upstreamLineage")
    assert set(upstream) == {URNS[TOTALS]}
    assert [it["dataset"] for it in upstream[URNS[TOTALS]]["upstreams"]] == [URNS[ORDERS]]
    (fine,) = upstream[URNS[TOTALS]]["fineGrainedLineages"]
    assert fine["upstreams"] == [f"urn:li:schemaField:({URNS[ORDERS]},price)"]
    assert fine["downstreams"] == [f"urn:li:schemaField:({URNS[TOTALS]},sum %28net%29)"]
    schemas = aspects(emitted, "schemaMetadata")
    assert [it["fieldPath"] for it in schemas[URNS[TOTALS]]["fields"]] == ["sum (net)"]

    edges = aspects(emitted, "dataJobInputOutput")
    flows = {it["flowUrn"] for it in aspects(emitted, "dataJobInfo").values()}
    assert flows == set(aspects(emitted, "dataFlowInfo"))
    assert sorted((it["inputDatasets"], it["outputDatasets"]) for it in edges.values()) == sorted(
        [
            ([], [URNS[ORDERS]]),
            ([], [URNS[PLACED]]),
            ([URNS[ORDERS]], [URNS[TOTALS]]),
        ]
    )
    (incident,) = aspects(emitted, "incidentInfo").values()
    (affected,) = incident["entities"]
    assert aspects(emitted, "dataJobInfo")[affected]["name"] == "POST /orders/{id}"
    assert incident["status"]["state"] == "ACTIVE"

    proofs = aspects(emitted, "structuredProperties")
    assert set(URNS.values()) - {URNS[MEANWHILE]} <= set(proofs)
    values = {it["propertyUrn"]: it["values"] for it in proofs[URNS[ORDERS]]["properties"]}
    entry = int(next(iter(values["urn:li:structuredProperty:io.fractalops.proofEntry"]))["double"])
    log = server.get(f"/proofs/entries/{entry}")
    leaf = next(iter(values["urn:li:structuredProperty:io.fractalops.proofHead"]))["string"]
    assert leaf in json.dumps(log)
    link = aspects(emitted, "datasetProperties")[URNS[ORDERS]]["externalUrl"]
    with server.client() as client:
        chain = client.get(link)
    assert chain.is_success, chain.text
    (statement,) = chain.json()["graphs"]
    assert entry in statement.values()

    checks = aspects(emitted, "assertionInfo").values()
    assert {URNS[ORDERS], URNS[PLACED]} <= {it["customAssertion"]["entity"] for it in checks}
    results = aspects(emitted, "assertionRunEvent").values()
    assert {it["result"]["type"] for it in results} == {"SUCCESS"}


@pytest.mark.usefixtures("whole")
def test_datahub_finds_what_it_emits_valid(executor: Executor) -> None:
    executor.run("check", "metadata-file", executor.folder / "whole.json")


def test_what_people_edit_is_added_to_unless_the_recipe_says_otherwise(
    whole: list[dict[str, Any]], replacing: list[dict[str, Any]]
) -> None:
    for emitted, change in ((whole, "PATCH"), (replacing, "UPSERT")):
        names = ("ownership", "domains", "structuredProperties")
        found = {(it["aspectName"], it["changeType"]) for it in emitted}
        assert {it for it in found if it[0] in names} <= {(name, change) for name in names}
        assert {name for name, _ in found if name.startswith("editable")} == set()


def test_of_another_source_s_datasets_nothing_is_replaced(
    executor: Executor, server: Server
) -> None:
    other = executor.to_file(
        server, "another-source", stores=[{"system": "postgresql", "primary": False}]
    )
    of_orders = [it for it in other if it["entityUrn"] in (URNS[ORDERS], URNS[TOTALS])]
    assert of_orders
    assert {it["changeType"] for it in of_orders} == {"PATCH"}
    assert any(it["aspectName"] == "upstreamLineage" for it in of_orders)


def test_projects_are_chosen(executor: Executor, server: Server) -> None:
    emitted = executor.to_file(server, "bank", projects={"allow": ["bank"]})
    assert set(aspects(emitted, "datasetProperties")) == {URN % ("mysql", "bank.accounts")}
    assert set(aspects(emitted, "domainProperties")) == {"urn:li:domain:fractalops.bank"}


def test_a_restricted_project_is_for_its_readers_alone(executor: Executor, server: Server) -> None:
    server.post("/projects", {"slug": "vault", "restricted": True})
    secret = server.ids.dataset("mysql", "db.vault", "vault", "salaries")
    server.propose("vault", dataset_turtle(secret, "salaries", "mysql"))
    analyst = server.token_of("catalog-reader", "analyst")
    emitted = executor.to_file(server, "analyst", token=analyst)
    assert "salaries" not in json.dumps(emitted)


def test_a_second_run_asks_for_what_changed_and_a_third_removes_what_is_gone(
    executor: Executor, server: Server
) -> None:
    whole = executor.to_file(server, "stateful")
    assert not removed(whole)
    again = executor.to_file(server, "stateful")
    assert {it["entityType"] for it in again} == {"structuredProperty"}

    iri = MEANWHILE.iri(server.ids, "shop")
    turtle = dataset_turtle(iri, "refunds", "postgresql")
    server.propose("shop", turtle)
    third = executor.to_file(server, "stateful")
    assert set(aspects(third, "datasetProperties")) == {URNS[MEANWHILE]}
    assert not removed(third)

    lines = "".join(
        f"{quad.triple} <{server.ids.lineage_graph('shop')}> .\n"
        for quad in parse(turtle, RdfFormat.TURTLE)
    )
    server.post("/proposals", {"project": "shop", "rationale": "gone", "removals": lines})
    fourth = executor.to_file(server, "stateful")
    assert {urn for urn in removed(fourth) if urn.startswith("urn:li:dataset:")} == {
        URNS[MEANWHILE]
    }
    assert URNS[ORDERS] in aspects(fourth, "datasetProperties")
    fifth = executor.to_file(server, "stateful")
    assert {it["entityType"] for it in fifth} == {"structuredProperty"}


def test_the_rest_sink_keeps_what_people_edited(executor: Executor, server: Server) -> None:
    domain = "urn:li:domain:fractalops.shop"
    with serving_datahub() as gms:
        gms.token = "dh-executor"
        sink = {"type": "datahub-rest", "config": {"server": gms.url, "token": gms.token}}
        executor.ingest(server, "rest", sink)
        assert gms.aspects[URNS[ORDERS], "datasetProperties"]["name"] == "orders"
        assert (URNS[ORDERS], "structuredProperties") in gms.patched
        lineage = gms.aspects[URNS[TOTALS], "upstreamLineage"]
        assert [it["dataset"] for it in lineage["upstreams"]] == [URNS[ORDERS]]

        # A push says the very same.
        with serving_datahub() as pushed:
            load, save = kept_in(executor.folder / "push.json")
            push(Source(server.url, server.token), Target(pushed.url), load=load, save=save)
            assert (URNS[TOTALS], "upstreamLineage") in pushed.aspects
            for key, value in pushed.aspects.items():
                assert gms.aspects[key] == value, key
            # A run of DataHub's tells of itself.
            told = {urn for urn, _ in gms.aspects if not urn.startswith("urn:li:dataHub")}
            assert told == {urn for urn, _ in pushed.aspects}

        (incident,) = {urn for urn, name in gms.aspects if name == "incidentInfo"}
        term = next(urn for urn, name in gms.aspects if name == "glossaryTermInfo")
        theirs: dict[tuple[str, str], dict[str, Any]] = {
            (domain, "domainProperties"): {"name": "Our shop", "description": "what we sell"},
            (term, "glossaryTermInfo"): {"definition": "as we say it"},
            (incident, "incidentInfo"): {
                "title": "known",
                "priority": 1,
                "status": {
                    "state": "RESOLVED",
                    "lastUpdated": {"time": 1, "actor": "urn:li:corpuser:ann"},
                },
            },
        }
        for key, edited in theirs.items():
            gms.aspects[key].update(edited)
        # Another recipe reads everything again.
        executor.ingest(server, "rest", sink, assertions=False)
        for key, edited in theirs.items():
            found = gms.aspects[key]
            assert {name: found[name] for name in edited} == edited
        assert gms.aspects[domain, "domainProperties"]["customProperties"]["iri"]
        executor.ingest(server, "rest", sink, overwrite=True)
        for key, edited in theirs.items():
            assert all(gms.aspects[key].get(name) != value for name, value in edited.items())
        assert gms.invalid == []
        assert gms.unknown == []


def test_lite_reads_it_back(executor: Executor, server: Server) -> None:
    place = str(executor.folder / "lite.db")
    lite = {"type": "sqlite", "config": {"file": place}}
    executor.ingest(server, "lite", {"type": "datahub-lite", "config": lite}, overwrite=True)
    (executor.folder / ".datahubenv").write_text(
        json.dumps({"gms": {"server": "http://127.0.0.1:9"}, "lite": lite}), encoding="utf-8"
    )
    found = executor.run("lite", "get", "--urn", URNS[ORDERS])
    document = json.loads(found[found.index("{") :])
    properties = json.dumps(document)
    assert ORDERS.iri(server.ids, "shop") in properties
    assert "upstreamLineage" in executor.run("lite", "get", "--urn", URNS[TOTALS])


def test_the_connection_is_tested_before_it_is_used(executor: Executor, server: Server) -> None:
    recipe = executor.folder / "connection.yml"
    for token, capable in ((server.token, "true"), ("fot_wrong", "false")):
        report = executor.folder / f"connection-{capable}.json"
        config = {"server": server.url, "token": token}
        recipe.write_text(
            json.dumps(
                {"source": {"type": "fractalops", "config": config}, "sink": {"type": "console"}}
            )
        )
        executor.run(*("ingest", "-c", recipe, "--test-source-connection", "--report-to", report))
        text = report.read_text(encoding="utf-8")
        assert re.search(rf'"capable": {capable}', text), text
        assert token not in text
