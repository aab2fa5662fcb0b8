"""OTLP/JSON reads as the messages it stands for, and what is malformed in it costs itself alone."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ingest.errors import BodyError, PayloadError, PayloadUndecodable
from ingest.otlp import JSON, LOGS, METRICS, PROTOBUF, TRACES, Signal, answer, read
from ingest.otlp_json import MAX_NESTING, message_of
from ingest.otlp_wire import item_count, salvaged

CORPUS = Path(__file__).parent / "corpus"
SIGNALS: tuple[Signal[Any], ...] = (TRACES, LOGS, METRICS)
_HEXADECIMAL = {"trace_id", "span_id", "parent_span_id"}
_LONG = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED64,
}


def written(message: Message) -> dict[str, Any]:
    """A message in OTLP/JSON, as the specification says a sender writes it."""

    def value_of(field: FieldDescriptor, value: Any) -> Any:
        if field.message_type is not None:
            return written(value)
        if field.type == FieldDescriptor.TYPE_BYTES:
            is_id = field.name in _HEXADECIMAL
            return value.hex() if is_id else base64.b64encode(value).decode()
        if isinstance(value, float) and not math.isfinite(value):
            return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
        return str(value) if field.type in _LONG else value

    return {
        field.json_name: [value_of(field, item) for item in value]
        if field.is_repeated
        else value_of(field, value)
        for field, value in message.ListFields()
    }


def messages(kind: type[Message], depth: int = 0) -> st.SearchStrategy[Any]:
    """Messages of a kind, with every field that its definition has."""
    scalars: dict[int, st.SearchStrategy[Any]] = {
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
        FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
        FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
        FieldDescriptor.CPPTYPE_ENUM: st.integers(0, 6),
        FieldDescriptor.CPPTYPE_STRING: st.text(max_size=6),
    }

    @st.composite
    def build(draw: st.DrawFn) -> Message:
        message = kind()
        for field in kind.DESCRIPTOR.fields:
            if depth > 9 or not draw(st.booleans()):
                continue
            if field.message_type is not None:
                inner = messages(type_of(field), depth + 1)
                if field.is_repeated:
                    for _ in range(draw(st.integers(0, 2))):
                        getattr(message, field.name).append(draw(inner))
                else:
                    getattr(message, field.name).CopyFrom(draw(inner))
                    getattr(message, field.name).SetInParent()
                continue
            is_bytes = field.type == FieldDescriptor.TYPE_BYTES
            values = st.binary(max_size=17) if is_bytes else scalars[field.cpp_type]
            if field.is_repeated:
                getattr(message, field.name).extend(draw(st.lists(values, max_size=3)))
            else:
                setattr(message, field.name, draw(values))
        return message

    return build()


def type_of(field: Any) -> type[Message]:
    return GetMessageClass(field.message_type)


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
def test_every_message_reads_back_from_its_json(signal: Signal[Any]) -> None:
    @given(messages(signal.request))
    @settings(max_examples=40, deadline=None)
    def check(message: Message) -> None:
        found, rejected = message_of(json.loads(json.dumps(written(message))), signal.request)
        # Bytes compare what NaN doesn't.
        assert found.SerializeToString(deterministic=True) == message.SerializeToString(
            deterministic=True
        )
        assert rejected == 0

    check()


@pytest.mark.parametrize(
    ("name", "signal"),
    [("trace", TRACES), ("logs", LOGS), ("events", LOGS), ("metrics", METRICS)],
)
def test_the_examples_of_the_specification(checkout: Path, name: str, signal: Signal[Any]) -> None:
    example = checkout.parent / "shared" / "suites" / "otlp" / "examples" / f"{name}.json"
    if not example.exists():
        pytest.skip(f"the OTLP examples are not at {example.parent}")
    payload = example.read_bytes()
    found = read(payload, JSON, signal)
    assert (found.items, found.rejected) == (len(signal_items(found.request)), 0)
    assert found.items > 0
    # Nothing of it was overlooked.
    assert normal(written(found.request)) == normal(json.loads(payload))


def signal_items(request: Message) -> list[Message]:
    return [
        item
        for _, resources in request.ListFields()
        for resource in resources
        for scope in [*getattr(resource, "scope_spans", ()), *getattr(resource, "scope_logs", ())]
        for item in [*getattr(scope, "spans", ()), *getattr(scope, "log_records", ())]
    ] + [
        point
        for _, resources in request.ListFields()
        for resource in resources
        for scope in getattr(resource, "scope_metrics", ())
        for metric in scope.metrics
        for point in getattr(metric, metric.WhichOneof("data")).data_points
    ]


def normal(value: Any) -> Any:
    """A document in one spelling: numbers as text, ids in lower case, without defaults."""
    if isinstance(value, dict):
        members = {key: normal(inner) for key, inner in value.items()}
        return {key: inner for key, inner in members.items() if inner not in ("0.0", "", [])}
    if isinstance(value, list):
        return [normal(inner) for inner in value]
    if isinstance(value, bool):
        return value
    return str(float(value) if isinstance(value, int | float) else number(value)).lower()


def number(value: str) -> str:
    try:
        return str(float(value))
    except ValueError:
        return value


def spans(*items: object) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": items}]}]}).encode()


GOOD = {"name": "good", "traceId": "0a" * 16, "spanId": "0b" * 8}


@pytest.mark.parametrize(
    "member",
    [
        {"kind": "SPAN_KIND_SERVER", "start_time_unix_nano": 7},
        {"kind": 2, "startTimeUnixNano": "7", "endTimeUnixNano": None},
        {"kind": "2", "startTimeUnixNano": 7.0, "attributes": None, "status": {}},
        {"kind": 2, "startTimeUnixNano": 7, "resourceSpans": [1], "unknown": {"a": []}},
    ],
)
def test_the_spellings_of_fields(member: dict[str, object]) -> None:
    found = read(spans(GOOD | member), JSON, TRACES)
    (span,) = signal_items(found.request)
    assert (span.kind, span.start_time_unix_nano) == (2, 7)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("written_value", "field", "expected"),
    [
        ({"doubleValue": "NaN"}, "double_value", "nan"),
        ({"doubleValue": "-Infinity"}, "double_value", "-inf"),
        ({"doubleValue": 3}, "double_value", "3.0"),
        ({"doubleValue": "2.5e3"}, "double_value", "2500.0"),
        ({"intValue": "-9223372036854775808"}, "int_value", str(-(2**63))),
        ({"bytesValue": "-_8"}, "bytes_value", "b'\\xfb\\xff'"),
        ({"bytesValue": "+/8="}, "bytes_value", "b'\\xfb\\xff'"),
        ({"boolValue": False}, "bool_value", "False"),
        ({"stringValue": ""}, "string_value", ""),
    ],
)
def test_the_spellings_of_values(
    written_value: dict[str, object], field: str, expected: str
) -> None:
    attribute = {"key": "k", "value": written_value}
    (span,) = signal_items(read(spans(GOOD | {"attributes": [attribute]}), JSON, TRACES).request)
    value = span.attributes[0].value  # type: ignore[attr-defined]
    assert (value.WhichOneof("value"), str(getattr(value, field))) == (field, expected)


def nested(levels: int) -> dict[str, object]:
    value: dict[str, object] = {"intValue": 1}
    for _ in range(levels):
        value = {"arrayValue": {"values": [value]}}
    return {"attributes": [{"key": "k", "value": value}]}


@pytest.mark.parametrize(
    "member",
    [
        {"traceId": "no"},
        {"traceId": 5},
        {"spanId": "0"},
        {"name": 5},
        {"name": "\ud800"},
        {"kind": "SPAN_KIND_NEWER"},
        {"kind": 2**40},
        {"startTimeUnixNano": -1},
        {"startTimeUnixNano": 2**64},
        {"startTimeUnixNano": "1e5"},
        {"startTimeUnixNano": True},
        {"startTimeUnixNano": 1.5},
        {"attributes": {}},
        {"attributes": [1]},
        {"attributes": [None]},
        {"attributes": [{"key": "k", "value": "text"}]},
        {"attributes": [{"key": "k", "value": {"boolValue": "true"}}]},
        {"attributes": [{"key": "k", "value": {"doubleValue": "1_0"}}]},
        {"attributes": [{"key": "k", "value": {"doubleValue": "9" * 401}}]},
        {"attributes": [{"key": "k", "value": {"bytesValue": "*"}}]},
        {"links": [{"traceId": "x"}]},
        {"status": []},
        nested(MAX_NESTING),
    ],
)
def test_a_malformed_span_leaves_its_neighbours_alone(member: dict[str, object]) -> None:
    payload = spans(GOOD, GOOD | member, GOOD)
    found = read(payload, JSON, TRACES)
    assert (found.items, found.rejected) == (2, 1)
    assert [span.name for span in signal_items(found.request)] == ["good"] * 2  # type: ignore[attr-defined]
    said = json.loads(answer(TRACES, found, JSON))["partialSuccess"]
    assert said["rejectedSpans"] == "1"
    assert said["errorMessage"].startswith("1 of 3 spans could not be read")
    with pytest.raises(PayloadUndecodable):
        read(spans(GOOD | member), JSON, TRACES)


@pytest.mark.parametrize(
    ("broken", "lost"),
    [
        ({"scopeSpans": [{"spans": [GOOD, GOOD]}], "resource": 1}, 2),
        ({"scopeSpans": [{"spans": [GOOD, GOOD], "scope": []}, {"spans": [GOOD]}]}, 2),
        ({"scopeSpans": "none"}, 1),
        ("none", 1),
    ],
)
def test_what_holds_spans_takes_only_its_own_with_it(broken: object, lost: int) -> None:
    document = {"resourceSpans": [{"scopeSpans": [{"spans": [GOOD]}]}, broken]}
    assert read(json.dumps(document).encode(), JSON, TRACES).rejected == lost


def test_a_malformed_point_leaves_its_neighbours_alone() -> None:
    points = [{"asInt": "1"}, {"asInt": "x"}, {"asDouble": 2}]
    metrics = [{"name": "a", "gauge": {"dataPoints": points}}, {"name": "b", "sum": 5}]
    document = {"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}
    found = read(json.dumps(document).encode(), JSON, METRICS)
    assert (found.items, found.rejected) == (2, 2)
    assert json.loads(answer(METRICS, found, JSON))["partialSuccess"]["rejectedDataPoints"] == "2"


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal.name)
def test_on_the_wire_one_item_is_left_out_as_well(signal: Signal[Any]) -> None:
    request = whole(signal)
    payload = request.SerializeToString()
    # Text that is not UTF-8 is what the whole message is refused for.
    damaged = payload.replace(b"second", b"sec\xffnd")
    with pytest.raises(DecodeError):
        signal.request.FromString(damaged)
    found = read(damaged, PROTOBUF, signal)
    assert (found.items, found.rejected) == (2, 1)
    kept = signal_items(request)
    assert signal_items(found.request) == [kept[0], kept[2]]
    response = signal.response.FromString(answer(signal, found, PROTOBUF))
    assert getattr(response.partial_success, signal.rejected) == 1  # type: ignore[attr-defined]
    # Undamaged, the slow way reads what the quick one does.
    assert salvaged(payload, signal.request) == (request, 0)


def whole(signal: Signal[Any]) -> Message:
    """A request of three items, each with an attribute of its own."""
    names = ("first", "second", "third")
    attributes = [[{"key": name, "value": {"intValue": 1}}] for name in names]
    documents: dict[str, Any] = {
        "traces": {
            "resourceSpans": [
                {"scopeSpans": [{"spans": [{"attributes": pairs} for pairs in attributes]}]}
            ]
        },
        "logs": {
            "resourceLogs": [
                {"scopeLogs": [{"logRecords": [{"attributes": pairs} for pairs in attributes]}]}
            ]
        },
        "metrics": {
            "resourceMetrics": [
                {
                    "scopeMetrics": [
                        {
                            "metrics": [
                                {
                                    "name": "m",
                                    "histogram": {
                                        "dataPoints": [{"attributes": pairs, "count": 1}],
                                        "aggregationTemporality": 2,
                                    },
                                }
                                for pairs in attributes
                            ]
                        }
                    ]
                }
            ]
        },
    }
    request: Message = read(json.dumps(documents[signal.name]).encode(), JSON, signal).request
    return request


@pytest.mark.parametrize(
    ("request_type", "field"),
    [
        (ExportTraceServiceRequest, "resource_spans"),
        (ExportLogsServiceRequest, "resource_logs"),
        (ExportMetricsServiceRequest, "resource_metrics"),
    ],
)
def test_an_empty_request_holds_nothing(request_type: type[Message], field: str) -> None:
    assert item_count(request_type()) == 0
    request = request_type()
    getattr(request, field).add()
    assert item_count(request) == 0


@pytest.mark.parametrize(
    "bomb",
    [
        b'{"resourceSpans":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"resourceSpans":[' + b"[]," * 2_000_001 + b"[]]}",
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * 100_000 + b"{}]}]}]}",
        b'{"resourceSpans":' + b"9" * 5_000_000 + b"}",
    ],
    ids=["deep", "many values", "many spans", "long number"],
)
def test_json_bombs_are_refused(bomb: bytes) -> None:
    with pytest.raises((PayloadUndecodable, BodyError)):
        read(bomb, JSON, TRACES)


def corpus() -> list[Path]:
    return sorted(CORPUS.glob("otel.*/*"))


def survives(payload: bytes, encoding: str, signal: Signal[Any]) -> None:
    """Read twice, it is the same; nothing but what the sender is told is raised."""
    try:
        found = read(payload, encoding, signal)
    except (PayloadError, BodyError):
        return
    again = read(payload, encoding, signal)
    assert (found.items, found.rejected) == (again.items, again.rejected)
    assert found.items or not found.rejected
    assert found.items == len(signal_items(found.request))


@pytest.mark.parametrize("path", corpus(), ids=lambda path: path.name)
def test_the_corpus(path: Path) -> None:
    encoding = JSON if path.suffix == ".json" else PROTOBUF
    payload = path.read_bytes()
    for signal in SIGNALS:
        survives(payload, encoding, signal)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_damage_anywhere_is_survived(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(corpus()))
    payload = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        if payload:
            place = data.draw(st.integers(0, len(payload) - 1))
            end = place + data.draw(st.integers(0, 3))
            payload[place:end] = data.draw(st.binary(max_size=3))
    encoding = JSON if path.suffix == ".json" else PROTOBUF
    survives(bytes(payload), encoding, data.draw(st.sampled_from(SIGNALS)))
