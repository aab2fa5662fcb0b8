"""Log records, data points and entities become events, the same each time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.attributes import MAX_ATTRIBUTES, MAX_VALUE, REDACTED
from ingest.decoders import decoders
from ingest.errors import BodyError, PayloadError
from ingest.events import (
    ENTITY_SOURCE,
    LATEST_TIME,
    LOG_SOURCE,
    METRIC_SOURCE,
    SPAN_SOURCE,
    Event,
    Skipped,
)
from ingest.evidence import EvidenceBatch
from ingest.otlp import JSON, LOGS, METRICS, PROTOBUF, TRACES, Signal, read
from ingest.otlp_entities import MAX_REFERENCES
from ingest.otlp_metrics import MAX_BUCKETS
from ingest.pseudonyms import Pseudonyms

RECEIVED = 1_795_840_000_000_000_000
TIME = 1_700_000_000_000_000_001
CORPUS = Path(__file__).parent / "corpus"
SIGNALS: dict[str, Signal[Any]] = {signal.source: signal for signal in (TRACES, LOGS, METRICS)}


def decoded(source: str, payload: bytes, encoding: str = JSON) -> list[Event | Skipped]:
    batch = EvidenceBatch(7, "sha256:b", "shop", source, encoding, len(payload), RECEIVED, None)
    return list(decoders(Pseudonyms(bytes(32)))[source](payload, batch))


def pairs(members: dict[str, Any]) -> list[dict[str, Any]]:
    def value_of(value: Any) -> dict[str, Any]:
        return (
            {"kvlistValue": {"values": pairs(value)}}
            if isinstance(value, dict)
            else {"stringValue": value}
        )

    return [{"key": key, "value": value_of(value)} for key, value in members.items()]


RESOURCE = {
    "attributes": pairs(
        {
            "service.name": "shop-web",
            "service.version": "1.2",
            "deployment.environment": "prod",
        }
    )
}


def logs(*records: Any, resource: Any = RESOURCE, scope: str = "shop.orders") -> bytes:
    held = {"scope": {"name": scope}, "logRecords": records}
    return json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [held]}]}).encode()


def log(record: dict[str, Any], **around: Any) -> Event:
    (event,) = decoded(LOG_SOURCE, logs(record, **around))
    assert isinstance(event, Event)
    return event


def metrics(*found: Any, resource: Any = RESOURCE) -> bytes:
    held = {"scope": {"name": "meter"}, "metrics": found}
    return json.dumps(
        {"resourceMetrics": [{"resource": resource, "scopeMetrics": [held]}]}
    ).encode()


def point(kind: str, members: dict[str, Any], **held: Any) -> Event:
    metric = {"name": "orders", "unit": "1", kind: {"dataPoints": [members], **held}}
    (event,) = decoded(METRIC_SOURCE, metrics(metric))
    assert isinstance(event, Event)
    return event


# --- log records


def test_a_whole_log_record() -> None:
    event = log(
        {
            "timeUnixNano": str(TIME),
            "severityNumber": 17,
            "severityText": "Fehler",
            "body": {"stringValue": "order 17 of ann@example.org failed"},
            "traceId": "0A" * 16,
            "spanId": "0b" * 8,
            "attributes": pairs(
                {
                    "exception.type": "ValueError",
                    "exception.message": "no ann@example.org",
                    "exception.stacktrace": "at https://shop.example/x?mail=ann",
                    "session.id": "s1",
                    "body": "own",
                }
            ),
        }
    )
    assert event == Event(
        project="shop",
        source=LOG_SOURCE,
        event_id=event.event_id,
        time=TIME,
        duration_ns=0,
        name="shop.orders",
        kind="log",
        status="error",
        service="shop-web",
        release="1.2",
        environment="prod",
        session="s1",
        trace_id="0a" * 16,
        span_id="0b" * 8,
        parent_span_id="",
        attributes={
            "service.name": "shop-web",
            "service.version": "1.2",
            "deployment.environment": "prod",
            "severity": "error",
            "logger": "shop.orders",
            "body": f"order 17 of {REDACTED} failed",
            "exception.type": "ValueError",
            "exception.message": f"no {REDACTED}",
            "exception.stacktrace": "at https://shop.example/x",
            "session.id": "s1",
            "attributes.body": "own",
        },
        seq=7,
        batch="sha256:b",
    )
    assert event.event_id.startswith("content-")


@pytest.mark.parametrize(
    ("record", "name", "kind"),
    [
        ({"eventName": "browser.page_view"}, "browser.page_view", "event"),
        ({"attributes": pairs({"event.name": "device.crash"})}, "device.crash", "event"),
        ({"eventName": "order 17 of ann@example.org"}, "order {id} of {id}", "event"),
        ({"body": {"stringValue": "order 17"}}, "shop.orders", "log"),
    ],
)
def test_a_name_is_one_of_few(record: dict[str, Any], name: str, kind: str) -> None:
    event = log(record)
    assert (event.name, event.kind) == (name, kind)


def test_without_a_logger_it_is_a_log() -> None:
    assert log({"body": {"stringValue": "hello"}}, scope="").name == "log"


@pytest.mark.parametrize(
    ("number", "text", "severity", "status"),
    [
        (1, "", "trace", ""),
        (8, "", "debug", ""),
        (9, "Information", "info", ""),
        (16, "", "warn", ""),
        (17, "", "error", "error"),
        (24, "", "fatal", "error"),
        (0, "CRITICAL", "critical", ""),
        (0, "", None, ""),
        (99, "", None, "error"),
    ],
)
def test_severities(number: int, text: str, severity: str | None, status: str) -> None:
    event = log({"severityNumber": number, "severityText": text})
    assert (event.attributes.get("severity"), event.status) == (severity, status)


@pytest.mark.parametrize(
    ("record", "time"),
    [
        ({"timeUnixNano": "5", "observedTimeUnixNano": "6"}, 5),
        ({"observedTimeUnixNano": "6"}, 6),
        ({}, RECEIVED),
        ({"timeUnixNano": str(2**64 - 1)}, LATEST_TIME),
    ],
)
def test_when_a_record_was_written(record: dict[str, Any], time: int) -> None:
    assert log(record).time == time


def test_a_body_of_any_shape_is_bounded_text() -> None:
    assert log({"body": {"kvlistValue": {"values": pairs({"a": "b"})}}}).attributes["body"] == (
        '{"a": "b"}'
    )
    long = log({"body": {"stringValue": "x" * 10_000_000}}).attributes["body"]
    assert len(long) < MAX_VALUE + 50
    many = log({"attributes": pairs({f"k{n}": "v" for n in range(5_000)})})
    assert len(many.attributes) < 2 * MAX_ATTRIBUTES


def test_an_invalid_trace_joins_nobody() -> None:
    event = log({"traceId": "00" * 16, "spanId": "0b" * 8})
    assert (event.trace_id, event.span_id) == ("", "")


def test_ids_are_of_the_content_and_of_the_resource() -> None:
    record = {"body": {"stringValue": "x"}, "timeUnixNano": "5"}
    other = {"attributes": pairs({"service.name": "other"})}
    ids = [
        log(record).event_id,
        log(record).event_id,
        log(record, resource=other).event_id,
        log(record, scope="other").event_id,
        log(record | {"timeUnixNano": "6"}).event_id,
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4


# --- data points


@pytest.mark.parametrize(
    ("kind", "members", "held", "expected"),
    [
        ("gauge", {"asDouble": 1.5}, {}, {"value": "1.5"}),
        ("gauge", {"asDouble": "NaN"}, {}, {"value": "nan"}),
        ("gauge", {"asInt": "0"}, {}, {"value": "0"}),
        ("gauge", {}, {}, {}),
        (
            "sum",
            {"asInt": "-3"},
            {"aggregationTemporality": 2, "isMonotonic": True},
            {"value": "-3", "temporality": "cumulative", "monotonic": "true"},
        ),
        (
            "sum",
            {"asInt": 3},
            {"aggregationTemporality": 9},
            {"value": "3", "monotonic": "false"},
        ),
        (
            "histogram",
            {"count": "3", "sum": 4.5, "bucketCounts": ["1", 2], "explicitBounds": [0.5]},
            {"aggregationTemporality": 1},
            {
                "count": "3",
                "sum": "4.5",
                "temporality": "delta",
                "bucket_counts": "[1, 2]",
                "explicit_bounds": "[0.5]",
            },
        ),
        (
            "histogram",
            {"count": "3", "min": 0, "max": 9, "bucketCounts": [1] * (MAX_BUCKETS + 1)},
            {},
            {"count": "3", "min": "0.0", "max": "9.0"},
        ),
        (
            "exponentialHistogram",
            {
                "count": 2,
                "scale": 3,
                "zeroCount": 1,
                "positive": {"offset": -4, "bucketCounts": [1]},
            },
            {"aggregationTemporality": 1},
            {
                "count": "2",
                "scale": "3",
                "zero_count": "1",
                "positive.offset": "-4",
                "positive.bucket_counts": "[1]",
                "negative.offset": "0",
                "temporality": "delta",
            },
        ),
        (
            "summary",
            {"count": 2, "sum": 3, "quantileValues": [{"quantile": 0.5, "value": 1}]},
            {},
            {"count": "2", "sum": "3.0", "quantiles": '{"0.5": 1.0}'},
        ),
    ],
)
def test_every_kind_of_point(
    kind: str, members: dict[str, Any], held: dict[str, Any], expected: dict[str, str]
) -> None:
    event = point(kind, members | {"attributes": pairs({"shop": "north"})}, **held)
    assert event.name == "orders"
    assert event.kind == {"exponentialHistogram": "exponential-histogram"}.get(kind, kind)
    shared = {"service.name", "service.version", "deployment.environment"}
    own = {key: value for key, value in event.attributes.items() if key not in shared}
    assert own == expected | {"unit": "1", "scope": "meter", "shop": "north"}


def test_an_attribute_called_like_a_value_stays_apart() -> None:
    event = point("gauge", {"asInt": 1, "attributes": pairs({"value": "own", "max": "own"})})
    attributes = event.attributes
    assert (attributes["value"], attributes["attributes.value"], attributes["max"]) == (
        *("1", "own", "own"),
    )


@pytest.mark.parametrize(
    ("start", "end", "time", "duration"),
    [
        (5, 9, 9, 4),
        (0, 9, 9, 0),
        (5, 0, 5, 0),
        (0, 0, RECEIVED, 0),
        (9, 5, 5, 0),
        (1, 2**64 - 1, LATEST_TIME, 2**64 - 2),
    ],
)
def test_the_time_of_a_point_and_what_it_is_over(
    start: int, end: int, time: int, duration: int
) -> None:
    event = point("gauge", {"startTimeUnixNano": str(start), "timeUnixNano": str(end)})
    assert (event.time, event.duration_ns) == (time, duration)


def test_a_point_without_a_value_is_skipped_in_its_place() -> None:
    points = [{"asInt": 1}, {"flags": 1}, {"asInt": 2}]
    items = decoded(METRIC_SOURCE, metrics({"name": "g", "gauge": {"dataPoints": points}}))
    assert [isinstance(item, Event) for item in items] == [True, False, True]
    assert items[1] == Skipped("no-recorded-value")


def test_points_are_told_apart_by_all_they_say() -> None:
    found = [
        {"name": "a", "gauge": {"dataPoints": [{"asInt": 1}, {"asInt": 2}]}},
        {"name": "b", "gauge": {"dataPoints": [{"asInt": 1}]}},
        {"name": "a", "unit": "s", "gauge": {"dataPoints": [{"asInt": 1}]}},
        {"name": "a", "sum": {"dataPoints": [{"asInt": 1}]}},
        {"name": "empty"},
    ]
    items = decoded(METRIC_SOURCE, metrics(*found))
    assert len({item.event_id for item in items if isinstance(item, Event)}) == 5


# --- entities


POD = {
    "attributes": pairs(
        {
            "service.name": "shop-web",
            "k8s.namespace.name": "shop",
            "k8s.pod.uid": "u1",
            "k8s.pod.name": "web-1",
        }
    ),
    "entityRefs": [
        {"type": "k8s.pod", "idKeys": ["k8s.pod.uid"], "descriptionKeys": ["k8s.pod.name"]},
        {"type": "host", "idKeys": ["host.id"]},
        {"idKeys": ["k8s.pod.uid"]},
    ],
}


@pytest.mark.parametrize("source", sorted(SIGNALS))
def test_the_entities_of_a_resource(source: str) -> None:
    payload = {
        LOG_SOURCE: logs({}, resource=POD),
        METRIC_SOURCE: metrics({"gauge": {"dataPoints": [{}]}}, resource=POD),
        SPAN_SOURCE: json.dumps(
            {"resourceSpans": [{"resource": POD, "scopeSpans": [{"spans": [{}]}]}]}
        ).encode(),
    }[source]
    entity, item = decoded(source, payload)
    assert isinstance(entity, Event)
    assert isinstance(item, Event)
    assert item.source == source
    assert (entity.source, entity.kind, entity.name) == (ENTITY_SOURCE, "state", "k8s.pod")
    assert (entity.time, entity.service) == (RECEIVED, "shop-web")
    # Names within a cluster say nothing without what they are within.
    assert entity.attributes == {
        "id.k8s.pod.uid": "u1",
        "description.k8s.namespace.name": "shop",
        "description.k8s.pod.name": "web-1",
    }


@pytest.mark.parametrize("kind", ["state", "delete"])
@pytest.mark.parametrize("older", [False, True])
def test_entity_events(kind: str, older: bool) -> None:
    said: dict[str, Any] = {"id": {"k8s.pod.uid": "u1"}, "type": "k8s.pod"}
    record: dict[str, Any] = {"timeUnixNano": "5"}
    if older:
        attributes = {f"otel.entity.{key}": value for key, value in said.items()} | {
            "otel.entity.event.type": f"entity_{kind}",
            "otel.entity.attributes": {"k8s.pod.name": "web-1"},
        }
    else:
        record["eventName"] = f"entity.{kind}"
        attributes = {f"entity.{key}": value for key, value in said.items()} | {
            "entity.description": {"k8s.pod.name": "web-1"}
        }
    event = log(record | {"attributes": pairs(attributes)})
    assert (event.source, event.kind, event.name, event.time) == (
        *(ENTITY_SOURCE, kind, "k8s.pod", 5),
    )
    assert event.attributes == {"id.k8s.pod.uid": "u1", "description.k8s.pod.name": "web-1"}


def test_an_entity_that_stays_is_one_fact_and_one_that_ends_ends_each_time() -> None:
    def event_id(name: str, time: str) -> str:
        attributes = pairs({"entity.type": "host", "entity.id": {"host.id": "h"}})
        return log({"eventName": name, "timeUnixNano": time, "attributes": attributes}).event_id

    assert event_id("entity.state", "5") == event_id("entity.state", "6")
    assert event_id("entity.delete", "5") != event_id("entity.delete", "6")


@pytest.mark.parametrize(
    "attributes",
    [{}, {"entity.type": "host"}, {"entity.type": "host", "entity.id": "text"}, {"entity.id": {}}],
)
def test_an_entity_event_that_names_none_is_a_log(attributes: dict[str, Any]) -> None:
    event = log({"eventName": "entity.state", "attributes": pairs(attributes)})
    assert (event.source, event.name) == (LOG_SOURCE, "entity.state")


def test_the_references_of_a_resource_are_bounded() -> None:
    reference = {"type": "k8s.pod", "idKeys": ["k8s.pod.uid"]}
    resource = POD | {"entityRefs": [reference] * 10_000}
    items = decoded(LOG_SOURCE, logs({}, resource=resource))
    assert len(items) == MAX_REFERENCES + 1


# --- all of them


def corpus() -> Iterator[tuple[str, bytes, str]]:
    for source in SIGNALS:
        for path in sorted(CORPUS.glob("otel.*/*")):
            yield source, path.read_bytes(), JSON if path.suffix == ".json" else PROTOBUF


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_whatever_can_be_read_becomes_events_the_same_each_time(data: st.DataObject) -> None:
    source, payload, encoding = data.draw(st.sampled_from(list(corpus())))
    damaged = bytearray(payload)
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(damaged)))
        damaged[place : place + 1] = data.draw(st.binary(max_size=2))
    payload = bytes(damaged)
    try:
        found = read(payload, encoding, SIGNALS[source])
    except (PayloadError, BodyError) as error:
        with pytest.raises(type(error)):
            decoded(source, payload, encoding)
        return
    items = decoded(source, payload, encoding)
    assert items == decoded(source, payload, encoding)
    assert items.count(Skipped("malformed-item")) == found.rejected
    for event in items:
        if isinstance(event, Event):
            assert 0 <= event.time <= LATEST_TIME
            assert event.name.isprintable()
            assert all(value == value.encode().decode() for value in event.attributes.values())
