"""Cases with a name, and how they are held against the specification, us and pySHACL.

Invariant: a case says what SHACL says. Where pySHACL says otherwise, the case names the correction
under which it agrees.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyoxigraph import RdfFormat, Triple, parse
from pyparsing import ParseException

from shapes.errors import ShapesError
from tests.shapes.oracle.oracle_check import ours
from tests.shapes.oracle.oracle_corrections import corrected
from tests.shapes.oracle.oracle_engines import Rows, anonymous, pyshacl_rows
from tests.shapes.oracle.oracle_terms import PREFIXES

_HEAD = "".join(f"@prefix {name}: <{iri}> .\n" for name, iri in PREFIXES.items())


@dataclass(frozen=True)
class Named:
    """``expected`` are the results, as ``focus component value``."""

    shapes: str
    data: str
    expected: frozenset[str]
    correction: str | None = None


def triples(turtle: str) -> frozenset[Triple]:
    return frozenset(quad.triple for quad in parse((_HEAD + turtle).encode(), RdfFormat.TURTLE))


def told(found: Rows) -> frozenset[str]:
    return frozenset(
        " ".join(
            _short(part)
            for part in (row.focus, row.component.removesuffix("ConstraintComponent"), row.value)
            if part is not None
        )
        for row in anonymous(found)
    )


def _short(term: str) -> str:
    for name, iri in PREFIXES.items():
        if term.startswith(f"<{iri}"):
            return f"{name}:{term[len(iri) + 1 : -1]}"
        term = term.replace(f"^^<{iri}", f"^^{name}:<")
    return term.replace(":<", ":").removesuffix(">") if "^^" in term else term


def expecting(*results: str) -> frozenset[str]:
    return frozenset(results)


def told_by_us(case: Named) -> frozenset[str]:
    shapes = triples(case.shapes)
    return told(ours(shapes, triples(case.data)))


def told_by_pyshacl(case: Named, *corrections: str) -> frozenset[str] | None:
    """``None`` where it fails."""
    with corrected(corrections):
        try:
            return told(pyshacl_rows(triples(case.shapes), triples(case.data)))
        except (ArithmeticError, ShapesError, ParseException):
            return None
