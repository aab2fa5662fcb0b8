"""The asserted graph as it would be after a change.

Invariant: a view, never a write: store minus removals plus additions, over every graph that
proposals write. A triple stated in several graphs is seen once. Whatever was read is remembered, so
that it can be told later whether another change would have been read as well.

Single look-ups go to the store one by one; :meth:`Overlay.prefetch` asks for many nodes at once,
which costs a third of it on disk.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from pyoxigraph import BlankNode, Literal, NamedNode, Quad, Triple

from ontology.store import GraphStore
from ontology.terms import Delta, graph_of
from ontology.vocab import Rdfs
from shapes.view import TYPE, Node

Term = NamedNode | Literal
SUBCLASS = NamedNode(Rdfs.subClassOf)

FEW = 4
"""So many look-ups are quicker one by one than by a query."""
BATCH = 2_000
"""Nodes of one query."""
MANY = 50
"""Values of one node, on average, beyond which a batch is left to look-ups with a limit."""


@dataclass(slots=True)
class Reads:
    """What was read: values by predicate and node, whole nodes, or simply everything."""

    objects: dict[NamedNode, set[Node]] = field(default_factory=dict)
    subjects: dict[NamedNode, set[Node]] = field(default_factory=dict)
    nodes: set[Node] = field(default_factory=set)
    pointed: set[Node] = field(default_factory=set)
    everything: bool = False

    def meet(self, delta: Delta) -> bool:
        """Whether any of this would have been read otherwise after another change."""
        if self.everything:
            return bool(delta)
        none: frozenset[Node] = frozenset()
        return any(
            quad.subject in self.nodes
            or quad.object in self.pointed
            or quad.subject in self.objects.get(quad.predicate, none)
            or quad.object in self.subjects.get(quad.predicate, none)
            for quad in chain(delta.additions, delta.removals)
        )


_Index = dict[NamedNode, dict[Node, list[Node]]]


class Overlay:
    """A store and a delta whose quads are canonical and effective."""

    def __init__(self, store: GraphStore, delta: Delta) -> None:
        self._store = store
        self._delta = delta
        self._removals = delta.removals
        self._added: _Index = {}
        self._added_back: _Index = {}
        self._out: dict[Node, dict[NamedNode, None]] = {}
        for quad in delta.additions:
            subject, predicate, value = node(quad.subject), quad.predicate, node(quad.object)
            self._added.setdefault(predicate, {}).setdefault(subject, []).append(value)
            self._added_back.setdefault(predicate, {}).setdefault(value, []).append(subject)
            self._out.setdefault(subject, {})[predicate] = None
        self._cut: set[tuple[NamedNode, Node]] = set()
        self._cut_nodes = {node(quad.subject) for quad in delta.removals}
        for quad in delta.removals:
            self._cut.add((quad.predicate, node(quad.subject)))
            self._cut.add((quad.predicate, node(quad.object)))
        self._objects: dict[NamedNode, dict[Node, tuple[Node, ...]]] = {}
        self._subjects: dict[NamedNode, dict[Node, tuple[Node, ...]]] = {}
        self._complete: dict[Node, dict[NamedNode, tuple[Node, ...]]] = {}
        self._without_values: set[Node] = set()
        self._not_pointed: set[Node] = set()
        self.reads = Reads()
        system = ", ".join(f"<{graph}>" for graph in sorted(store.system_graphs))
        self._asserted = f"FILTER(?g NOT IN ({system}))"

    # --- what a validation reads

    def objects(
        self, subject: Node, predicate: NamedNode, limit: int | None = None
    ) -> Sequence[Node]:
        if isinstance(subject, Literal):
            return ()
        self.reads.objects.setdefault(predicate, set()).add(subject)
        held = self._objects.setdefault(predicate, {})
        known = held.get(subject)
        if known is not None:
            return known
        complete = self._complete.get(subject)
        if complete is not None:
            return complete.get(predicate, ())
        added = self._added.get(predicate, {}).get(subject, ())
        if subject in self._without_values:
            found = tuple(dict.fromkeys(added))
        else:
            stored = (node(quad.object) for quad in self._stored(subject, predicate, None))
            found = _first(chain(added, stored), limit)
        if limit is None or len(found) < limit:
            held[subject] = found
        return found

    def subjects(
        self, predicate: NamedNode, value: Node, limit: int | None = None
    ) -> Sequence[Node]:
        self.reads.subjects.setdefault(predicate, set()).add(value)
        held = self._subjects.setdefault(predicate, {})
        known = held.get(value)
        if known is not None:
            return known
        added = self._added_back.get(predicate, {}).get(value, ())
        if value in self._not_pointed:
            found = tuple(dict.fromkeys(added))
        else:
            stored = (node(quad.subject) for quad in self._stored(None, predicate, value))
            found = _first(chain(added, stored), limit)
        if limit is None or len(found) < limit:
            held[value] = found
        return found

    def outgoing(self, subject: Node) -> Mapping[NamedNode, Sequence[Node]]:
        if isinstance(subject, Literal):
            return {}
        self.reads.nodes.add(subject)
        complete = self._complete.get(subject)
        if complete is not None:
            return complete
        found: dict[NamedNode, dict[Node, None]] = {}
        for predicate in self._out.get(subject, ()):
            found[predicate] = dict.fromkeys(self._added[predicate][subject])
        if subject not in self._without_values:
            for quad in self._stored(subject, None, None):
                found.setdefault(quad.predicate, {})[node(quad.object)] = None
        return {predicate: tuple(values) for predicate, values in found.items()}

    def pairs(self, predicate: NamedNode) -> Iterator[tuple[Node, Node]]:
        self.reads.everything = True
        added = self._added_back.get(predicate, {})
        for value, subjects in added.items():
            stored = (node(quad.subject) for quad in self._stored(None, predicate, value))
            for subject in dict.fromkeys(chain(subjects, stored)):
                yield subject, value
        last = None
        # The store's index is by predicate, value and subject: what is the same comes together.
        for quad in self._stored(None, predicate, None):
            pair = node(quad.subject), node(quad.object)
            if pair != last and pair[1] not in added:
                yield pair
            last = pair

    def instances(self, kind: Node) -> Iterator[Node]:
        self.reads.everything = True
        added = dict.fromkeys(self._added_back.get(TYPE, {}).get(kind, ()))
        yield from added
        last = None
        for quad in self._stored(None, TYPE, kind):
            subject = node(quad.subject)
            if subject != last and subject not in added:
                yield subject
            last = subject

    # --- many at once

    def note_new(self, nodes: Collection[Node]) -> None:
        """Finds out which of these the store knows nothing of: nothing is looked up for them."""
        terms = [item for item in nodes if not isinstance(item, BlankNode)]
        for pattern, unknown in (
            ("?n ?p ?o", self._without_values),
            ("?s ?p ?n", self._not_pointed),
        ):
            asked = [item for item in terms if pattern[1] == "s" or not isinstance(item, Literal)]
            if len(asked) < FEW:
                continue
            for start in range(0, len(asked), BATCH):
                batch = asked[start : start + BATCH]
                rows = self._store.rows(
                    f"SELECT ?i {{ VALUES (?i ?n) {{ {_numbered(batch)} }}"
                    f" FILTER EXISTS {{ GRAPH ?g {{ {pattern} }} }} }}"
                )
                known = {int(row[0].value) for row in rows}
                unknown.update(item for i, item in enumerate(batch) if i not in known)
        self.reads.nodes.update(self._without_values)
        self.reads.pointed.update(self._not_pointed)

    def prefetch(
        self, predicate: NamedNode, nodes: Iterable[Node], *, backwards: bool = False
    ) -> None:
        """Reads the values (or, backwards, the subjects) of many nodes in few queries."""
        held = (self._subjects if backwards else self._objects).setdefault(predicate, {})
        unknown = self._not_pointed if backwards else self._without_values
        wanted = [
            item
            for item in nodes
            if item not in held
            and item not in unknown
            and (backwards or item not in self._complete)
            and (backwards or not isinstance(item, Literal))
            and (predicate, item) not in self._cut
        ]
        if len(wanted) < FEW:
            return
        added = (self._added_back if backwards else self._added).get(predicate, {})
        pattern = f"?v {predicate} ?n" if backwards else f"?n {predicate} ?v"
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            most = MANY * len(batch)
            found: list[dict[Node, None]] = [dict.fromkeys(added.get(item, ())) for item in batch]
            number = 0
            for row in self._store.rows(
                f"SELECT ?i ?v {{ VALUES (?i ?n) {{ {_numbered(batch)} }}"
                f" GRAPH ?g {{ {pattern} }} {self._asserted} }} LIMIT {most}"
            ):
                found[int(row[0].value)][row[1]] = None
                number += 1
            if number == most:
                continue
            for item, values in zip(batch, found, strict=True):
                held[item] = tuple(values)

    def prefetch_nodes(self, nodes: Iterable[Node]) -> None:
        """Reads all that is said of many nodes, in few queries."""
        wanted = [
            item
            for item in nodes
            if isinstance(item, NamedNode)
            and item not in self._without_values
            and item not in self._complete
            and item not in self._cut_nodes
        ]
        if len(wanted) < FEW:
            return
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            most = MANY * len(batch)
            found: list[dict[NamedNode, dict[Node, None]]] = [{} for _ in batch]
            number = 0
            for row in self._store.rows(
                f"SELECT ?i ?p ?v {{ VALUES (?i ?n) {{ {_numbered(batch)} }}"
                f" GRAPH ?g {{ ?n ?p ?v }} {self._asserted} }} LIMIT {most}"
            ):
                values = found[int(row[0].value)]
                predicate = row[1]
                if predicate in values:
                    values[predicate][row[2]] = None
                else:
                    values[predicate] = {row[2]: None}
                number += 1
            if number == most:
                continue
            for item, by_predicate in zip(batch, found, strict=True):
                for predicate in self._out.get(item, ()):
                    by_predicate.setdefault(predicate, {}).update(
                        dict.fromkeys(self._added[predicate][item])
                    )
                self._complete[item] = {
                    predicate: tuple(values) for predicate, values in by_predicate.items()
                }

    def forget(self) -> None:
        """Drops what was read and is remembered."""
        self._objects.clear()
        self._subjects.clear()
        self._complete.clear()
        if not self.reads.everything:
            self.reads = Reads()

    # --- the whole of it

    def everything(self) -> Iterator[Quad]:
        """Every asserted quad of the post-state."""
        yield from self._stored(None, None, None)
        yield from self._delta.additions

    def of_graph(self, graph: str) -> Iterator[Quad]:
        """The quads of one graph."""
        for quad in self._store.match(graph=NamedNode(graph)):
            if quad not in self._removals:
                yield quad
        yield from (quad for quad in self._delta.additions if graph_of(quad) == graph)

    def _stored(
        self, subject: Node | None, predicate: NamedNode | None, value: Node | None
    ) -> Iterator[Quad]:
        if isinstance(subject, BlankNode | Literal) or isinstance(value, BlankNode):
            return
        for quad in self._store.asserted(subject, predicate, value):
            if not self._removals or quad not in self._removals:
                yield quad


def _first(items: Iterable[Node], limit: int | None) -> tuple[Node, ...]:
    if limit is None:
        return tuple(dict.fromkeys(items))
    found: dict[Node, None] = {}
    for item in items:
        found[item] = None
        if len(found) == limit:
            break
    return tuple(found)


def _numbered(nodes: Sequence[Node]) -> str:
    return " ".join(f"({number} {item})" for number, item in enumerate(nodes))


def node(term: NamedNode | BlankNode | Literal | Triple) -> Term:
    """A term of a canonical quad; such quads have no blank nodes and no triple terms."""
    assert isinstance(term, NamedNode | Literal)
    return term


def ntriples(quads: Iterable[Quad]) -> bytes:
    """The triples of these quads, each once."""
    lines = {f"{quad.subject} {quad.predicate} {quad.object} .\n" for quad in quads}
    return "".join(sorted(lines)).encode()
