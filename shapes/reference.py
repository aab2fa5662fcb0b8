"""pySHACL: the only module that imports it.

Invariant: what it is given is what it judges; it never sees the store, and it neither infers nor
fetches anything.
Source: https://github.com/RDFLib/pySHACL
"""

from __future__ import annotations

from collections.abc import Sequence

import rdflib
from pyshacl import validate
from pyshacl.errors import ConstraintLoadError, ReportableRuntimeError, ShapeLoadError
from rdflib.namespace import RDF, SH
from rdflib.term import Node

from shapes.errors import MalformedShapes
from shapes.report import Report, Result


class ReferenceShapes:
    """Shapes, parsed once, to be run over any number of data graphs."""

    def __init__(self, ntriples: bytes) -> None:
        self.graph = rdflib.Graph()
        self.graph.parse(data=ntriples, format="nt11")

    def run(self, data: bytes, foci: Sequence[str] | None = None) -> Report:
        """Validates N-Triples. With ``foci`` (IRIs), these nodes alone, where a shape targets them.

        Raises :class:`MalformedShapes` when pySHACL cannot use the shapes.
        """
        graph = rdflib.Graph()
        graph.parse(data=data, format="nt11")
        results = self._round(graph)
        if foci is not None:
            wanted = {f"<{focus}>" for focus in foci}
            results = [result for result in results if result.focus in wanted]
        return Report(tuple(sorted(set(results), key=_order)))

    def check(self) -> Report:
        """The shapes against SHACL's own shapes for shapes."""
        _, found, text = validate(self.graph, shacl_graph=self.graph, meta_shacl=True)
        if not isinstance(found, rdflib.Graph):
            raise MalformedShapes(f"the shapes are not well formed: {text}")
        return Report()

    def _round(self, data: rdflib.Graph) -> list[Result]:
        # Not by pySHACL's own focus_nodes: 0.40 leaves every other node out of sh:or, sh:not and
        # sh:node too, so that a value in breach of one passes, and it is slower from 100 foci on.
        try:
            _, found, _ = validate(
                data,
                shacl_graph=self.graph,
                inplace=True,
                allow_infos=True,
                allow_warnings=True,
            )
        except (ConstraintLoadError, ShapeLoadError, ReportableRuntimeError) as error:
            raise MalformedShapes(f"the shapes cannot be used: {error}") from error
        if not isinstance(found, rdflib.Graph):
            raise MalformedShapes(f"the shapes cannot be used: {found}")
        return [_result(found, node) for node in found.subjects(RDF.type, SH.ValidationResult)]


def _order(result: Result) -> tuple[str, ...]:
    return (
        result.focus,
        result.path or "",
        result.component,
        result.value or "",
        result.shape,
        result.message,
        result.severity,
    )


def _result(found: rdflib.Graph, node: Node) -> Result:
    def value(predicate: rdflib.URIRef) -> Node | None:
        return found.value(node, predicate)

    path = value(SH.resultPath)
    messages = sorted(str(message) for message in found.objects(node, SH.resultMessage))
    return Result(
        focus=_text(value(SH.focusNode)) or "",
        path=_text(path) if isinstance(path, rdflib.URIRef) else None,
        value=_text(value(SH.value)),
        message="; ".join(messages),
        shape=_text(value(SH.sourceShape)) or "",
        severity=str(value(SH.resultSeverity)).rpartition("#")[2],
        component=_text(value(SH.sourceConstraintComponent)) or "",
    )


def _text(node: Node | None) -> str | None:
    return None if node is None else node.n3()
