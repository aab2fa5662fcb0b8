"""What is asked over HTTP, and what is answered.

Invariant: a request is whole and checked before anything is sent, and neither its headers nor its
body nor its query are part of a ``repr``: they hold what is secret.
Specification: https://www.rfc-editor.org/rfc/rfc9110
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from runtime.errors import HttpRefused
from runtime.http_addresses import PeerUrl, Target
from runtime.http_trace import Trace

MEBIBYTE: Final = 1024 * 1024

Value = str | int | float | bool | None
Query = Mapping[str, Value | Sequence[Value]]

_METHOD = re.compile(r"[A-Z]{1,20}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
_KEY = re.compile(r"[!#-\[\]-~]{1,200}", re.ASCII)
_CONTROLS = re.compile(r"[\x00-\x20\x7f\\]")
_DOTS = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE)
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
# These say how the connection is used, which is not for whoever asks.
_OF_CONNECTION: Final = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "transfer-encoding"}
    | {"trailer", "upgrade", "accept-encoding", "proxy-authorization", "proxy-connection"}
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes of one request. ``connect`` for a connection, ``quiet`` without a sign of
    life, ``total`` for all of it with its repetitions (``None``: as long as signs of life come);
    ``answer`` is the largest body, unpacked (``None``: whoever streams it decides)."""

    connect: float = 5.0
    quiet: float | None = 30.0
    total: float | None = 60.0
    answer: int | None = 16 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to a target. ``path`` is added to the target's own, ``query`` is names and values,
    or text as it is to be sent. With ``idempotency_key`` it may be repeated whatever its method is,
    and says so. Up to ``redirects`` are followed, of GET and HEAD, where the rules let it: to an
    executor none. ``limits`` are the client's own where it names none; ``trace`` is what the
    request is a part of."""

    method: str
    target: Target
    path: str = ""
    query: Query | str = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes = field(default=b"", repr=False)
    idempotency_key: str = field(default="", repr=False)
    redirects: int = 0
    limits: Limits | None = None
    trace: Trace | None = field(default=None, repr=False)

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent twice."""
        return self.method in _IDEMPOTENT or bool(self.idempotency_key)

    def url(self) -> httpx.URL:
        """The whole address. Raises :class:`HttpRefused`."""
        if not _METHOD.fullmatch(self.method):
            raise HttpRefused("the method is a word in capital letters")
        if self.path and not self.path.startswith("/"):
            raise HttpRefused("the path begins with a slash")
        if _CONTROLS.search(self.path) or "?" in self.path or "#" in self.path:
            raise HttpRefused(
                "the path has a space, a backslash, a control character, '?' or '#': encode it"
            )
        self._check_segments()
        text = self.query if isinstance(self.query, str) else _written(self.query)
        whole = self.target.address.rstrip("/") + self.path if self.path else self.target.address
        try:
            return httpx.URL(f"{whole}?{text}" if text else whole)
        except (httpx.InvalidURL, ValueError) as error:
            raise HttpRefused("the address and the path make no URL") from error

    def _check_segments(self) -> None:
        for segment in self.path.split("/"):
            if segment in (".", ".."):
                raise HttpRefused("the path has a segment of dots")
            if self.target.kind != PeerUrl.kind and _DOTS.fullmatch(segment):
                raise HttpRefused("the path has a segment of encoded dots")

    def fields(self) -> dict[str, str]:
        """The headers that it is sent with on behalf of whoever asks, names in lower case. Raises
        :class:`HttpRefused`."""
        found: dict[str, str] = {}
        for name, value in self.headers.items():
            if not _NAME.fullmatch(name) or any(c in value for c in "\r\n\x00"):
                raise HttpRefused("a header has a name or a value that no header can have")
            if not value.isascii():
                raise HttpRefused(f"the header {name} has characters other than those of ASCII")
            if name.lower() not in _OF_CONNECTION:
                found[name.lower()] = value
        if self.idempotency_key:
            if not _KEY.fullmatch(self.idempotency_key):
                raise HttpRefused("an idempotency key is at most 200 printable characters")
            found["idempotency-key"] = f'"{self.idempotency_key}"'
        return found


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, read to its end and unpacked. ``headers`` find a name in any case;
    ``origin`` is the scheme, host and port that answered; ``method`` what was asked."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    reason: str = ""
    method: str = ""
    origin: str = ""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as UTF-8; what isn't is replaced."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. Raises :class:`ValueError`."""
        try:
            return json.loads(self.content)
        except RecursionError:
            raise ValueError("JSON that is nested too deeply") from None


def _written(query: Query) -> str:
    return str(httpx.QueryParams({name: _values(value) for name, value in query.items()}))


def _values(value: Value | Sequence[Value]) -> Any:
    return value if isinstance(value, str | int | float) or value is None else list(value)
