"""An unknown product event leads to a rule, which classifies what comes and what is stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from posthog import Posthog

from ontology.vocab import Fo, Rdf
from tests.live.conftest import wait_until

if TYPE_CHECKING:
    from tests.live.conftest import RunCommand, Serve, Server

pytestmark = pytest.mark.live

EVENT = "order shipped"
CLASSES = "SELECT class, rule, count() FROM events GROUP BY class, rule ORDER BY class, rule"
TYPES = "PREFIX fo: <https://w3id.org/fractalops/ns#> SELECT ?type { ?type a fo:ProductEventType }"


def send(server: Server, settings: dict[str, str], count: int) -> None:
    client = Posthog(settings["POSTHOG_PROJECT_API_KEY"], host=settings["POSTHOG_HOST"])
    for number in range(count):
        client.capture(
            EVENT,
            distinct_id="ann@example.org",
            properties={"carrier": "dhl", "parcels": number, "note": "For Ann Smith"},
        )
    client.shutdown()
    server.settle()


def reflected(server: Server) -> list[dict[str, Any]]:
    """Let the steward look until a proposal waits, and once more."""

    def waiting() -> list[dict[str, Any]]:
        server.post("/stewards/steward-shop/run")
        found: list[dict[str, Any]] = server.get("/proposals", state="awaiting decision")["items"]
        return found

    wait_until(lambda: bool(waiting()), "a proposal of the steward")
    return waiting()


def test_a_hundred_unknown_events_lead_to_one_rule(serve: Serve, command: RunCommand) -> None:
    server = serve(
        None,
        *("--steward-seconds", "3600"),
        settings={"FRACTALOPS_REFLECT_SECONDS": "0.1"},
    ).start()
    settings = server.post("/projects", {"slug": "shop"})["posthog"]
    send(server, settings, 100)
    # It has a class by the rule for whatever a product calls an event, and is unknown all the same.
    assert server.facts(CLASSES) == [[Fo.ProductEventType, Fo.rule_product_custom, 100]]
    subject = server.ids.product_event_type("shop", EVENT)
    assert server.select(TYPES) == [(subject,)]

    # One proposal, that a person decides on: no time lock of a single operator releases it.
    [proposal] = reflected(server)
    assert proposal["author"] == server.ids.principal("steward-shop")
    assert proposal["graphs"] == [server.ids.graph("rules")]
    assert proposal["time_lock_until"] is None
    said = proposal["rationale"]
    assert f"100 facts named '{EVENT}' (posthog.event)" in said
    assert "100 stored facts of the project (100 now fo:ProductEventType)" in said
    assert "Closest existing terms" in said
    assert said.count("Example ") == 3
    assert "carrier=dhl" in said
    assert "parcels=a number" in said
    assert "Ann" not in said
    assert proposal["evidence"]
    assert set(proposal["evidence"]) <= batches_of(server)

    server.post(f"/proposals/{proposal['id']}/decisions", {"outcome": "approve"})
    rule = server.ids.instance("classification-rule", "posthog.event", "-", EVENT)
    chosen = [Fo.ProductEventType, rule]
    wait_until(lambda: is_known(server, rule), "the rule's way to the classifier")
    send(server, settings, 1)
    rules = "SELECT rule, count() FROM events GROUP BY rule ORDER BY count()"
    assert server.facts(rules) == [[rule, 1], [Fo.rule_product_custom, 100]]

    # On request, the stored ones; the steward reads them once more and proposes nothing further.
    done = command("classify", "rerun", "--project", "shop", "--data", server.data)
    assert "100 of 100 facts changed." in done.text
    server.settle()
    assert server.facts(CLASSES) == [[*chosen, 101]]
    assert server.select(TYPES) == [(subject,)]
    server.post("/stewards/steward-shop/run")
    assert server.get("/proposals", state="awaiting decision")["items"] == []

    # From the payload to the rule to the triple, and from the rule to who proposed and decided.
    story = command(
        *("--output", "json", "proofs", "explain", f"<{subject}>", f"<{Rdf.type}>"),
        *(f"<{Fo.ProductEventType}>", "--data", server.data),
    ).text
    assert rule in story
    assert any(digest in story for digest in batches_of(server))
    assert "payload_sha256" in story
    origin = command(
        *("--output", "json", "proofs", "explain", f"<{rule}>", f"<{Rdf.type}>"),
        *(f"<{Fo.ClassificationRule}>", "--data", server.data),
    ).text
    assert proposal["id"] in origin
    assert server.ids.principal("steward-shop") in origin
    assert proposal["evidence"][0] in origin


def batches_of(server: Server) -> set[str]:
    return {digest for (digest,) in server.facts("SELECT DISTINCT batch FROM events")}


def is_known(server: Server, rule: str) -> bool:
    payload = {"event": EVENT, "distinct_id": "x", "properties": {}}
    with server.client() as client:
        answer = client.post(
            "/classify/explain",
            params={"source": "posthog.event", "project": "shop"},
            content=json.dumps({"batch": [payload]}),
            headers={"Content-Type": "application/json"},
        )
    return rule in answer.text
