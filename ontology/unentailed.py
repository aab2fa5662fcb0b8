"""Snapshots without what is inferred, for queries that ask for what was stated alone.

Invariant: such a copy holds what its snapshot holds but ``graph/inferred``, and its default graph
is the deduplicated merge without inferred triples. It lies in its snapshot's folder, is made when
it is first asked for, and goes when the snapshot goes.

What is inferred is stated nowhere, so to take it out of the merge is exact. A query over a list of
graphs would not be: the engine counts a triple once for each graph that states it.
"""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

from ontology.errors import OntologyError, SnapshotError
from ontology.ids import Ids
from ontology.recent_changes import Change, RecentChanges
from ontology.snapshots import Lease, Snapshot, Snapshots
from ontology.store import GraphStore, copy_snapshot

NAME = "asserted"
_UNFINISHED = ".asserted"


class Unentailed:
    """The copies beside the snapshots of one store. Any thread may use it.

    With the store's ``recent`` changes a copy is made from that of an earlier head where there is
    one: what changed since is most often little, and what is inferred much."""

    def __init__(self, snapshots: Snapshots, ids: Ids, recent: RecentChanges | None = None) -> None:
        self._snapshots = snapshots
        self._ids = ids
        self._recent = recent
        self._newest: int | None = None
        self._making = threading.Lock()

    def ready(self, lease: Lease) -> Lease | None:
        """The lease, moved on to the copy beside its snapshot; ``None`` where there is none yet."""
        path = lease.snapshot.path / NAME
        return lease.moved(path) if path.exists() else None

    def make(self, lease: Lease) -> Lease:
        """The lease, moved on to the copy, which is made where there is none.

        Takes time in proportion to what changed since the newest copy, or to what is inferred where
        that is not known. Raises :class:`ontology.errors.SnapshotError`, and then the lease is
        released.
        """
        snapshot = lease.snapshot
        try:
            # One at a time: the next one may be for the same snapshot.
            with self._making:
                if not (snapshot.path / NAME).exists():
                    if not self._followed(snapshot):
                        self._make(snapshot.path, snapshot.path, None)
                    self._snapshots.recount(snapshot.head)
                self._newest = max(snapshot.head, self._newest or 0)
        except (OntologyError, OSError) as error:
            lease.release()
            raise SnapshotError(
                f"head {snapshot.head} could not be copied without what is inferred: {error}"
            ) from error
        return lease.moved(snapshot.path / NAME)

    def _followed(self, snapshot: Snapshot) -> bool:
        """Makes the copy from the newest one there is; whether that was possible."""
        earlier = self._newest
        if self._recent is None or earlier is None or earlier >= snapshot.head:
            return False
        changes = self._recent.between(earlier, snapshot.head)
        lease = self._snapshots.try_lease(earlier) if changes is not None else None
        if lease is None:
            return False
        with lease as before:
            copy = before.path / NAME
            if not copy.exists():
                return False
            self._make(snapshot.path, copy, changes)
        return True

    def _make(self, snapshot: Path, start: Path, changes: list[Change] | None) -> None:
        """Makes a copy of ``start`` that takes these changes, or has what is inferred taken out."""
        unfinished = snapshot / _UNFINISHED
        # Of an earlier run that was cut off.
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            copy_snapshot(start, unfinished)
            store = GraphStore(unfinished, self._ids)
            if changes is None:
                store.drop_inferred()
            else:
                store.follow(changes)
            # Closes it: the copy is opened read-only from here on.
            del store
            unfinished.rename(snapshot / NAME)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
