"""Runs the suite of SPARQL 1.1 Service Description, whose three tests are told in prose.

Invariant: what the endpoint says of itself uses the terms of the vocabulary alone, each where its
definition lets it stand, and names no language or format that the endpoint does not have.
Specification: https://www.w3.org/TR/sparql11-service-description/
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import httpx
from pyoxigraph import NamedNode, Quad, RdfFormat, parse

from tests.conformance.cases import Case, Finding, Mismatch, judged
from tests.conformance.manifest import RDF, Description, Entry, Suite, Term, entries
from tests.conformance.queries import described
from tests.conformance.server import Graphs, Platform

SD = "http://www.w3.org/ns/sparql-service-description#"
FORMATS = "http://www.w3.org/ns/formats/"

# Property: the class of its subjects, the class of its values or what a value must begin with.
_PROPERTIES = {
    "endpoint": ("Service", ""),
    "feature": ("Service", SD),
    "defaultEntailmentRegime": ("Service", "http://www.w3.org/ns/entailment/"),
    "extensionFunction": ("Service", "Function"),
    "extensionAggregate": ("Service", "Aggregate"),
    "languageExtension": ("Service", ""),
    "supportedLanguage": ("Service", SD),
    "propertyFeature": ("Service", ""),
    "inputFormat": ("Service", FORMATS),
    "resultFormat": ("Service", FORMATS),
    "defaultDataset": ("Service", "Dataset"),
    "availableGraphs": ("Service", "GraphCollection"),
    "defaultGraph": ("Dataset", "Graph"),
    "namedGraph": ("Dataset", "NamedGraph"),
    "name": ("NamedGraph", ""),
    "graph": ("NamedGraph", "Graph"),
    "entailmentRegime": ("NamedGraph", "http://www.w3.org/ns/entailment/"),
    "supportedEntailmentProfile": ("NamedGraph", "http://www.w3.org/ns/owl-profile/"),
}
_CLASSES = frozenset(
    {
        *("Service", "Dataset", "Graph", "NamedGraph", "GraphCollection", "Function"),
        *("Aggregate", "Language", "Feature", "EntailmentRegime", "EntailmentProfile"),
    }
)
_LANGUAGES = {"SPARQL10Query": "ASK {}", "SPARQL11Query": "ASK { BIND(1 AS ?x) }"}
_FEATURES = frozenset(
    {
        *("DereferencesURIs", "UnionDefaultGraph", "RequiresDataset", "EmptyGraphs"),
        "BasicFederatedQuery",
    }
)


class DescriptionSuite:
    """The suite of service descriptions."""

    def __init__(self, suite: Suite, platform: Platform, client: httpx.Client) -> None:
        self._suite = suite
        self._platform = platform
        self._client = client

    def run(self) -> Iterator[Finding]:
        manifest = self._suite.folder / "sparql11" / "service-description" / "manifest.ttl"
        self._platform.lay(Graphs())
        for entry in entries(self._suite, manifest):
            case = Case("sparql11-service-description", "all", entry.iri, entry.name)
            yield judged(case, partial(self._test, entry))

    def _test(self, entry: Entry) -> None:
        test = {
            "returns-rdf": self._returns_rdf,
            "has-endpoint-triple": self._has_endpoint,
            "conforms-to-schema": self._conforms,
        }[entry.iri.rpartition("#")[2]]
        test()

    def _returns_rdf(self) -> None:
        for accept in ("text/turtle", "application/rdf+xml", "application/n-triples"):
            response = self._client.get("/sparql", headers={"Accept": accept})
            kind = response.headers["content-type"].partition(";")[0]
            if response.status_code != 200 or kind != accept:
                raise Mismatch(f"asked for {accept}: {described(response)}")
            rdf_format = RdfFormat.from_media_type(kind)
            if not list(parse(response.content, format=rdf_format)):
                raise Mismatch(f"there is nothing in the {accept}")

    def _described(self) -> tuple[Term, list[Quad], Description]:
        response = self._client.get("/sparql")
        quads = list(parse(response.content, format=RdfFormat.TURTLE))
        found = Description(quads)
        services = found.subjects(RDF + "type", NamedNode(SD + "Service"))
        if len(services) != 1:
            raise Mismatch(f"{len(services)} services are described")
        return services[0], quads, found

    def _has_endpoint(self) -> None:
        service, _, found = self._described()
        address = NamedNode(f"{self._platform.url}/sparql")
        if found.values(service, SD + "endpoint") != [address]:
            raise Mismatch(f"no sd:endpoint {address}")

    def _conforms(self) -> None:
        service, quads, found = self._described()
        for quad in quads:
            predicate = quad.predicate.value
            if predicate.startswith(SD):
                self._conforms_property(quad, predicate.removeprefix(SD), found)
            if predicate == RDF + "type" and str(quad.object).startswith(f"<{SD}"):
                kind = str(quad.object)[len(SD) + 1 : -1]
                if kind not in _CLASSES:
                    raise Mismatch(f"sd:{kind} is no class of the vocabulary")
        for language in found.values(service, SD + "supportedLanguage"):
            name = str(language)[len(SD) + 1 : -1]
            query = _LANGUAGES.get(name)
            if query is None:
                raise Mismatch(f"{language}, which is not answered here")
            if self._client.get("/sparql", params={"query": query}).status_code != 200:
                raise Mismatch(f"a query in {language} was not answered")

    def _conforms_property(self, quad: Quad, name: str, found: Description) -> None:
        if name not in _PROPERTIES:
            raise Mismatch(f"sd:{name} is no property of the vocabulary")
        domain, wanted = _PROPERTIES[name]
        if domain not in found.kinds(quad.subject):
            raise Mismatch(f"sd:{name} of what is no sd:{domain}")
        if not isinstance(quad.object, NamedNode):
            raise Mismatch(f"sd:{name} has a value that is no IRI")
        if wanted in _CLASSES:
            kinds = found.kinds(quad.object)
            if wanted not in kinds and not (wanted == "Graph" and "NamedGraph" in kinds):
                raise Mismatch(f"sd:{name} has a value that is no sd:{wanted}")
        elif not quad.object.value.startswith(wanted):
            raise Mismatch(f"sd:{name} {quad.object}")
        if name == "feature" and quad.object.value.removeprefix(SD) not in _FEATURES:
            raise Mismatch(f"{quad.object} is no feature of the vocabulary")
