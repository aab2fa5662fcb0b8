"""The graph store: the only module that opens one.

Invariant: the store is a projection of the journal. One process opens it for writing, one thread at
a time writes, and each write is a single atomic update built here from terms, which also moves the
head marker and keeps the default graph equal to the deduplicated merge of the graphs that everyone
in the organisation may read.

Restricted graphs are not part of the merge. RocksDB commits are not fsynced: durability comes from
the journal, from which a lost tail is replayed.
Source: https://pyoxigraph.readthedocs.io/
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

from pyoxigraph import (
    DefaultGraph,
    Literal,
    NamedNode,
    Quad,
    QuerySolution,
    QuerySolutions,
    Store,
)

from ontology.errors import StoreError
from ontology.ids import Ids
from ontology.recent_changes import Change, RecentChanges
from ontology.terms import Delta, graph_of
from ontology.vocab import Fo, Owl

Term = NamedNode | Literal

PROPOSALS = "proposals"
RESTRICTED_PROPOSALS = "proposals/restricted"
PROOFS = "proofs"
INFERRED = "inferred"
SYSTEM_GRAPHS = (PROPOSALS, RESTRICTED_PROPOSALS, PROOFS, INFERRED)

_BATCH = 5_000
"""Quads that one update of a scratch copy puts in or takes out."""

# What the engine raises for files that are damaged, missing or not its own.
_ENGINE_ERRORS = (OSError, RuntimeError, ValueError)


def open_snapshot(path: Path) -> Store:
    """A checkpoint, opened for reading. Raises :class:`StoreError`."""
    try:
        return Store.read_only(str(path))
    except _ENGINE_ERRORS as error:
        raise StoreError(f"the snapshot {path.name} cannot be opened: {error}") from error


def open_scratch(path: Path) -> Store:
    """A scratch copy, opened for writing; what is written there reaches nothing else."""
    try:
        return Store(str(path))
    except _ENGINE_ERRORS as error:
        raise StoreError(f"the scratch copy {path.name} cannot be opened: {error}") from error


def copy_snapshot(path: Path, target: Path) -> None:
    """A hard-linked copy of a checkpoint at ``target``, which must not exist."""
    try:
        open_snapshot(path).backup(str(target))
    except _ENGINE_ERRORS as error:
        raise StoreError(f"the snapshot {path.name} cannot be copied: {error}") from error


def open_memory() -> Store:
    """An empty store in memory, for what one query needs and nobody keeps."""
    return Store()


class GraphStore:
    """The graph of the organisation, on disk, or in memory when ``path`` is ``None``.

    ``read_only`` is for checkpoints, which nobody writes."""

    def __init__(self, path: Path | None, ids: Ids, *, read_only: bool = False) -> None:
        self.ids = ids
        self.on_disk = path is not None
        self._system = frozenset(ids.graph(name) for name in SYSTEM_GRAPHS)
        self._unmerged = frozenset({ids.graph(RESTRICTED_PROPOSALS)})
        self._proofs = NamedNode(ids.graph(PROOFS))
        self._head_entry = NamedNode(Fo.headEntry)
        self.inferred = NamedNode(ids.graph(INFERRED))
        self._version = NamedNode(Owl.versionInfo)
        self._restricted = NamedNode(Fo.restricted)
        self.recent = RecentChanges()
        self._merged_system = (NamedNode(ids.graph(PROPOSALS)), self._proofs)
        try:
            self._in_order = path is not None
            if path is None:
                self._store = Store()
            else:
                self._store = Store.read_only(str(path)) if read_only else Store(str(path))
        except _ENGINE_ERRORS as error:
            raise _unreadable(error) from error

    def head(self) -> int | None:
        """Index of the newest journal entry in the store; ``None`` for an empty store."""
        for quad in self.match(self._proofs, self._head_entry, None, self._proofs):
            assert isinstance(quad.object, Literal)
            return int(quad.object.value)
        return None

    def match(
        self,
        subject: NamedNode | None = None,
        predicate: NamedNode | None = None,
        value: Term | None = None,
        graph: NamedNode | None = None,
    ) -> Iterator[Quad]:
        """Quads of one named graph, or of every graph with the merge among them.

        As every reading here, it raises :class:`StoreError` where the files are damaged."""
        try:
            found = self._store.quads_for_pattern(subject, predicate, value, graph)
            yield from found if value is None else _having(value, found)
        except _ENGINE_ERRORS as error:
            raise _unreadable(error) from error

    def asserted(
        self,
        subject: NamedNode | None = None,
        predicate: NamedNode | None = None,
        value: Term | None = None,
    ) -> Iterator[Quad]:
        """Matching quads of every graph that proposals write."""
        for quad in self.match(subject, predicate, value):
            graph = quad.graph_name
            if isinstance(graph, NamedNode) and graph.value not in self._system:
                yield quad

    def unrestricted(
        self,
        restricted: Collection[str],
        subject: NamedNode | None = None,
        predicate: NamedNode | None = None,
        value: Term | None = None,
    ) -> Iterator[Quad]:
        """Matching quads of every graph that proposals write but the restricted ones."""
        for quad in self.match(subject, predicate, value):
            graph = quad.graph_name
            if isinstance(graph, NamedNode):
                name = graph.value
                if name not in self._system and name not in restricted:
                    yield quad

    @property
    def merges_all(self) -> bool:
        """Whether the merge has every triple of the graphs that proposals write: no graph is
        restricted."""
        return next(self.match(None, self._restricted), None) is None

    def in_merge(self, subject: NamedNode, predicate: NamedNode, value: Term) -> bool:
        """Whether the merge states a triple: a fraction of what looking in all graphs costs."""
        return Quad(subject, predicate, value, DefaultGraph()) in self

    def shown(self, delta: Delta, before: Collection[str], after: Collection[str]) -> Delta:
        """A change of asserted quads as it changes what everyone in the organisation may read.

        ``before`` and ``after`` name the restricted graphs: a graph that turns restricted, or is no
        longer, is taken away or added whole.
        """
        additions = {quad for quad in delta.additions if graph_of(quad) not in after}
        removals = {quad for quad in delta.removals if graph_of(quad) not in before}
        for graph in set(after).symmetric_difference(before):
            present = self.match(graph=NamedNode(graph))
            if graph in after:
                removals.update(present)
            else:
                additions.update(quad for quad in present if quad not in delta.removals)
        return Delta(frozenset(additions), frozenset(removals))

    def rows(self, query: str) -> Iterator[QuerySolution]:
        """The solutions of a SELECT of our own making, over named graphs by ``GRAPH``."""
        try:
            solutions = self._store.query(query)
            assert isinstance(solutions, QuerySolutions)
            yield from solutions
        except _ENGINE_ERRORS as error:
            raise _unreadable(error) from error

    @property
    def system_graphs(self) -> frozenset[str]:
        """IRIs of the graphs that the system alone writes."""
        return self._system

    @property
    def in_order(self) -> bool:
        """Whether quads of one predicate come by value and subject, as in the index on disk."""
        return self._in_order

    def __contains__(self, quad: Quad) -> bool:
        try:
            return quad in self._store
        except _ENGINE_ERRORS as error:
            raise _unreadable(error) from error

    def holds(self, graph: str) -> bool:
        """Whether there is anything in a named graph."""
        return next(self.match(graph=NamedNode(graph)), None) is not None

    def effective(self, delta: Delta) -> Delta:
        """The delta without what changes nothing; what remains has an exact inverse."""
        return Delta(
            frozenset(quad for quad in delta.additions if quad not in self),
            frozenset(quad for quad in delta.removals if quad in self),
        )

    def apply(
        self,
        delta: Delta,
        system: Delta,
        head: int,
        restricted: Collection[str] = (),
        before: Collection[str] | None = None,
    ) -> None:
        """Writes one journal entry's change, with its system quads, in one atomic update.

        ``restricted`` names the graphs that stay out of the merge, ``before`` those that stayed out
        so far (the same, if not given). Raises :class:`StoreError`, and then nothing was written.
        """
        before = restricted if before is None else before
        shown = self.shown(delta, before, restricted)
        own = Delta(delta.additions | system.additions, delta.removals | system.removals)
        try:
            self._write(
                own,
                Delta(shown.additions | system.additions, shown.removals | system.removals),
                restricted,
                f"DELETE WHERE {{ GRAPH {self._proofs} {{"
                f" {self._proofs} {self._head_entry} ?before . }} }}",
                _data("INSERT DATA", [self._marker(head)]),
            )
        except StoreError as error:
            self.recent.forget()
            raise StoreError(f"the graph store did not take entry {head}: {error}") from error
        self.recent.note(Change(head, delta, system, frozenset(restricted), frozenset(before)))

    def entailment_version(self) -> str | None:
        """The version of the rules that filled ``graph/inferred``; ``None`` for none."""
        for quad in self.match(self.inferred, self._version, None, self._proofs):
            assert isinstance(quad.object, Literal)
            return quad.object.value
        return None

    def write_inferred(
        self, change: Delta, restricted: Collection[str] = (), version: str | None = None
    ) -> None:
        """Changes ``graph/inferred`` alone, and with ``version`` which rules it is said to follow.

        Raises :class:`StoreError`, and then nothing was written."""
        operations = []
        if version is not None:
            mark = Quad(self.inferred, self._version, Literal(version), self._proofs)
            operations = [
                f"DELETE WHERE {{ GRAPH {self._proofs} {{"
                f" {self.inferred} {self._version} ?before . }} }}",
                _data("INSERT DATA", [mark]),
            ]
        self._write(change, change, restricted, *operations)

    def follow(self, changes: Iterable[Change]) -> None:
        """Takes changes of another store, without what they infer; for a scratch copy alone."""
        for change in changes:
            system = Delta(
                frozenset(q for q in change.system.additions if q.graph_name != self.inferred),
                frozenset(q for q in change.system.removals if q.graph_name != self.inferred),
            )
            self.apply(change.delta, system, change.head, change.restricted, change.before)
        try:
            self._store.flush()
        except _ENGINE_ERRORS as error:
            raise StoreError(f"the copy could not be written: {error}") from error

    def patch(self, delta: Delta) -> None:
        """Changes the quads of a delta alone, not the merge; for a scratch copy that is read by
        named graph. In batches, and not atomic. Raises :class:`StoreError`."""
        try:
            for verb, quads in (("DELETE", delta.removals), ("INSERT", delta.additions)):
                waiting = iter(quads)
                while batch := list(islice(waiting, _BATCH)):
                    self._store.update(_data(f"{verb} DATA", batch))
            self._store.flush()
        except (*_ENGINE_ERRORS, SyntaxError) as error:
            raise StoreError(f"the copy could not be changed: {error}") from error

    def drop_inferred(self) -> None:
        """Takes ``graph/inferred`` out of the store and its merge; for a scratch copy alone.

        In batches, so that its memory is bounded, and not atomic. Raises :class:`StoreError`."""
        inferred = self.match(graph=self.inferred)
        try:
            while batch := list(islice(inferred, _BATCH)):
                unmerged = self._unmerge(batch, Delta(), frozenset())
                self._store.update(_data("DELETE DATA", chain(batch, unmerged)))
            self._store.remove_graph(self.inferred)
            self._store.flush()
        except _ENGINE_ERRORS as error:
            raise StoreError(f"the inferred triples could not be taken out: {error}") from error

    def _write(self, own: Delta, merged: Delta, restricted: Collection[str], *further: str) -> None:
        """Changes quads, and the merge by the triples of those of ``merged``, in one update."""
        hidden = self._unmerged.union(restricted)
        try:
            unmerged = self._unmerge(merged.removals, own, hidden)
            operations = [
                _data("DELETE DATA", chain(own.removals, unmerged)),
                _data("INSERT DATA", chain(own.additions, self._merge(merged.additions))),
                *further,
            ]
            self._store.update(" ;\n".join(operation for operation in operations if operation))
        except (*_ENGINE_ERRORS, SyntaxError) as error:
            raise StoreError(str(error)) from error

    def _marker(self, head: int) -> Quad:
        integer = NamedNode("http://www.w3.org/2001/XMLSchema#integer")
        value = Literal(str(head), datatype=integer)
        return Quad(self._proofs, self._head_entry, value, self._proofs)

    def _unmerge(self, quads: Iterable[Quad], own: Delta, hidden: frozenset[str]) -> Iterator[Quad]:
        for quad in quads:
            if graph_of(quad) not in self._unmerged and not self._held_elsewhere(
                quad, own.removals, hidden
            ):
                yield Quad(quad.subject, quad.predicate, quad.object, DefaultGraph())

    def _held_elsewhere(
        self, quad: Quad, removals: frozenset[Quad], hidden: frozenset[str]
    ) -> bool:
        """Whether another merged graph states this triple already, and goes on doing so."""
        if quad.graph_name == self.inferred:
            # No graph that proposals write and everyone may read states what is inferred.
            triple = (quad.subject, quad.predicate, quad.object)
            return any(Quad(*triple, graph) in self._store for graph in self._merged_system)
        return any(
            isinstance(other.graph_name, NamedNode)
            and other.graph_name.value not in hidden
            and other not in removals
            for other in _having(
                quad.object,
                self._store.quads_for_pattern(quad.subject, quad.predicate, quad.object, None),
            )
        )

    def _merge(self, quads: Iterable[Quad]) -> Iterator[Quad]:
        for quad in quads:
            if graph_of(quad) not in self._unmerged:
                yield Quad(quad.subject, quad.predicate, quad.object, DefaultGraph())

    def checkpoint(self, path: Path) -> None:
        """A hard-linked copy at ``path``, which must not exist. Call it where no write runs."""
        try:
            self._store.backup(str(path))
        except _ENGINE_ERRORS as error:
            raise StoreError(f"no snapshot could be cut at {path.name}: {error}") from error

    def optimise(self) -> None:
        """Compacts what bulk changes left behind; may take seconds."""
        self._store.optimize()

    def __len__(self) -> int:
        return len(self._store)


def _having(value: object, quads: Iterable[Quad]) -> Iterator[Quad]:
    """What has this value: on disk, the engine's own answer for 255 goes on with 256."""
    return (quad for quad in quads if quad.object == value)


def _unreadable(error: Exception) -> StoreError:
    return StoreError(
        f"the graph store is damaged or cannot be read ({error}). It is only a copy of what the"
        " journal says: stop the server, move the data folder's 'graph' away, and start again to"
        " rebuild it"
    )


def _data(verb: str, quads: Iterable[Quad]) -> str:
    by_graph: dict[str, list[str]] = {}
    for quad in quads:
        graph = "" if isinstance(quad.graph_name, DefaultGraph) else str(quad.graph_name)
        by_graph.setdefault(graph, []).append(f"{quad.subject} {quad.predicate} {quad.object} .")
    if not by_graph:
        return ""
    blocks = (
        f"GRAPH {graph} {{\n" + "\n".join(rows) + "\n}" if graph else "\n".join(rows)
        for graph, rows in by_graph.items()
    )
    return f"{verb} {{\n" + "\n".join(blocks) + "\n}"
