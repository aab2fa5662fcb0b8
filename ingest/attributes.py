"""Attributes as every source keeps them: text, bounded in number and length, without credentials.

Invariant: what leaves here can be stored and shown whatever a sender put in: no control characters,
no lone surrogates, no more than so many attributes of so many characters, each cut marked as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

MAX_ATTRIBUTES = 128
MAX_KEY = 256
MAX_VALUE = 8_192
MAX_NAME = 512
UNLIMITED = 1 << 30

DROPPED = "fractalops.dropped_attributes"
REDACTED = "[redacted]"

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_HEXADECIMAL = re.compile("[0-9a-f]+")
# To the last sign, because a password may hold one.
_USERINFO = re.compile(r"""(?<=://)[^/?#\s"'<>]*@""")
# Headers that carry credentials, as captured by instrumentation (http.request.header.<name>).
_SECRET_HEADER = re.compile(
    r"(?:^|\.)header\.(?:(?:proxy[-_])?authorization|(?:set[-_])?cookie|x[-_]api[-_]key)$"
)
# A command line may carry passwords, and says nothing about architecture.
_LEFT_OUT = frozenset({"process.command", "process.command_args", "process.command_line"})


def bounded(
    pairs: Iterable[tuple[str, str]],
    room: int = UNLIMITED,
    *,
    redact: Callable[[str], str] | None = None,
) -> dict[str, str]:
    """The attributes that are kept of these keys and values.

    ``room`` is how many characters keys and values may have together; what is over is dropped.
    ``redact`` gets each value once it is bounded, and gives what may be kept of it.
    """
    return gathered((kept(key, value, redact) for key, value in pairs), room)


def kept(key: str, value: str, redact: Callable[[str], str] | None = None) -> tuple[str, str]:
    """One attribute as it is kept, as :func:`bounded` says; the key is empty if it is not."""
    # What the cache holds is no longer than this.
    key, secret = _key(key if len(key) <= MAX_KEY else text(key, MAX_KEY))
    if not key:
        return "", ""
    if secret:
        value = REDACTED
    value = without_userinfo(value)
    if len(value) > MAX_VALUE or not value.isprintable():
        value = text(value, MAX_VALUE)
    return key, value if redact is None else redact(value)


def gathered(pairs: Iterable[tuple[str, str]], room: int = UNLIMITED) -> dict[str, str]:
    """Attributes of which each is :func:`kept`, as many as there may be."""
    found: dict[str, str] = {}
    dropped = 0
    for key, value in pairs:
        if not key:
            continue
        if len(found) >= MAX_ATTRIBUTES and key not in found:
            dropped += 1
            continue
        room -= len(key) + len(value)
        if room < 0:
            dropped += 1
            continue
        found[key] = value
    if dropped:
        found[DROPPED] = str(dropped)
    return found


def text(value: str, limit: int) -> str:
    """A value that every later stage can carry: no control characters, bounded, marked if cut."""
    if len(value) > limit:
        value = f"{value[:limit]}[truncated, {len(value)} characters]"
    return value if value.isprintable() else _UNPRINTABLE.sub("\ufffd", value)


def without_userinfo(value: str) -> str:
    """A text without the user names and passwords in its URLs."""
    return _USERINFO.sub("", value) if "://" in value else value


def first(attributes: Mapping[str, str], keys: tuple[str, ...]) -> str:
    """The value of the first of these attributes that has one, as long as a name may be."""
    for key in keys:
        value = attributes.get(key)
        if value:
            return text(value, MAX_NAME)
    return ""


def identifier(value: object, digits: int) -> str:
    """A trace or span id as spans have it; empty for anything else, which would join strangers."""
    found = value.lower() if isinstance(value, str) and len(value) == digits else ""
    return found if _HEXADECIMAL.fullmatch(found) and found.strip("0") else ""


@lru_cache(maxsize=4096)
def _key(raw: str) -> tuple[str, bool]:
    """A key as it is kept, empty if it is not; and whether its value is a credential."""
    key = raw if raw.isprintable() else _UNPRINTABLE.sub("\ufffd", raw)
    return "" if key in _LEFT_OUT else key, _SECRET_HEADER.search(key) is not None
