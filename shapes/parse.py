"""Shapes, read from their graph; what is not well formed is named before anything runs.

Invariant: what comes out can be run; every fault found is told, each with its subject. Shapes that
refer to themselves are refused, since SHACL leaves their meaning open.
Specification: https://www.w3.org/TR/shacl/#syntax-rules
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import TypeVar

from pyoxigraph import BlankNode, Literal, NamedNode, Quad, Triple

from ontology.vocab import Rdf, Sh
from shapes import value_tests as tests
from shapes.comparison import INTEGERS
from shapes.errors import MalformedShapes
from shapes.model import (
    Closed,
    Combined,
    Compared,
    Constraint,
    Count,
    HasValue,
    InstanceOf,
    Nested,
    Qualified,
    Shape,
    Target,
    TargetKind,
    UniqueLanguages,
    ValueTest,
)
from shapes.parameter_values import Parameters, short
from shapes.parameters import KIND_WORDS, PATHS, RANGES, SH, TERMS
from shapes.paths import Chain, Either, Path, Predicate
from shapes.shape_graph import Fault, ShapeGraph
from shapes.sparql_shapes import SparqlShapes
from shapes.view import Node

_XSD = "http://www.w3.org/2001/XMLSchema#"
# The store keeps every integer as xsd:integer, so a shape that asks for these can't be met.
_UNMEETABLE = dict.fromkeys(INTEGERS - {_XSD + "integer"}, _XSD + "integer") | {
    _XSD + "dateTimeStamp": _XSD + "dateTime"
}
MAX_NESTING = 50
"""Shapes inside shapes."""
MAX_PATH = 100
"""Steps of one path."""
MAX_FAULTS = 10
"""Faults told at once."""

_TARGETS = {
    Sh.targetClass: TargetKind.CLASS,
    Sh.targetNode: TargetKind.NODE,
    Sh.targetSubjectsOf: TargetKind.SUBJECTS_OF,
    Sh.targetObjectsOf: TargetKind.OBJECTS_OF,
}
_REFERRING = (Sh.node, Sh.property, Sh.not_, Sh.qualifiedValueShape)
_LISTING = (Sh.and_, Sh.or_, Sh.xone)
_PARAMETERS = frozenset(
    (
        *_REFERRING,
        *_LISTING,
        *(Sh.class_, Sh.datatype, Sh.nodeKind, Sh.minCount, Sh.maxCount, Sh.in_, Sh.hasValue),
        *(Sh.minExclusive, Sh.minInclusive, Sh.maxExclusive, Sh.maxInclusive, Sh.pattern),
        *(Sh.minLength, Sh.maxLength, Sh.languageIn, Sh.uniqueLang, Sh.closed),
        *(Sh.equals, Sh.disjoint, Sh.lessThan, Sh.lessThanOrEquals),
    )
)
_PROPERTY_ONLY = (
    *(Sh.minCount, Sh.maxCount, Sh.uniqueLang, Sh.lessThan, Sh.lessThanOrEquals),
    Sh.qualifiedValueShape,
)
_UNSUPPORTED = {
    SH + "js": "JavaScript constraints",
    SH + "rule": "SHACL rules",
    SH + "expression": "expression constraints",
    SH + "entailment": "entailment",
}


@dataclass(frozen=True)
class ShapesGraph:
    """The shapes that have targets, and how many there are in all."""

    targeted: tuple[Shape, ...]
    count: int


def read_shapes(quads: Iterable[Quad | Triple], *, strict: bool = False) -> ShapesGraph:
    """Raises :class:`MalformedShapes`, which names each subject and what is wrong with it.

    ``strict`` refuses what the specification lets pass and nobody means: a path that says two
    things at once (its list is what counts otherwise), a count of values that says not of which,
    a datatype that the graph never holds.
    """
    return _Reader(ShapeGraph(quads), strict).read()


_Read = TypeVar("_Read")


class _Reader:
    def __init__(self, graph: ShapeGraph, strict: bool) -> None:
        self._graph = graph
        self._ask = Parameters(graph)
        self._strict = strict
        self._sparql = SparqlShapes(graph, strict)
        self._shapes: dict[Node, Shape] = {}
        self._open: list[Node] = []
        self._faults: dict[str, None] = {}
        self._parents: dict[Node, list[Node]] = {}
        for subject in graph.having(Sh.property):
            for value in graph.values(subject, Sh.property):
                self._parents.setdefault(value, []).append(subject)

    def read(self) -> ShapesGraph:
        graph = self._graph
        for predicate, what in _UNSUPPORTED.items():
            for subject in graph.having(predicate):
                self._note(subject, f"uses {what}, which the gate does not run")
        for subject in self._sparql.declared():
            self._guarded(subject, partial(self._sparql.add_component, subject))
        if self._strict:
            self._note_misspelt()
        for subject in self._subjects():
            shape = self._shape(subject)
            if shape is not None:
                targets = self._guarded(subject, partial(self._targets, subject))
                shape.targets = tuple(targets or ())
        if self._faults:
            raise _malformed(list(self._faults))
        targeted = [shape for shape in self._shapes.values() if shape.targets]
        return ShapesGraph(tuple(targeted), len(self._shapes))

    def _note_misspelt(self) -> None:
        for predicate in sorted(self._graph.predicates()):
            if predicate.startswith(SH) and predicate not in TERMS:
                near = get_close_matches(predicate, TERMS, 1)
                hint = f"; did you mean {short(near[0])}?" if near else ""
                for subject in self._graph.having(predicate):
                    self._note(subject, f"has {short(predicate)}, which SHACL does not know{hint}")

    def _subjects(self) -> list[Node]:
        """Everything that is a shape, in the order of its text, so that reports never vary."""
        graph = self._graph
        found: set[Node] = set()
        for kind in (Sh.NodeShape, Sh.PropertyShape):
            found.update(graph.instances(kind))
        for predicate in (*_TARGETS, *_PARAMETERS, Sh.target, Sh.sparql):
            found.update(graph.having(predicate))
        found |= self._sparql.users()
        for predicate in _REFERRING:
            for subject in graph.having(predicate):
                found.update(graph.values(subject, predicate))
        for predicate in _LISTING:
            for subject in graph.having(predicate):
                for head in graph.values(subject, predicate):
                    found.update(graph.list(head) or ())
        return sorted(found, key=str)

    # --- one shape

    def _shape(self, subject: Node) -> Shape | None:
        """The shape of this node; ``None`` when it has faults, which are noted."""
        if subject in self._open:
            ring = " -> ".join(map(str, (*self._open[self._open.index(subject) :], subject)))
            self._faults[
                f"the shapes refer to themselves ({ring}), which SHACL leaves undefined: break the"
                " ring"
            ] = None
            return None
        if subject in self._shapes:
            return self._shapes[subject]
        if len(self._open) == MAX_NESTING:
            self._note(subject, f"is nested more than {MAX_NESTING} shapes deep")
            return None
        faults = len(self._faults)
        self._open.append(subject)
        shape = self._guarded(subject, partial(self._bare, subject))
        if shape is not None:
            for reader in (
                self._value_types,
                self._ranges,
                self._texts,
                self._counts,
                self._pairs,
                self._others,
                self._references,
                self._qualified,
                self._sparql.constraints,
            ):
                shape.constraints += self._guarded(subject, partial(_all, reader, shape)) or ()
        self._open.pop()
        if shape is None or len(self._faults) > faults:
            return None
        self._shapes[subject] = shape
        return shape

    def _guarded(self, subject: Node, read: Callable[[], _Read]) -> _Read | None:
        try:
            return read()
        except Fault as fault:
            self._note(subject, str(fault))
            return None

    def _note(self, subject: Node, fault: str) -> None:
        self._faults[f"{subject} {fault}"] = None

    def _bare(self, subject: Node) -> Shape:
        if isinstance(subject, Literal):
            raise Fault("is used as a shape and is a literal")
        paths = self._graph.values(subject, Sh.path)
        if len(paths) > 1:
            raise Fault("has more than one sh:path")
        if not paths and subject in self._graph.instances(Sh.PropertyShape):
            raise Fault("is a sh:PropertyShape and has no sh:path")
        if paths and subject in self._graph.instances(Sh.NodeShape):
            raise Fault("is a sh:NodeShape and has a sh:path: it can only be one of the two kinds")
        if not paths:
            for predicate in _PROPERTY_ONLY:
                if self._graph.values(subject, predicate):
                    raise Fault(f"has no sh:path, which {short(predicate)} needs")
        severity = self._ask.one(subject, Sh.severity, NamedNode, "an IRI")
        messages = self._graph.values(subject, Sh.message)
        texts = [item for item in messages if isinstance(item, Literal)]
        if len(texts) < len(messages):
            raise Fault("has a sh:message that is no text")
        return Shape(
            subject,
            self._path(paths[0]) if paths else None,
            severity.value.removeprefix(SH) if severity is not None else "Violation",
            tuple(sorted(texts, key=str)),
            self._ask.flag(subject, Sh.deactivated),
        )

    def _targets(self, subject: Node) -> list[Target]:
        found = []
        for predicate, kind in _TARGETS.items():
            for value in self._graph.values(subject, predicate):
                allowed = (
                    (NamedNode, Literal) if kind is TargetKind.NODE else (NamedNode, BlankNode)
                )
                if not isinstance(value, allowed):
                    raise Fault(f"has a {short(predicate)} that is {_named(value)}: {value}")
                found.append(Target(kind, value))
        for value in self._graph.values(subject, Sh.target):
            found.append(Target(TargetKind.QUERY, value, self._sparql.target(value)))
        if subject in self._graph.shape_classes() and not isinstance(subject, Literal):
            found.append(Target(TargetKind.CLASS, subject))
        return found

    # --- paths

    def _path(self, node: Node, depth: int = 0) -> Path:
        graph = self._graph
        if depth > MAX_PATH:
            raise Fault(f"has a sh:path of more than {MAX_PATH} steps inside each other")
        found: list[Path] = []
        if graph.values(node, Rdf.first) or graph.values(node, Rdf.rest):
            found.append(Chain(self._members(node, depth)))
        if self._strict or not found:
            for predicate, build in PATHS.items():
                for value in graph.values(node, predicate):
                    found.append(build(self._path(value, depth + 1)))
            for value in graph.values(node, Sh.alternativePath):
                found.append(Either(self._members(value, depth)))
        if len(found) > 1:
            raise Fault("has a sh:path that says two things at once")
        if found:
            return found[0]
        if not isinstance(node, NamedNode):
            raise Fault(f"has a sh:path that is not well formed: {node} is no path")
        return Predicate(node)

    def _members(self, head: Node, depth: int) -> tuple[Path, ...]:
        items = self._graph.list(head)
        if items is None or len(items) < 2:
            raise Fault("has a sh:path with a list that is not well formed: it needs two members")
        return tuple(self._path(item, depth + 1) for item in items)

    # --- what it asks

    def _value_types(self, shape: Shape) -> Iterable[Constraint]:
        subject = shape.node
        for value in self._ask.iris(subject, Sh.class_):
            yield InstanceOf(_component("Class"), value)
        datatype = self._ask.one(subject, Sh.datatype, NamedNode, "an IRI")
        if datatype is not None:
            kept = _UNMEETABLE.get(datatype.value)
            if kept is not None and self._strict:
                raise Fault(
                    f"asks for sh:datatype {datatype}, which no value can have here: the graph"
                    f" keeps such values as <{kept}>; ask for that, and bound it with"
                    " sh:minInclusive and sh:maxInclusive"
                )
            yield _test(
                "Datatype",
                tests.of_datatype(datatype),
                f"be a literal of datatype {datatype}",
                datatype=datatype,
            )
        kind = self._ask.one(subject, Sh.nodeKind, NamedNode, "an IRI")
        if kind is not None:
            if kind.value not in tests.NODE_KINDS:
                kinds = ", ".join(map(short, tests.NODE_KINDS))
                raise Fault(f"has sh:nodeKind {kind}: it is not one of {kinds}")
            words = KIND_WORDS[kind.value]
            yield _test("NodeKind", tests.of_kind(kind.value), f"be {words}", nodeKind=kind)

    def _ranges(self, shape: Shape) -> Iterable[Constraint]:
        for predicate, (name, build, words) in RANGES.items():
            bound = self._ask.one(shape.node, predicate, Literal, "a literal")
            if bound is not None:
                yield _test(name, build(bound), f"be {words} {bound}", **{_local(predicate): bound})

    def _texts(self, shape: Shape) -> Iterable[Constraint]:
        subject, graph = shape.node, self._graph
        shortest = self._ask.number(subject, Sh.minLength)
        if shortest is not None:
            yield _test(
                "MinLength",
                tests.no_shorter_than(shortest),
                f"have at least {_counted(shortest, 'character')}",
                minLength=_integer(shortest),
            )
        longest = self._ask.number(subject, Sh.maxLength)
        if longest is not None:
            yield _test(
                "MaxLength",
                tests.no_longer_than(longest),
                f"have at most {_counted(longest, 'character')}",
                maxLength=_integer(longest),
            )
        flags = self._ask.one(subject, Sh.flags, Literal, "a text")
        for pattern in graph.values(subject, Sh.pattern):
            if not isinstance(pattern, Literal):
                raise Fault(f"has a sh:pattern that is no text: {pattern}")
            try:
                holds = tests.matching(pattern.value, flags.value if flags else "")
            except ValueError as error:
                raise Fault(f"has sh:pattern {pattern} that cannot be used: {error}") from error
            said = f"match the pattern {pattern}"
            yield _test("Pattern", holds, said, [flags] if flags else (), pattern=pattern)
        languages = self._ask.listed(subject, Sh.languageIn)
        if languages is not None:
            ranges = [item.value for item in languages if isinstance(item, Literal)]
            if len(ranges) < len(languages):
                raise Fault("has a sh:languageIn whose members are not all texts")
            words = " or ".join(ranges)
            holds = tests.in_a_language_of(ranges)
            yield _test("LanguageIn", holds, f"be a text in {words}", languages)
        if self._ask.flag(subject, Sh.uniqueLang):
            yield UniqueLanguages(_component("UniqueLang"))

    def _counts(self, shape: Shape) -> Iterable[Constraint]:
        fewest = self._ask.number(shape.node, Sh.minCount)
        if fewest is not None:
            yield Count(_component("MinCount"), fewest, True)
        most = self._ask.number(shape.node, Sh.maxCount)
        if most is not None:
            yield Count(_component("MaxCount"), most, False)

    def _pairs(self, shape: Shape) -> Iterable[Constraint]:
        for predicate in (Sh.equals, Sh.disjoint, Sh.lessThan, Sh.lessThanOrEquals):
            name = _local(predicate)
            for value in self._ask.iris(shape.node, predicate):
                yield Compared(_component(name[0].upper() + name[1:]), value)

    def _others(self, shape: Shape) -> Iterable[Constraint]:
        subject = shape.node
        for value in self._graph.values(subject, Sh.hasValue):
            yield HasValue(_component("HasValue"), value)
        members = self._ask.listed(subject, Sh.in_)
        if members is not None:
            shown = ", ".join(map(str, members[:5])) + (", ..." if len(members) > 5 else "")
            said = f"be one of {shown or 'no value at all'}"
            yield _test("In", tests.one_of(members), said, members)
        if self._ask.flag(subject, Sh.closed):
            yield self._closed(subject)

    def _closed(self, subject: Node) -> Constraint:
        predicates: set[NamedNode] = set()
        for inner in self._graph.values(subject, Sh.property):
            for path in self._graph.values(inner, Sh.path):
                if isinstance(path, NamedNode):
                    predicates.add(path)
        for item in self._ask.listed(subject, Sh.ignoredProperties) or ():
            if not isinstance(item, NamedNode):
                raise Fault("has a sh:ignoredProperties whose members are not all IRIs")
            predicates.add(item)
        return Closed(_component("Closed"), frozenset(predicates))

    def _references(self, shape: Shape) -> Iterable[Constraint]:
        subject = shape.node
        for value in self._graph.values(subject, Sh.property):
            inner = self._shape(value)
            if inner is not None:
                if inner.path is None:
                    raise Fault(f"has a sh:property that has no sh:path: {value}")
                yield Nested(_component("Property"), inner)
        for value in self._graph.values(subject, Sh.node):
            inner = self._shape(value)
            if inner is not None:
                if inner.path is not None:
                    raise Fault(f"has a sh:node that is a property shape: {value}")
                yield Combined(_component("Node"), (inner,), 1, 1)
        for value in self._graph.values(subject, Sh.not_):
            inner = self._shape(value)
            if inner is not None:
                yield Combined(_component("Not"), (inner,), 0, 0)
        for predicate in _LISTING:
            for head in self._graph.values(subject, predicate):
                items = self._graph.list(head)
                if items is None:
                    raise Fault(f"has a {short(predicate)} that is not a well formed list")
                read = [self._shape(item) for item in items]
                shapes = tuple(item for item in read if item is not None)
                if len(shapes) == len(read):
                    fewest = len(shapes) if predicate == Sh.and_ else 1
                    most = 1 if predicate == Sh.xone else len(shapes)
                    name = _local(predicate)
                    yield Combined(_component(name.capitalize()), shapes, fewest, most)

    def _qualified(self, shape: Shape) -> Iterable[Constraint]:
        subject = shape.node
        fewest = self._ask.number(subject, Sh.qualifiedMinCount)
        most = self._ask.number(subject, Sh.qualifiedMaxCount)
        values = self._graph.values(subject, Sh.qualifiedValueShape)
        if self._strict and (fewest is not None or most is not None) and not values:
            raise Fault("counts qualified values and has no sh:qualifiedValueShape")
        if values and fewest is None and most is None:
            raise Fault(
                "has a sh:qualifiedValueShape and neither sh:qualifiedMinCount nor"
                " sh:qualifiedMaxCount"
            )
        disjoint = self._ask.flag(subject, Sh.qualifiedValueShapesDisjoint)
        for value in values:
            inner = self._shape(value)
            brothers = self._sibling_values(subject, value) if disjoint else []
            read = [self._shape(item) for item in brothers]
            siblings = tuple(item for item in read if item is not None)
            if inner is not None and fewest is not None:
                name = _component("QualifiedMinCount")
                yield Qualified(name, inner, siblings, fewest, True)
            if inner is not None and most is not None:
                name = _component("QualifiedMaxCount")
                yield Qualified(name, inner, siblings, most, False)

    def _sibling_values(self, subject: Node, own: Node) -> list[Node]:
        found: set[Node] = set()
        for parent in self._parents.get(subject, ()):
            for brother in self._graph.values(parent, Sh.property):
                found.update(self._graph.values(brother, Sh.qualifiedValueShape))
        return sorted(found - {own}, key=str)


def _all(read: Callable[[Shape], Iterable[Constraint]], shape: Shape) -> list[Constraint]:
    return list(read(shape))


def _component(name: str) -> str:
    return f"{SH}{name}ConstraintComponent"


def _test(
    name: str,
    holds: tests.Test,
    requirement: str,
    members: Sequence[Node] = (),
    /,
    **parameters: Node,
) -> ValueTest:
    return ValueTest(
        _component(name), holds, requirement, tuple(parameters.items()), tuple(members)
    )


def _integer(number: int) -> Literal:
    return Literal(str(number), datatype=NamedNode(_XSD + "integer"))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _local(iri: str) -> str:
    return iri.removeprefix(SH)


def _named(value: Node) -> str:
    return "a literal" if isinstance(value, Literal) else "a blank node"


def _malformed(faults: list[str]) -> MalformedShapes:
    shown = "; ".join(faults[:MAX_FAULTS])
    more = f"; and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
    return MalformedShapes(f"the shapes are not well formed: {shown}{more}")
