"""What a request of a PostHog client holds, whichever client and whichever endpoint.

Invariant: `parse` is a function of the bytes; what it takes of memory is bounded, and it raises
nothing but `PayloadError`.

One body holds one event, a list of them, or an object with ``batch``; a webhook's call holds one
event as ``event`` beside the person, who stays outside. Old clients send any of these
as a form's ``data`` field, plain or in base64. Clients name content types that don't fit, so only
the bytes are looked at.
Source: https://posthog.com/docs/api/capture
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from ingest.bounded_json import MAX_DEPTH, read_json, turn
from ingest.errors import BodyTooLarge, PayloadUndecodable

MAX_ITEMS = 100_000
_MAX_KEY_LENGTH = 200
_MAX_FIELDS = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_NAMED_KEY = re.compile(rb'"(?:api_key|token)"\s*+:\s*+"([\w-]{1,200})"')
_MAX_KEYS = 256


@dataclass(frozen=True)
class Request:
    """What a body holds: ``items`` as they came, ``sent_at`` in nanoseconds since 1970-01-01 UTC
    by the sender's clock, and the project's key where the body names it (else empty)."""

    items: tuple[Any, ...]
    key: str
    sent_at: int | None


def parse(payload: bytes) -> Request:
    """The request in a body.

    Raises :class:`PayloadUndecodable` for what is no request or names more than one key, and
    :class:`BodyTooLarge` for more than :data:`MAX_ITEMS` events or more values than
    :func:`read_json` takes.
    """
    with turn(len(payload)):
        document = _document(payload)
    if isinstance(document, dict) and isinstance(document.get("batch"), list):
        items = tuple(document["batch"])
    elif isinstance(document, list):
        items, document = tuple(document), {}
    elif isinstance(document, dict) and isinstance(document.get("event"), dict):
        items = (_called(document["event"]),)
    elif isinstance(document, dict):
        items = (document,)
    else:
        raise PayloadUndecodable("the body is neither an event nor a list or batch of events")
    if len(items) > MAX_ITEMS:
        raise BodyTooLarge(
            f"one request may carry {MAX_ITEMS} events; split it into smaller requests"
        )
    return Request(items, _key(document, items), instant(document.get("sent_at")))


def keys_named(payload: bytes) -> list[str]:
    """What may be the project's key in a body that is not parsed, which takes little time."""
    found: dict[str, None] = {}
    for match in _NAMED_KEY.finditer(_plain(payload)):
        found[match[1].decode("ascii", "replace")] = None
        if len(found) == _MAX_KEYS:
            break
    return list(found)


def instant(value: Any) -> int | None:
    """Nanoseconds since 1970-01-01 UTC of an ISO 8601 text, or of a number of milliseconds."""
    if isinstance(value, str) and len(value) <= 64:
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**53:
        return int(value * 10**6)
    return None


def text_of(holder: Mapping[str, Any], *keys: str) -> str:
    """The first of these members that is a text, or a whole number as text."""
    for key in keys:
        value = holder.get(key)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return ""


def object_of(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _key(document: Mapping[str, Any], items: tuple[Any, ...]) -> str:
    """The project's key: the body's own; else the one that its events agree on."""
    found = _short(document, "api_key", "token")
    if found:
        return found
    named = set()
    for item in items:
        if isinstance(item, dict):
            properties = object_of(item.get("properties"))
            named.add(_short(item, "api_key", "token") or _short(properties, "token", "api_key"))
    named.discard("")
    if len(named) > 1:
        raise PayloadUndecodable("the events name different keys; send one request for each key")
    return named.pop() if named else ""


def _called(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event of a webhook's call, whose key is that of a project in PostHog."""
    properties = dict(object_of(event.get("properties")))
    for name in ("token", "api_key"):
        properties.pop(name, None)
    return {**event, "properties": properties}


def _short(holder: Mapping[str, Any], *keys: str) -> str:
    found = text_of(holder, *keys)
    return found if len(found) <= _MAX_KEY_LENGTH else ""


def _document(payload: bytes) -> Any:
    plain = _plain(payload)
    try:
        return read_json(plain)
    except PayloadUndecodable as error:
        raise _undecodable() from error


def _plain(payload: bytes) -> bytes:
    """The JSON of a body, taken out of its form where it is in one."""
    start = payload[:64].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    try:
        return payload if start in (b"{", b"[", b"") else _form_data(payload)
    except ValueError as error:
        raise _undecodable() from error


def _undecodable() -> PayloadUndecodable:
    return PayloadUndecodable(
        "the body is not JSON, nor a form whose field `data` holds JSON, plain or in base64,"
        f" at most {MAX_DEPTH} levels deep; send the client's bytes unchanged"
    )


def _form_data(payload: bytes) -> bytes:
    fields = parse_qs(payload.decode("ascii"), strict_parsing=True, max_num_fields=_MAX_FIELDS)
    data = fields.get("data", [""])[0]
    if data[:1] in ("{", "["):
        return data.encode(errors="replace")
    try:
        # A plus that was not escaped came out of the form as a space.
        return base64.b64decode(data.replace(" ", "+"), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
