"""The journal: the truth, in one SQLite file.

Invariant: an entry, the blobs it commits to, the checkpoint over it and the running hashes are one
transaction in WAL mode with ``synchronous=FULL``: when :meth:`Journal.append` returns, all of it is
on disk, and after a crash all of it is there or none of it. Entries and blobs are never changed or
removed.

Crash windows: before the commit, nothing happened; after it, every projection (graph, index,
published log, snapshots) may lag and is brought up to date from here.
Source: https://www.sqlite.org/pragma.html#pragma_synchronous
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ontology.terms import sha256
from proofs.errors import (
    JournalBroken,
    JournalCorrupt,
    JournalFull,
    JournalMissing,
    JournalTooNew,
)

FORMAT_VERSION = 1

_SCHEMA = f"""
BEGIN;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (n INTEGER PRIMARY KEY, leaf BLOB NOT NULL, leaf_hash BLOB NOT NULL);
CREATE TABLE blobs (digest TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
CREATE TABLE running (id INTEGER PRIMARY KEY CHECK (id = 1), n INTEGER NOT NULL,
                      frontier BLOB NOT NULL, graph_state BLOB NOT NULL);
INSERT INTO meta VALUES ('format', '{FORMAT_VERSION}');
COMMIT;
"""


# What entries of this kind are found by, without reading all: one row of meta for each.
_ROTATION = "rotation/"


@dataclass(frozen=True, slots=True)
class Running:
    """What the next entry is computed from: the newest index, Merkle frontier and graph state."""

    n: int
    frontier: bytes
    graph_state: bytes


class Journal:
    """The journal of one organisation, opened by one writer; readers may be other threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._writing = threading.Lock()
        self._connections: list[sqlite3.Connection] = []
        try:
            self._open()
        except Exception:
            self.close()
            raise

    def _open(self) -> None:
        with self._translated():
            tables = self._tables()
            if not tables:
                self._connect().executescript(_SCHEMA)
            found = self.meta("format") if not tables or "meta" in tables else None
        if found is None or not found.isdecimal():
            raise JournalCorrupt(
                f"{self.path.name} is not a journal of this product; nothing was changed"
            )
        if int(found) > FORMAT_VERSION:
            raise JournalTooNew(
                f"{self.path.name} has format {found}, this version reads up to {FORMAT_VERSION}:"
                " install the version that wrote it, or a newer one"
            )

    def _tables(self) -> set[str]:
        """The tables of the file as it is, before anything of ours changes it."""
        connection = sqlite3.connect(self.path, timeout=30)
        try:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {str(row[0]) for row in rows}
        finally:
            connection.close()

    @contextmanager
    def pinned(self) -> Iterator[Journal]:
        """The journal as it is now, however it grows meanwhile; to be read in this thread alone.

        SQLite keeps its write-ahead log for as long as this is open."""
        pinned = Journal(self.path)
        try:
            with self._translated():
                pinned._connect().execute("BEGIN")
            # A read transaction sees what was committed when it first read.
            pinned.head()
            yield pinned
        finally:
            pinned.close()

    def meta(self, key: str) -> str | None:
        row = self._one("SELECT value FROM meta WHERE key = ?", (key,))
        return None if row is None else str(row[0])

    def set_meta(self, values: Mapping[str, str]) -> None:
        """Records what is fixed at genesis; a value that stands already is never changed."""
        with self._translated(), self._writing, self._connection() as connection:
            connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", values.items())

    def head(self) -> int:
        """Index of the newest entry, -1 for an empty journal."""
        row = self._one("SELECT max(n) FROM entries")
        return -1 if row is None or row[0] is None else int(row[0])

    def append(
        self,
        n: int,
        leaf: bytes,
        leaf_hash: bytes,
        blobs: Mapping[str, bytes],
        checkpoint: str,
        running: Running,
        *,
        rotates: bool = False,
    ) -> None:
        """Commits entry ``n`` durably; this is the commit point of a change. ``rotates`` says that
        it hands the log to another key.

        Raises :class:`JournalFull` when the disk has no room (nothing was written) and
        :class:`JournalBroken` when it is unknown whether the entry is on disk: then the process
        must end, and the next start finds out.
        """
        with self._translated(), self._writing, self._connection() as connection:
            connection.executemany("INSERT OR IGNORE INTO blobs VALUES (?, ?)", list(blobs.items()))
            connection.execute("INSERT INTO entries VALUES (?, ?, ?)", (n, leaf, leaf_hash))
            connection.execute("INSERT INTO checkpoints VALUES (?, ?)", (n + 1, checkpoint))
            connection.execute(
                "INSERT OR REPLACE INTO running VALUES (1, ?, ?, ?)",
                (running.n, running.frontier, running.graph_state),
            )
            if rotates:
                connection.execute(
                    "INSERT INTO meta VALUES (?, ?)", (f"{_ROTATION}{n:019}", str(n))
                )

    def rotations(self) -> list[tuple[int, bytes]]:
        """The entries that handed the log to another key, in order: index and leaf."""
        rows = self._all("SELECT value FROM meta WHERE key GLOB ? ORDER BY key", (f"{_ROTATION}*",))
        return [(int(row[0]), self.leaf(int(row[0]))) for row in rows]

    def cosign(self, size: int, note: str) -> None:
        """Replaces the note of a checkpoint by the same one with a cosignature more."""
        with self._translated(), self._writing, self._connection() as connection:
            changed = connection.execute(
                "UPDATE checkpoints SET note = ? WHERE size = ?", (note, size)
            )
            if changed.rowcount == 0:
                raise JournalMissing(f"there is no checkpoint of size {size}")

    def running(self) -> Running | None:
        row = self._one("SELECT n, frontier, graph_state FROM running")
        if row is None:
            return None
        place = "the row of running hashes"
        return Running(int(row[0]), self._bytes(row[1], place), self._bytes(row[2], place))

    def leaf(self, n: int) -> bytes:
        """The exact bytes of entry ``n``."""
        row = self._one("SELECT leaf FROM entries WHERE n = ?", (n,))
        if row is None:
            raise JournalMissing(f"there is no entry {n}; the newest is {self.head()}")
        return self._bytes(row[0], f"entry {n}")

    def leaves(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Entries ``start`` to ``stop`` (exclusive), in order, a page at a time."""
        stop = self.head() + 1 if stop is None else stop
        while start < stop:
            rows = self._all(
                "SELECT n, leaf FROM entries WHERE n >= ? AND n < ? ORDER BY n LIMIT 256",
                (start, stop),
            )
            if not rows:
                return
            for n, leaf in rows:
                yield int(n), self._bytes(leaf, f"entry {n}")
            start = int(rows[-1][0]) + 1

    def leaf_hashes(self, start: int, stop: int) -> list[bytes]:
        rows = self._all(
            "SELECT n, leaf_hash FROM entries WHERE n >= ? AND n < ? ORDER BY n", (start, stop)
        )
        return [self._bytes(leaf_hash, f"the leaf hash of entry {n}") for n, leaf_hash in rows]

    def blob(self, digest: str) -> bytes:
        """The bytes with this SHA-256. Raises :class:`JournalCorrupt` when they have another."""
        row = self._one("SELECT bytes FROM blobs WHERE digest = ?", (digest,))
        if row is None:
            raise JournalMissing(f"the journal holds no blob {digest}")
        data = self._bytes(row[0], f"blob {digest}")
        if sha256(data) != digest:
            raise JournalCorrupt(
                f"blob {digest} of {self.path.name} was changed after it was written"
            )
        return data

    def holds(self, digest: str) -> bool:
        """Whether there is a blob with this SHA-256."""
        return self._one("SELECT 1 FROM blobs WHERE digest = ?", (digest,)) is not None

    def blobs(self) -> Iterator[tuple[str, bytes]]:
        """Every blob under the digest it is stored by, unchecked."""
        last = ""
        while rows := self._all(
            "SELECT digest, bytes FROM blobs WHERE digest > ? ORDER BY digest LIMIT 64", (last,)
        ):
            for digest, data in rows:
                yield str(digest), self._bytes(data, f"blob {digest}")
            last = str(rows[-1][0])

    def checkpoint(self, size: int) -> str:
        """The signed note over the first ``size`` entries."""
        row = self._one("SELECT note FROM checkpoints WHERE size = ?", (size,))
        if row is None:
            raise JournalMissing(f"there is no checkpoint of size {size}")
        return str(row[0])

    def cosigned(self, above: int) -> Iterator[tuple[int, str]]:
        """Checkpoints of more than ``above`` entries with more than one signature, newest first."""
        for size, note in self._all(
            "SELECT size, note FROM checkpoints WHERE size > ? AND note LIKE ?"
            " ORDER BY size DESC LIMIT 16",
            (above, "%\n\u2014 %\n\u2014 %"),
        ):
            yield int(size), str(note)

    def checkpoints(self) -> Iterator[tuple[int, str]]:
        """Every checkpoint by tree size, in order."""
        last = -1
        while rows := self._all(
            "SELECT size, note FROM checkpoints WHERE size > ? ORDER BY size LIMIT 256", (last,)
        ):
            for size, note in rows:
                yield int(size), str(note)
            last = int(rows[-1][0])

    def integrity(self) -> str:
        """What SQLite says of its own file: ``ok``, or the first problem."""
        row = self._one("PRAGMA integrity_check(1)")
        return "no answer" if row is None else str(row[0])

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._local = threading.local()

    def _bytes(self, value: object, place: str) -> bytes:
        """A value of a row; SQLite keeps whatever somebody else writes into a column."""
        if not isinstance(value, bytes):
            raise JournalCorrupt(f"{place} of {self.path.name} was changed after it was written")
        return value

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=30, check_same_thread=False)
            self._connections.append(connection)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            self._local.connection = connection
        return connection

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = self._connect()
        with connection:
            yield connection

    def _one(self, sql: str, values: tuple[object, ...] = ()) -> tuple[Any, ...] | None:
        with self._translated():
            row: tuple[Any, ...] | None = self._connect().execute(sql, values).fetchone()
            return row

    def _all(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._translated():
            return self._connect().execute(sql, values).fetchall()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._reason(error) from error

    def _reason(self, error: sqlite3.Error) -> Exception:
        name = getattr(error, "sqlite_errorname", "") or ""
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return JournalCorrupt(
                f"{self.path.name} is damaged ({error}): stop, keep the folder as it is, and"
                " restore a backup (fractalops restore)"
            )
        if name == "SQLITE_FULL":
            return JournalFull("the disk is full: free some space and send the proposal again")
        if name.startswith("SQLITE_IOERR"):
            return JournalBroken(
                f"writing {self.path.name} failed ({error}, {name}): whether the entry is on disk"
                " is known only at the next start"
            )
        if name.startswith("SQLITE_CONSTRAINT"):
            return JournalBroken(f"two writers on {self.path.name}: {error}")
        return JournalBroken(f"{self.path.name}: {error}")
