"""The durable queue between receivers and facts.

Invariant: `submit` answers only after the batch is committed and fsynced, and with it whatever is
to be in the same commit; a batch is never lost by a crash, and is passed by the cursor once its
facts are stored. What lies in the queue's file besides is each a part of its own: raw evidence, its
erasures, and the notes of what batches brought.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from ingest.backlog import MAX_BACKLOG, Backlog
from ingest.batch_notes import BatchNotes, note
from ingest.erasures import Erasures
from ingest.evidence import EvidenceBatch, seal
from ingest.evidence_store import EvidenceStore, Receipt, insert
from ingest.group_commit import end_process
from ingest.inbox_file import InboxFile, put_state
from ingest.quotas import Quotas
from ingest.sender import Sender

_CURSOR = "cursor"

Also = Callable[[sqlite3.Connection, int], None]
"""Writes in the commit of a batch, whose number it is given."""


@dataclass(frozen=True, slots=True)
class Counts:
    """``pending`` batches of ``pending_bytes`` are not facts yet; ``set_aside`` never will be."""

    batches: int
    pending: int
    pending_bytes: int
    set_aside: int


class Inbox:
    """The inbox in one SQLite file. Safe to use from any thread.

    ``clock`` gives nanoseconds since 1970-01-01 UTC, ``random(n)`` n secret bytes. ``fatal`` and
    ``connect`` are those of :class:`InboxFile`. ``quotas`` say what each project may send;
    ``on_batch`` is called for each batch that is durable, and is quick.
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
        self.file = InboxFile(path, fatal=fatal, connect=connect)
        self.evidence = EvidenceStore(self.file)
        self.erasures = Erasures(self.file)
        self.notes = BatchNotes(self.file)
        self.quotas = quotas or Quotas()
        self._on_batch = on_batch
        self._clock = clock
        self._random = random
        self._arrived = threading.Condition()
        self._cursor = int(self.file.state(_CURSOR) or 0)
        waiting = self.file.rows(
            "SELECT project, count(*), sum(size) FROM batch WHERE seq > ? GROUP BY project",
            (self._cursor,),
        )
        self._backlog = Backlog(waiting, max_backlog)

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
        return self.evidence.batches(after=after, limit=limit)

    def payload(self, seq: int) -> bytes:
        """The bytes of a batch, as :meth:`EvidenceStore.payload` reads them."""
        return self.evidence.payload(seq)

    @property
    def cursor(self) -> int:
        """The number of the last batch whose facts are in the warehouse; 0 before the first."""
        return self._cursor

    def advance(self, seq: int, brought: Mapping[int, bytes] | None = None) -> None:
        """Move the cursor, durably; backwards to have batches turned into facts again, those that
        were set aside included. ``brought`` has the keys of the facts of each batch that is passed,
        as :class:`ingest.batch_notes.Brought` says. Payloads that are not to be kept go with the
        same commit."""
        before = self._cursor

        def job(connection: sqlite3.Connection) -> list[tuple[str, int, int]]:
            put_state(connection, _CURSOR, str(seq))
            self.erasures.discard(connection, before, seq)
            connection.execute("DELETE FROM set_aside WHERE seq > ?", (seq,))
            note(connection, brought or {})
            return connection.execute(
                "SELECT project, count(*), sum(size) FROM batch WHERE seq > ? AND seq <= ?"
                " GROUP BY project",
                (min(before, seq), max(before, seq)),
            ).fetchall()

        moved = self.file.write(job)
        self._cursor = seq
        if seq < before:
            self._backlog.add(moved)
        else:
            self._backlog.take(moved)
        if self.erasures.discarding:
            self.file.fold()

    def set_aside(self, seq: int, reason: str) -> None:
        """Note, durably, that a batch can't be turned into facts, and why."""

        def job(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO set_aside VALUES (?, ?)", (seq, reason))

        self.file.write(job)

    def aside(self) -> tuple[tuple[int, str], ...]:
        """(number, reason) of every batch that was set aside."""
        return tuple(self.file.rows("SELECT seq, reason FROM set_aside ORDER BY seq"))

    def keep_payloads(self, keep: bool) -> None:
        """Whether payloads stay once they are facts. Those that were kept until now stay."""
        self.erasures.keep_payloads(keep, self._cursor)

    def state(self, name: str) -> str | None:
        """A value that a reader of the queue keeps here, next to its cursor."""
        return self.file.state(name)

    def set_state(self, name: str, value: str) -> None:
        """Keep such a value, durably."""
        self.file.set_state(name, value)

    @property
    def last_seq(self) -> int:
        """The number of the newest batch, 0 before the first."""
        return self.evidence.last_seq

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

    def waiting(self) -> tuple[int, int]:
        """How many batches are not facts yet, and their bytes; asks no file."""
        return self._backlog.pending()

    def counts(self) -> Counts:
        pending, size = self.waiting()
        aside = self.file.row("SELECT count(*) FROM set_aside")[0]
        return Counts(self.evidence.count(), pending, size, aside)

    def close(self) -> None:
        """Finish what was handed in, then close the file."""
        self.file.close()

    def _hand_in(
        self,
        sender: Sender,
        source: str,
        content_type: str,
        payload: bytes,
        also: Also | None = None,
    ) -> Future[Receipt]:
        size = len(payload)
        self._backlog.reserve(sender, size)
        try:
            sealed = seal(payload, self._random)
            received_at = self._clock()

            def job(connection: sqlite3.Connection) -> Receipt:
                receipt = insert(connection, sender, source, content_type, received_at, sealed)
                if also is not None:
                    also(connection, receipt.seq)
                return receipt

            future = self.file.submit(job)
        except BaseException:
            self._backlog.settle(sender, size, kept=False)
            raise
        future.add_done_callback(lambda done: self._settled(done, sender, size))
        return future

    def _settled(self, done: Future[Receipt], sender: Sender, size: int) -> None:
        kept = not done.cancelled() and done.exception() is None
        self._backlog.settle(sender, size, kept=kept)
        if kept:
            self.wake()
            self._on_batch(sender)
