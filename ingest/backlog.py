"""What waits to become facts, in bytes, and how much more of it is let in.

Invariant: no project fills the queue for the others, and what pages send can't fill a project's
part of it; room is reserved before a payload is handed in, so that what is under way counts too. An
empty queue takes whatever the limit of a single body lets through.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Final

from ingest.errors import InboxBehind
from ingest.sender import Sender

MAX_BACKLOG: Final = 1 << 30

# Parts of it that one project may fill: what its servers send, and up to where pages may.
_PROJECT_SHARE, _PUBLIC_SHARE = 0.5, 0.125
_RETRY_AFTER = 5

PerProject = Iterable[tuple[str, int, int]]
"""Project, batches and bytes."""


class Backlog:
    """Counts what waits. Safe to use from any thread."""

    def __init__(self, waiting: PerProject, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._batches = 0
        self._bytes: Counter[str] = Counter()
        self._reserved: Counter[str] = Counter()
        self.add(waiting)

    def reserve(self, sender: Sender, size: int) -> None:
        """Make room for a payload; :class:`InboxBehind` where there is none."""
        share = _PROJECT_SHARE if sender.trusted else _PUBLIC_SHARE
        with self._lock:
            for waiting, room, whose in (
                (self._bytes.total() + self._reserved.total(), self._most, ""),
                (
                    self._bytes[sender.project] + self._reserved[sender.project],
                    self._most * share,
                    " of this project",
                ),
            ):
                if waiting and waiting + size > room:
                    raise InboxBehind(
                        f"{waiting} bytes{whose} wait to become facts; send this again later",
                        retry_after=_RETRY_AFTER,
                    )
            self._reserved[sender.project] += size

    def settle(self, sender: Sender, size: int, *, kept: bool) -> None:
        """Turn a reservation into a batch that waits, or give it up."""
        with self._lock:
            self._reserved[sender.project] -= size
            if kept:
                self._batches += 1
                self._bytes[sender.project] += size

    def add(self, waiting: PerProject) -> None:
        """Count batches that wait (again)."""
        self._count(waiting, 1)

    def take(self, facts: PerProject) -> None:
        """Count batches no more that became facts."""
        self._count(facts, -1)

    def pending(self) -> tuple[int, int]:
        """Batches and bytes that wait."""
        with self._lock:
            return self._batches, self._bytes.total()

    def _count(self, moved: PerProject, sign: int) -> None:
        with self._lock:
            for project, batches, size in moved:
                self._batches += sign * batches
                self._bytes[project] += sign * size
