"""A real server that misbehaves as it is told, for the tests of the client."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Handle = Callable[["Handler"], None]


@dataclass(frozen=True)
class Asked:
    """A request as it arrived; names of headers in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Misbehaving:
    """``handle`` answers; ``asked`` is what came, ``ending`` is set when the test is over."""

    port: int = 0
    handle: Handle = lambda handler: handler.reply(200)
    asked: list[Asked] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Handler(BaseHTTPRequestHandler):
    """One request; see :class:`Misbehaving`."""

    protocol_version = "HTTP/1.1"
    mine: Misbehaving

    def setup(self) -> None:
        super().setup()
        # The last words of one that is cut off are told to nobody.
        self.connection.settimeout(30)

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.mine.asked.append(Asked(self.command, self.path, headers, body))
        with contextlib.suppress(ConnectionError):
            self.mine.handle(self)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _any

    def handle(self) -> None:
        # Who doesn't trust the certificate leaves in the middle of it.
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(ssl.SSLError, OSError):
            super().finish()

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def hang(self) -> None:
        self.mine.ending.wait(30)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def misbehaving(secure: ssl.SSLContext | None = None) -> Iterator[Misbehaving]:
    """A server on a port that the system picked."""
    mine = Misbehaving()
    handler = type("Bound", (Handler,), {"mine": mine})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if secure is not None:
        server.socket = secure.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    mine.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield mine
    finally:
        mine.ending.set()
        server.shutdown()
        thread.join()
        server.server_close()
