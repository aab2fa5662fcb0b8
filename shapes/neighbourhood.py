"""What a query can rest on around its focus node, where that can be told from its patterns.

Invariant: the triples that :meth:`Neighbourhood.triples` gives are all of the graph's that the
query's answer depends on, and perhaps more; run on them, or on anything between them and the whole
graph, it gives the same answer.

A variable is *reached* when a pattern joins it to the focus node through constant predicates: then
all its values lie at the end of a path. Patterns are joined in any order, so inside one group, and
in groups and ``UNION`` branches inside it, each pattern need only touch something reached. What
``OPTIONAL`` and ``EXISTS`` look for is not joined: there only variables count that have a value for
certain before. A query with a pattern that touches nothing reached has no neighbourhood.
Specification: https://www.w3.org/TR/sparql11-query/#sparqlAlgebra
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pyoxigraph import Literal, NamedNode, Triple

from shapes.paths import HERE, Edge, Either, Path, chain, edges, inward
from shapes.query_patterns import (
    CONSTANT,
    Branches,
    Element,
    Elsewhere,
    End,
    Exists,
    Group,
    Maybe,
    Subquery,
    TriplePattern,
    may_stay,
)
from shapes.view import Node, View

MOST_EDGES = 200
"""Steps of a neighbourhood; a query that needs more is run on the whole graph."""

_SOMETHING = NamedNode("urn:x-fractalops:something")

Reached = dict[End, Path]


class Unbounded(Exception):
    """A query that may rest on anything."""


class TooLarge(Exception):
    """A neighbourhood of more triples than are worth gathering."""


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The edges, from the focus node on, of the triples that a query rests on."""

    edges: tuple[Edge, ...]
    stays: bool = False
    """Whether a path may lead from a pre-bound node to itself without any triple."""

    def triples(
        self, view: View, focus: Node, values: Sequence[Node], found: set[Triple], most: int
    ) -> None:
        """Adds the triples around one focus node. Raises :class:`TooLarge` beyond ``most``."""
        if self.stays:
            # The engine has empty paths only at nodes that are in the graph; SPARQL at any term.
            found.update(Triple(_SOMETHING, _SOMETHING, node) for node in (focus, *values))
        for edge in self.edges:
            for node in edge.prefix.follow(view, focus):
                found.update(_touching(view, edge, node))
                if len(found) > most:
                    raise TooLarge


def _touching(view: View, edge: Edge, node: Node) -> Iterable[Triple]:
    predicate = edge.predicate
    if not edge.forwards:
        assert predicate is not None
        return [
            Triple(subject, predicate, node)
            for subject in view.subjects(predicate, node)
            if not isinstance(subject, Literal)
        ]
    if isinstance(node, Literal):
        return []
    values: Mapping[NamedNode, Sequence[Node]]
    values = (
        view.outgoing(node) if predicate is None else {predicate: view.objects(node, predicate)}
    )
    return [Triple(node, iri, value) for iri, items in values.items() for value in items]


def neighbourhood(group: Group, anchors: Reached) -> Neighbourhood:
    """What a query's patterns rest on; ``anchors`` are the pre-bound variables, with where they lie
    from the focus node. Raises :class:`Unbounded`."""
    reader = _Reader(anchors)
    reader.group(group, {})
    return Neighbourhood(tuple(reader.edges), reader.stays)


@dataclass(slots=True)
class _Result:
    """What a group gives its surroundings: what has a value for certain, and where it lies."""

    certain: set[End]
    reached: Reached


class _Reader:
    def __init__(self, anchors: Reached) -> None:
        self._anchors = anchors
        self.edges: dict[Edge, None] = {}
        self.stays = False

    def group(self, group: Group, given: Reached) -> _Result:
        """``given`` is what was reached outside, in what this group is joined with."""
        reached = {**given, **self._anchors}
        before: list[set[End]] = []
        certain: set[End] = set()
        joined = [(number, item) for number, item in enumerate(group.elements) if _is_joined(item)]
        parts: dict[int, set[End]] = {}
        while joined:
            left = [
                (number, item)
                for number, item in joined
                if not self._join(item, reached, parts, number)
            ]
            if len(left) == len(joined):
                raise Unbounded
            joined = left
        for number in range(len(group.elements)):
            before.append(set(certain))
            certain |= parts.get(number, set())
        for number, item in enumerate(group.elements):
            if isinstance(item, Maybe):
                self.group(item.group, _only(reached, before[number]))
            elif isinstance(item, Exists):
                self.group(item.group, _only(reached, before[number] if item.early else certain))
        return _Result(certain, _only(reached, certain))

    def _join(
        self, item: Element, reached: Reached, parts: dict[int, set[End]], number: int
    ) -> bool:
        """Whether an element touches what is reached; then what it binds is reached too."""
        match item:
            case TriplePattern():
                if not self._touch(item, reached):
                    return False
                parts[number] = {item.subject, item.value} - {CONSTANT}
                return True
            case Branches(groups=groups):
                known = dict(self.edges)
                try:
                    results = [self.group(inner, reached) for inner in groups]
                except Unbounded:
                    self.edges = known
                    return False
                parts[number] = set.intersection(*(result.certain for result in results))
                for name in parts[number]:
                    paths = [result.reached.get(name) for result in results]
                    found = tuple(dict.fromkeys(path for path in paths if path is not None))
                    if len(paths) == len([path for path in paths if path is not None]):
                        reached.setdefault(name, found[0] if len(found) == 1 else Either(found))
                return True
            case Subquery(group=inner, projected=projected):
                # It is worked out by itself, whatever it is joined with.
                result = self.group(inner, {})
                parts[number] = result.certain & projected
                for name, path in result.reached.items():
                    if name in parts[number]:
                        reached.setdefault(name, path)
                return True
        # Elsewhere: the triples of another graph.
        raise Unbounded

    def _touch(self, item: TriplePattern, reached: Reached) -> bool:
        if item.path is not None and may_stay(item.path):
            if item.subject not in self._anchors and item.value not in self._anchors:
                # It leads from each node to itself; what is gathered has not all of them.
                raise Unbounded
            self.stays = True
        if item.subject in reached:
            start = reached[item.subject]
            if item.path is None:
                self._note(Edge(start, None, True))
                return True
            path = inward(item.path)
            for edge in edges(path, start):
                self._note(edge)
            if item.value:
                reached.setdefault(item.value, chain(start, path))
            return True
        if item.value in reached and item.path is not None:
            start, path = reached[item.value], inward(item.path, inverted=True)
            for edge in edges(path, start):
                self._note(edge)
            if item.subject:
                reached.setdefault(item.subject, chain(start, path))
            return True
        return False

    def _note(self, edge: Edge) -> None:
        self.edges[edge] = None
        if len(self.edges) > MOST_EDGES:
            raise Unbounded


def _is_joined(item: Element) -> bool:
    return isinstance(item, TriplePattern | Branches | Subquery | Elsewhere)


def _only(reached: Reached, names: set[End]) -> Reached:
    return {name: path for name, path in reached.items() if name in names}


def anchored(path: Path | None) -> Reached:
    """Where ``$this`` lies, and ``$value`` for a shape of this path."""
    return {"?this": HERE, "?value": HERE if path is None else inward(path)}
