"""How far the shapes look from a focus node, read off the shapes themselves.

Invariant: ``local`` is said only of shapes whose verdict on a node follows from its own quads, the
quads that lead to it by ``inverse`` paths, and the types of the nodes at the other end. What the
gate cannot run, or could never be met, is refused by name.
Specification: https://www.w3.org/TR/shacl/
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pyoxigraph import Literal, NamedNode, Quad

from ontology.vocab import Rdf, Sh
from shapes.errors import MalformedShapes
from shapes.overlay import Term, node

_SH = "http://www.w3.org/ns/shacl#"
_XSD = "http://www.w3.org/2001/XMLSchema#"

_REFUSED = {
    _SH + name: what
    for what, names in {
        "SPARQL-based constraints": ("sparql", "select", "ask", "construct", "update"),
        "JavaScript constraints": ("js", "jsFunctionName", "jsLibrary"),
        "SHACL rules": ("rule",),
        "custom targets": ("target",),
        "expression constraints": ("expression",),
        "entailment": ("entailment",),
        "constraint components of its own": (
            *("parameter", "validator", "nodeValidator", "propertyValidator"),
        ),
    }.items()
    for name in names
}
# The store keeps every integer as xsd:integer, so a shape that asks for these can't be met.
_UNMEETABLE = {
    _XSD + name: _XSD + "integer"
    for name in (
        *("int", "long", "short", "byte", "nonNegativeInteger", "positiveInteger"),
        *("nonPositiveInteger", "negativeInteger"),
        *("unsignedInt", "unsignedLong", "unsignedShort", "unsignedByte"),
    )
} | {_XSD + "dateTimeStamp": _XSD + "dateTime"}

_LISTS = (Sh.or_, Sh.and_, Sh.xone)
_ONE_BY_ONE = (Sh.not_, Sh.node, Sh.qualifiedValueShape)
# Constraints that read other quads of the node they are asked of.
_OF_OWN_QUADS = frozenset({_SH + n for n in ("closed", "equals", "disjoint", "lessThan")}) | {
    _SH + "lessThanOrEquals"
}
_TARGETS = (Sh.targetClass, Sh.targetNode, Sh.targetSubjectsOf, Sh.targetObjectsOf)
_PLAIN_TYPES = frozenset({Sh.NodeShape, Sh.PropertyShape})

MAX_NESTING = 24
"""Shapes inside shapes; below what the reference engine can follow."""

Members = dict[str, list[Term]]


@dataclass
class Reach:
    """Where a set of shapes looks.

    ``typed`` are the predicates whose values' types matter, ``inversely_typed`` those whose
    subjects' types do; ``inverse`` those followed backwards.
    """

    local: bool = True
    target_classes: set[str] = field(default_factory=set)
    target_nodes: set[str] = field(default_factory=set)
    target_subjects: set[str] = field(default_factory=set)
    target_objects: set[str] = field(default_factory=set)
    inverse: set[str] = field(default_factory=set)
    typed: set[str] = field(default_factory=set)
    inversely_typed: set[str] = field(default_factory=set)


def read_reach(quads: Iterable[Quad]) -> Reach:
    """The reach of these shapes. Raises :class:`MalformedShapes` for what cannot be run."""
    about: dict[str, Members] = {}
    for quad in quads:
        subject = node(quad.subject)
        members = about.setdefault(subject.value, {})
        members.setdefault(quad.predicate.value, []).append(node(quad.object))
    return _Reader(about).read()


class _Reader:
    def __init__(self, about: dict[str, Members]) -> None:
        self._about = about
        self._reach = Reach()
        self._seen: set[tuple[str, str | None, bool]] = set()
        self._open: list[str] = []

    def read(self) -> Reach:
        reach = self._reach
        for subject, members in self._about.items():
            _refuse_unusable(subject, members)
            self._targets(subject, members)
        referred = {inner for subject in self._about for inner in self._inner(subject)}
        for subject, members in sorted(self._about.items()):
            if subject not in referred or any(target in members for target in _TARGETS):
                self._walk(subject, None, False)
        # Shapes that refer to each other in a ring have no beginning to walk from.
        for subject in sorted(referred):
            if not any(seen[0] == subject for seen in self._seen):
                self._walk(subject, None, False)
        return reach

    def _targets(self, subject: str, members: Members) -> None:
        reach = self._reach
        reach.target_classes.update(_values(members, Sh.targetClass))
        reach.target_nodes.update(_values(members, Sh.targetNode))
        reach.target_subjects.update(_values(members, Sh.targetSubjectsOf))
        reach.target_objects.update(_values(members, Sh.targetObjectsOf))
        if any(isinstance(item, Literal) for item in members.get(Sh.targetNode, ())):
            reach.local = False
        types = set(_values(members, Rdf.type))
        if types & _PLAIN_TYPES and types - _PLAIN_TYPES:
            # A shape that is a class too targets its own instances.
            reach.target_classes.add(subject)

    def _inner(self, subject: str) -> list[str]:
        """The shapes that a shape refers to."""
        members = self._about.get(subject, {})
        found = _values(members, Sh.property)
        for predicate in _ONE_BY_ONE:
            found += _values(members, predicate)
        for predicate in _LISTS:
            for head in _values(members, predicate):
                found += self._list(head)
        return found

    def _list(self, head: str) -> list[str]:
        items: list[str] = []
        passed: set[str] = set()
        while head != Rdf.nil and head not in passed:
            passed.add(head)
            members = self._about.get(head, {})
            items += _values(members, Rdf.first)
            head = next(iter(_values(members, Rdf.rest)), Rdf.nil)
        return items

    def _walk(self, shape: str, path: str | None, backwards: bool) -> None:
        """Reads one shape, asked of the focus node, or of what ``path`` leads to from there."""
        if shape in self._open:
            ring = " -> ".join(f"<{item}>" for item in (*self._open, shape))
            raise MalformedShapes(
                f"the shapes refer to themselves ({ring}), which SHACL leaves undefined: break the"
                " ring"
            )
        if len(self._open) == MAX_NESTING:
            raise MalformedShapes(f"<{shape}> is nested more than {MAX_NESTING} shapes deep")
        if (shape, path, backwards) in self._seen:
            return
        self._seen.add((shape, path, backwards))
        members = self._about.get(shape, {})
        self._open.append(shape)
        step, back = self._step(members)
        if path is not None and (step is not None or _OF_OWN_QUADS & set(members)):
            self._reach.local = False
        if step is not None:
            path, backwards = step, back
        if path is not None and Sh.class_ in members:
            (self._reach.inversely_typed if backwards else self._reach.typed).add(path)
        for inner in self._inner(shape):
            self._walk(inner, path, backwards)
        self._open.pop()

    def _step(self, members: Members) -> tuple[str | None, bool]:
        """The predicate a property shape follows, and whether backwards."""
        for path in _values(members, Sh.path):
            parts = self._about.get(path, {})
            turned = _values(parts, Sh.inversePath)
            if turned and not set(parts) - {Sh.inversePath} and turned[0] not in self._about:
                self._reach.inverse.add(turned[0])
                return turned[0], True
            if turned or set(parts) & _PATHS:
                self._reach.local = False
            return path, False
        return None, False


_PATHS = {
    *(Sh.alternativePath, Sh.zeroOrMorePath, Sh.oneOrMorePath, Sh.zeroOrOnePath),
    *(Rdf.first, Rdf.rest),
}


def _refuse_unusable(subject: str, members: Members) -> None:
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
    for flags in _values(members, _SH + "flags"):
        if set(flags) - set("im"):
            raise MalformedShapes(f'<{subject}> has sh:flags "{flags}": "i" and "m" are taken')
    for pattern in _values(members, Sh.pattern):
        try:
            re.compile(python_pattern(pattern))
        except re.error as error:
            raise MalformedShapes(
                f'the sh:pattern "{pattern}" of <{subject}> is no regular expression: {error}'
            ) from error


def python_pattern(pattern: str) -> str:
    """An XPath regular expression as Python reads it: there, ``$`` lets a newline follow."""
    out, escaped, in_class = "", False, False
    for character in pattern:
        if escaped or character not in "[]$\\":
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "$":
            character = character if in_class else r"\Z"
        else:
            in_class = character == "["
        out += character
    return out


def _values(members: Members, predicate: str) -> list[str]:
    return [item.value for item in members.get(predicate, [])]


def iris(terms: Iterable[Term]) -> set[NamedNode]:
    """Those of these terms that are IRIs."""
    return {term for term in terms if isinstance(term, NamedNode)}
