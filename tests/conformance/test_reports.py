"""SHACL reports that differ in one thing are told apart, and pages and EARL name every test."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from pyoxigraph import Literal, NamedNode, RdfFormat, parse

from tests.conformance import earl, page
from tests.conformance.cases import Case, Finding, Mismatch, Outcome
from tests.conformance.manifest import RDF, Description, Suite, entries
from tests.conformance.reasons import Reason, Reasons
from tests.conformance.shacl import SH, ReportGraph, compare

PREFIXES = "@prefix sh: <http://www.w3.org/ns/shacl#> . @prefix ex: <http://e/> ."
REPORT = """[] a sh:ValidationReport ; sh:conforms false ; sh:result [ a sh:ValidationResult ;
  sh:focusNode ex:a ; sh:resultPath ( ex:p [ sh:inversePath ex:q ] ) ; sh:value _:b ;
  sh:sourceShape _:s ; sh:sourceConstraintComponent sh:MinCountConstraintComponent ;
  sh:resultSeverity sh:Violation ] ."""


def report(turtle: str) -> ReportGraph:
    quads = list(parse(f"{PREFIXES} {turtle}", format=RdfFormat.TURTLE))
    found = Description(quads).subjects(RDF + "type", NamedNode(SH + "ValidationReport"))
    return ReportGraph(quads, found[0])


def test_blank_nodes_and_what_is_not_compared_make_no_difference() -> None:
    other = REPORT.replace("_:b", "_:other").replace("_:s", "[]")
    more = other.replace("sh:focusNode", "sh:detail [] ; sh:resultMessage 'why' ; sh:focusNode")
    compare(report(REPORT), report(more))


@pytest.mark.parametrize(
    ("change", "to"),
    [
        ("sh:conforms false", "sh:conforms true"),
        ("sh:focusNode ex:a", "sh:focusNode ex:b"),
        ("sh:inversePath ex:q", "sh:zeroOrMorePath ex:q"),
        ("( ex:p ", "( ex:p ex:p "),
        ("sh:value _:b", "sh:value ex:b"),
        ("sh:value _:b", "sh:value _:s"),
        ("sh:sourceShape _:s ;", ""),
        ("sh:MinCount", "sh:MaxCount"),
        ("sh:resultSeverity sh:Violation", "sh:resultSeverity sh:Warning"),
        ("sh:result [", "sh:result [ sh:focusNode ex:a ], ["),
    ],
)
def test_a_difference_is_a_mismatch(change: str, to: str) -> None:
    assert change in REPORT
    with pytest.raises(Mismatch):
        compare(report(REPORT), report(REPORT.replace(change, to)))


@pytest.mark.parametrize("name", ["resultMessage", "sourceConstraint"])
def test_messages_and_source_constraints_count_where_they_are_expected(name: str) -> None:
    expected = REPORT.replace("sh:focusNode", f"sh:{name} 'one' ; sh:focusNode")
    compare(report(expected), report(expected))
    for other in (REPORT, expected.replace("'one'", "'another'")):
        with pytest.raises(Mismatch):
            compare(report(expected), report(other))


FINDINGS = [
    Finding(Case("sparql11", "cast", "http://e/m#one", "one"), Outcome.PASSED),
    Finding(Case("sparql11", "cast", "http://e/m#two", "two"), Outcome.FAILED, "seen | so"),
    Finding(Case("sparql11", "bind", "http://e/m#three", "three"), Outcome.NORMALISED, "1 for 01"),
]
REASONS = Reasons(
    [Reason(Outcome.FAILED, "because | so", frozenset({"http://e/m#two"}), frozenset())]
)


def test_the_page_counts_all_tests_and_names_those_that_are_no_plain_pass() -> None:
    text = page.page(FINDINGS, REASONS)
    assert "| **all** | 3 | 1 | 1 | 1 | 0 |" in text
    assert "| failed | because \\| so | 1. cast: `two` |" in text
    assert "| normalised | **No reason is written down yet.** | 1. bind: `three` |" in text
    assert "`one`" not in text


def test_an_earl_report_says_what_was_seen_and_why() -> None:
    report = earl.report(FINDINGS, REASONS, "1.2", date(2026, 1, 2))
    found = Description(list(parse(report, format=RdfFormat.TURTLE)))
    said = {}
    for assertion in found.subjects(RDF + "type", NamedNode(earl.EARL + "Assertion")):
        result = found.value(assertion, earl.EARL + "result")
        said[found.text(assertion, earl.EARL + "test")] = (
            found.value(result, earl.EARL + "outcome"),
            found.text(result, earl.EARL + "info"),
            found.text(result, earl.DCT + "description"),
        )
    passed, failed = (NamedNode(earl.EARL + name) for name in ("passed", "failed"))
    assert said["http://e/m#one"] == (passed, None, None)
    assert said["http://e/m#two"] == (failed, "because | so", "seen | so")
    outcome, info, _ = said["http://e/m#three"]
    assert outcome == passed
    assert info is not None
    assert info.startswith("Passed after literal normalisation.")


def test_a_manifest_is_read_with_those_it_includes(tmp_path: Path) -> None:
    mf = "@prefix mf: <http://www.w3.org/2001/sw/DataAccess/tests/test-manifest#> ."
    (tmp_path / "below").mkdir()
    (tmp_path / "manifest.ttl").write_text(
        f"{mf} <> a mf:Manifest ; mf:include ( <below/manifest.ttl> ) ; mf:entries ( <#b> ) ."
        " <#b> mf:name 'the second' ; mf:action <below/query%20one.rq> ."
    )
    (tmp_path / "below" / "manifest.ttl").write_text(
        f"{mf} <> a mf:Manifest ; mf:entries ( <#a> ) . <#a> a mf:QueryEvaluationTest ."
    )
    suite = Suite(tmp_path, "http://e/suite/")
    first, second = entries(suite, tmp_path / "manifest.ttl")
    assert (first.iri, first.kinds()) == (
        "http://e/suite/below/manifest.ttl#a",
        {"QueryEvaluationTest"},
    )
    assert (second.iri, second.name) == ("http://e/suite/manifest.ttl#b", "the second")
    assert suite.path(second.value("action")) == tmp_path / "below" / "query one.rq"
    assert Literal("the second") == second.value("name")
