"""What the runs of jobs came to, the stewards' sweeps among them, as facts in the warehouse.

Invariant: a job never fails or waits because its row can't be written. Rows that the warehouse
didn't take wait here for the next one, the newest of them alone; the process takes them along when
it ends.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime

from graph_api.lifecycle import COLUMNS, LifecycleRow, row_of_run, row_of_sweep
from ingest.errors import WarehouseError
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from proofs.genesis import steward_slug
from stewards.job_store import Run
from stewards.jobs import SWEEP

LOGGER = logging.getLogger(__name__)

MOST_WAITING = 1_000


class RunFacts:
    """Told of every run; any thread may call. ``clock`` gives the time in UTC."""

    def __init__(self, warehouse: Warehouse, ids: Ids, clock: Callable[[], datetime]) -> None:
        self._warehouse = warehouse
        self._ids = ids
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[LifecycleRow] = deque(maxlen=MOST_WAITING)

    def ran(self, run: Run, former: str) -> None:
        """A run of a job has ended, or an attempt at it failed; it was in state ``former``."""
        if run.job.kind == SWEEP and run.job.project:
            steward = steward_slug(run.job.project)
            row = row_of_sweep(run, steward, self._ids.principal(steward), self._clock())
        else:
            row = row_of_run(run, former, self._clock())
        if row is not None:
            self._write(row)

    def _write(self, *rows: LifecycleRow) -> None:
        with self._lock:
            self._waiting.extend(rows)
            if not self._waiting:
                return
            values = [row.values() for row in self._waiting]
            try:
                self._warehouse.insert_rows("lifecycle", COLUMNS, values)
            except WarehouseError as error:
                LOGGER.warning("%d outcomes wait to become facts: %s", len(values), error)
                return
            self._waiting.clear()
