"""The wire format of Sentry's clients: every shape, wrong lengths, and hostile bytes."""

from __future__ import annotations

import base64
import json
import time
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.bounded_json import MAX_DEPTH, MAX_VALUES
from ingest.errors import BodyError, BodyTooLarge, PayloadError, PayloadUndecodable
from ingest.sentry_envelope import ENVELOPE, EVENT, MAX_ITEMS, UNREADABLE, parse

GOOD = b'{"type":"event","length":10}\n{"good":1}\n'


def types(rest: bytes) -> list[str]:
    return [item.type for item in parse(b"{}\n" + rest, ENVELOPE).items]


def test_the_header() -> None:
    found = parse(
        b'{"event_id":"ab","sent_at":"2026-11-28T04:10:00Z","dsn":"http://foi_a@h:1/7"}\n', ENVELOPE
    )
    assert (found.event_id, found.key, found.items) == ("ab", "foi_a", ())
    assert found.sent_at == 1_795_839_000 * 10**9
    for odd in (b'{"dsn":"http://[x@y/1","event_id":[],"sent_at":{}}', b"{}", b"\xef\xbb\xbf{}"):
        found = parse(odd, ENVELOPE)
        assert (found.event_id, found.key, found.sent_at, found.items) == ("", "", None, ())


@pytest.mark.parametrize(
    "payload", [b"", b"\n", b"{", b"[]", b"null", b"\x00", b"\n{}", b"[" * 100_000, b"{}{}"]
)
def test_what_is_no_envelope(payload: bytes) -> None:
    with pytest.raises(PayloadUndecodable):
        parse(payload, ENVELOPE)


@pytest.mark.parametrize(
    ("rest", "payloads"),
    [
        (b'{"type":"event","length":2}\n{}\n', [b"{}"]),
        (b'{"type":"event","length":2}\n{}', [b"{}"]),
        (b'{"type":"event"}\n{}\n', [b"{}"]),
        (b'{"type":"event"}\n{}', [b"{}"]),
        (b'{"type":"event"}\r\n{}\n', [b"{}"]),
        (b'{"type":"event"}', [b""]),
        (b'{"type":"event","length":0}\n\n\n{"type":"event"}\n{}', [b"", b"{}"]),
        (b'{"type":"event","length":3}\n{\n}\n', [b"{\n}"]),
        (b'{"type":"attachment","length":5}\na\n\x00\nb\n', [b"a\n\x00\nb"]),
        # Lengths that are none.
        *(
            (f'{{"type":"event","length":{length}}}\n{{}}\n'.encode(), [b"{}"])
            for length in ("1", "99", "-1", "true", '"2"', "null", "9" * 500, "1e3")
        ),
    ],
)
def test_payloads(rest: bytes, payloads: list[bytes]) -> None:
    found = parse(b"{}\n" + rest + GOOD if rest.endswith(b"\n") else b"{}\n" + rest, ENVELOPE)
    got = [item.payload for item in found.items]
    assert got[: len(payloads)] == payloads
    if rest.endswith(b"\n"):
        assert got[-1] == b'{"good":1}'


def test_a_length_that_swallows_the_neighbours_is_wrong() -> None:
    swallowed = b'{"odd":1}\n' + GOOD + GOOD
    header = json.dumps({"type": "event", "length": len(swallowed) - 1}).encode()
    assert types(header + b"\n" + swallowed + GOOD) == ["event"] * 4


def test_what_stands_for_a_header_and_is_none_counts_once() -> None:
    odd = b'x\n\xff\n[]\n{"type":7}\n{"type":""}\n{"a":1}\n'
    assert types(GOOD + odd + GOOD + odd) == ["event", UNREADABLE, "event", UNREADABLE]
    # The payload of an item whose header was lost is no header.
    lost = b'{"type":"transaction","event_id":"a","timestamp":1}\n'
    assert types(lost + GOOD) == [UNREADABLE, "event"]


def test_an_envelope_is_bounded() -> None:
    with pytest.raises(BodyTooLarge):
        parse(b"{}\n" + b'{"type":"x"}\n{}\n' * (MAX_ITEMS + 1), ENVELOPE)
    with pytest.raises(BodyTooLarge):
        parse(b'{"a":[' + b"1," * MAX_VALUES + b"1]}", EVENT)


def test_lengths_that_lie_take_no_square_of_time() -> None:
    size = 2_000_000
    line = b'{"type":"event","length":%07d}\n[\n'
    number = size // len(line % 0)
    rest = b"".join(line % max(0, size - (i + 1) * len(line % 0) + 1) for i in range(number))
    started = time.perf_counter()
    parse(b"{}\n" + rest, ENVELOPE)
    assert time.perf_counter() - started < 60


EVENT_BODY = b'{"event_id":"ab","message":"m"}'


@pytest.mark.parametrize(
    "payload", [EVENT_BODY, b"\n " + EVENT_BODY, base64.b64encode(zlib.compress(EVENT_BODY))]
)
def test_a_single_event(payload: bytes) -> None:
    found = parse(payload, EVENT)
    assert (found.event_id, [item.type for item in found.items]) == ("ab", ["event"])
    assert json.loads(found.items[0].payload)["message"] == "m"


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"{", b"7", b"!", b"e30", b"\xff", b'{"a":' * (MAX_DEPTH + 1), b"[" * 10**6],
)
def test_what_is_no_event(payload: bytes) -> None:
    with pytest.raises((PayloadUndecodable, BodyError)):
        parse(payload, EVENT)


def test_a_packed_bomb_is_too_large() -> None:
    with pytest.raises(BodyTooLarge):
        parse(base64.b64encode(zlib.compress(bytes(50_000_000))), EVENT)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60).filter(lambda odd: b"\n" not in odd),
    st.none() | st.integers(-5, 400),
    st.sampled_from(["event", "log", "x"]),
)
def test_whatever_an_item_is_its_neighbours_stay(odd: bytes, length: int | None, kind: str) -> None:
    header = {"type": kind} | ({} if length is None else {"length": length})
    rest = GOOD + json.dumps(header).encode() + b"\n" + odd + b"\n" + GOOD + GOOD
    found = parse(b"{}\n" + rest, ENVELOPE).items
    assert [item.payload for item in found].count(b'{"good":1}') >= 3


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([ENVELOPE, EVENT]))
def test_whatever_the_bytes_are_nothing_else_is_raised(payload: bytes, content_type: str) -> None:
    for body in (payload, b"{}\n" + payload):
        with suppress(PayloadError, BodyError):
            parse(body, content_type)
