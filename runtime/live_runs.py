"""The runs that are under way in this process, and the output of those that ended lately.

Invariant: whoever follows a run is woken when there is something new of it, and waits in no thread;
what has ended is forgotten after a bounded number of others.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event

from runtime.run_output import RunOutput

REMEMBERED = 32
"""Runs that have ended whose output can still be read as it was written."""

Wake = Callable[[], None]


@dataclass
class LiveRun:
    """One run. ``who`` is the IRI of its author; ``over`` once its end is recorded, or was tried to
    be; ``cancelled_by`` the IRI of who wanted it ended first, empty where the server did."""

    run: str
    asset_id: str
    who: str
    output: RunOutput
    cancel: Event = field(default_factory=Event)
    over: Event = field(default_factory=Event)
    cancelled_by: str | None = None

    def end(self, by: str = "") -> None:
        """Asks for its end."""
        if self.cancelled_by is None:
            self.cancelled_by = by
        self.cancel.set()


class LiveRuns:
    """Safe to use from any thread. A ``wake`` is quick, and may be called in any thread."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, LiveRun] = OrderedDict()
        self._ended: OrderedDict[str, LiveRun] = OrderedDict()
        self._watchers: dict[str, set[Wake]] = {}

    def add(self, live: LiveRun) -> None:
        with self._lock:
            self._runs[live.run] = live

    def end(self, live: LiveRun) -> None:
        """It has ended, and its end is recorded."""
        live.over.set()
        forgotten = []
        with self._lock:
            self._runs.pop(live.run, None)
            self._ended[live.run] = live
            while len(self._ended) > self._remembered:
                forgotten.append(self._ended.popitem(last=False)[1])
        for each in forgotten:
            each.output.close()
        self.tell(live.run)

    def ended(self) -> list[LiveRun]:
        """Those that ended lately."""
        with self._lock:
            return list(self._ended.values())

    def forget(self, run: str) -> None:
        """The output of a run that has ended is not to be had here any more."""
        with self._lock:
            ended = self._ended.pop(run, None)
        if ended is not None:
            ended.output.close()

    def running(self) -> list[LiveRun]:
        with self._lock:
            return list(self._runs.values())

    def find(self, run: str) -> LiveRun | None:
        """A run that is under way or ended lately."""
        with self._lock:
            return self._runs.get(run) or self._ended.get(run)

    @contextmanager
    def watched(self, run: str, wake: Wake) -> Iterator[None]:
        """Calls ``wake`` whenever there may be something new of a run."""
        with self._lock:
            self._watchers.setdefault(run, set()).add(wake)
        try:
            yield
        finally:
            with self._lock:
                watchers = self._watchers[run]
                watchers.discard(wake)
                if not watchers:
                    del self._watchers[run]

    def tell(self, run: str | None = None) -> None:
        """Wakes who watches this run, or any."""
        with self._lock:
            if run is not None:
                wakes = list(self._watchers.get(run, ()))
            else:
                wakes = [wake for watchers in self._watchers.values() for wake in watchers]
        for wake in wakes:
            wake()

    def close(self) -> None:
        """Forgets everything."""
        with self._lock:
            held = [*self._runs.values(), *self._ended.values()]
            self._runs.clear()
            self._ended.clear()
        for each in held:
            each.output.close()
