"""What a page's key may bring into the graph: nothing by itself, however much of it comes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ontology.vocab import Fo

if TYPE_CHECKING:
    from tests.live.conftest import Server, Serving

pytestmark = pytest.mark.live

FLOOD = 5_000
# Words of letters alone, which nothing takes for an identifier.
LETTERS = str.maketrans("0123456789", "ghijklmnop")
SERVICES = f"SELECT ?s WHERE {{ ?s a <{Fo.Service}> }}"


@pytest.fixture(scope="module")
def server(serving_in: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {
        "FRACTALOPS_HOLD_SECONDS": "0.1",
        "FRACTALOPS_HOURLY_CAPS": "services=3",
        "FRACTALOPS_PROJECT_QUOTAS": "small=10/0",
    }
    with serving_in(tmp_path_factory.mktemp("trust")) as serve:
        yield serve(None, "--steward-seconds", "600", settings=settings).start()


def calls(*services: str) -> ExportTraceServiceRequest:
    """One request to each of these services, each in a trace of its own."""
    request = ExportTraceServiceRequest()
    for service in services:
        resource = request.resource_spans.add()
        resource.resource.attributes.append(text("service.name", service))
        digest = hashlib.sha256(service.encode()).digest()
        resource.scope_spans.add().spans.append(
            Span(
                trace_id=digest[:16],
                span_id=digest[:8],
                name="GET /",
                kind=Span.SPAN_KIND_SERVER,
                start_time_unix_nano=time.time_ns(),
                end_time_unix_nano=time.time_ns(),
                attributes=[text("http.request.method", "GET"), text("http.route", "/")],
            )
        )
    return request


def text(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def services_of(server: Server, slug: str) -> set[str]:
    return {iri.rpartition("/")[2] for (iri,) in server.select(SERVICES) if f"/{slug}/" in iri}


def waiting(server: Server, slug: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.get("/proposals", project=slug, state="awaiting decision")[
        "items"
    ]
    return found


def test_a_flood_through_a_page_becomes_one_proposal_and_a_warning(server: Server) -> None:
    made = server.post("/projects", {"slug": "shop"})
    before = server.head
    for part in range(5):
        invented = (f"invented-{part}-{number}" for number in range(FLOOD // 5))
        server.send(made["browser_key"], calls(*invented))
    server.settle()
    assert services_of(server, "shop") == set()
    (proposal,) = waiting(server, "shop")
    assert "seen only by keys that stand in pages" in proposal["hold"]
    assert "500 services" in proposal["rationale"]
    assert "4,500 services" in proposal["rationale"]
    # One proposal, whatever it took to get there.
    assert server.head <= before + 10
    (warning,) = server.get("/status")["warnings"]
    assert proposal["id"] in warning
    assert server.get("/readyz")["status"] == "ready"

    trusted, rest = "invented-0-1", proposal["additions"]
    server.send(made["ingest_key"], calls(trusted))
    server.settle()
    assert services_of(server, "shop") == {trusted}
    server.settle()
    (proposal,) = waiting(server, "shop")
    assert proposal["additions"] < rest

    # What was learned with trust gets new facts by any key, and nothing of it waits.
    head = server.head
    server.send(made["browser_key"], calls(trusted))
    server.settle()
    assert (server.head, services_of(server, "shop")) == (head, {trusted})


def test_a_flood_of_pages_features_and_routes_is_one_proposal_too(server: Server) -> None:
    made = server.post("/projects", {"slug": "site"})
    server.send(made["ingest_key"], calls("web"))
    server.settle()
    known = "SELECT ?s {{ ?s a <{}> }}"
    kinds = (Fo.Page, Fo.Feature, Fo.ProductEventType, Fo.HttpRoute)
    quads, head = server.get("/status")["quads"], server.head
    grown = {kind: server.select(known.format(kind)) for kind in kinds}

    words = [hashlib.sha256(str(n).encode()).hexdigest().translate(LETTERS) for n in range(1_500)]
    events = [
        {"event": event, "distinct_id": "1", "properties": {"feature": word, "$pathname": path}}
        for word in words
        for event, path in (("$pageview", f"/{word}"), (f"did {word}", f"/{word}"))
    ]
    with httpx.Client(base_url=server.url, trust_env=False) as page:
        for start in range(0, len(events), 1_000):
            some = {"api_key": made["browser_key"], "batch": events[start : start + 1_000]}
            assert page.post("/batch/", json=some).status_code == 200
    flood = calls("web")
    (span,) = flood.resource_spans[0].scope_spans[0].spans
    for word in words:
        more = flood.resource_spans[0].scope_spans[0].spans.add()
        more.CopyFrom(span)
        more.span_id = hashlib.sha256(word.encode()).digest()[:8]
        more.attributes[1].value.string_value = f"/{word}"
    server.send(made["browser_key"], flood)
    server.settle()

    (proposal,) = waiting(server, "site")
    assert "seen only by keys that stand in pages" in proposal["hold"]
    told = [line for line in server.get("/status")["warnings"] if proposal["id"] in line]
    assert len(told) == 1
    assert {kind: server.select(known.format(kind)) for kind in kinds} == grown
    # What waits is in the log, and nothing of it in the graph of the project.
    assert server.head <= head + 10
    assert server.get("/status")["quads"] < quads + 1_000


def test_what_is_over_the_hours_cap_waits_and_an_operator_lets_it_in(server: Server) -> None:
    made = server.post("/projects", {"slug": "busy"})
    server.send(made["ingest_key"], calls("a", "b"))
    server.settle()
    server.send(made["ingest_key"], calls("c", "d", "e"))
    server.settle()
    assert services_of(server, "busy") == {"a", "b", "c"}
    (proposal,) = waiting(server, "busy")
    assert "more new things in an hour" in proposal["hold"]
    # Its author is a steward, so the one operator is a person other than that.
    server.post(f"/proposals/{proposal['id']}/decisions", {"outcome": "approve"})
    server.settle()
    assert services_of(server, "busy") == {"a", "b", "c", "d", "e"}
    assert waiting(server, "busy") == []


def test_a_servers_key_in_a_page_is_told_and_can_be_ended(server: Server) -> None:
    made = server.post("/projects", {"slug": "leaky"})
    key = made["ingest_key"]
    answer = httpx.post(
        f"{server.url}/batch/",
        json={"api_key": key, "batch": [{"event": "click", "distinct_id": "1"}]},
        headers={"Origin": "https://shop.example"},
        trust_env=False,
    )
    assert answer.json() == {"status": "Ok"}
    keys = {item["kind"]: item for item in server.get("/projects/leaky/keys")["items"]}
    assert (keys["server"]["from_pages"], keys["browser"]["from_pages"]) == (1, 0)
    assert keys["server"]["last_used"]
    assert not keys["browser"]["last_used"]
    told = [line for line in server.get("/status")["warnings"] if keys["server"]["id"] in line]
    assert "projects key leaky" in told[0]
    with server.client() as client:
        gone = client.delete(f"/projects/leaky/keys/{keys['server']['id']}")
        assert gone.status_code == 204
        assert client.delete("/projects/leaky/keys/0").status_code == 404
    assert not [line for line in server.get("/status")["warnings"] if "leaky" in line]
    with pytest.raises(AssertionError, match="401"):
        server.send(key, calls("web"))
    # A key that sends telemetry is no token.
    with server.client(made["browser_key"]) as client:
        assert client.get("/status").status_code == 401


def test_over_quota_each_kind_of_client_is_told_in_its_own_way(server: Server) -> None:
    made = server.post("/projects", {"slug": "small"})
    key = made["ingest_key"]
    events = [{"event": "click", "distinct_id": str(number)} for number in range(700)]
    body = {"api_key": key, "batch": events}
    dsn = made["sentry"]["SENTRY_DSN"].partition("//")[2].partition("@")[0]
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        assert client.post("/batch/", json=body).status_code == 200
        refused = client.post("/batch/", json=body)
        assert (refused.status_code, refused.json()["type"].rpartition("/")[2]) == (
            429,
            "quota-exceeded",
        )
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        sentry = client.post("/api/1/store/", params={"sentry_key": dsn}, json={"message": "x"})
        assert sentry.status_code == 429
        assert sentry.headers["X-Sentry-Rate-Limits"].partition(":")[0].isdigit()
        bearer = {"Authorization": f"Bearer {key}"}
        lineage = client.post("/api/v1/lineage", json={}, headers=bearer)
        assert lineage.status_code == 503
        assert lineage.headers["Retry-After"]
        otlp = client.post("/v1/traces", json={"resourceSpans": []}, headers=bearer)
        assert otlp.status_code == 429
        assert otlp.headers["Retry-After"]
    assert server.metric("fractalops_over_quota_total", project="small", trusted="true") == 4
    # Pages have a bucket of their own, and other projects too.
    server.send(made["browser_key"], calls("web"))
