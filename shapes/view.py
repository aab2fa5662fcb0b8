"""What a validation reads: a graph, asked for the neighbours of a node.

Invariant: a triple that several graphs state is seen once. Two views exist: triples in memory, as
they were given, and :class:`shapes.overlay.Overlay`, a store with a change on top.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from pyoxigraph import BlankNode, Literal, NamedNode, Quad
from pyoxigraph import Triple as RdfTriple

from ontology.vocab import Rdf

Node = NamedNode | BlankNode | Literal
TYPE = NamedNode(Rdf.type)


class View(Protocol):
    """A graph to validate. ``limit`` is how many neighbours are enough to the caller."""

    def objects(
        self, subject: Node, predicate: NamedNode, limit: int | None = None
    ) -> Sequence[Node]:
        """The values of a predicate, each once; none for a literal."""

    def subjects(
        self, predicate: NamedNode, value: Node, limit: int | None = None
    ) -> Sequence[Node]:
        """The subjects that have this value, each once."""

    def outgoing(self, subject: Node) -> Mapping[NamedNode, Sequence[Node]]:
        """All values of a subject by predicate."""

    def pairs(self, predicate: NamedNode) -> Iterator[tuple[Node, Node]]:
        """Every subject and value of a predicate, once; the same values come together."""

    def instances(self, kind: Node) -> Iterator[Node]:
        """The nodes whose ``rdf:type`` this is, each once, as they are found."""

    def everything(self) -> Iterator[RdfTriple] | Iterator[Quad]:
        """All of it; may repeat a triple that several graphs state."""


class MemoryView:
    """Triples in memory, their literals as written, their blank nodes as they are."""

    def __init__(self, triples: Iterable[RdfTriple | Quad]) -> None:
        self._objects: dict[NamedNode, dict[Node, dict[Node, None]]] = {}
        self._subjects: dict[NamedNode, dict[Node, dict[Node, None]]] = {}
        self._outgoing: dict[Node, dict[NamedNode, dict[Node, None]]] = {}
        for triple in triples:
            subject, predicate, value = node(triple.subject), triple.predicate, node(triple.object)
            values = self._objects.setdefault(predicate, {}).setdefault(subject, {})
            values[value] = None
            self._subjects.setdefault(predicate, {}).setdefault(value, {})[subject] = None
            self._outgoing.setdefault(subject, {})[predicate] = values

    def objects(
        self, subject: Node, predicate: NamedNode, limit: int | None = None
    ) -> Sequence[Node]:
        return tuple(self._objects.get(predicate, {}).get(subject, ()))

    def subjects(
        self, predicate: NamedNode, value: Node, limit: int | None = None
    ) -> Sequence[Node]:
        return tuple(self._subjects.get(predicate, {}).get(value, ()))

    def outgoing(self, subject: Node) -> Mapping[NamedNode, Sequence[Node]]:
        return {key: tuple(values) for key, values in self._outgoing.get(subject, {}).items()}

    def pairs(self, predicate: NamedNode) -> Iterator[tuple[Node, Node]]:
        for value, subjects in self._subjects.get(predicate, {}).items():
            for subject in subjects:
                yield subject, value

    def instances(self, kind: Node) -> Iterator[Node]:
        return iter(self._subjects.get(TYPE, {}).get(kind, {}))

    def everything(self) -> Iterator[RdfTriple]:
        for subject, by_predicate in self._outgoing.items():
            assert not isinstance(subject, Literal)
            for predicate, values in by_predicate.items():
                for value in values:
                    yield RdfTriple(subject, predicate, value)


def node(term: NamedNode | BlankNode | Literal | RdfTriple) -> Node:
    """A term that is no triple term. Raises :class:`ValueError` for one."""
    if isinstance(term, RdfTriple):
        raise ValueError(f"{term}: triple terms of RDF 1.2 cannot be validated")
    return term
