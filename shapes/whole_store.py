"""Validates the whole graph of a store, on several processes where it is large.

Invariant: every process looks at the same checkpoint of the store with the same change on top;
their shares are disjoint and together all of it. No process outlives the call.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections import Counter
from multiprocessing.connection import Connection, wait
from pathlib import Path

from pyoxigraph import NamedNode, Quad

from ontology.ids import Ids
from ontology.store import GraphStore
from ontology.terms import Delta, from_nquads, to_nquads
from shapes.by_node import ByNode, tally_overlay
from shapes.compile import Program, compile_shapes, part_of
from shapes.errors import QueryStopped, ValidationFailed
from shapes.overlay import Overlay
from shapes.sparql_constraints import Limits, Queries
from shapes.whole import Progress, Tally, Tell

ALONE = 100_000
"""Quads of a store up to which starting processes costs more than it saves."""
PROCESSES = min(4, os.cpu_count() or 1)


def tally_store(
    program: Program,
    shapes: list[Quad],
    store: GraphStore,
    delta: Delta,
    scratch: Path | None,
    tell: Tell | None = None,
    limits: Limits | None = None,
) -> Tally:
    """What ``program``, made of the quads ``shapes`` or of a part of their shapes, finds in the
    state after ``delta``.

    ``scratch`` is a folder on the store's own disk for a checkpoint that lasts as long as the call;
    without one, or where one process is as quick, this process does it all. Raises
    :class:`ValidationFailed` when a process ends before its share is done, and
    :class:`shapes.errors.QueryStopped`.
    """
    if scratch is None or PROCESSES == 1 or not _is_large(store):
        overlay = Overlay(store, delta)
        with Queries(overlay, scratch, limits) as queries:
            return tally_overlay(program, overlay, queries, tell=tell)
    folder = Path(tempfile.mkdtemp(prefix="validate-", dir=scratch))
    try:
        store.checkpoint(folder / "store")
        whole, seen = _shared(folder / "store", store.ids, program, shapes, delta, tell, limits)
        overlay = Overlay(GraphStore(folder / "store", store.ids, read_only=True), delta)
        with Queries(overlay, folder, limits) as queries:
            rest = ByNode(program, overlay, queries)
            rest.ask_untyped(seen)
        whole.add(rest.found)
        return whole
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_large(store: GraphStore) -> bool:
    # Counting them all would take longer than some validations.
    beyond = store.rows(f"SELECT ?g {{ GRAPH ?g {{ ?s ?p ?o }} }} OFFSET {ALONE} LIMIT 1")
    return next(beyond, None) is not None


def _shared(
    path: Path,
    ids: Ids,
    program: Program,
    shapes: list[Quad],
    delta: Delta,
    tell: Tell | None,
    limits: Limits | None,
) -> tuple[Tally, Counter[NamedNode]]:
    context = multiprocessing.get_context("spawn")
    asked = frozenset(str(shape.node) for shape in program.targeted)
    graph = (str(path), ids.base, to_nquads(delta.additions), to_nquads(delta.removals))
    processes, pipes = [], []
    try:
        for number in range(PROCESSES):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=_work,
                args=(theirs, (number, PROCESSES), limits, asked, to_nquads(shapes), *graph),
                # A daemon could not have the queries of shapes run in a process of its own.
                daemon=False,
            )
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
        return _gathered(pipes, tell)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
            process.close()
        for pipe in pipes:
            pipe.close()


def _gathered(pipes: list[Connection], tell: Tell | None) -> tuple[Tally, Counter[NamedNode]]:
    whole = Tally()
    seen: Counter[NamedNode] = Counter()
    latest: dict[Connection, Progress] = {}
    open_ = list(pipes)
    while open_:
        for pipe in wait(open_):
            assert isinstance(pipe, Connection)
            try:
                message = pipe.recv()
            except EOFError as error:
                raise ValidationFailed(
                    "a process that validated a share of the graph ended before it was done:"
                    " it may have been killed for want of memory. Try again"
                ) from error
            if isinstance(message, tuple):
                whole.add(message[0])
                seen.update({NamedNode(iri): number for iri, number in message[1].items()})
                open_.remove(pipe)
                continue
            if isinstance(message, QueryStopped):
                raise message
            if isinstance(message, str):
                raise ValidationFailed(f"the graph could not be validated: {message}")
            latest[pipe] = message
            if tell is not None:
                tell(_together(list(latest.values())))
    return whole, seen


def _together(shares: list[Progress]) -> Progress:
    return Progress(
        min(share.part for share in shares),
        shares[0].parts,
        sum(share.nodes for share in shares),
        sum(share.found for share in shares),
    )


def _work(
    pipe: Connection,
    share: tuple[int, int],
    limits: Limits | None,
    asked: frozenset[str],
    shapes: bytes,
    path: str,
    base: str,
    additions: bytes,
    removals: bytes,
) -> None:
    try:
        store = GraphStore(Path(path), Ids(base), read_only=True)
        delta = Delta(frozenset(from_nquads(additions)), frozenset(from_nquads(removals)))
        every = compile_shapes(from_nquads(shapes))
        program = part_of(every, [item for item in every.targeted if str(item.node) in asked])
        overlay = Overlay(store, delta)
        with Queries(overlay, Path(path).parent, limits) as queries:
            work = ByNode(program, overlay, queries, tell=pipe.send)
            work.ask_share(share)
        pipe.send((work.found, {item.value: number for item, number in work.seen.items()}))
    except QueryStopped as error:
        pipe.send(error)
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        raise
