"""Runs the SHACL suite and compares whole validation reports.

Invariant: a test passes when the report graph is the expected one, blank nodes relabelled: the flag
``sh:conforms`` and of each result its focus node, path with its structure, value, source shape,
constraint component and severity. ``sh:resultMessage`` and ``sh:sourceConstraint`` are compared
where the expected report has any: the specification leaves messages open, and the suite writes the
source constraint down in some of its reports only.
Specification: https://w3c.github.io/data-shapes/data-shapes-test-suite/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from pyoxigraph import BlankNode, NamedNode, Quad, Triple

from tests.conformance.cases import Case, Finding, Mismatch, judged
from tests.conformance.manifest import RDF, Entry, Suite, Term, entries
from tests.conformance.terms import same_graph
from tests.conformance.validator import ValidationFailed, validate

SHT = "http://www.w3.org/ns/shacl-test#"
SH = "http://www.w3.org/ns/shacl#"

_COMPARED = (
    *("focusNode", "resultPath", "value", "sourceShape", "sourceConstraintComponent"),
    "resultSeverity",
)
_IF_EXPECTED = ("resultMessage", "sourceConstraint")
_PATH = (
    *(RDF + "first", RDF + "rest", SH + "inversePath", SH + "alternativePath"),
    *(SH + "zeroOrMorePath", SH + "oneOrMorePath", SH + "zeroOrOnePath"),
)


class ShaclSuite:
    """A part of the SHACL suite: ``core`` or ``sparql``."""

    def __init__(self, suite: Suite, part: str) -> None:
        self._suite = suite
        self._part = part

    def run(self) -> Iterator[Finding]:
        folder = self._suite.folder / self._part
        for entry in entries(self._suite, folder / "manifest.ttl"):
            group = entry.manifest.parent.relative_to(folder).as_posix()
            case = Case(f"shacl-{self._part}", group, entry.iri, entry.name)
            yield judged(case, partial(self._test, entry))

    def _test(self, entry: Entry) -> None:
        action, result = entry.value("action"), entry.value("result")
        data, shapes = (
            self._suite.quads(self._suite.path(entry.description.value(action, SHT + graph)))
            for graph in ("dataGraph", "shapesGraph")
        )
        failure = result == NamedNode(SHT + "Failure")
        try:
            found = validate(data, shapes)
        except ValidationFailed as error:
            if failure:
                return
            raise Mismatch(f"a failure: {error}") from error
        if failure:
            raise Mismatch("a report, where a failure should have been reported")
        assert isinstance(result, BlankNode)
        expected = self._suite.quads(entry.manifest)
        (node,) = (
            triple.subject
            for triple in found
            if triple.predicate.value == RDF + "type"
            and triple.object == NamedNode(SH + "ValidationReport")
        )
        compare(ReportGraph(expected, result), ReportGraph(found, node))


class ReportGraph:
    """What of a report graph is compared."""

    def __init__(self, triples: Iterable[Quad | Triple], node: Term) -> None:
        self._by_subject: dict[Term, list[Quad | Triple]] = {}
        for triple in triples:
            self._by_subject.setdefault(triple.subject, []).append(triple)
        self._node = node
        self.results = [triple.object for triple in self._of(node, (SH + "result",))]
        self.said = {
            name
            for result in self.results
            for name in _IF_EXPECTED
            if next(self._of(result, (SH + name,)), None) is not None
        }

    def triples(self, optional: set[str]) -> list[Triple]:
        """The flag, and of each result what is compared."""
        wanted = [SH + name for name in (*_COMPARED, *optional)]
        out = [*self._plain(self._node, (SH + "conforms", SH + "result"))]
        for result in self.results:
            for triple in self._plain(result, wanted):
                out.append(triple)
                if triple.predicate.value == SH + "resultPath":
                    out += self._path(triple.object)
        return out

    @property
    def conforms(self) -> str:
        return " ".join(str(triple.object) for triple in self._of(self._node, (SH + "conforms",)))

    def _path(self, node: Term) -> Iterator[Triple]:
        if isinstance(node, BlankNode):
            for triple in self._plain(node, _PATH):
                yield triple
                yield from self._path(triple.object)

    def _plain(self, node: Term, predicates: Iterable[str]) -> Iterator[Triple]:
        for triple in self._of(node, predicates):
            yield Triple(triple.subject, triple.predicate, triple.object)

    def _of(self, node: Term, predicates: Iterable[str]) -> Iterator[Quad | Triple]:
        wanted = frozenset(predicates)
        for triple in self._by_subject.get(node, ()):
            if triple.predicate.value in wanted:
                yield triple


def compare(expected: ReportGraph, found: ReportGraph) -> None:
    """Raises :class:`Mismatch` unless the reports say the same."""
    wanted, got = expected.triples(expected.said), found.triples(expected.said)
    if same_graph(wanted, got):
        return
    if expected.conforms != found.conforms:
        raise Mismatch(f"sh:conforms {found.conforms} instead of {expected.conforms}")
    if len(expected.results) != len(found.results):
        raise Mismatch(f"{len(found.results)} results instead of {len(expected.results)}")

    def shown(triples: list[Triple]) -> set[str]:
        return {
            f"sh:{triple.predicate.value.rpartition('#')[2]} {triple.object}"
            for triple in triples
            if not isinstance(triple.object, BlankNode)
        }

    more = " ".join(sorted(shown(got) - shown(wanted))[:3])
    less = " ".join(sorted(shown(wanted) - shown(got))[:3])
    raise Mismatch(f"the results differ: {more or 'in structure'} instead of {less or 'the same'}")
