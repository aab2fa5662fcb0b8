"""The asserted graph as it would be after a change.

Invariant: a view, never a write: store minus removals plus additions, over every graph that
proposals write. A triple stated in several graphs is yielded once for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyoxigraph import BlankNode, Literal, NamedNode, Quad, Triple

from ontology.store import GraphStore
from ontology.terms import Delta, graph_of
from ontology.vocab import Rdfs

Term = NamedNode | Literal
SUBCLASS = NamedNode(Rdfs.subClassOf)


class Overlay:
    """A store and a delta whose quads are canonical and effective."""

    def __init__(self, store: GraphStore, delta: Delta) -> None:
        self._store = store
        self._removals = delta.removals
        self._by_subject: dict[object, list[Quad]] = {}
        self._by_object: dict[object, list[Quad]] = {}
        for quad in delta.additions:
            self._by_subject.setdefault(quad.subject, []).append(quad)
            self._by_object.setdefault(quad.object, []).append(quad)

    def about(self, subject: Term, predicate: NamedNode | None = None) -> Iterator[Quad]:
        """Quads with this subject; none for a literal."""
        if isinstance(subject, Literal):
            return
        for quad in self._store.asserted(subject, predicate):
            if quad not in self._removals:
                yield quad
        for quad in self._by_subject.get(subject, ()):
            if predicate is None or quad.predicate == predicate:
                yield quad

    def referring(self, value: Term, predicate: NamedNode) -> Iterator[Quad]:
        """Quads with this predicate and object."""
        for quad in self._store.asserted(None, predicate, value):
            if quad not in self._removals:
                yield quad
        for quad in self._by_object.get(value, ()):
            if quad.predicate == predicate:
                yield quad

    def everything(self) -> Iterator[Quad]:
        """Every asserted quad of the post-state."""
        for quad in self._store.asserted():
            if quad not in self._removals:
                yield quad
        for quads in self._by_subject.values():
            yield from quads

    def of_graph(self, graph: str) -> Iterator[Quad]:
        """The quads of one graph."""
        for quad in self._store.match(graph=NamedNode(graph)):
            if quad not in self._removals:
                yield quad
        for quads in self._by_subject.values():
            yield from (quad for quad in quads if graph_of(quad) == graph)

    def superclasses(self, classes: Iterable[NamedNode]) -> set[NamedNode]:
        """These classes and everything above them."""
        found = set(classes)
        waiting = list(found)
        while waiting:
            for quad in self.about(waiting.pop(), SUBCLASS):
                if isinstance(quad.object, NamedNode) and quad.object not in found:
                    found.add(quad.object)
                    waiting.append(quad.object)
        return found


def node(term: NamedNode | BlankNode | Literal | Triple) -> Term:
    """A term of a canonical quad; such quads have no blank nodes and no triple terms."""
    assert isinstance(term, NamedNode | Literal)
    return term


def ntriples(quads: Iterable[Quad]) -> bytes:
    """The triples of these quads, each once."""
    lines = {f"{quad.subject} {quad.predicate} {quad.object} .\n" for quad in quads}
    return "".join(sorted(lines)).encode()
