"""The competency questions say what they ask, and get an answer from a small landscape.

The landscape here is a shop written down by hand, so that a wrong path in a query shows; that they
are answered on the graph that telemetry made is tested on the demonstration's.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from pyoxigraph import DefaultGraph, NamedNode, Quad, QuerySolutions, RdfFormat, Store, parse

from ontology.entailment import Entailment
from ontology.ids import Ids
from ontology.library import ontology_turtle, rules_turtle
from ontology.store import GraphStore, open_memory
from ontology.terms import Delta, skolemise
from ontology.vocab import PREFIXES

FOLDER = Path(__file__).parents[2] / "docs" / "questions"
FILES = sorted(FOLDER.glob("*.rq"))
IDS = Ids()
NAMES = [path.stem for path in FILES]
HEADER = "".join(f"@prefix {p}: <{n}> .\n" for p, n in PREFIXES.items())
HEADER += "@prefix ex: <http://example.org/> .\n"

# storefront -> orders -> catalogue; orders publishes to dispatch, which fulfilment consumes and
# then asks orders. Governance and system statements as the platform writes them.
LANDSCAPE = """
ex:shop a fo:Project ; fo:slug "shop" ; fo:lineageGraph ex:lineage-shop .
ex:lineage-shop a fo:NamedGraph ; fo:restricted false .
ex:operator a fo:Person ; fo:slug "operator" ; fo:hasRole fo:OperatorRole .
ex:steward a fo:Steward ; fo:slug "steward-shop" ; fo:stewardOf ex:shop ;
    fo:hasRole fo:StewardRole .
ex:policy a fo:ServiceAccount ; fo:slug "policy" .
ex:grant a fo:Grant ; fo:grantee ex:steward ; fo:onProject ex:shop ; fo:onGraph ex:lineage-shop ;
    fo:autoApplyLimit 5000 .

ex:demo a fo:DeploymentEnvironment ; rdfs:label "demo" .
ex:storefront a fo:Service ; rdfs:label "storefront" ; fo:inProject ex:shop ; fo:runsIn ex:demo ;
    fo:calls ex:orders ; fo:offers ex:checkout ; fo:performs ex:call-orders .
ex:orders a fo:Service ; rdfs:label "orders" ; fo:inProject ex:shop ; fo:calls ex:catalogue ;
    fo:offers ex:place ; fo:performs ex:call-catalogue , ex:insert-order , ex:publish .
ex:catalogue a fo:Service ; rdfs:label "catalogue" ; fo:inProject ex:shop ;
    fo:offers ex:products ; fo:performs ex:select-products ; fo:hasRelease ex:r14 .
ex:fulfilment a fo:Service ; rdfs:label "fulfilment" ; fo:inProject ex:shop ; fo:calls ex:orders ;
    fo:offers ex:consume ; fo:performs ex:insert-shipment , ex:ask-orders .
ex:r14 a fo:Release ; rdfs:label "catalogue 1.4.0" ; fo:version "1.4.0" .

ex:checkout a fo:HttpRoute ; rdfs:label "POST /checkout" ; fo:invokes ex:call-orders .
ex:call-orders a fo:HttpCall ; rdfs:label "POST orders" ; fo:callsOperation ex:place .
ex:place a fo:HttpRoute ; rdfs:label "POST /orders" ;
    fo:invokes ex:call-catalogue , ex:insert-order , ex:publish .
ex:call-catalogue a fo:HttpCall ; rdfs:label "GET catalogue" ; fo:callsOperation ex:products .
ex:products a fo:HttpRoute ; rdfs:label "GET /products" ; fo:invokes ex:select-products .
ex:select-products a fo:DatabaseOperation ; rdfs:label "SELECT products" ; fo:reads ex:t-products .
ex:insert-order a fo:DatabaseOperation ; rdfs:label "INSERT orders" ; fo:writes ex:t-orders .
ex:publish a fo:PublishOperation ; rdfs:label "publish dispatch" ; fo:writes ex:dispatch .
ex:consume a fo:ConsumeOperation ; rdfs:label "consume dispatch" ; fo:reads ex:dispatch ;
    fo:invokes ex:insert-shipment , ex:ask-orders .
ex:insert-shipment a fo:DatabaseOperation ; rdfs:label "INSERT shipments" ;
    fo:writes ex:t-shipments .
ex:ask-orders a fo:HttpCall ; rdfs:label "GET orders" .

ex:paying a fo:Feature ; rdfs:label "paying" ; fo:inProject ex:shop .
ex:declined a fo:ErrorIssue ; rdfs:label "CardDeclined: pay" ; fo:inProject ex:shop ;
    fo:affects ex:paying , ex:place , ex:orders ; fo:seenInRelease ex:r15 .
ex:r15 a fo:Release ; rdfs:label "orders 1.5.0" ; fo:version "1.5.0" .

ex:db a fo:DataStore ; rdfs:label "sqlite shop.db" ; fo:system "sqlite" .
ex:t-products a fo:Dataset ; rdfs:label "products" ; fo:storedIn ex:db .
ex:t-orders a fo:Dataset ; rdfs:label "orders" ; fo:storedIn ex:db .
ex:t-shipments a fo:Dataset ; rdfs:label "shipments" ; fo:storedIn ex:db .
ex:dispatch a fo:Topic ; rdfs:label "dispatch" .

ex:load a fo:Job ; rdfs:label "orders" ; fo:inProject ex:shop ; fo:reads ex:t-orders .
ex:c-price a fo:Column ; rdfs:label "price" ; fo:columnOf ex:t-products .
ex:c-day a fo:Column ; rdfs:label "day" ; fo:columnOf ex:t-orders .
ex:c-paid a fo:Column ; rdfs:label "paid" ; fo:columnOf ex:t-orders ;
    fo:derivedFromColumn ex:c-price .
ex:c-sum a fo:Column ; rdfs:label "sum" ; fo:columnOf ex:t-shipments ;
    fo:derivedFromColumn ex:c-paid .
ex:made1 a fo:ColumnDerivation ; fo:derivedColumn ex:c-sum ; fo:sourceColumn ex:c-paid ;
    fo:influence "direct" ; fo:transformation "AGGREGATION" ; fo:masks true .
ex:made2 a fo:ColumnDerivation ; fo:derivedColumn ex:c-sum ; fo:sourceColumn ex:c-day ;
    fo:influence "indirect" ; fo:transformation "FILTER" , "GROUP_BY" .
ex:conflict a fo:Conflict ; rdfs:label "access" ; fo:inProject ex:shop ; fo:conflictKind "access" ;
    fo:disputes ex:t-orders ; fo:hasClaim ex:claim1 , ex:claim2 .
ex:claim1 a fo:SourceClaim ; fo:source "openlineage.event" ; fo:claimedBy ex:load ;
    fo:claims "reads" ; fo:shownBy ex:batch1 .
ex:claim2 a fo:SourceClaim ; fo:source "otel.span" ; fo:claimedBy ex:insert-order ;
    fo:claims "writes" .
ex:t-products fo:dormantSince "2026-10-20T00:00:00Z"^^xsd:dateTime .
ex:call-catalogue fo:dormantSince "2026-10-19T00:00:00Z"^^xsd:dateTime .

ex:acme a fo:Organisation ; fo:slug "acme" .
ex:box a fo:LxcAsset ; fo:assetId "workbench" ; fo:ownedBy ex:acme ; fo:inEnvironment ex:demo ;
    fo:assetStatus "running" ; fo:statusSince "2026-11-01T09:00:00Z"^^xsd:dateTime ;
    fo:hosts ex:catalogue , ex:orders .
ex:catalogue fo:hasRelease ex:r13 .
ex:r13 a fo:Release ; rdfs:label "catalogue 1.3.0" ; fo:version "1.3.0" ;
    fo:dormantSince "2026-10-21T00:00:00Z"^^xsd:dateTime .
ex:spare a fo:LxcAsset ; fo:assetId "spare" ; fo:ownedBy ex:operator .

ex:d1 a fo:Dependency ; fo:caller ex:storefront ; fo:callee ex:orders ; fo:via ex:place .
ex:d2 a fo:Dependency ; fo:caller ex:orders ; fo:callee ex:catalogue ; fo:via ex:products .
ex:d3 a fo:Dependency ; fo:caller ex:fulfilment ; fo:callee ex:orders .

ex:proof0 a fo:Proof ; fo:logIndex 0 ; fo:leafHash "aa" ; fo:outcome "genesis" .
ex:proof1 a fo:Proof ; fo:logIndex 1 ; fo:leafHash "bb" ; fo:outcome "applied" ;
    fo:concernsProposal ex:proposal1 .
ex:proof2 a fo:Proof ; fo:logIndex 2 ; fo:leafHash "cc" ; fo:outcome "rejected" ;
    fo:concernsProposal ex:proposal2 .
ex:proposal1 a fo:Proposal ; fo:state "applied" ; fo:author ex:steward ; fo:project ex:shop ;
    fo:targetGraph ex:lineage-shop ; fo:logIndex 1 ; fo:evidence ex:batch1 , ex:batch2 .
ex:decision1 a fo:Decision ; fo:concernsProposal ex:proposal1 ; fo:decidedBy ex:policy ;
    fo:outcome "approve" ; fo:singlePerson false ;
    fo:decidedAt "2026-11-01T10:00:00Z"^^xsd:dateTime .
ex:proposal2 a fo:Proposal ; fo:state "rejected" ; fo:author ex:operator ;
    fo:targetGraph ex:ontology .
ex:validation2 a fo:Validation ; fo:concernsProposal ex:proposal2 ; fo:conforms false .
ex:decision2 a fo:Decision ; fo:concernsProposal ex:proposal2 ; fo:decidedBy ex:operator ;
    fo:outcome "reject" ; fo:singlePerson true ;
    fo:decidedAt "2026-11-01T11:00:00Z"^^xsd:dateTime .
"""


@cache
def landscape() -> frozenset[Quad]:
    documents = [*ontology_turtle().values(), *rules_turtle().values()]
    documents.append((HEADER + LANDSCAPE).encode())
    graph = NamedNode("http://example.org/lineage-shop")
    return frozenset().union(
        *(
            skolemise(
                (
                    Quad(quad.subject, quad.predicate, quad.object, graph)
                    for quad in parse(data, format=RdfFormat.TURTLE)
                ),
                IDS.base,
                str(number),
            )
            for number, data in enumerate(documents)
        )
    )


@cache
def stored(*, entailed: bool) -> Store:
    """The landscape in a store, each triple in its graph and in the default graph."""
    quads = set(landscape())
    if entailed:
        empty = Entailment(GraphStore(None, IDS))
        quads |= empty.consequence(Delta(frozenset(quads)), (), ()).delta.additions
    store = open_memory()
    store.extend(quads)
    store.extend(Quad(q.subject, q.predicate, q.object, DefaultGraph()) for q in quads)
    return store


@cache
def answer(name: str, *, entailed: bool = True) -> tuple[list[str], list[dict[str, str]]]:
    """Variables and rows of a question on the landscape."""
    found = stored(entailed=entailed).query((FOLDER / f"{name}.rq").read_text(encoding="utf-8"))
    assert isinstance(found, QuerySolutions)
    variables = [variable.value for variable in found.variables]
    rows = [{v: term.value for v in variables if (term := row[v]) is not None} for row in found]
    return variables, rows


def header(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines[: lines.index("")] if line.startswith("#")]


def rows(prefix: str) -> list[dict[str, str]]:
    return answer(next(name for name in NAMES if name.startswith(prefix)))[1]


def test_there_are_at_least_fifteen_and_all_three_ask() -> None:
    assert len(FILES) >= 15
    askers = {header(path)[2].split(",")[0].split()[-1] for path in FILES}
    assert askers == {"analyst", "operator", "auditor"}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_question_says_what_it_asks(path: Path) -> None:
    lines = header(path)
    assert lines[0].endswith("?")
    assert re.fullmatch(r"# Asks: an (analyst|operator|auditor), .*\.", lines[2])
    documented = [line.split()[1].removeprefix("?") for line in lines if line.startswith("# ?")]
    assert documented == answer(path.stem)[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_question_is_answered(name: str) -> None:
    variables, found = answer(name)
    assert found
    # Every column says something somewhere.
    assert {variable for row in found for variable in row} == set(variables)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("q22")])
def test_what_is_inferred_makes_no_answer_longer(name: str) -> None:
    def told(rows: list[dict[str, str]]) -> list[list[tuple[str, list[str]]]]:
        # The order within a list of names is the engine's.
        return sorted(sorted((v, sorted(cell.split(", "))) for v, cell in r.items()) for r in rows)

    assert told(answer(name)[1]) == told(answer(name, entailed=False)[1])


def test_the_readme_lists_every_question() -> None:
    listed = re.findall(
        r"^\| \[(q\d\d)\]\((.+)\.rq\) \| (\w+) \| (.+) \|$",
        (FOLDER / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    expected = [
        (p.stem[:3], p.stem, header(p)[2].split(",")[0].split()[-1], header(p)[0][2:])
        for p in FILES
    ]
    assert listed == expected


def test_blast_radius_follows_calls_to_the_end() -> None:
    found = {row["service"]: set(row["names"].split(", ")) for row in rows("q02")}
    assert found == {
        "catalogue": {"orders", "storefront", "fulfilment"},
        "orders": {"storefront", "fulfilment"},
    }


def test_a_route_is_followed_through_calls_and_messages() -> None:
    found = {(r["route"], r["access"], r["data"]) for r in rows("q04") if "checkout" in r["route"]}
    assert found == {
        ("POST /checkout", "reads", "products"),
        ("POST /checkout", "writes", "orders"),
        ("POST /checkout", "writes", "dispatch"),
        ("POST /checkout", "writes", "shipments"),
    }


def test_a_circle_through_a_topic_is_found() -> None:
    found = {(row["service"], row["next"]) for row in rows("q10")}
    assert found == {("orders", "fulfilment"), ("fulfilment", "orders")}


def test_front_doors_are_what_nobody_calls() -> None:
    assert [row["service"] for row in rows("q08")] == ["storefront"]


def test_shared_data_is_shared_by_several_services() -> None:
    assert [row["data"] for row in rows("q07")] == ["dispatch"]


def test_unused_classes_have_no_member_and_no_member_below() -> None:
    unused = {row["class"] for row in rows("q21")}
    assert {"Page", "Run", "Integration endpoint"} <= unused
    assert not unused & {"Principal", "Operation", "Service", "Data asset"}


def test_the_log_is_complete() -> None:
    assert rows("q18") == [{"entries": "3", "newest": "2", "complete": "true"}]


def test_single_person_decisions_come_first() -> None:
    assert [row["singlePerson"] for row in rows("q15")] == ["true", "false"]
    assert [row["byAnother"] for row in rows("q15")] == ["false", "true"]


def test_conditions_of_rules_are_listed_with_their_names() -> None:
    by_rule = {row["rule"]: row for row in rows("q19")}
    assert "when kind server" in by_rule["HTTP server span"]["conditions"]
    assert "when attribute http.route" in by_rule["HTTP server span"]["conditions"]
    priorities = [int(row["priority"]) for row in rows("q19")]
    assert priorities == sorted(priorities, reverse=True)


def test_an_error_leads_to_its_feature_and_to_the_tables_behind_its_operation() -> None:
    found = {tuple(row[name] for name in ("release", "feature", "issue")) for row in rows("q24")}
    assert found == {("orders 1.5.0", "paying", "CardDeclined: pay")}
    # Through the queue too; never a topic, and never an operation that the error didn't disturb.
    assert {(row["operation"], row["writes"]) for row in rows("q24")} == {
        ("POST /orders", "orders"),
        ("POST /orders", "shipments"),
    }


def test_what_is_dormant_is_told_with_what_still_leads_to_it() -> None:
    named = ("since", "kind", "thing", "usedBy")
    assert [tuple(row.get(name, "") for name in named) for row in rows("q25")] == [
        ("2026-10-19T00:00:00Z", "HTTP call", "GET catalogue", "POST /orders"),
        ("2026-10-20T00:00:00Z", "Dataset", "products", "SELECT products"),
        ("2026-10-21T00:00:00Z", "Release", "catalogue 1.3.0", ""),
    ]


def test_a_column_is_followed_to_where_its_values_come_from_and_what_decides_of_it() -> None:
    found = {
        (row["column"], row["from"], row["how"]): (row.get("steps", ""), row.get("masks"))
        for row in rows("q26")
    }
    assert {key: (set(steps.split(", ")), masks) for key, (steps, masks) in found.items()} == {
        ("paid", "price", "direct"): ({""}, None),
        ("sum", "paid", "direct"): ({"AGGREGATION"}, "true"),
        ("sum", "price", "through others"): ({""}, None),
        ("sum", "day", "indirect"): ({"FILTER", "GROUP_BY"}, None),
    }


def test_of_a_conflict_each_source_says_its_own() -> None:
    assert [(row["asset"], row["who"], row["says"], row.get("batch")) for row in rows("q27")] == [
        ("orders", "orders", "reads", "http://example.org/batch1"),
        ("orders", "INSERT orders", "writes", None),
    ]


def test_what_ran_is_told_with_its_owner_and_release() -> None:
    named = ("asset", "state", "owner", "service", "project", "versions")
    assert [tuple(row.get(name, "") for name in named) for row in rows("q28")] == [
        ("spare", "", "operator", "", "", ""),
        ("workbench", "running", "acme", "catalogue", "shop", "1.4.0"),
        ("workbench", "running", "acme", "orders", "shop", ""),
    ]
