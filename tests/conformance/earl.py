"""Writes findings as EARL reports, one for each suite.

Invariant: a report has one assertion for each test, about one subject, by one assertor.
Specification: https://www.w3.org/TR/EARL10-Schema/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from pyoxigraph import BlankNode, Literal, NamedNode, RdfFormat, Triple, serialize

from tests.conformance.cases import Finding, Outcome
from tests.conformance.manifest import RDF
from tests.conformance.reasons import Reasons

EARL = "http://www.w3.org/ns/earl#"
DCT = "http://purl.org/dc/terms/"
DOAP = "http://usefulinc.com/ns/doap#"
XSD = "http://www.w3.org/2001/XMLSchema#"

_OUTCOMES = {
    Outcome.PASSED: "passed",
    Outcome.NORMALISED: "passed",
    Outcome.FAILED: "failed",
    Outcome.INAPPLICABLE: "inapplicable",
    Outcome.UNTESTED: "untested",
}
_SUBJECT, _ASSERTOR = BlankNode("subject"), BlankNode("assertor")


def report(findings: Sequence[Finding], reasons: Reasons, version: str, day: date) -> bytes:
    """An EARL report in Turtle. ``version`` is that of the platform."""
    body = serialize(
        _triples(findings, reasons, version, day),
        format=RdfFormat.TURTLE,
        prefixes={"earl": EARL, "dct": DCT, "doap": DOAP, "xsd": XSD},
    )
    assert body is not None
    return body


def _triples(
    findings: Sequence[Finding], reasons: Reasons, version: str, day: date
) -> Iterator[Triple]:
    def triple(
        subject: BlankNode, predicate: str, value: NamedNode | BlankNode | Literal
    ) -> Triple:
        return Triple(subject, NamedNode(predicate), value)

    today = Literal(day.isoformat(), datatype=NamedNode(XSD + "date"))
    yield triple(_SUBJECT, RDF + "type", NamedNode(EARL + "TestSubject"))
    yield triple(_SUBJECT, RDF + "type", NamedNode(EARL + "Software"))
    yield triple(_SUBJECT, RDF + "type", NamedNode(DOAP + "Project"))
    yield triple(_SUBJECT, DOAP + "name", Literal("FractalOps Semantics"))
    yield triple(_SUBJECT, DOAP + "programming-language", Literal("Python"))
    yield triple(_SUBJECT, DCT + "hasVersion", Literal(version))
    yield triple(_ASSERTOR, RDF + "type", NamedNode(EARL + "Assertor"))
    yield triple(_ASSERTOR, RDF + "type", NamedNode(EARL + "Software"))
    yield triple(_ASSERTOR, DCT + "title", Literal("make conformance"))
    for number, finding in enumerate(findings):
        assertion, result = BlankNode(f"assertion{number}"), BlankNode(f"result{number}")
        yield triple(assertion, RDF + "type", NamedNode(EARL + "Assertion"))
        yield triple(assertion, EARL + "assertedBy", _ASSERTOR)
        yield triple(assertion, EARL + "subject", _SUBJECT)
        yield triple(assertion, EARL + "test", NamedNode(finding.case.iri))
        yield triple(assertion, EARL + "mode", NamedNode(EARL + "automatic"))
        yield triple(assertion, EARL + "result", result)
        yield triple(result, RDF + "type", NamedNode(EARL + "TestResult"))
        yield triple(result, EARL + "outcome", NamedNode(EARL + _OUTCOMES[finding.outcome]))
        yield triple(result, DCT + "date", today)
        if finding.outcome is not Outcome.PASSED:
            said = reasons.why(finding) or "no reason is written down yet"
            if finding.outcome is Outcome.NORMALISED:
                said = f"Passed after literal normalisation. {said}"
            yield triple(result, EARL + "info", Literal(said))
            if finding.note:
                yield triple(result, DCT + "description", Literal(finding.note))
