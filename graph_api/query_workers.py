"""Runs tasks on snapshots in worker processes that can be killed.

Invariant: whatever a query does, it costs at most its own worker, which is killed and replaced;
other principals' queries go on. There is one worker more than one principal may keep busy, so a
flood from one leaves a worker to everybody else; what waits is taken from the principals in turn,
and what can't even wait is refused at once. A worker's snapshots are leased while it has them open.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from pathlib import Path
from typing import Any

from graph_api.query_messages import RETIRING, Reply, Task
from graph_api.query_process import (
    CAUSES,
    GRACE,
    Cause,
    Closing,
    Expected,
    Warming,
    WorkerLost,
    WorkerProcess,
    start_worker,
)
from graph_api.query_queue import Job, Queue, Saturated
from ontology.snapshots import Lease, Snapshot, Snapshots

MOST_OPEN = 3
"""Snapshots that one worker keeps open."""

logger = logging.getLogger(__name__)


class QueryPool:
    """Worker processes, and who may use them. To be used in one event loop.

    ``workers`` is how many one principal may keep busy; one more is started. ``memory`` is what a
    query may take in a worker, in bytes. Spool files and logs go to ``scratch``.
    """

    def __init__(self, snapshots: Snapshots, scratch: Path, workers: int, memory: int) -> None:
        self._snapshots = snapshots
        self._scratch = scratch
        self._each = workers
        self.memory = memory
        self._workers: set[WorkerProcess] = set()
        self._idle: list[WorkerProcess] = []
        self._queue = Queue()
        self._running: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._failures = 0
        self._closed = False
        self._started: asyncio.Event = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._names = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._current: Snapshot | None = None

    async def start(self, timeout: float = 30.0) -> None:
        """Starts the workers and waits until one is ready to answer."""
        self._loop = asyncio.get_running_loop()
        self._scratch.mkdir(parents=True, exist_ok=True)
        for left in self._scratch.glob("worker-*"):
            left.unlink()
        self._current = self._snapshots.current()
        self._snapshots.subscribe(self._snapshot_cut)
        for _ in range(self._each + 1):
            await self._spawn()
        self._background(self._watch())
        async with asyncio.timeout(timeout):
            await self._started.wait()

    async def close(self) -> None:
        """Ends the workers; what still runs or waits is abandoned."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in list(self._workers):
            worker.kill("abandoned")
            worker.hang_up()
            await asyncio.to_thread(worker.process.stop, 0)
            self._forget(worker)
            if worker.job is not None:
                self._fail(worker.job, "abandoned")
        while (job := self._queue.take({}, 1)) is not None:
            self._fail(job, "abandoned")

    @property
    def current(self) -> Snapshot:
        """The newest snapshot that a worker has open already."""
        assert self._current is not None
        return self._current

    def submit(self, principal: str, lease: Lease, task: Task) -> Job:
        """Starts the task, or has it wait. The lease is the pool's from here on.

        Raises :class:`Saturated`.
        """
        assert self._loop is not None
        job = Job(principal, lease, task.encode(), task.seconds, self._loop.create_future())
        if self._idle and self._running[principal] < self._each and not self._queue.size:
            self._assign(job)
            return job
        try:
            if self._closed:
                raise Saturated
            self._queue.add(job)
        except Saturated:
            lease.release()
            raise
        self._dispatch()
        return job

    def abandon(self, job: Job) -> None:
        """Ends a job that nobody waits for any more, with its worker if it runs."""
        if job.future.done():
            return
        if job.worker is not None:
            job.worker.kill("abandoned")
        else:
            self._queue.remove(job)
            job.lease.release()
        job.future.set_exception(WorkerLost("abandoned"))
        # Nobody may be there to look at it.
        job.future.exception()

    def status(self) -> dict[str, Any]:
        """Numbers for an operator; ``network_denied`` is false where the kernel can't deny it."""
        ready = [worker for worker in self._workers if worker.holds is not None]
        return {
            "workers": len(ready),
            "per_principal": self._each,
            "busy": sum(worker.job is not None for worker in ready),
            "waiting": self._queue.size,
            "memory_bytes": self.memory,
            "network_denied": bool(ready)
            and all(worker.holds is not None and worker.holds.get("network") for worker in ready),
            "ended": dict(self._ended),
            "head": self._current.head if self._current else None,
        }

    def _assign(self, job: Job) -> None:
        path = job.lease.snapshot.path
        worker = next((one for one in reversed(self._idle) if path in one.open), self._idle[-1])
        self._idle.remove(worker)
        assert self._loop is not None
        job.worker, worker.job = worker, job
        job.deadline = self._loop.time() + job.seconds + GRACE
        self._running[job.principal] += 1
        worker.send(job.data, job)
        self._keep_open(worker, job.lease)

    def _keep_open(self, worker: WorkerProcess, lease: Lease) -> None:
        """Notes that a worker has a snapshot open, and has it close the one used longest ago."""
        path = lease.snapshot.path
        if path in worker.open:
            worker.open.move_to_end(path)
            lease.release()
            return
        worker.open[path] = lease
        if len(worker.open) > MOST_OPEN:
            old, old_lease = worker.open.popitem(last=False)
            worker.send(Task("close", str(old)).encode(), Closing(old_lease))

    def _dispatch(self) -> None:
        while self._idle and self._queue.size:
            job = self._queue.take(self._running, self._each)
            if job is None:
                return
            self._assign(job)

    def ready(self, worker: WorkerProcess) -> None:
        self._failures = 0
        self._idle.append(worker)
        self._started.set()
        self._warm(worker, self.current)
        self._dispatch()

    def replied(self, worker: WorkerProcess, expected: Expected, reply: Reply) -> None:
        if isinstance(expected, Closing):
            expected.lease.release()
        elif isinstance(expected, Warming):
            self._switch(expected.snapshot)
        else:
            self._over(expected)
            worker.job = None
            if not expected.future.done():
                expected.future.set_result(reply)
            if not reply.flags & RETIRING and worker.cause is None:
                self._idle.append(worker)
        if reply.flags & RETIRING:
            worker.retiring = True
            if worker in self._idle:
                self._idle.remove(worker)
        self._dispatch()

    def _over(self, job: Job) -> None:
        self._running[job.principal] -= 1
        if not self._running[job.principal]:
            del self._running[job.principal]

    def _snapshot_cut(self, snapshot: Snapshot) -> None:
        """Called in the thread that cut it."""
        if self._loop is not None and not self._closed:
            with contextlib.suppress(RuntimeError):  # the loop was closed in between
                self._loop.call_soon_threadsafe(self._warm_all, snapshot)

    def _warm_all(self, snapshot: Snapshot) -> None:
        """Has the idle workers open a new snapshot, so that no query waits for that."""
        assert self._loop is not None
        for worker in self._idle:
            self._warm(worker, snapshot)
        # With every worker busy, the queries that come next would read the old one for too long.
        self._loop.call_later(1.0, self._switch, snapshot)

    def _warm(self, worker: WorkerProcess, snapshot: Snapshot) -> None:
        lease = self._snapshots.try_lease(snapshot.head)
        if lease is None:
            return
        if lease.snapshot.path not in worker.open:
            task = Task("open", str(lease.snapshot.path), seconds=60.0)
            worker.send(task.encode(), Warming(lease.snapshot))
        self._keep_open(worker, lease)

    def _switch(self, snapshot: Snapshot) -> None:
        if self._current is None or snapshot.head > self._current.head:
            self._current = snapshot

    def lost(self, worker: WorkerProcess) -> None:
        """The connection to a worker ended, and so does the worker."""
        if worker in self._idle:
            self._idle.remove(worker)
        if not self._closed:
            self._background(self._replace(worker))

    async def _replace(self, worker: WorkerProcess) -> None:
        code = await asyncio.to_thread(worker.reap)
        cause = worker.cause or CAUSES.get(code, "crash")
        job = worker.job
        if not (worker.retiring and job is None):
            self._ended[cause] += 1
            if cause == "crash":
                logger.error("a query worker ended with %d: %s", code, worker.last_words())
        self._forget(worker)
        if job is not None:
            self._over(job)
            self._fail(job, cause)
        if worker.holds is None:
            self._failures += 1
            logger.error("a query worker did not start (%d): %s", code, worker.last_words())
            await asyncio.sleep(min(30.0, 0.1 * 2 ** min(self._failures, 9)))
        await self._spawn()
        self._dispatch()

    def _fail(self, job: Job, cause: Cause) -> None:
        if job.worker is None:
            job.lease.release()
        if not job.future.done():
            job.future.set_exception(WorkerLost(cause))
            job.future.exception()

    def _forget(self, worker: WorkerProcess) -> None:
        self._workers.discard(worker)
        for lease in worker.open.values():
            lease.release()
        worker.open.clear()
        for expected in worker.expected:
            if isinstance(expected, Closing):
                expected.lease.release()
        for left in self._scratch.glob(f"{worker.log.stem}-*"):
            left.unlink(missing_ok=True)
        worker.log.unlink(missing_ok=True)

    async def _spawn(self) -> None:
        self._names += 1
        worker = await start_worker(self, self._scratch, self._names, self.memory)
        self._workers.add(worker)

    async def _watch(self) -> None:
        """Kills what outlived its own alarm."""
        assert self._loop is not None
        while True:
            await asyncio.sleep(0.5)
            now = self._loop.time()
            for worker in self._workers:
                if worker.job is not None and now > worker.job.deadline:
                    worker.kill("time")

    def _background(self, coroutine: Any) -> None:
        assert self._loop is not None
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
