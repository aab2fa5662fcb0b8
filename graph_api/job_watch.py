"""Waiting for something to look at: the long poll of whoever executes jobs elsewhere.

Invariant: nothing that is told is lost, whatever breaks: who asks again with its token is told what
came since. Nobody is waited for by a thread, no more wait than there is room for, and the end of
the server ends every wait.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from graph_api.problems import Problem
from stewards.wakes import News, Wakes

LONGEST_WAIT = 30.0
MOST_WAITING = 32
REST = 0.1
"""Seconds for which a request waits for more, so that a stream of facts is not one of answers."""


class JobWatch:
    """Those that wait now. Everything but the wake-ups themselves belongs to the event loop."""

    def __init__(self, wakes: Wakes, most: int = MOST_WAITING) -> None:
        self._wakes = wakes
        self._most = most
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Event] = set()
        wakes.listen(self._told)

    def close(self) -> None:
        """Answers all that wait; to be called in the event loop."""
        self._closing = True
        self._wake()

    async def news(self, token: str | None, wait: float, gone: asyncio.Future[Any]) -> News:
        """What changed after this token: as soon as something has, or after ``wait`` seconds, or
        once ``gone`` is done. Raises :class:`Problem` where there is no room to wait."""
        if len(self._waiting) >= self._most:
            raise Problem(
                503,
                "jobs-busy",
                "Too many wait for jobs",
                f"{len(self._waiting)} requests wait already, of at most {self._most}: a worker"
                " needs one.",
                headers={"Retry-After": "5"},
            )
        loop = self._loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        self._waiting.add(woken)
        began = loop.time()
        due = began + min(wait, LONGEST_WAIT)
        try:
            while True:
                woken.clear()
                found = self._wakes.after(token)
                now = loop.time()
                if now >= due or self._closing or gone.done() or found.projects is None:
                    return found
                if not found.any:
                    await _first(woken, gone, due - now)
                elif now < began + REST:
                    await asyncio.wait({gone}, timeout=min(began + REST, due) - now)
                else:
                    return found
        finally:
            self._waiting.discard(woken)

    def _told(self) -> None:
        loop = self._loop
        if loop is not None:
            # The loop may have ended since: then nobody waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for woken in self._waiting:
            woken.set()


async def _first(woken: asyncio.Event, gone: asyncio.Future[Any], seconds: float) -> None:
    """Return at the first of these, or after that time."""
    waiting = asyncio.ensure_future(woken.wait())
    watched: set[asyncio.Future[Any]] = {waiting, gone}
    try:
        await asyncio.wait(watched, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
