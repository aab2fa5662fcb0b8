"""The catalog as RDF: datasets and services in the terms of DCAT.

Invariant: a page of RDF says of each entity what the page of JSON says, in the terms of DCAT, of
Dublin Core and of our own vocabulary, under the IRI that the graph has for it.
Specification: https://www.w3.org/TR/vocab-dcat-3/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyoxigraph import Literal, NamedNode, Triple, serialize

from graph_api.query_operations import GRAPH_FORMATS
from ontology.ids import Ids
from ontology.vocab import FO, PREFIXES, Dcat, Dcterms, Fo, Prov, Rdf, Rdfs, Skos

KINDS = ("service", "dataset", "topic")
"""What DCAT has words for; a topic is data in motion, a plain dcat:Resource."""

_AS = {
    "service": (Dcat.DataService, Dcat.service),
    "dataset": (Dcat.Dataset, Dcat.dataset),
    "topic": (Dcat.Resource, Dcat.resource),
}
_TEXT = ("system", "namespace", "address", "dormantSince")


def render(items: Iterable[dict[str, Any]], ids: Ids, head: int, media_type: str) -> bytes:
    """A page in this RDF format."""
    prefixes = PREFIXES if media_type != "application/n-triples" else None
    answer = serialize(
        _triples(items, ids, head), format=GRAPH_FORMATS[media_type], prefixes=prefixes
    )
    assert answer is not None
    return answer


def _triples(items: Iterable[dict[str, Any]], ids: Ids, head: int) -> Iterator[Triple]:
    catalog = f"{ids.base}/catalog"
    yield _link(catalog, Rdf.type, Dcat.Catalog)
    yield _text(catalog, Dcterms.title, "FractalOps Semantics")
    yield _text(catalog, Dcterms.identifier, f"{catalog}?at={head}")
    for item in items:
        yield from _entity(item, catalog, ids)


def _entity(item: dict[str, Any], catalog: str, ids: Ids) -> Iterator[Triple]:
    iri = item["id"]
    name, of_catalog = _AS[item["kind"]]
    yield _link(catalog, of_catalog, iri)
    yield _link(iri, Rdf.type, name)
    yield _link(iri, Rdf.type, item["class"])
    yield _text(iri, Dcterms.identifier, iri)
    if item["label"]:
        yield _text(iri, Dcterms.title, item["label"])
    for project in item["projects"]:
        yield _link(iri, Dcterms.isPartOf, ids.project(project))
    for property_ in _TEXT:
        for value in item["properties"].get(property_, ()):
            yield _text(iri, FO + property_, value)
    for value in item["properties"].get("skos:notation", ()):
        yield _text(iri, Skos.notation, value)
    for store in item["links"].get("storedIn", ()):
        yield _link(iri, Fo.storedIn, store)
    for other in item["links"].get("derivedFrom", ()):
        yield _link(iri, Fo.derivedFrom, other)
        yield _link(iri, Prov.wasDerivedFrom, other)
    for column in item.get("columns", ()):
        yield _link(column["id"], Rdf.type, Fo.Column)
        yield _link(column["id"], Fo.columnOf, iri)
        yield _text(column["id"], Rdfs.label, column["label"])
        for other in column["derivedFrom"]:
            yield _link(column["id"], Fo.derivedFromColumn, other)
    proof = item.get("proof")
    if proof is not None:
        yield _link(iri, Prov.wasGeneratedBy, ids.proposal(proof["proposal"]))


def _link(subject: str, predicate: str, value: str) -> Triple:
    return Triple(NamedNode(subject), NamedNode(predicate), NamedNode(value))


def _text(subject: str, predicate: str, value: str) -> Triple:
    return Triple(NamedNode(subject), NamedNode(predicate), Literal(value))
