"""pySHACL: the only module that imports it.

Invariant: what it is given is what it judges; it never sees the store, and it neither infers nor
fetches anything. Whatever way it has of failing comes out as :class:`MalformedShapes`.
Source: https://github.com/RDFLib/pySHACL
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import pyoxigraph
import rdflib
from pyshacl import validate
from pyshacl.entrypoints import meta_validate
from pyshacl.errors import ReportableRuntimeError
from rdflib.namespace import RDF, SH
from rdflib.term import Node

from ontology.errors import IllTypedLiteral
from ontology.literals import canonical_literal
from shapes.errors import MalformedShapes
from shapes.paths import Chain, Either, Inverse, Optional, Path, Predicate, Repeated
from shapes.report import Report, Result

XSD_STRING = "http://www.w3.org/2001/XMLSchema#string"

# A shape inside a shape inside a shape: pySHACL's own limit of 15 is soon reached by lists.
MAX_DEPTH = 100
_PATH_PARTS = (
    *(RDF.first, RDF.rest, SH.inversePath, SH.alternativePath),
    *(SH.zeroOrMorePath, SH.oneOrMorePath, SH.zeroOrOnePath),
)

_OPERATORS: dict[rdflib.URIRef, Callable[[Path], Path]] = {
    SH.inversePath: Inverse,
    SH.zeroOrMorePath: Repeated,
    SH.oneOrMorePath: lambda path: Repeated(path, True),
    SH.zeroOrOnePath: Optional,
}


class ReferenceShapes:
    """Shapes, parsed once, to be run over any number of data graphs."""

    def __init__(self, ntriples: bytes) -> None:
        self.graph = _as_pyshacl_reads_it(_parsed(ntriples))

    def run(self, data: bytes, foci: Sequence[str] | None = None) -> Report:
        """Validates N-Triples. With ``foci`` (in N-Triples form), these nodes alone, where a shape
        targets them.

        Raises :class:`MalformedShapes` when pySHACL cannot use the shapes.
        """
        results = self._round(_parsed(data))
        if foci is not None:
            wanted = set(foci)
            results = [result for result in results if result.focus in wanted]
        return Report(tuple(sorted(set(results), key=_order)))

    def check(self) -> None:
        """Holds the shapes against SHACL's own shapes for shapes.

        Raises :class:`MalformedShapes` when they are not well formed.
        """
        with _failures():
            conforms, found, text = meta_validate(self.graph)
        if not conforms:
            first = next(iter(sorted(_results(found), key=_order)), None)
            why = f"{first.focus} {first.path or ''}: {first.message}" if first else text
            raise MalformedShapes(f"the shapes are not well formed: {why}")

    def _round(self, data: rdflib.Graph) -> list[Result]:
        # Not by pySHACL's own focus_nodes: 0.40 leaves every other node out of sh:or, sh:not and
        # sh:node too, so that a value in breach of one passes, and it is slower from 100 foci on.
        with _failures():
            _, found, _ = validate(
                data,
                shacl_graph=self.graph,
                inplace=True,
                # Not allow_warnings: it makes values conform to what warns of them inside sh:not.
                max_validation_depth=MAX_DEPTH,
            )
        return _results(found)


@contextmanager
def _failures() -> Iterator[None]:
    """What pySHACL, or Python below it, raises over shapes that it cannot use."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (
        *(ReportableRuntimeError, re.error, RecursionError),
        *(ValueError, TypeError, AttributeError, LookupError, AssertionError),
    ) as error:
        raise MalformedShapes(f"the shapes cannot be used: {error}") from error


def _parsed(ntriples: bytes) -> rdflib.Graph:
    """The triples, every literal in the form it comes in.

    rdflib's own parser rewrites literals or doesn't as a variable of the whole process says, which
    pySHACL turns on and off while other threads parse.
    """
    graph = rdflib.Graph()
    for quad in pyoxigraph.parse(ntriples, format=pyoxigraph.RdfFormat.N_TRIPLES):
        graph.add((_node(quad.subject), _node(quad.predicate), _node(quad.object)))
    return graph


def _node(
    term: pyoxigraph.NamedNode | pyoxigraph.BlankNode | pyoxigraph.Literal | pyoxigraph.Triple,
) -> rdflib.URIRef | rdflib.BNode | rdflib.Literal:
    if isinstance(term, pyoxigraph.NamedNode):
        return rdflib.URIRef(term.value)
    if isinstance(term, pyoxigraph.BlankNode):
        return rdflib.BNode(term.value)
    assert isinstance(term, pyoxigraph.Literal)
    if term.language:
        return rdflib.Literal(term.value, lang=term.language, normalize=False)
    # rdflib and pySHACL take a plain literal and an explicit xsd:string for two.
    datatype = None if term.datatype.value == XSD_STRING else rdflib.URIRef(term.datatype.value)
    return rdflib.Literal(term.value, datatype=datatype, normalize=False)


def _as_pyshacl_reads_it(given: rdflib.Graph) -> rdflib.Graph:
    """The shapes with blank nodes for paths, which pySHACL takes for predicates otherwise (the
    graph holds no blank nodes), and with regular expressions as Python writes them."""
    paths: dict[Node, rdflib.BNode] = {}
    waiting = list(given.objects(None, SH.path))
    while waiting:
        item = waiting.pop()
        parts = [part for name in _PATH_PARTS for part in given.objects(item, name)]
        if parts and item not in paths:
            paths[item] = rdflib.BNode()
            waiting += parts
    graph = rdflib.Graph()
    for subject, predicate, value in given:
        if predicate == SH.pattern and "m" not in str(given.value(subject, SH.flags) or ""):
            value = rdflib.Literal(python_pattern(str(value)), normalize=False)
        graph.add((paths.get(subject, subject), predicate, paths.get(value, value)))
    return graph


def python_pattern(pattern: str) -> str:
    """An XPath regular expression as Python reads it: there, ``$`` lets a newline follow."""
    out, escaped, in_class = "", False, False
    for character in pattern:
        if escaped or character not in "[]$\\":
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "$":
            character = character if in_class else r"\Z"
        else:
            in_class = character == "["
        out += character
    return out


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


def _results(found: object) -> list[Result]:
    if not isinstance(found, rdflib.Graph):
        raise MalformedShapes(f"the shapes cannot be used: {found}")
    top = set(found.objects(None, SH.result))
    return [_result(found, node) for node in top]


def _result(found: rdflib.Graph, node: Node) -> Result:
    def value(predicate: rdflib.URIRef) -> Node | None:
        return found.value(node, predicate)

    path = value(SH.resultPath)
    messages = sorted(str(message) for message in found.objects(node, SH.resultMessage))
    return Result(
        focus=_text(value(SH.focusNode)) or "",
        path=None if path is None else str(_path(found, path)),
        value=_text(value(SH.value)),
        message="; ".join(messages),
        shape=_text(value(SH.sourceShape)) or "",
        severity=str(value(SH.resultSeverity)).removeprefix(str(SH)),
        component=_text(value(SH.sourceConstraintComponent)) or "",
    )


def _path(found: rdflib.Graph, node: Node) -> Path:
    for predicate, build in _OPERATORS.items():
        inner = found.value(node, predicate)
        if inner is not None:
            return build(_path(found, inner))
    alternatives = found.value(node, SH.alternativePath)
    if alternatives is not None:
        return Either(tuple(_path(found, item) for item in found.items(alternatives)))
    if found.value(node, RDF.first) is not None:
        return Chain(tuple(_path(found, item) for item in found.items(node)))
    return Predicate(pyoxigraph.NamedNode(str(node)))


def _text(node: Node | None) -> str | None:
    """In N-Triples form; rdflib's own n3() writes Turtle where a text has several lines."""
    if not isinstance(node, rdflib.Literal):
        return None if node is None else node.n3()
    if node.language:
        return str(pyoxigraph.Literal(str(node), language=node.language))
    datatype = None if node.datatype is None else pyoxigraph.NamedNode(str(node.datatype))
    literal = pyoxigraph.Literal(str(node), datatype=datatype)
    with suppress(IllTypedLiteral):
        # pySHACL copies what it reports, and rdflib may write a copied number its own way.
        literal = canonical_literal(literal)
    return str(literal)
