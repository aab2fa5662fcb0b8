"""How records lie one behind the other in a file, found out from its first bytes.

Invariant: each layout reads on from any position that a record ended at, holds no more than one
record of at most :data:`MAX_RECORD` bytes, and gives one :class:`Unreadable` for what it can't
read, after which it goes on wherever the layout still tells where the next record begins.
Source: https://jsonlines.org/, the Collector's file exporter
(https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/exporter/fileexporter),
https://develop.sentry.dev/sdk/foundations/transport/envelopes/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from ingest.bodies import unpack
from ingest.bounded_json import read_json
from ingest.byte_reader import ZSTD_MAGIC, ByteReader
from ingest.errors import BodyError, HistoryUnreadable, PayloadError
from ingest.history_records import (
    MAX_RECORD,
    Kind,
    Record,
    Unreadable,
    kind_of,
    record_of,
)
from ingest.posthog_request import object_of

PARQUET_MAGIC: Final = b"PAR1"

_HEAD = 1024 * 1024
_PREFIX = 4
_STEP = 64 * 1024
_MARKS = re.compile(rb'["\\\[\]{}]')
_SPACE = b" \t\r\n,"
_PROTO = frozenset({Kind.TRACES_PROTO, Kind.LOGS_PROTO, Kind.METRICS_PROTO})
# Members of an envelope's header that hold between a client and the server it sent to.
_OF_OTHERS = frozenset({"dsn", "sent_at"})
_UNKNOWN = (
    "this is neither OTLP (JSON lines, or length-prefixed with --format), nor PostHog's JSON lines,"
    " JSON or Parquet, nor Sentry envelopes, nor OpenLineage's JSON lines; say which with --format"
)


class Layout(StrEnum):
    """How records are parted."""

    LINES = "lines"
    DOCUMENTS = "documents"
    ENVELOPES = "envelopes"
    FRAMES = "frames"
    PARQUET = "parquet"


def layout_of(reader: ByteReader, kind: Kind | None) -> Layout:
    """The layout of a file, of which nothing is taken.

    ``kind`` is what its records are said to be. Raises :class:`HistoryUnreadable`.
    """
    head = reader.peek(_HEAD)
    if head.startswith(PARQUET_MAGIC):
        return Layout.PARQUET
    if kind in _PROTO:
        return Layout.FRAMES
    if kind is Kind.ENVELOPE:
        return Layout.ENVELOPES
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        return Layout.DOCUMENTS
    if start.startswith(b"{"):
        return _layout_of_objects(start, known=kind is not None)
    if head[_PREFIX:].startswith((ZSTD_MAGIC, b"{")) and len(head) > _PREFIX:
        return Layout.FRAMES
    if not start and len(head) < _HEAD:
        return Layout.LINES
    raise HistoryUnreadable(_UNKNOWN)


def _layout_of_objects(start: bytes, *, known: bool) -> Layout:
    first, _, rest = start.partition(b"\n")
    said = _value(first)
    if said is not None:
        following = object_of(_value(rest.lstrip().partition(b"\n")[0]))
        if kind_of(said) is None and isinstance(following.get("type"), str):
            return Layout.ENVELOPES
        if known or kind_of(said) is not None or kind_of(following) is not None:
            return Layout.LINES
        raise HistoryUnreadable(_UNKNOWN)
    # One damaged line must not make a document of a file whose lines are records.
    return Layout.LINES if rest.startswith(b"{") or len(first) > 1024 else Layout.DOCUMENTS


def records(
    reader: ByteReader, layout: Layout, kind: Kind | None, place: int
) -> Iterator[Record | Unreadable]:
    """The records from where the reader stands; ``place`` is how many came before.

    Raises :class:`HistoryUnreadable` where compressed data is damaged.
    """
    if layout is Layout.LINES:
        return _lines(reader, kind, place)
    if layout is Layout.DOCUMENTS:
        return _documents(reader, kind, place)
    if layout is Layout.ENVELOPES:
        return _envelopes(reader, place)
    return _frames(reader, kind, place)


def _lines(reader: ByteReader, kind: Kind | None, place: int) -> Iterator[Record | Unreadable]:
    while True:
        line = reader.line(MAX_RECORD)
        if line == b"":
            return
        place += 1
        if line is None:
            yield _too_long(place, reader.position)
        elif line.strip(b" \t\r\n\xef\xbb\xbf"):
            yield _document(line, kind, place, reader.position)


def _documents(reader: ByteReader, kind: Kind | None, place: int) -> Iterator[Record | Unreadable]:
    """Objects one behind the other, or in a list, over as many lines as they like."""
    if reader.position == 0:
        head = reader.peek(_STEP)
        reader.skip(len(head) - len(head.removeprefix(b"\xef\xbb\xbf").lstrip()))
        reader.skip(int(reader.peek(1) == b"["))
    while True:
        while (head := reader.peek(_STEP)) and not head.lstrip(_SPACE):
            reader.skip(len(head))
        reader.skip(len(head) - len(head.lstrip(_SPACE)))
        first = reader.peek(1)
        if first in (b"", b"]"):
            return
        place += 1
        length = _length_of_object(reader) if first == b"{" else None
        if length is None:
            # Nothing tells where the next one begins.
            reader.skip(MAX_RECORD)
            while reader.peek(1):
                reader.skip(MAX_RECORD)
            yield Unreadable(
                "no JSON object that ends within 20 MiB; nothing behind it was read",
                place,
                reader.position,
            )
            return
        document = reader.take(length)
        yield _document(document, kind, place, reader.position)


def _length_of_object(reader: ByteReader) -> int | None:
    """How long the object at the reader's position is."""
    depth = scanned = 0
    in_text = False
    escaped = -1
    size = _STEP
    while scanned < MAX_RECORD:
        held = reader.peek(size)
        if len(held) == scanned:
            return None
        for mark in _MARKS.finditer(held, scanned):
            sign = mark[0]
            if mark.start() == escaped:
                # What stands behind a backslash means itself.
                continue
            if in_text:
                if sign == b"\\":
                    escaped = mark.end()
                elif sign == b'"':
                    in_text = False
            elif sign == b'"':
                in_text = True
            elif sign in b"[{":
                depth += 1
            elif sign in b"]}":
                depth -= 1
                if depth == 0:
                    return mark.end()
        scanned, size = len(held), min(size * 2, MAX_RECORD)
    return None


def _envelopes(reader: ByteReader, place: int) -> Iterator[Record | Unreadable]:
    """Envelopes one behind the other: a header without a type begins the next one.

    ``sent_at`` is left out, or the receiver would take what was sent long ago for a clock that is
    wrong; ``dsn`` is, because it names a key of another server.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        begins = reader.position
        line = reader.line(MAX_RECORD)
        if line and not line.strip():
            continue
        header = None if line is None else _value(line)
        if parts and (line == b"" or (header is not None and not _is_item(header))):
            place += 1
            yield _envelope(parts, size, place, begins)
            parts, size = [], 0
        if line == b"":
            return
        if header is None or (not parts and _is_item(header)):
            if not parts:
                place += 1
                yield Unreadable("no header of an envelope", place, reader.position)
            continue
        if not parts:
            kept = {key: value for key, value in header.items() if key not in _OF_OTHERS}
            parts.append(json.dumps(kept).encode() + b"\n")
            continue
        payload = _payload(reader, header)
        size += len(payload) + len(line or b"")
        if size <= MAX_RECORD:
            parts += [line or b"", payload]


def _envelope(parts: list[bytes], size: int, place: int, end: int) -> Record | Unreadable:
    if size > MAX_RECORD:
        return _too_long(place, end)
    return Record(Kind.ENVELOPE, b"".join(parts), place, end)


def _is_item(header: Mapping[str, Any]) -> bool:
    return isinstance(header.get("type"), str)


def _payload(reader: ByteReader, header: Mapping[str, Any]) -> bytes:
    """An item's payload with the line's end behind it."""
    length = header.get("length")
    if isinstance(length, int) and not isinstance(length, bool) and 0 <= length < MAX_RECORD:
        held = reader.peek(length + 1)
        if len(held) >= length and held[length:] in (b"\n", b""):
            return reader.take(length + 1)
    return reader.line(MAX_RECORD) or b"\n"


def _frames(reader: ByteReader, kind: Kind | None, place: int) -> Iterator[Record | Unreadable]:
    """Messages behind their length, four bytes, the highest first; each may be packed by itself."""
    while prefix := reader.peek(_PREFIX):
        place += 1
        length = int.from_bytes(prefix)
        reader.skip(_PREFIX)
        message = reader.take(min(length, MAX_RECORD))
        reader.skip(length - len(message))
        end = reader.position
        if length > MAX_RECORD:
            yield _too_long(place, end)
        elif len(prefix) < _PREFIX or len(message) < length:
            yield Unreadable("the file ends within it", place, end)
        else:
            try:
                if message.startswith(ZSTD_MAGIC):
                    message = unpack(message, ("zstd",), MAX_RECORD)
            except BodyError as error:
                yield Unreadable(error.detail, place, end)
                continue
            if kind in _PROTO:
                yield Record(kind, message, place, end)
            else:
                yield _document(message, kind, place, end)


def _document(text: bytes, kind: Kind | None, place: int, end: int) -> Record | Unreadable:
    try:
        said = read_json(text)
    except (PayloadError, BodyError) as error:
        return Unreadable(error.detail.replace("the body", "it"), place, end)
    return record_of(said, kind, place, end)


def _value(line: bytes) -> Mapping[str, Any] | None:
    try:
        said = read_json(line)
    except (PayloadError, BodyError):
        return None
    return said if isinstance(said, dict) else None


def _too_long(place: int, end: int) -> Unreadable:
    return Unreadable(f"it is longer than {MAX_RECORD} bytes", place, end)
