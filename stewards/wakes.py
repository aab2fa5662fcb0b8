"""Who has something to look at, told at once: projects with new facts or a decision.

Invariant: what is told is never lost on somebody who asks with the token of an earlier answer; a
token of another process, or none, is answered with every project. A wake-up says that it is time to
look and nothing else, so one too many does no harm.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class News:
    """What changed after a token: ``token`` to ask with next; ``projects`` that were woken,
    ``None`` for all of them; ``wanted`` where schedules or requests changed."""

    token: str
    projects: frozenset[str] | None
    wanted: bool

    @property
    def any(self) -> bool:
        return self.wanted or self.projects is None or bool(self.projects)


class Wakes:
    """Any thread may call. ``process`` tells this process from every other one."""

    def __init__(self, process: str) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._count = 0
        self._wanted = 0
        self._projects: dict[str, int] = {}
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Have this called whenever something is told, in the thread that tells it."""
        with self._lock:
            self._listeners.append(listener)

    def wake(self, projects: Iterable[str], *, changed: bool = False) -> None:
        """These projects have something to look at; the schedules have ``changed`` as well."""
        with self._lock:
            self._count += 1
            if changed:
                self._wanted = self._count
            self._projects.update(dict.fromkeys(projects, self._count))
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    def change(self) -> None:
        """The schedules, or what is asked for, have changed."""
        with self._lock:
            self._count += 1
            self._wanted = self._count
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    def after(self, token: str | None) -> News:
        """What changed since the answer that this token came with."""
        process, _, number = (token or "").rpartition(".")
        with self._lock:
            now = f"{self._process}.{self._count}"
            if process != self._process or not number.isdecimal():
                return News(now, None, wanted=True)
            seen = int(number)
            woken = frozenset(name for name, at in self._projects.items() if at > seen)
            return News(now, woken, wanted=self._wanted > seen)
