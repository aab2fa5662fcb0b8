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
from ontology.terms import Delta, graph_of
from ontology.vocab import Fo

Term = NamedNode | Literal

PROPOSALS = "proposals"
RESTRICTED_PROPOSALS = "proposals/restricted"
PROOFS = "proofs"
INFERRED = "inferred"
SYSTEM_GRAPHS = (PROPOSALS, RESTRICTED_PROPOSALS, PROOFS, INFERRED)

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


def open_memory() -> Store:
    """An empty store in memory, for what one query needs and nobody keeps."""
    return Store()


class GraphStore:
    """The graph of the organisation, on disk, or in memory when ``path`` is ``None``."""

    def __init__(self, path: Path | None, ids: Ids) -> None:
        self.ids = ids
        self._system = frozenset(ids.graph(name) for name in SYSTEM_GRAPHS)
        self._unmerged = frozenset({ids.graph(RESTRICTED_PROPOSALS)})
        self._proofs = NamedNode(ids.graph(PROOFS))
        self._head_entry = NamedNode(Fo.headEntry)
        try:
            self._store = Store(str(path)) if path else Store()
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
            yield from self._store.quads_for_pattern(subject, predicate, value, graph)
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
        self, delta: Delta, system: Delta, head: int, restricted: Collection[str] = ()
    ) -> None:
        """Writes one journal entry's change, with its system quads, in one atomic update.

        ``restricted`` names the graphs that stay out of the merge. Raises :class:`StoreError`, and
        then nothing was written.
        """
        hidden = self._unmerged.union(restricted)
        removals = delta.removals | system.removals
        additions = delta.additions | system.additions
        operations = [
            _data("DELETE DATA", self._with_merge_removals(removals, hidden)),
            _data("INSERT DATA", self._with_merge_additions(additions, hidden)),
            f"DELETE WHERE {{ GRAPH {self._proofs} {{"
            f" {self._proofs} {self._head_entry} ?before . }} }}",
            _data("INSERT DATA", [self._marker(head)]),
        ]
        try:
            self._store.update(" ;\n".join(operation for operation in operations if operation))
        except (*_ENGINE_ERRORS, SyntaxError) as error:
            raise StoreError(f"the graph store did not take entry {head}: {error}") from error

    def _marker(self, head: int) -> Quad:
        integer = NamedNode("http://www.w3.org/2001/XMLSchema#integer")
        value = Literal(str(head), datatype=integer)
        return Quad(self._proofs, self._head_entry, value, self._proofs)

    def _with_merge_removals(
        self, removals: frozenset[Quad], hidden: frozenset[str]
    ) -> Iterator[Quad]:
        for quad in removals:
            yield quad
            if graph_of(quad) not in hidden and not self._held_elsewhere(quad, removals, hidden):
                yield Quad(quad.subject, quad.predicate, quad.object, DefaultGraph())

    def _held_elsewhere(
        self, quad: Quad, removals: frozenset[Quad], hidden: frozenset[str]
    ) -> bool:
        """Whether another merged graph states this triple already, and goes on doing so."""
        return any(
            isinstance(other.graph_name, NamedNode)
            and other.graph_name.value not in hidden
            and other not in removals
            for other in self._store.quads_for_pattern(
                quad.subject, quad.predicate, quad.object, None
            )
        )

    def _with_merge_additions(
        self, additions: frozenset[Quad], hidden: frozenset[str]
    ) -> Iterator[Quad]:
        for quad in additions:
            yield quad
            if graph_of(quad) not in hidden:
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
