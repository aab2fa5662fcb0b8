"""The answer to a reading, and how it is sent.

Invariant: an answer is whole before its status line is sent, so that nothing that starts with 200
is ever cut short.
Specification: https://www.rfc-editor.org/rfc/rfc9110
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.types import Scope, Send

_CHUNK = 256 * 1024
_WITH_CHARSET = frozenset(
    {"text/csv", "text/tab-separated-values", "text/turtle", "text/n3", "application/n-triples"}
)
HEAD_HEADER = b"fractalops-head"


@dataclass(slots=True)
class Answer:
    """A complete answer: bytes, or a spool file with its size. ``body`` is ``None`` for a 304."""

    head: int
    etag: str | None
    media_type: str = ""
    body: bytes | None = None
    spool: Path | None = None
    size: int = 0
    more: bool = False

    def headers(self) -> list[tuple[bytes, bytes]]:
        headers = [
            (HEAD_HEADER, b"%d" % self.head),
            (b"vary", b"Accept, Authorization"),
            (b"cache-control", b"private, no-cache"),
        ]
        if self.etag is not None:
            headers.append((b"etag", self.etag.encode()))
        if self.body is not None:
            headers.append((b"content-type", _content_type(self.media_type)))
            headers.append((b"content-length", b"%d" % self.size))
        return headers

    def read(self) -> bytes:
        """The bytes, for a caller that makes something else of them."""
        if self.spool is None:
            return self.body or b""
        data = self.spool.read_bytes()
        self.spool.unlink()
        return data

    def discard(self) -> None:
        """Removes what nobody will be sent."""
        if self.spool is not None:
            self.spool.unlink(missing_ok=True)


async def send_answer(
    answer: Answer, scope: Scope, send: Send, extra: Mapping[str, str] | None = None
) -> None:
    """Sends a complete answer, or a 304 for one without a body; ``extra`` adds headers."""
    headers = answer.headers()
    for name, value in (extra or {}).items():
        headers.append((name.lower().encode(), value.encode()))
    if answer.body is None:
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    if answer.spool is not None:
        await _send_spool(answer.spool, start, scope["method"] == "HEAD", send)
        return
    await send(start)
    body = b"" if scope["method"] == "HEAD" else answer.body
    await send({"type": "http.response.body", "body": body})


async def _send_spool(path: Path, start: dict[str, object], head_only: bool, send: Send) -> None:
    with path.open("rb") as spool:
        # Gone from the folder already: it lives as long as it is being sent.
        path.unlink()
        await send(start)
        while not head_only and (chunk := spool.read(_CHUNK)):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _content_type(media_type: str) -> bytes:
    if media_type in _WITH_CHARSET:
        return f"{media_type}; charset=utf-8".encode()
    return media_type.encode()
