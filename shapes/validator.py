"""Validates the state a change would lead to, before anything is written.

Invariant: a violation the change brings is never missed; the nodes it touches must conform after
it, whoever broke them, and nodes out of its reach are not looked at. Shapes see asserted triples
and the class hierarchy, nothing inferred.

Where every shape looks one step away from its focus node, only the neighbourhood of the delta is
read: the nodes in it, and the nodes that refer to one whose type changes. Otherwise, and when
the shapes or the class hierarchy themselves change, the whole graph is validated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

from pyoxigraph import BlankNode, Literal, NamedNode, Quad

from ontology.store import GraphStore
from ontology.terms import Delta, graph_of
from ontology.vocab import Rdf, Rdfs, Sh
from shapes.errors import MalformedShapes
from shapes.reference import ReferenceShapes
from shapes.report import Report

TYPE = NamedNode(Rdf.type)
SUBCLASS = NamedNode(Rdfs.subClassOf)

# Either these make a shape look further than one step, or nothing here may run them.
_FAR = frozenset({Sh.node, Sh.qualifiedValueShape})
_REFUSED = {
    "http://www.w3.org/ns/shacl#sparql": "SPARQL-based constraints",
    "http://www.w3.org/ns/shacl#js": "JavaScript constraints",
    "http://www.w3.org/ns/shacl#rule": "SHACL rules",
    "http://www.w3.org/ns/shacl#select": "SPARQL-based constraints",
    "http://www.w3.org/ns/shacl#ask": "SPARQL-based constraints",
}
# The store keeps every integer as xsd:integer, so a shape that asks for these can't be met.
_XSD = "http://www.w3.org/2001/XMLSchema#"
_UNMEETABLE = {
    _XSD + name: _XSD + "integer"
    for name in (
        *("int", "long", "short", "byte", "nonNegativeInteger", "positiveInteger"),
        *("nonPositiveInteger", "negativeInteger"),
        *("unsignedInt", "unsignedLong", "unsignedShort", "unsignedByte"),
    )
} | {_XSD + "dateTimeStamp": _XSD + "dateTime"}


_Members = dict[str, list[NamedNode | Literal | BlankNode]]
"""What is said of one node of the shapes graph, by predicate."""


class Overlay:
    """The asserted graph as it would be after a delta, read without writing."""

    def __init__(self, store: GraphStore, delta: Delta) -> None:
        self._store = store
        self._removals = delta.removals
        self._by_subject: dict[object, list[Quad]] = {}
        self._by_object: dict[object, list[Quad]] = {}
        for quad in delta.additions:
            self._by_subject.setdefault(quad.subject, []).append(quad)
            self._by_object.setdefault(quad.object, []).append(quad)

    def about(self, subject: NamedNode, predicate: NamedNode | None = None) -> Iterator[Quad]:
        """Quads with this subject."""
        for quad in self._store.asserted(subject, predicate):
            if quad not in self._removals:
                yield quad
        for quad in self._by_subject.get(subject, ()):
            if predicate is None or quad.predicate == predicate:
                yield quad

    def referring(self, value: NamedNode, predicate: NamedNode) -> Iterator[Quad]:
        """Quads with this predicate and object."""
        for quad in self._store.asserted(None, predicate, value):
            if quad not in self._removals:
                yield quad
        for quad in self._by_object.get(value, ()):
            if quad.predicate == predicate:
                yield quad

    def everything(self) -> Iterator[Quad]:
        """Every asserted quad of the post-state."""
        for quad in self._store.asserted():
            if quad not in self._removals:
                yield quad
        for quads in self._by_subject.values():
            yield from quads

    def superclasses(self, classes: Iterable[NamedNode]) -> set[NamedNode]:
        """These classes and everything above them."""
        found = set(classes)
        waiting = list(found)
        while waiting:
            for quad in self.about(waiting.pop(), SUBCLASS):
                if isinstance(quad.object, NamedNode) and quad.object not in found:
                    found.add(quad.object)
                    waiting.append(quad.object)
        return found


@dataclass(frozen=True)
class Footprint:
    """What a change touches, as far as another change can be joined with it to break a shape.

    ``joints`` are the objects that a shape reaches from the object's side; ``everything`` marks a
    change of what validation itself rests on.
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


@dataclass
class _Shapes:
    """One version of the shapes, and what there is to know about where they look."""

    reference: ReferenceShapes
    local: bool = True
    target_classes: set[str] = field(default_factory=set)
    target_nodes: set[str] = field(default_factory=set)
    target_subjects: set[str] = field(default_factory=set)
    target_objects: set[str] = field(default_factory=set)
    inverse: set[str] = field(default_factory=set)
    class_paths: set[str] = field(default_factory=set)
    inverse_class_paths: set[str] = field(default_factory=set)


class Validator:
    """Validates changes of one store; keeps the shapes of the last graph it saw parsed."""

    def __init__(self, store: GraphStore) -> None:
        self._store = store
        self._graph = store.ids.graph("shapes")
        self._held: _Shapes | None = None

    def validate(self, delta: Delta) -> Report:
        """The report on the state after ``delta``, whose quads are canonical and effective.

        Raises :class:`shapes.errors.MalformedShapes` when the delta's own shapes are unusable.
        """
        overlay = Overlay(self._store, delta)
        if any(graph_of(quad) == self._graph for quad in delta.quads):
            quads = [q for q in overlay.everything() if graph_of(q) == self._graph]
            shapes = _read_shapes(quads)
            shapes.reference.check()
            return self._whole(shapes, overlay)
        shapes = self._current()
        if not shapes.local or any(quad.predicate == SUBCLASS for quad in delta.quads):
            return self._whole(shapes, overlay)
        return self._neighbourhood(shapes, overlay, delta)

    def footprint(self, delta: Delta) -> Footprint:
        """What must not have changed between a validation of this delta and its commit."""
        shapes = self._current()
        joining = shapes.inverse | shapes.target_objects
        graphs = {graph_of(quad) for quad in delta.quads}
        objects = {(q.predicate.value, q.object.value) for q in delta.quads if _is_node(q.object)}
        return Footprint(
            frozenset(q.subject.value for q in delta.quads if isinstance(q.subject, NamedNode)),
            frozenset(value for predicate, value in objects if predicate != Rdf.type),
            frozenset(value for predicate, value in objects if predicate in joining),
            not shapes.local
            or self._graph in graphs
            or any(quad.predicate == SUBCLASS for quad in delta.quads),
        )

    def forget(self) -> None:
        """Drops the parsed shapes; call it when an entry changed them."""
        self._held = None

    def _current(self) -> _Shapes:
        if self._held is None:
            self._held = _read_shapes(list(self._store.match(graph=NamedNode(self._graph))))
        return self._held

    def _whole(self, shapes: _Shapes, overlay: Overlay) -> Report:
        return shapes.reference.run(_ntriples(overlay.everything()))

    def _neighbourhood(self, shapes: _Shapes, overlay: Overlay, delta: Delta) -> Report:
        foci = {NamedNode(node) for node in delta.nodes()}
        retyped = {q.subject for q in delta.quads if q.predicate == TYPE}
        for node in retyped:
            assert isinstance(node, NamedNode)
            for path in shapes.class_paths:
                foci.update(_subjects(overlay.referring(node, NamedNode(path))))
            for path in shapes.inverse_class_paths:
                found = overlay.about(node, NamedNode(path))
                foci.update(quad.object for quad in found if _is_node(quad.object))
        types = {
            node: [q.object for q in overlay.about(node, TYPE) if isinstance(q.object, NamedNode)]
            for node in foci
        }
        supers: dict[NamedNode, set[NamedNode]] = {}
        for classes in types.values():
            for item in classes:
                if item not in supers:
                    supers[item] = overlay.superclasses([item])
        touched = {(q.subject, q.predicate.value) for q in delta.quads}
        reached = {(q.object, q.predicate.value) for q in delta.quads}
        targeted = sorted(
            node.value
            for node in foci
            if node.value in shapes.target_nodes
            or any(
                ancestor.value in shapes.target_classes
                for item in types[node]
                for ancestor in supers[item]
            )
            or any((node, predicate) in touched for predicate in shapes.target_subjects)
            or any((node, predicate) in reached for predicate in shapes.target_objects)
            or self._targeted_by_predicate(shapes, overlay, node)
        )
        if not targeted:
            return Report()
        return shapes.reference.run(_ntriples(self._around(shapes, overlay, targeted)), targeted)

    @staticmethod
    def _targeted_by_predicate(shapes: _Shapes, overlay: Overlay, node: NamedNode) -> bool:
        return any(
            next(overlay.about(node, NamedNode(predicate)), None) is not None
            for predicate in shapes.target_subjects
        ) or any(
            next(overlay.referring(node, NamedNode(predicate)), None) is not None
            for predicate in shapes.target_objects
        )

    @staticmethod
    def _around(shapes: _Shapes, overlay: Overlay, foci: list[str]) -> Iterator[Quad]:
        incoming = shapes.inverse | shapes.target_objects
        values: set[NamedNode] = set()
        classes: set[NamedNode] = set()
        for focus in foci:
            node = NamedNode(focus)
            for quad in overlay.about(node):
                yield quad
                if quad.predicate == TYPE and isinstance(quad.object, NamedNode):
                    classes.add(quad.object)
                elif isinstance(quad.object, NamedNode):
                    values.add(quad.object)
            for predicate in incoming:
                for quad in overlay.referring(node, NamedNode(predicate)):
                    yield quad
                    values.update(_subjects([quad]))
        for value in values:
            for quad in overlay.about(value, TYPE):
                yield quad
                if isinstance(quad.object, NamedNode):
                    classes.add(quad.object)
        for item in overlay.superclasses(classes):
            yield from overlay.about(item, SUBCLASS)


def _is_node(term: object) -> TypeGuard[NamedNode]:
    return isinstance(term, NamedNode)


def _read_shapes(quads: list[Quad]) -> _Shapes:
    shapes = _Shapes(ReferenceShapes(_ntriples(quads)))
    about: dict[str, _Members] = {}
    for quad in quads:
        assert isinstance(quad.subject, NamedNode)
        assert isinstance(quad.object, NamedNode | Literal)
        members = about.setdefault(quad.subject.value, {})
        members.setdefault(quad.predicate.value, []).append(quad.object)
    for subject, members in about.items():
        _refuse_unusable(subject, members)
        shapes.target_classes.update(_values(members, Sh.targetClass))
        shapes.target_nodes.update(_values(members, Sh.targetNode))
        shapes.target_subjects.update(_values(members, Sh.targetSubjectsOf))
        shapes.target_objects.update(_values(members, Sh.targetObjectsOf))
        if Rdfs.Class in _values(members, Rdf.type):
            shapes.target_classes.add(subject)
        if _FAR & set(members) or (Sh.path in members and Sh.property in members):
            shapes.local = False
        for path in _values(members, Sh.path):
            _read_path(shapes, path, _nested(members, about), about)
    return shapes


def _read_path(
    shapes: _Shapes, path: str, said: list[_Members], about: Mapping[str, _Members]
) -> None:
    """Takes in where a property shape looks; ``said`` are its own members and those inside its
    logical constraints, which speak of the value nodes."""
    if any({Sh.property, Sh.path, *_FAR} & set(members) for members in said[1:]):
        shapes.local = False
    step = about.get(path, {})
    inverse = _values(step, Sh.inversePath)
    if any(item in about for item in inverse) or Rdf.first in step or set(step) & _PATHS:
        shapes.local = False
    shapes.inverse.update(inverse)
    if any(Sh.class_ in members for members in said):
        shapes.class_paths.update(() if inverse else (path,))
        shapes.inverse_class_paths.update(inverse)


def _nested(members: _Members, about: Mapping[str, _Members]) -> list[_Members]:
    """The members of a shape, then of every shape inside its logical constraints."""
    found = [members]
    waiting = [item for predicate in _LOGICAL for item in _values(members, predicate)]
    seen: set[str] = set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        inner = about.get(node, {})
        if Rdf.first in inner:
            waiting += _values(inner, Rdf.first) + _values(inner, Rdf.rest)
        else:
            found.append(inner)
            waiting += [item for predicate in _LOGICAL for item in _values(inner, predicate)]
    return found


_LOGICAL = (Sh.or_, Sh.and_, Sh.xone, Sh.not_)


_PATHS = {Sh.alternativePath, Sh.zeroOrMorePath, Sh.oneOrMorePath, Sh.zeroOrOnePath}


def _refuse_unusable(subject: str, members: _Members) -> None:
    for predicate, what in _REFUSED.items():
        if predicate in members:
            raise MalformedShapes(f"<{subject}> uses {what}, which the gate does not run yet")
    for datatype in _values(members, Sh.datatype):
        if datatype in _UNMEETABLE:
            raise MalformedShapes(
                f"<{subject}> asks for sh:datatype <{datatype}>, which no value can have here: the"
                f" graph keeps such values as <{_UNMEETABLE[datatype]}>; ask for that, and bound it"
                " with sh:minInclusive and sh:maxInclusive"
            )


def _values(members: _Members, predicate: str) -> list[str]:
    return [item.value for item in members.get(predicate, [])]


def _subjects(quads: Iterable[Quad]) -> Iterator[NamedNode]:
    for quad in quads:
        if isinstance(quad.subject, NamedNode):
            yield quad.subject


def _ntriples(quads: Iterable[Quad]) -> bytes:
    lines = {f"{q.subject} {q.predicate} {q.object} .\n" for q in quads}
    return "".join(lines).encode()
