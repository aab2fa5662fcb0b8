"""Validates a whole store node by node, so that what is said of a node is read once for all shapes.

Invariant: every focus node of every shape is asked, each once. Most have a type, and come by it;
whoever has none and is the subject of a predicate that shapes target is found by counting: if all
statements of a predicate were seen at nodes with a type, there are no others. What shapes target in
other ways is taken shape by shape. Memory does not grow with the graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from pyoxigraph import NamedNode

from shapes.compile import Program
from shapes.evaluate import Run
from shapes.model import Shape, TargetKind
from shapes.overlay import Overlay
from shapes.prefetch import prefetch_shapes
from shapes.results import result_of
from shapes.sparql_constraints import Queries
from shapes.view import TYPE, Node
from shapes.whole import CHUNK, EXAMPLES, Progress, Tally, Tell, focus_nodes

_BY_NODE = (TargetKind.CLASS, TargetKind.SUBJECTS_OF)


class ByNode:
    """One share of a whole validation."""

    def __init__(
        self,
        program: Program,
        overlay: Overlay,
        queries: Queries,
        *,
        most: int | None = EXAMPLES,
        tell: Tell | None = None,
    ) -> None:
        self.found = Tally()
        self.seen: Counter[NamedNode] = Counter()
        """Statements in the store of the nodes that were asked, by predicate."""
        self._program = program
        self._overlay = overlay
        self._queries = queries
        self._most = most
        self._tell = tell
        self._nodes = 0
        self._superclasses: dict[Node, tuple[Node, ...]] = {}
        self._of_kinds: dict[tuple[Node, ...], frozenset[Shape]] = {}
        self._subject_of: dict[NamedNode, list[Shape]] = {}
        for shape, chosen_by in program.otherwise.items():
            for subjects, predicate in chosen_by:
                if subjects:
                    self._subject_of.setdefault(predicate, []).append(shape)

    def ask_share(self, share: tuple[int, int]) -> None:
        """Asks every node with a type, and what shapes target in ways of their own."""
        self._renew()
        kinds = self._kinds_asked()
        places = {kind: place for place, kind in enumerate(kinds)}
        parts = len(kinds) + len(self._program.targeted)
        number = 0
        for place, kind in enumerate(kinds):
            instances = self._overlay.instances(kind)
            while chunk := list(islice(instances, CHUNK)):
                number += 1
                if number % share[1] == share[0]:
                    self._ask_chunk(chunk, places, place)
                    self._told(place + 1, parts)
        for place, shape in enumerate(self._program.targeted, len(kinds) + 1):
            foci = self._chosen_otherwise(shape)
            while chunk := list(islice(foci, CHUNK)):
                number += 1
                if number % share[1] == share[0]:
                    self._renew()
                    self._ask({shape: chunk})
                    self._nodes += len(chunk)
                    self._told(place, parts)

    def ask_untyped(self, seen: Counter[NamedNode]) -> None:
        """Asks the nodes without a type that shapes target by a predicate of theirs; ``seen`` are
        the statements of all shares."""
        predicates = sorted(self._subject_of, key=str)
        places = {predicate: place for place, predicate in enumerate(predicates)}
        changed = {row.subject for row in self._overlay.rows}
        self._ask_untyped(changed, predicates, None, places)
        for place, predicate in enumerate(predicates):
            if self._overlay.statements(predicate) == seen[predicate]:
                continue
            untyped = (n for n in self._overlay.untyped(predicate) if n not in changed)
            self._ask_untyped(untyped, predicates, place, places)

    def _ask_untyped(
        self,
        nodes: Iterable[Node],
        predicates: Sequence[NamedNode],
        place: int | None,
        places: dict[NamedNode, int],
    ) -> None:
        waiting = iter(nodes)
        while chunk := list(islice(waiting, CHUNK)):
            self._renew()
            self._overlay.prefetch_nodes(chunk)
            asked: dict[Shape, list[Node]] = {}
            for focus in chunk:
                of = [p for p in self._overlay.outgoing(focus) if p in places]
                if self._overlay.objects(focus, TYPE) or not of:
                    continue
                # It comes with each such predicate, and is asked with the first.
                if place is None or min(places[predicate] for predicate in of) == place:
                    self._note(asked, focus, (), of)
            self._ask(asked)

    def _ask_chunk(self, chunk: list[Node], places: dict[Node, int], place: int) -> None:
        self._renew()
        counts: dict[Node, Counter[NamedNode]] = {}
        self._overlay.prefetch_nodes(chunk, counts)
        asked: dict[Shape, list[Node]] = {}
        for focus in chunk:
            kinds = self._overlay.objects(focus, TYPE)
            # It comes with each of its types, and is asked with the first.
            if min(places[kind] for kind in kinds if kind in places) == place:
                self._note(asked, focus, tuple(kinds), self._overlay.outgoing(focus))
                self.seen.update(counts.get(focus, ()))
                self._nodes += 1
        self._ask(asked)

    def _note(
        self,
        asked: dict[Shape, list[Node]],
        focus: Node,
        kinds: tuple[Node, ...],
        predicates: Iterable[NamedNode],
    ) -> None:
        shapes = set(self._by_class(kinds))
        for predicate in predicates:
            shapes.update(self._subject_of.get(predicate, ()))
        for shape in shapes:
            asked.setdefault(shape, []).append(focus)

    def _by_class(self, kinds: tuple[Node, ...]) -> frozenset[Shape]:
        known = self._of_kinds.get(kinds)
        if known is None:
            by_class = self._program.by_class
            above = {item for kind in kinds for item in self._run.superclasses(kind)}
            found = frozenset(shape for item in above for shape in by_class.get(item, ()))
            known = self._of_kinds[kinds] = found
        return known

    def _kinds_asked(self) -> list[Node]:
        """The types of which some shape may ask a node."""
        kinds = self._overlay.kinds()
        if self._subject_of:
            return kinds
        return [kind for kind in kinds if self._by_class((kind,))]

    def _chosen_otherwise(self, shape: Shape) -> Iterator[Node]:
        """The focus nodes that a shape does not choose by class or as the subject of something."""
        by_node = tuple(target for target in shape.targets if target.kind in _BY_NODE)
        if len(by_node) == len(shape.targets):
            return iter(())
        rest = tuple(target for target in shape.targets if target.kind not in _BY_NODE)
        return focus_nodes(shape, self._overlay, self._queries, rest, by_node)

    def _renew(self) -> None:
        # What is remembered of a chunk is of no use to the next, but for the types of values.
        self._queries.forget()
        self._overlay.forget(keep_types=True)
        self._run = Run(self._overlay, self._superclasses, queries=self._queries)

    def _ask(self, asked: dict[Shape, list[Node]]) -> None:
        run, program = self._run, self._program
        prefetch_shapes(program, asked, self._overlay)
        for shape, foci in asked.items():
            run.ask_ahead([(unit.shape, unit.constraint) for unit in program.units[shape]], foci)
            for focus in foci:
                results = [result_of(finding, None) for finding in run.find(shape, focus)]
                self.found.note(shape, results, self._most)

    def _told(self, part: int, parts: int) -> None:
        if self._tell is not None:
            self._tell(Progress(part, parts, self._nodes, self.found.found))


def tally_overlay(
    program: Program,
    overlay: Overlay,
    queries: Queries,
    *,
    most: int | None = EXAMPLES,
    tell: Tell | None = None,
) -> Tally:
    """Everything a store and a change on top of it hold, by one process."""
    work = ByNode(program, overlay, queries, most=most, tell=tell)
    work.ask_share((0, 1))
    work.ask_untyped(work.seen)
    return work.found
