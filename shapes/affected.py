"""Which constraints a change can turn, and at which nodes.

Invariant: every violation that the post-state has and the pre-state had not is among what is asked
(see :mod:`shapes.compile` for why). Each thing to ask keeps a statement of the change that led to
it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pyoxigraph import NamedNode, Quad

from ontology.terms import Delta
from shapes.compile import Anchor, Change, Program, Trigger, Unit
from shapes.evaluate import Run
from shapes.model import Shape
from shapes.overlay import Overlay, node
from shapes.paths import HERE
from shapes.view import TYPE, Node

Cause = tuple[Change, Quad]
Asked = dict[Node | None, Cause]
"""The values to look at, each with what led to it; ``None`` stands for all of them."""


class TooMany(Exception):
    """The change reaches so many nodes that validating everything is quicker."""


class Affected:
    """What is to be asked after a change: whole shapes of some nodes, single units of others."""

    def __init__(self, program: Program, run: Run, most: int | None = None) -> None:
        self.program = program
        self._run = run
        self._most = most
        self._number = 0
        self._classes: dict[Node, frozenset[Shape]] = {}
        self.whole: dict[Shape, dict[Node, Cause]] = {}
        self.units: dict[Unit, dict[Node, Asked]] = {}

    def read(self, delta: Delta) -> None:
        """Raises :class:`TooMany` beyond the limit."""
        changes = [(Change.ADDED, quad) for quad in delta.additions]
        changes += [(Change.REMOVED, quad) for quad in delta.removals]
        # Whole shapes first: what is asked in full needs no single units.
        for cause, trigger in self._set_off(changes):
            if trigger.whole:
                for focus in self._reached(trigger, cause[1]):
                    for shape in trigger.whole:
                        if self.is_target(shape, focus):
                            self._add_whole(shape, focus, cause)
        for cause, trigger in self._set_off(changes):
            if trigger.units:
                for focus, value in self._pairs(trigger, cause[1]):
                    self._add_units(trigger, focus, value, cause)

    def _set_off(self, changes: Sequence[Cause]) -> Iterator[tuple[Cause, Trigger]]:
        any_predicate = self.program.triggers.get(None, [])
        for cause in changes:
            change, quad = cause
            for trigger in (*self.program.triggers.get(quad.predicate, ()), *any_predicate):
                if change in trigger.hurts:
                    yield cause, trigger

    def _reached(self, trigger: Trigger, quad: Quad) -> Sequence[Node]:
        start = node(quad.subject if trigger.forwards else quad.object)
        if trigger.prefix == HERE:
            return (start,)
        return trigger.prefix.back(self._run.view, start)

    def _pairs(self, trigger: Trigger, quad: Quad) -> Iterator[tuple[Node, Node | None]]:
        if trigger.anchor is Anchor.EDGE:
            subject, value = node(quad.subject), node(quad.object)
            yield (subject, value) if trigger.forwards else (value, subject)
            return
        for reached in self._reached(trigger, quad):
            if trigger.anchor is Anchor.FOCUS:
                yield reached, None
            else:
                assert trigger.path is not None
                for focus in trigger.path.back(self._run.view, reached):
                    yield focus, reached

    def _add_whole(self, shape: Shape, focus: Node, cause: Cause) -> None:
        if self.whole.setdefault(shape, {}).setdefault(focus, cause) is cause:
            self._counted()

    def _add_units(self, trigger: Trigger, focus: Node, value: Node | None, cause: Cause) -> None:
        by_class = self._by_class(focus)
        for shape, units in trigger.units.items():
            if shape not in by_class and not self._is_other_target(shape, focus):
                continue
            if focus in self.whole.get(shape, ()):
                continue
            for unit in units:
                asked = self.units.setdefault(unit, {}).setdefault(focus, {})
                if asked.setdefault(value, cause) is cause:
                    self._counted()

    def _counted(self) -> None:
        self._number += 1
        if self._most is not None and self._number > self._most:
            raise TooMany

    # --- targets

    def is_target(self, shape: Shape, focus: Node) -> bool:
        """Whether a node is a focus node of a shape with targets."""
        return shape in self._by_class(focus) or self._is_other_target(shape, focus)

    def _by_class(self, focus: Node) -> frozenset[Shape]:
        known = self._classes.get(focus)
        if known is None:
            run, by_class = self._run, self.program.by_class
            found = set(self.program.by_node.get(focus, ()))
            for kind in run.view.objects(focus, TYPE):
                for item in run.superclasses(kind):
                    found.update(by_class.get(item, ()))
            known = self._classes[focus] = frozenset(found)
        return known

    def _is_other_target(self, shape: Shape, focus: Node) -> bool:
        view = self._run.view
        return any(
            view.objects(focus, predicate, 1) if subjects else view.subjects(predicate, focus, 1)
            for subjects, predicate in self.program.otherwise.get(shape, ())
        )


def named_nodes(delta: Delta) -> tuple[set[Node], set[Node]]:
    """The subjects of a change, and the nodes that its statements lead to (classes left out)."""
    subjects: set[Node] = set()
    values: set[Node] = set()
    for quads in (delta.additions, delta.removals):
        for quad in quads:
            subjects.add(node(quad.subject))
            if quad.predicate != TYPE and isinstance(quad.object, NamedNode):
                values.add(quad.object)
    return subjects, values


def prepared(overlay: Overlay, delta: Delta) -> None:
    """Reads at once what deriving will ask of most nodes: whether they are new, and their types."""
    subjects, values = named_nodes(delta)
    overlay.note_new(subjects | values)
    overlay.prefetch(TYPE, subjects | values)
