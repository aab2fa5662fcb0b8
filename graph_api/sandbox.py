"""Locks the process it is called in: no network, no other program, bounded memory.

Invariant: after :func:`enter` the process and every thread it starts can open no socket and start
no program; the first attempt ends it with SIGSYS. It dies with its parent, leaves no core file, and
a request for memory beyond its limit fails. Where the kernel can't do a part of this, the returned
names say which parts hold.
Source: https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2

_ALLOW = 0x7FFF0000
_KILL_PROCESS = 0x80000000

_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_NUMBER_OFFSET = 0  # seccomp_data.nr
_ARCHITECTURE_OFFSET = 4  # seccomp_data.arch

# The audit name of each architecture and its numbers for: socket, socketpair, connect, bind,
# execve, execveat, ptrace, process_vm_readv, process_vm_writev, io_uring_setup (a way to sockets).
_ARCHITECTURES: dict[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (0xC000003E, (41, 53, 42, 49, 59, 322, 101, 310, 311, 425)),
    "aarch64": (0xC00000B7, (198, 199, 203, 200, 221, 281, 117, 270, 271, 425)),
}
# Numbers from here on are the x32 interface of x86_64, which has its own socket().
_X32 = 0x40000000


def supported() -> bool:
    """Whether :func:`enter` can deny the network on this kind of machine."""
    return sys.platform == "linux" and platform.machine() in _ARCHITECTURES


def enter() -> dict[str, bool]:
    """Locks this process; gives what holds: ``network``, ``parent`` and ``core``.

    Call it before any thread is started. ``network`` is true when no socket can be opened.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return {"network": False, "parent": False, "core": True}
    libc = ctypes.CDLL(None, use_errno=True)
    parent = libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0
    return {"network": _deny_network(libc), "parent": parent, "core": True}


def held() -> int | None:
    """Bytes of private writable memory of this process; ``None`` where the kernel doesn't say.

    Files that are mapped for reading, and address space that is only reserved, don't count.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmData:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None


def limit_memory(limit: int) -> None:
    """Lets this process hold at most ``limit`` bytes, as :func:`held` counts them."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def resident() -> int:
    """Bytes of memory this process has in use now, 0 where the kernel doesn't say."""
    try:
        with open("/proc/self/statm", "rb") as status:
            return int(status.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _deny_network(libc: ctypes.CDLL) -> bool:
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        return False
    program = _program(*known)
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog { unsigned short len; struct sock_filter *filter; }
    header = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    )
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) == 0)


def _program(architecture: int, denied: tuple[int, ...]) -> bytes:
    """The filter as BPF: another architecture's calls and the denied ones end the process."""
    checks = len(denied)
    instructions = [
        (_LOAD_WORD, 0, 0, _ARCHITECTURE_OFFSET),
        (_JUMP_EQUAL, 0, checks + 3, architecture),
        (_LOAD_WORD, 0, 0, _NUMBER_OFFSET),
        (_JUMP_AT_LEAST, checks + 1, 0, _X32),
        *((_JUMP_EQUAL, checks - place, 0, number) for place, number in enumerate(denied)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _KILL_PROCESS),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
