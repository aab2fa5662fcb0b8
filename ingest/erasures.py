"""Payloads that are gone for good, and what says so.

Invariant: a payload is erased by destroying the key that opens it, in one commit with the note of
what erased it, and nothing of it stays in the file, its write-ahead log or the outbox. Commitments
stay: proofs that rest on them stay valid. A payload that is gone without a note was taken away
behind our back.
Source: https://www.sqlite.org/pragma.html#pragma_secure_delete
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ingest.inbox_file import InboxFile
from ingest.outbox_entry import forget

_ERASED_AT_A_TIME = 256
_NAMED_AT_MOST = 20
_DISCARD_AFTER = "discard-after"


@dataclass(frozen=True, slots=True)
class Erased:
    """A payload is gone: by which entry of the proof log; ``None`` if none was to be kept."""

    entry: int | None


class Erasures:
    """Erases payloads of one inbox, and tells of it."""

    def __init__(self, file: InboxFile) -> None:
        self._file = file
        self._discard_after: int | None = None

    def erase(self, digests: Iterable[str], entry: int | None) -> int:
        """Erase payloads for good by destroying what opens them; how many were still there.

        ``entry`` is that of the proof log which says so. What is there no more is passed over.
        """
        erased, every = 0, list(digests)
        for start in range(0, len(every), _ERASED_AT_A_TIME):
            some = every[start : start + _ERASED_AT_A_TIME]

            def job(connection: sqlite3.Connection, some: list[str] = some) -> int:
                which = f"digest IN ({', '.join('?' * len(some))})"
                return _erase(connection, which, tuple(some), entry)

            erased += self._file.write(job)
        self._file.fold()
        return erased

    def of(self, digest: str) -> Erased | None:
        """How the payload with this commitment was erased; ``None`` while it is there, or for a
        batch that is not."""
        row = self._file.row(
            "SELECT entry FROM erased JOIN batch ON batch.seq = erased.seq WHERE digest = ?",
            (digest,),
        )
        return Erased(row[0]) if row else None

    def by_entry(self) -> Mapping[int | None, int]:
        """How many payloads each entry of the proof log erased; ``None`` stands for no entry."""
        return dict(self._file.rows("SELECT entry, count(*) FROM erased GROUP BY entry"))

    def unexplained(self) -> tuple[str, ...]:
        """Commitments of payloads that are gone though nothing erased them; at most twenty."""
        rows = self._file.rows(
            "SELECT digest FROM batch WHERE seq NOT IN (SELECT seq FROM batch_key)"
            " AND seq NOT IN (SELECT seq FROM erased) ORDER BY seq LIMIT ?",
            (_NAMED_AT_MOST,),
        )
        return tuple(digest for (digest,) in rows)

    def keep_payloads(self, keep: bool, cursor: int) -> None:
        """Whether payloads stay once they are facts, which they are up to the ``cursor``. Those
        that were kept until now stay."""
        if keep:
            self._file.drop_state(_DISCARD_AFTER)
            self._discard_after = None
            return
        found = self._file.state(_DISCARD_AFTER)
        if found is None:
            found = str(cursor)
            self._file.set_state(_DISCARD_AFTER, found)
        self._discard_after = int(found)

    @property
    def discarding(self) -> bool:
        """Whether payloads go once they are facts."""
        return self._discard_after is not None

    def discard(self, connection: sqlite3.Connection, after: int, until: int) -> None:
        """Erase what is not to be kept of these batches, in the commit at hand."""
        if self._discard_after is not None:
            passed = (max(self._discard_after, after), until)
            _erase(connection, "batch.seq > ? AND batch.seq <= ?", passed, None)


def _erase(
    connection: sqlite3.Connection, which: str, values: tuple[object, ...], entry: int | None
) -> int:
    """Erase the payloads of these batches that are still there; how many that were."""
    connection.execute(
        "INSERT OR IGNORE INTO erased SELECT batch.seq, ? FROM batch"
        f" JOIN batch_key ON batch_key.seq = batch.seq WHERE {which}",
        (entry, *values),
    )
    batches = f"SELECT seq FROM batch WHERE {which}"
    destroyed = connection.execute(
        f"DELETE FROM batch_key WHERE seq IN ({batches})", values
    ).rowcount
    connection.execute(f"UPDATE batch SET ciphertext = x'' WHERE {which}", values)
    if entry is not None:
        # What is not to be kept here is still to be forwarded; what a person erases is not.
        forget(connection, f"batch IN ({batches})", values)
        # Their payloads may be gone for longer: now the log says so.
        connection.execute(
            f"UPDATE erased SET entry = ? WHERE entry IS NULL AND seq IN ({batches})",
            (entry, *values),
        )
    return destroyed
