"""Why an event has its class: told over by the classifier's own rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyoxigraph import RdfFormat, parse

from ingest.classify import OPERATION, Classifier, Rule, rules_from_quads
from ingest.decoders import decoders
from ingest.errors import PayloadUndecodable
from ingest.events import Event, Skipped
from ingest.evidence import EvidenceBatch
from ingest.explain import MAX_ITEMS, Condition, Explanation, explain, explain_payload
from ingest.pseudonyms import Pseudonyms
from ontology.ids import Ids
from ontology.library import rules_turtle
from ontology.vocab import Fo

IDS = Ids("http://test.localhost")
DECODERS = decoders(Pseudonyms(b"key"))
BATCH = EvidenceBatch(0, "", "shop", "", "", 0, 1_700_000_000_000_000_000, None)
ROUTED = {"http.request.method": "GET", "http.route": "/cart"}
USUAL = Event("p", "otel.span", "1", 0, 0, "GET /a", "server", "", "web", "", "", "", "", "", "")


@pytest.fixture(scope="module")
def shipped() -> Classifier:
    quads = [quad for text in rules_turtle().values() for quad in parse(text, RdfFormat.TURTLE)]
    return Classifier(rules_from_quads(quads), IDS, "v1")


def rule(iri: str, priority: int, **more: object) -> Rule:
    usual = Rule(
        iri=iri,
        priority=priority,
        source="otel.span",
        event_class="urn:Class",
        subject_kind=OPERATION,
        operation_kind="http",
        kinds=frozenset(),
        names=(),
        present=(),
        equal=(),
        name_template="{a|b} {c}",
    )
    return replace(usual, **more)  # type: ignore[arg-type]


def test_each_condition_says_what_it_asks_and_what_there_is() -> None:
    first = rule(
        "urn:first",
        9,
        kinds=frozenset({"server", "consumer"}),
        names=("GET*", "POST"),
        present=(("a", "b"),),
        equal=((("c", "d"), frozenset({"1", "2"})),),
    )
    rules = [rule("urn:last", 0), first, rule("urn:other", 9, source="posthog.event")]
    found = explain(USUAL._replace(attributes={"b": "x", "d": "3"}), Classifier(rules, IDS))
    assert [(trial.rule, trial.won) for trial in found.trials] == [
        ("urn:first", False),
        ("urn:last", True),
    ]
    assert found.trials[0].conditions == (
        Condition("kind is consumer or server", True, "server"),
        Condition("name is GET* or POST", True, "GET /a"),
        Condition("has a or b", True, "b=x"),
        Condition("c or d is 1 or 2", False, "d=3"),
    )
    assert (found.name, found.event.rule) == ("x", "urn:last")
    assert found.event.subject == IDS.operation("p", "web", "http", "x")


@given(
    kind=st.sampled_from(["server", "client", "consumer", "producer", "internal", ""]),
    name=st.sampled_from(["GET /a", "SELECT", "$pageview", "x"]),
    attributes=st.dictionaries(
        st.sampled_from(
            [
                *("http.request.method", "http.route", "db.system.name", "db.system", "rpc.system"),
                *("messaging.system", "messaging.operation.type", "http.method", "url.template"),
                *("graphql.operation.type", "faas.trigger", "gen_ai.operation.name", "a"),
            ]
        ),
        st.sampled_from(["", "GET", "kafka", "publish", "process", "receive", "postgresql"]),
    ),
    source=st.sampled_from(["otel.span", "posthog.event", "sentry.event"]),
)
def test_it_says_what_the_classifier_does(
    shipped: Classifier, kind: str, name: str, attributes: dict[str, str], source: str
) -> None:
    event = USUAL._replace(source=source, kind=kind, name=name, attributes=attributes)
    found = explain(event, shipped)
    assert found.event == shipped.classify(event)
    won = [trial.rule for trial in found.trials if trial.won]
    assert won == ([found.event.rule] if found.event.rule else [])
    assert bool(found.name) == bool(won)


def test_a_payload_is_recognised_whatever_it_is(
    shipped: Classifier, payload: Callable[..., bytes]
) -> None:
    span = {"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1", "name": "x", "kind": 2}
    envelope = b'{}\n{"type":"event"}\n{"message":"a","level":"error"}\n'
    for body, source in (
        (payload(3, attributes=ROUTED), "otel.span"),
        (
            json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode(),
            "otel.span",
        ),
        (b'{"batch":[{"event":"$pageview"},{}]}', "posthog.event"),
        (envelope, "sentry.event"),
        (b'{"exception":{"values":[{"type":"KeyError"}]}}', "sentry.event"),
    ):
        found, items = explain_payload(body, BATCH, DECODERS, shipped)
        assert found == source, body
        assert any(isinstance(item, Explanation) for item in items)
    found, items = explain_payload(
        b'{"batch":[{"event":"$pageview"},{}]}', BATCH, DECODERS, shipped
    )
    assert isinstance(items[0], Explanation)
    assert items[0].event.event_class in (Fo.Page, Fo.ProductEventType)
    assert items[1] == Skipped("no-event-name")


def test_what_cannot_be_read_is_refused_and_much_is_bounded(
    shipped: Classifier, payload: Callable[..., bytes]
) -> None:
    for body, source, told in (
        (b"\xff\xff", "", "say which source"),
        (b"\xff\xff", "otel.span", "not a whole"),
        (b"{}", "carrier.pigeon", "nothing here decodes carrier.pigeon: otel.span"),
    ):
        with pytest.raises(PayloadUndecodable, match=told):
            explain_payload(body, replace(BATCH, source=source), DECODERS, shipped)
    _, items = explain_payload(payload(MAX_ITEMS + 5), BATCH, DECODERS, shipped)
    assert len(items) == MAX_ITEMS
