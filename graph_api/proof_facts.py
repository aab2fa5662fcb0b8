"""Log entries and the states that were reached with them, as facts in the warehouse.

Invariant: a follower of the journal. Its cursor is what the warehouse holds, of the table with
the least, so whatever is lost is written again, and rows with the same key collapse. Every entry
has a row in ``proof_entries`` and one at least in ``lifecycle``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from graph_api.lifecycle import COLUMNS as LIFECYCLE_COLUMNS
from graph_api.lifecycle import NO_ENTRY, rows_of_entry
from ingest.errors import WarehouseError
from ingest.warehouse import Warehouse
from proofs.journal import Journal
from proofs.log_keys import LogKeys
from proofs.projections import Entry, load_entry

LOGGER = logging.getLogger(__name__)

PAGE = 500
RETRY = 5.0
PAUSE = 0.25
"""Seconds between two turns: an insert costs about the same for one entry and for hundreds."""

_ENTRY_COLUMNS = (
    *("index", "kind", "time", "proposal", "project", "principal", "leaf_hash", "graphs"),
)
_STEWARD_COLUMNS = ("time", "steward", "project", "event", "proposal", "detail")
# How many entries have rows, and the newest of them.
_HELD = (
    "SELECT count(), max(`index`) FROM proof_entries",
    f"SELECT uniqExact(entry), max(entry) FROM lifecycle WHERE entry != {NO_ENTRY}",
)


class ProofFacts:
    """Follows the journal in a thread of its own.

    ``is_steward`` says whether a principal's proposals belong to the steward lifecycle.
    """

    def __init__(
        self,
        journal: Journal,
        warehouse: Warehouse,
        keys: LogKeys,
        is_steward: Callable[[str], bool],
    ) -> None:
        self._journal = journal
        self._warehouse = warehouse
        self._keys = keys
        self._is_steward = is_steward
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proof-facts", daemon=True)

    def start(self) -> None:
        self._wake.set()
        self._thread.start()

    def notify(self, _head: int) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def _run(self) -> None:
        cursor: int | None = None
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                cursor = self._follow(self._cursor() if cursor is None else cursor)
                self._stopping.wait(PAUSE)
            except WarehouseError as error:
                LOGGER.warning("log entries wait to become facts: %s", error)
                cursor = None
                threading.Timer(RETRY, self._wake.set).start()

    def _cursor(self) -> int:
        return min(self._followed(sql) for sql in _HELD)

    def _followed(self, sql: str) -> int:
        """The first entry that one of the tables lacks."""
        count, last = self._warehouse.query(sql).rows[0]
        # A gap would mean lost rows: then everything is written again, and collapses.
        return int(last) + 1 if count and int(count) == int(last) + 1 else 0

    def _follow(self, cursor: int) -> int:
        head = self._journal.head()
        while cursor <= head and not self._stopping.is_set():
            stop = min(cursor + PAGE, head + 1)
            entries = [
                load_entry(self._journal, index, leaf, self._keys)
                for index, leaf in self._journal.leaves(cursor, stop)
            ]
            stewards = [row for entry in entries for row in self._of_stewards(entry)]
            self._warehouse.insert_rows("steward_lifecycle", _STEWARD_COLUMNS, stewards)
            states = [row.values() for entry in entries for row in rows_of_entry(entry)]
            self._warehouse.insert_rows("lifecycle", LIFECYCLE_COLUMNS, states)
            rows = [_entry_row(entry) for entry in entries]
            self._warehouse.insert_rows("proof_entries", _ENTRY_COLUMNS, rows)
            cursor = stop
        return cursor

    def _of_stewards(self, entry: Entry) -> list[tuple[object, ...]]:
        proof = entry.proof
        if proof.principal is None or not self._is_steward(proof.principal):
            return []
        return [
            (
                datetime.fromisoformat(proof.time),
                proof.principal,
                proof.project or "",
                state,
                proof.proposal or "",
                f"entry {entry.index}",
            )
            for state in proof.transitions
        ]


def _entry_row(entry: Entry) -> tuple[object, ...]:
    proof = entry.proof
    return (
        entry.index,
        proof.kind,
        datetime.fromisoformat(proof.time),
        proof.proposal or "",
        proof.project or "",
        proof.principal or "",
        entry.leaf_hash,
        entry.delta.graphs(),
    )
