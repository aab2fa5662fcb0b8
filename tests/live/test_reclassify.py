"""A rule is added by proposal: stored facts get their class, and the graph what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from ontology.vocab import Fo

if TYPE_CHECKING:
    from tests.live.conftest import MakeSpans, RunCommand, Serve

pytestmark = pytest.mark.live

RULE = """
@prefix fo: <https://w3id.org/fractalops/ns#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .

fo:rule-acme a fo:ClassificationRule ;
    rdfs:label "Acme's jobs"@en ;
    skos:definition "A server span that names one of Acme's jobs is a route of its own."@en ;
    fo:source "otel.span" ;
    fo:priority 250 ;
    fo:whenKind "server" ;
    fo:whenAttribute "acme.job" ;
    fo:classifiesAs fo:HttpRoute ;
    fo:operationKind "http" ;
    fo:nameTemplate "{acme.job}" .
"""
CLASSES = "SELECT class, uniqExact(rules), count() FROM events GROUP BY class"
OPERATIONS = (
    "PREFIX fo: <https://w3id.org/fractalops/ns#> "
    "PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#> "
    "SELECT ?label { ?o a fo:HttpRoute ; rdfs:label ?label }"
)


def test_stored_facts_follow_a_changed_rule(
    serve: Serve, make_spans: MakeSpans, command: RunCommand, tmp_path: Path
) -> None:
    server = serve(None, "--time-lock", "0", "--steward-seconds", "3600").start()
    key = server.post("/projects", {"slug": "shop"})["ingest_key"]
    request = make_spans("acme", 5)
    for span in request.resource_spans[0].scope_spans[0].spans:
        span.kind = span.SPAN_KIND_SERVER
        span.name = "work"
        del span.attributes[:]
        span.attributes.append(KeyValue(key="acme.job", value=AnyValue(string_value="nightly")))
    server.send(key, request)
    server.settle()
    assert server.facts(CLASSES) == [["", 1, 5]]
    assert server.get("/status")["facts"]["unclassified"] == 5
    [before] = server.facts("SELECT DISTINCT rules FROM events")[0]

    payload = tmp_path / "payload"
    payload.write_bytes(request.SerializeToString())
    told = command("classify", "explain", payload, "--data", server.data)
    assert "no rule fits" in told.text
    with server.client() as client:
        answer = client.post(
            "/proposals",
            params={"project": "shop", "graph": "rules", "rationale": "Acme's jobs"},
            content=RULE,
            headers={"Content-Type": "text/turtle"},
        )
    # A single operator's change of the rules is applied when its time lock runs out.
    told = command("classify", "explain", payload, "--data", server.data)
    while "fo:rule-acme" not in told.text:
        assert server.get(f"/proposals/{answer.json()['id']}")["state"] != "invalid"
        told = command("classify", "explain", payload, "--data", server.data)
    assert "fo:rule-acme, priority 250, which wins" in told.text

    dry = command("classify", "rerun", "--dry-run", "--data", server.data)
    assert "5 of 5 facts would change." in dry.text
    assert server.facts(CLASSES) == [["", 1, 5]]
    server.post("/stewards/steward-shop/run")
    assert server.select(OPERATIONS) == []
    done = server.post("/facts/reclassify", {"project": "shop"})
    assert (done["looked_at"], done["changed"]) == (5, 5)
    assert done["changes"] == [{"before": None, "after": Fo.HttpRoute, "events": 5}]
    assert server.facts(CLASSES) == [[Fo.HttpRoute, 1, 5]]
    counts = server.get("/status")["facts"]
    assert (counts["events"], counts["unclassified"]) == (5, 0)
    assert server.facts("SELECT DISTINCT rules FROM events") == [[done["rules"]]] != [[before]]
    # The steward had read these batches, and reads them once more.
    server.post("/stewards/steward-shop/run")
    assert [row[0] for row in server.select(OPERATIONS)] == ["nightly"]
    assert server.post("/facts/reclassify", {})["looked_at"] == 0
    told = command("proofs", "audit", "--data", server.data)
    assert (told.code, "5 facts of 1 batches" in told.text) == (0, True), told.text
    with server.client(server.token_of("analyst", "analyst")) as client:
        assert client.post("/facts/reclassify", json={}).status_code == 403
