"""The engines, and the one form in which their results are compared.

Invariant: a result is (focus, path, value, shape, severity, component) in N-Triples form. A path is
told where it is a single predicate. Literals are compared in their canonical form where they have
one, since engines write the same number in their own ways.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import rdflib
import shifty
from pyoxigraph import BlankNode, Literal, NamedNode, RdfFormat, Triple, parse

from ontology.errors import IllTypedLiteral
from ontology.literals import canonical_literal
from shapes.reference import ReferenceShapes
from shapes.report import Report
from tests.shapes.oracle.oracle_cases import ntriples
from tests.shapes.oracle.oracle_shapes import PATH_PREFIX
from tests.shapes.oracle.oracle_terms import SH, E, Term


class Row(NamedTuple):
    """One result."""

    focus: str
    path: str | None
    value: str | None
    shape: str
    severity: str
    component: str


Rows = frozenset[Row]


def anonymous(found: Rows) -> Rows:
    """Without the labels of blank nodes, which engines choose."""
    return frozenset(
        item._replace(focus=_unlabelled(item.focus), value=item.value and _unlabelled(item.value))
        for item in found
    )


def _unlabelled(text: str) -> str:
    return "_:" if text.startswith("_:") else text


def rows(report: Report) -> Rows:
    """The results of a report of ours."""
    return frozenset(
        Row(
            canonical(result.focus),
            _path(result.path),
            None if result.value is None else canonical(result.value),
            result.shape,
            result.severity,
            result.component.strip("<>").rpartition("#")[2],
        )
        for result in report.results
    )


def pyshacl_rows(shapes: Iterable[Triple], data: Iterable[Triple]) -> Rows:
    """What pySHACL says of a graph. Raises :class:`shapes.errors.MalformedShapes`."""
    with _quiet():
        return rows(ReferenceShapes(ntriples(shapes)).run(ntriples(data)))


@contextmanager
def _quiet() -> Iterator[None]:
    """rdflib tells of every literal that is ill-typed."""
    log = logging.getLogger("rdflib.term")
    with warnings.catch_warnings(), patch.object(log, "disabled", True):
        warnings.simplefilter("ignore")
        yield


def second_rows(shapes: Iterable[Triple], data: Iterable[Triple]) -> Rows | None:
    """What pyshifty says of a graph; ``None`` where it has nothing to say."""
    given = ntriples(map(_with_blank_parts, shapes))
    # The report comes as an rdflib graph; literals are to keep the form they have in it.
    with patch.object(rdflib, "NORMALIZE_LITERALS", False), _quiet():
        try:
            _, found, _ = shifty.validate(
                ntriples(data), shacl_graph=given, infer=False, graph_mode="data"
            )
        except (ValueError, RuntimeError):
            return None
        text = found.serialize(format="nt")
    members: dict[str, dict[str, Term]] = {}
    for quad in parse(text.encode(), format=RdfFormat.N_TRIPLES):
        assert not isinstance(quad.object, Triple)
        name = quad.predicate.value.removeprefix(SH)
        members.setdefault(str(quad.subject), {})[name] = quad.object
    return frozenset(_second_row(item) for item in members.values() if "focusNode" in item)


def _with_blank_parts(triple: Triple) -> Triple:
    """With blank nodes for the parts of paths: to anybody else an IRI is a predicate path."""
    subject, value = triple.subject, triple.object
    assert not isinstance(subject, Triple)
    assert not isinstance(value, Triple)
    return Triple(_part(subject), triple.predicate, _part(value))


def _part(term: Term) -> Any:
    if isinstance(term, NamedNode) and term.value.startswith(E + PATH_PREFIX):
        return BlankNode(term.value.removeprefix(E))
    return term


def _second_row(item: dict[str, Term]) -> Row:
    value = item.get("value")
    return Row(
        canonical(str(item["focusNode"])),
        _path(str(item["resultPath"])) if "resultPath" in item else None,
        None if value is None else canonical(str(value)),
        str(item["sourceShape"]),
        item["resultSeverity"].value.removeprefix(SH),
        item["sourceConstraintComponent"].value.rpartition("#")[2],
    )


def _path(text: str | None) -> str | None:
    if text is None or not text.startswith("<") or text.startswith(f"<{E}{PATH_PREFIX}"):
        return None
    return text if text.count("<") == 1 and text.endswith(">") else None


def canonical(text: str) -> str:
    """A term's N-Triples form, its literal canonical where it can be."""
    if not text.startswith('"'):
        return text
    quad = next(iter(parse(f"<x:s> <x:p> {text} .".encode(), format=RdfFormat.N_TRIPLES)))
    assert isinstance(quad.object, Literal)
    try:
        return str(canonical_literal(quad.object))
    except IllTypedLiteral:
        return text
