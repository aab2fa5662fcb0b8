"""Which constraints a change can turn, and at which nodes.

Invariant: every violation that the post-state has and the pre-state had not is among what is asked
(see :mod:`shapes.compile` for why). Each thing to ask keeps a statement of the change that led to
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pyoxigraph import NamedNode

from shapes.compile import Anchor, Near, Program, Trigger, Triggers, Unit
from shapes.evaluate import Run
from shapes.harmless import Harmless
from shapes.model import Count, Shape
from shapes.overlay import Overlay, Row
from shapes.paths import HERE, Predicate
from shapes.view import TYPE, Node

Asked = dict[Node | None, Row]
"""The values to look at, each with what led to it; ``None`` stands for all of them."""


class TooMany(Exception):
    """The change reaches so many nodes that validating everything is quicker."""


class Affected:
    """What is to be asked after a change: whole shapes of some nodes, single units of others."""

    def __init__(
        self, program: Program, run: Run, overlay: Overlay, most: int | None = None
    ) -> None:
        self.program = program
        self._overlay = overlay
        self._run = run
        self._most = most
        self._number = 0
        self._classes: dict[Node, frozenset[Shape]] = {}
        self._kinds: dict[tuple[Node, ...], frozenset[Shape]] = {}
        self._others: dict[tuple[Shape, Node], bool] = {}
        self._resolved: dict[tuple[Near, frozenset[Shape], bool], list[_Resolved]] = {}
        self._kept: dict[tuple[Node, NamedNode, bool], bool] = {}
        self._nears: dict[tuple[NamedNode, bool], tuple[Near, ...]] = {}
        self.whole: dict[Shape, dict[Node, Row]] = {}
        self.units: dict[Unit, dict[Node, Asked]] = {}
        self.everywhere: dict[Unit, Row] = {}
        """What is to be asked of every focus node."""
        self.retargeted: dict[Shape, Row] = {}
        """Shapes to be asked of every focus node, which a query selects."""

    def read(self) -> None:
        """Reads the change that the overlay lays on the store.

        Raises :class:`TooMany` beyond the limit."""
        overlay = self._overlay
        by_subject: dict[Node, list[Row]] = {}
        for row in overlay.rows:
            by_subject.setdefault(row.subject, []).append(row)
        self._read_everywhere(overlay.rows)
        by_subject = self._unsettled(by_subject)
        prepare(overlay, self.program, by_subject)
        for subject, rows in by_subject.items():
            self._read_near(subject, rows, overlay.is_new(subject))
        # Whole shapes first: what is asked in full needs no single units.
        for row, trigger in self._set_off(overlay.rows):
            if trigger.whole:
                for focus in self._reached(trigger, row):
                    self._add_whole(trigger.whole, focus, row)
        for row, trigger in self._set_off(overlay.rows):
            if trigger.units:
                for focus, value in self._pairs(trigger, row):
                    self._add_far(trigger, focus, value, row)

    def _read_everywhere(self, rows: Iterable[Row]) -> None:
        everywhere, retargeted = self.program.everywhere, self.program.retargeted
        if not everywhere and not retargeted:
            return
        for row in rows:
            for predicate in (row.predicate, None):
                for unit in everywhere.get(predicate, ()):
                    self.everywhere.setdefault(unit, row)
                for shape in retargeted.get(predicate, ()):
                    self.retargeted.setdefault(shape, row)

    # --- at the subject of a statement

    def _unsettled(self, by_subject: dict[Node, list[Row]]) -> dict[Node, list[Row]]:
        """The subjects for which it matters which shapes target them.

        Of most changed statements nothing that shapes ask could be broken, whichever ask it: then
        the subject's types need not be read."""
        left: dict[Node, list[tuple[Harmless, Row]]] = {}
        for subject, rows in by_subject.items():
            asked = self._asked_alike(rows)
            if asked is not None:
                left[subject] = asked
        types = {row.value for asked in left.values() for each, row in asked if each.asks_types}
        self._overlay.prefetch(TYPE, types)
        return {
            subject: rows
            for subject, rows in by_subject.items()
            if subject not in left or not all(self._is_met(*each) for each in left[subject])
        }

    def _asked_alike(self, rows: Iterable[Row]) -> list[tuple[Harmless, Row]] | None:
        """What statements have to meet whichever shapes target their subject; ``None`` where it
        depends on that."""
        asked = []
        for row in rows:
            for near in self._near(row):
                if near.harmless is None or self._is_newly_subject(near, row):
                    return None
                asked.append((near.harmless, row))
        return asked

    def _is_newly_subject(self, near: Near, row: Row) -> bool:
        """Whether a statement may make its subject a focus node of shapes that target subjects of
        its predicate; a subject that had another value was one before."""
        return bool(near.subject_of) and not self._overlay.loses(row.subject, row.predicate)

    def _is_met(self, asked: Harmless, row: Row) -> bool:
        run, values = self._run, (row.value,)
        return (not row.added or all(test(run, row.subject, values) for test in asked.tests)) and (
            all(
                self._keeps_count(row.subject, row.predicate, count.at_least)
                for count in asked.counts
            )
        )

    def _near(self, row: Row) -> tuple[Near, ...]:
        key = (row.predicate, row.added)
        known = self._nears.get(key)
        if known is None:
            near = self._triggers(row).near
            known = tuple(near[each] for each in (row.predicate, None) if each in near)
            self._nears[key] = known
        return known

    def _read_near(self, subject: Node, rows: Sequence[Row], is_new: bool) -> None:
        targets = self._by_class(subject)
        if is_new:
            # Nothing was said of it before, so all that is asked of it is asked anew.
            self._add_whole(targets, subject, rows[0])
        for row in rows:
            for near in self._near(row):
                if near.whole and not is_new:
                    self._add_whole(near.whole & targets, subject, row)
                if self._is_newly_subject(near, row):
                    for shape in near.subject_of:
                        self._add_sure(shape, subject, row)
                self._add_near(near, targets, subject, row, is_new)

    def _add_near(
        self, near: Near, targets: frozenset[Shape], subject: Node, row: Row, is_new: bool
    ) -> None:
        resolved = self._resolved.get((near, targets, is_new))
        if resolved is None:
            # A new node is asked in full by its class already, and by what it is a subject of.
            by_class = frozenset() if is_new else targets
            otherwise = self.program.of_objects if is_new else self.program.otherwise
            resolved = self._resolved[near, targets, is_new] = [
                (shape, shape in by_class, units)
                for shape, units in near.units.items()
                if shape in by_class or shape in otherwise
            ]
        for shape, targeted, units in resolved:
            if subject in self.whole.get(shape, ()):
                continue
            if targeted or self._is_other_target(shape, subject):
                for unit, leads_to_value in units:
                    if not self._is_kept(unit, subject):
                        self._add(unit, subject, row.value if leads_to_value else None, row)

    def _is_kept(self, unit: Unit, subject: Node) -> bool:
        constraint, path = unit.constraint, unit.shape.path
        if not isinstance(constraint, Count) or not isinstance(path, Predicate):
            return False
        return self._keeps_count(subject, path.iri, constraint.at_least)

    def _keeps_count(self, subject: Node, predicate: NamedNode, at_least: bool) -> bool:
        key = (subject, predicate, at_least)
        known = self._kept.get(key)
        if known is None:
            known = self._kept[key] = self._overlay.keeps_count(
                subject, predicate, at_least=at_least
            )
        return known

    # --- further away

    def _set_off(self, rows: Iterable[Row]) -> Iterator[tuple[Row, Trigger]]:
        for row in rows:
            far = self._triggers(row).far
            for trigger in far.get(row.predicate, ()):
                yield row, trigger
            for trigger in far.get(None, ()):
                yield row, trigger

    def _triggers(self, row: Row) -> Triggers:
        return self.program.coming if row.added else self.program.going

    def _reached(self, trigger: Trigger, row: Row) -> Sequence[Node]:
        start = row.subject if trigger.forwards else row.value
        if trigger.prefix == HERE:
            return (start,)
        return trigger.prefix.back(self._run.view, start)

    def _pairs(self, trigger: Trigger, row: Row) -> Iterator[tuple[Node, Node | None]]:
        if trigger.anchor is Anchor.EDGE:
            subject, value = row.subject, row.value
            yield (subject, value) if trigger.forwards else (value, subject)
            return
        for reached in self._reached(trigger, row):
            if trigger.anchor is Anchor.FOCUS:
                yield reached, None
            else:
                assert trigger.path is not None
                for focus in trigger.path.back(self._run.view, reached):
                    yield focus, reached

    def _add_far(self, trigger: Trigger, focus: Node, value: Node | None, row: Row) -> None:
        targets = self._by_class(focus)
        for shape, units in trigger.units.items():
            if shape not in targets and not self._is_other_target(shape, focus):
                continue
            if focus in self.whole.get(shape, ()):
                continue
            for unit in units:
                self._add(unit, focus, value, row)

    # --- what is to be asked

    def _add(self, unit: Unit, focus: Node, value: Node | None, row: Row) -> None:
        asked = self.units.setdefault(unit, {}).setdefault(focus, {})
        if value not in asked:
            asked[value] = row
            self._counted()

    def _add_whole(self, shapes: Iterable[Shape], focus: Node, row: Row) -> None:
        targets = self._by_class(focus)
        for shape in shapes:
            foci = self.whole.get(shape)
            if foci is not None and focus in foci:
                continue
            if shape in targets or self._is_other_target(shape, focus):
                self._add_sure(shape, focus, row)

    def _add_sure(self, shape: Shape, focus: Node, row: Row) -> None:
        foci = self.whole.setdefault(shape, {})
        if focus not in foci:
            foci[focus] = row
            self._counted()

    def _counted(self) -> None:
        self._number += 1
        if self._most is not None and self._number > self._most:
            raise TooMany

    # --- targets

    def _by_class(self, focus: Node) -> frozenset[Shape]:
        """The shapes that target a node by its class, or by its name."""
        known = self._classes.get(focus)
        if known is None:
            kinds = tuple(self._run.view.objects(focus, TYPE))
            known = self._kinds.get(kinds)
            if known is None:
                known = self._kinds[kinds] = self._of_kinds(kinds)
            by_name = self.program.by_node.get(focus)
            if by_name:
                known = known.union(by_name)
            self._classes[focus] = known
        return known

    def _of_kinds(self, kinds: Sequence[Node]) -> frozenset[Shape]:
        found: set[Shape] = set()
        for kind in kinds:
            for item in self._run.superclasses(kind):
                found.update(self.program.by_class.get(item, ()))
        return frozenset(found)

    def _is_other_target(self, shape: Shape, focus: Node) -> bool:
        """Whether it is a target as the subject or the value of a predicate."""
        chosen_by = self.program.otherwise.get(shape)
        if chosen_by is None:
            return False
        known = self._others.get((shape, focus))
        if known is None:
            view = self._run.view
            known = self._others[shape, focus] = any(
                view.objects(focus, iri, 1) if subjects else view.subjects(iri, focus, 1)
                for subjects, iri in chosen_by
            )
        return known


_Resolved = tuple[Shape, bool, list[tuple[Unit, bool]]]


def prepare(overlay: Overlay, program: Program, by_subject: dict[Node, list[Row]]) -> None:
    """Reads at once what deriving will ask of most nodes."""
    # What else is said of a node whose type changes decides which shapes it is a target of, and
    # what points at it may have asked for the type.
    retyped = {row.subject for row in overlay.rows if row.predicate == TYPE}
    # Most that get a type are new, and of these no types need be looked up.
    overlay.note_new(retyped)
    overlay.prefetch(TYPE, by_subject)
    overlay.note_new(by_subject)
    overlay.prefetch_nodes(retyped)
    for triggers, added in ((program.coming, True), (program.going, False)):
        if triggers.far.get(TYPE):
            turned = {r.subject for r in overlay.rows if r.predicate == TYPE and r.added is added}
            overlay.prefetch_pointing(turned)
