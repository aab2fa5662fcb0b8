"""What a query worker does with an open snapshot: query, dump, describe, count.

Invariant: only graphs the caller may read are read, whatever dataset a query asks for; and a triple
that several graphs of a query's dataset state is one triple.
Specifications: https://www.w3.org/TR/sparql11-query/ and
https://www.w3.org/TR/sparql11-http-rdf-update/
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any

from pyoxigraph import (
    DefaultGraph,
    Literal,
    NamedNode,
    Quad,
    QueryBoolean,
    QueryResultsFormat,
    QuerySolutions,
    RdfFormat,
    Store,
    Triple,
    parse,
    serialize,
)

from graph_api.query_complaints import complaint
from graph_api.query_messages import Task
from ontology.errors import ServiceRefused, SparqlSyntaxError, UpdateRefused
from ontology.sparql_tokens import QueryHead, lower_case_booleans, query_head
from ontology.store import open_memory
from ontology.vocab import PREFIXES

MOST_INCOMING = 1000
"""Triples that point at a described resource, of which no more are given."""

MOST_LABELS = 2000
_UNKNOWN_FUNCTION = re.compile(r"\bfunction <([^>]*)> is not supported")
_LABEL = NamedNode("http://www.w3.org/2000/01/rdf-schema#label")

RESULT_FORMATS = {
    "application/sparql-results+json": QueryResultsFormat.JSON,
    "application/sparql-results+xml": QueryResultsFormat.XML,
    "application/json": QueryResultsFormat.JSON,
    "text/csv": QueryResultsFormat.CSV,
    "text/tab-separated-values": QueryResultsFormat.TSV,
}
GRAPH_FORMATS = {
    "text/turtle": RdfFormat.TURTLE,
    "application/n-triples": RdfFormat.N_TRIPLES,
    "application/rdf+xml": RdfFormat.RDF_XML,
    "application/ld+json": RdfFormat.JSON_LD,
    "text/n3": RdfFormat.N3,
    "application/trig": RdfFormat.TRIG,
    "application/n-quads": RdfFormat.N_QUADS,
}
_PREFIXED = frozenset({"text/turtle", "application/rdf+xml", "text/n3", "application/trig"})


class Refusal(Exception):
    """Why a task was not done: a kind and what belongs to it, for the server to put into words."""

    def __init__(self, kind: str, **details: Any) -> None:
        super().__init__(kind)
        self.details = {"kind": kind, **details}


def query(store: Store, task: Task, output: IO[bytes]) -> str:
    try:
        head = query_head(task.what)
    except UpdateRefused as error:
        raise Refusal("update", **_place(error)) from error
    except ServiceRefused as error:
        raise Refusal("service", **_place(error)) from error
    except SparqlSyntaxError as error:
        raise Refusal("syntax", **_place(error)) from error
    tabular = head.form in ("SELECT", "ASK")
    media_type = task.results_type if tabular else task.graph_type
    if not media_type:
        offered = RESULT_FORMATS if tabular else GRAPH_FORMATS
        raise Refusal("not-acceptable", form=head.form, offered=list(offered))
    dataset = _chosen_dataset(head, task)
    try:
        results = _results(store, task, dataset)
        if isinstance(results, (QuerySolutions, QueryBoolean)):
            results.serialize(output, RESULT_FORMATS[media_type])
        else:
            _write(results, output, media_type)
    except SyntaxError as error:
        raise Refusal("syntax", **complaint(task.what, str(error))) from error
    except RuntimeError as error:
        unknown = _UNKNOWN_FUNCTION.search(str(error))
        if unknown is None:
            raise
        raise Refusal("function", iri=unknown[1]) from error
    return media_type


def _results(
    store: Store, task: Task, dataset: tuple[list[NamedNode], list[NamedNode]] | None
) -> Any:
    try:
        return _query_dataset(store, task, dataset)
    except SyntaxError:
        # Keywords have no case, but the engine's parser wants these two in lower case.
        usual = lower_case_booleans(task.what)
        if usual == task.what:
            raise
        return _query_dataset(store, task._replace(what=usual), dataset)


def _query_dataset(
    store: Store, task: Task, dataset: tuple[list[NamedNode], list[NamedNode]] | None
) -> Any:
    """Runs a query over a chosen dataset, or over what the caller may read.

    With a dataset, or with something to hide, both lists are given to the engine, so that it never
    looks at FROM clauses itself.
    """
    if dataset is None and not task.hidden:
        return store.query(task.what, base_iri=task.base or None)
    if dataset is None:
        return store.query(
            task.what,
            base_iri=task.base or None,
            default_graph=DefaultGraph(),
            named_graphs=list(_visible(store, task.hidden)),
        )
    default, named = dataset
    if len(default) > 1:
        # The engine would count a triple once for each graph that states it.
        return _merged(store, default, named).query(
            task.what,
            base_iri=task.base or None,
            default_graph=DefaultGraph(),
            named_graphs=list(named),
        )
    return store.query(
        task.what,
        base_iri=task.base or None,
        default_graph=list(default),
        named_graphs=list(named),
    )


def _merged(store: Store, default: list[NamedNode], named: list[NamedNode]) -> Store:
    """A store in memory whose default graph is the RDF merge of several graphs."""
    merged = open_memory()
    for graph in default:
        merged.bulk_load(
            store.dump(format=RdfFormat.N_TRIPLES, from_graph=graph), RdfFormat.N_TRIPLES
        )
    for graph in named:
        merged.bulk_load(
            store.dump(format=RdfFormat.N_TRIPLES, from_graph=graph),
            RdfFormat.N_TRIPLES,
            to_graph=graph,
        )
    return merged


def _chosen_dataset(head: QueryHead, task: Task) -> tuple[list[NamedNode], list[NamedNode]] | None:
    """The dataset of the protocol, or else of the FROM clauses; ``None`` for the usual one."""
    if task.dataset is not None:
        try:
            default, named = ([NamedNode(iri) for iri in iris] for iris in task.dataset)
        except ValueError as error:
            raise Refusal("bad-graph", message=str(error)) from error
    elif head.has_dataset:
        default, named = (
            _resolve(head.prologue, terms, task.base)
            for terms in (head.default_graphs, head.named_graphs)
        )
    else:
        return None
    for graph in (*default, *named):
        if graph.value in task.hidden:
            raise Refusal("hidden", graph=graph.value)
    return _distinct(default), _distinct(named)


def _resolve(prologue: str, terms: tuple[str, ...], base: str) -> list[NamedNode]:
    """The IRIs that terms stand for under a prologue, as the engine's own parsers read them."""
    declarations = re.sub(r"(?i)\bVERSION\s*(\"[^\"]*\"|'[^']*')", "", prologue)
    document = declarations + "".join(f"\n<x:s> <x:p> {term} ." for term in terms)
    try:
        quads = list(parse(document, RdfFormat.TURTLE, base_iri=base or None))
    except SyntaxError as error:
        raise Refusal(
            "syntax", message=f"in a FROM clause: {error}", line=None, column=None
        ) from error
    return [quad.object for quad in quads if isinstance(quad.object, NamedNode)]


def _distinct(graphs: list[NamedNode]) -> list[NamedNode]:
    return list(dict.fromkeys(graphs))


def _visible(store: Store, hidden: tuple[str, ...]) -> list[NamedNode]:
    return [
        graph
        for graph in store.named_graphs()
        if isinstance(graph, NamedNode) and graph.value not in hidden
    ]


def dump(store: Store, task: Task, output: IO[bytes]) -> str:
    """One named graph, the default graph, or every readable named graph as quads."""
    media_type = task.graph_type
    graph_format = GRAPH_FORMATS[media_type]
    prefixes = PREFIXES if media_type in _PREFIXED else None
    if not task.what:
        quads = itertools.chain.from_iterable(
            store.quads_for_pattern(None, None, None, graph)
            for graph in _visible(store, task.hidden)
        )
        serialize(quads, output, graph_format, prefixes=prefixes)
        return media_type
    graph: NamedNode | DefaultGraph = DefaultGraph()
    if task.what != "default":
        graph = _iri(task.what)
        if not store.contains_named_graph(graph) or task.what in task.hidden:
            raise Refusal("not-found", iri=task.what)
    store.dump(output, graph_format, from_graph=graph, prefixes=prefixes)
    return media_type


def describe(store: Store, task: Task, output: IO[bytes]) -> bool:
    """What is said of a resource, what points at it, and the labels of its neighbours.

    True when more points at it than is given.
    """
    resource = _iri(task.what)
    outgoing = dict.fromkeys(_triples(store.quads_for_pattern(resource, None, None, None), task))
    pointing = _triples(store.quads_for_pattern(None, None, resource, None), task)
    incoming = dict.fromkeys(itertools.islice(pointing, MOST_INCOMING))
    if not outgoing and not incoming:
        raise Refusal("not-found", iri=task.what)
    neighbours = dict.fromkeys(
        term
        for triple in (*outgoing, *incoming)
        for term in (triple.subject, triple.predicate, triple.object)
        if isinstance(term, NamedNode) and term != resource
    )
    labels = (
        triple
        for term in itertools.islice(neighbours, MOST_LABELS)
        for triple in _triples(store.quads_for_pattern(term, _LABEL, None, None), task)
    )
    triples = dict.fromkeys((*outgoing, *incoming, *labels))
    _write(triples, output, task.graph_type)
    return next(pointing, None) is not None


def graphs(store: Store, task: Task, output: IO[bytes]) -> str:
    """The readable graphs with their sizes, as JSON."""
    counted = {
        graph.value: _count(store, f"GRAPH <{graph.value}> {{ ?s ?p ?o }}")
        for graph in sorted(_visible(store, task.hidden), key=lambda graph: graph.value)
    }
    document = {"default": _count(store, "?s ?p ?o"), "named": counted}
    output.write(json.dumps(document).encode())
    return "application/json"


def _count(store: Store, pattern: str) -> int:
    rows = store.query(f"SELECT (COUNT(*) AS ?n) {{ {pattern} }}")
    assert isinstance(rows, QuerySolutions)
    value = next(rows)["n"]
    assert isinstance(value, Literal)
    return int(value.value)


def _triples(quads: Iterator[Quad], task: Task) -> Iterator[Triple]:
    """The triples of the named graphs the caller may read."""
    for quad in quads:
        graph = quad.graph_name
        if isinstance(graph, NamedNode) and graph.value not in task.hidden:
            yield quad.triple


def _iri(text: str) -> NamedNode:
    try:
        return NamedNode(text)
    except ValueError as error:
        raise Refusal("not-found", iri=text) from error


def _write(triples: Iterable[Triple], output: IO[bytes], media_type: str) -> None:
    prefixes = PREFIXES if media_type in _PREFIXED else None
    serialize(triples, output, GRAPH_FORMATS[media_type], prefixes=prefixes)


def _place(error: SparqlSyntaxError | UpdateRefused | ServiceRefused) -> dict[str, Any]:
    return {"message": error.message, "line": error.line, "column": error.column}
