"""Ends what a run left behind on this machine, wherever it went.

Invariant: a process is ended only when the environment that it was started with has the run's
mark, read again once the process is held, so that a number that was handed on to a stranger is
never signalled. It finds what left its group, its session or its parent, and what runs in a
container of this host. It doesn't find a process that threw its environment away, or overwrote it:
the machine's own boundary is what holds such a one.
https://man7.org/linux/man-pages/man5/proc_pid_environ.5.html
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from runtime.commands import MARK

_PROCESSES = Path("/proc")
_ENVIRONMENT_BYTES = 1024 * 1024
_ROUNDS = 40
"""A program that starts others faster than they are ended is met again, this many times."""

_PAUSE = 0.025


def end_marked(run: str) -> bool:
    """End every process of the run; ``False`` when some are still there after a second.

    Those may belong to a frozen container, or start others faster than they are ended. Where the
    system has no ``/proc`` there is nothing to look at, and the answer is ``True``.
    """
    mark = f"{MARK}={run}".encode()
    for _ in range(_ROUNDS):
        if not _end_those_with(mark):
            return True
        time.sleep(_PAUSE)
    return False


def _end_those_with(mark: bytes) -> int:
    """How many were found and signalled."""
    if not _PROCESSES.is_dir():
        return 0
    found = 0
    for entry in os.scandir(_PROCESSES):
        if entry.name.isdecimal() and _has(int(entry.name), mark):
            found += _end(int(entry.name), mark)
    return found


def _has(pid: int, mark: bytes) -> bool:
    """A process that has ended, a thread of the kernel and another user's process have no mark."""
    try:
        with (_PROCESSES / str(pid) / "environ").open("rb") as environment:
            return mark in environment.read(_ENVIRONMENT_BYTES).split(b"\0")
    except OSError:
        return False


def _end(pid: int, mark: bytes) -> int:
    try:
        held = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0
    try:
        if not _has(pid, mark):
            return 0
        signal.pidfd_send_signal(held, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    finally:
        os.close(held)
    return 1
