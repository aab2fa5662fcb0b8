"""RDFC-1.0 of strangers' blank nodes, where it can be killed.

Invariant: a poison graph costs its author a refusal and others at most a short wait:
canonicalisation runs in processes of its own, with limits on time and memory. A handful of blank
nodes is labelled at once, since even the worst such graph is done in a moment.
Source: https://www.w3.org/TR/rdf-canon/#security-considerations
"""

from __future__ import annotations

import multiprocessing
import resource
import threading
from concurrent.futures import TimeoutError as FutureTimeout

from pebble import ProcessExpired, ProcessPool

from ontology.terms import rdfc10
from proofs.errors import BadSubmission

SECONDS = 10.0
MEMORY = 2 * 1024**3
WORKERS = 2
"""So that one poison graph does not hold up everybody else's blank nodes."""
AT_ONCE = 5
"""Blank node labels up to which no process is needed."""


class Canonicaliser:
    """Callable as :data:`ontology.terms.Canonicalise`; any thread may use it."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._pool: ProcessPool | None = None

    def __call__(self, data: bytes) -> bytes:
        """Raises :class:`BadSubmission` when the labels cannot be found within the limits."""
        if len(_labels(data)) <= AT_ONCE:
            return rdfc10(data)
        try:
            result: bytes = (
                self._running().schedule(rdfc10, args=(data,), timeout=self._seconds).result()
            )
        except (FutureTimeout, ProcessExpired, MemoryError) as error:
            raise BadSubmission(
                f"its blank nodes could not be told apart within {self._seconds:g} s: they are too"
                " much alike. Give them IRIs",
                "blank-nodes-too-hard",
            ) from error
        return result

    def _running(self) -> ProcessPool:
        with self._lock:
            if self._pool is None:
                self._pool = ProcessPool(
                    max_workers=WORKERS,
                    initializer=_limit,
                    context=multiprocessing.get_context("spawn"),
                )
            return self._pool

    def close(self) -> None:
        with self._lock:
            if self._pool is not None:
                self._pool.stop()  # type: ignore[no-untyped-call]
                self._pool.join()
                self._pool = None


def _labels(data: bytes) -> set[bytes]:
    return {word for word in data.split() if word.startswith(b"_:")}


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
