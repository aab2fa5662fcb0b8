"""Servers that have failed so often that they are left alone for a while.

Invariant: of a server that failed a number of times in a row nothing is asked until a pause is
over; then one request tries it, and by how that ends it is asked as ever or left alone for longer.
A server that answers is never left alone for what it answers to one caller.
Source: https://martinfowler.com/bliki/CircuitBreaker.html
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from runtime.errors import HttpCircuitOpen

FAILING: Final = frozenset({502, 503, 504})
"""Statuses by which a server says that it isn't up to anything."""

_MOST = 1000


@dataclass(frozen=True, slots=True)
class Patience:
    """``failures`` in a row open the circuit; ``first`` and ``longest`` are seconds of its pause,
    which doubles with every attempt that fails."""

    failures: int = 5
    first: float = 5.0
    longest: float = 60.0


@dataclass(slots=True)
class _State:
    failures: int = 0
    pause: float = 0.0
    until: float = 0.0
    trying: bool = False


class Circuits:
    """The servers that fail, by origin; any thread may use it. ``monotonic`` tells seconds."""

    def __init__(self, patience: Patience, monotonic: Callable[[], float]) -> None:
        self._patience = patience
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # Only of those that fail is anything kept, and of no more than so many.
        self._states: OrderedDict[str, _State] = OrderedDict()

    def enter(self, origin: str) -> None:
        """Before a request; then say how it ended. Raises :class:`HttpCircuitOpen`."""
        with self._lock:
            state = self._states.get(origin)
            if state is None or not state.pause:
                return
            left = state.until - self._monotonic()
            if left > 0 or state.trying:
                left = max(left, 0.0)
                raise HttpCircuitOpen(
                    f"{origin} has failed {state.failures} times in a row and is not asked for"
                    f" another {left:.0f} s; see whether it runs",
                    left,
                )
            state.trying = True

    def succeeded(self, origin: str) -> None:
        """The server answered."""
        with self._lock:
            self._states.pop(origin, None)

    def failed(self, origin: str) -> None:
        """The server did not answer, or said that it can't."""
        patience = self._patience
        with self._lock:
            state = self._states.setdefault(origin, _State())
            self._states.move_to_end(origin)
            state.failures += 1
            if state.trying or (not state.pause and state.failures >= patience.failures):
                state.pause = min(state.pause * 2 or patience.first, patience.longest)
                state.until = self._monotonic() + state.pause
                state.trying = False
            if len(self._states) > _MOST:
                self._states.popitem(last=False)

    def left(self, origin: str) -> None:
        """The request ended without telling anything about the server."""
        with self._lock:
            state = self._states.get(origin)
            if state is not None:
                state.trying = False
