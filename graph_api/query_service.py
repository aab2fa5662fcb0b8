"""Reads the graph for HTTP callers: picks the snapshot, runs the task, puts the outcome into words.

Invariant: an answer's status line is sent only when the whole answer is there, so that nothing that
starts with 200 is ever cut short. Each answer names the head it was read at, and a caller never
reads an older graph than the one their own last commit made.
Specification: https://www.rfc-editor.org/rfc/rfc9110
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from prometheus_client import Counter, Histogram
from starlette.types import Receive

from graph_api import query_problems
from graph_api.problems import Problem
from graph_api.query_answer import Answer
from graph_api.query_messages import MORE, REFUSED, SPOOLED, Operation, Task
from graph_api.query_process import WorkerLost
from graph_api.query_queue import Job, Saturated
from graph_api.query_workers import QueryPool
from ontology.errors import SnapshotError
from ontology.ids import Ids
from ontology.recent_changes import RecentChanges
from ontology.snapshots import Lease, Snapshots
from ontology.unentailed import Unentailed

MOST_REBUILDS = 8
_LOOK_AGAIN = 0.02
WATCH_AFTER = 0.1
"""Seconds after which a running task watches whether its caller still is there."""


QUERIES = Counter("fractalops_reads_total", "Reads of the graph, by outcome.", ["outcome"])
SECONDS = Histogram("fractalops_read_seconds", "Time a read of the graph took, in seconds.")
_ANSWERED = QUERIES.labels(outcome="answered")


_Wanted = TypeVar("_Wanted", Lease, int)


class Reader(Protocol):
    """What this module needs to know of a caller; :class:`graph_api.auth.Caller` is one."""

    @property
    def principal(self) -> str: ...
    @property
    def hidden_graphs(self) -> frozenset[str]: ...


class ClientGone(Exception):
    """The caller hung up before the answer; there is nobody to tell."""


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """``seconds`` is what a query gets, ``most_seconds`` what it may ask for; sizes are bytes."""

    seconds: float = 10.0
    most_seconds: float = 30.0
    result_bytes: int = 64 * 1024 * 1024
    query_bytes: int = 1024 * 1024
    wait_seconds: float = 2.0


class Reading(NamedTuple):
    """What to read, and at which head: that of ``at``, or one of at least ``min_head``."""

    operation: Operation
    what: str = ""
    results_type: str = ""
    graph_type: str = ""
    dataset: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    at: int | None = None
    min_head: int = -1
    seconds: float | None = None
    entailed: bool = True
    """False for what was stated alone, without what is inferred."""
    repeatable: bool = True
    """False when the same reading may give other bytes at the same head."""


class Started(NamedTuple):
    """A reading on its way: its job, the head and tag of its answer, and since when it runs."""

    job: Job
    head: int
    etag: str | None
    since: float


class QueryService:
    """Reads for one server. ``min_head_for(principal)`` is the head of their own last commit;
    ``recent`` are the newest changes of the store that the snapshots are of."""

    def __init__(
        self,
        snapshots: Snapshots,
        pool: QueryPool,
        ids: Ids,
        limits: QueryLimits,
        min_head_for: Callable[[str], int] = lambda principal: -1,
        recent: RecentChanges | None = None,
    ) -> None:
        self.ids = ids
        self.limits = limits
        self._snapshots = snapshots
        self._unentailed = Unentailed(snapshots, ids, recent)
        self._pool = pool
        self._min_head_for = min_head_for
        self._rebuilder = ThreadPoolExecutor(1, thread_name_prefix="rebuild")
        self._rebuilding = 0
        # So that <id/service/shop/cart> and FROM <graph/lineage/shop> are the platform's own.
        self._base = f"{ids.base}/"

    def close(self) -> None:
        """Waits for a rebuild that is under way."""
        self._rebuilder.shutdown(wait=True, cancel_futures=True)

    async def read(
        self, caller: Reader, reading: Reading, receive: Receive, if_none_match: str | None = None
    ) -> Answer:
        """The answer to a reading. Raises :class:`Problem`, or :class:`ClientGone`."""
        started = time.perf_counter()
        try:
            answer = await self._read(caller, reading, receive, if_none_match)
        except Problem as problem:
            QUERIES.labels(outcome=problem.kind).inc()
            raise
        finally:
            SECONDS.observe(time.perf_counter() - started)
        _ANSWERED.inc()
        return answer

    async def _read(
        self, caller: Reader, reading: Reading, receive: Receive, if_none_match: str | None
    ) -> Answer:
        lease = await self._lease(caller.principal, reading)
        if not reading.entailed:
            lease = await self._without_inferred(lease)
        head = lease.snapshot.head
        hidden = _hidden(caller)
        etag = _etag(head, reading, hidden) if reading.repeatable else None
        if etag is not None and if_none_match is not None and _matches(if_none_match, etag):
            lease.release()
            return Answer(head, etag)
        try:
            started = self._submit(caller, reading, lease, hidden, etag)
        except Saturated as error:
            raise query_problems.busy("Too many queries wait already.") from error
        await self._outcome(started.job, receive)
        return self._answer(started)

    def start(self, caller: Reader, reading: Reading) -> Started | None:
        """A reading that need not wait for its turn here, on its way; else ``None``."""
        current = self._pool.current.head
        if reading.at is not None or not reading.entailed:
            return None
        if current < self._wanted(caller.principal, reading):
            return None
        try:
            lease = self._snapshots.try_lease(current)
            if lease is None:
                return None
            hidden = _hidden(caller)
            etag = _etag(current, reading, hidden) if reading.repeatable else None
            return self._submit(caller, reading, lease, hidden, etag)
        except (SnapshotError, Saturated):
            return None

    def finish(self, started: Started) -> Answer:
        """The answer of a reading whose job is done. Raises as :meth:`read` does."""
        SECONDS.observe(time.perf_counter() - started.since)
        try:
            answer = self._answer(started)
        except Problem as problem:
            QUERIES.labels(outcome=problem.kind).inc()
            raise
        _ANSWERED.inc()
        return answer

    def abandon(self, started: Started) -> None:
        """Ends a reading that nobody waits for any more."""
        self._pool.abandon(started.job)

    def _submit(
        self,
        caller: Reader,
        reading: Reading,
        lease: Lease,
        hidden: tuple[str, ...],
        etag: str | None,
    ) -> Started:
        """Raises :class:`Saturated`."""
        snapshot = lease.snapshot
        task = Task(
            reading.operation,
            str(snapshot.path),
            reading.what,
            reading.results_type,
            reading.graph_type,
            hidden,
            reading.dataset,
            self.limits.seconds if reading.seconds is None else reading.seconds,
            self.limits.result_bytes,
            self._base,
        )
        job = self._pool.submit(caller.principal, lease, task)
        return Started(job, snapshot.head, etag, time.perf_counter())

    def _answer(self, started: Started) -> Answer:
        head, etag, job = started.head, started.etag, started.job
        try:
            reply = job.future.result()
        except WorkerLost as lost:
            if lost.cause == "abandoned":
                raise ClientGone from lost
            raise query_problems.lost(
                lost.cause, job.seconds, self.limits.most_seconds, self._pool.memory
            ) from lost
        if reply.kind == REFUSED:
            raise query_problems.refused(reply, self.limits.result_bytes)
        if reply.kind == SPOOLED:
            media_type, size, path = reply.note.split("\n", 2)
            return Answer(head, etag, media_type, b"", Path(path), int(size))
        more = bool(reply.flags & MORE)
        return Answer(head, etag, reply.note, reply.body, None, len(reply.body), more)

    async def _outcome(self, job: Job, receive: Receive) -> None:
        """Waits until the job is done; a caller who hangs up meanwhile has it ended."""
        loop = asyncio.get_running_loop()
        watching: list[asyncio.Task[None]] = []

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            self._pool.abandon(job)

        timer = loop.call_later(WATCH_AFTER, lambda: watching.append(loop.create_task(watch())))
        try:
            with contextlib.suppress(WorkerLost):  # for _answer to put into words
                await job.future
        finally:
            timer.cancel()
            for watcher in watching:
                watcher.cancel()
            self._pool.abandon(job)

    def _wanted(self, principal: str, reading: Reading) -> int:
        return max(reading.min_head, self._min_head_for(principal))

    async def _lease(self, principal: str, reading: Reading) -> Lease:
        try:
            if reading.at is not None:
                return await self._lease_at(reading.at)
            wanted = self._wanted(principal, reading)
            head = self._pool.current.head
            if head < wanted:
                head = await self._wait_for(wanted)
            # Dropped in between, it is replaced by the newest, which is later still.
            return self._snapshots.try_lease(head) or self._snapshots.lease()
        except SnapshotError as error:
            raise _unreadable(error) from error

    async def _lease_at(self, head: int) -> Lease:
        newest = self._snapshots.current().head
        if head > newest:
            await self._wait_for(head)
        try:
            lease = self._snapshots.try_lease(head)
        except SnapshotError as error:
            raise query_problems.no_head(head, newest) from error
        if lease is not None:
            return lease
        self._refuse_rebuild()
        return await self._aside(self._snapshots.lease, head)

    async def _without_inferred(self, lease: Lease) -> Lease:
        ready = self._unentailed.ready(lease)
        if ready is not None:
            return ready
        try:
            self._refuse_rebuild()
        except Problem:
            lease.release()
            raise
        try:
            return await self._aside(self._unentailed.make, lease)
        except SnapshotError as error:
            raise _unreadable(error) from error

    def _refuse_rebuild(self) -> None:
        if self._rebuilding >= MOST_REBUILDS:
            raise query_problems.busy("Too many other states of the graph are being rebuilt.")

    async def _aside(self, take: Callable[[_Wanted], Lease], what: _Wanted) -> Lease:
        """Takes a lease in the thread for what takes long."""
        self._rebuilding += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._rebuilder, take, what)
        finally:
            self._rebuilding -= 1

    async def _wait_for(self, head: int) -> int:
        """The newest head, once it is at least ``head``."""
        self._snapshots.hurry(head)
        give_up = time.monotonic() + self.limits.wait_seconds
        while (newest := self._snapshots.current().head) < head:
            if time.monotonic() > give_up:
                raise query_problems.no_head(head, newest)
            await asyncio.sleep(_LOOK_AGAIN)
        return newest


def _unreadable(error: SnapshotError) -> Problem:
    return Problem(503, "snapshot-missing", "The graph can't be read now", str(error))


def _hidden(caller: Reader) -> tuple[str, ...]:
    return tuple(sorted(caller.hidden_graphs)) if caller.hidden_graphs else ()


def _etag(head: int, reading: Reading, hidden: tuple[str, ...]) -> str:
    how = (
        reading.operation,
        reading.results_type,
        reading.graph_type,
        reading.dataset,
        reading.entailed,
        hidden,
    )
    digest = hashlib.blake2b(f"{how}{reading.what}".encode(), digest_size=12)
    return f'"{head}-{digest.hexdigest()}"'


def _matches(if_none_match: str, etag: str) -> bool:
    if if_none_match.strip() == "*":
        return True
    return any(part.strip().removeprefix("W/") == etag for part in if_none_match.split(","))
