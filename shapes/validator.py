"""Validates the state a change would lead to, before anything is written.

Invariant: a violation the change brings is never missed; the nodes it touches must conform after
it, whoever broke them, and nodes out of its reach are not looked at. Shapes see asserted triples
and the class hierarchy, nothing inferred.

Where every shape looks one step away from its focus node, only the neighbourhood of the delta is
read: the nodes in it, and the nodes that refer to one whose type changes. Otherwise, and when
the shapes or the class hierarchy themselves change, the whole graph is validated.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pyoxigraph import NamedNode, Quad

from ontology.store import GraphStore
from ontology.terms import Delta, graph_of
from ontology.vocab import Rdf
from shapes.overlay import SUBCLASS, Overlay, Term, node, ntriples
from shapes.reach import Reach, iris, read_reach
from shapes.reference import ReferenceShapes
from shapes.report import Report

TYPE = NamedNode(Rdf.type)


@dataclass(frozen=True)
class Footprint:
    """What a change touches, as far as another change can be joined with it to break a shape.

    ``subjects`` are the nodes whose own quads change, and those that refer to one whose type does;
    ``objects`` are the nodes it refers to, ``joints`` those of them that a shape reaches from the
    object's side. ``everything`` marks a change of what validation itself rests on.
    """

    subjects: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()
    joints: frozenset[str] = frozenset()
    everything: bool = False

    def meets(self, other: Footprint) -> bool:
        """Whether the two together may break what neither breaks alone."""
        return (
            self.everything
            or other.everything
            or not self.subjects.isdisjoint(other.subjects)
            or not self.subjects.isdisjoint(other.objects)
            or not self.objects.isdisjoint(other.subjects)
            or not self.joints.isdisjoint(other.joints)
        )


@dataclass(frozen=True)
class _Shapes:
    """One version of the shapes, ready to run, and where they look."""

    reference: ReferenceShapes
    reach: Reach


class Validator:
    """Validates changes of one store; keeps the shapes of the last graph it saw parsed."""

    def __init__(self, store: GraphStore) -> None:
        self._store = store
        self._graph = store.ids.graph("shapes")
        self._reading = threading.Lock()
        self._held: _Shapes | None = None
        self._version = 0

    def validate(self, delta: Delta) -> Report:
        """The report on the state after ``delta``, whose quads are canonical and effective.

        Raises :class:`shapes.errors.MalformedShapes` when the delta's own shapes are unusable.
        """
        overlay = Overlay(self._store, delta)
        if any(graph_of(quad) == self._graph for quad in delta.quads):
            quads = list(overlay.of_graph(self._graph))
            shapes = _read_shapes(quads)
            changed = {node(quad.subject) for quad in delta.in_graph(self._graph).quads}
            ReferenceShapes(ntriples(_resting_on(changed, quads))).check()
            return self._whole(shapes, overlay)
        shapes = self._current()
        if not shapes.reach.local or any(quad.predicate == SUBCLASS for quad in delta.quads):
            return self._whole(shapes, overlay)
        return self._neighbourhood(shapes, overlay, delta)

    def footprint(self, delta: Delta) -> Footprint:
        """What must not have changed between a validation of this delta and its commit."""
        reach = self._current().reach
        if (
            not reach.local
            or any(graph_of(quad) == self._graph for quad in delta.quads)
            or any(quad.predicate == SUBCLASS for quad in delta.quads)
        ):
            return Footprint(everything=True)
        joining = reach.inverse | reach.target_objects
        subjects = {node(quad.subject) for quad in delta.quads}
        subjects |= _referrers(reach, Overlay(self._store, delta), delta)
        return Footprint(
            frozenset(map(str, subjects)),
            frozenset(str(quad.object) for quad in delta.quads),
            frozenset(str(q.object) for q in delta.quads if q.predicate.value in joining),
        )

    def forget(self) -> None:
        """Drops the parsed shapes; call it once the store has other ones."""
        with self._reading:
            self._version += 1
            self._held = None

    def _current(self) -> _Shapes:
        with self._reading:
            held, version = self._held, self._version
        if held is None:
            held = _read_shapes(list(self._store.match(graph=NamedNode(self._graph))))
            with self._reading:
                # Shapes that were forgotten while they were read are good for this once alone.
                if version == self._version:
                    self._held = held
        return held

    def _whole(self, shapes: _Shapes, overlay: Overlay) -> Report:
        return shapes.reference.run(ntriples(overlay.everything()))

    def _neighbourhood(self, shapes: _Shapes, overlay: Overlay, delta: Delta) -> Report:
        reach = shapes.reach
        foci: set[Term] = set(_referrers(reach, overlay, delta))
        for quad in delta.quads:
            foci.add(node(quad.subject))
            if isinstance(quad.object, NamedNode) or quad.predicate.value in reach.target_objects:
                foci.add(node(quad.object))
        supers: dict[NamedNode, set[NamedNode]] = {}
        targeted = [focus for focus in foci if _is_target(reach, overlay, focus, supers)]
        if not targeted:
            return Report()
        data = ntriples(_around(reach, overlay, targeted))
        return shapes.reference.run(data, [str(focus) for focus in targeted])


def _referrers(reach: Reach, overlay: Overlay, delta: Delta) -> set[NamedNode]:
    """The nodes whose verdict follows from the type of a node whose type the delta changes."""
    found: set[NamedNode] = set()
    for retyped in {quad.subject for quad in delta.quads if quad.predicate == TYPE}:
        for path in reach.typed:
            quads = overlay.referring(node(retyped), NamedNode(path))
            found |= iris(node(quad.subject) for quad in quads)
        for path in reach.inversely_typed:
            quads = overlay.about(node(retyped), NamedNode(path))
            found |= iris(node(quad.object) for quad in quads)
    return found


def _is_target(
    reach: Reach, overlay: Overlay, focus: Term, supers: dict[NamedNode, set[NamedNode]]
) -> bool:
    if focus.value in reach.target_nodes:
        return True
    for quad in overlay.about(focus):
        if quad.predicate.value in reach.target_subjects:
            return True
        if quad.predicate == TYPE and isinstance(quad.object, NamedNode):
            if quad.object not in supers:
                supers[quad.object] = overlay.superclasses([quad.object])
            if any(item.value in reach.target_classes for item in supers[quad.object]):
                return True
    return any(
        next(overlay.referring(focus, NamedNode(predicate)), None) is not None
        for predicate in reach.target_objects
    )


def _around(reach: Reach, overlay: Overlay, foci: Iterable[Term]) -> Iterator[Quad]:
    """What shapes of this reach may look at from these nodes."""
    neighbours: set[NamedNode] = set()
    classes: set[NamedNode] = set()
    for focus in foci:
        for quad in overlay.about(focus):
            yield quad
            if isinstance(quad.object, NamedNode):
                (classes if quad.predicate == TYPE else neighbours).add(quad.object)
        for predicate in reach.target_objects - reach.inverse:
            # One such quad makes it a target; only a shape that counts them needs them all.
            yield from _first(overlay.referring(focus, NamedNode(predicate)))
        for predicate in reach.inverse:
            for quad in overlay.referring(focus, NamedNode(predicate)):
                yield quad
                neighbours |= iris([node(quad.subject)])
    if TYPE.value in reach.typed:
        neighbours |= classes
    for neighbour in neighbours:
        for quad in overlay.about(neighbour, TYPE):
            yield quad
            if isinstance(quad.object, NamedNode):
                classes.add(quad.object)
    for item in overlay.superclasses(classes):
        yield from overlay.about(item, SUBCLASS)


def _first(quads: Iterator[Quad]) -> Iterator[Quad]:
    quad = next(quads, None)
    if quad is not None:
        yield quad


def _resting_on(changed: set[Term], quads: list[Quad]) -> list[Quad]:
    """The part of the shapes whose form can have turned: whatever leads to a changed node, with all
    that it leads to. Holding every shape against SHACL's own shapes would take seconds."""
    leading: dict[Term, set[Term]] = {}
    led: dict[Term, set[Term]] = {}
    for quad in quads:
        leading.setdefault(node(quad.object), set()).add(node(quad.subject))
        led.setdefault(node(quad.subject), set()).add(node(quad.object))
    concerned = _closure(_closure(changed, leading), led)
    return [quad for quad in quads if quad.subject in concerned]


def _closure(start: set[Term], edges: dict[Term, set[Term]]) -> set[Term]:
    found, waiting = set(start), list(start)
    while waiting:
        following = edges.get(waiting.pop(), set()) - found
        found |= following
        waiting += following
    return found


def _read_shapes(quads: list[Quad]) -> _Shapes:
    return _Shapes(ReferenceShapes(ntriples(quads)), read_reach(quads))
