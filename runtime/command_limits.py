"""The limits of a command that runs: its time, and that somebody may cancel it.

Invariant: whatever the command's sink is doing, what ends the command is called once, at the time
limit or at the cancellation, and not after the command has ended by itself.
Source: :class:`runtime.commands.Command`
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Self

_TICK = 0.05
"""Seconds until a cancellation is noticed."""


class CommandLimits:
    """Used as a context manager while the command runs; ``end`` is called in a thread of its
    own."""

    def __init__(self, seconds: float, cancel: Event, end: Callable[[], object]) -> None:
        self._deadline = time.monotonic() + seconds
        self._cancel = cancel
        self._end = end
        self._over = Event()
        self._thread = Thread(target=self._watch, name="limits of a command", daemon=True)
        self.timed_out = False
        self.cancelled = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(min(_TICK, max(0.0, self._deadline - time.monotonic()))):
            self.cancelled = self._cancel.is_set()
            self.timed_out = not self.cancelled and time.monotonic() >= self._deadline
            if self.cancelled or self.timed_out:
                self._end()
                return
