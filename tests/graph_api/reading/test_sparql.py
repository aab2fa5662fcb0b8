"""The SPARQL endpoint, over HTTP: protocol, formats, datasets, refusals, caching, time travel."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pyoxigraph
import pytest
from rdflib import Literal
from rdflib.plugins.stores.sparqlstore import SPARQLStore
from rdflib.query import ResultRow

if TYPE_CHECKING:
    from tests.graph_api.reading.conftest import Server

BASE = "http://fractalops.localhost"
SHOP, CRM, SECRET = (f"{BASE}/graph/lineage/{name}" for name in ("shop", "crm", "secret"))
LABELS = (
    "PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>"
    " SELECT ?s ?name { ?s rdfs:label ?name } ORDER BY ?name"
)
CONSTRUCT = "CONSTRUCT { ?s <http://e/calls> ?o } WHERE { ?s <http://e/calls> ?o }"


def select(client: httpx.Client, query: str, **parameters: str) -> list[dict[str, str]]:
    answer = client.get("/sparql", params={"query": query, **parameters})
    assert answer.status_code == 200, answer.text
    rows = answer.json()["results"]["bindings"]
    return [{name: cell["value"] for name, cell in row.items()} for row in rows]


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["detail"]
    return answer.status_code, body["type"].rpartition("/")[2]


# --- protocol


def test_a_query_by_get_and_by_both_kinds_of_post(client: httpx.Client) -> None:
    by_get = client.get("/sparql", params={"query": LABELS})
    by_form = client.post("/sparql", data={"query": LABELS})
    by_body = client.post(
        "/sparql",
        content=LABELS.encode(),
        headers={"Content-Type": "application/sparql-query; charset=UTF-8"},
    )
    assert by_get.json() == by_form.json() == by_body.json()
    assert [row["name"]["value"] for row in by_get.json()["results"]["bindings"]] == [
        "cart", 'mail, "quoted"', "stock",
    ]  # fmt: skip


def test_head_answers_like_get_without_the_body(client: httpx.Client) -> None:
    by_get = client.get("/sparql", params={"query": LABELS})
    by_head = client.head("/sparql", params={"query": LABELS})
    assert by_head.status_code == 200
    assert by_head.content == b""
    for name in ("content-type", "content-length", "etag", "fractalops-head", "vary"):
        assert by_head.headers[name] == by_get.headers[name]


def test_without_a_token_there_is_no_answer(server: Server) -> None:
    for method in ("GET", "POST", "HEAD", "DELETE"):
        answer = httpx.request(method, f"{server.url}/sparql", params={"query": "ASK {}"})
        assert answer.status_code == 401


def test_a_query_in_other_scripts(client: httpx.Client) -> None:
    assert select(client, 'SELECT ("naïve 文 🚀" AS ?x) {}') == [{"x": "naïve 文 🚀"}]


@pytest.mark.parametrize(
    ("method", "parameters", "headers", "body", "expected"),
    [
        ("GET", "query=ASK{}&query=ASK{}", {}, b"", (400, "parameter-invalid")),
        ("GET", "at=1", {}, b"", (400, "parameter-invalid")),
        ("GET", "query=ASK{}&at=-1", {}, b"", (400, "parameter-invalid")),
        ("GET", "query=ASK{}&at=x", {}, b"", (400, "parameter-invalid")),
        ("GET", "query=ASK{}&at=999999999999999999999", {}, b"", (400, "parameter-invalid")),
        ("GET", "query=ASK{}&timeout=0", {}, b"", (400, "parameter-invalid")),
        ("GET", "query=ASK{}&timeout=nan", {}, b"", (400, "parameter-invalid")),
        ("GET", "query=ASK{}&default-graph-uri=not%20an%20iri", {}, b"", (400, "graph-invalid")),
        ("GET", "query=%ff", {}, b"", (400, "parameter-invalid")),
        ("GET", "query=ASK{}" + "&a=1" * 300, {}, b"", (400, "parameter-invalid")),
        ("POST", "", {"Content-Type": "application/sparql-query"}, b"\xff",
         (400, "parameter-invalid")),
        ("POST", "", {"Content-Type": "text/plain"}, b"ASK {}", (415, "content-type-unknown")),
        ("POST", "", {}, b"ASK {}", (415, "content-type-unknown")),
        ("POST", "", {"Content-Type": "application/x-www-form-urlencoded"}, b"",
         (400, "parameter-invalid")),
        ("PUT", "", {}, b"", (405, "method-not-allowed")),
        ("DELETE", "query=ASK{}", {}, b"", (405, "method-not-allowed")),
    ],
)  # fmt: skip
def test_what_is_no_request_of_the_protocol(
    client: httpx.Client,
    method: str,
    parameters: str,
    headers: dict[str, str],
    body: bytes,
    expected: tuple[int, str],
) -> None:
    answer = client.request(method, f"/sparql?{parameters}", headers=headers, content=body or None)
    assert problem(answer) == expected


def test_a_query_that_is_too_long_is_refused_before_it_is_read(client: httpx.Client) -> None:
    long = "ASK {} #" + "x" * 70_000
    typed = {"Content-Type": "application/sparql-query"}
    assert problem(client.post("/sparql", content=long, headers=typed)) == (413, "query-too-large")
    endless = (b"x" * 10_000 for _ in range(1000))
    assert problem(client.post("/sparql", content=endless, headers=typed)) == (
        413, "query-too-large",
    )  # fmt: skip
    form = client.post("/sparql", data={"query": long})
    assert problem(form) == (413, "query-too-large")


def test_without_a_query_the_service_describes_itself(client: httpx.Client) -> None:
    answer = client.get("/sparql")
    assert answer.headers["content-type"].startswith("text/turtle")
    sd = "http://www.w3.org/ns/sparql-service-description#"
    found = {
        (str(triple.predicate), str(triple.object))
        for triple in pyoxigraph.parse(answer.content, pyoxigraph.RdfFormat.TURTLE)
    }
    assert (f"<{sd}supportedLanguage>", f"<{sd}SPARQL11Query>") in found
    assert (f"<{sd}endpoint>", f"<{client.base_url}/sparql>") in found
    simple = "<http://www.w3.org/ns/entailment/Simple>"
    assert (f"<{sd}defaultEntailmentRegime>", simple) in found
    as_json = client.get("/sparql", headers={"Accept": "application/ld+json"})
    assert as_json.headers["content-type"] == "application/ld+json"
    json.loads(as_json.content)


def test_rdflib_is_a_client(server: Server) -> None:
    store = SPARQLStore(f"{server.url}/sparql", headers={"Authorization": "Bearer ada"})
    rows = [row for row in store.query(LABELS) if isinstance(row, ResultRow)]
    assert Literal("stock", lang="en") in [row[1] for row in rows]


# --- formats


def test_tables_in_every_standard_format(client: httpx.Client) -> None:
    query = (
        "PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>"
        " SELECT ?s ?name ?rank { ?s rdfs:label ?name OPTIONAL { ?s <http://e/rank> ?rank } }"
        " ORDER BY ?name"
    )
    formats = {
        "application/sparql-results+json": pyoxigraph.QueryResultsFormat.JSON,
        "application/sparql-results+xml": pyoxigraph.QueryResultsFormat.XML,
        "text/tab-separated-values": pyoxigraph.QueryResultsFormat.TSV,
    }
    found = []
    for media_type, known in formats.items():
        answer = client.get("/sparql", params={"query": query}, headers={"Accept": media_type})
        assert answer.headers["content-type"].partition(";")[0] == media_type
        solutions = pyoxigraph.parse_query_results(answer.content, known)
        assert isinstance(solutions, pyoxigraph.QuerySolutions)
        found.append([[str(row[name]) for name in ("s", "name", "rank")] for row in solutions])
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 3
    answer = client.get("/sparql", params={"query": query}, headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["name"] for row in rows] == ["cart", 'mail, "quoted"', "stock"]
    assert [row["rank"] for row in rows] == ["", "", "3"]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "application/sparql-results+json"),
        ("*/*", "application/sparql-results+json"),
        ("application/json", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/sparql-results+json"),
        ("application/sparql-results+json;q=0.5, text/csv", "text/csv; charset=utf-8"),
    ],
)
def test_the_format_of_a_table_is_negotiated(
    client: httpx.Client, accept: str | None, expected: str
) -> None:
    client.headers["Accept"] = accept or ""
    answer = client.get("/sparql", params={"query": "ASK {}"})
    assert answer.headers["content-type"] == expected
    assert "Accept" in answer.headers["vary"]


@pytest.mark.parametrize(
    ("accept", "known"),
    [
        ("text/turtle", pyoxigraph.RdfFormat.TURTLE),
        ("application/n-triples", pyoxigraph.RdfFormat.N_TRIPLES),
        ("application/rdf+xml", pyoxigraph.RdfFormat.RDF_XML),
        ("application/ld+json", pyoxigraph.RdfFormat.JSON_LD),
        ("application/trig", pyoxigraph.RdfFormat.TRIG),
        ("application/n-quads", pyoxigraph.RdfFormat.N_QUADS),
    ],
)
def test_triples_in_every_standard_format(
    client: httpx.Client, accept: str, known: pyoxigraph.RdfFormat
) -> None:
    answer = client.get("/sparql", params={"query": CONSTRUCT}, headers={"Accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == accept
    found = [str(quad.subject) for quad in pyoxigraph.parse(answer.content, known)]
    assert found == [f"<{BASE}/id/service/shop/cart>"]


def test_ask_and_describe(client: httpx.Client) -> None:
    ask = client.get("/sparql", params={"query": "ASK { <http://e/stock> ?p ?o }"})
    assert ask.json()["boolean"] is True
    described = client.get("/sparql", params={"query": "DESCRIBE <http://e/stock>"})
    assert described.headers["content-type"].startswith("text/turtle")
    assert len(list(pyoxigraph.parse(described.content, pyoxigraph.RdfFormat.TURTLE))) == 2


def test_a_format_that_is_not_there_is_named_with_those_that_are(client: httpx.Client) -> None:
    client.headers["Accept"] = "image/png"
    answer = client.get("/sparql", params={"query": LABELS})
    assert problem(answer) == (406, "not-acceptable")
    assert "text/csv" in answer.json()["offered"]
    answer = client.get("/sparql", params={"query": CONSTRUCT}, headers={"Accept": "text/csv"})
    assert problem(answer) == (406, "not-acceptable")
    assert "text/turtle" in answer.json()["offered"]


# --- datasets


def test_a_triple_in_two_graphs_is_one_triple(client: httpx.Client) -> None:
    count = "SELECT (COUNT(*) AS ?n) {dataset} {{ ?s <http://e/stated> ?o }}"
    for dataset in ("", f"FROM <{SHOP}> FROM <{CRM}>", f"FROM <{SHOP}>", f"FROM <{SHOP}> " * 3):
        assert select(client, count.format(dataset=dataset)) == [{"n": "1"}], dataset
    named = "SELECT (COUNT(*) AS ?n) { GRAPH ?g { ?s <http://e/stated> ?o } }"
    assert select(client, named) == [{"n": "2"}]


def test_from_clauses_under_prefixes_bases_and_escapes(client: httpx.Client) -> None:
    for prologue, graph in (
        (f"PREFIX g: <{BASE}/graph/lineage/>", "g:crm"),
        (f"BASE <{BASE}/graph/lineage/x>", "<crm>"),
        ("", rf"<{BASE}/graph/\u006Cineage/crm>"),
    ):
        query = f"{prologue} SELECT (COUNT(*) AS ?n) FROM {graph} {{ ?s ?p ?o }}"
        assert select(client, query) == [{"n": "2"}], graph


def test_the_protocols_dataset_replaces_the_querys(client: httpx.Client) -> None:
    query = f"SELECT (COUNT(*) AS ?n) FROM <{SHOP}> {{ ?s ?p ?o }}"
    assert select(client, query, **{"default-graph-uri": CRM}) == [{"n": "2"}]
    graphs = "SELECT DISTINCT ?g { GRAPH ?g { ?s ?p ?o } }"
    assert select(client, graphs, **{"named-graph-uri": CRM}) == [{"g": CRM}]
    assert select(client, "SELECT * { ?s ?p ?o }", **{"named-graph-uri": CRM}) == []
    both = client.get(
        "/sparql",
        params=[("query", "SELECT (COUNT(*) AS ?n) { ?s ?p ?o }"),
                ("default-graph-uri", SHOP), ("default-graph-uri", CRM)],
    )  # fmt: skip
    assert both.json()["results"]["bindings"][0]["n"]["value"] == "7"


def test_named_graphs_of_a_merged_dataset(client: httpx.Client) -> None:
    query = (
        f"SELECT ?g (COUNT(*) AS ?n) FROM <{SHOP}> FROM <{CRM}> FROM NAMED <{CRM}>"
        " { GRAPH ?g { ?s ?p ?o } } GROUP BY ?g"
    )
    assert select(client, query) == [{"g": CRM, "n": "2"}]


def test_restricted_graphs_are_there_for_those_who_may(
    server: Server, client: httpx.Client
) -> None:
    graphs = "SELECT DISTINCT ?g { GRAPH ?g { ?s <http://e/calls> ?o } } ORDER BY ?g"
    assert select(client, graphs) == [{"g": SECRET}, {"g": SHOP}]
    assert select(client, "SELECT * { <http://e/hidden> ?p ?o }") == []
    assert len(select(client, f"SELECT * {{ GRAPH <{SECRET}> {{ ?s ?p ?o }} }}")) == 2
    with server.client("outsider") as outsider:
        assert select(outsider, graphs) == [{"g": SHOP}]
        assert select(outsider, f"SELECT * {{ GRAPH <{SECRET}> {{ ?s ?p ?o }} }}") == []
        assert select(outsider, "SELECT ?s { ?s <http://e/stated> ?o }") == [{"s": "http://e/both"}]
        for clause in ("FROM", "FROM NAMED"):
            answer = outsider.get(
                "/sparql", params={"query": f"SELECT * {clause} <{SECRET}> {{ ?s ?p ?o }}"}
            )
            assert problem(answer) == (403, "graph-restricted")
            assert answer.json()["graph"] == SECRET
        answer = outsider.get(
            "/sparql", params={"query": "ASK { ?s ?p ?o }", "default-graph-uri": SECRET}
        )
        assert problem(answer) == (403, "graph-restricted")


@pytest.mark.parametrize(
    "query",
    [
        # The engine reads FROM off the front of a name; the gate's tokens do not.
        f"PREFIX g: <{BASE}/graph/lineage/> SELECT * FROMg:secret {{ ?s ?p ?o }}",
        f"SELECT *FROM<{SECRET}>{{ ?s ?p ?o }}",
        f"SELECT * # {{\nFROM # x\n<{SECRET}> {{ ?s ?p ?o }}",
        f"CONSTRUCT {{ ?s ?p ?o }} FROM <{SECRET}> {{ ?s ?p ?o }}",
        f"DESCRIBE <http://e/hidden> FROM <{SECRET}>",
        rf"SELECT * FROM <{BASE}/graph/lineage/s\u0065cret> {{ ?s ?p ?o }}",
    ],
)
def test_no_spelling_of_a_dataset_opens_a_restricted_graph(server: Server, query: str) -> None:
    with server.client("outsider") as outsider:
        answer = outsider.get("/sparql", params={"query": query})
    assert "hidden" not in answer.text.replace("http://e/hidden> FROM", "")


# --- refusals


@pytest.mark.parametrize(
    "request_",
    [
        {"method": "POST", "data": {"update": "DROP ALL"}},
        {"method": "GET", "params": {"update": "DROP ALL"}},
        {"method": "POST", "data": {"query": "INSERT DATA { <a:a> <b:b> 1 }"}},
        {"method": "GET", "params": {"query": "DELETE WHERE { ?s ?p ?o }"}},
        {"method": "GET", "params": {"query": "PREFIX ex: <x:y> LOAD <http://127.0.0.1/>"}},
        {"method": "POST", "content": b"CLEAR ALL",
         "headers": {"Content-Type": "application/sparql-update"}},
        {"method": "POST", "data": {"query": "ASK {}", "using-graph-uri": "x:y"}},
    ],
)  # fmt: skip
def test_an_update_is_told_where_to_go(client: httpx.Client, request_: dict[str, str]) -> None:
    answer = client.request(url="/sparql", **request_)  # type: ignore[arg-type]
    assert problem(answer) == (403, "updates-go-through-proposals")
    assert "POST /proposals" in answer.json()["detail"]
    assert "application/sparql-update" in answer.json()["detail"]


def test_service_is_refused(client: httpx.Client) -> None:
    query = "SELECT * { ?s ?p ?o .\n SERVICE <http://127.0.0.1:1/> { ?s ?p ?o } }"
    answer = client.get("/sparql", params={"query": query})
    assert problem(answer) == (400, "service-refused")
    assert (answer.json()["line"], answer.json()["column"]) == (2, 2)


@pytest.mark.parametrize(
    ("query", "line", "column", "says"),
    [
        ("SELECT * {\n  ?s ?p }", 2, 10, "expected"),
        ("SELECT * {\n  ?s fo:calls ?o }", 2, 6, "PREFIX fo: <https://w3id.org/fractalops/ns#>"),
        ("ASK { <http://e:x/> ?p ?o }", 1, 20, "IRI"),
        ('ASK {\n\n ?s ?p "never closed }', 3, 8, "never closed"),
        ("SELECT ?x { ?x ?p ?o } GROUP BY ?p", 1, 35, "SELECT"),
        ("nonsense", 1, 1, "SELECT, ASK, CONSTRUCT or DESCRIBE"),
        ("ASK {} ; DROP ALL", 1, 14, "expected"),
    ],
)
def test_a_syntax_error_has_its_place(
    client: httpx.Client, query: str, line: int, column: int, says: str
) -> None:
    answer = client.get("/sparql", params={"query": query})
    assert problem(answer) == (400, "query-syntax")
    body = answer.json()
    assert (body["line"], body["column"]) == (line, column)
    assert says in body["detail"]


def test_a_relative_iri_is_the_platforms_own(client: httpx.Client) -> None:
    label = "<http://www.w3.org/2000/01/rdf-schema#label>"
    query = f"SELECT ?label {{ <id/service/shop/cart> {label} ?label }}"
    for dataset in (
        "",
        "FROM <graph/lineage/shop>",
        "FROM <graph/lineage/crm> FROM <graph/lineage/shop>",
    ):
        answer = client.get("/sparql", params={"query": query.replace("{", dataset + " {", 1)})
        rows = answer.json()["results"]["bindings"]
        assert [row["label"]["value"] for row in rows] == ["cart"]


@pytest.mark.parametrize("dataset", ["", "FROM <graph/lineage/shop>"])
def test_boolean_keywords_have_no_case(client: httpx.Client, dataset: str) -> None:
    text = f"SELECT (TRUE AS ?t) (False AS ?f) ('TRUE' AS ?TRUE) {dataset} {{ }}"
    answer = client.get("/sparql", params={"query": text})
    (row,) = answer.json()["results"]["bindings"]
    assert [row[name]["value"] for name in ("t", "f", "TRUE")] == ["true", "false", "TRUE"]


def test_a_restricted_graph_is_not_reached_by_a_relative_name(server: Server) -> None:
    with server.client("outsider") as outsider:
        query = "SELECT * FROM <graph/lineage/secret> { ?s ?p ?o }"
        answer = outsider.get("/sparql", params={"query": query})
    assert problem(answer) == (403, "graph-restricted")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT (<http://e/f>(?s) AS ?x) { ?s ?p ?o }",
        "SELECT * FROM <graph/lineage/shop> { ?s ?p ?o FILTER(<http://e/f>(?s)) }",
    ],
)
def test_a_function_that_nobody_knows_is_named(client: httpx.Client, query: str) -> None:
    answer = client.get("/sparql", params={"query": query})
    assert problem(answer) == (400, "function-unknown")
    assert answer.json()["function"] == "http://e/f"


# --- caching, heads, time travel


def test_an_answer_that_did_not_change_is_not_sent_again(
    server: Server, client: httpx.Client
) -> None:
    query = {"query": "SELECT * { ?s <http://e/cached> ?o }"}
    first = client.get("/sparql", params=query)
    etag = first.headers["etag"]
    assert etag.startswith('"')
    again = client.get("/sparql", params=query, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == etag
    listed = {"If-None-Match": f'"other", W/{etag}'}
    assert client.get("/sparql", params=query, headers=listed).status_code == 304
    for other in (
        {"params": {"query": "SELECT * { ?s <http://e/other> ?o }"}},
        {"params": query, "headers": {"Accept": "text/csv"}},
        {"params": {**query, "default-graph-uri": SHOP}},
    ):
        assert client.get("/sparql", **other).headers["etag"] != etag  # type: ignore[arg-type]
    with server.client("outsider") as outsider:
        assert outsider.get("/sparql", params=query).headers["etag"] != etag
    head = server.commit(f"GRAPH <{SHOP}> {{ <http://e/x> <http://e/cached> 1 }}")
    changed = client.get(
        "/sparql", params={**query, "min_head": str(head)}, headers={"If-None-Match": etag}
    )
    assert changed.status_code == 200
    assert len(changed.json()["results"]["bindings"]) == 1


@pytest.mark.parametrize(
    "query",
    [
        "SELECT (RAND() AS ?x) {}",
        "SELECT (NOW() AS ?x) {}",
        "SELECT (struuid() AS ?x) {}",
        "CONSTRUCT { [] <http://e/p> 1 } {}",
    ],
)
def test_what_differs_each_time_has_no_etag(client: httpx.Client, query: str) -> None:
    assert "etag" not in client.get("/sparql", params={"query": query}).headers


def test_a_read_follows_the_callers_own_write(server: Server) -> None:
    query = "SELECT (COUNT(*) AS ?n) { ?s <http://e/written> ?o }"
    with server.client("writer") as writer:
        for number in range(1, 20):
            head = server.commit(f"GRAPH <{SHOP}> {{ <http://e/x> <http://e/written> {number} }}")
            server.committed["writer"] = head
            answer = writer.get("/sparql", params={"query": query})
            assert int(answer.headers["fractalops-head"]) >= head
            assert answer.json()["results"]["bindings"][0]["n"]["value"] == str(number)


def test_an_older_head_can_be_read(server: Server, client: httpx.Client) -> None:
    query = "SELECT ?o { <http://e/travel> <http://e/at> ?o }"
    first = server.commit(f"GRAPH <{SHOP}> {{ <http://e/travel> <http://e/at> 1 }}")
    server.snapshots.wait_for(first, 5)
    second = server.commit(
        f"GRAPH <{SHOP}> {{ <http://e/travel> <http://e/at> 2 }}",
        remove=f"GRAPH <{SHOP}> {{ <http://e/travel> <http://e/at> 1 }}",
    )
    assert select(client, query, min_head=str(second)) == [{"o": "2"}]
    assert select(client, query, at=str(first)) == [{"o": "1"}]
    assert select(client, query, at=str(first - 1)) == []
    answer = client.get("/sparql", params={"query": query, "at": str(first)})
    assert answer.headers["fractalops-head"] == str(first)


def test_a_head_whose_snapshot_is_gone_is_rebuilt(server: Server, client: httpx.Client) -> None:
    heads = [
        server.commit(f"GRAPH <{SHOP}> {{ <http://e/rebuilt> <http://e/at> {number} }}")
        for number in range(20)
    ]
    server.snapshots.wait_for(heads[-1], 5)
    # Commits in quick succession share a snapshot, so most of these heads have none of their own.
    missing = next(head for head in heads if head not in server.snapshots.retained())
    query = "SELECT (COUNT(*) AS ?n) { <http://e/rebuilt> ?p ?o }"
    expected = str(missing - heads[0] + 1)
    assert select(client, query, at=str(missing)) == [{"n": expected}]
    assert server.rebuilt == [missing]
    assert missing in server.snapshots.retained()
    assert select(client, query, at=str(missing)) == [{"n": expected}]
    assert server.rebuilt == [missing]


def test_a_head_that_was_never_reached(client: httpx.Client) -> None:
    for name in ("at", "min_head"):
        answer = client.get("/sparql", params={"query": "ASK {}", name: "1000000"})
        assert problem(answer) == (404, "head-unknown")
        assert answer.json()["head"] < 1000000


def test_the_description_of_the_api_has_the_endpoint(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert "application/sparql-query" in paths["/sparql"]["post"]["requestBody"]["content"]
    assert {"/sparql", "/graphs", "/graphs/{name}", "/id/{name}"} <= set(paths)
    assert quote("text/turtle", safe="/") in paths["/sparql"]["get"]["responses"]["200"]["content"]
