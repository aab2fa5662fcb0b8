"""Named graphs over HTTP: read each one at its own address, change none.

Invariant: ``/graphs/{name}`` and ``/graphs?graph=IRI`` give the triples of exactly one graph, as of
one head; a graph the caller may not read is answered like one that isn't there.
Specification: https://www.w3.org/TR/sparql11-http-rdf-update/
"""

from __future__ import annotations

import json
from urllib.parse import quote

from pyoxigraph import Literal, NamedNode, Triple, serialize
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from graph_api import negotiate
from graph_api.endpoint import (
    Authenticates,
    Endpoint,
    bad_parameter,
    head_parameter,
    pairs,
    raw_path,
    single,
)
from graph_api.problems import Problem
from graph_api.query_answer import Answer, send_answer
from graph_api.query_operations import GRAPH_FORMATS
from graph_api.query_service import QueryService, Reader, Reading

PATH = "/graphs"
TRIPLE_TYPES = (
    "text/turtle",
    "application/n-triples",
    "application/ld+json",
    "application/rdf+xml",
    "text/n3",
)
QUAD_TYPES = ("application/trig", "application/n-quads", "application/ld+json")
LIST_TYPES = ("application/json", *TRIPLE_TYPES)

_XSD_INTEGER = NamedNode("http://www.w3.org/2001/XMLSchema#integer")
_TYPE = NamedNode("http://www.w3.org/1999/02/22-rdf-syntax-ns#type")
_SD = "http://www.w3.org/ns/sparql-service-description#"
_VOID = "http://rdfs.org/ns/void#"


class GraphsEndpoint(Endpoint):
    """``GET /graphs``, ``/graphs?default``, ``/graphs?graph=IRI`` and ``/graphs/{name}``."""

    async def handle(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, caller: Reader
    ) -> None:
        parameters = pairs(scope["query_string"], what="the query string")
        accept = headers.get("accept")
        at = head_parameter(parameters, "at")
        min_head = head_parameter(parameters, "min_head")
        least = -1 if min_head is None else min_head
        wanted = self._wanted(scope, parameters)
        if wanted is None:
            await self._list(
                scope, receive, send, headers, caller, Reading("graphs", at=at, min_head=least)
            )
            return
        offered = TRIPLE_TYPES if wanted else QUAD_TYPES
        media_type = negotiate.required(accept, offered)
        reading = Reading("dump", wanted, graph_type=media_type, at=at, min_head=least)
        answer = await self.service.read(caller, reading, receive, headers.get("if-none-match"))
        await send_answer(answer, scope, send)

    def method_refused(self, method: str) -> Problem:
        """Graphs are read here; where they are changed is said with it."""
        return Problem(
            405,
            "changes-go-through-proposals",
            "Changes go through proposals",
            f"{method} is not done to a graph directly. To add triples, send them to POST"
            " /proposals?project=SLUG&graph=NAME&rationale=TEXT; to remove some, propose an RDF"
            " Patch or DELETE DATA.",
            extra={"proposals": "/proposals"},
            headers={"Allow": "GET, HEAD"},
        )

    def _wanted(self, scope: Scope, parameters: list[tuple[str, str]]) -> str | None:
        """An IRI, ``default``, empty for all graphs as quads, ``None`` for the list."""
        name = raw_path(scope)[len(PATH) :].strip("/")
        graph = single(parameters, "graph")
        default = single(parameters, "default")
        if sum(choice is not None for choice in (graph, default)) + bool(name) > 1:
            raise bad_parameter("graph", "one request names one graph")
        if name:
            # As it was sent: a name's segments are percent-encoded in the IRI as well.
            return f"{self.service.ids.base}/graph/{name}"
        if default is not None:
            return "default"
        if graph is None:
            return None
        if graph == "all":
            return ""
        return graph if ":" in graph else self._named(graph)

    def _named(self, name: str) -> str:
        try:
            return self.service.ids.graph(name.strip("/"))
        except ValueError as error:
            raise bad_parameter("graph", str(error)) from error

    async def _list(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Headers,
        caller: Reader,
        reading: Reading,
    ) -> None:
        media_type = negotiate.required(headers.get("accept"), LIST_TYPES)
        answer = await self.service.read(caller, reading, receive)
        counts = json.loads(answer.read())
        prefix = f"{self.service.ids.base}/graph/"
        if media_type == "application/json":
            items = [
                {
                    "graph": graph,
                    "name": graph.removeprefix(prefix),
                    "triples": triples,
                    "url": _address(graph, prefix),
                }
                for graph, triples in counts["named"].items()
            ]
            document = {
                "head": answer.head,
                "default": {"triples": counts["default"], "url": f"{PATH}?default"},
                "items": items,
            }
            body = json.dumps(document, ensure_ascii=False).encode()
        else:
            body = _described(counts, self.service.ids.base, media_type)
        await send_answer(Answer(answer.head, None, media_type, body, size=len(body)), scope, send)


def _address(graph: str, prefix: str) -> str:
    if graph.startswith(prefix):
        return f"{PATH}/{graph.removeprefix(prefix)}"
    return f"{PATH}?graph={quote(graph, safe='')}"


def _described(counts: dict[str, dict[str, int]], base: str, media_type: str) -> bytes:
    """The list of graphs in the terms of SPARQL service descriptions and VoID."""
    dataset, default = NamedNode(f"{base}/graph/"), NamedNode(f"{base}/graph/#merge")
    triples = [
        Triple(dataset, _TYPE, NamedNode(_SD + "Dataset")),
        Triple(dataset, NamedNode(_SD + "defaultGraph"), default),
        *_sized(default, "Graph", int(str(counts["default"]))),
    ]
    for iri, size in counts["named"].items():
        graph = NamedNode(iri)
        triples.append(Triple(dataset, NamedNode(_SD + "namedGraph"), graph))
        triples.append(Triple(graph, NamedNode(_SD + "name"), graph))
        triples += _sized(graph, "NamedGraph", size)
    body = serialize(triples, format=GRAPH_FORMATS[media_type], prefixes={"sd": _SD, "void": _VOID})
    assert body is not None
    return body


def _sized(graph: NamedNode, kind: str, triples: int) -> list[Triple]:
    return [
        Triple(graph, _TYPE, NamedNode(_SD + kind)),
        Triple(graph, NamedNode(_VOID + "triples"), Literal(str(triples), datatype=_XSD_INTEGER)),
    ]


def build_routes(service: QueryService, authenticator: Authenticates) -> list[BaseRoute]:
    """The routes below ``/graphs``; every method reaches them."""
    endpoint = GraphsEndpoint(service, authenticator)
    return [Route(PATH, endpoint), Route(PATH + "/{name:path}", endpoint)]
