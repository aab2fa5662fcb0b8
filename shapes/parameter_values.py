"""The values of a shape's parameters, each of the kind its parameter asks for.

Specification: https://www.w3.org/TR/shacl/#syntax-rules
"""

from __future__ import annotations

from typing import TypeVar

from pyoxigraph import Literal, NamedNode

from shapes import value_tests as tests
from shapes.comparison import INTEGERS, XSD
from shapes.parameters import SH
from shapes.shape_graph import Fault, ShapeGraph
from shapes.view import Node

_Term = TypeVar("_Term", NamedNode, Literal)


class Parameters:
    """Reads parameters from a shapes graph; every method raises :class:`Fault`."""

    def __init__(self, graph: ShapeGraph) -> None:
        self._graph = graph

    def one(self, subject: Node, predicate: str, kind: type[_Term], wanted: str) -> _Term | None:
        """The only value of a parameter; ``wanted`` says in words what it must be."""
        values = self._graph.values(subject, predicate)
        if len(values) > 1:
            raise Fault(f"has more than one {short(predicate)}")
        if not values:
            return None
        value = values[0]
        if not isinstance(value, kind):
            raise Fault(f"has a {short(predicate)} that is not {wanted}: {value}")
        return value

    def iris(self, subject: Node, predicate: str) -> list[NamedNode]:
        """The values of a parameter, which must be IRIs."""
        values = self._graph.values(subject, predicate)
        for value in values:
            if not isinstance(value, NamedNode):
                raise Fault(f"has a {short(predicate)} that is not an IRI: {value}")
        return [value for value in values if isinstance(value, NamedNode)]

    def number(self, subject: Node, predicate: str) -> int | None:
        """An integer."""
        value = self.one(subject, predicate, Literal, "a number")
        if value is None:
            return None
        if value.datatype.value not in INTEGERS or not tests.well_typed(value):
            raise Fault(f"has a {short(predicate)} that is not an integer: {value}")
        return int(value.value)

    def flag(self, subject: Node, predicate: str) -> bool:
        """Whether a parameter is stated and true."""
        value = self.one(subject, predicate, Literal, "true or false")
        if value is None:
            return False
        if value.datatype.value != XSD + "boolean" or not tests.well_typed(value):
            raise Fault(f"has a {short(predicate)} that is neither true nor false: {value}")
        # "1" is another term, and the specification asks for the term.
        return value.value == "true"

    def listed(self, subject: Node, predicate: str) -> list[Node] | None:
        """The members of a list; ``None`` where the parameter is not stated."""
        values = self._graph.values(subject, predicate)
        if not values:
            return None
        if len(values) > 1:
            raise Fault(f"has more than one {short(predicate)}")
        items = self._graph.list(values[0])
        if items is None:
            raise Fault(f"has a {short(predicate)} that is not a well formed list")
        return items


def short(iri: str) -> str:
    """A SHACL IRI with its usual prefix."""
    return "sh:" + iri.removeprefix(SH)
