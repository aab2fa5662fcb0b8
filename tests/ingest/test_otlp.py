"""OTLP payloads, well-formed and hostile, become events or one typed error."""

from __future__ import annotations

import json

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.proto.trace.v1.trace_pb2 import Status as SpanStatus

from ingest import otlp, otlp_values
from ingest.attributes import DROPPED, MAX_ATTRIBUTES, MAX_VALUE, REDACTED
from ingest.errors import BodyTooLarge, ContentTypeUnsupported, IngestError, PayloadUndecodable
from ingest.events import LATEST_TIME, Event
from ingest.otlp import JSON, PROTOBUF, TRACES
from ingest.otlp_spans import LINKS, MAX_LINKS, decode

TRACE, SPAN = bytes(range(16)), bytes(range(1, 9))


def attribute(key: str, value: AnyValue) -> KeyValue:
    return KeyValue(key=key, value=value)


def text(value: str) -> AnyValue:
    return AnyValue(string_value=value)


def request(*spans: Span, resource: list[KeyValue] | None = None) -> bytes:
    message = ExportTraceServiceRequest()
    resource_spans = message.resource_spans.add()
    resource_spans.resource.attributes.extend(resource or [])
    resource_spans.scope_spans.add().spans.extend(spans)
    return message.SerializeToString()


def one(span: Span, resource: list[KeyValue] | None = None) -> Event:
    (event,) = decode(request(span, resource=resource), PROTOBUF, project="shop")
    return event


def test_a_whole_span() -> None:
    event = one(
        Span(
            trace_id=TRACE,
            span_id=SPAN,
            parent_span_id=SPAN[::-1],
            name="GET /cart",
            kind=Span.SPAN_KIND_SERVER,
            start_time_unix_nano=1_700_000_000_000_000_001,
            end_time_unix_nano=1_700_000_000_000_000_101,
            status=SpanStatus(code=SpanStatus.STATUS_CODE_ERROR),
            attributes=[
                attribute("http.route", text("/cart")),
                attribute("session.id", text("s1")),
            ],
        ),
        resource=[
            attribute("service.name", text("shop-web")),
            attribute("service.version", text("1.2")),
            attribute("deployment.environment.name", text("prod")),
        ],
    )
    assert event == Event(
        project="shop",
        source="otel.span",
        event_id="000102030405060708090a0b0c0d0e0f-0102030405060708",
        time=1_700_000_000_000_000_001,
        duration_ns=100,
        name="GET /cart",
        kind="server",
        status="error",
        service="shop-web",
        release="1.2",
        environment="prod",
        session="s1",
        trace_id="000102030405060708090a0b0c0d0e0f",
        span_id="0102030405060708",
        parent_span_id="0807060504030201",
        attributes={
            "service.name": "shop-web",
            "service.version": "1.2",
            "deployment.environment.name": "prod",
            "http.route": "/cart",
            "session.id": "s1",
        },
    )


@pytest.mark.parametrize(
    ("key", "column", "expected"),
    [
        ("deployment.environment", "environment", "value"),
        ("deployment.environment.name", "environment", "value"),
        ("sessionId", "session", "value"),
        ("session.id", "session", "value"),
    ],
)
def test_old_and_new_spellings(key: str, column: str, expected: str) -> None:
    assert getattr(one(Span(attributes=[attribute(key, text("value"))])), column) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (AnyValue(string_value="é\n"), "é\n"),
        (AnyValue(int_value=-(2**63)), "-9223372036854775808"),
        (AnyValue(bool_value=True), "true"),
        (AnyValue(bool_value=False), "false"),
        (AnyValue(double_value=0.1), "0.1"),
        (AnyValue(double_value=float("nan")), "nan"),
        (AnyValue(bytes_value=b"\x00\xff"), "AP8="),
        (AnyValue(), ""),
        (
            AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), text("a"), AnyValue()])),
            '[1, "a", null]',
        ),
        (
            AnyValue(
                kvlist_value=KeyValueList(values=[attribute("k", AnyValue(bytes_value=b"\x01"))])
            ),
            '{"k": "AQ=="}',
        ),
    ],
)
def test_every_kind_of_value(value: AnyValue, expected: str) -> None:
    assert one(Span(attributes=[attribute("key", value)])).attributes["key"] == expected


def test_unset_service_and_unknown_numbers() -> None:
    event = one(
        Span(kind=77, status=SpanStatus(code=-3))  # type: ignore[arg-type]
    )
    assert (event.service, event.kind, event.status) == ("unknown_service", "unspecified", "unset")


@pytest.mark.parametrize(
    ("start", "end", "time", "duration"),
    [
        (0, 0, 0, 0),
        (0, 50, 50, 0),
        (50, 0, 50, 0),
        (50, 40, 50, 0),
        (2**64 - 1, 2**64 - 1, LATEST_TIME, 0),
        (1, 2**64 - 1, 1, 2**64 - 2),
    ],
)
def test_impossible_times_stay_within_the_warehouse(
    start: int, end: int, time: int, duration: int
) -> None:
    event = one(Span(start_time_unix_nano=start, end_time_unix_nano=end))
    assert (event.time, event.duration_ns) == (time, duration)


@pytest.mark.parametrize(
    ("trace_id", "span_id"),
    [(b"", b""), (bytes(16), bytes(8)), (TRACE, b"\x01"), (TRACE[:15], SPAN), (TRACE * 100, SPAN)],
)
def test_invalid_ids_join_nobody_and_stay_apart(trace_id: bytes, span_id: bytes) -> None:
    first, second, again = (
        one(Span(trace_id=trace_id, span_id=span_id, name=name)) for name in ("a", "b", "a")
    )
    assert first.event_id.startswith("content-")
    assert first.event_id != second.event_id
    assert first.event_id == again.event_id
    assert "" in (first.trace_id, first.span_id)
    assert len(first.trace_id) in (0, 32)


def test_links_are_kept_as_ids() -> None:
    there, nowhere = Span.Link(trace_id=TRACE, span_id=SPAN), Span.Link(trace_id=TRACE)
    event = one(Span(trace_id=TRACE, span_id=SPAN[::-1], links=[there, nowhere, there]))
    assert event.attributes == {LINKS: f"{TRACE.hex()}-{SPAN.hex()}"}
    many = [Span.Link(trace_id=n.to_bytes(16), span_id=SPAN) for n in range(1, 3 * MAX_LINKS)]
    event = one(Span(trace_id=TRACE, span_id=SPAN[::-1], links=many))
    assert len(event.attributes[LINKS].split()) == MAX_LINKS


def test_duplicates_have_the_same_key() -> None:
    span = Span(trace_id=TRACE, span_id=SPAN)
    first, second = decode(request(span, span), PROTOBUF, project="shop")
    assert first.event_id == second.event_id


def test_huge_values_are_cut_with_a_mark() -> None:
    event = one(
        Span(
            name="n" * 10_000,
            attributes=[
                attribute("long", text("x" * 100_000)),
                attribute("k" * 1_000, text("v")),
                *(attribute(f"a{n}", text("v")) for n in range(500)),
            ],
        )
    )
    assert event.attributes["long"].startswith("x" * MAX_VALUE + "[truncated, 100000")
    assert event.name.endswith("[truncated, 10000 characters]")
    assert max(map(len, event.attributes)) < 300
    assert len(event.attributes) == MAX_ATTRIBUTES + 1
    assert event.attributes[DROPPED] == str(502 - MAX_ATTRIBUTES)


def test_what_every_span_repeats_is_bounded() -> None:
    resource = [attribute(f"k{n}", text("v" * 8_000)) for n in range(100)]
    attributes = one(Span(), resource=resource).attributes
    assert (
        sum(len(key) + len(value) for key, value in attributes.items())
        < otlp_values.MAX_SHARED + 100
    )
    assert attributes[DROPPED] == "98"


def test_control_characters_are_replaced() -> None:
    event = one(Span(name="a\x00b", attributes=[attribute("k\x00", text("\x1b[31m\ttab"))]))
    assert event.name == "a\ufffdb"
    assert event.attributes == {"k\ufffd": "\ufffd[31m\ttab"}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("http.request.header.authorization", "Bearer abc", REDACTED),
        ("http.request.header.cookie", "sid=1", REDACTED),
        ("http.response.header.set-cookie", "sid=1", REDACTED),
        ("http.request.header.x_api_key", "abc", REDACTED),
        ("http.request.header.accept", "text/html", "text/html"),
        ("url.full", "https://user:secret@host/x?y=a@b", "https://host/x?y=a@b"),
        ("db.connection_string", "postgresql://u:p@db:5432/shop", "postgresql://db:5432/shop"),
    ],
)
def test_credentials_are_not_kept(key: str, value: str, expected: str) -> None:
    assert one(Span(attributes=[attribute(key, text(value))])).attributes[key] == expected


def test_command_lines_are_left_out() -> None:
    resource = [attribute("process.command_line", text("run --password=x"))]
    assert one(Span(), resource=resource).attributes == {}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-3], id="truncated"),
        pytest.param(lambda data: b"\xff" + data, id="garbage before"),
        pytest.param(lambda data: b"<html></html>", id="another document"),
        pytest.param(lambda data: data.replace(b"GET", b"G\xffT"), id="text that is not UTF-8"),
    ],
)
def test_damaged_protobuf_is_refused(damage) -> None:  # type: ignore[no-untyped-def]
    data = request(Span(trace_id=TRACE, span_id=SPAN, name="GET /"))
    with pytest.raises(PayloadUndecodable, match="not a whole ExportTraceServiceRequest"):
        decode(damage(data), PROTOBUF, project="shop")


def test_too_many_spans_are_refused_before_they_are_parsed() -> None:
    def size(number: int) -> bytes:
        return (
            size_below_128(number)
            if number < 128
            else bytes([number & 127 | 128]) + size(number >> 7)
        )

    def size_below_128(number: int) -> bytes:
        return bytes([number])

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2]) + size(len(content)) + content

    spans = b"\x12\x00" * (otlp.MAX_ITEMS + 1)
    with pytest.raises(BodyTooLarge, match="OTEL_BSP_MAX_EXPORT_BATCH_SIZE"):
        otlp.read(field(1, field(2, spans)), PROTOBUF, TRACES)
    # With those that hold them, no more than the limit.
    assert otlp.read(field(1, field(2, spans[8:])), PROTOBUF, TRACES).items == otlp.MAX_ITEMS - 3


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        ("application/x-protobuf", PROTOBUF),
        ("Application/X-Protobuf; charset=utf-8", PROTOBUF),
        ("application/json", JSON),
    ],
)
def test_content_types(header: str, encoding: str) -> None:
    assert otlp.encoding_of(header) == encoding


@pytest.mark.parametrize("header", ["", "text/plain", "application/grpc", "application/protobuf"])
def test_other_content_types_are_refused(header: str) -> None:
    with pytest.raises(ContentTypeUnsupported, match="http/protobuf"):
        otlp.encoding_of(header)


def json_request(**span: object) -> bytes:
    document = {
        "resourceSpans": [
            {
                "resource": {
                    "attributes": [{"key": "service.name", "value": {"stringValue": "web"}}]
                },
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": TRACE.hex().upper(),
                                "spanId": SPAN.hex(),
                                "parentSpanId": "",
                                "name": "GET /",
                                "kind": 3,
                                "startTimeUnixNano": "1700000000000000001",
                                "endTimeUnixNano": "1700000000000000003",
                                "attributes": [
                                    {"key": "n", "value": {"intValue": "7"}},
                                    {"key": "b", "value": {"bytesValue": "AQ=="}},
                                ],
                                "somethingNewer": True,
                            }
                            | span
                        ]
                    }
                ],
            }
        ]
    }
    return json.dumps(document).encode()


@pytest.mark.parametrize("start", ["1700000000000000001", 1700000000000000001])
def test_json_spells_ids_in_hexadecimal_and_numbers_either_way(start: object) -> None:
    (event,) = decode(json_request(startTimeUnixNano=start), JSON, project="shop")
    assert event.event_id == f"{TRACE.hex()}-{SPAN.hex()}"
    assert (event.time, event.duration_ns, event.kind) == (1700000000000000001, 2, "client")
    assert event.attributes == {"service.name": "web", "n": "7", "b": "AQ=="}


def test_both_encodings_give_the_same_event() -> None:
    (from_json,) = decode(json_request(attributes=[]), JSON, project="shop")
    from_protobuf = one(
        Span(
            trace_id=TRACE,
            span_id=SPAN,
            name="GET /",
            kind=Span.SPAN_KIND_CLIENT,
            start_time_unix_nano=1700000000000000001,
            end_time_unix_nano=1700000000000000003,
        ),
        resource=[attribute("service.name", text("web"))],
    )
    assert from_json == from_protobuf


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"resourceSpans": 1}',
        b'{"resourceSpans": ["x"]}',
        b'{"resourceSpans": {"a": 1}}',
        json_request(traceId="not hexadecimal"),
        json_request(traceId=5),
        json_request(startTimeUnixNano=1e999),
        json_request(startTimeUnixNano=-1),
        json_request(name="\ud800"),
        json_request(links=[1]),
        b"[" * 100_000,
        b'{"resourceSpans": "' + b"\xff" + b'"}',
    ],
)
def test_damaged_json_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadUndecodable):
        decode(body, JSON, project="shop")


@given(st.binary(max_size=400), st.sampled_from([PROTOBUF, JSON]))
@settings(max_examples=300, deadline=None)
def test_no_bytes_bring_down_the_decoder(body: bytes, encoding: str) -> None:
    try:
        events = decode(body, encoding, project="shop")
    except IngestError:
        return
    assert all(0 <= event.time <= LATEST_TIME for event in events)


_KEYS = (
    *("resourceSpans", "scopeSpans", "spans", "links", "traceId", "attributes", "key", "value"),
    *("arrayValue", "values", "startTimeUnixNano", "resource", "kind"),
)
_JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(_KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(_JSON_VALUES)
@settings(max_examples=300, deadline=None)
def test_no_document_brings_down_the_decoder(document: object) -> None:
    try:
        decode(json.dumps({"resourceSpans": document}).encode(), JSON, project="shop")
    except PayloadUndecodable:
        return


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=17),
            st.text(max_size=10),
            st.integers(0, 2**64 - 1),
            st.integers(-(2**31), 2**31 - 1),
        ),
        max_size=5,
    )
)
@settings(max_examples=100, deadline=None)
def test_every_span_becomes_one_event_the_same_each_time(
    spans: list[tuple[bytes, str, int, int]],
) -> None:
    data = request(
        *(
            Span(trace_id=i, span_id=i[:8], name=n, start_time_unix_nano=t, kind=k)  # type: ignore[arg-type]
            for i, n, t, k in spans
        )
    )
    events = decode(data, PROTOBUF, project="shop")
    assert len(events) == len(spans)
    assert events == decode(data, PROTOBUF, project="shop")


@pytest.mark.parametrize("message", ["short", "é" * 5_000])
def test_refusals_are_google_rpc_statuses(message: str) -> None:
    status = Status.FromString(otlp.refusal(3, message, PROTOBUF))
    assert (status.code, status.message) == (3, message)
    assert json.loads(otlp.refusal(14, message, JSON)) == {"code": 14, "message": message}
