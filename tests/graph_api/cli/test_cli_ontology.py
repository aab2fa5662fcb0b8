"""The vocabulary on the command line, with and without a server."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="HermiT runs on Java")
CONTRADICTION = b"""
@prefix fo: <https://w3id.org/fractalops/ns#> . @prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> . @prefix x: <http://x.example/> .
x:Left a owl:Class ; owl:disjointWith x:Right . x:Right a owl:Class .
"""


@pytest.mark.parametrize(
    "name", ["fo:Service", "Service", "<https://w3id.org/fractalops/ns#Service>"]
)
def test_a_term_is_explained_without_a_server(run: Callable[..., Any], name: str) -> None:
    shown = run("ontology", "show", name)
    assert (shown.code, shown.err) == (0, "")
    for part in ("fo:Service", "definition", "owl:Class", "fo:offers"):
        assert part in shown.out


def test_all_terms_are_listed(run: Callable[..., Any]) -> None:
    shown = run("ontology", "show", "--output", "csv")
    rows = list(csv.reader(io.StringIO(shown.out, newline="")))
    assert rows[0] == ["term", "kind", "label", "definition"]
    assert "fo:Service" in {row[0] for row in rows}
    assert len(rows) > 50


def test_an_unknown_term(run: Callable[..., Any]) -> None:
    shown = run("ontology", "show", "fo:Nonsense")
    assert shown.code == 1
    assert "lists all of them" in shown.err


def test_the_servers_own_ontology(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    fake.says("GET /status", {"base": "http://b.example"})
    turtle = (
        b"<https://w3id.org/fractalops/ns#Mine> <http://www.w3.org/2000/01/rdf-schema#label> 'm'."
    )
    fake.says("GET /graphs", turtle, media_type="text/turtle")
    shown = run("ontology", "show", "Mine", "--server", "--data", data, "--output", "json")
    assert json.loads(shown.out)["term"] == "fo:Mine"
    assert fake.last.query == {"graph": ["http://b.example/graph/ontology"]}


@needs_java
def test_the_ontology_is_consistent(run: Callable[..., Any]) -> None:
    shown = run("ontology", "check", "--output", "json")
    assert shown.code == 0, shown.err
    assert json.loads(shown.out)["ok"] is True


@needs_java
def test_a_planted_contradiction_is_named(run: Callable[..., Any], tmp_path: Path) -> None:
    planted = tmp_path / "planted.ttl"
    planted.write_bytes(CONTRADICTION + b"x:thing a x:Left, x:Right .")
    shown = run("ontology", "check", planted)
    assert shown.code == 1
    assert "inconsistent" in shown.out
    assert "http://x.example/thing" in shown.out + shown.err


@needs_java
def test_a_class_without_possible_members_is_named(run: Callable[..., Any], tmp_path: Path) -> None:
    planted = tmp_path / "planted.ttl"
    planted.write_bytes(CONTRADICTION + b"x:Both a owl:Class ; rdfs:subClassOf x:Left, x:Right .")
    shown = run("ontology", "check", planted)
    assert shown.code == 1
    assert "http://x.example/Both" in shown.out


def test_without_java_nothing_is_claimed(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    shown = run("ontology", "check")
    assert (shown.code, shown.out) == (1, "")
    assert "needs Java" in shown.err


@needs_java
def test_a_file_that_does_not_parse_is_named(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "bad.ttl").write_bytes(b"this is not Turtle")
    shown = run("ontology", "check", tmp_path / "bad.ttl")
    assert shown.code == 1
    assert "bad.ttl is not Turtle" in shown.err
