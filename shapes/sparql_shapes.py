"""Reads what a shapes graph says in SPARQL: constraints, components of its own, and targets.

Invariant: what comes out can be run; each query was read to its end before, by the engine's own
parser too, and nothing of it ran. Where a query's answer rests on the neighbourhood of its focus
node alone, that is found out here, once.
Specification: https://www.w3.org/TR/shacl/#sparql-constraints and
https://www.w3.org/TR/shacl-af/#SPARQLTarget
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pyoxigraph import Literal, NamedNode

from ontology.errors import SparqlError
from ontology.sparql_lexer import scan
from ontology.vocab import Owl, Sh
from shapes.model import Query, Shape, ShapesCopy
from shapes.neighbourhood import Neighbourhood, Unbounded, anchored, neighbourhood
from shapes.paths import Path, Predicate
from shapes.query_patterns import NotRead, read_patterns
from shapes.shape_graph import Fault, ShapeGraph
from shapes.sparql_text import ALWAYS_BOUND, BadQuery, Template, read_query
from shapes.view import Node

_TRUE = Literal("true", datatype=NamedNode("http://www.w3.org/2001/XMLSchema#boolean"))
_RESERVED = ALWAYS_BOUND | {"value", "path", "PATH", "message", "failure"}
_SH = Sh.path.removesuffix("path")
_SOME_PATH = Predicate(NamedNode("urn:x-fractalops:path"))


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    predicate: str
    optional: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Component:
    iri: str
    parameters: tuple[_Parameter, ...]
    label: str | None
    of_nodes: _Asked | None
    of_properties: _Asked | None

    @property
    def mandatory(self) -> list[_Parameter]:
        return [parameter for parameter in self.parameters if not parameter.optional]


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A query with what it says when it finds something."""

    source: Node
    template: Template
    prefixes: Mapping[str, str]
    messages: tuple[Literal, ...]


class SparqlShapes:
    """What one shapes graph says in SPARQL."""

    def __init__(self, graph: ShapeGraph, strict: bool) -> None:
        self._graph = graph
        self._strict = strict
        self._components: list[_Component] = []
        self._read: dict[tuple[Node, bool, tuple[str, ...]], _Asked] = {}
        self._copy: ShapesCopy | None = None

    # --- components

    def declared(self) -> list[Node]:
        """What declares parameters or is a constraint component, but SHACL's own."""
        found = {*self._graph.having(Sh.parameter), *self._graph.components()}
        return sorted((item for item in found if not item.value.startswith(_SH)), key=str)

    def add_component(self, subject: Node) -> None:
        """Reads a constraint component. Raises :class:`Fault`."""
        graph = self._graph
        if subject not in graph.components():
            raise Fault(
                "declares parameters and is no sh:ConstraintComponent: functions and kinds of"
                " targets are not supported"
            )
        if not isinstance(subject, NamedNode):
            raise Fault("is a sh:ConstraintComponent and no IRI")
        parameters = [self._parameter(item) for item in graph.values(subject, Sh.parameter)]
        names = [parameter.name for parameter in parameters]
        if len(set(names)) < len(names):
            raise Fault("has two parameters of the same local name")
        if all(parameter.optional for parameter in parameters):
            raise Fault("has no parameter that is not sh:optional")
        for predicate in (Sh.validator, Sh.nodeValidator, Sh.propertyValidator):
            for source in graph.values(subject, predicate):
                if not graph.values(source, Sh.ask) and not graph.values(source, Sh.select):
                    raise Fault(f"has a validator with neither sh:ask nor sh:select: {source}")
        if self._strict and not any(
            graph.values(subject, item)
            for item in (Sh.validator, Sh.nodeValidator, Sh.propertyValidator)
        ):
            raise Fault("has no validator, so nothing would be asked by it")
        label = graph.values(subject, Sh.labelTemplate)
        self._components.append(
            _Component(
                subject.value,
                tuple(parameters),
                label[0].value if label else None,
                self._validator(subject, Sh.nodeValidator, names, None),
                self._validator(subject, Sh.propertyValidator, names, _SOME_PATH),
            )
        )

    def users(self) -> set[Node]:
        """The subjects that have a value for a mandatory parameter: they are shapes."""
        return {
            subject
            for component in self._components
            for parameter in component.mandatory
            for subject in self._graph.having(parameter.predicate)
        }

    def _parameter(self, node: Node) -> _Parameter:
        paths = self._graph.values(node, Sh.path)
        if len(paths) != 1 or not isinstance(paths[0], NamedNode):
            raise Fault(f"has a parameter whose sh:path is not one IRI: {node}")
        name = re.split("[/#:]", paths[0].value)[-1]
        if not _is_variable(name) or name in _RESERVED:
            raise Fault(f"has a parameter whose local name cannot be a variable here: {paths[0]}")
        optional = self._flag(node, Sh.optional)
        return _Parameter(name, paths[0].value, optional)

    def _validator(
        self, subject: Node, predicate: str, names: Sequence[str], path: Path | None
    ) -> _Asked | None:
        for found in (predicate, Sh.validator):
            for source in self._graph.values(subject, found):
                return self._asked(source, names, path)
        return None

    # --- constraints

    def constraints(self, shape: Shape) -> Iterator[Query]:
        """``sh:sparql`` and uses of components. Raises :class:`Fault`."""
        for source in self._graph.values(shape.node, Sh.sparql):
            if not self._graph.values(source, Sh.select):
                raise Fault(f"has a sh:sparql without sh:select: {source}")
            if not self._flag(source, Sh.deactivated):
                asked = self._asked(source, (), shape.path)
                yield self._query(Sh.SPARQLConstraintComponent, asked, shape, {}, None)
        for component in self._components:
            yield from self._uses(component, shape)

    def _uses(self, component: _Component, shape: Shape) -> Iterator[Query]:
        values = {
            parameter.name: self._graph.values(shape.node, parameter.predicate)
            for parameter in component.parameters
        }
        if not all(values[parameter.name] for parameter in component.mandatory):
            return
        if len(component.parameters) > 1:
            for name, found in values.items():
                if len(found) > 1:
                    raise Fault(
                        f"has more than one value of {name}, which <{component.iri}> takes once"
                    )
        asked = component.of_nodes if shape.path is None else component.of_properties
        if asked is None:
            return
        first = component.parameters[0].name
        single = {name: found[0] for name, found in values.items() if found}
        # More than one value there is only where there is but one parameter: each is a constraint.
        for bound in [{first: value} for value in values[first][1:]]:
            yield self._query(component.iri, asked, shape, bound, component.label)
        yield self._query(component.iri, asked, shape, single, component.label)

    def target(self, node: Node) -> Query:
        """A SPARQL-based target. Raises :class:`Fault`."""
        if isinstance(node, Literal) or not self._graph.values(node, Sh.select):
            raise Fault(f"has a sh:target without sh:select, which the gate does not run: {node}")
        text, prefixes = self._text(node, Sh.select), self._prefixes(node)
        try:
            template = read_query(text, prefixes)
        except BadQuery as error:
            raise Fault(f"has a sh:target {node} whose query {error}") from error
        try:
            predicates = read_patterns(template, prefixes, {}, None, ()).predicates
        except NotRead:
            predicates = None
        return Query(Sh.SPARQLTarget, node, template, (), None, (), None, predicates, None)

    # --- queries

    def _asked(self, source: Node, parameters: Sequence[str], path: Path | None) -> _Asked:
        key = (source, path is None, tuple(parameters))
        if key not in self._read:
            ask = bool(self._graph.values(source, Sh.ask))
            prebound = {*ALWAYS_BOUND, *parameters, *(("value",) if ask else ())}
            text = self._text(source, Sh.ask if ask else Sh.select)
            prefixes = self._prefixes(source)
            try:
                template = read_query(text, prefixes, ask=ask, prebound=prebound, path=path)
            except BadQuery as error:
                raise Fault(f"has a query, of {source}, that {error}") from error
            messages = self._graph.values(source, Sh.message)
            texts = tuple(item for item in messages if isinstance(item, Literal))
            if len(texts) < len(messages):
                raise Fault(f"has a query, of {source}, with a sh:message that is no text")
            self._read[key] = _Asked(source, template, prefixes, texts)
        return self._read[key]

    def _query(
        self,
        component: str,
        asked: _Asked,
        shape: Shape,
        bound: dict[str, Node],
        label: str | None,
    ) -> Query:
        values = {**bound, "currentShape": shape.node}
        copy = None
        if "shapesGraph" in asked.template.names:
            copy = self._copied()
            values["shapesGraph"] = copy.name
        if bound:
            try:
                asked.template.check(values, shape.path)
            except BadQuery as error:
                raise Fault(f"has a query, of {asked.source}, that {error}") from error
        around, predicates = _around(asked, values, shape.path)
        return Query(
            component,
            asked.source,
            asked.template,
            asked.messages,
            label,
            tuple(sorted(values.items())),
            around,
            predicates,
            copy,
        )

    def _copied(self) -> ShapesCopy:
        if self._copy is None:
            self._copy = ShapesCopy(self._graph.name, tuple(self._graph.triples()))
        return self._copy

    def _text(self, source: Node, predicate: str) -> str:
        texts = self._graph.values(source, predicate)
        if len(texts) != 1 or not isinstance(texts[0], Literal) or texts[0].language:
            raise Fault(f"has a query that is not one text: {source}")
        return texts[0].value

    def _prefixes(self, source: Node) -> dict[str, str]:
        graph = self._graph
        waiting = list(graph.values(source, Sh.prefixes))
        found: dict[str, str] = {}
        for ontology in waiting:
            waiting += [item for item in graph.values(ontology, Owl.imports) if item not in waiting]
            for declaration in graph.values(ontology, Sh.declare):
                names = graph.values(declaration, Sh.prefix)
                namespaces = graph.values(declaration, Sh.namespace)
                if len(names) != 1 or len(namespaces) != 1:
                    raise Fault(f"takes prefixes from {ontology}, where one is not well formed")
                name, namespace = names[0].value, namespaces[0].value
                if not _is_prefix(name, namespace):
                    raise Fault(
                        f"takes prefixes from {ontology}, where {name!r} for {namespace!r} is not"
                        " well formed"
                    )
                if found.setdefault(name, namespace) != namespace:
                    raise Fault(f"takes prefixes from where {name!r} means two things")
        return found

    def _flag(self, subject: Node, predicate: str) -> bool:
        values = self._graph.values(subject, predicate)
        if len(values) > 1:
            raise Fault(f"has more than one value of {predicate} at {subject}")
        return bool(values) and values[0] == _TRUE


def _around(
    asked: _Asked, bound: Mapping[str, Node], path: Path | None
) -> tuple[Neighbourhood | None, frozenset[NamedNode] | None]:
    anchors = anchored(path)
    if not asked.template.ask:
        # There it is a variable as any other.
        del anchors["?value"]
    try:
        patterns = read_patterns(asked.template, asked.prefixes, bound, path, anchors)
    except NotRead:
        return None, None
    try:
        return neighbourhood(patterns.group, anchors), patterns.predicates
    except Unbounded:
        return None, patterns.predicates


def _is_variable(name: str) -> bool:
    return _cut(f"?{name}") == [("VAR", f"?{name}")]


def _is_prefix(name: str, namespace: str) -> bool:
    try:
        NamedNode(namespace)
    except ValueError:
        return False
    return _cut(f"{name}:") == [("PNAME", f"{name}:")]


def _cut(text: str) -> list[tuple[str, str]]:
    try:
        return [(kind, text[start:end]) for kind, start, end in scan(text)]
    except SparqlError:
        return []
