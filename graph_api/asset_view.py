"""The assets that the graph states, as the control of assets reads them.

Invariant: what is given is what ``graph/assets`` states at a head not older than that at which it
was asked for. It is read again only after an entry that changed the graph, which runs don't.
"""

from __future__ import annotations

import threading

from pyoxigraph import NamedNode

from ontology.ids import Ids
from ontology.store import GraphStore
from proofs.index import Index
from proofs.predicate import APPLYING_KINDS
from runtime.asset_graph import AssetGraph, read_assets

_LOOKED_AT = 1_000
"""Where more entries came since, it is read again without looking at them."""


class AssetView:
    """Callable in any thread."""

    def __init__(self, store: GraphStore, index: Index, ids: Ids) -> None:
        self._store = store
        self._index = index
        self._graph = NamedNode(ids.graph("assets"))
        self._lock = threading.Lock()
        self._held: tuple[int, AssetGraph] | None = None

    def __call__(self) -> AssetGraph:
        with self._lock:
            # The store has an entry before the index does: what it holds is of this head or later,
            # and what is later is looked at the next time.
            head = self._index.head()
            if self._held is None or self._changed(self._held[0]):
                # One iteration sees one state of the store.
                held = read_assets(list(self._store.match(graph=self._graph)))
            else:
                held = self._held[1]
            self._held = (head, held)
            return held

    def _changed(self, since: int) -> bool:
        rows = self._index.following(since + 1, _LOOKED_AT)
        return len(rows) == _LOOKED_AT or any(row.kind in APPLYING_KINDS for row in rows)
