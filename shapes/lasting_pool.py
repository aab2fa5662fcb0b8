"""A pool of processes that outlasts them.

Invariant: whatever ends the processes, also while nothing runs in them (the kernel, for want of
memory), the next task is taken: a pool that broke is replaced by a new one.
Source: https://pebble.readthedocs.io/en/latest/#pools
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from pebble import ProcessFuture, ProcessPool

_Result = TypeVar("_Result")


class LastingPool:
    """Processes that are started when they are first needed; any thread may use it.
    ``initializer`` is called with ``initargs`` in each process."""

    def __init__(
        self, workers: int, initializer: Callable[..., None], initargs: Sequence[object] = ()
    ) -> None:
        self._workers = workers
        self._initializer = initializer
        self._initargs = tuple(initargs)
        self._lock = threading.Lock()
        self._pool: ProcessPool | None = None

    @property
    def started(self) -> bool:
        """Whether there has been a task since the beginning or the last :meth:`close`."""
        return self._pool is not None

    def run(
        self,
        function: Callable[..., _Result],
        args: Sequence[object],
        seconds: float,
        patience: float | None = None,
    ) -> _Result:
        """What the function gives, for which a process gets so many seconds; ``patience`` is how
        long to wait for it, in seconds, the queue included, ``None`` for ever.

        One that hadn't begun when the processes were ended is asked for again. Raises
        :class:`TimeoutError`, :class:`pebble.ProcessExpired`, and what the function raises.
        """
        try:
            return self._result(self.schedule(function, args, seconds), patience)
        except BrokenProcessPool:
            return self._result(self.schedule(function, args, seconds), patience)

    def schedule(
        self, function: Callable[..., _Result], args: Sequence[object], seconds: float
    ) -> ProcessFuture[_Result]:
        """Has a task done, for which a process gets so much time."""
        with self._lock:
            try:
                return self._alive().schedule(function, args=list(args), timeout=seconds)
            except RuntimeError:
                # It broke since we looked.
                return self._alive().schedule(function, args=list(args), timeout=seconds)

    def _result(self, future: ProcessFuture[_Result], patience: float | None) -> _Result:
        try:
            return future.result(timeout=patience)
        except FutureTimeout:
            future.cancel()  # type: ignore[no-untyped-call]
            raise

    def close(self) -> None:
        """Ends the processes."""
        with self._lock:
            self._end()

    def _alive(self) -> ProcessPool:
        if self._pool is not None and not self._pool.active:
            self._end()
        if self._pool is None:
            self._pool = ProcessPool(
                max_workers=self._workers,
                initializer=self._initializer,
                initargs=self._initargs,
                context=multiprocessing.get_context("spawn"),
            )
        return self._pool

    def _end(self) -> None:
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            self._pool = None
