"""RDFC-1.0 of strangers' blank nodes, where it can be killed.

Invariant: a poison graph costs its author a refusal and others at most a short wait:
canonicalisation runs in processes of its own, with limits on time and memory. A handful of blank
nodes is labelled at once, since even the worst such graph is done in a moment.
Source: https://www.w3.org/TR/rdf-canon/#security-considerations
"""

from __future__ import annotations

import resource
from concurrent.futures import TimeoutError as FutureTimeout

from pebble import ProcessExpired

from ontology.terms import rdfc10
from proofs.errors import BadSubmission
from shapes.lasting_pool import LastingPool

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
        self._pool = LastingPool(WORKERS, _limit)

    def __call__(self, data: bytes) -> bytes:
        """Raises :class:`BadSubmission` when the labels cannot be found within the limits."""
        if len(_labels(data)) <= AT_ONCE:
            return rdfc10(data)
        try:
            return self._pool.run(rdfc10, (data,), self._seconds)
        except (FutureTimeout, ProcessExpired, MemoryError) as error:
            raise BadSubmission(
                f"its blank nodes could not be told apart within {self._seconds:g} s: they are too"
                " much alike. Give them IRIs",
                "blank-nodes-too-hard",
            ) from error

    def close(self) -> None:
        self._pool.close()


def _labels(data: bytes) -> set[bytes]:
    return {word for word in data.split() if word.startswith(b"_:")}


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
