"""Finds the focus nodes that may violate a shape by questions to the whole store, and asks those.

Invariant: whoever violates a shape is among its suspects, or the shape is asked of everybody. What
is reported comes from asking alone, so it does not matter who else is suspected.

The values of a predicate are looked at one by one where their terms decide; the types of values and
of focus nodes are held against those that are enough; numbers of values are found by counting, for
each class, the statements and the subjects of each predicate. Mostly no node has to be named: where
as many instances of a class have a value as there are, or as many statements of a predicate point
at instances of the right classes as there are, nobody is wrong, and nobody is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from pyoxigraph import NamedNode

from ontology.store import GraphStore
from shapes.compile import Program
from shapes.evaluate import Run
from shapes.model import Shape
from shapes.overlay import Overlay
from shapes.sparql_constraints import Queries
from shapes.suspect_plan import SLICE, Counted, Planner, Tested
from shapes.suspect_queries import Slice, SuspectQueries
from shapes.tasks import (
    MOST_SUSPECTS,
    Ask,
    AskAll,
    Instances,
    Outcome,
    Pointing,
    Profile,
    Subjects,
    Task,
    Values,
    ValueTypes,
)
from shapes.view import TYPE, Node
from shapes.whole import CHUNK, EXAMPLES, focus_nodes, is_focus_node, tally_nodes

FEWER = 2
"""How many times fewer the focus nodes have to be for it to be quicker to begin with them."""

Heard = Callable[[int, int], None]
"""Hears of the nodes looked at and the results found so far, while a task runs."""


class Suspects:
    """Does the tasks of one process; its store has no change on top and does not change."""

    def __init__(
        self,
        program: Program,
        store: GraphStore,
        overlay: Overlay,
        queries: Queries,
        *,
        most: int | None = EXAMPLES,
        heard: Heard | None = None,
    ) -> None:
        self._program = program
        self._shapes = program.targeted
        self._overlay = overlay
        self._queries = queries
        self._most = most
        self._heard = heard
        self._superclasses: dict[Node, tuple[Node, ...]] = {}
        self._store = SuspectQueries(store, MOST_SUSPECTS)
        self._kinds = self._store.kinds()
        planner = Planner(self._kinds, self._renewed().superclasses, self._store.is_used)
        self._plan = planner.plan(program)

    @property
    def first(self) -> Outcome:
        """What is to be done first."""
        return self._plan.first

    def do(self, task: Task) -> Outcome:
        """Does one task."""
        outcome = Outcome()
        match task:
            case Profile():
                self._profile(task, outcome)
            case Pointing():
                part = Slice(task.kind, task.start, SLICE)
                outcome.pointing[task.kind] = self._store.pointing(part)
            case Values():
                tests = list(self._plan.tested[task.predicate].values())
                self._test(task.predicate, tests, outcome)
            case ValueTypes():
                self._value_types(task, outcome)
            case Instances():
                found = self._store.instances_outside(task.kind, task.enough)
                _suspect(outcome, [task.shape], found)
            case Subjects():
                self._subjects(task, outcome)
            case Ask():
                shape, view = self._shapes[task.shape], self._overlay
                foci = [n for n in task.suspects if is_focus_node(shape, view, self._queries, n)]
                self._ask(shape, foci, outcome)
            case AskAll():
                shape = self._shapes[task.shape]
                for chunk in self._share(shape, task.share, task.shares):
                    self._ask(shape, chunk, outcome)
        return outcome

    # --- suspects

    def _profile(self, task: Profile, outcome: Outcome) -> None:
        part = Slice(task.kind, task.start, SLICE)
        profile = self._store.profile(part)
        _, instances = profile.get(TYPE, (0, 0))
        outcome.stated[task.kind] = {predicate: each[0] for predicate, each in profile.items()}
        outcome.nodes = instances
        known: dict[tuple[NamedNode, int, bool], set[Node] | None] = {}
        for asked in self._plan.counted.get(task.kind, ()):
            if _leaves_room(asked, *profile.get(asked.predicate, (0, 0)), instances):
                key = (asked.predicate, asked.bound, asked.at_least)
                if key not in known:
                    known[key] = self._miscounted(part, asked)
                _suspect(outcome, [asked.shape], known[key])

    def _miscounted(self, part: Slice, asked: Counted) -> set[Node] | None:
        if asked.at_least:
            return self._store.lacking(part, asked.predicate)
        if asked.bound == 0:
            return self._store.having(part, asked.predicate)
        return self._store.having_more(part, asked.predicate, asked.bound)

    def _test(self, predicate: NamedNode, tests: Sequence[Tested], outcome: Outcome) -> None:
        values = self._store.values(predicate)
        number = 0
        while chunk := list(islice(values, CHUNK)):
            number += len(chunk)
            self._tell(outcome, number)
            for tested in tests:
                bad = [value for value in chunk if not tested.test(value)]
                if bad and not outcome.everybody.issuperset(tested.shapes):
                    kinds = self._kinds_of(tested.shapes)
                    _suspect(outcome, tested.shapes, self._store.of_values(predicate, bad, kinds))

    def _value_types(self, task: ValueTypes, outcome: Outcome) -> None:
        store, predicate, enough = self._store, task.predicate, task.enough
        if store.statements(predicate) == task.counted:
            return
        if not store.has_value_outside(predicate, enough):
            return
        kinds = self._kinds_of(task.shapes)
        found: set[Node] | None = set()
        if kinds is None or FEWER * self._number_of(kinds) > store.statements(predicate):
            found = store.of_values_outside(predicate, enough, kinds)
        else:
            for kind in kinds:
                more = store.of_values_outside_at(kind, predicate, enough)
                found = None if found is None or more is None else found | more
        if found is None and len(task.shapes) > 1:
            outcome.tasks += [ValueTypes(predicate, enough, (shape,)) for shape in task.shapes]
        else:
            _suspect(outcome, task.shapes, found)

    def _subjects(self, task: Subjects, outcome: Outcome) -> None:
        store = self._store
        if store.statements(task.predicate) != task.counted:
            found = store.subjects_outside(task.predicate, task.enough)
            _suspect(outcome, [task.shape], found)

    def _kinds_of(self, shapes: Sequence[int]) -> frozenset[NamedNode] | None:
        """The types of which the focus nodes of these shapes are, where they have to have one."""
        found: set[NamedNode] = set()
        for shape in shapes:
            kinds = self._plan.targets[shape]
            if kinds is None:
                return None
            found |= kinds
        return frozenset(found)

    def _number_of(self, kinds: frozenset[NamedNode]) -> int:
        return sum(self._kinds[kind] for kind in kinds)

    # --- asking

    def _share(self, shape: Shape, share: int, shares: int) -> Iterator[list[Node]]:
        foci = focus_nodes(shape, self._overlay, self._queries)
        number = 0
        while chunk := list(islice(foci, CHUNK)):
            number += 1
            if number % shares == share:
                yield chunk

    def _ask(self, shape: Shape, foci: Sequence[Node], outcome: Outcome) -> None:
        run, most = self._renewed(), self._most
        tally_nodes(self._program, shape, foci, run, self._overlay, outcome.found, most)
        self._tell(outcome, outcome.nodes + len(foci))

    def _renewed(self) -> Run:
        # What is remembered of some nodes is of no use to the next, but for the types of values.
        self._queries.forget()
        self._overlay.forget(keep_types=True)
        return Run(self._overlay, self._superclasses, queries=self._queries)

    def _tell(self, outcome: Outcome, nodes: int) -> None:
        outcome.nodes = nodes
        if self._heard is not None:
            self._heard(nodes, outcome.found.found)


def _leaves_room(asked: Counted, statements: int, subjects: int, instances: int) -> bool:
    """Whether an instance may have too few or too many values, as the numbers go."""
    if asked.at_least:
        return subjects < instances
    # At most one of the subjects can have all that is beyond one statement each.
    return subjects > 0 and 1 + statements - subjects > asked.bound


def _suspect(outcome: Outcome, shapes: Sequence[int], found: set[Node] | None) -> None:
    for shape in shapes:
        if found is None:
            outcome.everybody.add(shape)
        elif found:
            outcome.suspects.setdefault(shape, set()).update(found)
