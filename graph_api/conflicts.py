"""Conflicts between sources, for whoever looks at what they are about.

Invariant: what is told is what the graph states, of graphs that the reader may read; labels are
quoted harmlessly, and the list is bounded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from pyoxigraph import Literal, NamedNode, Quad

from graph_api.harmless import harmless
from ontology.store import GraphStore
from ontology.vocab import Fo, Rdf, Rdfs

MOST_CONFLICTS = 20
MOST_THINGS = 1_000
"""Things that are looked up for one answer."""
MOST_CHARACTERS = 1_000

_TYPE, _LABEL = NamedNode(Rdf.type), NamedNode(Rdfs.label)
_CONFLICT = NamedNode(Fo.Conflict)
_DISPUTES, _CLAIMED_BY = NamedNode(Fo.disputes), NamedNode(Fo.claimedBy)
_HAS_CLAIM = NamedNode(Fo.hasClaim)


def concerning(
    store: GraphStore, hidden: Collection[str], quads: Iterable[Quad]
) -> list[dict[str, Any]]:
    """The conflicts that the things of these quads have a part in: ``id`` and ``label`` of each,
    ``MOST_CONFLICTS`` at most, in order."""
    things = sorted(
        {
            term
            for quad in quads
            for term in (quad.subject, quad.object)
            if isinstance(term, NamedNode) and quad.predicate != _TYPE
        },
        key=str,
    )
    found: set[NamedNode] = set()
    for thing in things[:MOST_THINGS]:
        found |= set(_of(store, hidden, thing))
        if len(found) >= MOST_CONFLICTS:
            break
    return [
        {"id": conflict.value, "label": _label(store, hidden, conflict)}
        for conflict in sorted(found, key=str)[:MOST_CONFLICTS]
    ]


def count(store: GraphStore, graph: str) -> int:
    """How many conflicts a project's lineage graph states."""
    return sum(1 for _ in store.match(None, _TYPE, _CONFLICT, NamedNode(graph)))


def _of(store: GraphStore, hidden: Collection[str], thing: NamedNode) -> Iterator[NamedNode]:
    for quad in store.unrestricted(hidden, None, _DISPUTES, thing):
        if isinstance(quad.subject, NamedNode):
            yield quad.subject
    for claim in store.unrestricted(hidden, None, _CLAIMED_BY, thing):
        if isinstance(claim.subject, NamedNode):
            for quad in store.unrestricted(hidden, None, _HAS_CLAIM, claim.subject):
                if isinstance(quad.subject, NamedNode):
                    yield quad.subject


def _label(store: GraphStore, hidden: Collection[str], conflict: NamedNode) -> str:
    labels = sorted(
        quad.object.value
        for quad in store.unrestricted(hidden, conflict, _LABEL)
        if isinstance(quad.object, Literal)
    )
    return harmless(labels[0] if labels else conflict.value, MOST_CHARACTERS)
