"""Reads JSON that strangers sent, in bounded depth and size.

Invariant: what reading takes of memory is bounded by the limits here, whatever the bytes are, and
nothing is raised but `PayloadUndecodable` and `BodyTooLarge`.
Source: https://www.rfc-editor.org/rfc/rfc8259
"""

from __future__ import annotations

import json
import re
import threading
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate
from typing import Any

from ingest.errors import BodyTooLarge, PayloadUndecodable

# Half of what Python's own reader takes, which depends on who calls it; this does not.
MAX_DEPTH = 400
# A JSON value of two bytes takes seventy of memory.
MAX_VALUES = 2_000_000
_MAX_INTEGER_DIGITS = 400

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in _STEPS)

LARGE = 256 * 1024
"""Bytes from which on one payload is parsed at a time, however many senders there are."""
_one_large_parse = threading.Lock()


def turn(size: int) -> AbstractContextManager[object]:
    """Held while a payload of so many bytes is parsed; large ones wait for each other."""
    return _one_large_parse if size > LARGE else nullcontext()


def read_json(payload: bytes) -> Any:
    """The JSON value in a payload; what is not UTF-8 in it reads as U+FFFD.

    Raises :class:`PayloadUndecodable` for what is no JSON or nested deeper than :data:`MAX_DEPTH`,
    and :class:`BodyTooLarge` for more than :data:`MAX_VALUES` values.
    """
    if sum(map(payload.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise BodyTooLarge(
            f"one request may carry {MAX_VALUES} JSON values; split it into smaller requests"
        )
    if _depth(payload) > MAX_DEPTH:
        raise PayloadUndecodable(f"the JSON is nested more than {MAX_DEPTH} levels deep")
    try:
        return json.loads(payload.decode("utf-8-sig", "replace"), parse_int=_integer)
    except ValueError as error:
        raise PayloadUndecodable("the body is not JSON") from error


def _depth(payload: bytes) -> int:
    """How deep lists and objects are nested."""
    brackets = _STRING.sub(b"", payload).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def _integer(digits: str) -> int | str:
    """A whole number; one of very many digits stays text, since Python refuses to read it."""
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else digits
