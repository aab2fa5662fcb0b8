"""The HTTP contract on a running server: who may do what, and what outside tools rely on."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pyoxigraph import RdfFormat, parse

from ontology.vocab import Fo, Prov, Rdf, Rdfs, Sh

if TYPE_CHECKING:
    from tests.live.conftest import Platform, ServiceTurtle

pytestmark = pytest.mark.live

TURTLE = {"Content-Type": "text/turtle"}
OPEN = ("/healthz", "/readyz", "/array/{key}/config", "/array/{key}/config.js")
# What PostHog's clients and webhooks send to, who know keys and no tokens.
KEYED = (
    *("/batch/", "/e/", "/i/v0/e/", "/capture/", "/track/", "/engage/", "/i/v0/ai/batch/"),
    *("/i/v1/analytics/events", "/flags/", "/decide/", "/s/"),
    *("/webhooks/posthog", "/webhooks/posthog/{key}"),
    *("/webhooks/glitchtip", "/webhooks/glitchtip/{key}"),
    *("/flags/definitions/", "/api/feature_flag/local_evaluation/", "/api/surveys/"),
    *("/api/web_experiments/", "/api/early_access_features/"),
    *("/api/v1/lineage", "/api/v1/lineage/batch"),
)
# OTLP's own errors are no problem documents.
OTLP = (
    *("/v1/traces", "/v1/logs", "/v1/metrics"),
    *("/i/v1/traces", "/i/v1/logs", "/i/v1/metrics"),
)
# What Sentry's clients send to.
BY_DSN = (
    *("/api/{number}/envelope/", "/api/{number}/store/"),
    "/api/{number}/integration/otlp/v1/traces/",
)
CONTRACT = """
/sparql GET POST
/graphs/{} GET
/catalog GET
/runtime-assets GET
/runtime-assets/{} GET
/discovery POST
/drift GET POST
/heads GET
/runtime-assets/{}/runs POST
/runtime-assets/{}/requests POST
/runtime-assets/{}/check POST
/runtime-assets/runs POST
/runtime-assets/requests POST
/runtime-assets/check POST
/runtime-assets/grants POST
/runs GET
/runs/{} GET
/runs/{}/output GET
/runs/{}/cancel POST
/endpoints GET
/endpoints/{} GET
/endpoints/{}/check POST
/id/{} GET
/proposals GET POST
/live GET
/proposals/{} GET
/proposals/{}/card GET
/proposals/{}/diff GET
/proposals/{}/report GET
/proposals/{}/decisions POST
/proposals/{}/revert POST
/validate POST
/proofs/checkpoint GET
/proofs/tile/{} GET
/proofs/entries/{} GET
/proofs/explain GET
/proofs/bundle/{} GET
/facts GET POST
/facts/progress GET
/v1/traces POST
/v1/logs POST
/v1/metrics POST
/i/v1/traces POST
/i/v1/logs POST
/i/v1/metrics POST
/batch/ POST
/e/ POST
/i/v0/e/ POST
/capture/ POST
/track/ POST
/engage/ POST
/i/v1/analytics/events POST
/flags/ POST
/array/{}/config GET
/api/{}/envelope/ POST
/api/{}/store/ POST
/api/{}/integration/otlp/v1/traces/ POST
/healthz GET
/readyz GET
/metrics GET
"""

_NUMBERS = count()


@pytest.fixture
def name() -> str:
    """A name that no other test of this module uses."""
    return f"contract-{next(_NUMBERS)}"


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.headers
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"https://w3id.org/fractalops/problems/{kind}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document


def propose(
    platform: Platform, who: str, project: str, graph: str, body: str, **headers: str
) -> httpx.Response:
    with platform.client(who) as client:
        return client.post(
            "/proposals",
            params={"project": project, "graph": graph, "rationale": "contract"},
            content=body,
            headers=TURTLE | headers,
        )


@contextmanager
def nothing_changes(platform: Platform) -> Iterator[None]:
    """What happens within is not even recorded, and the graph's state is as it was."""
    before = platform.server.get("/status")
    yield
    after = platform.server.get("/status")
    assert (after["head"], after["state_digest"]) == (before["head"], before["state_digest"])


# --- the routes


@pytest.fixture(scope="module")
def routes(platform: Platform) -> dict[str, set[str]]:
    """Every path of the API description, with its methods."""
    with platform.server.client(anonymous=True) as client:
        document = client.get("/openapi.json").json()
    return {
        path: {method.upper() for method in methods} & {"GET", "POST", "PUT", "PATCH", "DELETE"}
        for path, methods in document["paths"].items()
    }


def test_every_path_of_the_contract_is_there(routes: dict[str, set[str]]) -> None:
    shapes = {re.sub(r"\{[^}]*\}", "{}", path): methods for path, methods in routes.items()}
    for line in CONTRACT.strip().splitlines():
        path, *methods = line.split()
        assert set(methods) <= shapes.get(path, set()), line


def test_the_page_lists_the_routes(routes: dict[str, set[str]], checkout: Path) -> None:
    page = (checkout / "docs" / "http.md").read_text()
    listed = {
        path: set(methods.split(", "))
        for path, methods in re.findall(r"^\| `(/[^`]*)` \| ([A-Z, ]+) \|", page, re.MULTILINE)
    }
    assert listed == routes


def test_no_token_no_answer(platform: Platform, routes: dict[str, set[str]]) -> None:
    with nothing_changes(platform), platform.server.client(anonymous=True) as client:
        for path, methods in routes.items():
            address = re.sub(r"\{[^}]*\}", "0", path)
            for method in methods:
                body = b'{"event": "e"}' if path in (*KEYED, *BY_DSN) else None
                answer = client.request(method, address, content=body)
                if path in OPEN:
                    assert answer.is_success
                    continue
                if path in BY_DSN:
                    assert answer.status_code == 403, (method, path, answer.text)
                    continue
                assert answer.status_code == 401, (method, path, answer.text)
                assert answer.headers["www-authenticate"].startswith("Bearer")
                if path in KEYED:
                    problem(answer, 401, "ingest-key-refused")
                elif path not in OTLP:
                    problem(answer, 401, "token-missing")
        for path in ("/docs", "/openapi.json"):
            assert client.get(path).is_success


def test_a_key_reads_nothing_and_a_token_sends_nothing(platform: Platform) -> None:
    with platform.server.client(platform.keys["shop"]) as client:
        problem(client.get("/status"), 401, "token-unknown")
        problem(client.get("/sparql", params={"query": "ASK {}"}), 401, "token-unknown")
    with platform.client("operator") as client:
        assert client.post("/v1/traces").status_code == 401


def test_a_revoked_token_is_nobodys(platform: Platform) -> None:
    made = platform.server.post("/tokens", {"name": "analyst", "role": "analyst"})
    with platform.server.client(made["token"]) as client:
        assert client.get("/status").is_success
        with platform.client("operator") as operator:
            assert operator.delete(f"/tokens/{made['id']}").status_code == 204
        problem(client.get("/status"), 401, "token-unknown")


# --- authority


def test_a_steward_writes_to_its_own_project_alone(
    platform: Platform, turtle_of: ServiceTurtle, name: str
) -> None:
    """Whatever the body's form, and whichever project is named."""
    ids = platform.server.ids
    turtle = turtle_of(ids, "shop", name)
    graph = ids.lineage_graph("shop")
    quads = "".join(
        f"{triple.subject} {triple.predicate} {triple.object} <{graph}> .\n"
        for triple in parse(turtle, format=RdfFormat.TURTLE)
    )
    bodies: list[tuple[str, str]] = [
        ("text/turtle", turtle),
        ("application/n-triples", turtle),
        ("application/trig", f"<{graph}> {{ {turtle} }}"),
        ("application/n-quads", quads),
        ("text/x-rdf-patch", "".join(f"A {line}\n" for line in quads.splitlines())),
        ("application/sparql-update", f"INSERT DATA {{ GRAPH <{graph}> {{ {turtle} }} }}"),
    ]
    with nothing_changes(platform), platform.client("bank") as client:
        for project in ("shop", "bank"):
            for content_type, body in bodies:
                answer = client.post(
                    f"/proposals?project={project}&graph=lineage/shop&rationale=x",
                    content=body,
                    headers={"Content-Type": content_type},
                )
                problem(answer, 403, "forbidden")
            answer = client.post(
                "/proposals", json={"project": project, "rationale": "x", "additions": quads}
            )
            problem(answer, 403, "forbidden")
        removal = {"project": "shop", "rationale": "x", "removals": quads}
        problem(client.post("/proposals", json=removal), 403, "forbidden")
        for shared in ("ontology", "shapes", "rules", "governance", "assets"):
            answer = propose(platform, "bank", "bank", shared, turtle)
            problem(answer, 403, "forbidden")
        for system in ("proofs", "proposals", "inferred"):
            problem(propose(platform, "operator", "shop", system, turtle), 403, "forbidden")
    assert propose(platform, "shop", "shop", "lineage/shop", turtle).json()["state"] == "applied"


def test_an_ontology_change_takes_another_person(platform: Platform, name: str) -> None:
    turtle = f'<{Fo.Service}> <{Rdfs.comment}> "{name}" .'
    answer = propose(platform, "operator", "", "ontology", turtle)
    assert answer.status_code == 201, answer.text
    proposal = answer.json()
    assert proposal["state"] == "awaiting decision"
    address = f"/proposals/{proposal['id']}/decisions"
    approval = {"outcome": "approve", "reason": "so be it"}

    with platform.client("operator") as client:
        told = problem(client.post(address, json=approval), 403, "forbidden")
        assert "other than its author" in told["detail"]
    with platform.client("shop") as client:
        problem(client.post(address, json=approval), 403, "forbidden")
    for who in ("analyst", "auditor"):
        with platform.client(who) as client:
            problem(client.post(address, json=approval), 403, "role-needed")
    assert not platform.server.select(f'SELECT ?s {{ ?s ?p "{name}" }}')

    with platform.client("second") as client:
        decided = client.post(address, json=approval).json()
        assert decided["state"] == "applied"
        assert [item["by"] for item in decided["decisions"]][-1].endswith("/second")
        problem(client.post(address, json=approval), 409, "wrong-state")
    assert platform.server.select(f'SELECT ?s {{ ?s ?p "{name}" }}')


def test_readers_do_not_write(platform: Platform, turtle_of: ServiceTurtle, name: str) -> None:
    turtle = turtle_of(platform.server.ids, "shop", name)
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/proposals?project=shop&graph=lineage/shop&rationale=x", None),
        ("POST", "/validate?project=shop&graph=lineage/shop&rationale=x", None),
        ("POST", "/proposals/x/decisions", {"outcome": "reject"}),
        ("POST", "/proposals/x/revert", {}),
        ("POST", "/projects", {"slug": "mine"}),
        ("POST", "/tokens", {"name": "me", "role": "operator"}),
        ("GET", "/tokens", None),
        ("POST", "/proofs/rebuild", None),
        ("POST", "/proofs/cosignatures", None),
    ]
    with nothing_changes(platform):
        for who in ("analyst", "auditor"):
            with platform.client(who) as client:
                for method, path, document in requests:
                    if document is None:
                        answer = client.request(method, path, content=turtle, headers=TURTLE)
                    else:
                        answer = client.request(method, path, json=document)
                    problem(answer, 403, "role-needed")
        with platform.client("shop") as client:
            problem(client.post("/projects", json={"slug": "mine"}), 403, "role-needed")
            problem(client.post("/proofs/audit"), 403, "role-needed")
    with platform.client("auditor") as client:
        assert client.post("/proofs/audit").json()["ok"]


# --- proposals


def test_a_proposal_from_its_beginning_to_its_end(
    platform: Platform, turtle_of: ServiceTurtle, name: str
) -> None:
    ids = platform.server.ids
    turtle = turtle_of(ids, "shop", name)
    with nothing_changes(platform), platform.client("shop") as client:
        dry = client.post(
            "/validate?project=shop&graph=lineage/shop&rationale=x", content=turtle, headers=TURTLE
        ).json()
        assert dry["conforms"] is True
        assert dry["additions"] == 20

    answer = propose(platform, "shop", "shop", "lineage/shop", turtle)
    assert answer.status_code == 201
    proposal = answer.json()
    assert answer.headers["location"] == f"/proposals/{proposal['id']}"
    assert {"id", "state", "head", "proof", "report"} <= proposal.keys()
    with platform.client("analyst") as client:
        shown = client.get(answer.headers["location"]).json()
        assert shown["state"] in ("applied", "proven")
        patch = client.get(f"{answer.headers['location']}/diff").text
        assert patch.count("\nA ") + patch.startswith("A ") == 20
        entry = client.get(f"/proofs/entries/{proposal['proof']}").json()
        assert entry["index"] == proposal["proof"]
        assert client.get(f"/proofs/bundle/{proposal['proof']}").is_success
        asked = {
            "s": f"<{ids.service('shop', name)}>",
            "p": f"<{Rdf.type}>",
            "o": f"<{Fo.Service}>",
        }
        chain = client.get("/proofs/explain", params=asked).json()
        assert chain["graphs"][0]["proposal"]["id"] == proposal["id"]
        agent = {**asked, "o": f"<{Prov.Agent}>"}
        derived = client.get("/proofs/explain", params=agent).json()
        assert derived["graphs"] == []
        inferred = derived["inferred"]
        assert inferred["graph"] == ids.graph("inferred")
        assert inferred["rule"] == "rdfs:subClassOf"
        assert inferred["steps"][-1]["conclusion"] == agent
        stated = [premise["graphs"][0]["proof"] for premise in inferred["premises"]]
        assert stated[0] == proposal["proof"]
        assert set(stated[1:]) == {0}
        in_shop = {**agent, "g": "lineage/shop"}
        assert client.get("/proofs/explain", params=in_shop).status_code == 404
        named = {**asked, "g": f"<{ids.lineage_graph('shop')}>"}
        found = client.get("/proofs/explain", params=named).json()["graphs"]
        assert [each["graph"] for each in found] == [ids.lineage_graph("shop")]
        elsewhere = client.get("/proofs/explain", params={**asked, "g": "urn:elsewhere"})
        assert elsewhere.status_code == 404
        assert elsewhere.json()["type"].endswith("/unknown-graph")

    again = propose(platform, "shop", "shop", "lineage/shop", turtle)
    assert (again.status_code, again.json()["state"]) == (200, "unchanged")

    with platform.client("shop") as client:
        reverted = client.post(
            f"/proposals/{proposal['id']}/revert", json={"rationale": "it was a test"}
        )
    assert (reverted.status_code, reverted.json()["state"]) == (201, "applied")
    assert reverted.json()["reverts"] == proposal["id"]
    assert not platform.server.select(f'SELECT ?s {{ ?s ?p "{name}" }}')


def test_what_the_shapes_refuse(platform: Platform, name: str) -> None:
    """The report comes in the format that is asked for, and is kept."""
    service = platform.server.ids.service("shop", name)
    turtle = f"<{service}> a <{Fo.Service}> ."
    digest = platform.server.get("/status")["state_digest"]
    told = problem(
        propose(platform, "shop", "shop", "lineage/shop", turtle), 422, "shapes-violated"
    )
    assert told["state"] == "invalid"
    assert told["report"]["results"][0]["focus"] == f"<{service}>"
    for media_type, form in (
        ("text/turtle", RdfFormat.TURTLE),
        ("application/ld+json", RdfFormat.JSON_LD),
    ):
        answer = propose(platform, "shop", "shop", "lineage/shop", turtle, Accept=media_type)
        assert answer.status_code == 422
        assert answer.headers["content-type"].startswith(media_type)
        triples = {(t.predicate.value, str(t.object)) for t in parse(answer.text, format=form)}
        assert (Sh.focusNode, f"<{service}>") in triples
    with platform.client("analyst") as client:
        kept = client.get(f"/proposals/{told['id']}/report").json()
    assert kept == told["report"]
    assert platform.server.get("/status")["state_digest"] == digest


def test_a_dry_run_says_what_led_to_each_result(platform: Platform, name: str) -> None:
    """In every format; what is refused is refused before the first line."""
    service = platform.server.ids.service("shop", name)
    row = f"<{service}> <{Rdf.type}> <{Fo.Service}>"
    address = "/validate?project=shop&graph=lineage/shop"
    with nothing_changes(platform), platform.client("shop") as client:

        def dry_run(accept: str, content: str = f"{row} .") -> httpx.Response:
            return client.post(address, content=content, headers=TURTLE | {"Accept": accept})

        report = dry_run("application/json").json()
        graph = platform.server.ids.lineage_graph("shop")
        assert {item["cause"] for item in report["results"]} == {f"A {row} <{graph}> ."}
        assert all(item["advice"] for item in report["results"])
        assert list(report["nodes"].values()) == [1]
        assert (report["conforms"], report["omitted"], report["additions"]) == (False, 0, 1)
        (line,) = dry_run("application/x-ndjson").text.splitlines()
        assert json.loads(line) == {"report": report}
        for media_type, form in (
            ("text/turtle", RdfFormat.TURTLE),
            ("application/ld+json", RdfFormat.JSON_LD),
            ("application/n-triples", RdfFormat.N_TRIPLES),
        ):
            answer = dry_run(media_type)
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith(media_type)
            found = [str(t.object) for t in parse(answer.text, format=form) if "focus" in str(t)]
            assert found == [f"<{service}>"] * len(report["results"])
        problem(dry_run("application/x-ndjson", "<a> <b>"), 400, "unparsable-rdf")


def test_the_whole_graph_is_validated_for_those_who_may_read_it(platform: Platform) -> None:
    with nothing_changes(platform):
        for who in ("operator", "auditor"):
            with platform.client(who) as client:
                found = client.post("/validate").json()
                assert found["conforms"] is True, found
                assert found["head"] == found["head_at_end"] == platform.server.head
                answer = client.post("/validate", headers={"Accept": "application/x-ndjson"})
                told = [json.loads(line) for line in answer.text.splitlines()]
                assert told[-1] == {"report": found}
                assert all(set(line) == {"progress"} for line in told[:-1])
                answer = client.post("/validate", headers={"Accept": "text/turtle"})
                assert "sh:conforms true" in answer.text
        for who in ("analyst", "shop"):
            with platform.client(who) as client:
                problem(client.post("/validate"), 403, "role-needed")


def test_a_change_of_the_shapes_says_whom_it_would_break(
    platform: Platform, turtle_of: ServiceTurtle, name: str
) -> None:
    """Before anybody approves it: with a violation it is refused, with a warning it is told."""
    ids = platform.server.ids
    turtle = turtle_of(ids, "shop", name)
    assert propose(platform, "shop", "shop", "lineage/shop", turtle).is_success
    services = len(platform.server.select(f"SELECT ?s {{ ?s a <{Fo.Service}> }}"))
    wanted = f"https://w3id.org/fractalops/shapes#{name}"

    def shapes(severity: str) -> str:
        return f"""
            @prefix sh: <http://www.w3.org/ns/shacl#> .
            <{wanted}> a sh:NodeShape ; sh:targetClass <{Fo.Service}> ;
                sh:property <{wanted}-note> .
            <{wanted}-note> a sh:PropertyShape ; sh:path <{Fo.assetRole}> ; sh:minCount 1 ;
                sh:severity sh:{severity} .
        """

    query = "/validate?graph=shapes"
    with platform.client("operator") as client, nothing_changes(platform):
        lines = client.post(
            query, content=shapes("Violation"), headers=TURTLE | {"Accept": "application/x-ndjson"}
        ).text.splitlines()
        report = json.loads(lines[-1])["report"]
    assert report["conforms"] is False
    assert report["nodes"] == {f"<{wanted}>": services}
    assert {item["shape"] for item in report["results"]} == {f"<{wanted}-note>"}

    told = problem(
        propose(platform, "operator", "", "shapes", shapes("Violation")), 422, "shapes-violated"
    )
    assert told["state"] == "invalid"
    assert told["report"]["nodes"] == report["nodes"]
    assert f"{services:,} of <{wanted}>" in told["detail"]

    waiting = propose(platform, "operator", "", "shapes", shapes("Warning"))
    assert (waiting.status_code, waiting.json()["state"]) == (201, "awaiting decision")
    address = waiting.headers["location"]
    with platform.client("second") as client:
        shown = client.get(address).json()
        assert shown["report"]["conforms"] is True
        assert shown["report"]["nodes"] == report["nodes"]
        assert client.post(f"{address}/decisions", json={"outcome": "reject"}).is_success


def test_a_proposal_on_an_old_head(platform: Platform, turtle_of: ServiceTurtle, name: str) -> None:
    ids = platform.server.ids
    base = platform.server.head
    assert propose(
        platform, "shop", "shop", "lineage/shop", turtle_of(ids, "shop", name)
    ).is_success
    more = f'<{ids.service("shop", name)}> <{Rdfs.label}> "another" .'
    with nothing_changes(platform):
        answer = propose(
            platform, "shop", "shop", "lineage/shop", more, **{"If-Match": f'"{base}"'}
        )
        told = problem(answer, 409, "conflict")
        assert name in told["theirs"]
        assert "another" in told["yours"]


def test_blank_nodes_of_two_submissions_stay_apart(platform: Platform, name: str) -> None:
    """Of two projects, of one project in two proposals; the same submission again is no news."""

    def nodes() -> int:
        return len(platform.server.select(f'SELECT DISTINCT ?s {{ ?s ?p "{name}" }}'))

    shape = f'[] a <{Fo.DeploymentEnvironment}> ; <{Rdfs.label}> "{name}" .\n'
    for project in ("shop", "bank"):
        answer = propose(platform, project, project, f"lineage/{project}", shape)
        assert answer.status_code == 201, answer.text
    assert nodes() == 2
    other = platform.server.ids.environment(f"{name}-other")
    more = f'{shape}<{other}> a <{Fo.DeploymentEnvironment}> ; <{Rdfs.label}> "other" .\n'
    assert propose(platform, "shop", "shop", "lineage/shop", more).status_code == 201
    assert nodes() == 3
    again = propose(platform, "shop", "shop", "lineage/shop", shape.replace("[]", "_:b7"))
    assert again.json()["state"] == "unchanged"
    assert nodes() == 3


@pytest.mark.parametrize(
    "literal",
    [
        '"256"^^xsd:byte',
        '"-5"^^xsd:nonNegativeInteger',
        '"0"^^xsd:positiveInteger',
        '"4294967296"^^xsd:unsignedInt',
        '"one"^^xsd:integer',
        '"2026-02-30"^^xsd:date',
        '"24:61:00"^^xsd:time',
        '"yes"^^xsd:boolean',
        '"1e4"^^xsd:decimal',
    ],
)
def test_ill_typed_literals_are_refused(
    platform: Platform, turtle_of: ServiceTurtle, name: str, literal: str
) -> None:
    ids = platform.server.ids
    turtle = (
        "@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .\n"
        + turtle_of(ids, "shop", name)
        + f"<{ids.service('shop', name)}> <{Rdfs.comment}> {literal} .\n"
    )
    with nothing_changes(platform):
        told = problem(propose(platform, "shop", "shop", "lineage/shop", turtle), 400, "bad-term")
        assert literal.split('"')[1] in told["detail"]


@pytest.mark.parametrize(
    "update",
    [
        "INSERT DATA { GRAPH <%s> { <http://a/s> <http://a/p> 1 } }; DROP ALL",
        "INSERT DATA { GRAPH <%s> { <http://a/s> <http://a/p> 1 } } ; CLEAR GRAPH <%s>",
        "INSERT { GRAPH <%s> { ?s <http://a/p> 1 } } WHERE { ?s ?p ?o }",
        "DELETE WHERE { GRAPH <%s> { ?s ?p ?o } }",
        "DELETE { GRAPH <%s> { ?s ?p ?o } } WHERE { GRAPH <%s> { ?s ?p ?o } }",
        "LOAD <http://127.0.0.1/> INTO GRAPH <%s>",
        "LOAD SILENT <http://127.0.0.1/> INTO GRAPH <%s>",
        "COPY DEFAULT TO <%s>",
        "dr\\u006Fp all # <%s>",
        "INSERT DATA { GRAPH <%s> { <http://a/s> <http://a/p> 1 } };\n#\nLoAd <http://127.0.0.1/>",
    ],
)
def test_updates_that_are_more_than_data_are_refused(platform: Platform, update: str) -> None:
    graph = platform.server.ids.lineage_graph("shop")
    text = update.replace("%s", graph)
    with nothing_changes(platform), platform.client("operator") as client:
        answer = client.post(
            "/proposals?project=shop&rationale=x",
            content=text,
            headers={"Content-Type": "application/sparql-update"},
        )
        assert answer.status_code == 400, answer.text
        assert answer.json()["type"].rpartition("/")[2] in ("update-not-data", "unparsable-rdf")


# --- queries


def ask(platform: Platform, query: str, who: str = "analyst", **headers: str) -> httpx.Response:
    with platform.client(who) as client:
        return client.get("/sparql", params={"query": query}, headers=headers)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * { SERVICE <%s> { ?s ?p ?o } }",
        "SELECT * { service silent <%s> { ?s ?p ?o } }",
        "SELECT * { { SELECT * { ?a ?b ?c OPTIONAL { SeRvIcE\n#\n<%s> { ?s ?p ?o } } } } }",
        "SELECT * { ?x ?y ?z FILTER EXISTS { SERVICE <%s> { ?s ?p ?o } } }",
        "SELECT * { \\u0053ERVICE <%s> { ?s ?p ?o } }",
        "SELECT * { BIND(<%s> AS ?where) SERVICE ?where { ?s ?p ?o } }",
        "PREFIX x: <%s> SELECT * { SERVICE x: { ?s ?p ?o } }",
        "CONSTRUCT { ?s ?p ?o } { SERVICE <%s> { ?s ?p ?o } }",
    ],
)
def test_no_query_reaches_the_network(platform: Platform, query: str) -> None:
    called = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.5)

        def wait() -> None:
            try:
                listening.accept()[0].close()
            except TimeoutError:
                return
            called.set()

        thread = threading.Thread(target=wait)
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        answer = ask(platform, query.replace("%s", address))
        thread.join()
    assert answer.status_code == 400
    assert answer.json()["type"].rpartition("/")[2] in ("service-refused", "query-syntax")
    assert not called.is_set()


@pytest.mark.parametrize(
    "update",
    [
        "INSERT DATA { <http://a/s> <http://a/p> 1 }",
        "DROP ALL",
        "# a comment\nPREFIX a: <http://a/> delete where { ?s ?p ?o }",
        "LOAD <http://127.0.0.1/>",
        "CLEAR DEFAULT",
    ],
)
def test_an_update_is_told_how_to_propose(platform: Platform, update: str) -> None:
    kind = "updates-go-through-proposals"
    with nothing_changes(platform), platform.client("operator") as client:
        for answer in (
            client.get("/sparql", params={"query": update}),
            client.post("/sparql", data={"query": update}),
            client.post("/sparql", data={"update": update}),
            client.post(
                "/sparql", content=update, headers={"Content-Type": "application/sparql-update"}
            ),
            client.post(
                "/sparql", content=update, headers={"Content-Type": "application/sparql-query"}
            ),
        ):
            assert "POST /proposals" in problem(answer, 403, kind)["detail"]


def test_a_triple_in_two_graphs_is_one_triple(platform: Platform, name: str) -> None:
    ids = platform.server.ids
    node = ids.environment(name)
    turtle = f'<{node}> a <{Fo.DeploymentEnvironment}> ; <{Rdfs.label}> "{name}" .'
    for project in ("shop", "bank"):
        assert propose(platform, project, project, f"lineage/{project}", turtle).is_success
    shop, bank = (f"<{ids.lineage_graph(project)}>" for project in ("shop", "bank"))

    def number(query: str) -> int:
        [(found,)] = platform.server.select(query)
        return int(found)

    counting = f"(COUNT(*) AS ?n) {{ <{node}> ?p ?o }}"
    assert number(f"SELECT {counting}") == 2
    both = counting.replace("{ <", f"FROM {shop} FROM {bank} {{ <", 1)
    assert number(f"SELECT {both}") == 2
    assert number(f"SELECT (COUNT(*) AS ?n) {{ GRAPH ?g {{ <{node}> ?p ?o }} }}") == 4
    with platform.client("shop") as client:
        removed = client.post(
            "/proposals",
            json={
                "project": "shop",
                "rationale": "x",
                "removals": f"<{node}> <{Rdf.type}> <{Fo.DeploymentEnvironment}> {shop} .\n"
                f'<{node}> <{Rdfs.label}> "{name}" {shop} .\n',
            },
        )
    assert removed.is_success, removed.text
    # The other graph states it still.
    assert number(f"SELECT {counting}") == 2


def test_results_come_in_every_standard_format(platform: Platform) -> None:
    for accept in (
        "application/sparql-results+json",
        "application/sparql-results+xml",
        "text/csv",
        "text/tab-separated-values",
    ):
        answer = ask(platform, "SELECT ?s { ?s ?p ?o } LIMIT 2", Accept=accept)
        assert answer.headers["content-type"].startswith(accept)
        assert answer.is_success
    for accept in (
        "text/turtle",
        "application/n-triples",
        "application/rdf+xml",
        "application/ld+json",
    ):
        answer = ask(platform, "CONSTRUCT { ?s ?p ?o } { ?s ?p ?o } LIMIT 2", Accept=accept)
        assert answer.headers["content-type"].startswith(accept)
    problem(ask(platform, "ASK {}", Accept="image/png"), 406, "not-acceptable")
    told = problem(ask(platform, "SELECT *\nWHERE { ?s ?p }"), 400, "query-syntax")
    assert told["line"] == 2
    with platform.client("analyst") as client:
        described = client.get("/sparql", headers={"Accept": "text/turtle"}).text
    assert "sparql-service-description#" in described


def test_time_travel(platform: Platform, turtle_of: ServiceTurtle, name: str) -> None:
    head = platform.server.head
    turtle = turtle_of(platform.server.ids, "shop", name)
    proof = propose(platform, "shop", "shop", "lineage/shop", turtle).json()["proof"]
    assert proof == head + 1
    query = f'SELECT ?s {{ ?s ?p "{name}" }}'
    assert platform.server.select(query, at=head) == []
    assert len(platform.server.select(query, at=proof)) == 1
    assert platform.server.select("SELECT ?p { ?p a <http://nothing/> }", at=0) == []
    with platform.client("analyst") as client:
        answer = client.get("/sparql", params={"query": query, "at": proof})
        assert answer.headers["fractalops-head"] == str(proof)
        answer = client.get("/sparql", params={"query": query, "at": 10**9})
        problem(answer, 404, "head-unknown")
        answer = client.get("/sparql", params={"query": query, "at": "yesterday"})
        problem(answer, 400, "parameter-invalid")
        graph = client.get("/graphs/lineage/shop", params={"at": head}).text
        assert f'"{name}"' not in graph


def test_reading_ones_own_writes(platform: Platform, turtle_of: ServiceTurtle, name: str) -> None:
    proof = 0
    for number in range(5):
        turtle = turtle_of(platform.server.ids, "shop", f"{name}-{number}")
        proof = propose(platform, "shop", "shop", "lineage/shop", turtle).json()["proof"]
        query = f'ASK {{ ?s ?p "{name}-{number}" }}'
        assert ask(platform, query, "shop").json()["boolean"] is True
        with platform.client("analyst") as client:
            answer = client.get("/sparql", params={"query": query, "min_head": proof})
        assert answer.json()["boolean"] is True
        assert int(answer.headers["fractalops-head"]) >= proof
    with platform.client("analyst") as client:
        answer = client.get("/sparql", params={"query": "ASK {}", "min_head": proof + 1000})
        problem(answer, 404, "head-unknown")


def test_an_unchanged_answer_is_not_sent_again(
    platform: Platform, turtle_of: ServiceTurtle, name: str
) -> None:
    query = f'SELECT ?s {{ ?s <{Rdfs.label}> "{name}" }}'
    first = ask(platform, query)
    tag = first.headers["etag"]
    again = ask(platform, query, **{"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert ask(platform, query + " ", **{"If-None-Match": tag}).status_code == 200
    accepted = {"If-None-Match": tag, "Accept": "text/csv"}
    assert ask(platform, query, **accepted).status_code == 200
    turtle = turtle_of(platform.server.ids, "shop", name)
    head = propose(platform, "shop", "shop", "lineage/shop", turtle).json()["proof"]
    with platform.client("analyst") as client:
        changed = client.get(
            "/sparql",
            params={"query": query, "min_head": head},
            headers={"If-None-Match": tag},
        )
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag
    assert name in changed.text


# --- graphs and things


def test_graphs_are_read_at_their_addresses(
    platform: Platform, turtle_of: ServiceTurtle, name: str
) -> None:
    ids = platform.server.ids
    propose(platform, "shop", "shop", "lineage/shop", turtle_of(ids, "shop", name))
    service = ids.service("shop", name)
    with platform.client("shop") as client:
        listed = {item["name"]: item for item in client.get("/graphs").json()["items"]}
        assert {"ontology", "shapes", "rules", "governance", "lineage/shop"} <= listed.keys()
        for address in (
            "/graphs/lineage/shop",
            "/graphs?graph=lineage/shop",
            f"/graphs?graph={ids.lineage_graph('shop')}",
            "/graphs?default",
        ):
            for media_type, form in (
                ("text/turtle", RdfFormat.TURTLE),
                ("application/n-triples", RdfFormat.N_TRIPLES),
                ("application/rdf+xml", RdfFormat.RDF_XML),
                ("application/ld+json", RdfFormat.JSON_LD),
            ):
                answer = client.get(address, headers={"Accept": media_type})
                assert answer.headers["content-type"].startswith(media_type)
                subjects = {str(triple.subject) for triple in parse(answer.content, format=form)}
                assert f"<{service}>" in subjects
        problem(client.get("/graphs/no/such"), 404, "not-found")
        with nothing_changes(platform):
            for method in ("PUT", "POST", "DELETE", "PATCH"):
                answer = client.request(method, "/graphs/lineage/shop", content="", headers=TURTLE)
                assert (
                    "/proposals" in problem(answer, 405, "changes-go-through-proposals")["detail"]
                )


def test_things_answer_at_their_own_names(
    platform: Platform, turtle_of: ServiceTurtle, name: str
) -> None:
    ids = platform.server.ids
    spaced = f"{name} with a / in it"
    propose(platform, "shop", "shop", "lineage/shop", turtle_of(ids, "shop", spaced))
    service = ids.service("shop", spaced)
    path = service.removeprefix(ids.base)
    with platform.client("shop") as client:
        for media_type, form in (
            ("text/turtle", RdfFormat.TURTLE),
            ("application/n-triples", RdfFormat.N_TRIPLES),
            ("application/rdf+xml", RdfFormat.RDF_XML),
            ("application/ld+json", RdfFormat.JSON_LD),
        ):
            answer = client.get(path, headers={"Accept": f"{media_type}, text/html;q=0.1"})
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"].startswith(media_type)
            stated = {
                (str(triple.subject), triple.predicate.value)
                for triple in parse(answer.content, format=form)
            }
            assert (f"<{service}>", Rdf.type) in stated
        assert client.get(path, headers={"Accept": "*/*"}).is_success
        problem(client.get(path, headers={"Accept": "image/png"}), 406, "not-acceptable")
        problem(client.get("/id/service/shop/nobody"), 404, "not-found")
        moved = client.get("/graph/lineage/shop")
        assert (moved.status_code, moved.headers["location"]) == (303, "/graphs/lineage/shop")


# --- errors


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/no/such/path", 404),
        ("DELETE", "/status", 405),
        ("PUT", "/sparql", 405),
        ("GET", "/proposals?limit=0", 422),
        ("GET", "/proposals?limit=many", 422),
        ("GET", "/proposals?state=unheard", 400),
        ("GET", "/proposals/none", 404),
        ("GET", "/proposals/none/diff", 404),
        ("GET", "/proofs/entries/999999", 404),
        ("GET", "/proofs/entries/-1", 422),
        ("GET", "/proofs/entries/first", 422),
        ("GET", "/proofs/entries/99999999999999999999", 422),
        ("GET", "/proofs/log?before=99999999999999999999", 422),
        ("GET", "/proposals?before=99999999999999999999", 422),
        ("GET", "/proofs/bundle/0?since=99999999999999999999", 422),
        ("GET", "/graphs?at=99999999999999999999", 400),
        ("GET", "/proofs/bundle/999999", 404),
        ("GET", "/proofs/tile/0/x", 404),
        ("GET", "/proofs/tile/../../../journal.sqlite", 404),
        ("GET", "/proofs/tile/%2e%2e/%2e%2e/journal.sqlite", 404),
        ("GET", "/proofs/explain?s=x&p=y&o=z", 400),
        ("GET", "/proofs/explain", 422),
        ("GET", "/sparql?query=ASK%20%7B", 400),
        ("GET", "/sparql?query=%ff", 400),
        ("GET", "/facts?query=SELEKT", 400),
        ("GET", "/facts?query=DROP%20TABLE%20events", 403),
        ("GET", "/facts", 422),
        ("POST", "/stewards/nobody/run", 404),
        ("DELETE", "/tokens/none", 404),
        ("POST", "/projects/none/keys", 404),
        ("POST", "/projects", 422),
        ("GET", "/id/%00", 404),
        ("GET", "/evidence?before=9684-10-20T21:37:32Z", 422),
        ("GET", "/evidence?before=0001-01-01T00:00:00%2B10:00", 422),
    ],
)
def test_every_error_is_a_problem(
    platform: Platform, checkout: Path, method: str, path: str, status: int
) -> None:
    documented = (checkout / "docs" / "http.md").read_text()
    with platform.client("operator") as client:
        answer = client.request(method, path)
    assert answer.status_code == status, answer.text
    kind = answer.json()["type"].rpartition("/")[2]
    told = problem(answer, status, kind)
    assert f"| `{kind}` |" in documented
    for inside in ("Traceback", "sqlite3", "site-packages", "pyoxigraph"):
        assert inside not in told["detail"]


def test_no_secret_is_echoed_or_logged(platform: Platform) -> None:
    secrets = [*platform.tokens.values(), *platform.keys.values()]
    with platform.client("operator") as client:
        shown = [
            client.get(path).text
            for path in ("/status", "/tokens", "/projects", "/metrics", "/openapi.json")
        ]
        bad = client.post("/proposals?project=shop", content=secrets[0], headers=TURTLE).text
    log = platform.server.text
    # The first operator's token is shown once, when it is made.
    assert log.count(platform.server.token) == 1
    for secret in secrets:
        assert all(secret not in text for text in (*shown, bad))
        assert secret == platform.server.token or secret not in log
