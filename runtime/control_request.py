"""One HTTP request to the executor URL of an asset: what is asked, and what came of it.

Invariant: a request goes to the executor URL and to no other, once; redirects are reported and not
followed. An answer names a status only when it was received; where the connection was lost after
something may have been sent, the outcome is unknown and never a success.
https://www.rfc-editor.org/rfc/rfc9110#section-9.2
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import Any
from urllib.parse import quote

from runtime.commands import Output, Sink
from runtime.errors import RequestRefused
from runtime.fitting import check_path
from runtime.permitted_actions import METHODS
from runtime.urls import ExecutorUrl

BODY_BYTES = 16 * 1024
"""A body is part of the order that a person decides on, and is kept with it."""

LONGEST_SECONDS = 600.0
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
_UNRESERVED = "/!$&'()*+,;=:@~-._%"
_LONGEST_TYPE = 100


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """``path`` is from the root of the executor URL. ``output_bytes`` of the answer are passed on,
    more is counted and digested as far as it is read. Raises :class:`RequestRefused`."""

    method: str
    path: str
    body: bytes = b""
    content_type: str = ""
    seconds: float = 60.0
    output_bytes: int = 1024 * 1024

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise RequestRefused(f"{self.method[:20]!r} is none of {', '.join(METHODS)}")
        check_path(self.path)
        if len(self.body) > BODY_BYTES:
            raise RequestRefused(f"a body has at most {BODY_BYTES} bytes")
        if self.body and self.method in _WITHOUT_BODY:
            raise RequestRefused(f"{self.method} has no body")
        kind = self.content_type
        if not (kind.isascii() and kind.isprintable() and len(kind) <= _LONGEST_TYPE):
            raise RequestRefused("the content type is not one")
        if not 0 < self.seconds <= LONGEST_SECONDS:
            raise RequestRefused(f"the time limit is more than 0 and at most {LONGEST_SECONDS:g} s")
        if self.output_bytes < 0:
            raise RequestRefused("the output limit is negative")

    def action(self) -> dict[str, Any]:
        """As it stands in an order; the body as text where it is."""
        body: dict[str, Any] = {}
        if self.body:
            try:
                body["body"] = self.body.decode()
            except UnicodeDecodeError:
                body["body_base64"] = base64.b64encode(self.body).decode()
            body["body_sha256"] = hashlib.sha256(self.body).hexdigest()
            body["content_type"] = self.content_type
        return {
            "kind": "request",
            "method": self.method,
            "path": self.path,
            **body,
            "seconds": self.seconds,
            "output_bytes": self.output_bytes,
        }

    @classmethod
    def of(cls, action: Mapping[str, Any]) -> ControlRequest:
        """The request of an order. Raises :class:`RequestRefused`."""
        try:
            body = str(action.get("body", "")).encode()
            if "body_base64" in action:
                body = base64.b64decode(str(action["body_base64"]), validate=True)
            return cls(
                str(action["method"]),
                str(action["path"]),
                body,
                str(action.get("content_type", "")),
                float(action["seconds"]),
                int(action["output_bytes"]),
            )
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise RequestRefused("the order is not of a request that this version sends") from error


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request. ``outcome`` is a word of :mod:`runtime.run_words`; ``location`` is
    where a redirect, which was not followed, leads."""

    outcome: str
    started: datetime
    ended: datetime
    status: int | None = None
    content_type: str = ""
    location: str = ""
    body: Output | None = None
    reason: str = ""


Send = Callable[[ExecutorUrl, ControlRequest, Sink, Event], Reply]
"""Sends a request once. The sink hears the body as ``stdout``."""


def path_as_sent(path: str) -> str:
    """A path that was checked, in the characters that a request line has."""
    return quote(path, safe=_UNRESERVED)
