"""The processes of a run, in whichever container: each has the run's id in its environment.

Invariant: what only looks after a run, or asked something before it began, has the same mark; that
the command itself is there is told by its arguments alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from runtime.commands import MARK


def left_of(run: str) -> list[int]:
    """The ids of the processes of a run, as this machine numbers them."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if f"{MARK}={run}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return [each for each in found if each != os.getpid()]


def under_way(run: str, *argv: str) -> bool:
    """Whether the command of a run is there, and not only what leads to it."""
    wanted = b"".join(argument.encode() + b"\0" for argument in argv)
    for process in left_of(run):
        try:
            if Path(f"/proc/{process}/cmdline").read_bytes() == wanted:
                return True
        except OSError:
            continue
    return False
