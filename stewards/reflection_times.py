"""When a steward last reflected.

Invariant: everything here can be lost: a steward that doesn't know reflects one interval later.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from stewards.watermark import WatermarkStore

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reflected (
  steward TEXT PRIMARY KEY, at REAL NOT NULL
) STRICT, WITHOUT ROWID
"""


class ReflectionTimes:
    """The times of one steward, beside its watermark; ``every`` is the interval between two."""

    def __init__(self, store: WatermarkStore, steward: str, every: timedelta) -> None:
        self._store = store
        self._steward = steward
        self._every = every.total_seconds()
        with store.transaction() as database:
            database.execute(_SCHEMA)
            row = database.execute(
                "SELECT at FROM reflected WHERE steward = ?", (steward,)
            ).fetchone()
        self._last: float | None = float(row[0]) if row else None

    def is_over(self, now: datetime) -> bool:
        """Whether the interval is over."""
        return self._last is None or not 0 <= now.timestamp() - self._last < self._every

    def is_due(self, now: datetime) -> bool:
        """Whether it is time; then the next interval begins, whatever comes of it. A clock that was
        put back doesn't stop it for longer than an interval."""
        if not self.is_over(now):
            return False
        moment = now.timestamp()
        first = self._last is None
        self._last = moment
        with self._store.transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO reflected VALUES (?, ?)", (self._steward, moment)
            )
        return not first
