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
import os
import signal
import socket
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from graph_api.query_messages import READY, RETIRING, Reply, ReplyReader, Task
from ontology.snapshots import Lease, Snapshot, Snapshots
from runtime.errors import ProcessTimeout
from runtime.process_exec import Running, spawn

MOST_OPEN = 3
"""Snapshots that one worker keeps open."""

MOST_WAITING = 256
MOST_WAITING_EACH = 64
GRACE = 2.0
"""Seconds after its own alarm at which a worker is killed from outside."""

Cause = Literal["time", "memory", "depth", "network", "abandoned", "crash"]

_CAUSES: dict[int, Cause] = {
    -signal.SIGALRM: "time",
    -signal.SIGABRT: "memory",  # the engine aborts when an allocation fails
    -signal.SIGSEGV: "depth",  # its parser and evaluator are recursive
    -signal.SIGSYS: "network",
    -signal.SIGKILL: "memory",  # not by us, so by the kernel that ran out of memory
}
_INHERITED = ("PATH", "LANG", "LD_LIBRARY_PATH", "TZ")
_START = (
    "import sys; sys.path[:] = {path!r};"
    " from graph_api.query_worker import main; main(sys.argv[1:])"
)

logger = logging.getLogger(__name__)


class WorkerLost(Exception):
    """The worker of a task ended before it answered."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


class Saturated(Exception):
    """So much waits already that this task can't."""


@dataclass(slots=True, eq=False)
class Job:
    """A task on its way; ``future`` gets the reply, :class:`WorkerLost` or :class:`Saturated`."""

    principal: str
    lease: Lease
    data: bytes
    seconds: float
    future: asyncio.Future[Reply]
    worker: _Worker | None = None
    deadline: float = 0.0


@dataclass(slots=True, eq=False)
class _Closing:
    """A snapshot that a worker was told to close."""

    lease: Lease


@dataclass(slots=True, eq=False)
class _Warming:
    """A snapshot that a worker was told to open ahead of its first query."""

    snapshot: Snapshot


class _Worker(asyncio.Protocol):
    """The server's end of one worker."""

    def __init__(self, pool: QueryPool, process: Running, log: Path) -> None:
        self.pool = pool
        self.process = process
        self.log = log
        self.job: Job | None = None
        self.open: OrderedDict[Path, Lease] = OrderedDict()
        self.expected: deque[Job | _Closing | _Warming] = deque()
        self.holds: dict[str, Any] | None = None
        self.retiring = False
        self.cause: Cause | None = None
        self._reader = ReplyReader()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not of asyncio's classes.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        for reply in self._reader.feed(data):
            if reply.kind == READY:
                self.holds = reply.details()
                self.pool._ready(self)
            else:
                self.pool._replied(self, self.expected.popleft(), reply)

    def connection_lost(self, error: Exception | None) -> None:
        self.pool._lost(self)

    def send(self, data: bytes, expected: Job | _Closing | _Warming) -> None:
        assert self._transport is not None
        self.expected.append(expected)
        self._transport.write(data)

    def kill(self, cause: Cause) -> None:
        self.cause = self.cause or cause
        self.process.signal(signal.SIGKILL)

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()


@dataclass(slots=True)
class _Queue:
    """What waits, by principal; the principals take turns."""

    size: int = 0
    by_principal: OrderedDict[str, deque[Job]] = field(default_factory=OrderedDict)

    def add(self, job: Job) -> None:
        waiting = self.by_principal.setdefault(job.principal, deque())
        if self.size >= MOST_WAITING or len(waiting) >= MOST_WAITING_EACH:
            raise Saturated
        waiting.append(job)
        self.size += 1

    def take(self, running: Mapping[str, int], most: int) -> Job | None:
        for principal, waiting in self.by_principal.items():
            if running.get(principal, 0) < most:
                job = waiting.popleft()
                self._taken(principal, waiting)
                return job
        return None

    def remove(self, job: Job) -> None:
        waiting = self.by_principal.get(job.principal)
        if waiting is not None and job in waiting:
            waiting.remove(job)
            self._taken(job.principal, waiting)

    def _taken(self, principal: str, waiting: deque[Job]) -> None:
        self.size -= 1
        if waiting:
            self.by_principal.move_to_end(principal)
        else:
            del self.by_principal[principal]


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
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._queue = _Queue()
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

    def _keep_open(self, worker: _Worker, lease: Lease) -> None:
        """Notes that a worker has a snapshot open, and has it close the one used longest ago."""
        path = lease.snapshot.path
        if path in worker.open:
            worker.open.move_to_end(path)
            lease.release()
            return
        worker.open[path] = lease
        if len(worker.open) > MOST_OPEN:
            old, old_lease = worker.open.popitem(last=False)
            worker.send(Task("close", str(old)).encode(), _Closing(old_lease))

    def _dispatch(self) -> None:
        while self._idle and self._queue.size:
            job = self._queue.take(self._running, self._each)
            if job is None:
                return
            self._assign(job)

    def _ready(self, worker: _Worker) -> None:
        self._failures = 0
        self._idle.append(worker)
        self._started.set()
        self._warm(worker, self.current)
        self._dispatch()

    def _replied(self, worker: _Worker, expected: Job | _Closing | _Warming, reply: Reply) -> None:
        if isinstance(expected, _Closing):
            expected.lease.release()
        elif isinstance(expected, _Warming):
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

    def _warm(self, worker: _Worker, snapshot: Snapshot) -> None:
        lease = self._snapshots.try_lease(snapshot.head)
        if lease is None:
            return
        if lease.snapshot.path not in worker.open:
            task = Task("open", str(lease.snapshot.path), seconds=60.0)
            worker.send(task.encode(), _Warming(lease.snapshot))
        self._keep_open(worker, lease)

    def _switch(self, snapshot: Snapshot) -> None:
        if self._current is None or snapshot.head > self._current.head:
            self._current = snapshot

    def _lost(self, worker: _Worker) -> None:
        """The connection to a worker ended, and so does the worker."""
        if worker in self._idle:
            self._idle.remove(worker)
        if not self._closed:
            self._background(self._replace(worker))

    async def _replace(self, worker: _Worker) -> None:
        code = await asyncio.to_thread(_reap, worker.process)
        cause = worker.cause or _CAUSES.get(code, "crash")
        job = worker.job
        if not (worker.retiring and job is None):
            self._ended[cause] += 1
            if cause == "crash":
                logger.error("a query worker ended with %d: %s", code, _tail(worker.log))
        self._forget(worker)
        if job is not None:
            self._over(job)
            self._fail(job, cause)
        if worker.holds is None:
            self._failures += 1
            logger.error("a query worker did not start (%d): %s", code, _tail(worker.log))
            await asyncio.sleep(min(30.0, 0.1 * 2 ** min(self._failures, 9)))
        await self._spawn()
        self._dispatch()

    def _fail(self, job: Job, cause: Cause) -> None:
        if job.worker is None:
            job.lease.release()
        if not job.future.done():
            job.future.set_exception(WorkerLost(cause))
            job.future.exception()

    def _forget(self, worker: _Worker) -> None:
        self._workers.discard(worker)
        for lease in worker.open.values():
            lease.release()
        worker.open.clear()
        for expected in worker.expected:
            if isinstance(expected, _Closing):
                expected.lease.release()
        for left in self._scratch.glob(f"{worker.log.stem}-*"):
            left.unlink(missing_ok=True)
        worker.log.unlink(missing_ok=True)

    async def _spawn(self) -> None:
        """Starts a worker from this thread: the kernel ends it when its parent thread ends."""
        assert self._loop is not None
        self._names += 1
        name = f"worker-{os.getpid()}-{self._names}"
        log = self._scratch / f"{name}.log"
        ours, theirs = socket.socketpair()
        path = [os.path.abspath(entry) for entry in sys.path]
        with theirs:
            process = spawn(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    _START.format(path=path),
                    str(theirs.fileno()),
                    str(self.memory),
                    str(self._scratch / name),
                ],
                env={
                    "RUST_BACKTRACE": "0",
                    **{key: os.environ[key] for key in _INHERITED if key in os.environ},
                },
                inherit=False,
                log=log,
                pass_fds=(theirs.fileno(),),
            )
        worker = _Worker(self, process, log)
        self._workers.add(worker)
        await self._loop.create_connection(lambda: worker, sock=ours)

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


def _reap(process: Running) -> int:
    try:
        return process.wait(GRACE)
    except ProcessTimeout:
        return process.stop(0)


def _tail(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-2000:]
    except OSError:
        return "(it left no log)"
