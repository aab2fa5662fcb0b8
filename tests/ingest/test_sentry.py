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

from ingest.attributes import MAX_ATTRIBUTES, MAX_VALUE
from ingest.errors import BodyError, PayloadError
from ingest.events import LATEST_TIME, Event, Skipped
from ingest.evidence import EvidenceBatch
from ingest.sentry import events_of
from ingest.sentry_envelope import ENVELOPE, EVENT

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
        ("span", "span"),
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


def test_of_the_spans_that_stream_those_that_begin_a_segment_are_transactions() -> None:
    def typed(**values: object) -> dict[str, object]:
        return {key.replace("_", "."): {"value": value} for key, value in values.items()}

    attributes = typed(
        sentry_op="http.server",
        sentry_release="shop@1.4.2",
        sentry_environment="staging",
        service_name="web",
        http_route="/orders/:id",
        user_email="ann@example.org",
    ) | {"http.request.method": {"value": "GET"}}
    segment = {
        "name": "GET /orders/:id",
        "is_segment": True,
        "status": "error",
        "start_timestamp": 1_795_839_990.5,
        "end_timestamp": 1_795_839_991.0,
        "attributes": attributes,
    } | TRACE
    found = items(envelope(("span", {"items": [segment, {"name": "inner"}, 7]})))
    event = found[0]
    assert isinstance(event, Event)
    assert found[1:] == [Skipped("span"), Skipped("not-an-object")]
    assert (event.kind, event.name, event.status) == ("transaction", "GET /orders/:id", "error")
    assert (event.service, event.release, event.environment) == ("web", "1.4.2", "staging")
    assert (event.time, event.duration_ns) == (1_795_839_990_500_000_000, SECOND // 2)
    assert (event.trace_id, event.parent_span_id) == ("0a" * 16, "0c" * 8)
    assert event.attributes["http.request.method"] == "GET"
    assert event.attributes["http.route"] == "/orders/:id"
    assert "ann@" not in str(event)
    assert items(envelope(("span", segment))) == [event]


def test_a_transaction_of_a_route_is_named_as_a_server_span() -> None:
    trace = TRACE | {"op": "http.server", "status": "ok"}
    event = one(
        "transaction",
        transaction="GET /orders/:id",
        transaction_info={"source": "route"},
        contexts={"trace": trace, "response": {"status_code": 200}},
        start_timestamp=1_795_839_990.5,
        timestamp="2026-11-28T04:26:31Z",
        spans=[{"description": "SELECT 'Ann'"}],
    )
    assert (event.attributes["http.request.method"], event.attributes["http.route"]) == (
        "GET",
        "/orders/:id",
    )
    assert (event.time, event.duration_ns) == (1_795_839_990_500_000_000, SECOND // 2)
    assert (event.trace_id, event.span_id, event.parent_span_id) == (
        "0a" * 16,
        "0b" * 8,
        "0c" * 8,
    )
    assert (event.status, event.attributes["http.response.status_code"]) == ("ok", "200")
    assert "Ann" not in str(event)
    for source in ("url", "component"):
        other = one(
            "transaction",
            transaction="/orders/17",
            transaction_info={"source": source},
            contexts={"trace": trace},
        )
        assert "http.route" not in other.attributes
        assert other.name == "/orders/{id}"


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
_KINDS = st.sampled_from(["event", "transaction", "check_in", "session", "sessions", "log", "x"])


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
