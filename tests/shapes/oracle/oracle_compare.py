"""SPARQL's ``<`` and ``<=`` over two terms, as the operator table has them.

Invariant: ``None`` where the operator has no value for the two terms. Dates are compared too, which
the table leaves to extensions and every engine here does. A time without a time zone is compared
with one that has one where every time zone gives the same answer.
Specification: https://www.w3.org/TR/sparql11-query/#OperatorMapping ,
https://www.w3.org/TR/xmlschema11-2/#dateTime-order
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from rdflib import Literal, URIRef
from rdflib.namespace import XSD
from rdflib.term import Node

_INTEGERS = frozenset(
    URIRef(XSD + name)
    for name in (
        *("integer", "long", "int", "short", "byte", "nonNegativeInteger", "positiveInteger"),
        *("nonPositiveInteger", "negativeInteger"),
        *("unsignedLong", "unsignedInt", "unsignedShort", "unsignedByte"),
    )
)
_EXACT = _INTEGERS | {XSD.decimal}
_FLOATING = frozenset({XSD.double, XSD.float})
_WIDEST = timedelta(hours=14)


def less(left: Node, right: Node, or_equal: bool) -> bool | None:
    """Whether ``left < right``, or ``left <= right``."""
    pair = _comparable(left, right)
    if pair is None:
        return None
    first, second = pair
    if isinstance(first, datetime) and (first.tzinfo is None) != (second.tzinfo is None):
        return _less_in_every_zone(first, second)
    return bool(first <= second) if or_equal else bool(first < second)


def _comparable(left: Node, right: Node) -> tuple[Any, Any] | None:
    if not isinstance(left, Literal) or not isinstance(right, Literal):
        return None
    if left.language or right.language or left.ill_typed or right.ill_typed:
        return None
    kinds = {left.datatype or XSD.string, right.datatype or XSD.string}
    if kinds <= _EXACT:
        return Decimal(str(left)), Decimal(str(right))
    if kinds <= _EXACT | _FLOATING:
        return float(left), float(right)
    if len(kinds) > 1:
        return None
    (kind,) = kinds
    if kind == XSD.string:
        return str(left), str(right)
    if kind == XSD.boolean:
        return str(left) in ("true", "1"), str(right) in ("true", "1")
    if kind == XSD.dateTime:
        return datetime.fromisoformat(str(left)), datetime.fromisoformat(str(right))
    if kind == XSD.date:
        return date.fromisoformat(str(left)), date.fromisoformat(str(right))
    return None


def _less_in_every_zone(first: datetime, second: datetime) -> bool | None:
    zones = (timezone(-_WIDEST), timezone(_WIDEST))
    firsts = [first] if first.tzinfo else [first.replace(tzinfo=zone) for zone in zones]
    seconds = [second] if second.tzinfo else [second.replace(tzinfo=zone) for zone in zones]
    answers = {a < b for a in firsts for b in seconds}
    return answers.pop() if len(answers) == 1 else None
