"""Many calls at a time, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

AT_ONCE = 16


async def each_of(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Await all of them, so many at a time; raises the first error once all are through."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(call: Coroutine[Any, Any, None]) -> None:
        async with room:
            await call

    for ended in await asyncio.gather(*map(one, calls), return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended
