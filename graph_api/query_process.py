"""One query worker as the server sees it: its process, its connection, what it was asked.

Invariant: a worker answers what it was sent in the order it was sent. How its process ended says
why: its own alarm, an allocation that failed, the stack, a system call it may not make.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections import OrderedDict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from graph_api.query_messages import READY, Reply, ReplyReader
from graph_api.query_queue import Job
from ontology.snapshots import Lease, Snapshot
from runtime.errors import ProcessTimeout
from runtime.process_exec import Running, spawn

GRACE = 2.0
"""Seconds a worker gets beyond its own alarm, and after its connection ended."""

Cause = Literal["time", "memory", "depth", "network", "abandoned", "crash"]

CAUSES: dict[int, Cause] = {
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


class WorkerLost(Exception):
    """The worker of a task ended before it answered."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(slots=True, eq=False)
class Closing:
    """A snapshot that a worker was told to close."""

    lease: Lease


@dataclass(slots=True, eq=False)
class Warming:
    """A snapshot that a worker was told to open ahead of its first query."""

    snapshot: Snapshot


Expected = Job | Closing | Warming


class Owner(Protocol):
    """Who hears of a worker: the pool, or a test."""

    def ready(self, worker: WorkerProcess) -> None: ...
    def replied(self, worker: WorkerProcess, expected: Expected, reply: Reply) -> None: ...
    def lost(self, worker: WorkerProcess) -> None: ...


class WorkerProcess(asyncio.Protocol):
    """The server's end of one worker."""

    def __init__(self, owner: Owner, process: Running, log: Path) -> None:
        self._owner = owner
        self.process = process
        self.log = log
        self.job: Job | None = None
        self.open: OrderedDict[Path, Lease] = OrderedDict()
        self.expected: deque[Expected] = deque()
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
                self._owner.ready(self)
            else:
                self._owner.replied(self, self.expected.popleft(), reply)

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.lost(self)

    def send(self, data: bytes, expected: Expected) -> None:
        assert self._transport is not None
        self.expected.append(expected)
        self._transport.write(data)

    def kill(self, cause: Cause) -> None:
        self.cause = self.cause or cause
        self.process.signal(signal.SIGKILL)

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def reap(self) -> int:
        """Waits for the process to end, ends it where it does not, and gives its code; blocks."""
        try:
            return self.process.wait(GRACE)
        except ProcessTimeout:
            return self.process.stop(0)

    def last_words(self) -> str:
        """The end of what it wrote to its standard error."""
        try:
            return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
        except OSError:
            return "(it left no log)"


async def start_worker(owner: Owner, scratch: Path, number: int, memory: int) -> WorkerProcess:
    """Starts a worker from this thread: the kernel ends it when its parent thread ends."""
    name = f"worker-{os.getpid()}-{number}"
    log = scratch / f"{name}.log"
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
                str(memory),
                str(scratch / name),
            ],
            env={
                "RUST_BACKTRACE": "0",
                # The engine makes and drops many small pieces at a time; a tenth less time.
                "GLIBC_TUNABLES": "glibc.malloc.tcache_count=500",
                **{key: os.environ[key] for key in _INHERITED if key in os.environ},
            },
            inherit=False,
            log=log,
            pass_fds=(theirs.fileno(),),
        )
    worker = WorkerProcess(owner, process, log)
    await asyncio.get_running_loop().create_connection(lambda: worker, sock=ours)
    return worker
