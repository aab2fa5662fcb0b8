"""How much each project may send, so that none takes what the others need.

Invariant: a bucket refills at its rate and holds at most ``BURST`` seconds of it; who sent more
than was in it waits until it is out of debt, and never longer than ``BURST``. What pages send has
buckets of its own, a ``PUBLIC_SHARE`` of the project's: whoever copies a browser key locks out no
server.
Source: https://www.rfc-editor.org/rfc/rfc6585#section-4
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import Counter

from ingest.errors import QuotaExceeded
from ingest.sender import Sender

BURST: Final = 60.0
"""Seconds."""

PUBLIC_SHARE: Final = 0.25

_ROUNDING = 1e-6

OVER_QUOTA = Counter(
    "fractalops_over_quota_total",
    "Requests refused over a project's quota.",
    ["project", "trusted"],
)


@dataclass(frozen=True, slots=True)
class Quota:
    """What a project may send in a second, in the long run: items, and plain bytes; 0: no limit."""

    items: int = 0
    size: int = 0


@dataclass(slots=True)
class _Bucket:
    """What is left of one measure, below 0 in debt."""

    rate: float
    level: float = field(init=False)
    at: float

    def __post_init__(self) -> None:
        self.level = self.rate * BURST

    def wait(self, now: float) -> float:
        """Seconds until it is out of debt."""
        self.level = min(self.rate * BURST, self.level + self.rate * max(0.0, now - self.at))
        self.at = now
        left = -self.level / self.rate
        # What is left of it after waiting for so long is rounding.
        return left if left > _ROUNDING else 0.0

    def take(self, amount: int) -> None:
        self.level = max(-self.rate * BURST, self.level - amount)


class Quotas:
    """The buckets of every project; any thread may use them.

    ``usual`` holds for projects that ``special`` doesn't name. ``monotonic`` gives seconds.
    """

    def __init__(
        self,
        usual: Quota | None = None,
        special: Mapping[str, Quota] | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._usual = usual or Quota()
        self._special = dict(special or {})
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # Of each project and trust: items, then bytes. Senders come with a key, so they are few.
        self._buckets: dict[tuple[str, bool], tuple[_Bucket | None, _Bucket | None]] = {}

    def check(self, sender: Sender, error: type[QuotaExceeded] = QuotaExceeded) -> None:
        """Raise ``error`` with the seconds to wait, unless the sender may send now."""
        now = self._monotonic()
        with self._lock:
            buckets = self._of(sender, now)
            waits = [bucket.wait(now) if bucket else 0.0 for bucket in buckets]
        longest = max(waits)
        if not longest:
            return
        OVER_QUOTA.labels(sender.project, str(sender.trusted).lower()).inc()
        what = "items" if waits[0] == longest else "bytes"
        whose = "" if sender.trusted else " what pages may send of"
        seconds = math.ceil(longest)
        raise error(
            f"project {sender.project!r} has sent more {what} than{whose} its quota allows; send"
            f" this again after {seconds} s",
            retry_after=seconds,
        )

    def charge(self, sender: Sender, items: int, size: int) -> None:
        """Take what was sent out of the sender's buckets."""
        with self._lock:
            for bucket, amount in zip(
                self._of(sender, self._monotonic()), (items, size), strict=True
            ):
                if bucket is not None:
                    bucket.take(amount)

    def _of(self, sender: Sender, now: float) -> tuple[_Bucket | None, _Bucket | None]:
        key = (sender.project, sender.trusted)
        found = self._buckets.get(key)
        if found is None:
            quota = self._special.get(sender.project, self._usual)
            share = 1.0 if sender.trusted else PUBLIC_SHARE
            items, size = (
                _Bucket(rate * share, now) if rate else None for rate in (quota.items, quota.size)
            )
            found = self._buckets[key] = (items, size)
        return found
