"""The program of one query worker: it answers tasks on snapshots until its server goes away.

Invariant: a worker reads and nothing else. It has no network, no other program, bounded memory, and
an alarm that ends it when a task takes longer than it was given, whatever the engine is doing at
that moment. It keeps nothing of a task but open snapshots.
Source: https://man7.org/linux/man-pages/man2/setitimer.2.html
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import signal
import socket
from pathlib import Path
from typing import IO, cast

from pyoxigraph import Store

from graph_api import catalog_page, query_operations, sandbox
from graph_api.query_messages import (
    BODY,
    INLINE_BYTES,
    LENGTH,
    MORE,
    READY,
    REFUSED,
    RETIRING,
    SPOOLED,
    Task,
    encode_reply,
)
from graph_api.query_operations import Refusal
from ontology.errors import StoreError
from ontology.store import open_snapshot

LOOK_EVERY = 16
"""Tasks after which a worker looks at its own size."""


BUFFER_BYTES = 64 * 1024


class Spool:
    """A binary file that stays in memory while it is short, and refuses to grow past a limit."""

    def __init__(self, path: str, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self.size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        if self.size > self._limit:
            raise Refusal("result-too-large", limit=self._limit)
        if self._file is not None:
            self._file.write(data)
            return len(data)
        self._pieces.append(data)
        if self.size > INLINE_BYTES:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = os.fdopen(descriptor, "wb")
            self._file.writelines(self._pieces)
            self._pieces.clear()
        return len(data)

    def flush(self) -> None:
        """Nothing waits here: the file is closed before anybody reads it."""

    def finish(self) -> bytes | None:
        """The bytes, or ``None`` when they are in the file."""
        if self._file is None:
            return b"".join(self._pieces)
        self._file.close()
        return None

    def discard(self) -> None:
        if self._file is not None:
            self._file.close()
            Path(self._path).unlink(missing_ok=True)


class Worker:
    """Answers tasks one after the other on one connection."""

    def __init__(self, connection: socket.socket, memory: int, spool: str) -> None:
        self._connection = connection
        self._memory = memory
        self._spool = spool
        self._stores: dict[str, Store] = {}
        self._base_data: int | None = None
        self._base_resident = 0
        self._answered = 0
        self._numbers = itertools.count()
        self._received = b""
        self._buffer = bytearray(BUFFER_BYTES)

    def run(self, holds: dict[str, bool]) -> None:
        """Answers until the connection ends or the worker grew too large to go on."""
        self._send(READY, "", json.dumps(holds).encode())
        while True:
            body = self._receive()
            if body is None or self._answer(Task.decode(body)):
                return

    def _answer(self, task: Task) -> bool:
        """Does one task; true when this worker should end afterwards."""
        spool = Spool(f"{self._spool}-{next(self._numbers)}", task.result_bytes)
        flags = 0
        signal.setitimer(signal.ITIMER_REAL, task.seconds)
        try:
            media_type, flags = self._do(task, cast(IO[bytes], spool))
            body = spool.finish()
            kind, note = BODY, media_type
            if body is None:
                kind, note, body = SPOOLED, f"{media_type}\n{spool.size}\n{spool._path}", b""
        except Refusal as refusal:
            kind, note, body = REFUSED, "", json.dumps(refusal.details).encode()
        except MemoryError:
            kind, note, body = REFUSED, "", b'{"kind": "memory"}'
        except (OSError, StoreError, RuntimeError, ValueError) as error:
            details = {"kind": "failed", "message": str(error), "disk": isinstance(error, OSError)}
            kind, note, body = REFUSED, "", json.dumps(details).encode()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if kind == REFUSED:
            spool.discard()
        # Only after a task that somebody waits for: a next one may follow an "open" at once.
        self._answered += task.operation not in ("open", "close")
        retiring = self._answered % LOOK_EVERY == 0 and self._grown()
        self._send(kind, note, body, flags | RETIRING if retiring else flags)
        return retiring

    def _do(self, task: Task, output: IO[bytes]) -> tuple[str, int]:
        """Does the task; gives the media type of what it wrote, and the flags of the answer."""
        if task.operation == "close":
            self._stores.pop(task.path, None)
            return "", 0
        store = self._open(task.path)
        if task.operation == "query":
            return query_operations.query(store, task, output), 0
        if task.operation == "dump":
            return query_operations.dump(store, task, output), 0
        if task.operation == "describe":
            more = query_operations.describe(store, task, output)
            return task.graph_type, MORE if more else 0
        if task.operation == "graphs":
            return query_operations.graphs(store, task, output), 0
        if task.operation == "catalog":
            return catalog_page.page(store, task, output), 0
        return "", 0

    def _open(self, path: str) -> Store:
        store = self._stores.get(path)
        if store is not None:
            return store
        before = sandbox.held()
        if self._base_data is not None:
            sandbox.limit_memory(self._base_data + 2 * self._memory)
        try:
            store = self._stores[path] = open_snapshot(Path(path))
        except StoreError as error:
            raise Refusal("snapshot", message=str(error)) from error
        after = sandbox.held()
        if before is not None and after is not None:
            # What an open snapshot takes is ours to pay; the limit is for what queries want.
            base = self._base_data
            self._base_data = after if base is None else base + max(0, after - before)
            self._base_resident = max(self._base_resident, sandbox.resident())
            sandbox.limit_memory(self._base_data + self._memory)
        return store

    def _grown(self) -> bool:
        """Whether so much memory stayed behind that a fresh process is better."""
        return bool(self._base_resident) and (
            sandbox.resident() > self._base_resident + self._memory // 2
        )

    def _receive(self) -> bytes | None:
        """The next message; what came with it is kept for the next call."""
        data = self._received
        while True:
            if len(data) >= LENGTH.size:
                end = LENGTH.size + LENGTH.unpack_from(data)[0]
                if len(data) >= end:
                    self._received = data[end:]
                    return data[LENGTH.size : end]
            count = self._connection.recv_into(self._buffer)
            if not count:
                return None
            data += self._buffer[:count]

    def _send(self, kind: int, note: str, body: bytes, flags: int = 0) -> None:
        self._connection.sendall(encode_reply(kind, note, body, flags))


def main(arguments: list[str]) -> None:
    """``arguments``: the descriptor of the connection, the bytes of memory that a query may take,
    and the beginning of the names of spool files."""
    descriptor, memory, spool = int(arguments[0]), int(arguments[1]), arguments[2]
    # The server decides when to end; a Ctrl-C meant for it must not end a worker first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    connection = socket.socket(fileno=descriptor)
    holds = sandbox.enter()
    gc.freeze()
    Worker(connection, memory, spool).run(holds)
