"""The gate, by size of graph and of change, beside other SHACL engines.

Invariant: what is timed of ours is :meth:`shapes.validator.Validator.validate` on a store on disk,
with all that it derives and reads. Every change is fresh: nothing has looked at its nodes before.
The engines are given the same changes, some of which break a shape, and their verdicts are held
against each other and against what the change was made to be. Changes are made, and peers run,
while nothing else is timed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench_changes import KINDS, Change, change
from bench_context import Context, say
from bench_figures import Figure
from bench_gate_peers import Beside, Counts
from bench_gate_report import Cell, Gate, figures, markdown, size_name
from bench_organisation import Organisation
from bench_peers import write_change
from bench_stores import Built, build
from pyoxigraph import NamedNode

from ontology.store import GraphStore
from ontology.terms import Delta
from shapes.compile import compile_shapes
from shapes.validator import Validator
from shapes.whole_store import tally_store

OURS = "our gate"
WARMING_FROM = 10_000
"""Numbers of the changes that engines are given first, and that are in no figure."""
PATIENCE = 60.0
"""Seconds that a change may be expected to take, judging by smaller ones; else it is left out."""
ENOUGH = 30.0
"""Seconds after which nothing of the same kind and size is begun again."""


@dataclass(frozen=True)
class Plan:
    """How much is measured: sound changes of each kind, ``broken`` ones beside them, and how many
    of the sound ones each peer is given. ``whole`` is how often the whole graph is validated."""

    changes: Counts = ((20, 60), (1_000, 20), (10_000, 15), (50_000, 5))
    warming: Counts = ((20, 40), (1_000, 8))
    broken: int = 2
    rdf4j: Counts = ((20, 15), (1_000, 15), (10_000, 4))
    near: Counts = ((20, 8), (1_000, 4), (10_000, 1))
    whole: int = 3
    largest_whole: int = 1_000_000
    budget: float = 60.0
    """Seconds that a peer is given for the changes of one graph."""


# RDF4J is left out of what a test runs, which must not need a registry.
TINY = Plan(
    changes=((20, 2), (200, 2)),
    warming=((20, 1),),
    broken=1,
    rdf4j=(),
    near=((20, 1), (200, 1)),
    whole=1,
)


def measure(context: Context) -> list[Figure]:
    plan = TINY if context.sizes.tiny else Plan()
    gate = Gate()
    kept = context.gate.cache or context.folder / "gate"
    kept.mkdir(parents=True, exist_ok=True)
    beside = Beside(gate, context.folder, kept, plan.near, plan.rdf4j, plan.budget)
    graphs = sorted(context.gate.graphs)
    for graph in graphs:
        built = build(context.ids, graph, kept)
        gate.notes.append(_told(built))
        files = context.folder / f"peers-{graph}"
        files.mkdir()
        changes, warming = _ours(gate, plan, graph, built, files)
        beside.measure(graph, built, files, changes, warming, whole=graph == graphs[0])
    gate.notes.append(gate.agreement)
    print(f"\n{markdown(gate)}\n")
    # Half a second to import, for nothing else that is measured here.
    from bench_gate_plot import plot

    plot(gate, context.gate.plot)
    return figures(gate)


def _told(built: Built) -> str:
    size = sum(file.stat().st_size for file in built.path.rglob("*") if file.is_file())
    made = "kept from an earlier run"
    if built.seconds is not None:
        made = f"generated and loaded in {built.seconds:.0f} s"
    return (
        f"{built.triples:,} triples of {built.organisation.projects} projects: {built.quads:,}"
        f" quads with the merge, {size / 1e6:,.0f} MB, {made}"
    )


def _ours(
    gate: Gate, plan: Plan, graph: int, built: Built, files: Path
) -> tuple[list[Change], list[str]]:
    """Measures ours. Returns the changes that were written down for the peers, emptied, and the
    names of those to warm up with."""
    store = built.open()
    validator = Validator(store)
    say(f"{OURS}, on {size_name(graph)} triples")
    warming, kept = [], []
    for each in _warming(built.organisation, plan.warming):
        validator.validate(each.delta)
        write_change(files, store, each, around=False)
        warming.append(each.name)
    for size, count in plan.changes:
        shared = max(dict(plan.rdf4j).get(size, 0), dict(plan.near).get(size, 0))
        for kind in KINDS:
            cell = gate.cell(graph, kind, size)
            if not _worth_it(gate, cell, built.organisation):
                continue
            for each in _changes(built.organisation, kind, size, count, plan.broken):
                _one(gate, cell, validator, each)
                place = len(cell.ours) if each.sound else 0
                if shared and place <= shared:
                    write_change(files, store, each, around=place <= dict(plan.near).get(size, 0))
                    kept.append(replace(each, delta=Delta()))
    if graph <= plan.largest_whole:
        _whole(gate, graph, store, built.path.parent, plan.whole)
    return kept, warming


def _warming(organisation: Organisation, counts: Counts) -> Iterator[Change]:
    for size, count in counts:
        for number in range(WARMING_FROM, WARMING_FROM + count):
            for kind in KINDS:
                yield change(organisation, kind, size, number)


def _changes(
    organisation: Organisation, kind: str, size: int, count: int, broken: int
) -> Iterator[Change]:
    """Sound changes until there are enough or it has taken long enough, then broken ones."""
    begun = time.monotonic()
    for number in range(count):
        yield change(organisation, kind, size, number)
        if time.monotonic() - begun > ENOUGH:
            break
    for number in range(broken):
        yield change(organisation, kind, size, number, sound=False)


def _one(gate: Gate, cell: Cell, validator: Validator, each: Change) -> None:
    started = time.perf_counter()
    report = validator.validate(each.delta)
    seconds = time.perf_counter() - started
    if each.sound:
        cell.ours.append(seconds)
    gate.told(each.name, cell.graph, OURS, report.conforms, each.sound)


def _worth_it(gate: Gate, cell: Cell, organisation: Organisation) -> bool:
    """Whether the organisation has room for such changes, and each is soon done."""
    try:
        change(organisation, cell.kind, cell.size, 0)
    except ValueError as error:
        gate.notes.append(f"{cell.name}: left out: {error}")
        return False
    smaller = gate.smaller(cell)
    if smaller is not None:
        expected = statistics.median(smaller.ours) * cell.size / smaller.size
        if expected > PATIENCE:
            gate.notes.append(f"{cell.name}: left out: about {expected:.0f} s would be expected")
            return False
    return True


def _whole(gate: Gate, graph: int, store: GraphStore, scratch: Path, rounds: int) -> None:
    """``scratch`` must be on the store's disk: processes share the work on a checkpoint there."""
    say(f"{OURS}, the whole graph of {size_name(graph)} triples")
    cell = gate.cell(graph, "whole", 0)
    shapes = NamedNode(store.ids.graph("shapes"))
    quads = list(store.match(graph=shapes))
    program = compile_shapes(quads)
    begun = time.monotonic()
    for number in range(rounds):
        if number and time.monotonic() - begun > ENOUGH:
            break
        started = time.perf_counter()
        found = tally_store(program, quads, store, Delta(), scratch)
        cell.ours.append(time.perf_counter() - started)
        gate.told("no change", graph, OURS, found.report().conforms, True)
