"""The durable queue between receivers and facts, and the store of raw evidence.

Invariant: `submit` answers only after the batch is committed and fsynced; batches are numbered in
the order of their commit, never change, and are never lost by a crash. Each is encrypted under a
key of its own, which lives in another table so that it can be destroyed alone.
Source: https://www.sqlite.org/pragma.html#pragma_synchronous
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from ingest.errors import EvidenceErased, InboxBehind, InboxError, InboxUnusable
from ingest.evidence import EvidenceBatch, Sealed, Secret, seal, unseal
from ingest.group_commit import GroupCommit, end_process
from ingest.quotas import Quotas
from ingest.sender import Sender

FORMAT_VERSION: Final = 2
_APPLICATION_ID: Final = 0x666F6962  # "foib"

_SCHEMA = """
CREATE TABLE batch (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE, project TEXT NOT NULL,
    source TEXT NOT NULL, content_type TEXT NOT NULL, size INTEGER NOT NULL,
    received_at INTEGER NOT NULL, ciphertext BLOB NOT NULL,
    sender_key TEXT NOT NULL DEFAULT '', trusted INTEGER NOT NULL DEFAULT 1);
CREATE TABLE batch_key (
    seq INTEGER PRIMARY KEY REFERENCES batch, key BLOB NOT NULL, salt BLOB NOT NULL,
    payload_sha256 TEXT NOT NULL);
CREATE TABLE set_aside (seq INTEGER PRIMARY KEY REFERENCES batch, reason TEXT NOT NULL);
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
# What each batch brought, for the audit. A table of its own that is made wherever it is missing: an
# older version leaves it alone, and what isn't noted isn't compared.
_BROUGHT = """
CREATE TABLE IF NOT EXISTS batch_facts (
    seq INTEGER PRIMARY KEY, count INTEGER NOT NULL, digest TEXT NOT NULL, keys BLOB NOT NULL)
"""
# What leads from each older format to the next one.
_UPGRADES = {
    1: (
        "ALTER TABLE batch ADD COLUMN sender_key TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE batch ADD COLUMN trusted INTEGER NOT NULL DEFAULT 1",
    ),
}
# Also made in an inbox from before there was one; ``entry`` is null where nothing was to be kept.
_ERASED = (
    "CREATE TABLE IF NOT EXISTS erased (seq INTEGER PRIMARY KEY REFERENCES batch, entry INTEGER)"
)
# What is still to be forwarded: :mod:`ingest.outbox`. It goes with the batch it came with.
_OUTBOX = """
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, batch INTEGER, project TEXT NOT NULL, kind TEXT NOT NULL,
    digest TEXT NOT NULL, size INTEGER NOT NULL, ciphertext BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_lane ON outbox (project, kind, id);
CREATE TABLE IF NOT EXISTS outbox_key (
    id INTEGER PRIMARY KEY REFERENCES outbox, key BLOB NOT NULL, salt BLOB NOT NULL,
    payload_sha256 TEXT NOT NULL);
"""
_DISCARD_AFTER = "discard-after"
_BATCH = (
    "SELECT batch.seq, digest, project, source, content_type, size, received_at, payload_sha256,"
    " sender_key, trusted FROM batch LEFT JOIN batch_key ON batch_key.seq = batch.seq "
)

MAX_BACKLOG = 1 << 30
_ERASED_AT_A_TIME = 256
# Parts of it that one project may fill: what its servers send, and up to where pages may.
_PROJECT_SHARE, _PUBLIC_SHARE = 0.5, 0.125
_BEHIND_RETRY_AFTER = 5
# Small files are looked through at every start; larger ones when they are read or audited.
_CHECKED_AT_START = 64 * 1024 * 1024


T = TypeVar("T")
Also = Callable[[sqlite3.Connection, int], None]
"""Writes in the commit of a batch, whose number it is given."""


@dataclass(frozen=True)
class Receipt:
    """A batch is durable: its number and its commitment (``sha256:...``)."""

    seq: int
    digest: str


@dataclass(frozen=True)
class Erased:
    """A payload is gone: by which entry of the proof log; ``None`` if none was to be kept."""

    entry: int | None


@dataclass(frozen=True)
class Counts:
    """``pending`` batches of ``pending_bytes`` are not facts yet; ``set_aside`` never will be."""

    batches: int
    pending: int
    pending_bytes: int
    set_aside: int


@dataclass(frozen=True)
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
        return self.keys is not None and (len(self.keys) // 8, _keys_digest(self.keys)) == (
            self.count,
            self.digest,
        )


class Inbox:
    """The inbox in one SQLite file. Safe to use from any thread.

    ``clock`` gives nanoseconds since 1970-01-01 UTC, ``random(n)`` n secret bytes. ``fatal`` is
    called when it is unknown what reached the disk and must not return in production. ``quotas``
    say what each project may send; ``on_batch`` is called for each batch that is durable, and is
    quick.
    Raises :class:`InboxUnusable` for a file that is damaged, foreign or of a newer version.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], int] = time.time_ns,
        random: Callable[[int], bytes] = secrets.token_bytes,
        fatal: Callable[[str], None] = end_process,
        max_backlog: int = MAX_BACKLOG,
        quotas: Quotas | None = None,
        on_batch: Callable[[Sender], None] = lambda sender: None,
        connect: Callable[[Path], sqlite3.Connection] | None = None,
    ) -> None:
        self.path = path
        self.quotas = quotas or Quotas()
        self._on_batch = on_batch
        self._clock = clock
        self._random = random
        self._max_backlog = max_backlog
        self._connect = connect or _connect
        self._reader = self._open()
        self._reading = threading.Lock()
        self._arrived = threading.Condition()
        self._cursor = int(self._state("cursor") or 0)
        self._discard_after: int | None = None
        self._pending = 0
        self._pending_bytes: Counter[str] = Counter()
        for project, batches, size in self._all(
            "SELECT project, count(*), sum(size) FROM batch WHERE seq > ? GROUP BY project",
            (self._cursor,),
        ):
            self._pending += batches
            self._pending_bytes[project] = size
        self._reserved: Counter[str] = Counter()
        self._writer = GroupCommit(lambda: self._connect(path), fatal)

    async def submit(
        self,
        sender: Sender,
        source: str,
        content_type: str,
        payload: bytes,
        also: Also | None = None,
    ) -> Receipt:
        """Store a batch; returns once it is durable. ``also`` writes in the same commit.

        Raises :class:`InboxBehind` when facts lag by more than the backlog allows,
        :class:`InboxFull` when the disk has no room, :class:`InboxClosed` at the end.
        """
        return await asyncio.wrap_future(
            await asyncio.to_thread(self._hand_in, sender, source, content_type, payload, also)
        )

    def submit_blocking(
        self, sender: Sender, source: str, content_type: str, payload: bytes
    ) -> Receipt:
        """As :meth:`submit`, for threads."""
        return self._hand_in(sender, source, content_type, payload).result()

    def pending(self, after: int, limit: int) -> tuple[EvidenceBatch, ...]:
        """The next batches after this number, in order."""
        rows = self._all(_BATCH + "WHERE batch.seq > ? ORDER BY batch.seq LIMIT ?", (after, limit))
        return tuple(map(_batch, rows))

    def payload(self, seq: int) -> bytes:
        """The bytes of a batch. Raises :class:`EvidenceErased`, or :class:`EvidenceCorrupt`."""
        row = self._one(
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

    def evidence(self, digest: str) -> EvidenceBatch | None:
        """The batch with this commitment (``sha256:...``), ``None`` if there is none."""
        row = self._one(_BATCH + "WHERE digest = ?", (digest,))
        return _batch(row) if row else None

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
        rows = self._all(
            f"{_BATCH}WHERE {' AND '.join(conditions)} ORDER BY batch.seq {order} LIMIT ?",
            (*values, limit),
        )
        return tuple(_batch(row) for row in rows)

    def untrusted(self, digests: Sequence[str]) -> bool:
        """Whether one of these batches came from a sender that isn't trusted."""
        return any(
            self._one(
                "SELECT 1 FROM batch WHERE NOT trusted AND digest IN"
                f" ({', '.join('?' * len(part))}) LIMIT 1",
                tuple(part),
            )
            for part in (digests[at : at + 500] for at in range(0, len(digests), 500))
        )

    def destroy_key(self, digest: str) -> bool:
        """As :meth:`erase` for one payload, without an entry; ``False`` if it is gone already."""
        return self.erase((digest,), None) > 0

    def erase(self, digests: Iterable[str], entry: int | None) -> int:
        """Erase payloads for good by destroying what opens them; how many were still there.

        ``entry`` is that of the proof log which says so. What is there no more is passed over.
        """
        erased, every = 0, list(digests)
        for start in range(0, len(every), _ERASED_AT_A_TIME):
            some = every[start : start + _ERASED_AT_A_TIME]

            def job(connection: sqlite3.Connection, some: list[str] = some) -> int:
                return _erase(
                    connection, f"digest IN ({', '.join('?' * len(some))})", tuple(some), entry
                )

            erased += self._writer.submit(job).result()
        self.fold()
        return erased

    def erased(self, digest: str) -> Erased | None:
        """How the payload with this commitment was erased; ``None`` while it is there, or for a
        batch that is not."""
        row = self._one(
            "SELECT entry FROM erased JOIN batch ON batch.seq = erased.seq WHERE digest = ?",
            (digest,),
        )
        return Erased(row[0]) if row else None

    def erasures(self) -> Mapping[int | None, int]:
        """How many payloads each entry of the proof log erased; ``None`` stands for no entry."""
        rows = self._all("SELECT entry, count(*) FROM erased GROUP BY entry", ())
        return dict(rows)

    def unexplained(self) -> tuple[str, ...]:
        """Commitments of payloads that are gone though nothing erased them; at most twenty."""
        rows = self._all(
            _BATCH + "WHERE payload_sha256 IS NULL AND batch.seq NOT IN (SELECT seq FROM erased)"
            " ORDER BY batch.seq LIMIT 20",
            (),
        )
        return tuple(_batch(row).digest for row in rows)

    def keep_payloads(self, keep: bool) -> None:
        """Whether payloads stay once they are facts. Those that were kept until now stay."""
        if keep:
            self._writer.submit(
                lambda connection: (
                    connection.execute(
                        "DELETE FROM state WHERE name = ?", (_DISCARD_AFTER,)
                    ).rowcount
                )
            ).result()
            self._discard_after = None
            return
        found = self._state(_DISCARD_AFTER)
        if found is None:
            found = str(self._cursor)
            self.set_state(_DISCARD_AFTER, found)
        self._discard_after = int(found)

    def fold(self) -> None:
        """The write-ahead log holds pages as they were until it is folded into the file."""
        with self._reading:
            self._reader.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    @property
    def cursor(self) -> int:
        """The number of the last batch whose facts are in the warehouse; 0 before the first."""
        return self._cursor

    def advance(self, seq: int, brought: Mapping[int, bytes] | None = None) -> None:
        """Move the cursor, durably; backwards to have batches turned into facts again, those that
        were set aside included. ``brought`` has the keys of the facts of each batch that is passed,
        as :class:`Brought` says. Payloads that are not to be kept go with the same commit."""
        notes = [
            (number, len(keys) // 8, _keys_digest(keys), keys)
            for number, keys in (brought or {}).items()
        ]
        discard_after = self._discard_after

        def job(connection: sqlite3.Connection) -> list[tuple[str, int, int]]:
            _set_state(connection, "cursor", str(seq))
            if discard_after is not None:
                passed = (max(discard_after, self._cursor), seq)
                _erase(connection, "batch.seq > ? AND batch.seq <= ?", passed, None)
            connection.execute("DELETE FROM set_aside WHERE seq > ?", (seq,))
            connection.executemany("INSERT OR REPLACE INTO batch_facts VALUES (?, ?, ?, ?)", notes)
            return connection.execute(
                "SELECT project, count(*), sum(size) FROM batch WHERE seq > ? AND seq <= ?"
                " GROUP BY project",
                (min(self._cursor, seq), max(self._cursor, seq)),
            ).fetchall()

        moved = self._writer.submit(job).result()
        sign = 1 if seq < self._cursor else -1
        with self._arrived:
            self._cursor = seq
            for project, batches, size in moved:
                self._pending += sign * batches
                self._pending_bytes[project] += sign * size
        if discard_after is not None:
            self.fold()

    def set_aside(self, seq: int, reason: str) -> None:
        """Note, durably, that a batch can't be turned into facts, and why."""

        def job(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO set_aside VALUES (?, ?)", (seq, reason))

        self._writer.submit(job).result()

    def aside(self) -> tuple[tuple[int, str], ...]:
        """(number, reason) of every batch that was set aside."""
        return tuple(self._all("SELECT seq, reason FROM set_aside ORDER BY seq", ()))

    def brought(self, after: int, until: int, limit: int) -> tuple[Brought, ...]:
        """What the next batches after this number brought, up to another one, in order."""
        rows = self._all(
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

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job on the file, between batches; returns once what it wrote is durable."""
        return await asyncio.wrap_future(self._writer.submit(job))

    def write_blocking(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """As :meth:`write`, for threads."""
        return self._writer.submit(job).result()

    def read(self, sql: str, values: tuple[object, ...] = ()) -> list[Any]:
        """Rows of the file, for what else lies in it."""
        return self._all(sql, values)

    def state(self, name: str) -> str | None:
        """A value that a reader of the queue keeps here, next to its cursor."""
        return self._state(name)

    def set_state(self, name: str, value: str) -> None:
        """Keep such a value, durably."""
        self._writer.submit(lambda connection: _set_state(connection, name, value)).result()

    @property
    def last_seq(self) -> int:
        """The number of the newest batch, 0 before the first."""
        row = self._one("SELECT coalesce(max(seq), 0) FROM batch", ())
        return int(row[0])

    def wait(self, after: int, timeout: float) -> bool:
        """Wait for a batch with a higher number, at most ``timeout`` seconds; whether there is."""
        with self._arrived:
            if self.last_seq > after:
                return True
            self._arrived.wait(timeout)
        return self.last_seq > after

    def wake(self) -> None:
        """Make :meth:`wait` return."""
        with self._arrived:
            self._arrived.notify_all()

    def counts(self) -> Counts:
        batches = self._one("SELECT count(*) FROM batch", ())[0]
        aside = self._one("SELECT count(*) FROM set_aside", ())[0]
        with self._arrived:
            return Counts(batches, self._pending, self._pending_bytes.total(), aside)

    def close(self) -> None:
        """Finish what was handed in, then close the file."""
        self._writer.close()
        with self._reading:
            self._reader.close()

    def _hand_in(
        self,
        sender: Sender,
        source: str,
        content_type: str,
        payload: bytes,
        also: Also | None = None,
    ) -> Future[Receipt]:
        self._reserve(sender, len(payload))
        try:
            sealed = seal(payload, self._random)
            received_at = self._clock()

            def job(connection: sqlite3.Connection) -> Receipt:
                receipt = _insert(connection, sender, source, content_type, received_at, sealed)
                if also is not None:
                    also(connection, receipt.seq)
                return receipt

            future = self._writer.submit(job)
        except BaseException:
            self._release(sender, len(payload))
            raise
        future.add_done_callback(lambda done: self._settled(done, sender, len(payload)))
        return future

    def _reserve(self, sender: Sender, size: int) -> None:
        share = _PROJECT_SHARE if sender.trusted else _PUBLIC_SHARE
        with self._arrived:
            # An empty queue takes whatever the limit of a single body lets through.
            for waiting, room, whose in (
                (self._waiting(), self._max_backlog, ""),
                (self._waiting(sender.project), self._max_backlog * share, " of this project"),
            ):
                if waiting and waiting + size > room:
                    raise InboxBehind(
                        f"{waiting} bytes{whose} wait to become facts; send this again later",
                        retry_after=_BEHIND_RETRY_AFTER,
                    )
            self._reserved[sender.project] += size

    def _waiting(self, project: str | None = None) -> int:
        """Bytes that are no facts yet, of one project or of all."""
        if project is None:
            return self._pending_bytes.total() + self._reserved.total()
        return self._pending_bytes[project] + self._reserved[project]

    def _release(self, sender: Sender, size: int) -> None:
        with self._arrived:
            self._reserved[sender.project] -= size

    def _settled(self, done: Future[Receipt], sender: Sender, size: int) -> None:
        kept = not done.cancelled() and done.exception() is None
        with self._arrived:
            self._reserved[sender.project] -= size
            if kept:
                self._pending += 1
                self._pending_bytes[sender.project] += size
                self._arrived.notify_all()
        if kept:
            self._on_batch(sender)

    def _state(self, name: str) -> str | None:
        row = self._one("SELECT value FROM state WHERE name = ?", (name,))
        return str(row[0]) if row else None

    def _one(self, sql: str, values: tuple[object, ...]) -> Any:
        rows = self._all(sql, values)
        return rows[0] if rows else None

    def _all(self, sql: str, values: tuple[object, ...]) -> list[Any]:
        with self._reading:
            try:
                return self._reader.execute(sql, values).fetchall()
            except sqlite3.DatabaseError as error:
                raise InboxError(
                    f"{self.path.name} could not be read ({error}); stop the server and restore"
                    " the file from a backup"
                ) from error

    def _open(self) -> sqlite3.Connection:
        try:
            connection = self._connect(self.path)
            _check(connection, self.path)
        except sqlite3.DatabaseError as error:
            raise InboxUnusable(
                f"{self.path.name} is damaged or not an inbox ({error}): restore it from a backup;"
                " or move it away to start with an empty one, which loses the evidence in it and"
                " what had not become facts"
            ) from error
        return connection


def _batch(row: Sequence[Any]) -> EvidenceBatch:
    return replace(EvidenceBatch(*row), trusted=bool(row[-1]))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(f"PRAGMA journal_size_limit = {_CHECKED_AT_START}")
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables:
        connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id = {_APPLICATION_ID};"
            f" PRAGMA user_version = {FORMAT_VERSION}; {_SCHEMA} {_BROUGHT}; {_ERASED};"
            f" {_OUTBOX} COMMIT;"
        )
        return
    if application_id != _APPLICATION_ID:
        raise InboxUnusable(f"{path.name} is not an inbox; move it away or name another folder")
    if version > FORMAT_VERSION:
        raise InboxUnusable(
            f"{path.name} has format {version}, this version reads up to {FORMAT_VERSION}: install"
            " the version that wrote it, or a newer one"
        )
    for older in range(version, FORMAT_VERSION):
        _upgrade(connection, older)
    connection.execute(_BROUGHT)
    connection.execute(_ERASED)
    connection.executescript(_OUTBOX)
    if path.stat().st_size <= _CHECKED_AT_START:
        (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise sqlite3.DatabaseError(finding)


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Lead a file of this format to the next one, whole or not at all."""
    statements = "; ".join(_UPGRADES[version])
    connection.executescript(
        f"BEGIN IMMEDIATE; {statements}; PRAGMA user_version = {version + 1}; COMMIT;"
    )


def _insert(
    connection: sqlite3.Connection,
    sender: Sender,
    source: str,
    content_type: str,
    received_at: int,
    sealed: Sealed,
) -> Receipt:
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


def _keys_digest(keys: bytes) -> str:
    return f"sha256:{hashlib.sha256(keys).hexdigest()}"


def _erase(
    connection: sqlite3.Connection, which: str, values: tuple[object, ...], entry: int | None
) -> int:
    """Erase the payloads of these batches that are still there; how many that were."""
    connection.execute(
        "INSERT OR IGNORE INTO erased SELECT batch.seq, ? FROM batch"
        f" JOIN batch_key ON batch_key.seq = batch.seq WHERE {which}",
        (entry, *values),
    )
    destroyed = connection.execute(
        f"DELETE FROM batch_key WHERE seq IN (SELECT seq FROM batch WHERE {which})", values
    ).rowcount
    connection.execute(f"UPDATE batch SET ciphertext = x'' WHERE {which}", values)
    if entry is not None:
        connection.execute(
            "DELETE FROM outbox_key WHERE id IN (SELECT id FROM outbox WHERE batch IN"
            f" (SELECT seq FROM batch WHERE {which}))",
            values,
        )
        connection.execute(
            f"DELETE FROM outbox WHERE batch IN (SELECT seq FROM batch WHERE {which})", values
        )
        # Their payloads may be gone for longer: now the log says so.
        connection.execute(
            "UPDATE erased SET entry = ? WHERE entry IS NULL"
            f" AND seq IN (SELECT seq FROM batch WHERE {which})",
            (entry, *values),
        )
    return destroyed


def _set_state(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))
