"""Asking with SPARQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graph_api.cli_query import term_text, with_prefixes
from graph_api.cli_terms import short_iri
from ontology.vocab import FO

RESULTS = "application/sparql-results+json"
XSD = "http://www.w3.org/2001/XMLSchema#"
ROWS = {
    "head": {"vars": ["s", "name", "n"]},
    "results": {
        "bindings": [
            {
                "s": {"type": "uri", "value": FO + "Service"},
                "name": {"type": "literal", "value": "web [bold]\x1b[31m", "xml:lang": "en"},
                "n": {"type": "literal", "value": "4", "datatype": XSD + "integer"},
            },
            {"s": {"type": "uri", "value": "http://x.example/a b"}},
        ]
    },
}


@pytest.mark.parametrize(
    ("text", "prefixed"),
    [
        ("SELECT * { ?s a fo:Service }", ["fo"]),
        ("PREFIX fo: <http://mine/> SELECT * { ?s a fo:Service }", []),
        (
            "# fo: first\nprefix fo: <http://mine/>\nSELECT * { ?s a fo:X ; rdfs:label ?l }",
            ["rdfs"],
        ),
        ("BASE <http://b/> SELECT * { ?s a skos:Concept }", ["skos"]),
        ("SELECT * { ?s ?p ?o }", []),
        ("SELECT * { ?s a info:fo }", []),
        ("SELECT * { ?s fo:a ?o } # PREFIX fo: <x>", ["fo"]),
    ],
)
def test_common_prefixes_are_added_where_they_are_used(text: str, prefixed: list[str]) -> None:
    sent = with_prefixes(text)
    assert sent.endswith(text)
    added = sent.removesuffix(text)
    assert "\n" not in added
    assert [part.partition(":")[0] for part in added.split("PREFIX ")[1:]] == prefixed


@pytest.mark.parametrize(
    ("iri", "short"),
    [
        (FO + "Service", "fo:Service"),
        (FO + "a/b", f"<{FO}a/b>"),
        (FO, f"<{FO}>"),
        ("http://x.example/y", "<http://x.example/y>"),
    ],
)
def test_short_names_can_be_typed_back(iri: str, short: str) -> None:
    assert short_iri(iri) == short


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (None, ""),
        ({"type": "bnode", "value": "b0"}, "_:b0"),
        ({"type": "literal", "value": "x", "datatype": XSD + "date"}, '"x"^^xsd:date'),
        ({"type": "literal", "value": "plain"}, "plain"),
    ],
)
def test_terms(term: dict[str, str] | None, text: str) -> None:
    assert term_text(term) == text


def test_a_select_is_a_table(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    fake.says("POST /sparql", ROWS, media_type=RESULTS)
    shown = run("query", "SELECT * { ?s a fo:Service }", "--data", data, "--at", 3, "--timeout", 2)
    assert shown.code == 0
    lines = [line.split() for line in shown.out.splitlines()]
    assert lines == [
        ["s", "name", "n"],
        ["fo:Service", "web", "[bold]\\x1b[31m@en", "4"],
        ["<http://x.example/a", "b>"],
    ]
    assert fake.last.query == {"at": ["3"], "timeout": ["2.0"]}
    assert fake.last.headers["content-type"] == "application/sparql-query"
    assert fake.last.body.startswith(b"PREFIX fo: <https://w3id.org/fractalops/ns#> SELECT")
    run("query", "ASK {}", "--data", data, "--no-entailment")
    assert fake.last.query == {"entailment": ["off"]}


def test_json_is_the_results_format(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    fake.says("POST /sparql", ROWS, media_type=RESULTS)
    shown = run("query", "SELECT * {}", "--data", data, "--output", "json")
    assert json.loads(shown.out) == ROWS


def test_csv_is_the_servers(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    fake.says("POST /sparql", b"s,n\r\nx,1\r\n", media_type="text/csv; charset=utf-8")
    shown = run("query", "SELECT * {}", "--data", data, "--output", "csv")
    assert shown.out == "s,n\r\nx,1\r\n"
    assert fake.last.headers["accept"].startswith("text/csv")


@pytest.mark.parametrize("truth", [True, False])
def test_ask(fake: Any, data: Path, run: Callable[..., Any], truth: bool) -> None:
    fake.says("POST /sparql", {"head": {}, "boolean": truth}, media_type=RESULTS)
    shown = run("query", "ASK {}", "--data", data)
    assert (shown.code, shown.out) == (0, f"{truth}\n".lower())


def test_ask_as_csv_ends_its_line(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    fake.says("POST /sparql", b"true", media_type="text/csv")
    assert run("query", "ASK {}", "--data", data, "--output", "csv").out == "true\n"


def test_a_graph_is_turtle(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    fake.says("POST /sparql", "<a> <b> 'ü' .\n".encode(), media_type="text/turtle")
    shown = run("query", "-", "--data", data, stdin=b"CONSTRUCT WHERE { ?s ?p ?o }")
    assert shown.out == "<a> <b> 'ü' .\n"
    assert fake.last.body == b"CONSTRUCT WHERE { ?s ?p ?o }"


def test_a_graph_on_a_terminal_obeys_nothing(
    fake: Any, data: Path, terminal: Callable[..., Any]
) -> None:
    fake.says("POST /sparql", "<a> <b> '\x9b2J\x1b' .".encode(), media_type="text/turtle")
    shown = terminal("query", "CONSTRUCT WHERE { ?s ?p ?o }", "--data", data)
    assert shown.out == "<a> <b> '\\x9b2J\\x1b' .\n"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("turtle", "text/turtle"), ("TSV", "text/tab-separated-values"), ("x/y", "x/y")],
)
def test_a_raw_format(
    fake: Any, data: Path, run: Callable[..., Any], name: str, media_type: str
) -> None:
    fake.says("POST /sparql", b"raw", media_type=media_type)
    shown = run("query", "SELECT * {}", "--data", data, "--format", name)
    assert shown.out == "raw"
    assert fake.last.headers["accept"] == media_type


def test_the_query_may_be_a_file(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    fake.says("POST /sparql", {"head": {}, "boolean": True}, media_type=RESULTS)
    (data / "a question.rq").write_text("\ufeffASK { ?s a fo:Service }")
    assert run("query", "-f", data / "a question.rq", "--data", data).code == 0
    assert fake.last.body.endswith(b"> ASK { ?s a fo:Service }")
    assert run("query", "ASK {}", "-f", "x.rq", "--data", data).code == 2
    assert run("query", "-f", "missing.rq", "--data", data).code == 1
    assert run("query", "SELECT * {}", "--format", "nonsense", "--data", data).code == 2


@pytest.mark.parametrize(("line", "shown"), [(1, 7), (2, 100)])
def test_columns_are_those_of_the_users_own_text(
    fake: Any, data: Path, run: Callable[..., Any], line: int, shown: int
) -> None:
    text = "SELECT fo:"
    column = 7 + len(with_prefixes(text)) - len(text) if line == 1 else 100
    detail = f"line {line}, column {column}: expected something"
    fake.refuses("POST /sparql", 400, "Bad", detail, line=line, column=column)
    assert f"Bad: line {line}, column {shown}: expected" in run("query", text, "--data", data).err


def test_a_refused_update_says_how_to_propose(
    fake: Any, data: Path, run: Callable[..., Any]
) -> None:
    fake.refuses("POST /sparql", 400, "Not a query", "Propose it: POST /proposals.")
    shown = run("query", "DROP ALL", "--data", data)
    assert shown.code == 1
    assert "Propose it: POST /proposals." in shown.err
