"""Raw evidence: what came, batch by batch, as it lies in the inbox's file.

Invariant: batches are numbered in the order of their commit and never change. Each is encrypted
under a key of its own, which lies in another table so that it can be destroyed alone; what is known
of a batch without opening it stays for good.
Source of what is kept: :mod:`ingest.evidence`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ingest.errors import EvidenceErased, InboxError
from ingest.evidence import EvidenceBatch, Sealed, Secret, unseal
from ingest.inbox_file import InboxFile
from ingest.sender import Sender

_BATCH = (
    "SELECT batch.seq, digest, project, source, content_type, size, received_at, payload_sha256,"
    " sender_key, trusted FROM batch LEFT JOIN batch_key ON batch_key.seq = batch.seq "
)
_DIGESTS_AT_A_TIME = 500


@dataclass(frozen=True, slots=True)
class Receipt:
    """A batch is durable: its number and its commitment (``sha256:...``)."""

    seq: int
    digest: str


class EvidenceStore:
    """Reads the batches of one inbox."""

    def __init__(self, file: InboxFile) -> None:
        self._file = file

    @property
    def last_seq(self) -> int:
        """The number of the newest batch, 0 before the first."""
        return int(self._file.row("SELECT coalesce(max(seq), 0) FROM batch")[0])

    def count(self) -> int:
        """How many batches there are."""
        return int(self._file.row("SELECT count(*) FROM batch")[0])

    def find(self, digest: str) -> EvidenceBatch | None:
        """The batch with this commitment (``sha256:...``), ``None`` if there is none."""
        row = self._file.row(_BATCH + "WHERE digest = ?", (digest,))
        return _batch(row) if row else None

    def payload(self, seq: int) -> bytes:
        """The bytes of a batch. Raises :class:`EvidenceErased`, or :class:`EvidenceCorrupt`."""
        row = self._file.row(
            "SELECT digest, ciphertext, key, salt, payload_sha256 FROM batch"
            " LEFT JOIN batch_key ON batch_key.seq = batch.seq WHERE batch.seq = ?",
            (seq,),
        )
        if row is None:
            raise InboxError(f"there is no batch {seq}")
        digest, ciphertext, key, salt, payload_sha256 = row
        if key is None:
            raise EvidenceErased(f"the payload of {digest} was erased; its commitment stays valid")
        return unseal(digest, ciphertext, Secret(key, salt, payload_sha256))

    def batches(
        self,
        *,
        project: str | None = None,
        before: int | None = None,
        after: int = 0,
        kept: bool = False,
        newest: bool = False,
        limit: int = 50,
    ) -> tuple[EvidenceBatch, ...]:
        """Batches in order, or the ``newest`` first: of this project, received before this moment
        (nanoseconds), with a higher number than ``after``, and ``kept`` ones only."""
        conditions = ["batch.seq > ?"]
        values: list[object] = [after]
        for condition, value in (("project = ?", project), ("received_at < ?", before)):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        if kept:
            conditions.append("payload_sha256 IS NOT NULL")
        order = "DESC" if newest else "ASC"
        rows = self._file.rows(
            f"{_BATCH}WHERE {' AND '.join(conditions)} ORDER BY batch.seq {order} LIMIT ?",
            (*values, limit),
        )
        return tuple(map(_batch, rows))

    def untrusted(self, digests: Sequence[str]) -> bool:
        """Whether one of these batches came from a sender that isn't trusted."""
        starts = range(0, len(digests), _DIGESTS_AT_A_TIME)
        return any(
            self._file.row(
                "SELECT 1 FROM batch WHERE NOT trusted AND digest IN"
                f" ({', '.join('?' * len(part))}) LIMIT 1",
                tuple(part),
            )
            for part in (digests[start : start + _DIGESTS_AT_A_TIME] for start in starts)
        )

    def foreign(self, digests: Sequence[str], project: str) -> bool:
        """Whether one of these batches was received here for other projects alone."""
        distinct = sorted(set(digests))
        starts = range(0, len(distinct), _DIGESTS_AT_A_TIME)
        return any(
            self._file.row(
                "SELECT count(*) FROM (SELECT digest FROM batch WHERE digest IN"
                f" ({', '.join('?' * len(part))}) GROUP BY digest HAVING max(project = ?) = 0)",
                (*part, project),
            )
            != (0,)
            for part in (distinct[start : start + _DIGESTS_AT_A_TIME] for start in starts)
        )


def insert(
    connection: sqlite3.Connection,
    sender: Sender,
    source: str,
    content_type: str,
    received_at: int,
    sealed: Sealed,
) -> Receipt:
    """Add a batch, in the commit at hand."""
    seq = connection.execute(
        "INSERT INTO batch (digest, project, source, content_type, size, received_at, ciphertext,"
        " sender_key, trusted) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            sealed.digest,
            sender.project,
            source,
            content_type,
            sealed.size,
            received_at,
            sealed.ciphertext,
            sender.key,
            sender.trusted,
        ),
    ).lastrowid
    secret = sealed.secret
    connection.execute(
        "INSERT INTO batch_key VALUES (?, ?, ?, ?)",
        (seq, secret.key, secret.salt, secret.payload_sha256),
    )
    assert seq is not None
    return Receipt(seq, sealed.digest)


def _batch(row: Sequence[Any]) -> EvidenceBatch:
    return replace(EvidenceBatch(*row), trusted=bool(row[-1]))
