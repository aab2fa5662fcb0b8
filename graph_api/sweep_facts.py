"""What the stewards' sweeps came to, as facts in the warehouse.

Invariant: a sweep never fails or waits because its row can't be written. Rows that the warehouse
didn't take wait here for the next sweep, the newest of them alone; the process takes them along
when it ends. Idle sweeps are no rows: that nothing happened is no fact.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime

from graph_api.lifecycle import COLUMNS, LifecycleRow, row_of_sweep
from ingest.errors import WarehouseError
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from stewards.outcome import Outcome

LOGGER = logging.getLogger(__name__)

MOST_WAITING = 1_000


class SweepFacts:
    """Told of every sweep's outcome; any thread may call. ``clock`` gives the time in UTC."""

    def __init__(self, warehouse: Warehouse, ids: Ids, clock: Callable[[], datetime]) -> None:
        self._warehouse = warehouse
        self._ids = ids
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[LifecycleRow] = deque(maxlen=MOST_WAITING)

    def swept(self, steward: str, project: str, outcome: Outcome) -> None:
        """A steward's sweep has ended."""
        with self._lock:
            if outcome.state != "idle":
                principal = self._ids.principal(steward)
                now = self._clock()
                self._waiting.append(row_of_sweep(steward, principal, project, outcome, now))
            if not self._waiting:
                return
            rows = [row.values() for row in self._waiting]
            try:
                self._warehouse.insert_rows("lifecycle", COLUMNS, rows)
            except WarehouseError as error:
                LOGGER.warning("%d sweeps wait to become facts: %s", len(rows), error)
                return
            self._waiting.clear()
