"""What each batch brought, noted for the audit of the facts.

Invariant: a batch's note is in the commit that moves the cursor past it, so that whatever counts as
stored is noted; a note that was damaged or altered is told by its own digest. Batches from before
there were notes have none, and are not compared.
Comparison: :mod:`ingest.reconcile`.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from ingest.inbox_file import InboxFile

_KEY_BYTES = 8


@dataclass(frozen=True, slots=True)
class Brought:
    """What a batch brought: how many facts, a digest of their keys, and the keys (sorted unsigned
    64-bit numbers, little endian); ``None`` for a batch of which nothing is noted. ``erased`` says
    that its payload is gone, ``told`` that a log entry says so."""

    seq: int
    received_at: int
    erased: bool
    told: bool
    count: int | None
    digest: str | None
    keys: bytes | None

    @property
    def sound(self) -> bool:
        """Whether the note is whole."""
        return self.keys is not None and _summary(self.keys) == (self.count, self.digest)


class BatchNotes:
    """The notes in one inbox."""

    def __init__(self, file: InboxFile) -> None:
        self._file = file

    def between(self, after: int, until: int, limit: int) -> tuple[Brought, ...]:
        """What the next batches after this number brought, up to another one, in order."""
        rows = self._file.rows(
            "SELECT batch.seq, received_at, batch_key.seq IS NULL, erased.entry IS NOT NULL, count,"
            " batch_facts.digest, keys"
            " FROM batch LEFT JOIN batch_key ON batch_key.seq = batch.seq"
            " LEFT JOIN erased ON erased.seq = batch.seq"
            " LEFT JOIN batch_facts ON batch_facts.seq = batch.seq"
            " WHERE batch.seq > ? AND batch.seq <= ? ORDER BY batch.seq LIMIT ?",
            (after, until, limit),
        )
        return tuple(
            Brought(seq, at, bool(erased), bool(told), *note)
            for seq, at, erased, told, *note in rows
        )


def note(connection: sqlite3.Connection, brought: Mapping[int, bytes]) -> None:
    """Note the keys of the facts of these batches, in the commit at hand."""
    connection.executemany(
        "INSERT OR REPLACE INTO batch_facts VALUES (?, ?, ?, ?)",
        [(seq, *_summary(keys), keys) for seq, keys in brought.items()],
    )


def _summary(keys: bytes) -> tuple[int, str]:
    """How many keys these are, and their digest."""
    return len(keys) // _KEY_BYTES, f"sha256:{hashlib.sha256(keys).hexdigest()}"
