"""Answers the usual query on the connection it came by, past the framework and without a task.

Invariant: what is answered here is what the endpoint would have answered. Only a whole GET of
``/sparql?query=`` and nothing else, by a known caller, with header fields that say nothing unusual,
that need not wait for anything but a worker, is answered here; every other byte goes to uvicorn's
own protocol and through ASGI. Why: parsing the same header fields again and again, a task with its
wake-ups and the messages of ASGI take longer than a short query does (``docs/performance.md``).
Specification: https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

import httptools
from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from graph_api.problems import Problem
from graph_api.query_answer import Answer, send_answer
from graph_api.query_service import WATCH_AFTER, ClientGone, Started
from graph_api.sparql import PATH, SparqlEndpoint

MOST_REMEMBERED = 512
LONGEST_FIELDS = 2048
"""Bytes of header fields that are worth remembering."""

_START = f"GET {PATH}?query=".encode()
_END = b" HTTP/1.1\r\n"
_VALUE = re.compile(rb"[!$%'()*+,\-./0-9:;=?@A-Z_a-z~]+")
"""One query parameter as any client encodes it; other characters are for the parser to judge."""
_UNUSUAL = frozenset(
    {b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"if-none-match", b"range"}
)


@dataclass(frozen=True, slots=True)
class Fields:
    """What the header fields of a request say that counts here."""

    authorization: str
    accept: str | None


def query_protocol(endpoint: SparqlEndpoint) -> type[HttpToolsProtocol]:
    """uvicorn's HTTP protocol with a short way to this endpoint."""
    service = endpoint.service

    class QueryProtocol(HttpToolsProtocol):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._started: Started | None = None
            self._sending: asyncio.Task[None] | None = None
            self._next = b""
            self._last = False
            self._whole = True

        @property
        def _between(self) -> bool:
            """Whether a request begins here: bytes after an early answer may be a body's."""
            return self._whole and getattr(self.cycle, "response_complete", True)

        def on_message_begin(self) -> None:
            self._whole = False
            super().on_message_begin()

        def on_message_complete(self) -> None:
            self._whole = True
            super().on_message_complete()

        def data_received(self, data: bytes) -> None:
            if self._busy:
                # The next request already: it waits for the answer to this one.
                self._next += data
                self.flow.pause_reading()
                return
            started = None
            if data.startswith(_START) and self._between:
                started = _start(endpoint, data)
            if started is None:
                super().data_received(data)
                return
            self._unset_keepalive_if_required()
            self._started = started
            started.job.future.add_done_callback(self._done)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._next = b""
            if self._started is not None:
                # Most are done by then; to end one takes a worker with it.
                self.loop.call_later(WATCH_AFTER, service.abandon, self._started)

        def shutdown(self) -> None:
            if self._busy:
                self._last = True
            else:
                super().shutdown()

        @property
        def _busy(self) -> bool:
            return self._started is not None or self._sending is not None

        def _done(self, _: object) -> None:
            started, self._started = self._started, None
            assert started is not None
            try:
                answer = service.finish(started)
                if self.transport.is_closing():
                    answer.discard()
                    return
            except Problem as problem:
                response = problem.response()
                self._write(response.status_code, response.raw_headers, bytes(response.body))
            except ClientGone:
                self.transport.close()
            else:
                if answer.spool is None:
                    assert answer.body is not None
                    self._write(200, answer.headers(), answer.body)
                else:
                    self._sending = self.loop.create_task(self._send(answer))
                    self.tasks.add(self._sending)
                    self._sending.add_done_callback(self.tasks.discard)

        def _write(
            self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes | None
        ) -> None:
            """Writes an answer, or with ``body=None`` the head of one."""
            content = [STATUS_LINE[status]]
            for name, value in (*self.server_state.default_headers, *headers):
                content += (name, b": ", value, b"\r\n")
            content += (b"\r\n", body or b"")
            self.transport.write(b"".join(content))
            if body is not None:
                self._over()

        async def _send(self, answer: Answer) -> None:
            async def send(message: Message) -> None:
                if self.transport.is_closing():
                    raise ClientGone
                if message["type"] == "http.response.start":
                    self._write(message["status"], message["headers"], None)
                    return
                self.transport.write(message["body"])
                if self.flow.write_paused:
                    await self.flow.drain()

            try:
                await send_answer(answer, {"method": "GET"}, send)
            except (ClientGone, OSError):
                # What was sent says how long it should have been.
                self.transport.close()
            self._sending = None
            self._over()

        def _over(self) -> None:
            """As :meth:`on_response_complete`, for an answer of ours."""
            self.server_state.total_requests += 1
            if self.transport.is_closing():
                return
            if self._last:
                self.transport.close()
            elif self._next:
                data, self._next = self._next, b""
                self.flow.resume_reading()
                self.data_received(data)
            else:
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )

    return QueryProtocol


def _start(endpoint: SparqlEndpoint, data: bytes) -> Started | None:
    """The query in a request, on its way; ``None`` where it has to go the usual way."""
    end = data.find(_END)
    if end < 0 or len(data) - end > LONGEST_FIELDS:
        return None
    fields = _fields(data[end + len(_END) :])
    value = data[len(_START) : end]
    if fields is None or _VALUE.fullmatch(value) is None:
        return None
    try:
        query = unquote_to_bytes(value.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        return None
    return endpoint.start(query, fields.authorization, fields.accept)


class _Collector:
    """Takes what the parser finds in one request."""

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.complete = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.setdefault(name.lower(), value)

    def on_message_complete(self) -> None:
        self.complete += 1


@lru_cache(maxsize=MOST_REMEMBERED)
def _fields(block: bytes) -> Fields | None:
    """The header fields in a block that ends a request; ``None`` where they are unusual. Clients
    send the same block with each request."""
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(b"GET / HTTP/1.1\r\n" + block)
    except httptools.HttpParserError:
        return None
    found = collector.fields
    lasting = found.get(b"connection", b"keep-alive").lower() == b"keep-alive"
    if collector.complete != 1 or not lasting or _UNUSUAL & found.keys():
        return None
    accept = found.get(b"accept")
    return Fields(
        found.get(b"authorization", b"").decode("latin-1"),
        None if accept is None else accept.decode("latin-1"),
    )
