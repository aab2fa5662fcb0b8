"""The graph's IRIs lead to what is known of the things they name."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

import httpx
import pytest
from pyoxigraph import NamedNode, RdfFormat, parse

if TYPE_CHECKING:
    from tests.graph_api.reading.conftest import Server

BASE = "http://fractalops.localhost"
SHOP, SECRET = f"{BASE}/graph/lineage/shop", f"{BASE}/graph/lineage/secret"


def triples(answer: httpx.Response) -> set[tuple[str, str, str]]:
    assert answer.status_code == 200, answer.text
    return {
        (str(quad.subject), str(quad.predicate), str(quad.object))
        for quad in parse(answer.content, RdfFormat.TURTLE)
    }


def test_a_thing_is_described_from_both_sides_with_labels(
    server: Server, client: httpx.Client
) -> None:
    cart, pay = f"{BASE}/id/service/shop/cart", f"{BASE}/id/service/shop/pay"
    head = server.commit(
        f"GRAPH <{SHOP}> {{ <{pay}> <http://e/calls> <{cart}> ;"
        f" <http://www.w3.org/2000/01/rdf-schema#label> 'pay' . }}"
    )
    answer = client.get(f"/id/service/shop/cart?min_head={head}")
    found = triples(answer)
    label = "<http://www.w3.org/2000/01/rdf-schema#label>"
    assert (f"<{cart}>", label, '"cart"') in found
    assert (f"<{cart}>", "<http://e/calls>", "<http://e/stock>") in found
    assert (f"<{pay}>", "<http://e/calls>", f"<{cart}>") in found
    assert (f"<{pay}>", label, '"pay"') in found
    assert ("<http://e/stock>", label, '"stock"@en') in found
    assert f'<{cart}>; rel="describes"' in answer.headers["link"]
    assert answer.headers["etag"]


@pytest.mark.parametrize(
    "media_type",
    ["text/turtle", "application/n-triples", "application/ld+json", "application/rdf+xml"],
)
def test_the_format_is_negotiated(client: httpx.Client, media_type: str) -> None:
    answer = client.get("/id/service/shop/cart", headers={"Accept": media_type})
    assert answer.headers["content-type"].partition(";")[0] == media_type
    none = client.get("/id/service/shop/cart", headers={"Accept": "image/png"})
    assert none.status_code == 406


def test_the_path_is_taken_as_it_was_sent(server: Server, client: httpx.Client) -> None:
    slash = f"{BASE}/id/service/shop/a%2Fb"
    head = server.commit(f"GRAPH <{SHOP}> {{ <{slash}> <http://e/p> 'encoded' }}")
    assert triples(client.get(f"/id/service/shop/a%2Fb?min_head={head}")) == {
        (f"<{slash}>", "<http://e/p>", '"encoded"')
    }
    for other in ("/id/service/shop/a/b", "/id/service/shop/a%2fb", "/id/service/shop/%61%2Fb"):
        assert client.get(other).status_code == 404


@pytest.mark.parametrize("path", ["/id/nothing", "/id/", "/id/a%20b", "/id/%00", "/id/%3E"])
def test_what_is_not_known(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["type"].endswith("/not-found")


def test_a_restricted_graph_says_nothing_to_those_who_may_not(server: Server) -> None:
    thing = f"{BASE}/id/service/secret/vault"
    head = server.commit(
        f"GRAPH <{SECRET}> {{ <{thing}> <http://e/p> 'known' ."
        f" <http://e/other> <http://e/calls> <{BASE}/id/service/shop/cart> }}"
    )
    with server.client("outsider") as outsider, server.client("ada") as ada:
        assert outsider.get(f"/id/service/secret/vault?min_head={head}").status_code == 404
        assert len(triples(ada.get("/id/service/secret/vault"))) == 1
        assert "other" not in outsider.get("/id/service/shop/cart").text
        assert "other" in ada.get("/id/service/shop/cart").text


def test_what_does_not_fit_is_a_query_away(server: Server, client: httpx.Client) -> None:
    hub = f"{BASE}/id/service/shop/hub"
    rows = " ".join(f"<http://e/n/{n}> <http://e/uses> <{hub}> ." for n in range(1100))
    head = server.commit(f"GRAPH <{SHOP}> {{ {rows} }}")
    answer = client.get(f"/id/service/shop/hub?min_head={head}")
    assert len(triples(answer)) == 1000
    link = next(part for part in answer.headers["link"].split(", <") if "/sparql" in part)
    address = link.partition(">")[0].lstrip("<")
    assert hub in unquote(address)
    assert len(client.get(address).json()["results"]["bindings"]) == 1100


def test_a_graphs_name_leads_to_its_document(client: httpx.Client) -> None:
    answer = client.get("/graph/lineage/shop?at=0")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/graphs/lineage/shop?at=0"
    document = client.get("/graph/lineage/shop", follow_redirects=True)
    subjects = {quad.subject for quad in parse(document.content, RdfFormat.TURTLE)}
    assert NamedNode("http://e/stock") in subjects


def test_nothing_is_written_here(client: httpx.Client) -> None:
    for path in ("/id/service/shop/cart", "/graph/lineage/shop"):
        assert client.put(path, content=b"").status_code == 405
