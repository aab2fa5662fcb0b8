"""When a request is sent again, and when it isn't any more.

Invariant: repetitions are a share of the requests, whatever fails: each request earns a part of
one, each repetition costs one, and what is earned is bounded. Waiting is never shorter than the
server's own Retry-After; where that is longer than the longest wait, nothing is repeated.
Source: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after,
https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import Final

PASSING: Final = frozenset({408, 425, 429, 502, 503, 504})
"""Statuses that may be others when the same is asked again."""


@dataclass(frozen=True, slots=True)
class Retries:
    """``attempts`` with the first one; ``first`` and ``longest`` are seconds of waiting, which
    doubles. ``share`` is what a request earns of a repetition, ``saved`` the most that is kept."""

    attempts: int = 3
    first: float = 0.2
    longest: float = 10.0
    share: float = 0.1
    saved: float = 10.0


ONCE: Final = Retries(attempts=1)
"""For whoever repeats by rules of their own."""


class Budget:
    """The repetitions that a client has left; any thread may use it."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._left = retries.saved
        self._lock = threading.Lock()

    def earn(self) -> None:
        """A request was made."""
        with self._lock:
            self._left = min(self._left + self._retries.share, self._retries.saved)

    def spend(self) -> bool:
        """Whether another repetition may be made; it counts as made."""
        with self._lock:
            if self._left < 1.0:
                return False
            self._left -= 1.0
            return True


def pause(retries: Retries, attempt: int, asked: float | None, random: Random) -> float | None:
    """Seconds until the attempt after this one, spread so that callers who failed together don't
    come back together; ``None`` where the server wants more than the longest wait."""
    spread: float = random.random() * min(retries.first * 2.0 ** (attempt - 1), retries.longest)
    if asked is None:
        return spread
    return None if asked > retries.longest else min(asked + spread, retries.longest)


def retry_after(said: str, now: datetime) -> float | None:
    """Seconds of a Retry-After, which is a number or a date; ``None`` for nonsense."""
    said = said.strip()
    if said.isascii() and said.isdigit() and len(said) < 10:
        return float(said)
    try:
        moment = parsedate_to_datetime(said)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
