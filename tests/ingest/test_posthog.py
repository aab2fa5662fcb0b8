"""PostHog's payloads become events: golden bodies of the real clients, tables, and hostile input.

The bodies in ``golden/posthog-*.jsonl`` are what posthog (Python, both ways to capture),
posthog-node and posthog-js sent to a sink, one request a line; of Node's stack frames the source
code was cut out. ``posthog-events.json`` is what they become; write it again with
``UPDATE_GOLDEN=1 pytest tests/ingest/test_posthog.py`` and read the difference.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.attributes import DROPPED, MAX_ATTRIBUTES, MAX_NAME, MAX_VALUE
from ingest.bounded_json import MAX_DEPTH, MAX_VALUES
from ingest.errors import BodyTooLarge, PayloadError, PayloadUndecodable
from ingest.events import LATEST_TIME, Event, Skipped
from ingest.evidence import EvidenceBatch
from ingest.inbox import Inbox
from ingest.posthog import MAX_PROPERTIES, PERSON, events_of
from ingest.posthog_request import MAX_ITEMS, parse
from ingest.pseudonyms import Pseudonyms

SECOND = 10**9
RECEIVED = 1_795_836_000 * SECOND
BATCH = EvidenceBatch(7, "sha256:b", "shop", "posthog.event", "application/json", 1, RECEIVED, None)
PSEUDONYMS = Pseudonyms(b"key")
GOLDEN = Path(__file__).parent / "golden"
CLIENTS = ("python", "python-v1", "node", "js")
UUID = "01a22037-305d-7ccb-8a6a-b0a8a66c17ab"


def items(document: object) -> list[Event | Skipped]:
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return list(events_of(payload, BATCH, PSEUDONYMS))


def events(document: object) -> list[Event]:
    found = items(document)
    assert all(isinstance(item, Event) for item in found), found
    return [item for item in found if isinstance(item, Event)]


def one(properties: dict[str, Any] | None = None, **members: Any) -> Event:
    (event,) = events({"event": "e", "uuid": UUID, "properties": properties or {}} | members)
    return event


def skipped(found: Sequence[Event | Skipped]) -> list[str]:
    return [item.reason for item in found if isinstance(item, Skipped)]


def bodies(client: str) -> list[bytes]:
    return (GOLDEN / f"posthog-{client}.jsonl").read_bytes().splitlines()


def test_the_bodies_of_the_clients_become_these_events() -> None:
    found = {
        client: [event._asdict() for body in bodies(client) for event in events(body)]
        for client in CLIENTS
    }
    golden = GOLDEN / "posthog-events.json"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(golden.read_text())


@pytest.mark.parametrize("client", CLIENTS)
def test_no_person_of_the_bodies_is_in_the_events(client: str) -> None:
    said = str([event for body in bodies(client) for event in events(body)])
    for secret in ("ann@", "Smith", "acme", "Acme", "anon-1", "no order", "by zero", "foi_test"):
        assert secret not in said


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"event": "a"}, ["a"]),
        ([{"event": "a"}, {"event": "b"}], ["a", "b"]),
        ({"api_key": "k", "batch": [{"event": "a"}]}, ["a"]),
        ({"created_at": "2026-11-28T00:00:00Z", "batch": [{"event": "a"}]}, ["a"]),
        ({"$set": {"plan": "pro"}, "$distinct_id": "x"}, ["$identify"]),
        (b'\xef\xbb\xbf  {"event": "a"}', ["a"]),
        (b'{"event": "\xff\xfe"}', ["\ufffd\ufffd"]),
        (urlencode({"data": '{"event": "a"}'}).encode(), ["a"]),
        (b"data=" + base64.b64encode(b'[{"event": "a>?"}]'), ["a>?"]),
        (urlencode({"ip": "1", "data": base64.b64encode(b'{"event": "a"}')}).encode(), ["a"]),
    ],
)
def test_shapes(document: object, names: list[str]) -> None:
    assert [event.name for event in events(document)] == names


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"{", b"[", b"null", b'"text"', b"17", b"\x00", b"\xff\xfe{\x00}\x00", b"a=b&c"),
        *(b"data=", b"data=%7B", b"data=!!!", b"data=" + b"e30" * 3, b"&".join([b"data=a"] * 99)),
        *(b"[" * 100_000, b'{"a":' * 100_000, b'{"event":"a"}{"event":"b"}', b'{"event":"a",}'),
    ],
)
def test_what_is_no_request(payload: bytes) -> None:
    with pytest.raises(PayloadUndecodable):
        items(payload)


@pytest.mark.parametrize("inner", ["[]", '{"a":[]}'])
def test_a_body_may_be_so_deep_and_no_deeper(inner: str) -> None:
    levels = MAX_DEPTH - inner.count("[") - inner.count("{")
    parse(("[" * levels + inner + "]" * levels).encode())
    with pytest.raises(PayloadUndecodable):
        parse(("[" * (levels + 1) + inner + "]" * (levels + 1)).encode())


@pytest.mark.parametrize(
    "text", ["[" * 999, '"' + "[" * 999, '\\"' + "[" * 999, "\\", '"\\', "]" * 999]
)
def test_brackets_in_texts_are_none(text: str) -> None:
    assert events({"event": text, "properties": {text: text}})


def test_bad_items_are_skipped_and_their_neighbours_stay() -> None:
    # Beside the list, the event and its properties.
    deep = "[" * (MAX_DEPTH - 3) + "]" * (MAX_DEPTH - 3)
    bad: list[tuple[str, str]] = [
        ("1", "not-an-object"),
        ("null", "not-an-object"),
        ("[]", "not-an-object"),
        ("{}", "no-event-name"),
        ('{"event": ""}', "no-event-name"),
        ('{"event": " "}', "no-event-name"),
        ('{"event": 7}', "no-event-name"),
        ('{"event": {"event": "x"}}', "no-event-name"),
        ('{"event": "$snapshot", "properties": {"$snapshot_data": []}}', "session-replay"),
    ]
    good = '{"event": "good"}'
    odd = [
        '{"event": "odd", "properties": 7, "uuid": 9, "timestamp": [], "offset": "x"}',
        '{"event": "odd", "properties": {"a": "\\ud800", "\\udfff": 1, "\\u0000": "\\u0000"}}',
        f'{{"event": "odd", "properties": {{"n": {"9" * 5_000}, "f": 1e999, "x": NaN}}}}',
        '{"event": "o\\u0000dd\\ud800", "timestamp": "99999-01-01", "distinct_id": {}}',
        '{"event": "odd", "timestamp": "0001-01-01T00:00:00+14:00", "uuid": "no uuid"}',
    ]
    body = ",".join([good, *(item for text, _ in bad for item in (text, good)), *odd, good])
    found = items(f"[{body}]".encode())
    assert skipped(found) == [reason for _, reason in bad]
    names = [item.name for item in found if isinstance(item, Event)]
    assert names.count("good") == len(bad) + 2
    assert len(names) == len(bad) + 2 + len(odd)
    for item in found:
        # The warehouse takes nothing else.
        str(item).encode()
    found = items(f'[{good},{{"event":"deep","properties":{{"a":{deep}}}}},{good}]'.encode())
    assert [item.name for item in found if isinstance(item, Event)] == ["good", "deep", "good"]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, RECEIVED),
        ({"timestamp": "2026-11-28T03:00:00Z"}, 1_795_834_800 * SECOND),
        ({"timestamp": "2026-11-28T04:00:00.5+01:00"}, 1_795_834_800 * SECOND + SECOND // 2),
        ({"timestamp": "2026-11-28T03:00:00"}, 1_795_834_800 * SECOND),
        ({"timestamp": 1_795_834_800_000}, 1_795_834_800 * SECOND),
        ({"timestamp": "yesterday"}, RECEIVED),
        ({"timestamp": True}, RECEIVED),
        ({"timestamp": -5}, RECEIVED),
        ({"timestamp": "x" * 1_000}, RECEIVED),
        ({"offset": 1_500}, RECEIVED - 1_500_000_000),
        ({"offset": -1}, RECEIVED),
        ({"offset": 2**60}, RECEIVED),
        # Clocks years away.
        ({"timestamp": "1999-12-31T23:00:00Z"}, 946_681_200 * SECOND),
        ({"timestamp": "1901-01-01T00:00:00Z"}, 0),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, 0),
        ({"timestamp": "9999-12-31T23:59:59-14:00"}, RECEIVED),
        ({"timestamp": "2026-11-29T02:00:00Z"}, 1_795_917_600 * SECOND),
        ({"timestamp": "2026-11-30T03:00:00Z"}, RECEIVED),
    ],
)
def test_times(members: dict[str, Any], expected: int) -> None:
    assert one(**members).time == expected


@pytest.mark.parametrize("sent_at", ["2019-01-01T00:01:00Z", 1_546_300_860_000])
def test_a_clock_that_is_wrong_is_set_right(sent_at: object) -> None:
    item = {"event": "e", "timestamp": "2019-01-01T00:00:00Z"}
    ignored = item | {"properties": {"$ignore_sent_at": True}}
    corrected, kept = events({"batch": [item, ignored], "sent_at": sent_at})
    assert corrected.time == RECEIVED - 60 * SECOND
    assert kept.time == 1_546_300_800 * SECOND


def test_a_clock_far_off_gives_a_time_that_can_be_kept() -> None:
    item = {"event": "e", "timestamp": "9999-01-01T00:00:00Z"}
    (event,) = events({"batch": [item], "sent_at": "0001-01-01T00:00:00Z"})
    assert 0 <= event.time <= LATEST_TIME


def test_an_event_is_known_by_its_uuid_else_by_what_it_says() -> None:
    assert one().event_id == UUID
    assert one(uuid=UUID.upper()).event_id == UUID
    first = one(uuid=None, offset=5)
    assert first.event_id.startswith("content-")
    assert one(uuid=None, offset=9).event_id == first.event_id
    assert one({"a": 1}, uuid=None).event_id != first.event_id


@pytest.mark.parametrize(
    "document",
    [
        {"event": "e", "properties": {"$session_id": "s"}},
        {"event": "e", "session_id": "s"},
        {"event": "e", "$set": {"$session_id": "s"}},
        {"event": "e", "properties": {"$set": {"$session_id": "s"}}},
    ],
)
def test_the_session_is_found_wherever_clients_put_it(document: object) -> None:
    assert events(document)[0].session == "s"


@pytest.mark.parametrize(
    ("properties", "column", "expected"),
    [
        ({"service": "web"}, "service", "web"),
        ({"service": "web", "service.name": "front"}, "service", "front"),
        ({"$app_name": "app"}, "service", "app"),
        ({"$lib": "web"}, "service", ""),
        ({"service": "x" * 1_000}, "service", "x" * MAX_NAME + "[truncated, 1000 characters]"),
        ({"release": "1.2"}, "release", "1.2"),
        ({"$app_version": "1.2"}, "release", "1.2"),
        ({"environment": "staging"}, "environment", "staging"),
        ({"deployment.environment": "staging"}, "environment", "staging"),
        ({"$trace_id": "0A" * 16}, "trace_id", "0a" * 16),
        ({"$trace_id": "00" * 16}, "trace_id", ""),
        ({"$trace_id": "zz" * 16}, "trace_id", ""),
        ({"$trace_id": ["0a" * 16]}, "trace_id", ""),
        ({"$trace_id": "0a" * 16, "$span_id": "0b" * 8}, "span_id", "0b" * 8),
        ({"$span_id": "0b" * 8}, "span_id", ""),
    ],
)
def test_columns(properties: dict[str, Any], column: str, expected: str) -> None:
    assert getattr(one(properties), column) == expected


def test_values_are_text() -> None:
    properties = {"s": "a", "n": 7, "f": 1.5, "t": True, "l": [1, {"é": None}], "none": None}
    assert one(properties).attributes == {
        "s": "a",
        "n": "7",
        "f": "1.5",
        "t": "true",
        "l": '[1, {"é": null}]',
    }


def test_the_kind_of_an_exception_is_kept() -> None:
    exceptions = [{"type": "KeyError", "value": "'ann'"}, {"type": "ValueError"}]
    event = one({"$exception_list": exceptions}, event="$exception")
    assert (event.attributes, event.status) == ({"exception.type": "KeyError"}, "error")
    strange: list[Any] = [[], [7], {}, "x", [{"type": []}]]
    for odd in strange:
        assert one({"$exception_list": odd}).attributes == {}


def test_a_name_holds_no_address() -> None:
    assert one(event="mail to ann@example.org").name == "mail to [redacted]"


def test_a_person_is_a_pseudonym(tmp_path: Path) -> None:
    named = one(distinct_id="ann@example.org").attributes[PERSON]
    assert one({"distinct_id": "ann@example.org"}).attributes[PERSON] == named
    assert one({PERSON: "ann"}, distinct_id="ann@example.org").attributes[PERSON] == named
    assert one({PERSON: "ann"}).attributes == {}
    assert one(distinct_id=17).attributes[PERSON] == one(distinct_id="17").attributes[PERSON]
    assert named != PSEUDONYMS.of("bank", "ann@example.org")
    assert named != Pseudonyms(b"another key").of("shop", "ann@example.org")
    box = Inbox(tmp_path / "inbox.sqlite", fatal=pytest.fail)
    kept = Pseudonyms.kept_in(box, os.urandom).of("shop", "ann")
    box.close()
    again = Inbox(tmp_path / "inbox.sqlite", fatal=pytest.fail)
    assert Pseudonyms.kept_in(again, os.urandom).of("shop", "ann") == kept
    again.close()


def test_a_flood_of_properties_is_bounded() -> None:
    flood = {f"k{number}": "v" for number in range(1_000_000)} | {"service": "web"}
    started = time.perf_counter()
    event = one(flood)
    assert time.perf_counter() - started < 60
    assert event.service == "web"
    assert len(event.attributes) == MAX_ATTRIBUTES + 1
    assert int(event.attributes[DROPPED]) == len(flood) - MAX_ATTRIBUTES
    assert len(flood) > MAX_PROPERTIES


def test_a_property_of_ten_megabytes_is_cut() -> None:
    event = one({"a": "x" * 10_000_000, "b": ["y" * 9_000_000], "k" * 1_000_000: 1})
    assert all(len(value) < MAX_VALUE + 50 for value in event.attributes.values())
    assert all(len(key) < 300 for key in event.attributes)


def test_a_request_is_bounded() -> None:
    with pytest.raises(BodyTooLarge):
        items(b"[" + b'{"event":"e"},' * MAX_ITEMS + b'{"event":"e"}]')
    with pytest.raises(BodyTooLarge):
        items(b"[" + b"1," * MAX_VALUES + b"1]")


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"api_key": "foi_a", "event": "e", "properties": {"token": "of a form"}}, "foi_a"),
        ({"token": "foi_a", "batch": [{"event": "e", "api_key": "foi_b"}]}, "foi_a"),
        ([{"event": "e", "properties": {"token": "foi_a"}}, {"event": "e"}], "foi_a"),
        ([{"event": "e", "api_key": "foi_a"}], "foi_a"),
        ({"event": "e", "properties": {"token": "foi_a"}}, "foi_a"),
        ({"event": "e", "api_key": ["foi_a"]}, ""),
        ({"event": "e", "api_key": "x" * 1_000}, ""),
        ({"event": "e"}, ""),
    ],
)
def test_the_key(document: object, key: str) -> None:
    assert parse(json.dumps(document).encode()).key == key


def test_events_of_two_keys_are_no_request() -> None:
    with pytest.raises(PayloadUndecodable, match="different keys"):
        parse(b'[{"event":"e","api_key":"a"},{"event":"e","api_key":"b"}]')


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "event",
                    "properties",
                    "uuid",
                    "timestamp",
                    "sent_at",
                    "offset",
                    "batch",
                    "$set",
                    "$session_id",
                    "$trace_id",
                    "distinct_id",
                    "token",
                    "$exception_list",
                    "type",
                ]
            )
            | st.text(st.characters(), max_size=8),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(_JSON, _JSON)
def test_whatever_a_document_holds_good_neighbours_stay(odd: object, sent_at: object) -> None:
    good = {"event": "good", "uuid": UUID}
    found = items({"batch": [good, odd, good], "sent_at": sent_at})
    assert len(found) == 3
    for item in (found[0], found[2]):
        assert isinstance(item, Event)
        assert item.name == "good"
    for item in found:
        str(item).encode()
        if isinstance(item, Event):
            assert 0 <= item.time <= LATEST_TIME


@settings(max_examples=300, deadline=None)
@given(st.binary() | _JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_the_bytes_are_nothing_else_is_raised(payload: bytes) -> None:
    with suppress(PayloadError):
        items(payload)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*CLIENTS]), st.data())
def test_damaged_bodies_of_the_clients(client: str, data: st.DataObject) -> None:
    body = bytearray(bodies(client)[0])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with suppress(PayloadError):
        items(bytes(body))
