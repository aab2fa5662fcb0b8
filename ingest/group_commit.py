"""One writer thread for one SQLite file: whoever waits at the same time shares one fsync.

Invariant: a job's future resolves only after the transaction that holds it was committed with
``synchronous=FULL``; a job whose transaction failed left nothing behind. When it is unknown
whether a commit reached the disk, ``fatal`` is called and no future ever resolves with success.
Source: https://www.sqlite.org/wal.html, https://www.sqlite.org/rescode.html
"""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from ingest.errors import InboxClosed, InboxError, InboxFull

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], Any]

_MAX_JOBS = 512

# The disk refused a write before the commit: nothing of the transaction counts, and the next one
# may succeed. A quota or a file size limit shows as a failed write, a full disk while the shared
# memory file grows as a failed resize.
_REFUSED = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_SHMMAP,
        sqlite3.SQLITE_IOERR_NOMEM,
    }
)
_RETRY_AFTER = 5

log = logging.getLogger(__name__)


def end_process(reason: str) -> None:
    """The default ``fatal``: no cleanup, which could acknowledge or write; the next start heals."""
    log.critical("ending the process: %s", reason)
    os._exit(70)


class GroupCommit:
    """Runs jobs on one connection, many to a transaction, in the order they were handed in."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], fatal: Callable[[str], None]):
        self._connect = connect
        self._fatal = fatal
        self._jobs: queue.SimpleQueue[tuple[Job, Future[Any]] | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._broken = False
        self._thread = threading.Thread(target=self._run, name="inbox-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Queue a job; its future carries what it returned, once that is durable, or the error."""
        future: Future[T] = Future()
        with self._closing:
            if self._closed or self._broken:
                future.set_exception(_closed())
                return future
            self._jobs.put((job, future))
        return future

    def close(self) -> None:
        """Finish what was handed in, then stop."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        connection = self._connect()
        try:
            stopping = False
            while not stopping:
                group, stopping = self._take()
                if group:
                    self._commit(connection, group)
        finally:
            connection.close()

    def _take(self) -> tuple[list[tuple[Job, Future[Any]]], bool]:
        """Everything that waits, at least one; and whether closing was asked for after it."""
        group: list[tuple[Job, Future[Any]]] = []
        item = self._jobs.get()
        while item is not None:
            job, future = item
            if future.set_running_or_notify_cancel():
                group.append((job, future))
            if len(group) >= _MAX_JOBS:
                return group, False
            try:
                item = self._jobs.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit(self, connection: sqlite3.Connection, group: list[tuple[Job, Future[Any]]]) -> None:
        results: list[Any] = []
        failure: Exception | None = _closed() if self._broken else None
        if failure is None:
            try:
                connection.execute("BEGIN IMMEDIATE")
                results = [job(connection) for job, _ in group]
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                failure = self._refusal(error)
            except Exception as error:
                # A fault in one job: nothing of its group was committed.
                log.exception("a write to the inbox failed")
                failure = error
        if failure is None:
            for (_, future), result in zip(group, results, strict=True):
                future.set_result(result)
            return
        self._roll_back(connection)
        for _, future in group:
            future.set_exception(failure)

    def _refusal(self, error: sqlite3.Error) -> InboxError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        log.error("a write to the inbox was refused: %s", error)
        if code in _REFUSED:
            return InboxFull(
                "nothing was stored; send it again later, after the operator has made room",
                retry_after=_RETRY_AFTER,
            )
        if code & 0xFF == sqlite3.SQLITE_IOERR:
            self._end(f"the inbox could not be flushed to disk ({error}); check the disk")
            return _closed()
        return InboxError(f"the inbox could not be written ({error}); nothing was stored")

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._end(f"the inbox could not be rolled back ({error}); check the disk")

    def _end(self, reason: str) -> None:
        if not self._broken:
            self._broken = True
            self._fatal(reason)


def _closed() -> InboxClosed:
    return InboxClosed("nothing was stored; send it again", retry_after=_RETRY_AFTER)
