"""What a steward remembers of dormant things between its looks.

Invariant: everything here can be lost. What the steward brought into the graph is read again from
its own proposals; what it marked is found at the next look, a day later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import date

from stewards.dormant import Mark
from stewards.watermark import WatermarkStore

_SCHEMA = """
CREATE TABLE IF NOT EXISTS looked (
  steward TEXT PRIMARY KEY, at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS brought (
  steward TEXT NOT NULL, proposal TEXT NOT NULL, thing TEXT NOT NULL,
  PRIMARY KEY (steward, proposal, thing)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marked (
  steward TEXT NOT NULL, proposal TEXT NOT NULL, thing TEXT NOT NULL, since TEXT NOT NULL,
  PRIMARY KEY (steward, proposal, thing)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asleep (
  steward TEXT NOT NULL, thing TEXT NOT NULL, since TEXT NOT NULL, PRIMARY KEY (steward, thing)
) STRICT, WITHOUT ROWID;
"""


class DormantNotes:
    """The notes of one steward, beside its watermark."""

    def __init__(self, store: WatermarkStore, steward: str) -> None:
        self._store = store
        self._steward = steward
        with store.transaction() as database:
            for statement in _SCHEMA.split(";"):
                database.execute(statement)

    def looked_at(self) -> float | None:
        """When it last looked, in seconds since 1970."""
        with self._store.transaction() as database:
            row = database.execute(
                "SELECT at FROM looked WHERE steward = ?", (self._steward,)
            ).fetchone()
        return float(row[0]) if row else None

    def note_look(self, now: float) -> None:
        with self._store.transaction() as database:
            database.execute("INSERT OR REPLACE INTO looked VALUES (?, ?)", (self._steward, now))

    def proposals(self) -> frozenset[str]:
        """The proposals that were read."""
        with self._store.transaction() as database:
            rows = database.execute(
                "SELECT DISTINCT proposal FROM brought WHERE steward = ?", (self._steward,)
            ).fetchall()
        return frozenset(row[0] for row in rows)

    def note_proposal(self, proposal: str, things: Collection[str], marks: Iterable[Mark]) -> None:
        """What an applied proposal brought. One that brought nothing is noted too."""
        with self._store.transaction() as database:
            database.executemany(
                "INSERT OR IGNORE INTO brought VALUES (?, ?, ?)",
                ((self._steward, proposal, thing) for thing in things or ("",)),
            )
            database.executemany(
                "INSERT OR IGNORE INTO marked VALUES (?, ?, ?, ?)",
                ((self._steward, proposal, thing, str(since)) for thing, since in marks),
            )

    def brought(self) -> frozenset[str]:
        """Every thing that the proposals brought."""
        with self._store.transaction() as database:
            rows = database.execute(
                "SELECT DISTINCT thing FROM brought WHERE steward = ? AND thing != ''",
                (self._steward,),
            ).fetchall()
        return frozenset(row[0] for row in rows)

    def marks_made(self) -> frozenset[Mark]:
        """Every mark that the proposals made, whether it still stands or not."""
        with self._store.transaction() as database:
            rows = database.execute(
                "SELECT DISTINCT thing, since FROM marked WHERE steward = ?", (self._steward,)
            ).fetchall()
        return frozenset((thing, date.fromisoformat(since)) for thing, since in rows)

    def asleep(self) -> frozenset[Mark]:
        """The marks that are lifted when their things are seen."""
        with self._store.transaction() as database:
            rows = database.execute(
                "SELECT thing, since FROM asleep WHERE steward = ?", (self._steward,)
            ).fetchall()
        return frozenset((thing, date.fromisoformat(since)) for thing, since in rows)

    def note_asleep(self, marks: Iterable[Mark]) -> None:
        """These marks, and no others."""
        with self._store.transaction() as database:
            database.execute("DELETE FROM asleep WHERE steward = ?", (self._steward,))
            database.executemany(
                "INSERT OR REPLACE INTO asleep VALUES (?, ?, ?)",
                ((self._steward, thing, str(since)) for thing, since in marks),
            )
