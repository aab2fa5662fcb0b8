"""How much is under way at a time, on each asset and on all.

Invariant: a place that was taken is given back once, and nobody waits for one: who gets none is
told so at once.
"""

from __future__ import annotations

import threading
from collections import Counter

from runtime.errors import ControlBusy

PER_ASSET = 4
OVERALL = 16


class RunSlots:
    """Counts runs. Safe to use from any thread."""

    def __init__(self, per_asset: int = PER_ASSET, overall: int = OVERALL) -> None:
        self._per_asset = per_asset
        self._overall = overall
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, asset_id: str) -> None:
        """Raises :class:`ControlBusy` that says what is full."""
        with self._lock:
            if self._taken[asset_id] >= self._per_asset:
                raise ControlBusy(
                    f"{self._per_asset} runs are under way on {asset_id}, which is as many as there"
                    " may be: wait for one to end, or cancel it"
                )
            if self._taken.total() >= self._overall:
                raise ControlBusy(
                    f"{self._overall} runs are under way on all assets, which is as many as there"
                    " may be: wait for one to end"
                )
            self._taken[asset_id] += 1

    def give_back(self, asset_id: str) -> None:
        with self._lock:
            self._taken[asset_id] -= 1
            if not self._taken[asset_id]:
                del self._taken[asset_id]
