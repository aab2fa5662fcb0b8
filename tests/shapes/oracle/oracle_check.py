"""One case, held against pySHACL and against itself.

Invariant: nothing is let pass. A difference from pySHACL is either explained by named corrections,
without which it stays and with which it is gone, or it is a disagreement; what the incremental
validator says is measured by the whole post-state: nothing that the change brings is missed, and
nothing is invented.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from random import Random
from unittest.mock import patch

from pyoxigraph import NamedNode, Quad, Triple
from pyparsing import ParseException

import shapes.incremental
import shapes.overlay
import shapes.suspect_plan
import shapes.suspects
import shapes.tasks
import shapes.validator
import shapes.whole
import shapes.whole_store
from ontology.store import GraphStore
from ontology.terms import Delta
from shapes.compile import Program, compile_shapes
from shapes.errors import ShapesError
from shapes.overlay import Overlay
from shapes.report import Report
from shapes.tasks import Agenda
from shapes.validator import Validator
from shapes.view import MemoryView
from shapes.whole import validate_graph
from shapes.whole_store import tally_store
from tests.shapes.oracle.oracle_cases import (
    Case,
    Change,
    describe,
    in_graph,
    shape_triples,
    triples_of,
)
from tests.shapes.oracle.oracle_corrections import CORRECTIONS, corrected
from tests.shapes.oracle.oracle_engines import (
    Row,
    Rows,
    anonymous,
    pyshacl_rows,
    rows,
    second_rows,
)
from tests.shapes.oracle.oracle_graphs import IDS, SHAPES_GRAPH, facts


@dataclass(frozen=True)
class Disagreement:
    """``kind`` says between what, ``case`` how to have it again."""

    kind: str
    case: Case
    extra: frozenset[Row] = frozenset()
    lacking: frozenset[Row] = frozenset()
    second: str = ""

    def __str__(self) -> str:
        told = [f"+ {row}" for row in sorted(self.extra, key=str)]
        told += [f"- {row}" for row in sorted(self.lacking, key=str)]
        return "\n".join([f"{self.kind} {self.second}", *told, describe(self.case)])


@dataclass
class Tally:
    """What a run has seen."""

    cases: int = 0
    results: int = 0
    steps: int = 0
    incremental: int = 0
    explained: Counter[str] = field(default_factory=Counter)
    votes: Counter[str] = field(default_factory=Counter)
    disagreements: list[Disagreement] = field(default_factory=list)

    def summary(self) -> str:
        lines = [
            f"{self.cases} states held against pySHACL, {self.results} results compared",
            f"{self.steps} changes validated, {self.incremental} results told of them",
            f"{len(self.disagreements)} disagreements",
            *(
                f"{count} differences by pySHACL's {name}"
                for name, count in _by_count(self.explained)
            ),
            *(f"{count} times the second engine {vote}" for vote, count in _by_count(self.votes)),
        ]
        return "\n".join(lines)


def _by_count(counter: Counter[str]) -> list[tuple[str, int]]:
    return counter.most_common()


def ours(shapes: Iterable[Triple], data: Iterable[Triple]) -> Rows:
    """What our engine says of a whole graph."""
    return rows(validate_graph(_compiled(frozenset(shapes)), MemoryView(data)))


@lru_cache(maxsize=8)
def _compiled(shapes: frozenset[Triple]) -> Program:
    return compile_shapes(in_graph(shapes, SHAPES_GRAPH))


def check_state(case: Case, tally: Tally) -> Rows | None:
    """Holds our result on the case's state against pySHACL's; ``None`` where they disagree."""
    state = Case(case.shapes, case.data)
    shapes = shape_triples(case.shapes)
    data = shapes | triples_of(case.data)
    tally.cases += 1
    mine = ours(shapes, data)
    theirs, names = explained(mine, shapes, data)
    tally.results += len(mine)
    if mine == theirs:
        if names:
            tally.explained[" and ".join(names)] += 1
            tally.votes[_vote(mine, theirs, shapes, data)] += 1
        return mine
    vote = _vote(mine, theirs, shapes, data)
    tally.disagreements.append(Disagreement("whole", state, mine - theirs, theirs - mine, vote))
    return None


def explained(
    mine: Rows, shapes: frozenset[Triple], data: frozenset[Triple]
) -> tuple[Rows, tuple[str, ...]]:
    """What pySHACL says, with as few of its errors mended as make it agree; where nothing does,
    with all of them mended."""
    plain = _pyshacl(shapes, data, ())
    if plain == mine:
        return mine, ()
    names = tuple(CORRECTIONS)
    mended = _pyshacl(shapes, data, names)
    assert mended is not None, "pySHACL fails even with its known errors mended"
    if mended != mine:
        return mended, names
    for name in names:
        fewer = tuple(item for item in names if item != name)
        if _pyshacl(shapes, data, fewer) == mine:
            names = fewer
    return mended, names


def _pyshacl(
    shapes: frozenset[Triple], data: frozenset[Triple], names: tuple[str, ...]
) -> Rows | None:
    with corrected(names):
        try:
            return pyshacl_rows(shapes, data)
        except (ArithmeticError, ShapesError, ParseException):
            # A decimal compared with NaN, a blank node that is to be less, a path that is no
            # SPARQL: errors that are mended.
            return None


def _vote(mine: Rows, theirs: Rows, shapes: frozenset[Triple], data: frozenset[Triple]) -> str:
    found = second_rows(shapes, data)
    if found is None:
        return "fails"
    if anonymous(mine) == anonymous(found):
        return "agrees with us"
    return "agrees with pySHACL" if anonymous(theirs) == anonymous(found) else "says something else"


def check_changes(
    case: Case, tally: Tally, against_pyshacl: bool = True, folder: Path | None = None
) -> None:
    """Runs the case's changes through one store and one validator, and checks each state. With
    ``folder`` the store is on disk."""

    def check(state: Case) -> Rows | None:
        return check_state(state, tally) if against_pyshacl else whole(state)

    before = check(case)
    if before is None:
        return
    state = case
    for number, (change, report) in enumerate(told(case, folder)):
        state = state.after(change)
        after = check(state)
        if after is None:
            return
        tally.steps += 1
        tally.incremental += len(report)
        missed, invented = (after - before) - report, report - after
        if missed or invented:
            kind = "missed" if missed else "invented"
            alone = case.only(number)
            held = alone if wrong_alone(alone, kind) else case
            tally.disagreements.append(Disagreement(kind, held, invented, missed))
            return
        before = after


def whole(state: Case) -> Rows:
    """What our engine says of a case's state; a store holds its shapes too."""
    shapes = shape_triples(state.shapes)
    return ours(shapes, shapes | triples_of(state.data))


def told(case: Case, folder: Path | None = None) -> Iterator[tuple[Change, Rows]]:
    """What the incremental validator says of each change, each being applied after it."""
    store = stored(case, folder)
    validator = Validator(store)
    state = case
    for number, change in enumerate(case.changes):
        following = state.after(change)
        delta = _delta(state, following)
        yield change, rows(validator.validate(delta))
        store.apply(delta, Delta(), number + 1)
        validator.settled(delta)
        state = following


def stored(case: Case, folder: Path | None = None) -> GraphStore:
    """A store that holds the case's state."""
    store = GraphStore(folder, IDS)
    given = in_graph(shape_triples(case.shapes), SHAPES_GRAPH) | frozenset(case.data)
    store.apply(Delta(given), Delta(), 0)
    return store


def check_joined(case: Case, tally: Tally) -> None:
    """Takes the case's changes for alternatives. Where what was read for one doesn't meet another,
    the other may come first, and what was said of the one still holds."""
    validator = Validator(stored(case))
    state = replace(case, changes=())
    for first in case.changes:
        told_first = validator.examine(_delta(state, state.after(first)))
        asked = {*first.additions, *first.removals}
        for other in case.changes:
            between = state.after(other)
            since = _delta(state, between)
            if (
                other is first
                or SHAPES_GRAPH.value in since.graphs()
                or not asked.isdisjoint(since.quads)
                or told_first.reads.meet(since)
            ):
                continue
            tally.steps += 1
            report = rows(told_first.report)
            tally.incremental += len(report)
            before, after = whole(between), whole(between.after(first))
            missed, invented = (after - before) - report, report - after
            if missed or invented:
                held = replace(case, changes=(first, other))
                tally.disagreements.append(Disagreement("joined", held, invented, missed))
                return


def check_suspects(case: Case, tally: Tally, folder: Path, random: Random) -> None:
    """A store on disk, with the first change to be made, is found to be what all its focus nodes
    are when they are asked, whatever the system states of its own, and in how many shares."""
    state = case.after(case.changes[0]) if case.changes else case
    folder.mkdir()
    store = stored(case, folder / "graph")
    inferred = {quad for quad in (*case.data, *state.data) if random.random() < 0.3}
    inferred |= {facts(random, 1)[0] for _ in range(random.randint(0, 6))}
    system = (random.choice(sorted(store.system_graphs)) for _ in inferred)
    placed = frozenset(
        Quad(quad.subject, quad.predicate, quad.object, NamedNode(graph))
        for quad, graph in zip(sorted(inferred, key=str), system, strict=True)
    )
    store.apply(Delta(), Delta(placed), 1)
    delta = _delta(case, state)
    given = list(Overlay(store, delta).of_graph(SHAPES_GRAPH.value))
    program = compile_shapes(given)
    everything = shape_triples(state.shapes) | triples_of(state.data)
    expected = _listed(validate_graph(program, MemoryView(everything)))
    found = tally_store(program, given, store, delta, folder, most=None)
    tally.steps += 1
    tally.incremental += found.found
    told_of = _listed(found.report())
    if sorted(told_of, key=str) != sorted(expected, key=str) or found.found != len(expected):
        extra, lacking = set(told_of) - set(expected), set(expected) - set(told_of)
        held = replace(case, changes=case.changes[:1])
        wrong = Disagreement("suspects", held, frozenset(extra), frozenset(lacking))
        tally.disagreements.append(wrong)


def _listed(report: Report) -> list[Row]:
    return [row for result in report.results for row in rows(Report((result,)))]


@contextmanager
def small_numbers(suspects: int, shares: int) -> Iterator[None]:
    """Whole validations go in small steps while it lasts: slices of two, few ``suspects`` of a
    shape before it is asked of everybody, and that in so many shares."""

    def agenda(_shares: int, most: int | None) -> Agenda:
        return Agenda(shares, most)

    with (
        patch.object(shapes.suspect_plan, "SLICE", 2),
        patch.object(shapes.suspects, "SLICE", 2),
        patch.object(shapes.suspects, "MOST_SUSPECTS", suspects),
        patch.object(shapes.tasks, "MOST_SUSPECTS", suspects),
        patch.object(shapes.suspects, "CHUNK", 2),
        patch.object(shapes.tasks, "CHUNK", 2),
        patch.object(shapes.whole_store, "Agenda", agenda),
    ):
        yield


@contextmanager
def small_batches() -> Iterator[None]:
    """Everything that is read or told in batches is so in batches of very few, while it lasts."""
    with (
        patch.object(shapes.overlay, "FEW", 1),
        patch.object(shapes.overlay, "BATCH", 2),
        patch.object(shapes.overlay, "MANY", 2),
        patch.object(shapes.whole, "CHUNK", 2),
        patch.object(shapes.incremental, "CHUNK", 2),
    ):
        yield


@contextmanager
def always_whole() -> Iterator[None]:
    """No change is small enough to be followed, while it lasts."""
    with patch.object(shapes.validator, "MOST", 0):
        yield


def _delta(before: Case, after: Case) -> Delta:
    old = in_graph(shape_triples(before.shapes), SHAPES_GRAPH) | frozenset(before.data)
    new = in_graph(shape_triples(after.shapes), SHAPES_GRAPH) | frozenset(after.data)
    return Delta(new - old, old - new)


def wrong_alone(case: Case, kind: str) -> bool:
    """Whether a case of one change breaks the contract that way, by our own whole result."""
    (change,) = case.changes
    before, after = whole(case), whole(case.after(change))
    ((_, report),) = told(case)
    return bool((after - before) - report if kind == "missed" else report - after)
