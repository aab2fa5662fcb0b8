"""What the stewards' sweeps and the runs of jobs came to, as facts in the warehouse.

Invariant: neither fails or waits because its row can't be written. Rows that the warehouse didn't
take wait here for the next one, the newest of them alone; the process takes them along when it
ends. Idle sweeps are no rows: that nothing happened is no fact.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime

from graph_api.lifecycle import COLUMNS, LifecycleRow, row_of_run, row_of_sweep, sweep_of_run
from ingest.errors import WarehouseError
from ingest.warehouse import Warehouse
from ontology.ids import Ids
from proofs.genesis import steward_slug
from stewards.attempts import EMBEDDED
from stewards.job_store import Run
from stewards.jobs import SWEEP
from stewards.outcome import Outcome

LOGGER = logging.getLogger(__name__)

MOST_WAITING = 1_000


class SweepFacts:
    """Told of every outcome; any thread may call. ``clock`` gives the time in UTC."""

    def __init__(self, warehouse: Warehouse, ids: Ids, clock: Callable[[], datetime]) -> None:
        self._warehouse = warehouse
        self._ids = ids
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[LifecycleRow] = deque(maxlen=MOST_WAITING)

    def swept(self, steward: str, project: str, outcome: Outcome) -> None:
        """A steward's sweep has ended."""
        if outcome.state == "idle":
            self._write()
            return
        principal = self._ids.principal(steward)
        self._write(row_of_sweep(steward, principal, project, outcome, self._clock()))

    def ran(self, run: Run, former: str) -> None:
        """A run of a job has ended, or an attempt at it failed; it was in state ``former``. Of a
        sweep that another process executes, nothing else tells here."""
        now = self._clock()
        rows = [row_of_run(run, former, now)]
        project = run.job.project
        if run.job.kind == SWEEP and project is not None and run.executor != EMBEDDED:
            outcome = sweep_of_run(run)
            if outcome is not None:
                steward = steward_slug(project)
                principal = self._ids.principal(steward)
                rows.append(row_of_sweep(steward, principal, project, outcome, now))
        self._write(*rows)

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
