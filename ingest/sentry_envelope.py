"""What a request of a Sentry client holds: an envelope, or one event on its own.

Invariant: `parse` is a function of the bytes and of the noted type; it raises nothing but
`PayloadError` and `BodyError`. Of an envelope whose header can be read, an item that can't be never
takes its neighbours with it: a length that does not end at a line's end is taken for wrong, and the
item for as long as its line.

An envelope is lines: a header, and for each item a header and a payload of as many bytes as the
header says, or up to the line's end where it says nothing, as browsers' clients do.
Source: https://develop.sentry.dev/sdk/foundations/transport/envelopes/
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from ingest.bodies import MAX_BODY, unpack
from ingest.bounded_json import MAX_DEPTH, read_json, turn
from ingest.errors import BodyError, BodyTooLarge, PayloadError, PayloadUndecodable
from ingest.posthog_request import instant, object_of, text_of

ENVELOPE: Final = "application/x-sentry-envelope"
EVENT: Final = "application/json"

MAX_ITEMS = 100_000
_MAX_ITEM_HEADER = 16 * 1024
_MAX_KEY_LENGTH = 200

UNREADABLE: Final = ""
"""The type of what stands where an item's header should."""

# Their payload need not be JSON, so that a line's end in it says nothing.
_BINARY = frozenset({"attachment", "replay_recording", "replay_video", "profile", "profile_chunk"})
# What a payload says of itself and the header of an item never does.
_OF_PAYLOADS = ("event_id", "timestamp", "start_timestamp", "items", "sid")


@dataclass(frozen=True)
class Item:
    """One item as it came; ``type`` is :data:`UNREADABLE` for bytes without a header."""

    type: str
    payload: bytes


@dataclass(frozen=True)
class Envelope:
    """``sent_at`` in nanoseconds since 1970-01-01 UTC by the sender's clock; ``key`` is the public
    key of the DSN that the header names. Both may be missing, as may the event's id."""

    event_id: str
    key: str
    sent_at: int | None
    items: tuple[Item, ...]


class _Budget:
    """Bytes that may be looked at a second time: else a body of wrong lengths took its square."""

    def __init__(self, size: int) -> None:
        self._left = size

    def covers(self, size: int) -> bool:
        self._left -= size
        return self._left >= 0


def parse(payload: bytes, content_type: str) -> Envelope:
    """What a body of this type, :data:`ENVELOPE` or :data:`EVENT`, holds.

    Raises :class:`PayloadUndecodable` for what is neither, and :class:`BodyTooLarge` for more than
    :data:`MAX_ITEMS` items.
    """
    with turn(len(payload)):
        return _event(payload) if content_type == EVENT else _envelope(payload)


def dsn_key(dsn: str) -> str:
    """The public key of a DSN; empty where there is none."""
    try:
        return (urlsplit(dsn).username or "")[:_MAX_KEY_LENGTH]
    except ValueError:
        return ""


def _envelope(payload: bytes) -> Envelope:
    line, _, rest = payload.partition(b"\n")
    header = _object(line)
    if header is None:
        raise PayloadUndecodable(
            "the first line of the body is not the header of an envelope, a JSON object; send the"
            " client's bytes unchanged"
        )
    items = tuple(_items(rest))
    key = dsn_key(text_of(header, "dsn"))
    return Envelope(text_of(header, "event_id"), key, instant(header.get("sent_at")), items)


def _items(rest: bytes) -> Iterator[Item]:
    position = number = 0
    lost = False
    budget = _Budget(len(rest) * 2)
    while position < len(rest):
        line, end = _line(rest, position)
        if not line.strip():
            position = end
            continue
        header = _header(line)
        if header is not None:
            payload, position = _payload(rest, end, header, budget)
            item, lost = Item(header["type"], payload), False
        elif lost:
            # However many lines that is, it counts once.
            position = end
            continue
        else:
            item, lost, position = Item(UNREADABLE, b""), True, end
        number += 1
        if number > MAX_ITEMS:
            raise BodyTooLarge(
                f"one envelope may carry {MAX_ITEMS} items; split it into smaller requests"
            )
        yield item


def _header(line: bytes) -> Mapping[str, Any] | None:
    if len(line) > _MAX_ITEM_HEADER:
        return None
    header = _object(line)
    if header is None or not isinstance(header.get("type"), str) or not header["type"]:
        return None
    return None if any(name in header for name in _OF_PAYLOADS) else header


def _payload(
    rest: bytes, start: int, header: Mapping[str, Any], budget: _Budget
) -> tuple[bytes, int]:
    """An item's payload, and where the next one's header begins."""
    length = header.get("length")
    if isinstance(length, int) and not isinstance(length, bool) and length >= 0:
        end = start + length
        ends_line = end <= len(rest) and rest[end : end + 1] in (b"\n", b"")
        if ends_line and (
            header["type"] in _BINARY
            or rest.find(b"\n", start, end) < 0
            or (budget.covers(length) and _is_document(rest[start:end]))
        ):
            return rest[start:end], end + 1
    return _line(rest, start)


def _line(rest: bytes, start: int) -> tuple[bytes, int]:
    end = rest.find(b"\n", start)
    end = len(rest) if end < 0 else end
    return rest[start:end], end + 1


def _object(line: bytes) -> Mapping[str, Any] | None:
    if not line.lstrip(b"\xef\xbb\xbf \t\r").startswith(b"{"):
        return None
    try:
        document = read_json(line)
    except (PayloadError, BodyError):
        return None
    return document if isinstance(document, dict) else None


def _is_document(payload: bytes) -> bool:
    """Whether several lines are one JSON value, and none that stands behind an empty payload."""
    if not payload.partition(b"\n")[0].strip():
        return False
    try:
        read_json(payload)
    except (PayloadError, BodyError):
        return False
    return True


def _event(payload: bytes) -> Envelope:
    """One event as JSON, or as old clients pack it, with zlib and in base64."""
    if not payload.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        try:
            payload = unpack(base64.b64decode(payload, validate=True), ("deflate",), MAX_BODY)
        except binascii.Error as error:
            raise _no_event() from error
    try:
        document = read_json(payload)
    except PayloadUndecodable as error:
        raise _no_event() from error
    if not isinstance(document, dict):
        raise _no_event()
    kind = "transaction" if document.get("type") == "transaction" else "event"
    return Envelope(text_of(object_of(document), "event_id"), "", None, (Item(kind, payload),))


def _no_event() -> PayloadUndecodable:
    return PayloadUndecodable(
        "the body is not an event: a JSON object, plain or packed with zlib and in base64, at most"
        f" {MAX_DEPTH} levels deep; send the client's bytes unchanged"
    )
