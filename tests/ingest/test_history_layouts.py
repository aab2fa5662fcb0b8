"""How records are found in files, whatever lies around them."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Sequence

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ingest.byte_reader import ByteReader, unpacked
from ingest.errors import HistoryUnreadable
from ingest.history_layouts import Layout, layout_of, records
from ingest.history_records import (
    MAX_RECORDS,
    TARGETS,
    Kind,
    Record,
    Unreadable,
    kind_of,
    requests_of,
)

SPAN: dict[str, object] = {"resourceSpans": [{"scopeSpans": []}]}
EVENT = {"event": "a", "uuid": "u", "properties": {}}
RUN = {"eventTime": "2024-01-01T00:00:00Z", "run": {"runId": "r"}, "job": {}}
ERROR = {"event_id": "e" * 32, "platform": "python"}
HEADER, ITEM = (
    b'{"event_id":"e","sent_at":"2020-01-01T00:00:00Z"}\n',
    b'{"type":"event"}\n{"a":1}\n',
)


def line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def reader_of(content: bytes, position: int = 0) -> ByteReader:
    # Small bites, so that every border falls somewhere inside.
    stream = io.BytesIO(content)
    reader = ByteReader(lambda size: stream.read(min(size, 7)))
    reader.skip(position)
    return reader


def read(
    content: bytes, kind: Kind | None = None, position: int = 0, place: int = 0
) -> list[Record | Unreadable]:
    layout = layout_of(reader_of(content), kind)
    return list(records(reader_of(content, position), layout, kind, place))


def kinds(found: Sequence[Record | Unreadable]) -> list[Kind | None]:
    return [item.kind if isinstance(item, Record) else None for item in found]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (SPAN, Kind.TRACES),
        ({"resourceLogs": []}, Kind.LOGS),
        ({"resourceMetrics": []}, Kind.METRICS),
        (EVENT, Kind.PRODUCT_EVENT),
        (RUN, Kind.LINEAGE),
        (ERROR, Kind.ERROR),
        ({"event": {"uuid": "u"}}, None),
        ({"resourceSpans": {}}, None),
        ([EVENT], None),
        (7, None),
    ],
)
def test_a_record_is_what_it_says(said: object, kind: Kind | None) -> None:
    assert kind_of(said) is kind


@pytest.mark.parametrize(
    ("content", "layout", "found"),
    [
        (
            line(SPAN) + line(EVENT) + b"\n" + line(RUN),
            Layout.LINES,
            ["traces", "product-event", "lineage"],
        ),
        (line(EVENT).rstrip(), Layout.LINES, ["product-event"]),
        (b"\xef\xbb\xbf" + line(EVENT), Layout.LINES, ["product-event"]),
        (line(SPAN)[:20] + b"\n" + line(SPAN), Layout.LINES, [None, "traces"]),
        (
            line(SPAN) + b"\x00\xff\n[1]\n" + line(SPAN),
            Layout.LINES,
            ["traces", None, None, "traces"],
        ),
        (
            b" [\n" + line(EVENT) + b"," + line(EVENT) + b"]",
            Layout.DOCUMENTS,
            ["product-event"] * 2,
        ),
        (json.dumps([EVENT, EVENT], indent=2).encode(), Layout.DOCUMENTS, ["product-event"] * 2),
        (json.dumps(SPAN, indent=2).encode(), Layout.DOCUMENTS, ["traces"]),
        (
            b'[{"event":"a","properties":{"a":"\\"}]\\\\"}},7,' + line(EVENT),
            Layout.DOCUMENTS,
            ["product-event", None],
        ),
        (b"[]", Layout.DOCUMENTS, []),
        (HEADER + ITEM + ITEM + HEADER + ITEM, Layout.ENVELOPES, ["envelope", "envelope"]),
        (
            HEADER + ITEM.replace(b"}\n", b',"length":999}\n', 1) + HEADER + ITEM,
            Layout.ENVELOPES,
            ["envelope"] * 2,
        ),
        (len(line(SPAN)).to_bytes(4) + line(SPAN), Layout.FRAMES, ["traces"]),
        (
            len(zstandard.compress(line(SPAN))).to_bytes(4) + zstandard.compress(line(SPAN)),
            Layout.FRAMES,
            ["traces"],
        ),
        ((99).to_bytes(4) + line(SPAN), Layout.FRAMES, [None]),
        (b"", Layout.LINES, []),
    ],
)
def test_a_layout_is_found_and_read(
    content: bytes, layout: Layout, found: list[str | None]
) -> None:
    assert layout_of(reader_of(content), None) is layout
    assert kinds(read(content)) == found


@pytest.mark.parametrize("content", [b"time,event\n", b"\x00\x00\x00\x05hello", b'{"a":1}\n'])
def test_what_is_of_no_known_format_is_refused(content: bytes) -> None:
    with pytest.raises(HistoryUnreadable, match="--format"):
        layout_of(reader_of(content), None)


def test_protobuf_is_read_where_it_is_said_to_be() -> None:
    content = b"".join(len(part).to_bytes(4) + part for part in (b"\x0a\x00", b"\x0a\x01x"))
    found = read(content, Kind.TRACES_PROTO)
    assert [item.part for item in found if isinstance(item, Record)] == [b"\x0a\x00", b"\x0a\x01x"]


def test_an_envelope_says_no_more_when_and_where_it_was_sent() -> None:
    (found,) = read(HEADER.replace(b'"sent_at"', b'"dsn":"https://k@h/1","sent_at"') + ITEM)
    assert isinstance(found, Record)
    assert found.part == b'{"event_id": "e"}\n' + ITEM


def test_requests_hold_what_belongs_together() -> None:
    content = line(SPAN) * (MAX_RECORDS + 1) + line(EVENT) + line(ERROR) + line(ERROR) + b"x\n"
    groups = [kinds(group) for group in requests_of(read(content))]
    assert [len(group) for group in groups] == [MAX_RECORDS, 1, 1, 1, 2]
    target = TARGETS[Kind.TRACES]
    assert json.loads(target.body([b"", b"{}", b"{}"])) == {"resourceSpans": [{}, {}]}


@given(
    st.lists(st.dictionaries(st.text(max_size=8), st.text(max_size=8)), min_size=1, max_size=6),
    st.sampled_from([None, 1]),
    st.integers(0, 5),
)
def test_reading_goes_on_behind_any_record(
    properties: list[dict[str, str]], indent: int | None, after: int
) -> None:
    """In a list of JSON, whatever brackets and quotes the texts hold."""
    rows = [{**EVENT, "uuid": str(n), "properties": p} for n, p in enumerate(properties)]
    content = json.dumps(rows, indent=indent).encode()
    whole = read(content)
    assert kinds(whole) == [Kind.PRODUCT_EVENT] * len(rows)
    if after < len(whole):
        before = whole[after]
        assert read(content, position=before.end, place=before.place) == whole[after + 1 :]


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(content: bytes) -> None:
    for layout in (Layout.LINES, Layout.DOCUMENTS, Layout.ENVELOPES, Layout.FRAMES):
        found = list(records(reader_of(content), layout, None, 0))
        assert [item.place for item in found] == sorted({item.place for item in found})
        assert all(item.end <= len(content) for item in found)


def test_what_is_packed_is_unpacked_and_damage_is_said() -> None:
    plain = line(SPAN) * 5000
    for packed, name in (
        (gzip.compress(plain[:99]) + gzip.compress(plain[99:]), "a"),
        (zstandard.compress(plain[:99]) + zstandard.compress(plain[99:]), "a"),
        (brotli.compress(plain), "a.br"),
        (plain, "a.jsonl"),
    ):
        reader = unpacked(ByteReader(io.BytesIO(packed).read), name)
        assert reader.take(len(plain) + 1) == plain
        if packed is not plain:
            cut = unpacked(ByteReader(io.BytesIO(packed[:-9]).read), name)
            with pytest.raises(HistoryUnreadable, match="damaged or ends early"):
                cut.skip(len(plain) + 1)


def test_a_line_beyond_the_limit_is_skipped() -> None:
    reader = reader_of(b"a" * 50 + b"\nb\n" + b"c" * 20)
    assert [reader.line(10), reader.line(10), reader.line(10), reader.line(10)] == [
        None,
        b"b\n",
        None,
        b"",
    ]
