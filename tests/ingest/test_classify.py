"""Rules are graph data; what they decide is a table."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from pyoxigraph import Literal, NamedNode, Quad, RdfFormat, parse

from ingest.classify import MAX_NAME, RULES_LEFT_OUT, Classifier, Rule, rules_from_quads
from ingest.events import Event
from ontology.ids import Ids
from ontology.vocab import Fo, Rdf

IDS = Ids("http://test.localhost")

EVENT = Event(
    project="shop",
    source="otel.span",
    event_id="e",
    time=0,
    duration_ns=0,
    name="span name",
    kind="server",
    status="unset",
    service="web",
    release="",
    environment="",
    session="",
    trace_id="",
    span_id="",
    parent_span_id="",
)


def shipped() -> Classifier:
    text = (files("ontology") / "rules.ttl").read_bytes()
    return Classifier(rules_from_quads(parse(text, RdfFormat.TURTLE)), IDS)


def rule(iri: str = "urn:a", **values: Any) -> Rule:
    fields: dict[str, Any] = {
        "iri": iri,
        "priority": 1,
        "source": "otel.span",
        "event_class": "urn:class",
        "subject_kind": "operation",
        "operation_kind": "http",
        "kinds": frozenset(),
        "names": (),
        "present": (),
        "equal": (),
        "name_template": "{span.name}",
    }
    return Rule(**(fields | values))


@pytest.mark.parametrize(
    ("kind", "attributes", "event_class", "subject"),
    [
        (
            "server",
            {"http.request.method": "GET", "http.route": "/cart/{id}"},
            Fo.HttpRoute,
            ("http", "GET /cart/{id}"),
        ),
        (
            "server",
            {"http.method": "GET", "http.route": "/cart"},
            Fo.HttpRoute,
            ("http", "GET /cart"),
        ),
        ("server", {"http.method": "GET", "http.target": "/x/1"}, Fo.HttpRoute, ("http", "GET")),
        (
            "client",
            {"http.method": "POST", "http.url": "http://cart:8080/x/1"},
            Fo.HttpCall,
            ("http-call", "POST cart"),
        ),
        (
            "client",
            {"db.system": "sqlite", "db.statement": "SELECT a FROM orders WHERE b = 'secret'"},
            Fo.DatabaseOperation,
            ("database", "SELECT orders"),
        ),
        (
            "client",
            {
                "db.system.name": "postgresql",
                "db.operation.name": "INSERT",
                "db.collection.name": "orders",
                "http.request.method": "POST",
            },
            Fo.DatabaseOperation,
            ("database", "INSERT orders"),
        ),
        (
            "producer",
            {"messaging.system": "celery", "messaging.destination": "celery"},
            Fo.PublishOperation,
            ("publish", "publish celery"),
        ),
        (
            "consumer",
            {"messaging.destination.name": "orders"},
            Fo.ConsumeOperation,
            ("consume", "consume orders"),
        ),
        (
            "client",
            {"messaging.destination.name": "orders", "messaging.operation.type": "receive"},
            Fo.ConsumeOperation,
            ("consume", "consume orders"),
        ),
        (
            "server",
            {"rpc.system": "grpc", "rpc.service": "shop.Cart", "rpc.method": "Add"},
            Fo.RpcMethod,
            ("rpc", "shop.Cart/Add"),
        ),
        ("internal", {}, Fo.InternalOperation, ("internal", "span name")),
        ("unspecified", {}, Fo.InternalOperation, ("internal", "span name")),
    ],
)
def test_the_shipped_rules(
    kind: str, attributes: dict[str, str], event_class: str, subject: tuple[str, str]
) -> None:
    event = shipped().classify(EVENT._replace(kind=kind, attributes=attributes))
    assert event.event_class == event_class
    assert event.subject == IDS.operation("shop", "web", *subject)
    assert event.rule.startswith("https://w3id.org/fractalops/ns#rule-")


PRODUCT = EVENT._replace(source="posthog.event", kind="", service="")


@pytest.mark.parametrize(
    ("name", "attributes", "rule", "event_class", "subject"),
    [
        *(
            (name, {"$pathname": "/orders/17"}, "page", Fo.Page, "/orders/{id}")
            for name in ("$pageview", "$pageleave")
        ),
        (
            "$pageview",
            {"$current_url": "https://shop.example/u/[redacted]/01a22037305d7ccb"},
            "page",
            Fo.Page,
            "/u/{id}/{id}",
        ),
        ("$pageview", {"$current_url": "https://shop.example"}, "page", Fo.Page, "/"),
        ("$screen", {"$screen_name": "Order 17"}, "page", Fo.Page, "Order {id}"),
        ("$pageview", {}, "standard", Fo.ProductEventType, "$pageview"),
        ("$autocapture", {}, "autocapture", Fo.ProductEventType, "$autocapture"),
        *(
            (name, {}, "identity", Fo.ProductEventType, name)
            for name in ("$identify", "$groupidentify", "$create_alias", "$set")
        ),
        ("$exception", {}, "exception", Fo.ProductEventType, "$exception"),
        ("$feature_flag_called", {}, "feature-flag", Fo.ProductEventType, "$feature_flag_called"),
        ("$web_vitals", {}, "web-vitals", Fo.ProductEventType, "$web_vitals"),
        ("$opt_in", {"$pathname": "/"}, "standard", Fo.ProductEventType, "$opt_in"),
        ("order placed", {"$pathname": "/"}, "custom", Fo.ProductEventType, "order placed"),
        ("order 17 placed", {}, "custom", Fo.ProductEventType, "order {id} placed"),
        ("?", {}, "custom", Fo.ProductEventType, "-"),
    ],
)
def test_the_shipped_rules_for_product_events(
    name: str, attributes: dict[str, str], rule: str, event_class: str, subject: str
) -> None:
    event = shipped().classify(PRODUCT._replace(name=name, attributes=attributes))
    assert event.rule == f"https://w3id.org/fractalops/ns#rule-product-{rule}"
    assert event.event_class == event_class
    mint = IDS.page if event_class == Fo.Page else IDS.product_event_type
    assert event.subject == mint("shop", subject)


@pytest.mark.parametrize(
    ("source", "kind", "name", "event_class", "subject"),
    [
        (
            "otel.log",
            "event",
            "order.placed",
            Fo.LogEventType,
            IDS.log_event_type("shop", "web", "order.placed"),
        ),
        (
            "otel.log",
            "log",
            "shop.orders",
            Fo.LogEventType,
            IDS.log_event_type("shop", "web", "shop.orders"),
        ),
        (
            "otel.metric",
            "histogram",
            "http.server.request.duration",
            Fo.Metric,
            IDS.metric("shop", "web", "http.server.request.duration"),
        ),
    ],
)
def test_the_shipped_rules_for_logs_and_metrics(
    source: str, kind: str, name: str, event_class: str, subject: str
) -> None:
    found = shipped().classify(EVENT._replace(source=source, kind=kind, name=name))
    assert (found.event_class, found.subject) == (event_class, subject)


def test_an_operation_of_no_service_has_a_name_all_the_same() -> None:
    event = Classifier((rule(source="posthog.event"),), IDS).classify(PRODUCT)
    assert event.subject == IDS.operation("shop", "unknown_service", "http", "span name")


def test_every_shipped_rule_is_usable() -> None:
    before = RULES_LEFT_OUT._value.get()
    assert len(shipped()._rules) >= 10
    assert RULES_LEFT_OUT._value.get() == before


def test_what_no_rule_fits_is_left_as_it_came() -> None:
    event = EVENT._replace(kind="server", attributes={"nothing": "known"})
    assert shipped().classify(event) is event
    assert Classifier((), IDS).classify(EVENT) is EVENT


def test_priority_then_iri_decides() -> None:
    rules = (rule("urn:c", priority=5), rule("urn:b", priority=5), rule("urn:a", priority=1))
    for order in (rules, rules[::-1]):
        assert Classifier(order, IDS).classify(EVENT).rule == "urn:b"


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ({"source": "other"}, False),
        ({"kinds": frozenset({"client"})}, False),
        ({"kinds": frozenset({"client", "server"})}, True),
        ({"names": ("span",)}, False),
        ({"names": ("other", "span name")}, True),
        ({"names": ("span*",)}, True),
        ({"names": ("name*",)}, False),
        ({"names": ("*",)}, True),
        ({"present": (("a",),)}, True),
        ({"present": (("x", "a"),)}, True),
        ({"present": (("a",), ("x",))}, False),
        ({"present": (("empty",),)}, False),
        ({"equal": ((("a",), frozenset({"1", "2"})),)}, True),
        ({"equal": ((("x", "a"), frozenset({"1"})),)}, True),
        ({"equal": ((("a",), frozenset({"2"})),)}, False),
        ({"equal": ((("a",), frozenset({"1"})), (("b",), frozenset({"2"})))}, False),
    ],
)
def test_conditions(values: dict[str, Any], fits: bool) -> None:
    event = EVENT._replace(attributes={"a": "1", "empty": ""})
    assert bool(Classifier((rule(**values),), IDS).classify(event).rule) is fits


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{a}", "one"),
        ("{x|a}", "one"),
        ("{ x | a } and {b}", "one and two"),
        ("{x} {a}", "one"),
        ("{x}", "span name"),
        ("fixed", "fixed"),
        ("{span.name}!", "span name!"),
        ("{x|event.name}", "span name"),
        ("{a}/{b}", "one/two"),
        ("{number}", "{id}"),
    ],
)
def test_name_templates(template: str, name: str) -> None:
    event = EVENT._replace(attributes={"a": "one", "b": "two", "number": "17"})
    classified = Classifier((rule(name_template=template),), IDS).classify(event)
    assert classified.subject == IDS.operation("shop", "web", "http", name)


def test_names_are_bounded_and_never_empty() -> None:
    classifier = Classifier((rule(),), IDS)
    long = classifier.classify(EVENT._replace(name="word " * 1_000))
    assert len(long.subject) < 3 * MAX_NAME + 100
    nameless = classifier.classify(EVENT._replace(name=""))
    assert nameless.subject == IDS.operation("shop", "web", "http", "server")


def quads(**changed: list[str]) -> list[Quad]:
    values = {
        Rdf.type: [Fo.ClassificationRule],
        Fo.priority: ["7"],
        Fo.source: ["otel.span"],
        Fo.classifiesAs: ["urn:class"],
        Fo.operationKind: ["http"],
        Fo.nameTemplate: ["{span.name}"],
    }
    values |= {getattr(Fo, name): value for name, value in changed.items()}
    return [
        Quad(
            NamedNode("urn:rule"),
            NamedNode(predicate),
            NamedNode(value) if value.startswith(("urn:", "https:")) else Literal(value),
        )
        for predicate, found in values.items()
        for value in found
    ]


def test_rules_are_read_from_quads() -> None:
    (read,) = rules_from_quads(
        quads(whenKind=["server", "client"], whenAttribute=["a|b"], whenAttributeEquals=["c|d=1|2"])
    )
    assert read == rule(
        "urn:rule",
        priority=7,
        kinds=frozenset({"server", "client"}),
        present=(("a", "b"),),
        equal=((("c", "d"), frozenset({"1", "2"})),),
    )


def test_a_rule_may_say_that_its_subject_is_no_operation() -> None:
    (read,) = rules_from_quads(quads(operationKind=[], subjectKind=["page"], whenName=["b*", "a"]))
    expected = rule("urn:rule", priority=7, operation_kind="", subject_kind="page")
    assert read == replace(expected, names=("a", "b*"))


WORKLOAD = {
    "description.k8s.deployment.name": "web",
    "description.k8s.namespace.name": "shop",
    "id.k8s.deployment.uid": "u1",
}


@pytest.mark.parametrize(
    ("name", "attributes", "event_class", "subject"),
    [
        (
            "k8s.deployment",
            WORKLOAD | {"description.k8s.cluster.name": "eu"},
            Fo.Workload,
            IDS.workload("eu", "shop", "deployment/web"),
        ),
        (
            "k8s.deployment",
            WORKLOAD,
            Fo.Workload,
            IDS.workload("project:shop", "shop", "deployment/web"),
        ),
        (
            "k8s.cronjob",
            {"id.k8s.cronjob.name": "nightly"},
            Fo.Workload,
            IDS.workload("project:shop", "", "cronjob/nightly"),
        ),
        # Without its name there is only its type to tell.
        (
            "k8s.deployment",
            {"id.k8s.deployment.uid": "u1"},
            Fo.EntityType,
            IDS.entity_type("shop", "k8s.deployment"),
        ),
        ("k8s.pod", {"id.k8s.pod.uid": "u"}, Fo.EntityType, IDS.entity_type("shop", "k8s.pod")),
        (
            "container",
            {"id.container.id": "c"},
            Fo.EntityType,
            IDS.entity_type("shop", "container"),
        ),
        ("host", {"id.host.id": "h"}, Fo.EntityType, IDS.entity_type("shop", "host")),
    ],
)
@pytest.mark.parametrize("kind", ["state", "delete"])
def test_entities(
    kind: str, name: str, attributes: dict[str, str], event_class: str, subject: str
) -> None:
    event = EVENT._replace(source="otel.entity", kind=kind, name=name, attributes=attributes)
    found = shipped().classify(event)
    assert (found.event_class, found.subject) == (event_class, subject)


def test_a_server_span_is_named_by_its_function_where_it_has_no_route() -> None:
    attributes = {"http.request.method": "GET", "code.function.name": "shop.report"}
    found = shipped().classify(EVENT._replace(attributes=attributes))
    assert (found.event_class, found.rule) == (Fo.HttpRoute, Fo.rule_http_server_function)
    assert found.subject == IDS.operation("shop", "web", "http", "GET shop.report()")


@pytest.mark.parametrize(
    "broken",
    [
        {"priority": []},
        {"priority": ["1", "2"]},
        {"priority": ["high"]},
        {"classifiesAs": []},
        {"operationKind": []},
        {"subjectKind": ["page"]},
        {"operationKind": [], "subjectKind": ["feature"]},
        {"operationKind": [], "subjectKind": ["page", "product-event-type"]},
        {"nameTemplate": ["{a"]},
        {"nameTemplate": ["a}"]},
        {"whenAttribute": ["|"]},
        {"whenAttributeEquals": ["nothing"]},
    ],
)
def test_an_unusable_rule_is_left_out_and_counted(
    broken: dict[str, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    before = RULES_LEFT_OUT._value.get()
    assert rules_from_quads(quads(**broken)) == ()
    assert RULES_LEFT_OUT._value.get() == before + 1
    assert "urn:rule" in caplog.text


@pytest.mark.parametrize(
    ("kind", "attributes", "event_class", "rule_iri"),
    [
        ("error", {"error.issue": "0a" * 16}, Fo.ErrorIssue, Fo.rule_error_exception),
        (
            "message",
            {"error.issue": "0a" * 16, "level": "fatal"},
            Fo.ErrorIssue,
            Fo.rule_error_message,
        ),
        ("message", {"error.issue": "0a" * 16, "level": "info"}, "", ""),
        ("check-in", {}, "", ""),
        ("log", {"level": "error"}, "", ""),
    ],
)
def test_what_an_error_tracker_is_sent(
    kind: str, attributes: dict[str, str], event_class: str, rule_iri: str
) -> None:
    event = EVENT._replace(source="sentry.event", kind=kind, service="web", attributes=attributes)
    found = shipped().classify(event)
    assert (found.event_class, found.rule) == (event_class, rule_iri)
    # An issue is known by its key, which says nothing of what it was made of.
    issue = IDS.error_issue("shop", "0a" * 16)
    assert found.subject == (issue if event_class else "")
