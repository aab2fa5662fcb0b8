"""A ClickHouse server for tests: its HTTP interface, answered by the embedded engine.

Not a mock: every statement and every block that a client sends is run by the real engine. It can be
told to refuse and to hang up. A program of its own, for one process has one engine; it takes orders
on stdin.
Source: https://clickhouse.com/docs/interfaces/http
"""

from __future__ import annotations

import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import chdb

_FORMAT = re.compile(r"\s*\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_INSERT = re.compile(r"(INSERT INTO .*?)\s+FORMAT\s+(\w+)\s*", re.DOTALL | re.IGNORECASE)


class Server(ThreadingHTTPServer):
    """``mode`` is ``serve``, ``refuse`` (503) or ``hang-up`` (after the statement was run)."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.connection = chdb.connect(str(folder))  # type: ignore[no-untyped-call]
        self.lock = threading.Lock()
        self.mode = "serve"

    def run(self, sql: str, form: str) -> bytes:
        with self.lock:
            return bytes(self.connection.query(sql, form).bytes())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._answer(200, b"Ok.\n")

    def do_POST(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        body = self._body()
        if self.server.mode == "refuse":
            self._answer(503, b"Code: 210. DB::Exception: refused. (NETWORK_ERROR)")
            return
        try:
            answer = self._run(asked.get("query", [""])[0], body)
        except RuntimeError as error:
            self._answer(500, str(error).encode(), {"X-ClickHouse-Exception-Code": "1"})
            return
        if self.server.mode == "hang-up":
            self.close_connection = True
            return
        self._answer(200, answer)

    def _run(self, query: str, body: bytes) -> bytes:
        insert = _INSERT.match(query) or _INSERT.match(body[:4096].decode("utf-8", "replace"))
        if insert:
            block = body if query else body[len(insert[0].encode()) :]
            with tempfile.NamedTemporaryFile() as file:
                file.write(block)
                file.flush()
                into = f"{insert[1]} FROM INFILE '{file.name}' FORMAT {insert[2]}"
                return self.server.run(into, "Native")
        sql = query or body.decode()
        form = _FORMAT.search(sql)
        return self.server.run(_FORMAT.sub("", sql), form[1] if form else "TabSeparated")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "X-ClickHouse-Timezone": "UTC"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet: its output is a protocol."""


def main() -> None:
    server = Server(Path(sys.argv[1]), int(sys.argv[2]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        server.mode = line.strip()
        sys.stdout.write("done\n")
        sys.stdout.flush()
    server.shutdown()
    server.connection.close()


if __name__ == "__main__":
    main()
