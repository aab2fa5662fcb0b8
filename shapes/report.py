"""What a validation found.

Invariant: a report conforms exactly when none of its results is a violation; warnings and infos are
told and do not stop a proposal.
Specification: https://www.w3.org/TR/shacl/#validation-report
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pyoxigraph import BlankNode, Literal, NamedNode, RdfFormat, Triple, parse

from ontology.vocab import Rdf, Sh
from shapes.paths import path_triples, read_path

XSD_BOOLEAN = NamedNode("http://www.w3.org/2001/XMLSchema#boolean")

Term = NamedNode | BlankNode | Literal


@dataclass(frozen=True)
class Result:
    """One result.

    Terms are in N-Triples form (``<http://...>``, ``"text"``), ``path`` is a SPARQL property path
    with full IRIs; the severity is ``Violation``, ``Warning``, ``Info`` or another IRI.
    ``messages`` are the shape's own, as literals; ``cause`` is the row of the change that led here,
    as RDF Patch writes it (``A`` added, ``D`` removed), and ``advice`` what would make it pass.
    ``source`` is the ``sh:sparql`` that found it, where one did.
    """

    focus: str
    path: str | None
    value: str | None
    message: str
    shape: str
    severity: str
    component: str
    messages: tuple[str, ...] = ()
    cause: str | None = None
    advice: str | None = None
    source: str | None = None

    def key(self) -> tuple[str | None, ...]:
        """What it says, whatever its words: two validators that agree give the same."""
        return (
            *(self.focus, self.path, self.value),
            *(self.shape, self.severity, self.component, self.source),
        )

    def order(self) -> tuple[str, ...]:
        """By which results are sorted."""
        return (
            *(self.focus, self.path or "", self.component, self.value or "", self.shape),
            *(self.message, self.severity, self.cause or ""),
        )


@dataclass(frozen=True)
class Report:
    """The results of one validation, sorted.

    ``omitted`` is how many more there are than these examples; ``nodes`` is how many focus nodes
    do not conform, by the shape that targets them.
    """

    results: tuple[Result, ...] = ()
    omitted: int = 0
    nodes: tuple[tuple[str, int], ...] = ()

    @property
    def conforms(self) -> bool:
        return not any(result.severity == "Violation" for result in self.results)

    def to_dict(self) -> dict[str, Any]:
        return {
            "conforms": self.conforms,
            "results": [asdict(result) for result in self.results],
            "omitted": self.omitted,
            "nodes": dict(self.nodes),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Report:
        return cls(
            tuple(
                Result(**{**item, "messages": tuple(item.get("messages", ()))})
                for item in value["results"]
            ),
            value.get("omitted", 0),
            tuple(sorted(value.get("nodes", {}).items())),
        )

    def summary(self) -> str:
        """One line: how many results, and the first."""
        if not self.results:
            return "the graph conforms to its shapes"
        first = self.results[0]
        count = len(self.results) + self.omitted
        return f"{count} result{'s' if count > 1 else ''}; the first: {first.focus} {first.message}"

    def triples(self) -> Iterator[Triple]:
        """The W3C validation report graph.

        There, ``sh:conforms`` is false for a warning too, as the specification has it.
        """
        report = BlankNode("report")
        yield Triple(report, _node(Rdf.type), _node(Sh.ValidationReport))
        conforms = Literal("false" if self.results else "true", datatype=XSD_BOOLEAN)
        yield Triple(report, _node(Sh.conforms), conforms)
        for number, result in enumerate(self.results):
            node = BlankNode(f"result{number}")
            yield Triple(report, _node(Sh.result), node)
            yield Triple(node, _node(Rdf.type), _node(Sh.ValidationResult))
            yield Triple(node, _node(Sh.focusNode), _term(result.focus))
            if result.path:
                path, triples = path_triples(read_path(result.path), f"result{number}path")
                yield Triple(node, _node(Sh.resultPath), path)
                yield from triples
            if result.value:
                yield Triple(node, _node(Sh.value), _term(result.value))
            for message in result.messages or (str(Literal(result.message)),):
                yield Triple(node, _node(Sh.resultMessage), _term(message))
            severity = result.severity
            iri = severity if ":" in severity else Sh.Violation[:-9] + severity
            yield Triple(node, _node(Sh.resultSeverity), _node(iri))
            yield Triple(node, _node(Sh.sourceShape), _term(result.shape))
            yield Triple(node, _node(Sh.sourceConstraintComponent), _term(result.component))
            if result.source:
                yield Triple(node, _node(Sh.sourceConstraint), _term(result.source))


def _node(iri: str) -> NamedNode:
    return NamedNode(iri)


def _term(text: str) -> Term:
    quad = next(iter(parse(f"<x:s> <x:p> {text} .", format=RdfFormat.N_TRIPLES)))
    assert isinstance(quad.object, NamedNode | BlankNode | Literal)
    return quad.object
