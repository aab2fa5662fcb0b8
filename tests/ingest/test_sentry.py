"""What Sentry's clients report becomes events: golden envelopes, tables, and hostile input.

The envelopes in ``golden/sentry-python.jsonl`` are what sentry-sdk sent to a sink, one a line as a
JSON text; packages, integrations and all but the last frame of each stack were cut out.
``sentry-events.json`` is what they become; write it again with
``UPDATE_GOLDEN=1 pytest tests/ingest/test_sentry.py`` and read the difference.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.attributes import MAX_ATTRIBUTES, MAX_NAME, MAX_VALUE
from ingest.errors import BodyError, PayloadError
from ingest.events import LATEST_TIME, Event, Skipped
from ingest.evidence import EvidenceBatch
from ingest.sentry import events_of
from ingest.sentry_envelope import ENVELOPE, EVENT
from ingest.sentry_spans import MAX_SPANS

SECOND = 10**9
RECEIVED = 1_795_840_000 * SECOND
GOLDEN = Path(__file__).parent / "golden"
ID = "9ec79c33ec9942ab8353589fcb2e04dc"
TRACE = {"trace_id": "0A" * 16, "span_id": "0b" * 8, "parent_span_id": "0c" * 8}
GOOD = b'{"type":"event"}\n{"message":"good"}\n'


def batch(content_type: str = ENVELOPE) -> EvidenceBatch:
    return EvidenceBatch(7, "sha256:b", "shop", "sentry.event", content_type, 1, RECEIVED, None)


def envelope(*items: tuple[str, object], **header: object) -> bytes:
    lines = [json.dumps(header)]
    for kind, document in items:
        payload = json.dumps(document)
        lines += [json.dumps({"type": kind, "length": len(payload.encode())}), payload]
    return "\n".join(lines).encode()


def items(payload: bytes, content_type: str = ENVELOPE) -> list[Event | Skipped]:
    return list(events_of(payload, batch(content_type)))


def one(kind: str = "event", header: Mapping[str, Any] | None = None, **members: Any) -> Event:
    (event,) = items(envelope((kind, members), **(header or {})))
    assert isinstance(event, Event)
    return event


def error(value: str = "no order", kind: str = "LookupError", **members: Any) -> Event:
    return one(exception={"values": [{"type": kind, "value": value}]}, **members)


def bodies() -> list[bytes]:
    lines = (GOLDEN / "sentry-python.jsonl").read_text().splitlines()
    return [json.loads(line).encode() for line in lines]


def test_the_envelopes_of_the_client_become_these_events() -> None:
    every = [item for body in bodies() for item in items(body)]
    found = [item._asdict() if isinstance(item, Event) else asdict(item) for item in every]
    golden = GOLDEN / "sentry-events.json"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(golden.read_text())


def test_no_person_of_the_envelopes_is_in_the_events() -> None:
    sent, said = str(bodies()), str([item for body in bodies() for item in items(body)])
    for secret in ("ann@", "Ann Smith", "198.51.100.7", "4111", "sid=opened", "ann-17", "box-17"):
        assert secret in sent
        assert secret not in said


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("span", "span-without-ids"),
        ("trace_metric", "metric"),
        ("client_report", "client-report"),
        ("attachment", "attachment"),
        ("feedback", "feedback"),
        ("profile_chunk", "profile"),
        ("replay_recording", "session-replay"),
        ("something new", "unknown-item-type"),
    ],
)
def test_what_is_no_event_is_skipped_by_itself(kind: str, reason: str) -> None:
    found = items(b"{}\n" + GOOD + f'{{"type":"{kind}"}}\n{{}}\n'.encode() + GOOD)
    assert [getattr(item, "name", "") for item in found] == ["good", "", "good"]
    assert found[1] == Skipped(reason)


@pytest.mark.parametrize(
    ("document", "reason"), [(b"{", "undecodable-item"), (b"[]", "not-an-object")]
)
def test_an_item_that_is_no_object_is_skipped(document: bytes, reason: str) -> None:
    found = items(b'{}\n{"type":"event"}\n' + document + b"\n" + GOOD)
    assert found[0] == Skipped(reason)
    assert isinstance(found[1], Event)


def test_an_error_is_known_by_its_kind_and_not_by_its_text() -> None:
    event = error(
        "no order of Ann Smith",
        transaction="/orders/{number}",
        level="warning",
        dist="42",
        logger="shop",
    )
    assert (event.name, event.kind, event.status) == ("LookupError", "error", "error")
    attributes = dict(event.attributes)
    assert len(attributes.pop("error.issue")) == 32
    assert attributes == {
        "level": "warning",
        "exception.type": "LookupError",
        "error.culprit": "/orders/{number}",
        "transaction": "/orders/{number}",
        "logger": "shop",
        "dist": "42",
    }


def test_the_issue_is_glitchtips() -> None:
    event = error("no such table", transaction="shop.orders")
    said = b"LookupError: no such tableshop.orders1"
    assert event.attributes["error.issue"] == hashlib.md5(said).hexdigest()
    message = one(message="stock is low", transaction="shop.orders")
    said = b"stock is lowshop.orders0"
    assert message.attributes["error.issue"] == hashlib.md5(said).hexdigest()
    grouped = error(fingerprint=["orders", "low"])
    assert grouped.attributes["error.issue"] == hashlib.md5(b"orderslow").hexdigest()
    assert grouped.attributes["error.fingerprint"] == '["orders", "low"]'
    first, second = error(fingerprint=["{{ default }}"]), error()
    assert first.attributes["error.issue"] == second.attributes["error.issue"]


@pytest.mark.parametrize(
    ("one_text", "other"),
    [
        ("no order 17", "no order 4711"),
        ("no order of ann@example.org", "no order of bob@example.org"),
        ("id 0f8fad5b-d9cb-469f-a165-70867728950e", "id 7c9e6679-7425-40de-944b-e07fc1f90ae7"),
    ],
)
def test_identifiers_make_no_other_issue(one_text: str, other: str) -> None:
    first, second = error(one_text).attributes, error(other).attributes
    assert first["error.issue"] == second["error.issue"]
    assert first["error.issue"] != error("something else").attributes["error.issue"]


def test_a_place_in_the_program_is_a_culprit() -> None:
    frames = [
        {"module": "shop.orders", "function": "place", "in_app": True, "vars": {"card": "4111"}},
        {"module": "library", "function": "raise_it", "in_app": False},
    ]
    exception = {"type": "KeyError", "value": "'x'", "stacktrace": {"frames": frames}}
    event = one(exception={"values": [{"type": "OSError"}, exception]})
    assert event.attributes["error.culprit"] == "shop.orders in place"
    assert (event.name, "4111" in str(event)) == ("KeyError", False)


@pytest.mark.parametrize(
    ("members", "name", "status"),
    [
        ({"message": "stock is low", "level": "info"}, "stock is low", ""),
        ({"message": "stock is low", "level": "fatal"}, "stock is low", "error"),
        (
            {"logentry": {"message": "of %s", "formatted": "of Ann", "params": ["Ann"]}},
            "of %s",
            "error",
        ),
        ({"message": {"message": "of %s", "formatted": "of Ann"}}, "of %s", "error"),
        ({"message": "order 17 of ann@example.org"}, "order {id} of {id}", "error"),
        ({"logentry": {"formatted": "of Ann"}}, "<untitled>", "error"),
        ({}, "<untitled>", "error"),
    ],
)
def test_messages(members: dict[str, Any], name: str, status: str) -> None:
    event = one(**members)
    assert (event.name, event.kind, event.status) == (name, "message", status)
    assert "Ann" not in str(event)


def test_a_message_with_a_stack_is_a_message() -> None:
    frame = {"function": "warn", "module": "shop", "in_app": True}
    stack = {"value": "stock is low", "stacktrace": {"frames": [frame]}}
    event = one(exception={"values": [stack]}, level="error", message="stock is low")
    assert (event.name, event.kind, event.status) == ("stock is low", "message", "error")
    assert event.attributes["error.culprit"] == "shop in warn"
    assert one(exception={"values": [stack]}, level="error").attributes == event.attributes
    other = one(exception={"values": [stack | {"value": "stock is gone"}]}, level="error")
    assert other.attributes["error.issue"] != event.attributes["error.issue"]


SPAN = {
    "trace_id": "0A" * 16,
    "span_id": "0d" * 8,
    "parent_span_id": "0b" * 8,
    "start_timestamp": 1_795_839_990.6,
    "timestamp": 1_795_839_990.7,
}


def spans(*children: object, op: str = "http.server", **members: Any) -> list[Event | Skipped]:
    """What a transaction with these spans becomes."""
    said = {
        "transaction": "GET /orders/:id",
        "transaction_info": {"source": "route"},
        "release": "shop@1.4.2",
        "contexts": {"trace": TRACE | {"op": op, "status": "ok"}},
        "spans": list(children),
    } | members
    return items(envelope(("transaction", said)))


def child(op: str, description: str = "", **data: object) -> Event:
    """What such a span within a transaction becomes; ``__`` stands for a dot."""
    values = {key.replace("__", "."): value for key, value in data.items()}
    found = spans(SPAN | {"op": op, "description": description, "data": values})[1]
    assert isinstance(found, Event)
    return found


def test_a_transaction_is_the_span_that_a_service_begins_with() -> None:
    (event,) = spans(
        contexts={
            "trace": TRACE | {"op": "http.server", "status": "ok"},
            "response": {"status_code": 200},
        },
        start_timestamp=1_795_839_990.5,
        timestamp="2026-11-28T04:26:31Z",
        tags={"feature": "cart", "plan": "pro"},
    )
    assert isinstance(event, Event)
    assert (event.source, event.kind, event.name, event.status) == (
        "otel.span",
        "server",
        "GET /orders/:id",
        "ok",
    )
    assert event.event_id == f"{'0a' * 16}-{'0b' * 8}"
    assert (event.trace_id, event.span_id, event.parent_span_id) == (
        "0a" * 16,
        "0b" * 8,
        "0c" * 8,
    )
    assert (event.time, event.duration_ns) == (1_795_839_990_500_000_000, SECOND // 2)
    assert (event.service, event.release) == ("shop", "1.4.2")
    expected = {
        "op": "http.server",
        "http.request.method": "GET",
        "http.route": "/orders/:id",
        "http.response.status_code": "200",
        "feature": "cart",
        "tags.plan": "pro",
    }
    assert expected.items() <= dict(event.attributes).items()


@pytest.mark.parametrize(
    ("source", "name", "attributes"),
    [
        ("route", "/orders/:id", {"http.request.method": "POST", "http.route": "/orders/:id"}),
        (
            "component",
            "shop.pay",
            {"http.request.method": "POST", "code.function.name": "shop.pay"},
        ),
        ("url", "/orders/17", {"http.request.method": "POST"}),
    ],
)
def test_what_serves_a_request_is_known_by_its_route_or_function(
    source: str, name: str, attributes: dict[str, str]
) -> None:
    (event,) = spans(
        transaction=name,
        transaction_info={"source": source},
        request={"method": "POST", "url": "https://x/orders/17"},
    )
    assert isinstance(event, Event)
    semantic = {key: event.attributes[key] for key in event.attributes if key[:4] in _SEMANTIC}
    assert semantic == attributes
    assert "17" not in str(event.attributes)


_SEMANTIC = ("http", "code", "db.q", "db.s", "mess", "rpc.", "url.", "serv")


@pytest.mark.parametrize(
    ("op", "description", "data", "kind", "name", "attributes"),
    [
        (
            "db",
            "SELECT total /* of 17 */ FROM orders WHERE name = 'Ann'",
            {"db__system": "sqlite"},
            "client",
            "SELECT orders",
            {
                "db.system": "sqlite",
                "db.query.text": "SELECT total   FROM orders WHERE name = '?'",
            },
        ),
        ("db", "connect", {"db__system": "sqlite"}, "client", "db", {"db.system": "sqlite"}),
        (
            "db.sql.query",
            "DELETE FROM orders",
            {},
            "client",
            "DELETE orders",
            {"db.system.name": "other_sql", "db.query.text": "DELETE FROM orders"},
        ),
        ("db.redis", "GET 'Ann'", {"db__system": "redis"}, "client", "db.redis", None),
        (
            "http.client",
            "GET https://pay.example/v1?card=4111",
            {},
            "client",
            "GET",
            {"http.request.method": "GET", "url.full": "https://pay.example/v1"},
        ),
        (
            "http.client",
            "POST https://pay.example/v1",
            {"http__request__method": "POST", "url": "https://ann@pay.example/v1"},
            "client",
            "POST",
            {"http.request.method": "POST", "url.full": "https://pay.example/v1"},
        ),
        (
            "queue.publish",
            "shop.pay",
            {"messaging__destination__name": "payments", "messaging__system": "amqp"},
            "producer",
            "shop.pay",
            {"messaging.destination.name": "payments", "messaging.system": "amqp"},
        ),
        (
            "queue.process",
            "shop.pay",
            {"messaging__destination__name": "payments"},
            "consumer",
            "shop.pay",
            None,
        ),
        ("queue.submit.celery", "shop.pay", {}, "internal", "shop.pay", {}),
        (
            "grpc.client",
            "unary unary call to /pay.Pay/Charge",
            {"method": "/pay.Pay/Charge"},
            "client",
            "unary unary call to /pay.Pay/Charge",
            {"rpc.system.name": "grpc", "rpc.method": "pay.Pay/Charge"},
        ),
        ("function", "compute rebate", {}, "internal", "compute rebate", {}),
        ("resource.script", "https://x/app.8f14e45fceea.js", {}, "internal", "resource.script", {}),
        ("ui.click", "button > Ann", {"otel__kind": "CLIENT"}, "client", "ui.click", {}),
        ("", "", {}, "internal", "", {}),
    ],
)
def test_spans_within_are_named_as_opentelemetry_names_them(
    op: str,
    description: str,
    data: dict[str, object],
    kind: str,
    name: str,
    attributes: dict[str, str] | None,
) -> None:
    event = child(op, description, **data)
    assert (event.kind, event.name, event.source) == (kind, name, "otel.span")
    assert (event.service, event.release, event.parent_span_id) == ("shop", "1.4.2", "0b" * 8)
    if attributes is not None:
        found = {key: event.attributes[key] for key in event.attributes if key[:4] in _SEMANTIC}
        found |= {key: event.attributes[key] for key in attributes}
        assert found == attributes
    for secret in ("Ann", "ann@", "4111"):
        assert secret not in str(event)


def test_a_span_within_that_is_none_costs_no_other() -> None:
    odd = [7, SPAN | {"span_id": "0"}, {"description": "SELECT 'Ann'"}]
    found = spans(*odd, SPAN)
    assert found[1:4] == [
        Skipped("not-an-object"),
        Skipped("span-without-ids"),
        Skipped("span-without-ids"),
    ]
    assert isinstance(found[4], Event)
    assert spans(*odd, SPAN) == found


def test_of_a_flood_of_spans_the_first_are_kept() -> None:
    found = spans(*[SPAN] * (MAX_SPANS + 2))
    assert found[MAX_SPANS + 1 :] == [Skipped("span-over-limit")] * 2
    assert isinstance(found[MAX_SPANS], Event)


@pytest.mark.parametrize("op", ["db", "x" * 10**6, "ann@example.org\x00"])
def test_what_a_span_says_is_bounded(op: str) -> None:
    long = f"SELECT a FROM {'t' * 10**6}"
    event = child(op, long, db__query__text=long, http__route="r" * 10**6)
    assert len(event.name) < MAX_NAME + 50
    assert event.name.isprintable()
    assert "ann@" not in str(event)
    assert all(len(value) < MAX_VALUE + 50 for value in event.attributes.values())


@pytest.mark.parametrize(
    ("members", "service"),
    [
        ({"tags": {"service": "web"}, "release": "shop@1"}, "web"),
        ({"contexts": {"trace": TRACE, "app": {"app_name": "app"}}, "release": "shop@1"}, "app"),
        ({"release": "shop-web@1.4.2"}, "shop-web"),
        ({"release": "8d8ae4a", "server_name": "box-17"}, "shop"),
    ],
)
def test_a_span_has_a_service_whatever_its_client_says(
    members: dict[str, Any], service: str
) -> None:
    assert {event.service for event in spans(SPAN, **members) if isinstance(event, Event)} == {
        service
    }


def test_spans_that_stream_are_the_same() -> None:
    def typed(**values: object) -> dict[str, object]:
        return {key.replace("__", "."): {"value": value} for key, value in values.items()}

    segment = {
        "name": "GET /orders/:id",
        "is_segment": True,
        "status": "error",
        "start_timestamp": 1_795_839_990.5,
        "end_timestamp": 1_795_839_991.0,
        "attributes": typed(
            sentry__op="http.server",
            sentry__release="shop@1.4.2",
            sentry__environment="staging",
            service__name="web",
            http__route="/orders/:id",
            http__request__method="GET",
            user__email="ann@example.org",
        ),
    } | TRACE
    query = {
        "name": "SELECT * FROM orders WHERE id = ?",
        "status": "ok",
        "start_timestamp": 1_795_839_990.6,
        "end_timestamp": 1_795_839_990.7,
        "attributes": typed(sentry__op="db", db__system__name="postgresql"),
    } | SPAN
    event, inner, *odd = items(
        envelope(("span", {"items": [segment, query, {"name": "inner"}, 7]}))
    )
    assert isinstance(event, Event)
    assert isinstance(inner, Event)
    assert odd == [Skipped("span-without-ids"), Skipped("not-an-object")]
    assert (event.kind, event.name, event.status) == ("server", "GET /orders/:id", "error")
    assert (event.service, event.release, event.environment) == ("web", "1.4.2", "staging")
    assert (event.time, event.duration_ns) == (1_795_839_990_500_000_000, SECOND // 2)
    assert (event.trace_id, event.parent_span_id) == ("0a" * 16, "0c" * 8)
    assert event.attributes["http.request.method"] == "GET"
    assert event.attributes["http.route"] == "/orders/:id"
    assert "ann@" not in str(event)
    assert (inner.kind, inner.name, inner.parent_span_id) == ("client", "SELECT orders", "0b" * 8)
    assert inner.duration_ns == SECOND // 10
    assert items(envelope(("span", segment))) == [event]


def test_a_job_reports_its_beginning_and_its_end() -> None:
    said: dict[str, Any] = {"check_in_id": ID, "monitor_slug": "nightly"}
    begun, done = (
        one("check_in", **said, status="in_progress"),
        one("check_in", **said, status="ok"),
    )
    assert begun.event_id != done.event_id
    assert (begun.name, begun.status, done.status) == ("nightly", "", "ok")
    assert one("check_in", **said, status="missed").status == "error"


def test_sessions() -> None:
    attrs = {"release": "shop@1.4.2", "environment": "staging", "ip_address": "198.51.100.7"}
    event = one("session", sid=ID, did="ann", status="crashed", errors=2, duration=1.5, attrs=attrs)
    assert (event.session, event.release, event.environment) == (ID, "1.4.2", "staging")
    assert (event.status, event.duration_ns) == ("error", 3 * SECOND // 2)
    assert "198.51" not in str(event)
    assert "ann" not in str(event)
    counts = {"started": "2026-11-28T04:20:00Z", "exited": 2}
    payload = envelope(("sessions", {"aggregates": [counts, counts, 7], "attrs": attrs}))
    first, second, third = items(payload)
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert third == Skipped("not-an-object")
    assert first.event_id != second.event_id
    assert first.attributes["sessions.exited"] == "2"
    assert items(payload) == [first, second, third]


def test_logs_keep_their_template() -> None:
    attributes = {
        "sentry.message.template": {"value": "paid by %s"},
        "sentry.message.parameter.0": {"value": "Ann"},
        "user.email": {"value": "ann@example.org"},
        "basket": {"value": 3},
        "service.name": {"value": "shop-web"},
        "sentry.release": {"value": "shop@1.4.2"},
    }
    log = {"level": "error", "body": "paid by Ann", "attributes": attributes, **TRACE}
    event, plain, odd = items(envelope(("log", {"items": [log, {"body": "Ann"}, 7]})))
    assert isinstance(event, Event)
    assert isinstance(plain, Event)
    assert odd == Skipped("not-an-object")
    assert (event.name, event.status, event.service, event.release) == (
        "paid by %s",
        "error",
        "shop-web",
        "1.4.2",
    )
    assert event.attributes["basket"] == "3"
    assert plain.name == "log"
    assert "Ann" not in f"{event}{plain}"
    assert "ann@" not in f"{event}{plain}"


@pytest.mark.parametrize(
    ("members", "column", "expected"),
    [
        ({"tags": {"service": "web"}}, "service", "web"),
        ({"tags": [["service", "web"], ["bad"], [1, 2]]}, "service", "web"),
        ({"contexts": {"app": {"app_name": "app"}}}, "service", "app"),
        ({"contexts": {"otel": {"resource": {"service.name": "web"}}}}, "service", "web"),
        ({"server_name": "box-17"}, "service", ""),
        ({"release": "shop@1.4.2"}, "release", "1.4.2"),
        ({"release": "1.4.2"}, "release", "1.4.2"),
        ({"environment": "staging"}, "environment", "staging"),
        ({"tags": {"session.id": "s"}}, "session", "s"),
        ({"contexts": {"trace": TRACE}}, "trace_id", "0a" * 16),
        ({"contexts": {"trace": {"trace_id": "00" * 16}}}, "trace_id", ""),
        ({"contexts": {"trace": {"trace_id": ["a"], "span_id": "0b" * 8}}}, "span_id", ""),
        ({"event_id": "9EC79C33-EC99-42AB-8353-589FCB2E04DC"}, "event_id", ID),
        ({"header": {"event_id": ID}}, "event_id", ID),
    ],
)
def test_columns(members: dict[str, Any], column: str, expected: str) -> None:
    assert getattr(one(**members), column) == expected


def test_of_several_items_without_ids_the_first_has_the_envelopes() -> None:
    first, second = items(envelope(("event", {}), ("event", {"message": "x"}), event_id=ID))
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert first.event_id == ID
    assert second.event_id.startswith("content-")


@pytest.mark.parametrize(
    ("said", "sent_at", "expected"),
    [
        (None, None, RECEIVED),
        (1_795_839_000, None, 1_795_839_000 * SECOND),
        (1_795_839_000.25, None, 1_795_839_000 * SECOND + SECOND // 4),
        ("2026-11-28T04:10:00Z", None, 1_795_839_000 * SECOND),
        ("2026-11-28T04:10:00Z", "2026-11-28T04:20:00Z", 1_795_839_000 * SECOND),
        # A clock that is years off, both ways.
        ("2019-01-01T00:00:00Z", "2019-01-01T00:01:00Z", RECEIVED - 60 * SECOND),
        ("2031-01-01T00:00:00Z", "2031-01-01T00:01:00Z", RECEIVED - 60 * SECOND),
        ("2031-01-01T00:00:00Z", None, RECEIVED),
        ("2026-11-28T04:30:00Z", None, RECEIVED),
        ("9999-01-01T00:00:00Z", "0001-01-01T00:00:00Z", RECEIVED),
        ("yesterday", "never", RECEIVED),
        (True, 7, RECEIVED),
        (-5, None, RECEIVED),
        (1e300, None, RECEIVED),
        ([], {}, RECEIVED),
    ],
)
def test_times(said: object, sent_at: object, expected: int) -> None:
    assert one(timestamp=said, header={"sent_at": sent_at}).time == expected


def test_what_is_of_a_person_stays_out() -> None:
    event = error(
        user={"id": "17", "email": "ann@example.org", "ip_address": "198.51.100.7"},
        request={"url": "https://x/?q=ann", "cookies": "sid=opened", "data": {"name": "Ann"}},
        breadcrumbs=[{"message": "Ann"}],
        extra={"basket": "Ann"},
        tags={"customer_id": "Ann", "mail": "Ann", "plan": "pro", "to": "ann@example.org"},
        server_name="box-17",
    )
    for secret in ("ann", "Ann", "198.51", "opened", "box-17"):
        assert secret not in str(event)
    assert event.attributes["tags.plan"] == "pro"


def test_floods_are_bounded() -> None:
    event = error(tags={f"k{number}": "x" * 20_000 for number in range(2_000)}, dist="y" * 10**6)
    assert len(event.attributes) <= MAX_ATTRIBUTES + 1
    assert all(len(value) < MAX_VALUE + 50 for value in event.attributes.values())
    assert event.attributes["exception.type"] == "LookupError"


def test_a_stored_event_is_one_too() -> None:
    (event,) = items(json.dumps({"event_id": ID, "message": "low"}).encode(), EVENT)
    assert isinstance(event, Event)
    assert (event.event_id, event.name) == (ID, "low")


_KEYS = (
    *("event_id", "exception", "values", "type", "value", "stacktrace", "frames", "in_app"),
    *("function", "mechanism", "handled", "logentry", "message", "level", "tags", "contexts"),
    *("trace", "trace_id", "op", "status", "transaction", "transaction_info", "source", "release"),
    *("timestamp", "start_timestamp", "items", "attributes", "aggregates", "attrs", "started"),
    *("spans", "span_id", "data", "description", "is_segment", "db.system", "url"),
    *("duration", "check_in_id", "monitor_slug", "fingerprint", "sdk", "request", "app", "sid"),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(_KEYS) | st.text(st.characters(), max_size=6), inner, max_size=5
        )
    ),
    max_leaves=25,
)
_KINDS = st.sampled_from(
    ["event", "transaction", "check_in", "session", "sessions", "log", "span", "x"]
)


@settings(max_examples=300, deadline=None)
@given(_KINDS, _JSON, _JSON)
def test_whatever_an_item_holds_good_neighbours_stay(
    kind: str, odd: object, sent_at: object
) -> None:
    good = ("event", {"message": "good"})
    found = items(envelope(good, (kind, odd), good, sent_at=sent_at))
    for item in (found[0], found[-1]):
        assert isinstance(item, Event)
        assert item.name == "good"
    for item in found:
        # The warehouse takes nothing else.
        str(item).encode()
        if isinstance(item, Event):
            assert 0 <= item.time <= LATEST_TIME
            assert 0 <= item.duration_ns <= LATEST_TIME
    assert items(envelope(good, (kind, odd), good, sent_at=sent_at)) == found


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 9), st.data())
def test_damaged_envelopes_of_the_client(number: int, data: st.DataObject) -> None:
    body = bytearray(bodies()[number])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    for content_type in (ENVELOPE, EVENT):
        with suppress(PayloadError, BodyError):
            items(bytes(body), content_type)
