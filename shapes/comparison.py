"""SPARQL's ``<`` and ``<=`` between two terms, as SHACL's range and order constraints ask for them.

Invariant: what SPARQL cannot compare is neither less nor equal. Numbers, strings and truth values
are compared here; times and durations by the store's own engine, so that a shape and a query never
disagree.
Specification: https://www.w3.org/TR/sparql11-query/#OperatorMapping
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from pyoxigraph import Literal, QueryBoolean

from ontology.errors import IllTypedLiteral, UnsupportedTerm
from ontology.literals import canonical_literal
from ontology.store import open_memory
from shapes.view import Node

XSD = "http://www.w3.org/2001/XMLSchema#"
INTEGERS = frozenset(
    XSD + name
    for name in (
        *("integer", "long", "int", "short", "byte", "nonNegativeInteger", "positiveInteger"),
        *("nonPositiveInteger", "negativeInteger", "unsignedLong", "unsignedInt"),
        *("unsignedShort", "unsignedByte"),
    )
)
_FLOATING = frozenset({XSD + "float", XSD + "double"})

Value = int | Decimal | float | str | bool


def less(left: Node, right: Node) -> bool:
    """Whether ``left < right``; false where they cannot be compared."""
    return _compared(left, right, "<")


def at_most(left: Node, right: Node) -> bool:
    """Whether ``left <= right``; false where they cannot be compared."""
    return _compared(left, right, "<=")


def _compared(left: Node, right: Node, operator: str) -> bool:
    if not isinstance(left, Literal) or not isinstance(right, Literal):
        return False
    first, second = _value(left), _value(right)
    if first is None or second is None:
        return first is None and second is None and _by_the_engine(left, right, operator)
    if (isinstance(first, str), isinstance(first, bool)) != (
        isinstance(second, str),
        isinstance(second, bool),
    ):
        return False
    if isinstance(first, float) or isinstance(second, float):
        first, second = float(first), float(second)
    # The two are of one kind by now, which the type checker cannot see.
    return bool(first < second if operator == "<" else first <= second)  # type: ignore[operator]


@lru_cache(maxsize=65536)
def _value(literal: Literal) -> Value | None:
    """The Python value of a number, a string or a truth value; ``None`` for anything else."""
    if literal.language is not None:
        return None
    datatype = literal.datatype.value
    if datatype == XSD + "string":
        return literal.value
    try:
        text = canonical_literal(literal).value
    except (IllTypedLiteral, UnsupportedTerm):
        return None
    if datatype in INTEGERS:
        return int(text)
    if datatype == XSD + "decimal":
        return Decimal(text)
    if datatype in _FLOATING:
        return float(text.replace("INF", "inf"))
    if datatype == XSD + "boolean":
        return text == "true"
    return None


_ENGINE = open_memory()


@lru_cache(maxsize=65536)
def _by_the_engine(left: Literal, right: Literal, operator: str) -> bool:
    if left.language is not None or right.language is not None:
        return False
    answer = _ENGINE.query(f"ASK {{ FILTER({left} {operator} {right}) }}")
    assert isinstance(answer, QueryBoolean)
    return bool(answer)
