"""A request that enters the outbox, and how requests leave it.

Invariant: neither a lane nor all of them ever hold more than their bounds: what enters makes the
oldest leave in the same commit, of the fullest lane where all of them hold too much, however
quickly it comes and whatever the product behind does. What is removed is gone with its key.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from ingest.evidence import Sealed
from ingest.outbox_tally import Lane, count


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many bytes of requests one lane may hold, and all lanes together."""

    lane: int
    all: int


BOUNDS: Final = Bounds(1 << 30, 1 << 32)


@dataclass
class Entry:
    """A request on its way into a lane since ``put_at`` (nanoseconds since 1970-01-01 UTC). Called
    in a commit, it puts itself there, beside the batch of this number if it came with one, and then
    says in ``dropped`` what had to make room."""

    lane: Lane
    sealed: Sealed = field(repr=False)
    put_at: int
    bounds: Bounds
    dropped: Counter[Lane] = field(default_factory=Counter)

    def __call__(self, connection: sqlite3.Connection, batch: int | None) -> None:
        sealed, secret = self.sealed, self.sealed.secret
        number = connection.execute(
            "INSERT INTO outbox (batch, project, kind, digest, size, ciphertext)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (batch, *self.lane, sealed.digest, sealed.size, sealed.ciphertext),
        ).lastrowid
        connection.execute(
            "INSERT INTO outbox_key VALUES (?, ?, ?, ?)",
            (number, secret.key, secret.salt, secret.payload_sha256),
        )
        connection.execute("INSERT INTO outbox_time VALUES (?, ?)", (number, self.put_at))
        self.dropped.clear()
        (size,) = connection.execute(
            "SELECT bytes FROM outbox_tally WHERE project = ? AND kind = ?", self.lane
        ).fetchone()
        self._make_room(connection, self.lane, size - self.bounds.lane)
        (total,) = connection.execute("SELECT sum(bytes) FROM outbox_tally").fetchone()
        if total > self.bounds.all:
            project, kind, _ = connection.execute(
                "SELECT project, kind, max(bytes) FROM outbox_tally"
            ).fetchone()
            self._make_room(connection, (project, kind), total - self.bounds.all)

    def _make_room(self, connection: sqlite3.Connection, lane: Lane, excess: int) -> None:
        """Drop the oldest requests of a lane that holds so many bytes too much."""
        last = 0
        for number, size in connection.execute(
            "SELECT id, size FROM outbox WHERE project = ? AND kind = ? ORDER BY id", lane
        ):
            if excess <= 0:
                break
            last, excess = number, excess - size
        if last:
            gone = forget(connection, "project = ? AND kind = ? AND id <= ?", (*lane, last))
            count(connection, lane, "dropped", gone)
            self.dropped[lane] += gone


def forget(connection: sqlite3.Connection, which: str, values: tuple[object, ...]) -> int:
    """Let go of the requests for which a condition holds, in the commit at hand; how many."""
    connection.execute(
        f"DELETE FROM outbox_key WHERE id IN (SELECT id FROM outbox WHERE {which})", values
    )
    return connection.execute(f"DELETE FROM outbox WHERE {which}", values).rowcount
