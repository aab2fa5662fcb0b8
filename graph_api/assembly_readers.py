"""The readers of one data folder: snapshots, and the processes that answer queries from them.

Invariant: a reader sees the graph as it was right after one entry, and who changed something sees
what they changed.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from graph_api.query_service import QueryLimits, QueryService
from graph_api.query_workers import QueryPool
from graph_api.rebuilding import Rebuilder
from ontology.entailment import VERSION
from ontology.ids import Ids
from ontology.snapshots import Snapshots
from ontology.store import GraphStore
from proofs.journal import Journal
from proofs.ledger import Ledger
from runtime.data_folder import DataFolder
from runtime.settings import Settings

USUAL_SHARE = 3
"""A query gets the longest time divided by this, unless it asks for more."""


class Readers:
    """``rebuilder`` makes older heads anew; what is opened is closed by the stack."""

    def __init__(
        self,
        folder: DataFolder,
        settings: Settings,
        journal: Journal,
        ledger: Ledger,
        store: GraphStore,
        ids: Ids,
        rebuilder: Rebuilder,
        closing: ExitStack,
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self._store = store
        self._committed: dict[str, int] = {}
        self.snapshots = Snapshots(
            folder.snapshots,
            self._cut,
            rebuilder.at,
            settings.snapshot_bytes,
            identity=self._identity,
        )
        self.snapshots.start()
        closing.callback(self.snapshots.close)
        # Started by the application, in the event loop that serves.
        self.workers = QueryPool(
            self.snapshots,
            folder.scratch / "results",
            settings.query_workers,
            settings.query_memory,
        )
        self.queries = QueryService(
            self.snapshots,
            self.workers,
            ids,
            QueryLimits(
                seconds=settings.query_seconds / USUAL_SHARE,
                most_seconds=settings.query_seconds,
                result_bytes=settings.query_result_bytes,
            ),
            self.min_head_for,
            store.recent,
        )

    def committed(self, principal: str, head: int) -> None:
        """Remembers what a caller changed last, so that they read their own writes."""
        self._committed[principal] = max(head, self._committed.get(principal, -1))

    def min_head_for(self, principal: str) -> int:
        """The head this caller's reads must have reached, -1 for any."""
        return self._committed.get(principal, -1)

    def _identity(self, head: int) -> str:
        # What a snapshot holds also depends on the rules that its inferred triples follow.
        return f"{self._journal.leaf_hashes(head, head + 1)[0].hex()} {VERSION}"

    def _cut(self, path: Path) -> int:
        with self._ledger.writer_lock:
            self._store.checkpoint(path)
            return self._ledger.head
