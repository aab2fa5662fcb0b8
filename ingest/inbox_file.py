"""The one SQLite file that queue, evidence and outbox share, and the one thread that writes it.

Invariant: whatever is written in one job is in one commit, and whoever is told that it is written
finds it after a crash; jobs run one after the other, in the order they were handed in. Readers see
commits only, and never wait for the writer.
Source: https://www.sqlite.org/pragma.html#pragma_synchronous
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from ingest.errors import InboxError, InboxUnusable
from ingest.group_commit import GroupCommit, end_process
from ingest.inbox_schema import CHECKED_AT_START, prepare

T = TypeVar("T")


class InboxFile:
    """Reads and writes one file. Safe to use from any thread.

    ``fatal`` is called when it is unknown what reached the disk and must not return in production;
    ``connect`` makes a connection that is used in one thread at a time.
    Raises :class:`InboxUnusable` for a file that is damaged, foreign or of a newer version.
    """

    def __init__(
        self,
        path: Path,
        *,
        fatal: Callable[[str], None] = end_process,
        connect: Callable[[Path], sqlite3.Connection] | None = None,
    ) -> None:
        self.path = path
        self._connect = connect or _connect
        self._reader = self._open()
        self._reading = threading.Lock()
        self._writer = GroupCommit(lambda: self._connect(path), fatal)

    def rows(self, sql: str, values: tuple[object, ...] = ()) -> list[Any]:
        """Rows of the file. Raises :class:`InboxError` where it can't be read."""
        with self._reading:
            try:
                return self._reader.execute(sql, values).fetchall()
            except sqlite3.DatabaseError as error:
                raise InboxError(
                    f"{self.path.name} could not be read ({error}); stop the server and restore"
                    " the file from a backup"
                ) from error

    def row(self, sql: str, values: tuple[object, ...] = ()) -> Any:
        """The first of these rows, ``None`` if there is none."""
        rows = self.rows(sql, values)
        return rows[0] if rows else None

    def submit(self, job: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Hand a job in; its future carries what it returned, once that is durable, or raises as
        :class:`ingest.group_commit.GroupCommit` says."""
        return self._writer.submit(job)

    def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """The same, waiting until it is durable."""
        return self.submit(job).result()

    async def written(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """The same for an event loop."""
        return await asyncio.wrap_future(self.submit(job))

    def state(self, name: str) -> str | None:
        """A value that is kept under a name."""
        row = self.row("SELECT value FROM state WHERE name = ?", (name,))
        return str(row[0]) if row else None

    def set_state(self, name: str, value: str) -> None:
        """Keep a value, durably."""
        self.write(lambda connection: put_state(connection, name, value))

    def drop_state(self, name: str) -> None:
        """Keep it no longer."""
        self.write(lambda connection: _drop_state(connection, name))

    def fold(self) -> None:
        """The write-ahead log holds pages as they were until it is folded into the file."""
        with self._reading:
            self._reader.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Finish what was handed in, then close the file."""
        self._writer.close()
        with self._reading:
            self._reader.close()

    def _open(self) -> sqlite3.Connection:
        try:
            connection = self._connect(self.path)
            prepare(connection, self.path)
        except sqlite3.DatabaseError as error:
            raise InboxUnusable(
                f"{self.path.name} is damaged or not an inbox ({error}): restore it from a backup;"
                " or move it away to start with an empty one, which loses the evidence in it and"
                " what had not become facts"
            ) from error
        return connection


def put_state(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Keep a value under a name, in the commit at hand."""
    connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))


def _drop_state(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("DELETE FROM state WHERE name = ?", (name,))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(f"PRAGMA journal_size_limit = {CHECKED_AT_START}")
    return connection
