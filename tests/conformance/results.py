"""Reads query results in every format that the suites use, and holds an answer against them.

Invariant: an answer passes as it is, or passes once literals are in the store's form, or does not
pass; nothing else is forgiven. The order of rows counts where the query or the expected result
gives one; the order of columns counts in CSV and TSV, where the query names its columns.
Specifications: https://www.w3.org/TR/sparql11-results-json/ ,
https://www.w3.org/TR/rdf-sparql-XMLres/ , https://www.w3.org/TR/sparql11-results-csv-tsv/ and
https://www.w3.org/2001/sw/DataAccess/tests/result-set (tables as graphs)
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, replace
from pathlib import Path

from pyoxigraph import (
    BlankNode,
    Literal,
    NamedNode,
    Quad,
    QueryBoolean,
    QueryResultsFormat,
    RdfFormat,
    parse,
    parse_query_results,
)

from tests.conformance.cases import Mismatch, OnlyNormalised
from tests.conformance.manifest import RDF, Description, Suite
from tests.conformance.terms import (
    Row,
    Term,
    same_graph,
    same_rows,
    stored,
    stored_row,
    stored_triple,
)

XSD = "http://www.w3.org/2001/XMLSchema#"
RS = "http://www.w3.org/2001/sw/DataAccess/tests/result-set#"

_FORMATS = {
    ".srx": QueryResultsFormat.XML,
    ".srj": QueryResultsFormat.JSON,
    ".tsv": QueryResultsFormat.TSV,
}
MEDIA_TYPES = {
    ".srx": "application/sparql-results+xml",
    ".srj": "application/sparql-results+json",
    ".tsv": "text/tab-separated-values",
    ".csv": "text/csv",
}
"""The media type to ask for, by the name of the expected result."""

_SUFFIXES = {kind: suffix for suffix, kind in MEDIA_TYPES.items()}
_GRAPHS = {"text/turtle": RdfFormat.TURTLE, "application/n-triples": RdfFormat.N_TRIPLES}

_ORDER = re.compile(r"\border\s+by\b", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?P<exponent>[eE][+-]?\d+)?\Z", re.ASCII)
_STAR = re.compile(r"\bselect\s+(?:distinct\s+|reduced\s+)?\*", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """Solutions; ``ordered`` says that their order is a part of the result, ``positions`` that the
    order of its columns is one of the format."""

    columns: tuple[str, ...]
    rows: list[Row]
    ordered: bool = False
    positions: bool = False


Results = Table | bool | list[Quad]
"""A table, the answer of ASK, or a graph."""


def read_table(data: bytes, suffix: str) -> Table | bool:
    """Results in one of the formats of SPARQL."""
    if suffix == ".csv":
        return _csv(data.decode("utf-8"))
    found = parse_query_results(data, format=_FORMATS[suffix])
    if isinstance(found, QueryBoolean):
        return bool(found)
    columns = tuple(variable.value for variable in found.variables)
    rows: list[Row] = []
    for solution in found:
        row = {name: solution[name] for name in columns}
        rows.append({name: term for name, term in row.items() if term is not None})
    return Table(columns, rows, positions=suffix == ".tsv")


def _csv(text: str) -> Table:
    """Every cell but a blank node is text: CSV does not tell IRIs from literals."""
    columns, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    for line in lines:
        if len(line) != len(columns):
            raise Mismatch(f"a CSV line with {len(line)} cells below {len(columns)} columns")
        rows.append(
            {
                name: BlankNode(cell[2:]) if cell.startswith("_:") else Literal(cell)
                for name, cell in zip(columns, line, strict=True)
                if cell
            }
        )
    return Table(tuple(columns), rows, positions=True)


def read_expected(suite: Suite, path: Path, query: str) -> Results:
    """The expected result of a query."""
    if path.suffix in MEDIA_TYPES:
        found = read_table(path.read_bytes(), path.suffix)
        if isinstance(found, Table) and _ORDER.search(query):
            return replace(found, ordered=True)
        return found
    quads = suite.quads(path)
    description = Description(quads)
    sets = description.subjects(RDF + "type", NamedNode(RS + "ResultSet"))
    if not sets:
        return quads
    (node,) = sets
    answer = description.text(node, RS + "boolean")
    if answer is not None:
        return answer == "true"
    columns = [
        value.value
        for value in description.values(node, RS + "resultVariable")
        if isinstance(value, Literal)
    ]
    places: list[tuple[int, Row]] = []
    for solution in description.values(node, RS + "solution"):
        row: dict[str, NamedNode | BlankNode | Literal] = {}
        for binding in description.values(solution, RS + "binding"):
            name = description.text(binding, RS + "variable")
            term = description.value(binding, RS + "value")
            assert name is not None
            assert isinstance(term, NamedNode | BlankNode | Literal)
            row[name] = term
        place = description.text(solution, RS + "index")
        places.append((int(place) if place is not None else -1, row))
    ordered = bool(places) and all(place >= 0 for place, _ in places)
    places.sort(key=lambda pair: pair[0])
    return Table(tuple(columns), [row for _, row in places], ordered)


def media_types(expected: Results, path: Path) -> list[str]:
    """What to ask for: the format of the expected result, and the others that lose nothing."""
    if isinstance(expected, list):
        return list(_GRAPHS)
    if path.suffix == ".csv":
        return [MEDIA_TYPES[".csv"]]
    others = (".srx", ".srj") if isinstance(expected, bool) else (".srx", ".srj", ".tsv")
    own = [path.suffix] if path.suffix in MEDIA_TYPES else []
    return [MEDIA_TYPES[suffix] for suffix in dict.fromkeys((*own, *others))]


def hold_against(
    expected: Results, body: bytes, content_type: str, query: str, *, lax: bool = False
) -> None:
    """Raises :class:`Mismatch` or :class:`OnlyNormalised` unless an answer is as expected."""
    try:
        if isinstance(expected, list):
            _hold_graph(expected, list(parse(body, format=_GRAPHS[content_type])))
            return
        suffix = _SUFFIXES[content_type]
        found = read_table(body, suffix)
    except KeyError as error:
        raise Mismatch(f"an answer in {content_type}") from error
    except (SyntaxError, ValueError, csv.Error) as error:
        raise Mismatch(f"an answer that can't be read as {content_type}: {error}") from error
    if isinstance(expected, bool) or isinstance(found, bool):
        if expected != found:
            raise Mismatch(f"{_shown(found)} instead of {_shown(expected)}")
        return
    by_position = expected.positions and found.positions and not _STAR.search(query)
    if (
        expected.columns != found.columns
        if by_position
        else set(expected.columns) != set(found.columns)
    ):
        raise Mismatch(f"the columns {' '.join(found.columns)}")
    if same_rows(expected.rows, found.rows, ordered=expected.ordered, lax=lax):
        return
    normalised = _stored_text_row if suffix == ".csv" else stored_row
    if same_rows(
        [normalised(row) for row in expected.rows],
        [normalised(row) for row in found.rows],
        ordered=expected.ordered,
        lax=lax,
    ):
        raise OnlyNormalised(_differing(expected.rows, found.rows))
    raise Mismatch(f"{_shown(found)} instead of {_shown(expected)}")


def _stored_text_row(row: Row) -> dict[str, Term]:
    """As :func:`stored_row`; CSV has no datatypes, so what looks like a number is taken for one."""
    return {name: _stored_number(term) for name, term in row.items()}


def _stored_number(term: Term) -> Term:
    match = _NUMBER.match(term.value) if isinstance(term, Literal) else None
    if match is None:
        return term
    kind = "double" if match["exponent"] else "decimal"
    number = stored(Literal(match[0], datatype=NamedNode(XSD + kind)))
    assert isinstance(number, Literal)
    return Literal(number.value)


def _hold_graph(expected: list[Quad], found: list[Quad]) -> None:
    if same_graph(expected, found):
        return
    if same_graph(map(stored_triple, expected), map(stored_triple, found)):
        raise OnlyNormalised("literals in the store's form")
    raise Mismatch(f"another graph, of {len(found)} triples instead of {len(expected)}")


def _differing(expected: list[Row], found: list[Row]) -> str:
    """The literals that only one of the two has, as an illustration."""

    def literals(rows: list[Row]) -> dict[str, None]:
        return dict.fromkeys(
            str(term) for row in rows for term in row.values() if isinstance(term, Literal)
        )

    wanted, got = literals(expected), literals(found)
    missing = [text for text in wanted if text not in got]
    new = [text for text in got if text not in wanted]
    return f"{' '.join(new[:3])} instead of {' '.join(missing[:3])}"


def _shown(results: Results) -> str:
    if isinstance(results, bool):
        return str(results).lower()
    if isinstance(results, list):
        return f"a graph of {len(results)} triples"
    rows = [
        "{" + ", ".join(f"{name}={term}" for name, term in row.items()) + "}"
        for row in results.rows[:4]
    ]
    more = f" and {len(results.rows) - 4} more" if len(results.rows) > 4 else ""
    return f"{len(results.rows)} rows: {' '.join(rows)}{more}"
