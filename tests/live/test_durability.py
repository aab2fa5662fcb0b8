"""A 2xx is durable: a trace of system calls shows the sync between each write and its answer.

The kernel's own interface for debuggers is asked, so that nothing needs to be installed and an
ordinary user may run it on servers of their own. Source:
https://man7.org/linux/man-pages/man2/ptrace.2.html
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.live.conftest import MakeSpans, Serve, Server, ServiceTurtle

pytestmark = pytest.mark.live

# --- what is looked for in a trace


@dataclass(frozen=True)
class Call:
    """A system call: ``write`` and ``send`` as it began, ``read`` and ``sync`` as it ended.

    ``place`` is what the descriptor leads to, ``data`` the beginning of the bytes, ``began`` for a
    sync how many calls had been seen when it began, ``result`` what it gave.
    """

    kind: str
    place: str
    data: bytes = b""
    began: int = 0
    result: int = 0


@dataclass(frozen=True)
class Answer:
    """A 2xx, and what is wrong with it: nothing, if the truth was on disk before."""

    request: str
    fault: str | None


def answers(calls: Sequence[Call], truth: str, path: str, *, others: bool = False) -> list[Answer]:
    """Every 2xx to a POST of ``path`` in a trace. Between it and its request, the file ``truth``
    must have been written, and the last write to it been followed by a sync that succeeded; with
    ``others``, the first one, since somebody else may write the same file once the request's own
    part of it is synced."""
    found = []
    requests: dict[str, tuple[int, str]] = {}
    begins = tuple(f"POST {path}{end}".encode() for end in " ?")
    for index, call in enumerate(calls):
        if call.kind == "read" and call.data.startswith(begins):
            requests[call.place] = (index, call.data.split(b"\r\n")[0].decode())
        # A server speaks to itself as well, and may have been asked before the trace began.
        if call.place in requests and call.kind == "send" and call.data.startswith(b"HTTP/1.1 2"):
            since, request = requests.pop(call.place)
            found.append(Answer(request, _fault(calls[: index + 1], since, truth, others)))
    return found


def _fault(calls: Sequence[Call], since: int, truth: str, others: bool) -> str | None:
    written = [
        index
        for index, call in enumerate(calls)
        if index > since and call.kind == "write" and call.place.endswith(truth)
    ]
    if not written:
        return f"answered without a write to {truth}"
    own = written[0 if others else -1]
    synced = any(
        call.kind == "sync" and call.place.endswith(truth) and call.result == 0 and call.began > own
        for call in calls
    )
    return None if synced else f"answered before the write to {truth} was synced"


# --- the tracer

_SEIZE, _INTERRUPT, _DETACH, _SYSCALL, _SYSCALL_INFO = 0x4206, 0x4207, 17, 24, 0x420E
_TRACE_SYSGOOD, _TRACE_CLONE = 1, 8
_WALL, _NO_THREAD = 0x40000000, 0x20000000
_ENTRY, _EXIT = 1, 2
_EVENT_STOP = 128
_HEAD = 64

# read, write, pwrite64, readv, writev, sendto, recvfrom, sendmsg, recvmsg, fsync, fdatasync
_NUMBERS = {
    "x86_64": (0, 1, 18, 19, 20, 44, 45, 46, 47, 74, 75),
    "aarch64": (63, 64, 68, 65, 66, 206, 207, 211, 212, 82, 83),
}
_NAMES = (
    *("read", "write", "pwrite", "readv", "writev", "sendto", "recvfrom", "sendmsg", "recvmsg"),
    *("fsync", "fdatasync"),
)


class NotPermitted(Exception):
    """This system lets nobody, or not us, trace a process."""


class Tracer:
    """Traces all threads of a process from a thread of its own."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.calls: list[Call] = []
        self._names = dict(zip(_NUMBERS[platform.machine()], _NAMES, strict=True))
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = (
            ctypes.c_long,
            ctypes.c_long,
            ctypes.c_void_p,
            ctypes.c_void_p,
        )
        self._libc.ptrace.restype = ctypes.c_long
        self._entered: dict[int, tuple[str, tuple[int, ...], int]] = {}
        self._threads: set[int] = set()
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise NotPermitted(str(self._error)) from self._error

    def stop(self) -> None:
        """Let go of the process; it runs on."""
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _ptrace(self, request: int, tid: int, address: int = 0, data: int = 0) -> int:
        done = int(self._libc.ptrace(request, tid, address, data))
        if done < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return done

    def _run(self) -> None:
        try:
            for tid in map(int, os.listdir(f"/proc/{self.pid}/task")):
                self._ptrace(_SEIZE, tid, 0, _TRACE_SYSGOOD | _TRACE_CLONE)
                self._threads.add(tid)
                self._ptrace(_INTERRUPT, tid)
        except OSError as error:
            self._error = error
        leaving = self._error is not None
        # A thread is traced from its first stop on: until all had theirs, calls would be missed.
        unstopped = set(self._threads)
        while self._threads:
            if leaving or not unstopped:
                self._started.set()
            if self._stopping.is_set() and not leaving:
                leaving = True
                for tid in self._threads:
                    with suppress(ProcessLookupError):
                        self._ptrace(_INTERRUPT, tid)
            tid, status = os.waitpid(-1, _WALL | _NO_THREAD)
            unstopped.discard(tid)
            if not os.WIFSTOPPED(status):
                self._threads.discard(tid)
                continue
            self._threads.add(tid)
            with suppress(ProcessLookupError):
                self._stopped(tid, status, leaving)
        self._started.set()

    def _stopped(self, tid: int, status: int, leaving: bool) -> None:
        event, number = status >> 16, os.WSTOPSIG(status)
        if number == signal.SIGTRAP | 0x80:
            self._syscall(tid)
        passed_on = 0 if event or number & 0x7F == signal.SIGTRAP else number
        if leaving:
            self._ptrace(_DETACH, tid, 0, passed_on)
            self._threads.discard(tid)
        else:
            self._ptrace(_SYSCALL, tid, 0, passed_on)

    def _syscall(self, tid: int) -> None:
        buffer = ctypes.create_string_buffer(88)
        self._ptrace(_SYSCALL_INFO, tid, len(buffer), ctypes.addressof(buffer))
        if buffer.raw[0] == _ENTRY:
            number, *arguments = struct.unpack_from("7Q", buffer.raw, 24)
            name = self._names.get(number)
            if name is None:
                self._entered.pop(tid, None)
                return
            self._entered[tid] = (name, tuple(arguments), len(self.calls))
            if name in ("write", "pwrite", "writev", "sendto", "sendmsg"):
                self._wrote(name, tuple(arguments))
        elif buffer.raw[0] == _EXIT and tid in self._entered:
            name, entered, began = self._entered.pop(tid)
            (result,) = struct.unpack_from("q", buffer.raw, 24)
            place = self._place(entered[0])
            if name in ("fsync", "fdatasync"):
                self.calls.append(Call("sync", place, began=began, result=result))
            elif name in ("read", "recvfrom") and result > 0 and place.startswith("socket:"):
                data = self._memory(entered[1], min(result, _HEAD))
                self.calls.append(Call("read", place, data))

    def _wrote(self, name: str, arguments: tuple[int, ...]) -> None:
        place = self._place(arguments[0])
        kind = "send" if place.startswith("socket:") else "write"
        address = arguments[1]
        if name == "sendmsg":
            # struct msghdr { name, namelen, iov, ... }
            (address,) = struct.unpack("Q", self._memory(address + 16, 8))
        if name in ("writev", "sendmsg"):
            address, size = struct.unpack("2Q", self._memory(address, 16))
        else:
            size = arguments[2]
        self.calls.append(Call(kind, place, self._memory(address, min(size, _HEAD))))

    def _place(self, descriptor: int) -> str:
        try:
            return os.readlink(f"/proc/{self.pid}/fd/{descriptor}")
        except OSError:
            return ""

    def _memory(self, address: int, size: int) -> bytes:
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(size)


@contextmanager
def traced(pid: int) -> Iterator[list[Call]]:
    """The calls a process makes within the block; complete after it."""
    if sys.platform != "linux" or platform.machine() not in _NUMBERS:
        pytest.skip("the system calls of this kind of machine are not known to this test")
    tracer = Tracer(pid)
    try:
        tracer.start()
    except NotPermitted as error:
        tracer.stop()
        pytest.skip(f"this system does not let us trace a process of our own: {error}")
    try:
        yield tracer.calls
    finally:
        tracer.stop()


# --- the tests

JOURNAL = "/journal.sqlite-wal"
INBOX = "/inbox.sqlite-wal"


def test_each_acknowledged_write_was_synced(
    serve: Serve, make_spans: MakeSpans, turtle_of: ServiceTurtle
) -> None:
    server = serve(None, "--steward-seconds", "3600").start()
    key = server.post("/projects", {"slug": "shop"})["ingest_key"]

    with traced(server.pid) as calls:
        for number in range(3):
            server.propose("shop", turtle_of(server.ids, "shop", f"traced-{number}"))
    proposals = list(calls)
    assert_synced(proposals, JOURNAL, "/proposals", 3)
    for number in range(3):
        # What was taken in before is noted in the inbox once it is facts: only then is it quiet.
        wait_until_facts(server)
        with traced(server.pid) as calls:
            server.send(key, make_spans(f"traced {number}", 5))
        assert_synced(calls, INBOX, "/v1/traces", 1, others=True)


def assert_synced(
    trace: Sequence[Call], truth: str, path: str, number: int, *, others: bool = False
) -> None:
    found = answers(trace, truth, path, others=others)
    assert [answer.fault for answer in found] == [None] * number, found
    # The same trace of a server that does not sync, or whose syncs fail, is seen through.
    unsynced = [call for call in trace if call.kind != "sync"]
    assert all(answer.fault for answer in answers(unsynced, truth, path, others=others))
    failed = [replace(call, result=-errno.EIO) if call.kind == "sync" else call for call in trace]
    assert all(answer.fault for answer in answers(failed, truth, path, others=others))


def wait_until_facts(server: Server) -> None:
    deadline = time.monotonic() + 60
    while server.get("/status")["inbox"]["pending"]:
        assert time.monotonic() < deadline, "the inbox did not become facts"
        time.sleep(0.05)


WRITE = Call("write", "/data/journal.sqlite-wal")
REQUEST = Call("read", "socket:[7]", b"POST /proposals HTTP/1.1\r\nhost: x")
CREATED = Call("send", "socket:[7]", b"HTTP/1.1 201 Created\r\n")


def test_what_others_write_later_is_not_the_answers() -> None:
    calls = [REQUEST, WRITE, sync(2), WRITE, CREATED]
    assert [answer.fault for answer in answers(calls, JOURNAL, "/proposals", others=True)] == [None]
    [answer] = answers([REQUEST, WRITE, WRITE, CREATED], JOURNAL, "/proposals", others=True)
    assert answer.fault is not None


def sync(began: int, place: str = "/data/journal.sqlite-wal", result: int = 0) -> Call:
    return Call("sync", place, began=began, result=result)


@pytest.mark.parametrize(
    ("calls", "fault"),
    [
        ([REQUEST, WRITE, sync(2), CREATED], None),
        ([REQUEST, WRITE, WRITE, sync(3), CREATED], None),
        ([REQUEST, WRITE, CREATED], "before the write"),
        ([REQUEST, WRITE, CREATED, sync(3)], "before the write"),
        ([REQUEST, WRITE, sync(2), WRITE, CREATED], "before the write"),
        ([REQUEST, WRITE, sync(1), CREATED], "before the write"),
        ([REQUEST, WRITE, sync(2, "/data/index.sqlite"), CREATED], "before the write"),
        ([REQUEST, WRITE, sync(2, result=-errno.EIO), CREATED], "before the write"),
        ([WRITE, sync(1), REQUEST, CREATED], "without a write"),
        ([REQUEST, replace(WRITE, place="/data/index.sqlite"), CREATED], "without a write"),
    ],
)
def test_a_trace_without_the_sync_is_told(calls: list[Call], fault: str | None) -> None:
    [answer] = answers(calls, JOURNAL, "/proposals")
    assert answer.request == "POST /proposals HTTP/1.1"
    assert answer.fault == fault or (fault is not None and fault in str(answer.fault))
