"""Runs the queries of shapes in a process that can be killed.

Invariant: no query outlives its limits on time and memory, none writes anything and none has a
network (``SERVICE`` was refused when it was read). One process is kept warm; what it is asked comes
one after the other. It keeps the last copy of a graph open that it was handed.

A timer of its own ends it, in the middle of the engine's work too, and even where the process that
started it is gone.
Source: https://pebble.readthedocs.io/
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pebble import ProcessExpired
from pyoxigraph import (
    BlankNode,
    DefaultGraph,
    NamedNode,
    Quad,
    QueryBoolean,
    QuerySolutions,
    RdfFormat,
    Store,
    parse,
)

from ontology.store import open_memory, open_scratch
from shapes.lasting_pool import LastingPool
from shapes.view import Node

MEMORY = 2 * 1024**3
MOST_ROWS = 1_000_000
"""Solutions of one call."""
_PATIENCE = 600.0
"""Seconds to wait for the process beyond what the call itself may take: others come first."""
_GRACE = 5.0

Row = tuple[Node | None, ...]
"""The values of the wanted variables in one solution."""


class Stopped(Exception):
    """A call that gave no answer; the message says why."""


@dataclass(frozen=True, slots=True)
class Triples:
    """A graph by its triples, as N-Triples."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Quads:
    """A dataset in a file of N-Quads. The default graph is the merge of all of it but ``apart``."""

    path: Path
    apart: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a store on disk, in a folder of its own. The default graph is the merge of its
    named graphs but ``system``, and those are not seen at all; ``exact`` is whether a triple that
    several of them state is met once, which takes a copy of the whole."""

    path: Path
    system: frozenset[str]
    exact: bool = False


Data = Triples | Quads | Copy


@dataclass(frozen=True, slots=True)
class Call:
    """Queries over one graph, and the variables that are wanted of a SELECT's solutions."""

    data: Data
    queries: tuple[str, ...]
    wanted: tuple[str, ...] = ()


_Result = TypeVar("_Result")


def _limit(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


class Runner:
    """One process, started when it is first needed; any thread may use it."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._pool = LastingPool(1, _limit, (memory,))

    def answer(self, call: Call, seconds: float) -> list[list[Row]]:
        """The solutions of each query; an ASK that holds has one, without values.

        Raises :class:`Stopped`."""
        return self._run(answer, seconds, call)

    def change(self, copy: Copy, additions: bytes, removals: bytes, seconds: float) -> None:
        """Applies a change, as N-Quads, to a copy of a store. Raises :class:`Stopped`."""
        self._run(change, seconds, copy, additions, removals)

    def merge(self, copy: Copy, seconds: float) -> None:
        """Makes a copy ready to be met exactly. Raises :class:`Stopped`."""
        self._run(merge, seconds, copy)

    def load(self, quads: Quads, seconds: float) -> None:
        """Reads a file ahead of the queries. Raises :class:`Stopped`."""
        self._run(load, seconds, quads)

    def release(self, folder: Path, *, wait: bool = False) -> None:
        """Has the process let go of what it keeps open in a folder; does not wait for it, unless
        it is told to, and then not for long."""
        if not self._pool.started:
            return
        future = self._pool.schedule(release, (folder,), _GRACE)
        if wait:
            # A process that ended meanwhile keeps nothing open either.
            with suppress(FutureTimeout, ProcessExpired):
                future.result(timeout=2 * _GRACE)

    def close(self) -> None:
        """Ends the process."""
        self._pool.close()

    def _run(self, function: Callable[..., _Result], seconds: float, *args: object) -> _Result:
        task = (seconds, function, *args)
        try:
            result: _Result = self._pool.run(_timed, task, seconds + _GRACE, seconds + _PATIENCE)
        except FutureTimeout as error:
            raise Stopped(f"it was stopped after {seconds:g} s") from error
        except (ProcessExpired, MemoryError) as error:
            if isinstance(error, ProcessExpired) and error.exitcode == -signal.SIGALRM:
                raise Stopped(f"it was stopped after {seconds:g} s") from error
            raise Stopped(
                f"it took more than {self._memory / 1024**3:g} GiB of memory, or crashed"
            ) from error
        except SyntaxError as error:
            raise Stopped("it is no query with these values, such as a literal there") from error
        except (ValueError, RuntimeError, OSError) as error:
            raise Stopped(f"it failed: {error}") from error
        return result


RUNNER = Runner()
"""The process of this one."""


# --- in the process

_MERGED = NamedNode("urn:x-fractalops:merged")
_open: dict[Path, Store] = {}
_NamedGraphs = list[NamedNode | BlankNode] | None
_DefaultGraphs = list[NamedNode | BlankNode | DefaultGraph] | None


def _timed(seconds: float, function: Callable[..., _Result], *args: object) -> _Result:
    # What the signal does by itself is to end the process.
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return function(*args)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def answer(call: Call) -> list[list[Row]]:
    store = _opened(call.data)
    default, named = _graphs(call.data, store)
    room = MOST_ROWS
    found: list[list[Row]] = []
    for query in call.queries:
        solutions = store.query(query, default_graph=default, named_graphs=named)
        rows: list[Row] = []
        if isinstance(solutions, QueryBoolean):
            rows = [()] if solutions else []
        elif isinstance(solutions, QuerySolutions):
            names = {variable.value for variable in solutions.variables}
            known = [name if name in names else None for name in call.wanted]
            for solution in solutions:
                rows.append(tuple(None if n is None else solution[n] for n in known))
                room -= 1
                if room < 0:
                    raise ValueError(f"it has more than {MOST_ROWS} solutions")
        # Here what several graphs state is met once for each of them.
        twice = isinstance(call.data, Copy) and not call.data.exact
        found.append(list(dict.fromkeys(rows)) if twice else rows)
    return found


def change(copy: Copy, additions: bytes, removals: bytes) -> None:
    store = _opened(copy)
    store.bulk_extend(parse(additions, format=RdfFormat.N_QUADS))
    for quad in parse(removals, format=RdfFormat.N_QUADS):
        store.remove(quad)
    store.flush()


def merge(copy: Copy) -> None:
    store = _opened(copy)
    for graph in _asserted(copy, store):
        store.bulk_extend(
            Quad(quad.subject, quad.predicate, quad.object, _MERGED)
            for quad in store.quads_for_pattern(None, None, None, graph)
        )
    store.flush()


def load(quads: Quads) -> None:
    _opened(quads)


def release(folder: Path) -> None:
    for path in [path for path in _open if path.parent == folder]:
        del _open[path]


def _opened(data: Data) -> Store:
    if isinstance(data, Triples):
        store = open_memory()
        store.load(data.data, format=RdfFormat.N_TRIPLES)
        return store
    if data.path not in _open:
        # One at a time: each pins files on the disk, or takes memory.
        _open.clear()
        _open[data.path] = _loaded(data) if isinstance(data, Quads) else open_scratch(data.path)
    return _open[data.path]


def _loaded(data: Quads) -> Store:
    store = open_memory()
    for quad in parse(path=data.path, format=RdfFormat.N_QUADS):
        store.add(quad)
        graph = quad.graph_name
        if isinstance(graph, NamedNode) and graph.value not in data.apart:
            store.add(Quad(quad.subject, quad.predicate, quad.object, DefaultGraph()))
    return store


def _graphs(data: Data, store: Store) -> tuple[_DefaultGraphs, _NamedGraphs]:
    """What the query's default graph is made of, and what it may name."""
    if not isinstance(data, Copy):
        return None, None
    named = _asserted(data, store)
    # An empty list would stand for the store's own default graph.
    default = [_MERGED] if data.exact or not named else named
    return [*default], named


def _asserted(copy: Copy, store: Store) -> list[NamedNode | BlankNode]:
    return [
        graph
        for graph in store.named_graphs()
        if isinstance(graph, NamedNode) and graph.value not in copy.system and graph != _MERGED
    ]
