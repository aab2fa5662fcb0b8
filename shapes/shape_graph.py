"""The graph that shapes are read from, by subject and predicate.

Invariant: values come in the order of their text, so that what is made of them never varies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyoxigraph import Literal, NamedNode, Quad, Triple

from ontology.vocab import Owl, Rdf, Rdfs, Sh
from shapes.view import Node, node

NAMELESS = NamedNode("urn:x-fractalops:shapes")
"""The name of a shapes graph that came without one, for queries that ask."""


class Fault(Exception):
    """One thing that is wrong with one subject; the message goes on from its name."""


class ShapeGraph:
    """Triples of a shapes graph."""

    def __init__(self, quads: Iterable[Quad | Triple]) -> None:
        self.name = NAMELESS
        self._about: dict[Node, dict[str, list[Node]]] = {}
        self._having: dict[str, list[Node]] = {}
        seen: dict[tuple[Node, str, Node], None] = {}
        for quad in quads:
            if isinstance(quad, Quad) and isinstance(quad.graph_name, NamedNode):
                self.name = quad.graph_name
            seen[node(quad.subject), quad.predicate.value, node(quad.object)] = None
        for subject, predicate, value in sorted(seen, key=lambda row: tuple(map(str, row))):
            values = self._about.setdefault(subject, {}).setdefault(predicate, [])
            if not values:
                self._having.setdefault(predicate, []).append(subject)
            values.append(value)
        self._instances: dict[str, frozenset[Node]] = {}
        self._shape_classes: frozenset[Node] | None = None

    def values(self, subject: Node, predicate: str) -> list[Node]:
        return self._about.get(subject, {}).get(predicate, [])

    def triples(self) -> Iterator[Triple]:
        for subject, values in self._about.items():
            assert not isinstance(subject, Literal)
            for predicate, items in values.items():
                for item in items:
                    yield Triple(subject, NamedNode(predicate), item)

    def having(self, predicate: str) -> list[Node]:
        """The subjects that have any value for this predicate."""
        return self._having.get(predicate, [])

    def predicates(self) -> list[str]:
        """Every predicate that is used."""
        return list(self._having)

    def instances(self, kind: str) -> frozenset[Node]:
        """The subjects whose ``rdf:type`` this is."""
        if kind not in self._instances:
            self._instances[kind] = frozenset(
                subject
                for subject in self.having(Rdf.type)
                if any(value.value == kind for value in self.values(subject, Rdf.type))
            )
        return self._instances[kind]

    def components(self) -> frozenset[Node]:
        """What is declared a constraint component."""
        return self._below({Sh.ConstraintComponent})

    def shape_classes(self) -> frozenset[Node]:
        """What is declared a shape and a class: the classes whose instances a shape targets."""
        if self._shape_classes is None:
            shapes = self._below({Sh.NodeShape, Sh.PropertyShape})
            self._shape_classes = shapes & self._below({Rdfs.Class, Owl.Class})
        return self._shape_classes

    def _below(self, kinds: set[str]) -> frozenset[Node]:
        """The instances of these classes and of what is a subclass of one."""
        while True:
            below = {
                subject.value
                for subject in self.having(Rdfs.subClassOf)
                if any(value.value in kinds for value in self.values(subject, Rdfs.subClassOf))
            }
            if below <= kinds:
                return frozenset().union(*(self.instances(kind) for kind in kinds))
            kinds |= below

    def list(self, head: Node) -> list[Node] | None:
        """The members of a list; ``None`` when it is not well formed."""
        items: list[Node] = []
        passed: set[Node] = set()
        while head.value != Rdf.nil:
            first, rest = self.values(head, Rdf.first), self.values(head, Rdf.rest)
            if head in passed or len(first) != 1 or len(rest) != 1:
                return None
            passed.add(head)
            items.append(first[0])
            head = rest[0]
        return items
