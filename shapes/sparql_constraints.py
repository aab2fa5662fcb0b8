"""Asks the queries of shapes of focus nodes, many at once.

Invariant: a query sees the asserted graph as the view has it: what it can rest on around its focus
nodes where that is known, else a copy of all of it. It gives its answer within its limits, or the
validation ends with an error that names the shape; it never passes for want of an answer.
Specification: https://www.w3.org/TR/shacl/#sparql-constraints-validation
"""

from __future__ import annotations

import shutil
import tempfile
import time
import weakref
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from types import TracebackType

from pyoxigraph import (
    BlankNode,
    DefaultGraph,
    Literal,
    NamedNode,
    Quad,
    RdfFormat,
    Triple,
    serialize,
)

from ontology.terms import to_nquads
from shapes.errors import QueryStopped
from shapes.model import Query, Shape
from shapes.neighbourhood import TooLarge
from shapes.overlay import Overlay
from shapes.sparql_process import RUNNER, Call, Copy, Data, Quads, Row, Runner, Stopped, Triples
from shapes.view import Node, View, node

BATCH = 500
"""Focus nodes asked together."""
MOST_TRIPLES = 200_000
"""Triples gathered for a batch; what needs more is asked of a copy of the graph."""
_PREPARING = 1_800.0
"""Seconds that our own work on a copy may take."""
_BLANK = "urn:x-fractalops:blank:"
_WANTED = ("value", "path", "message", "failure")
_TRUE = Literal("true", datatype=NamedNode("http://www.w3.org/2001/XMLSchema#boolean"))


@dataclass(frozen=True, slots=True)
class Limits:
    """``step`` is how many seconds one query may take for a batch of focus nodes, ``whole`` how
    many all the queries of one validation may take together."""

    step: float = 10.0
    whole: float = 900.0


@dataclass(frozen=True, slots=True)
class Solution:
    """One thing that a query found. ``bindings`` are what a message may name."""

    value: Node | None
    path: NamedNode | None
    bindings: tuple[tuple[str, Node], ...]


Asked = tuple[Node, Sequence[Node]]
"""A focus node and its value nodes."""


class Queries:
    """The queries of one validation, over one view. ``scratch`` is a folder on the store's disk for
    a copy of it, which lasts until :meth:`close`."""

    def __init__(
        self,
        view: View,
        scratch: Path | None = None,
        limits: Limits | None = None,
        runner: Runner = RUNNER,
    ) -> None:
        self._view = view
        self._scratch = scratch
        self._limits = limits or Limits()
        self._runner = runner
        self._spent = 0.0
        self._known: dict[Query, dict[Node, list[Solution]]] = {}
        self._targets: dict[Query, frozenset[Node]] = {}
        self._folder: Path | None = None
        self._copy: Copy | None = None
        self._merged = False

    def __enter__(self) -> Queries:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- what is asked

    def solutions(
        self, shape: Shape, query: Query, focus: Node, values: Sequence[Node]
    ) -> Sequence[Solution]:
        """What a query finds at a focus node. Raises :class:`QueryStopped`."""
        known = self._known.get(query, {})
        if focus not in known:
            self.ask_ahead(shape, query, [(focus, values)])
            known = self._known[query]
        return known[focus]

    def ask_ahead(self, shape: Shape, query: Query, asked: Iterable[Asked]) -> None:
        """Asks a query of many focus nodes and remembers what it found."""
        known = self._known.setdefault(query, {})
        waiting = iter([item for item in asked if item[0] not in known])
        while batch := list(islice(waiting, BATCH)):
            try:
                for data, part in self._gathered(query, batch):
                    self._ask(shape, query, data, part, known)
            except Stopped as error:
                foci = [item[0] for item in batch]
                raise self._stopped(shape, query, foci, str(error)) from error

    def targets(self, shape: Shape, query: Query) -> frozenset[Node]:
        """The nodes that a SPARQL-based target selects. Raises :class:`QueryStopped`."""
        if query not in self._targets:
            try:
                call = Call(self._everything(query), (query.template.bind({}),), ("this",))
                (rows,) = self._answer(call)
            except Stopped as error:
                raise self._stopped(shape, query, (), str(error)) from error
            found = (self._inside(row[0]) for row in rows if row[0] is not None)
            self._targets[query] = frozenset(found)
        return self._targets[query]

    def forget(self) -> None:
        """Drops what was found."""
        self._known.clear()

    def close(self) -> None:
        """Removes the copy of the graph, where there is one."""
        if self._folder is not None:
            self._runner.release(self._folder)
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = self._copy = None

    # --- asking

    def _ask(
        self,
        shape: Shape,
        query: Query,
        data: Data,
        asked: Sequence[Asked],
        known: dict[Node, list[Solution]],
    ) -> None:
        texts: list[str] = []
        places: list[tuple[Node, Node | None]] = []
        for focus, values in asked:
            known[focus] = []
            for value in values if query.template.ask else (None,):
                bound = {name: self._outside(term) for name, term in query.bound}
                bound["this"] = self._outside(focus)
                if value is not None:
                    bound["value"] = self._outside(value)
                texts.append(query.template.bind(bound, shape.path))
                places.append((focus, value))
        if not texts:
            return
        names = tuple(sorted(query.template.names - {"this", *_WANTED}))
        call = Call(data, tuple(texts), () if query.template.ask else (*_WANTED, *names))
        answers = self._answer(call)
        for (focus, value), rows in zip(places, answers, strict=True):
            if query.template.ask:
                if not rows:
                    known[focus].append(Solution(value, None, ()))
                continue
            for row in rows:
                known[focus].append(self._solution(shape, query, focus, row, names))

    def _solution(
        self, shape: Shape, query: Query, focus: Node, row: Row, names: Sequence[str]
    ) -> Solution:
        given = [None if term is None else self._inside(term) for term in row]
        value, path, message, failure = given[:4]
        if failure == _TRUE:
            raise self._stopped(shape, query, [focus], "it says that it failed (?failure)")
        if value is None and shape.path is None:
            value = focus
        found = {
            name: term
            for name, term in zip((*names, "message"), (*given[4:], message), strict=True)
            if term is not None
        }
        return Solution(value, path if isinstance(path, NamedNode) else None, tuple(found.items()))

    def _answer(self, call: Call) -> list[list[Row]]:
        left = self._limits.whole - self._spent
        if left <= 0:
            whole = self._limits.whole
            raise Stopped(f"the queries of this validation took more than {whole:g} s together")
        begun = time.monotonic()
        try:
            return self._runner.answer(call, min(self._limits.step, left))
        finally:
            self._spent += time.monotonic() - begun

    def _stopped(self, shape: Shape, query: Query, foci: Sequence[Node], why: str) -> QueryStopped:
        place = f" at {foci[0]}" if len(foci) == 1 else f" at {len(foci)} nodes" if foci else ""
        return QueryStopped(
            f"the query {query.source} of {shape.node} gave no answer{place}: {why}. Nothing is"
            " known of what it would find. Propose a query that looks at less, one whose patterns"
            " all start at $this, or deactivate it (sh:deactivated true)"
        )

    # --- what it is asked of

    def _gathered(
        self, query: Query, batch: Sequence[Asked]
    ) -> Iterator[tuple[Data, Sequence[Asked]]]:
        """The batch in parts, each with the graph to ask."""
        if query.around is None:
            yield self._everything(query), batch
            return
        found: set[Triple] = set()
        part: list[Asked] = []
        for item in batch:
            try:
                query.around.triples(self._view, *item, found, MOST_TRIPLES)
            except TooLarge:
                if part:
                    yield self._triples(found), part
                found, part = set(), []
                try:
                    query.around.triples(self._view, *item, found, MOST_TRIPLES)
                except TooLarge:
                    found = set()
                    yield self._everything(query), [item]
                    continue
            part.append(item)
        if part:
            yield self._triples(found), part

    def _triples(self, found: Collection[Triple]) -> Triples:
        data = serialize([self._triple(item) for item in found], format=RdfFormat.N_TRIPLES)
        assert data is not None
        return Triples(data)

    def _everything(self, query: Query) -> Data:
        """A copy of the whole graph."""
        view = self._view
        if isinstance(view, Overlay):
            view.reads.everything = True
            if view.on_disk:
                return self._copied(view, query)
        if isinstance(view, Overlay) or query.shapes is None:
            return self._written("graph.nq", view.everything())
        # Here the shapes are no part of the graph, so what the query reads of them stands apart.
        name = query.shapes.name
        shapes = (
            Quad(item.subject, item.predicate, item.object, name) for item in query.shapes.triples
        )
        return self._written("graph-and-shapes.nq", chain(view.everything(), shapes), (name.value,))

    def _copied(self, view: Overlay, query: Query) -> Copy:
        if self._copy is None:
            path = self._new_folder() / "store"
            delta = view.copy_to(path)
            copy = Copy(path, view.system_graphs)
            additions, removals = to_nquads(delta.additions), to_nquads(delta.removals)
            self._runner.change(copy, additions, removals, _PREPARING)
            self._copy = copy
        if not query.template.exact:
            return self._copy
        if not self._merged:
            self._runner.merge(self._copy, _PREPARING)
            self._merged = True
        return replace(self._copy, exact=True)

    def _written(
        self, name: str, statements: Iterable[Quad | Triple], apart: tuple[str, ...] = ()
    ) -> Quads:
        quads = Quads((self._folder or self._new_folder()) / name, apart)
        if not quads.path.exists():
            with quads.path.open("wb") as file:
                file.writelines(self._line(item).encode() for item in statements)
            self._runner.load(quads, _PREPARING)
        return quads

    def _new_folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="query-", dir=self._scratch))
        self._folder = folder
        weakref.finalize(self, shutil.rmtree, folder, True)
        return folder

    # --- blank nodes, which a query cannot name

    def _outside(self, term: Node) -> NamedNode | Literal:
        return NamedNode(_BLANK + term.value) if isinstance(term, BlankNode) else term

    def _inside(self, term: Node) -> Node:
        if isinstance(term, NamedNode) and term.value.startswith(_BLANK):
            return BlankNode(term.value.removeprefix(_BLANK))
        return term

    def _triple(self, triple: Triple) -> Triple:
        subject, value = self._outside(node(triple.subject)), self._outside(node(triple.object))
        assert isinstance(subject, NamedNode)
        return Triple(subject, triple.predicate, value)

    def _line(self, statement: Triple | Quad) -> str:
        subject, value = (
            self._outside(node(statement.subject)),
            self._outside(node(statement.object)),
        )
        graph = statement.graph_name if isinstance(statement, Quad) else DefaultGraph()
        name = "" if isinstance(graph, DefaultGraph) else f" {graph}"
        return f"{subject} {statement.predicate} {value}{name} .\n"
