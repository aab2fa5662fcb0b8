"""Runs the RDFC-1.0 suite against the canonicaliser of the gate.

Invariant: every graph is canonicalised as a stranger's would be, in a process that is killed when
it takes too long. The platform gives out canonical graphs, not the map of issued identifiers; a map
test passes when the expected map takes the input exactly to our output.
Specification: https://www.w3.org/TR/rdf-canon/
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from functools import partial

from pyoxigraph import BlankNode, CanonicalizationAlgorithm, NamedNode, Quad, RdfFormat, parse

from ontology.terms import line, rdfc10
from proofs.canonicaliser import Canonicaliser
from proofs.errors import BadSubmission
from tests.conformance.cases import Case, Finding, Mismatch, judged
from tests.conformance.manifest import Entry, Suite, Term, entries

RDFC = "https://w3c.github.io/rdf-canon/tests/vocab#"
_ALGORITHMS = {"SHA384": CanonicalizationAlgorithm.RDFC_1_0_SHA_384}


class CanonSuite:
    """The suite of RDF Dataset Canonicalization."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite

    def run(self) -> Iterator[Finding]:
        with closing(Canonicaliser()) as canonicalise:
            for entry in entries(self._suite, self._suite.folder / "manifest.ttl"):
                (kind,) = entry.kinds()
                group = {"RDFC10EvalTest": "evaluation", "RDFC10MapTest": "map"}.get(
                    kind, "negative"
                )
                case = Case("rdf-canon", group, entry.iri, entry.name)
                yield judged(case, partial(self._test, entry, group, canonicalise))

    def _test(self, entry: Entry, group: str, canonicalise: Canonicaliser) -> None:
        data = self._suite.path(entry.value("action")).read_bytes()
        algorithm = entry.description.text(entry.node, RDFC + "hashAlgorithm") or "SHA256"
        try:
            if algorithm == "SHA256":
                found = canonicalise(data)
            else:  # never asked for by the gate
                found = rdfc10(data, _ALGORITHMS[algorithm])
        except BadSubmission as refusal:
            if group == "negative":
                return
            raise Mismatch(f"it was refused: {refusal}") from refusal
        if group == "negative":
            raise Mismatch("it was canonicalised; it should have been refused")
        expected = self._suite.path(entry.value("result")).read_bytes()
        if group == "map":
            expected = _applied(json.loads(expected), data)
        if found != expected:
            raise Mismatch("another canonical form")


def _applied(labels: dict[str, str], data: bytes) -> bytes:
    """The lines of a dataset whose blank nodes are relabelled, sorted."""
    if len(set(labels.values())) != len(labels):
        raise Mismatch("two blank nodes with one label")

    def renamed(term: Term) -> NamedNode | BlankNode:
        assert isinstance(term, NamedNode | BlankNode)
        return BlankNode(labels[term.value]) if isinstance(term, BlankNode) else term

    lines = set()
    for quad in parse(data, format=RdfFormat.N_QUADS):
        value = quad.object
        if isinstance(value, BlankNode):
            value = renamed(value)
        graph = quad.graph_name
        if isinstance(graph, BlankNode):
            graph = renamed(graph)
        lines.add(line(Quad(renamed(quad.subject), quad.predicate, value, graph)))
    return b"".join(sorted(lines))
