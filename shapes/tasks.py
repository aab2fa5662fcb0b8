"""The tasks of a whole validation, and in which order they come.

Invariant: a shape is asked either of all its focus nodes, in shares that are disjoint and together
all of them, or of its suspects, once every task that finds suspects of it is done; of no node
twice. What is remembered of suspects is bounded: a shape that has too many is asked of everybody.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pyoxigraph import NamedNode

from shapes.view import TYPE, Node
from shapes.whole import CHUNK, EXAMPLES, Progress, Tally

MOST_SUSPECTS = 10_000
"""Suspects of one shape beyond which it is asked of all its focus nodes."""

# Shapes are numbered by their place in the program.


@dataclass(frozen=True)
class Profile:
    """Counts what some instances of a class have."""

    kind: NamedNode
    start: int


@dataclass(frozen=True)
class Pointing:
    """Counts what points at some instances of a class."""

    kind: NamedNode
    start: int


@dataclass(frozen=True)
class Values:
    """Looks at the values of a predicate one by one."""

    predicate: NamedNode


@dataclass(frozen=True)
class ValueTypes:
    """Looks for values of a predicate that are of none of these types. ``counted`` is how many
    statements of it point at instances of these, where that is known."""

    predicate: NamedNode
    enough: frozenset[NamedNode]
    shapes: tuple[int, ...]
    counted: int | None = None


@dataclass(frozen=True)
class Instances:
    """Looks for instances of a class that are of none of these types."""

    kind: NamedNode
    enough: frozenset[NamedNode]
    shape: int


@dataclass(frozen=True)
class Subjects:
    """Looks for subjects of a predicate that are of none of these types. ``counted`` is how many
    statements of it instances of these make, where that is known."""

    predicate: NamedNode
    enough: frozenset[NamedNode]
    shape: int
    counted: int | None = None


@dataclass(frozen=True)
class Ask:
    """Asks a shape of those of its suspects that it targets."""

    shape: int
    suspects: tuple[Node, ...]


@dataclass(frozen=True)
class AskAll:
    """Asks a shape of a share of its focus nodes: of every ``shares``-th thousand."""

    shape: int
    share: int
    shares: int


Task = Profile | Pointing | Values | ValueTypes | Instances | Subjects | Ask | AskAll


@dataclass
class Outcome:
    """What came out of a task."""

    tasks: list[Task] = field(default_factory=list)
    kinds: Mapping[NamedNode, int] = field(default_factory=dict)
    """All types of nodes, with the number of statements of each."""
    suspects: dict[int, set[Node]] = field(default_factory=dict)
    everybody: set[int] = field(default_factory=set)
    """Shapes that have to be asked of all their focus nodes."""
    stated: dict[NamedNode, dict[NamedNode, int]] = field(default_factory=dict)
    """Statements that instances of a class make, by class and predicate."""
    pointing: dict[NamedNode, dict[NamedNode, int]] = field(default_factory=dict)
    """Statements that point at instances of a class, in the same way."""
    found: Tally = field(default_factory=Tally)
    nodes: int = 0
    """Nodes looked at."""


class Agenda:
    """What is to be done, what is being done, and what came out."""

    def __init__(self, shares: int, most: int | None = EXAMPLES) -> None:
        self.found = Tally()
        self._shares = shares
        self._most = most
        self._waiting: deque[Task] = deque()
        self._later: list[Subjects | ValueTypes] = []
        self._running = 0
        self._done = 0
        self._nodes = 0
        self._suspects: dict[int, set[Node]] = {}
        self._everybody: set[int] = set()
        self._stated: dict[NamedNode, Counter[NamedNode]] = {}
        self._pointing: dict[NamedNode, Counter[NamedNode]] = {}
        self._kinds: Mapping[NamedNode, int] = {}

    def begin(self, plan: Outcome) -> None:
        """Takes what is to be done first."""
        self._running += 1
        self._kinds = plan.kinds
        self.take(plan)

    def next(self) -> Task | None:
        """A task to begin; ``None`` while, or because, there is none."""
        if not self._waiting and not self._running:
            self._waiting.extend(self._counted() or self._asked())
        if not self._waiting:
            return None
        self._running += 1
        return self._waiting.popleft()

    def take(self, outcome: Outcome) -> None:
        """Takes what came out of a task that was begun."""
        self._running -= 1
        self._done += 1
        self._nodes += outcome.nodes
        self.found.add(outcome.found, self._most)
        for into, counted in (
            (self._stated, outcome.stated),
            (self._pointing, outcome.pointing),
        ):
            for kind, numbers in counted.items():
                into.setdefault(kind, Counter()).update(numbers)
        for shape in sorted(outcome.everybody):
            self._ask_everybody(shape)
        for shape, suspects in outcome.suspects.items():
            if shape not in self._everybody:
                known_suspects = self._suspects.setdefault(shape, set())
                known_suspects |= suspects
                if len(known_suspects) > MOST_SUSPECTS:
                    self._ask_everybody(shape)
        for task in outcome.tasks:
            if isinstance(task, Subjects | ValueTypes):
                self._later.append(task)
            else:
                self._waiting.append(task)

    def progress(self, nodes: int = 0, found: int = 0) -> Progress:
        """How far it is, with what the tasks that run have done so far."""
        parts = self._done + self._running + len(self._waiting) + len(self._later)
        part = min(self._done + 1, parts)
        return Progress(part, parts, self._nodes + nodes, self.found.found + found)

    def _ask_everybody(self, shape: int) -> None:
        if shape not in self._everybody:
            self._everybody.add(shape)
            self._suspects.pop(shape, None)
            shares = range(self._shares)
            self._waiting.extendleft(AskAll(shape, share, self._shares) for share in shares)

    def _counted(self) -> Iterable[Task]:
        """What had to wait until the statements of all classes were counted."""
        later, self._later = self._later, []
        return [replace(task, counted=self._number(task)) for task in later]

    def _number(self, task: Subjects | ValueTypes) -> int | None:
        # Instances of two classes, or in two slices, would be counted twice. Then they make more
        # statements of types than there are of their class.
        stated = self._stated
        for kind in task.enough:
            if kind not in stated or stated[kind][TYPE] != self._kinds[kind]:
                return None
        counted = self._stated if isinstance(task, Subjects) else self._pointing
        return sum(counted[kind][task.predicate] for kind in task.enough if kind in counted)

    def _asked(self) -> Iterable[Task]:
        asked, self._suspects = self._suspects, {}
        for shape, suspects in sorted(asked.items()):
            nodes = sorted(suspects, key=str)
            for start in range(0, len(nodes), CHUNK):
                yield Ask(shape, tuple(nodes[start : start + CHUNK]))
