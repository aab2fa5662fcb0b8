"""Runtime assets and endpoints over HTTP: typed, by id and by filter, at any head, by right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pyoxigraph import RdfFormat, Triple, serialize

from ontology.ids import Ids
from runtime.asset_quads import Statements
from runtime.assets import Authentication, IntegrationEndpoint, Locators, RuntimeAsset, Status
from runtime.permitted_actions import PermittedCommand, PermittedRequest
from runtime.urls import ExecutorUrl, InternalUrl, PublicUrl

if TYPE_CHECKING:
    from tests.graph_api.reading.conftest import Server

IDS = Ids()
OWNER = IDS.organisation("acme")
PRODUCTION = IDS.environment("production")
ASSETS = IDS.graph("assets")

WEB = RuntimeAsset(
    "web.7",
    "kubernetes",
    OWNER,
    Locators(cluster="main", namespace="shop", workload="deployment/web"),
    roles=("shop_web",),
    environment=PRODUCTION,
    permits=(
        PermittedCommand(("python", "-V"), "reads"),
        PermittedRequest(("GET",), "/health", "reads"),
    ),
    public=(PublicUrl.parse("https://shop.example.org"),),
    executor=ExecutorUrl.parse("http://web.shop.svc:8080/control"),
    status=Status("running", "2026-11-01T10:00:00Z"),
)
BOX = RuntimeAsset("box", "lxc", OWNER, Locators(vmid=104), roles=("shop_web", "spare"))
NEXUS = IntegrationEndpoint(
    "nexus",
    OWNER,
    "/status",
    Authentication("bearer", "bao://kv/nexus#token"),
    product="nexus",
    internal=(InternalUrl.parse("http://nexus.svc:8081"),),
)


def trig(*things: RuntimeAsset | IntegrationEndpoint) -> str:
    stated = Statements(IDS)
    for thing in things:
        if isinstance(thing, RuntimeAsset):
            stated.asset(thing)
        else:
            stated.endpoint(thing)
    return f"GRAPH <{ASSETS}> {{ {_turtle(stated.triples)} }}"


def _turtle(triples: set[Triple]) -> str:
    data = serialize(triples, format=RdfFormat.N_TRIPLES)
    assert data is not None
    return data.decode()


@pytest.fixture(scope="module")
def heads(server: Server) -> dict[str, int]:
    """The heads before anything is stated, and after each change."""
    before = server.head
    first = server.commit(trig(WEB, NEXUS))
    return {"before": before, "first": first, "second": server.commit(trig(BOX))}


def get(client: httpx.Client, path: str, **parameters: Any) -> dict[str, Any]:
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    assert str(document["head"]) == answer.headers["fractalops-head"]
    return document


def ids(document: dict[str, Any]) -> list[str]:
    return [item.get("asset_id", item.get("endpoint_id")) for item in document["items"]]


def test_an_asset_is_typed(client: httpx.Client, heads: dict[str, int]) -> None:
    found = get(client, "/runtime-assets/web.7", min_head=heads["second"])
    assert found == {
        "head": heads["second"],
        "asset_id": "web.7",
        "iri": IDS.runtime_asset("web.7"),
        "kind": "kubernetes",
        "label": None,
        "roles": ["shop_web"],
        "owner": OWNER,
        "project": None,
        "environment": PRODUCTION,
        "status": {"state": "running", "since": "2026-11-01T10:00:00Z", "evidence": []},
        "capabilities": [],
        "permits": [
            {"argv": ["python", "-V"], "effect": "reads"},
            {"methods": ["GET"], "path": "/health", "effect": "reads"},
        ],
        "urls": {
            "public": ["https://shop.example.org/"],
            "executor": "http://web.shop.svc:8080/control",
            "internal": [],
        },
        "hosts": [],
        "locators": {"cluster": "main", "namespace": "shop", "workload": "deployment/web"},
        "declared_in": None,
    }


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, ["box", "web.7"]),
        ({"role": "shop_web"}, ["box", "web.7"]),
        ({"role": "shop_web", "environment": "production"}, ["web.7"]),
        ({"environment": PRODUCTION}, ["web.7"]),
        ({"environment": ""}, ["box"]),
        ({"kind": "lxc"}, ["box"]),
        ({"role": "104"}, []),
    ],
)
def test_assets_are_chosen_by_what_they_are(
    client: httpx.Client, heads: dict[str, int], parameters: dict[str, str], expected: list[str]
) -> None:
    assert ids(get(client, "/runtime-assets", min_head=heads["second"], **parameters)) == expected


def test_history(client: httpx.Client, heads: dict[str, int]) -> None:
    assert ids(get(client, "/runtime-assets", at=heads["before"])) == []
    assert ids(get(client, "/runtime-assets", at=heads["first"])) == ["web.7"]
    assert client.get("/runtime-assets/box", params={"at": heads["first"]}).status_code == 404
    assert get(client, "/runtime-assets/box", at=heads["second"])["asset_id"] == "box"


def test_endpoints(client: httpx.Client, heads: dict[str, int]) -> None:
    assert ids(get(client, "/endpoints", min_head=heads["second"])) == ["nexus"]
    assert ids(get(client, "/endpoints", product="penpot")) == []
    found = get(client, "/endpoints/nexus")
    assert found["url"] == "http://nexus.svc:8081/"
    assert found["authentication"] == {"scheme": "bearer", "reference": "bao://kv/nexus#token"}


@pytest.mark.parametrize(
    ("path", "status", "kind", "said"),
    [
        ("/runtime-assets/104", 404, "unknown-asset", "there are box, web.7."),
        ("/endpoints/web", 404, "unknown-asset", "there are nexus."),
        ("/runtime-assets?vmid=104", 400, "parameter-invalid", "vmid: only at, min_head, role"),
        ("/runtime-assets?kind=vm", 400, "parameter-invalid", "none of lxc, kubernetes"),
        ("/runtime-assets?role=a&role=b", 400, "parameter-invalid", "more than once"),
        ("/runtime-assets/web?role=a", 400, "parameter-invalid", "only at, min_head"),
    ],
)
def test_what_is_refused_says_what_there_is(
    client: httpx.Client, heads: dict[str, int], path: str, status: int, kind: str, said: str
) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (status, kind)
    assert said in answer.json()["detail"]


def test_nothing_is_written_here(client: httpx.Client) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert client.request(method, "/runtime-assets").status_code == 405


def test_only_callers_with_a_token_read(server: Server) -> None:
    for path in ("/runtime-assets", "/runtime-assets/web", "/endpoints"):
        assert httpx.get(server.url + path).status_code == 401
