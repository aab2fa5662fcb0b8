"""Validates the whole graph of a store, on several processes where it is large.

Invariant: every process looks at the same checkpoint of the store, to which the change was made;
their tasks are disjoint and together all of it. No process outlives the call.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path

from pyoxigraph import Quad

from ontology.ids import Ids
from ontology.store import GraphStore
from ontology.terms import Delta, from_nquads, to_nquads
from shapes.compile import Program, compile_shapes, part_of
from shapes.errors import QueryStopped, ValidationFailed
from shapes.overlay import Overlay
from shapes.sparql_constraints import Limits, Queries
from shapes.suspects import Heard, Suspects
from shapes.tasks import Agenda, Outcome
from shapes.whole import EXAMPLES, Tally, Tell, tally_overlay

ALONE = 100_000
"""Quads of a store up to which starting processes costs more than it saves."""
PROCESSES = min(4, os.cpu_count() or 1)
_PAUSE = 0.5
"""Seconds after which ``tell`` hears again though nothing is new, so that it can end it all."""


def tally_store(
    program: Program,
    shapes: list[Quad],
    store: GraphStore,
    delta: Delta,
    scratch: Path | None,
    tell: Tell | None = None,
    limits: Limits | None = None,
    most: int | None = EXAMPLES,
) -> Tally:
    """What ``program``, made of the quads ``shapes`` or of a part of their shapes, finds in the
    state after ``delta``.

    ``scratch`` is a folder on the store's own disk for a checkpoint that lasts as long as the call;
    without one, or where the store is in memory, every focus node is asked by this process.
    ``most`` is how many results are kept of violations and of the rest each. Raises
    :class:`ValidationFailed` when a process ends before its tasks are done, and
    :class:`shapes.errors.QueryStopped`.
    """
    if scratch is None or not store.on_disk:
        overlay = Overlay(store, delta)
        with Queries(overlay, scratch, limits) as queries:
            return tally_overlay(program, overlay, queries, most=most, tell=tell)
    folder = Path(tempfile.mkdtemp(prefix="validate-", dir=scratch))
    try:
        path = folder / "store"
        store.checkpoint(path)
        if delta:
            GraphStore(path, store.ids).patch(delta)
        if PROCESSES == 1 or not _is_large(store):
            return _alone(program, path, store.ids, tell, limits, most)
        return _shared(program, shapes, path, store.ids, tell, limits, most)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_large(store: GraphStore) -> bool:
    # Counting them all would take longer than some validations.
    beyond = store.rows(f"SELECT ?g {{ GRAPH ?g {{ ?s ?p ?o }} }} OFFSET {ALONE} LIMIT 1")
    return next(beyond, None) is not None


@contextmanager
def _working(
    program: Program,
    path: Path,
    ids: Ids,
    limits: Limits | None,
    most: int | None,
    heard: Heard | None,
) -> Iterator[Suspects]:
    store = GraphStore(path, ids, read_only=True)
    overlay = Overlay(store, Delta())
    with Queries(overlay, path.parent, limits) as queries:
        yield Suspects(program, store, overlay, queries, most=most, heard=heard)


def _alone(
    program: Program,
    path: Path,
    ids: Ids,
    tell: Tell | None,
    limits: Limits | None,
    most: int | None,
) -> Tally:
    agenda = Agenda(1, most)

    def heard(nodes: int, found: int) -> None:
        if tell is not None:
            tell(agenda.progress(nodes, found))

    with _working(program, path, ids, limits, most, heard) as work:
        agenda.begin(work.first)
        while (task := agenda.next()) is not None:
            agenda.take(work.do(task))
            heard(0, 0)
    return agenda.found


# --- on several processes


def _shared(
    program: Program,
    shapes: list[Quad],
    path: Path,
    ids: Ids,
    tell: Tell | None,
    limits: Limits | None,
    most: int | None,
) -> Tally:
    context = multiprocessing.get_context("spawn")
    asked = frozenset(str(shape.node) for shape in program.targeted)
    work = (to_nquads(shapes), asked, str(path), ids.base, limits, most)
    processes, pipes = [], []
    try:
        for _ in range(PROCESSES):
            ours, theirs = context.Pipe()
            # A daemon could not have the queries of shapes run in a process of its own.
            process = context.Process(target=_work, args=(theirs, *work), daemon=False)
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
        return _Sharing(pipes, Agenda(PROCESSES, most), tell).found()
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
            process.close()
        for pipe in pipes:
            pipe.close()


class _Sharing:
    """Hands out tasks, and takes in what comes out of them."""

    def __init__(self, pipes: list[Connection], agenda: Agenda, tell: Tell | None) -> None:
        self._agenda = agenda
        self._tell = tell
        self._busy = list(pipes)
        self._idle: deque[Connection] = deque()
        self._begun = False
        self._heard: dict[Connection, tuple[int, int]] = {}

    def found(self) -> Tally:
        try:
            while self._busy:
                for pipe in wait(self._busy, _PAUSE):
                    assert isinstance(pipe, Connection)
                    self._take(pipe, pipe.recv())
                while self._idle and (task := self._agenda.next()) is not None:
                    pipe = self._idle.popleft()
                    pipe.send(task)
                    self._busy.append(pipe)
                if self._begun and self._tell is not None:
                    nodes, found = map(sum, zip((0, 0), *self._heard.values(), strict=True))
                    self._tell(self._agenda.progress(nodes, found))
        except (EOFError, ConnectionError) as error:
            raise ValidationFailed(
                "a process that validated a share of the graph ended before it was done:"
                " it may have been killed for want of memory. Try again"
            ) from error
        return self._agenda.found

    def _take(self, pipe: Connection, message: object) -> None:
        if isinstance(message, QueryStopped):
            raise message
        if isinstance(message, str):
            raise ValidationFailed(f"the graph could not be validated: {message}")
        if isinstance(message, tuple):
            self._heard[pipe] = message
            return
        if isinstance(message, _First):
            # All of them have made the same plan.
            if not self._begun:
                self._begun = True
                self._agenda.begin(message.outcome)
        elif isinstance(message, Outcome):
            self._agenda.take(message)
        self._heard.pop(pipe, None)
        self._busy.remove(pipe)
        self._idle.append(pipe)


class _First:
    """What a process that is ready would begin with."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


def _work(
    pipe: Connection,
    shapes: bytes,
    asked: frozenset[str],
    path: str,
    base: str,
    limits: Limits | None,
    most: int | None,
) -> None:
    def heard(nodes: int, found: int) -> None:
        pipe.send((nodes, found))

    try:
        every = compile_shapes(from_nquads(shapes))
        program = part_of(every, [item for item in every.targeted if str(item.node) in asked])
        with _working(program, Path(path), Ids(base), limits, most, heard) as work:
            pipe.send(_First(work.first))
            while True:
                pipe.send(work.do(pipe.recv()))
    except (EOFError, ConnectionError):
        # Nobody waits any more.
        return
    except QueryStopped as error:
        pipe.send(error)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        raise
