"""Proposals as they stand, and which entry stated each quad: a projection of the journal.

Invariant: everything here follows from the journal; the file may be deleted and is then rebuilt.
Its cursor is the newest entry it has taken in, and each entry is taken in as one transaction, so it
is never between two entries. It is not fsynced: a lost tail is read again from the journal.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proofs.errors import IndexFailed
from proofs.proposal import ProposalView

INDEX_VERSION = 2

_SCHEMA = f"""
CREATE TABLE proposals (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL, state TEXT NOT NULL, project TEXT,
    author TEXT NOT NULL, restricted INTEGER NOT NULL, time_lock_until TEXT, view TEXT NOT NULL,
    asset TEXT, listed INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX proposals_by_number ON proposals (number);
CREATE INDEX proposals_by_state ON proposals (state, number);
CREATE INDEX orders_by_number ON proposals (number) WHERE asset IS NOT NULL;
CREATE INDEX orders_by_asset ON proposals (asset, number) WHERE asset IS NOT NULL;
CREATE TABLE origins (quad BLOB PRIMARY KEY, entry INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (
    n INTEGER PRIMARY KEY, kind TEXT NOT NULL, time TEXT NOT NULL, proposal TEXT, project TEXT,
    principal TEXT, leaf_hash TEXT NOT NULL, restricted INTEGER NOT NULL
);
CREATE TABLE cursor (id INTEGER PRIMARY KEY CHECK (id = 1), head INTEGER NOT NULL);
INSERT INTO cursor VALUES (1, -1);
PRAGMA user_version = {INDEX_VERSION};
"""


@dataclass(frozen=True)
class EntryRow:
    """One log entry, as a list shows it."""

    index: int
    kind: str
    time: str
    proposal: str | None
    project: str | None
    principal: str | None
    leaf_hash: str
    restricted: bool


class Index:
    """The index of one data folder; any thread may use it."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        if path.exists() and not _usable(path):
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        with _translated():
            self._db = sqlite3.connect(path, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=OFF")
            if self._db.execute("PRAGMA user_version").fetchone()[0] != INDEX_VERSION:
                self._db.executescript(_SCHEMA)

    def head(self) -> int:
        """The newest entry taken in, -1 for none."""
        return int(self._one("SELECT head FROM cursor")[0])

    def take(
        self,
        entry: EntryRow,
        views: Iterable[ProposalView],
        added: Iterable[bytes],
        removed: Iterable[bytes],
    ) -> None:
        """Takes one entry in: the proposals it leaves, and the canonical lines it changed."""
        with self._changing():
            for view in views:
                self._db.execute(
                    "INSERT INTO proposals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (id) DO UPDATE SET state = excluded.state, view = excluded.view,"
                    " time_lock_until = excluded.time_lock_until",
                    (
                        view.id,
                        entry.index,
                        view.state,
                        view.project,
                        view.author,
                        view.restricted,
                        view.time_lock_until,
                        view.to_json(),
                        view.order["asset"] if view.order is not None else None,
                        view.is_listed,
                    ),
                )
            self._db.executemany(
                "DELETE FROM origins WHERE quad = ?", ((_key(line),) for line in removed)
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO origins VALUES (?, ?)",
                ((_key(line), entry.index) for line in added),
            )
            self._db.execute(
                "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    entry.index,
                    entry.kind,
                    entry.time,
                    entry.proposal,
                    entry.project,
                    entry.principal,
                    entry.leaf_hash,
                    entry.restricted,
                ),
            )
            self._db.execute("UPDATE cursor SET head = ?", (entry.index,))

    def clear(self) -> None:
        """Forgets everything, to be filled again from the journal."""
        with self._changing():
            for table in ("proposals", "origins", "entries"):
                self._db.execute(f"DELETE FROM {table}")
            self._db.execute("UPDATE cursor SET head = -1")

    def proposal(self, identifier: str) -> ProposalView | None:
        row = self._one("SELECT view FROM proposals WHERE id = ?", (identifier,))
        return None if row is None else ProposalView.from_json(row[0])

    def proposals(
        self,
        *,
        states: Iterable[str] = (),
        project: str | None = None,
        limit: int = 50,
        before: int | None = None,
        readable: Collection[str] | None = None,
        unlisted: bool = False,
    ) -> list[tuple[int, ProposalView]]:
        """Proposals, newest first, each with the number that ``before`` continues from.

        Where ``readable`` is given, only those of these projects concern restricted graphs.
        ``unlisted`` has orders that nobody had to decide on and that only read be among them.
        """
        wanted = list(states)
        sql = "SELECT number, view FROM proposals WHERE " + ("1 = 1" if unlisted else "listed = 1")
        values: list[Any] = []
        if wanted:
            sql += f" AND state IN ({', '.join('?' * len(wanted))})"
            values += wanted
        if project is not None:
            sql += " AND project = ?"
            values.append(project)
        if before is not None:
            sql += " AND number < ?"
            values.append(before)
        if readable is not None:
            sql += f" AND (restricted = 0 OR project IN ({', '.join('?' * len(readable))}))"
            values += readable
        sql += " ORDER BY number DESC LIMIT ?"
        rows = self._all(sql, (*values, limit))
        return [(int(number), ProposalView.from_json(view)) for number, view in rows]

    def orders(
        self,
        *,
        states: Iterable[str] = (),
        asset: str | None = None,
        principal: str | None = None,
        limit: int = 50,
        before: int | None = None,
        readable: Collection[str] | None = None,
        reader: str | None = None,
    ) -> list[tuple[int, ProposalView]]:
        """Orders on all assets or one (its IRI), of everybody or one principal, newest first, each
        with the number that ``before`` continues from; ``readable`` as for :meth:`proposals`, and
        the ``reader`` (an IRI) reads its own as well."""
        wanted = list(states)
        sql = "SELECT number, view FROM proposals WHERE asset IS NOT NULL"
        values: list[Any] = []
        if wanted:
            sql += f" AND state IN ({', '.join('?' * len(wanted))})"
            values += wanted
        for column, comparison, value in (
            ("asset", "=", asset),
            ("author", "=", principal),
            ("number", "<", before),
        ):
            if value is not None:
                sql += f" AND {column} {comparison} ?"
                values.append(value)
        if readable is not None:
            marks = ", ".join("?" * len(readable))
            sql += f" AND (restricted = 0 OR author = ? OR project IN ({marks}))"
            values += [reader, *readable]
        rows = self._all(sql + " ORDER BY number DESC LIMIT ?", (*values, limit))
        return [(int(number), ProposalView.from_json(view)) for number, view in rows]

    def due(self, now: str) -> list[str]:
        """Proposals whose time lock has run out by ``now`` (RFC 3339, UTC), oldest first."""
        rows = self._all(
            "SELECT id FROM proposals WHERE state = 'awaiting decision' AND"
            " time_lock_until IS NOT NULL AND time_lock_until <= ? ORDER BY number",
            (now,),
        )
        return [str(row[0]) for row in rows]

    def oldest(self, state: str, limit: int) -> list[ProposalView]:
        """The proposals that are in this state, oldest first."""
        rows = self._all(
            "SELECT view FROM proposals WHERE state = ? ORDER BY number LIMIT ?", (state, limit)
        )
        return [ProposalView.from_json(row[0]) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many proposals are in each state."""
        rows = self._all("SELECT state, count(*) FROM proposals GROUP BY state ORDER BY state")
        return {str(state): int(count) for state, count in rows}

    def origin(self, line: bytes) -> int | None:
        """The entry that stated this canonical line, while the graph holds it."""
        row = self._one("SELECT entry FROM origins WHERE quad = ?", (_key(line),))
        return None if row is None else int(row[0])

    def quads(self) -> int:
        """How many asserted quads the graph holds."""
        return int(self._one("SELECT count(*) FROM origins")[0])

    def entries(
        self,
        limit: int = 50,
        before: int | None = None,
        readable: Collection[str] | None = None,
    ) -> list[EntryRow]:
        """Log entries, newest first; ``readable`` as for :meth:`proposals`."""
        sql = "SELECT * FROM entries WHERE n < ?"
        values: list[Any] = [before if before is not None else 2**62]
        if readable is not None:
            sql += f" AND (restricted = 0 OR project IN ({', '.join('?' * len(readable))}))"
            values += readable
        rows = self._all(sql + " ORDER BY n DESC LIMIT ?", (*values, limit))
        return [_entry_row(row) for row in rows]

    def following(
        self, first: int, limit: int, readable: Collection[str] | None = None
    ) -> list[EntryRow]:
        """Log entries from ``first`` on, oldest first; ``readable`` as for :meth:`proposals`."""
        sql = "SELECT * FROM entries WHERE n >= ?"
        values: list[Any] = [first]
        if readable is not None:
            sql += f" AND (restricted = 0 OR project IN ({', '.join('?' * len(readable))}))"
            values += readable
        rows = self._all(sql + " ORDER BY n LIMIT ?", (*values, limit))
        return [_entry_row(row) for row in rows]

    def of_kind(self, kind: str, start: int = 0) -> list[int]:
        """Entries of one kind from ``start`` on, oldest first."""
        rows = self._all(
            "SELECT n FROM entries WHERE kind = ? AND n >= ? ORDER BY n", (kind, start)
        )
        return [int(row[0]) for row in rows]

    def entry(self, index: int) -> EntryRow | None:
        row = self._one("SELECT * FROM entries WHERE n = ?", (index,))
        return None if row is None else _entry_row(row)

    def newest_by(self, time: str) -> EntryRow | None:
        """The newest entry that was made by this moment (RFC 3339, UTC, with microseconds); of a
        clock that went back, the last one that says so."""
        row = self._one("SELECT * FROM entries WHERE time <= ? ORDER BY n DESC LIMIT 1", (time,))
        return None if row is None else _entry_row(row)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _one(self, sql: str, values: tuple[Any, ...] = ()) -> Any:
        with self._lock, _translated():
            return self._db.execute(sql, values).fetchone()

    def _all(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock, _translated():
            return self._db.execute(sql, values).fetchall()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock, _translated(), self._db:
            yield


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise IndexFailed(f"the index of proposals failed: {error}") from error


def _entry_row(row: tuple[Any, ...]) -> EntryRow:
    n, kind, time, proposal, project, principal, leaf_hash, restricted = row
    return EntryRow(n, kind, time, proposal, project, principal, leaf_hash, bool(restricted))


def _key(line: bytes) -> bytes:
    return hashlib.sha256(line).digest()[:16]


def _usable(path: Path) -> bool:
    """Whether this is an undamaged index of this version; anything else is rebuilt."""
    try:
        db = sqlite3.connect(path)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            sound = db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
            return bool(version == INDEX_VERSION and sound)
        finally:
            db.close()
    except sqlite3.Error:
        return False
