"""The asserted graph as it would be after a change.

Invariant: a view, never a write: store minus removals plus additions, over every graph that
proposals write. A triple stated in several graphs is seen once. Whatever was read is remembered, so
that it can be told later whether another change would have been read as well.

Single look-ups go to the store one by one; :meth:`Overlay.prefetch` asks for many nodes at once,
which costs a third of it on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from pyoxigraph import BlankNode, Literal, NamedNode, Quad, Triple

from ontology.store import GraphStore
from ontology.terms import Delta, graph_of
from ontology.vocab import Rdfs
from shapes.reads import Reads
from shapes.view import TYPE, Node

Term = NamedNode | Literal
SUBCLASS = NamedNode(Rdfs.subClassOf)

FEW = 12
"""So many look-ups are quicker one by one than by a query."""
KEPT = 100_000
"""Nodes whose types are remembered from one chunk of a graph to the next."""
BATCH = 2_000
"""Nodes of one query."""
MANY = 50
"""Values of one node, on average, beyond which a batch is left to look-ups with a limit."""


class Row(NamedTuple):
    """One statement of a change."""

    added: bool
    subject: Node
    predicate: NamedNode
    value: Node
    quad: Quad


_Item = TypeVar("_Item", Node, tuple[Node, Node])
_Index = dict[Node, dict[NamedNode, list[Node]]]

_NOTHING: Mapping[NamedNode, list[Node]] = {}


class Overlay:
    """A store and a delta whose quads are canonical and effective."""

    def __init__(self, store: GraphStore, delta: Delta) -> None:
        self._store = store
        self._delta = delta
        self._removals = delta.removals
        self._out: _Index = {}
        self._cut: set[tuple[NamedNode, Node]] = set()
        self._cut_nodes: set[Node] = set()
        self.rows: list[Row] = []
        for quad in delta.additions:
            subject, predicate, value, _ = quad
            self.rows.append(Row(True, subject, predicate, value, quad))
            self._out.setdefault(subject, {}).setdefault(predicate, []).append(value)
        for quad in delta.removals:
            subject, predicate, value, _ = quad
            self.rows.append(Row(False, subject, predicate, value, quad))
            self._cut.add((predicate, subject))
            self._cut.add((predicate, value))
            self._cut_nodes.add(subject)
            self._cut_nodes.add(value)
        self._objects: dict[NamedNode, dict[Node, tuple[Node, ...]]] = {}
        self._subjects: dict[NamedNode, dict[Node, tuple[Node, ...]]] = {}
        self._complete: dict[Node, dict[NamedNode, tuple[Node, ...]]] = {}
        self._without_values: set[Node] = set()
        self._pointing: dict[Node, dict[NamedNode, tuple[Node, ...]]] = {}
        self.reads = Reads()
        system = ", ".join(f"<{graph}>" for graph in sorted(store.system_graphs))
        self._asserted = f"FILTER(?g NOT IN ({system}))"

    @cached_property
    def _in(self) -> _Index:
        """The added statements by value; not every change needs it."""
        found: _Index = {}
        for row in self.rows:
            if row.added:
                by_predicate = found.setdefault(row.value, {})
                by_predicate.setdefault(row.predicate, []).append(row.subject)
        return found

    def keeps_count(self, subject: Node, predicate: NamedNode, *, at_least: bool) -> bool:
        """Whether a subject certainly has no fewer (or, otherwise, no more) values than before.

        So where one value is put in the place of another, they need not be counted."""
        added = dict.fromkeys(self._out.get(subject, _NOTHING).get(predicate, ()))
        removed = self._gone.get((predicate, subject), {})
        few, many = (removed, added) if at_least else (added, removed)
        if len(few) > len(many):
            return False
        # A statement that another graph makes as well is there before and after.
        return not any(self._stated_elsewhere(subject, predicate, value) for value in many)

    def loses(self, subject: Node, predicate: NamedNode) -> bool:
        """Whether the change takes a value of the predicate from a subject."""
        return (predicate, subject) in self._gone

    @cached_property
    def _gone(self) -> dict[tuple[NamedNode, Node], dict[Node, None]]:
        found: dict[tuple[NamedNode, Node], dict[Node, None]] = {}
        for row in self.rows:
            if not row.added:
                found.setdefault((row.predicate, row.subject), {})[row.value] = None
        return found

    def _stated_elsewhere(self, subject: Node, predicate: NamedNode, value: Node) -> bool:
        self.reads.objects.setdefault(predicate, set()).add(subject)
        if self._is_nowhere(subject, predicate, value):
            return False
        return next(self._stored(subject, predicate, value), None) is not None

    def _is_nowhere(self, subject: Node, predicate: NamedNode, value: Node) -> bool:
        """Whether no graph is known to state a triple, before the change."""
        return (
            isinstance(subject, NamedNode)
            and not isinstance(value, BlankNode)
            and self._merges_all
            and not self._store.in_merge(subject, predicate, value)
        )

    @cached_property
    def _merges_all(self) -> bool:
        return self._store.merges_all

    # --- what a validation reads

    def objects(
        self, subject: Node, predicate: NamedNode, limit: int | None = None
    ) -> Sequence[Node]:
        held = self._objects.get(predicate)
        if held is not None:
            known = held.get(subject)
            if known is not None:
                return known
        return self._look_up(subject, predicate, limit)

    def _look_up(self, subject: Node, predicate: NamedNode, limit: int | None) -> tuple[Node, ...]:
        if isinstance(subject, Literal):
            return ()
        # Of a new node all that might be said counts as read already.
        is_new = subject in self._without_values
        if not is_new:
            self.reads.objects.setdefault(predicate, set()).add(subject)
        complete = self._complete.get(subject)
        if complete is not None:
            found = complete.get(predicate, ())
        else:
            added = self._out.get(subject, _NOTHING).get(predicate, ())
            if is_new:
                found = tuple(added) if len(added) < 2 else tuple(dict.fromkeys(added))
            else:
                stored = (node(quad.object) for quad in self._stored(subject, predicate, None))
                found = _first(chain(added, stored), limit)
                if limit is not None and len(found) >= limit:
                    return found
        self._objects.setdefault(predicate, {})[subject] = found
        return found

    def subjects(
        self, predicate: NamedNode, value: Node, limit: int | None = None
    ) -> Sequence[Node]:
        held = self._subjects.setdefault(predicate, {})
        known = held.get(value)
        if known is not None:
            return known
        self.reads.subjects.setdefault(predicate, set()).add(value)
        pointing = self._pointing.get(value)
        if pointing is not None:
            found = pointing.get(predicate, ())
        else:
            added = self._in.get(value, _NOTHING).get(predicate, ())
            stored = (node(quad.subject) for quad in self._stored(None, predicate, value))
            found = _first(chain(added, stored), limit)
            if limit is not None and len(found) >= limit:
                return found
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
            found[predicate] = dict.fromkeys(self._out[subject][predicate])
        if subject not in self._without_values:
            for quad in self._stored(subject, None, None):
                found.setdefault(quad.predicate, {})[node(quad.object)] = None
        return {predicate: tuple(values) for predicate, values in found.items()}

    def pairs(self, predicate: NamedNode) -> Iterator[tuple[Node, Node]]:
        self.reads.everything = True
        added = {
            value: by_predicate[predicate]
            for value, by_predicate in self._in.items()
            if predicate in by_predicate
        }
        for value, subjects in added.items():
            stored = (node(quad.subject) for quad in self._stored(None, predicate, value))
            for subject in dict.fromkeys(chain(subjects, stored)):
                yield subject, value
        stored_pairs = (
            (node(quad.subject), node(quad.object)) for quad in self._stored(None, predicate, None)
        )
        for pair in self._unrepeated(stored_pairs):
            if pair[1] not in added:
                yield pair

    def instances(self, kind: Node) -> Iterator[Node]:
        self.reads.everything = True
        added = dict.fromkeys(self._in.get(kind, _NOTHING).get(TYPE, ()))
        yield from added
        for subject in self._unrepeated(self._stored_instances(kind)):
            if subject not in added:
                yield subject

    def _stored_instances(self, kind: Node) -> Iterator[Node]:
        if (TYPE, kind) in self._cut:
            for quad in self._stored(None, TYPE, kind):
                yield node(quad.subject)
            return
        for row in self._store.rows(
            f"SELECT ?s {{ GRAPH ?g {{ ?s {TYPE} {kind} }} {self._asserted} }}"
        ):
            yield row[0]

    def _unrepeated(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """Each once, though several graphs state it; what is the same comes together."""
        if not self._store.in_order:
            items = sorted(set(items), key=_reversed_text)
        last = None
        for item in items:
            if item != last:
                yield item
            last = item

    # --- many at once

    def is_new(self, subject: Node) -> bool:
        """Whether the store is known to say nothing of it."""
        return subject in self._without_values

    def note_new(self, nodes: Iterable[Node]) -> None:
        """Finds out of which of these the store says nothing: nothing is looked up for them.

        What was prefetched already and has a type in the store is not new."""
        typed = self._objects.get(TYPE, {})
        asked = [
            item
            for item in nodes
            if isinstance(item, NamedNode)
            and item not in self._without_values
            and item not in self._cut_nodes
            and len(typed.get(item, ())) <= len(self._out.get(item, _NOTHING).get(TYPE, ()))
        ]
        if len(asked) < FEW:
            return
        for start in range(0, len(asked), BATCH):
            batch = asked[start : start + BATCH]
            rows = self._store.rows(
                f"SELECT ?i {{ VALUES (?i ?n) {{ {_numbered(batch)} }}"
                " FILTER EXISTS { GRAPH ?g { ?n ?p ?o } } }"
            )
            known = {int(row[0].value) for row in rows}
            new = {item for i, item in enumerate(batch) if i not in known}
            self._without_values |= new
            self.reads.nodes |= new

    def prefetch(
        self, predicate: NamedNode, nodes: Iterable[Node], *, backwards: bool = False
    ) -> None:
        """Reads the values (or, backwards, the subjects) of many nodes in few queries."""
        held = (self._subjects if backwards else self._objects).setdefault(predicate, {})
        complete = self._pointing if backwards else self._complete
        wanted = [
            item
            for item in nodes
            if item not in held
            and item not in complete
            and (backwards or (isinstance(item, NamedNode) and item not in self._without_values))
        ]
        if len(wanted) < FEW:
            return
        index = self._in if backwards else self._out
        pattern = f"?v {predicate} ?n" if backwards else f"?n {predicate} ?v"
        read = self.reads.subjects if backwards else self.reads.objects
        read.setdefault(predicate, set()).update(wanted)
        cut = [item for item in wanted if (predicate, item) in self._cut]
        plain = [item for item in wanted if (predicate, item) not in self._cut] if cut else wanted
        for part, graph in ((plain, ""), (cut, " ?g")):
            for start in range(0, len(part), BATCH):
                batch = part[start : start + BATCH]
                found = [
                    dict.fromkeys(index.get(item, _NOTHING).get(predicate, ())) for item in batch
                ]
                number, most = 0, MANY * len(batch)
                for row in self._store.rows(
                    f"SELECT ?i ?v{graph} {{ VALUES (?i ?n) {{ {_numbered(batch)} }}"
                    f" GRAPH ?g {{ {pattern} }} {self._asserted} }} LIMIT {most}"
                ):
                    number += 1
                    place, value = int(row[0].value), row[1]
                    if graph:
                        ends = (value, batch[place]) if backwards else (batch[place], value)
                        if self._is_removed(ends, predicate, row[2]):
                            continue
                    found[place][value] = None
                if number < most:
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
        ]
        self._read_around(wanted, "?n ?p ?v", self._complete, self._out)

    def prefetch_pointing(self, nodes: Iterable[Node]) -> None:
        """Reads all that points at many nodes, in few queries; not of nodes with very much."""
        wanted = [item for item in nodes if item not in self._pointing]
        self._read_around(wanted, "?v ?p ?n", self._pointing, self._in)

    def _read_around(
        self,
        wanted: Sequence[Node],
        pattern: str,
        into: dict[Node, dict[NamedNode, tuple[Node, ...]]],
        added: _Index,
    ) -> None:
        backwards = pattern.startswith("?v")
        if len(wanted) < FEW:
            for item in wanted:
                self._read_one(item, backwards, into, added)
            return
        cut = [item for item in wanted if item in self._cut_nodes]
        plain = [item for item in wanted if item not in self._cut_nodes] if cut else wanted
        for part, graph in ((plain, ""), (cut, " ?g")):
            for start in range(0, len(part), BATCH):
                batch = part[start : start + BATCH]
                found: list[dict[NamedNode, dict[Node, None]]] = [{} for _ in batch]
                number, most = 0, MANY * len(batch)
                for row in self._store.rows(
                    f"SELECT ?i ?p ?v{graph} {{ VALUES (?i ?n) {{ {_numbered(batch)} }}"
                    f" GRAPH ?g {{ {pattern} }} {self._asserted} }} LIMIT {most}"
                ):
                    number += 1
                    place, predicate, value = int(row[0].value), row[1], row[2]
                    if graph:
                        ends = (value, batch[place]) if backwards else (batch[place], value)
                        if self._is_removed(ends, predicate, row[3]):
                            continue
                    found[place].setdefault(predicate, {})[value] = None
                if number == most:
                    continue
                for item, by_predicate in zip(batch, found, strict=True):
                    into[item] = _joined(by_predicate, added.get(item, _NOTHING))

    def _read_one(
        self,
        item: Node,
        backwards: bool,
        into: dict[Node, dict[NamedNode, tuple[Node, ...]]],
        added: _Index,
    ) -> None:
        found: dict[NamedNode, dict[Node, None]] = {}
        stored = self._stored(None, None, item) if backwards else self._stored(item, None, None)
        number = 0
        for quad in islice(stored, MANY + 1):
            value = node(quad.subject if backwards else quad.object)
            found.setdefault(quad.predicate, {})[value] = None
            number += 1
        if number <= MANY:
            into[item] = _joined(found, added.get(item, _NOTHING))

    def _is_removed(self, ends: tuple[Node, Node], predicate: NamedNode, graph: NamedNode) -> bool:
        subject, value = ends
        if isinstance(subject, Literal):
            return False
        return Quad(subject, predicate, value, graph) in self._removals

    def forget(self, *, keep_types: bool = False) -> None:
        """Drops what was read and is remembered; types are kept up to a number, if wanted."""
        types = self._objects.get(TYPE, {})
        self._objects.clear()
        if keep_types and len(types) < KEPT:
            self._objects[TYPE] = types
        self._subjects.clear()
        self._complete.clear()
        self._pointing.clear()
        if not self.reads.everything:
            self.reads = Reads()

    # --- the whole of it

    def everything(self) -> Iterator[Quad]:
        """Every asserted quad of the post-state."""
        yield from self._stored(None, None, None)
        yield from self._delta.additions

    @property
    def on_disk(self) -> bool:
        """Whether the store is, so that :meth:`copy_to` works."""
        return self._store.on_disk

    @property
    def system_graphs(self) -> frozenset[str]:
        """The graphs of the store that are not seen here."""
        return self._store.system_graphs

    def copy_to(self, path: Path) -> Delta:
        """A copy of the store at ``path``, which must not exist, and the change that is missing
        there."""
        self._store.checkpoint(path)
        return self._delta

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


def _reversed_text(item: Node | tuple[Node, Node]) -> tuple[str, ...]:
    return tuple(map(str, reversed(item))) if isinstance(item, tuple) else (str(item),)


def _joined(
    stored: dict[NamedNode, dict[Node, None]], added: Mapping[NamedNode, Sequence[Node]]
) -> dict[NamedNode, tuple[Node, ...]]:
    for predicate, values in added.items():
        stored.setdefault(predicate, {}).update(dict.fromkeys(values))
    return {predicate: tuple(values) for predicate, values in stored.items()}


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
