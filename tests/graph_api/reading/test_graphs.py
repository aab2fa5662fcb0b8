"""Graphs over HTTP: one at its own address, the list of them, nothing written."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest
from pyoxigraph import NamedNode, RdfFormat, parse

if TYPE_CHECKING:
    from tests.graph_api.reading.conftest import Server

BASE = "http://fractalops.localhost"
CRM, SECRET = f"{BASE}/graph/lineage/crm", f"{BASE}/graph/lineage/secret"
TYPES = {
    "text/turtle": RdfFormat.TURTLE,
    "application/n-triples": RdfFormat.N_TRIPLES,
    "application/rdf+xml": RdfFormat.RDF_XML,
    "application/ld+json": RdfFormat.JSON_LD,
}


def kind(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition("/")[2]


@pytest.mark.parametrize("media_type", TYPES)
@pytest.mark.parametrize(
    "address",
    ["/graphs/lineage/crm", "/graphs?graph=lineage/crm", f"/graphs?graph={quote(CRM, safe='')}"],
)
def test_a_graph_at_each_of_its_addresses(
    client: httpx.Client, address: str, media_type: str
) -> None:
    answer = client.get(address, headers={"Accept": media_type})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].partition(";")[0] == media_type
    subjects = {str(quad.subject) for quad in parse(answer.content, TYPES[media_type])}
    assert subjects == {"<http://e/mail>", "<http://e/both>"}


def test_the_default_graph_is_the_merge(client: httpx.Client) -> None:
    answer = client.get("/graphs?default", headers={"Accept": "application/n-triples"})
    assert answer.status_code == 422  # larger than this server sends at once
    assert kind(answer) == (422, "result-too-large")


def test_every_readable_graph_as_quads(server: Server) -> None:
    with server.client("outsider") as outsider:
        answer = outsider.get("/graphs?graph=all&at=0", headers={"Accept": "application/trig"})
    assert answer.status_code == 200, answer.text
    graphs = {str(quad.graph_name) for quad in parse(answer.content, RdfFormat.TRIG)}
    assert f"<{CRM}>" in graphs
    assert f"<{SECRET}>" not in graphs
    assert "DEFAULT" not in graphs


def test_a_graph_that_did_not_change_is_not_sent_again(client: httpx.Client) -> None:
    first = client.get("/graphs/lineage/crm?at=0")
    assert first.headers["fractalops-head"] == "0"
    again = client.get("/graphs/lineage/crm?at=0", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


def test_head_has_no_body(client: httpx.Client) -> None:
    answer = client.head("/graphs/lineage/crm")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


@pytest.mark.parametrize(
    "address",
    ["/graphs/lineage/nobody", "/graphs?graph=http://elsewhere/x", "/graphs/lineage/%3C"],
)
def test_a_graph_that_is_not_there(client: httpx.Client, address: str) -> None:
    assert kind(client.get(address)) == (404, "not-found")


def test_a_restricted_graph_looks_absent_to_those_who_may_not(server: Server) -> None:
    with server.client("outsider") as outsider:
        assert kind(outsider.get("/graphs/lineage/secret")) == (404, "not-found")
        listed = outsider.get("/graphs").json()
        assert SECRET not in [item["graph"] for item in listed["items"]]
    with server.client("ada") as ada:
        assert ada.get("/graphs/lineage/secret").status_code == 200
        assert SECRET in [item["graph"] for item in ada.get("/graphs").json()["items"]]


def test_the_list_of_graphs_leads_to_each(client: httpx.Client) -> None:
    answer = client.get("/graphs")
    assert answer.headers["content-type"] == "application/json"
    items = {item["name"]: item for item in answer.json()["items"]}
    assert items["lineage/crm"]["triples"] == 2
    assert client.get(items["lineage/crm"]["url"]).status_code == 200
    as_turtle = client.get("/graphs", headers={"Accept": "text/turtle"})
    sized = {
        quad.subject: str(quad.object)
        for quad in parse(as_turtle.content, RdfFormat.TURTLE)
        if quad.predicate == NamedNode("http://rdfs.org/ns/void#triples")
    }
    assert sized[NamedNode(CRM)].startswith('"2"')


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_a_change_is_told_where_to_go(client: httpx.Client, method: str) -> None:
    for address in ("/graphs/lineage/crm", f"/graphs?graph={CRM}", "/graphs"):
        answer = client.request(method, address, content=b"<a:a> <b:b> 1 .")
        assert kind(answer) == (405, "changes-go-through-proposals")
        assert answer.headers["allow"] == "GET, HEAD"
        assert "POST /proposals" in answer.json()["detail"]


def test_one_request_names_one_graph(client: httpx.Client) -> None:
    for address in (
        f"/graphs/lineage/crm?graph={CRM}",
        f"/graphs?default&graph={CRM}",
        f"/graphs?graph={CRM}&graph={CRM}",
        "/graphs?graph=",
        "/graphs?graph=a//b",
    ):
        assert kind(client.get(address)) == (400, "parameter-invalid"), address


def test_without_a_token_there_is_no_answer(server: Server) -> None:
    for address in (
        "/graphs",
        "/graphs/lineage/crm",
        "/graph/lineage/crm",
        "/id/service/shop/cart",
    ):
        assert httpx.get(server.url + address).status_code == 401
