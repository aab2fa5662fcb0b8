"""The newest changes of a store, so that a copy that is a little behind can follow.

Invariant: what is given is whole and in order, or nothing: a copy that takes it holds what the
store held. Only so much is kept as fits a bound; it is no journal.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from ontology.terms import Delta

MOST_ENTRIES = 1_000
MOST_QUADS = 50_000
"""Of the changes that are kept, together."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one entry changed: asserted quads, the system's own, and which graphs are restricted,
    after it and before."""

    head: int
    delta: Delta
    system: Delta
    restricted: frozenset[str]
    before: frozenset[str]

    def __len__(self) -> int:
        return len(self.delta) + len(self.system)


class RecentChanges:
    """A store's newest changes. One thread notes, any thread asks."""

    def __init__(self) -> None:
        self._kept: deque[Change] = deque()
        self._quads = 0
        self._lock = threading.Lock()

    def note(self, change: Change) -> None:
        """Keeps a change that the store has taken, at the expense of the oldest."""
        with self._lock:
            if self._kept and self._kept[-1].head + 1 != change.head:
                self._clear()
            self._kept.append(change)
            self._quads += len(change)
            while self._quads > MOST_QUADS or len(self._kept) > MOST_ENTRIES:
                self._quads -= len(self._kept.popleft())

    def forget(self) -> None:
        """Keeps nothing: the store was changed by another road."""
        with self._lock:
            self._clear()

    def between(self, head: int, later: int) -> list[Change] | None:
        """The changes that led from one head to a later one, or ``None`` where some are missing."""
        with self._lock:
            found = [change for change in self._kept if head < change.head <= later]
        return found if len(found) == later - head else None

    def _clear(self) -> None:
        self._kept.clear()
        self._quads = 0
