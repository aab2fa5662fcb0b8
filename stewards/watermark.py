"""How far each steward has read, and what came of it.

Invariant: everything here can be lost. A steward without a record reads its facts from the start
and finds that the graph holds what they show; so a damaged file is moved away and begun again. A
watermark is written only after the gate has answered for everything up to it.
Source: https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyoxigraph import Quad

from ontology.terms import line

LOGGER = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS steward (
  name TEXT PRIMARY KEY,
  project TEXT NOT NULL,
  watermark INTEGER NOT NULL DEFAULT 0,
  last_run_at TEXT,
  last_outcome TEXT,
  runs INTEGER NOT NULL DEFAULT 0,
  proposals INTEGER NOT NULL DEFAULT 0,
  refusals INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS aside (
  steward TEXT NOT NULL,
  quad BLOB NOT NULL,
  until REAL NOT NULL,
  PRIMARY KEY (steward, quad)
) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Record:
    """What is kept of one steward.

    ``watermark`` is the inbox batch up to which it has read, ``refusals`` how often in a row the
    gate refused the batches after it; times are ISO 8601.
    """

    name: str
    project: str
    watermark: int = 0
    last_run_at: str | None = None
    last_outcome: str | None = None
    runs: int = 0
    proposals: int = 0
    refusals: int = 0


class WatermarkStore:
    """``stewards.sqlite``; safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._database = _open(path)
        except sqlite3.DatabaseError as error:
            LOGGER.warning("%s can't be read (%s): stewards read their facts again", path, error)
            for suffix in ("", "-wal", "-shm"):
                damaged = path.with_name(path.name + suffix)
                if damaged.exists():
                    damaged.replace(path.with_name(path.name + ".damaged" + suffix))
            self._database = _open(path)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def record(self, name: str, project: str) -> Record:
        """The steward's record; a new one for a steward not seen before."""
        with self._lock:
            row = self._database.execute(
                "SELECT name, project, watermark, last_run_at, last_outcome, runs, proposals,"
                " refusals FROM steward WHERE name = ? AND project = ?",
                (name, project),
            ).fetchone()
        return Record(*row) if row else Record(name, project)

    def save(self, record: Record) -> None:
        with self.transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO steward (name, project, watermark, last_run_at,"
                " last_outcome, runs, proposals, refusals) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    record.name,
                    record.project,
                    record.watermark,
                    record.last_run_at,
                    record.last_outcome,
                    record.runs,
                    record.proposals,
                    record.refusals,
                ),
            )

    def set_aside(self, name: str, quads: Iterable[Quad], until: float) -> None:
        """Remember quads that the gate refused, until this time (seconds since 1970)."""
        with self.transaction() as database:
            database.executemany(
                "INSERT OR REPLACE INTO aside (steward, quad, until) VALUES (?, ?, ?)",
                ((name, _digest(quad), until) for quad in quads),
            )

    def aside(self, name: str, quads: Iterable[Quad], now: float) -> frozenset[Quad]:
        """Those of the quads that are set aside at this time."""
        with self.transaction() as database:
            database.execute("DELETE FROM aside WHERE until <= ?", (now,))
            return frozenset(
                quad
                for quad in quads
                if database.execute(
                    "SELECT 1 FROM aside WHERE steward = ? AND quad = ?", (name, _digest(quad))
                ).fetchone()
            )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The file, for what else belongs beside the watermarks."""
        with self._lock, self._database:
            yield self._database


class Bookmark:
    """The record of one steward as it was last kept, and its changes."""

    def __init__(self, store: WatermarkStore, name: str, project: str) -> None:
        self._store = store
        self.record = store.record(name, project)

    def keep(self, **changes: Any) -> None:
        """Change these fields of the record, on disk first."""
        record = replace(self.record, **changes)
        self._store.save(record)
        self.record = record

    def note(self, **changes: Any) -> None:
        """Change them without a write: the next one that is worth it keeps them too."""
        self.record = replace(self.record, **changes)


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False, timeout=10.0)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        # A lost watermark costs a second reading; it isn't worth a sync for every page.
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_SCHEMA)
        if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("damaged")
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


def _digest(quad: Quad) -> bytes:
    return hashlib.sha256(line(quad)).digest()
