"""What the journal adds to the catalog: where an entity comes from, and what changed since a head.

Invariant: changes are those of the signed entries themselves, and only of graphs the caller may
read. Where they are too many to tell, or where an entry changed what anybody may read or what
things mean, nothing is told but that the whole catalog has to be read.
Source: docs/catalog.md
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pyoxigraph import NamedNode, Quad

from ontology.ids import Ids
from ontology.terms import graph_of, line
from ontology.vocab import Fo, Rdf
from proofs.index import Index
from proofs.journal import Journal
from proofs.log_keys import LogKeys
from proofs.projections import load_entry

MOST_ENTRIES = 2_000
MOST_TOUCHED = 20_000
MOST_EVIDENCE = 10
"""Commitments that are given with an entity; its proof chain has all of them."""

_OF_THE_OBJECT = frozenset({Fo.columnOf, Fo.offers, Fo.performs, Fo.disputes})
"""Properties that the catalog tells with what they lead to."""


@dataclass(frozen=True, slots=True)
class Touched:
    """IRIs that entries spoke of, and those that may be gone since; both sorted."""

    iris: tuple[str, ...]
    gone: tuple[str, ...]


class CatalogJournal:
    """Reads one journal and its index; any thread may use it."""

    def __init__(self, journal: Journal, index: Index, keys: LogKeys, ids: Ids) -> None:
        self._journal = journal
        self._index = index
        self._keys = keys
        self._lineage = ids.graph("lineage") + "/"
        self._meaning = frozenset(ids.graph(name) for name in ("governance", "ontology", "shapes"))

    def touched(self, since: int, head: int, hidden: frozenset[str]) -> Touched | None:
        """What the entries after ``since`` up to ``head`` touched, or ``None`` for everything."""
        if since > head or head - since > MOST_ENTRIES:
            return None
        iris: set[str] = set()
        gone: set[str] = set()
        for index in range(since + 1, head + 1):
            entry = load_entry(self._journal, index, self._journal.leaf(index), self._keys)
            for quads, removed in ((entry.delta.additions, False), (entry.delta.removals, True)):
                for quad in quads:
                    graph = graph_of(quad)
                    if graph in self._meaning:
                        return None
                    if graph.startswith(self._lineage) and graph not in hidden:
                        iris.update(_about(quad))
                        if removed and quad.predicate.value == Rdf.type:
                            gone.update(_about(quad))
            if len(iris) > MOST_TOUCHED:
                return None
        return Touched(tuple(sorted(iris)), tuple(sorted(gone)))

    def add_proofs(self, items: Iterable[dict[str, Any]], head: int) -> None:
        """Adds ``proof`` to each entity whose class an entry up to ``head`` stated."""
        known: dict[int, dict[str, Any] | None] = {}
        for item in items:
            quad = Quad(
                NamedNode(item["id"]),
                NamedNode(Rdf.type),
                NamedNode(item["class"]),
                NamedNode(item["graph"]),
            )
            origin = self._index.origin(line(quad))
            if origin is None or origin > head:
                continue
            if origin not in known:
                known[origin] = self._proof(origin)
            proof = known[origin]
            if proof is not None:
                item["proof"] = {**proof, "explain": _explain(quad)}

    def _proof(self, entry: int) -> dict[str, Any] | None:
        row = self._index.entry(entry)
        if row is None or row.proposal is None:
            return None
        view = self._index.proposal(row.proposal)
        if view is None:
            return None
        return {
            "entry": entry,
            "time": row.time,
            "leaf_hash": row.leaf_hash,
            "proposal": view.id,
            "conforms": None if view.report is None else bool(view.report["conforms"]),
            "evidence": sorted(view.evidence)[:MOST_EVIDENCE],
            "evidence_count": len(view.evidence),
        }


def _about(quad: Quad) -> list[str]:
    terms = (quad.subject, quad.object)
    told = terms if quad.predicate.value in _OF_THE_OBJECT else terms[:1]
    return [term.value for term in told if isinstance(term, NamedNode)]


def _explain(quad: Quad) -> str:
    """Where the chain behind the entity's class is told."""
    terms = {"s": str(quad.subject), "p": str(quad.predicate), "o": str(quad.object)}
    return f"/proofs/explain?{urlencode(terms | {'g': graph_of(quad)})}"
