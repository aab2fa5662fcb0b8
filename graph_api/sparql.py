"""The SPARQL endpoint: queries in, results in every standard format out, updates sent elsewhere.

Invariant: nothing here changes the graph. Without FROM, a query sees the deduplicated merge of all
unrestricted graphs as its default graph; with FROM, the merge of the graphs it names.
Specifications: https://www.w3.org/TR/sparql11-protocol/ and
https://www.w3.org/TR/sparql11-service-description/
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

from pyoxigraph import NamedNode, Triple, serialize
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from graph_api import negotiate
from graph_api.endpoint import (
    Endpoint,
    bad_parameter,
    head_parameter,
    pairs,
    single,
)
from graph_api.problems import Problem
from graph_api.query_answer import send_answer
from graph_api.query_operations import GRAPH_FORMATS, RESULT_FORMATS
from graph_api.query_problems import update_refused
from graph_api.query_service import ClientGone, Reader, Reading, Started
from runtime.local_urls import LOCALHOST

PATH = "/sparql"
RESULT_TYPES = tuple(RESULT_FORMATS)
GRAPH_TYPES = tuple(GRAPH_FORMATS)

# What may give another answer, or other labels of blank nodes, each time it is asked.
_UNREPEATABLE_PARTS = ("rand", "now", "uuid", "bnode")
_UNREPEATABLE = re.compile(r"\b(?:rand|now|uuid|struuid|bnode)\b", re.IGNORECASE)
_BLANK_NODE = re.compile(r"\[|_:")
_UPDATE_PARAMETERS = ("update", "using-graph-uri", "using-named-graph-uri")
_SD = "http://www.w3.org/ns/sparql-service-description#"
_SIMPLE_ENTAILMENT = "http://www.w3.org/ns/entailment/Simple"
_FORMATS = "http://www.w3.org/ns/formats/"
_FORMAT_NAMES = (
    "SPARQL_Results_JSON",
    "SPARQL_Results_XML",
    "SPARQL_Results_CSV",
    "SPARQL_Results_TSV",
    "Turtle",
    "N-Triples",
    "RDF_XML",
    "JSON-LD",
    "N3",
    "TriG",
    "N-Quads",
)


@dataclass(frozen=True, slots=True)
class _Request:
    query: str | None
    parameters: list[tuple[str, str]]


class SparqlEndpoint(Endpoint):
    """``GET`` and ``POST /sparql``."""

    methods = ("GET", "HEAD", "POST")

    async def handle(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, caller: Reader
    ) -> None:
        request = await self._request(scope, receive, headers)
        accept = headers.get("accept")
        if request.query is None:
            await self._describe(scope, receive, send, headers, accept)
            return
        reading = self._reading(request.query, request.parameters, accept)
        if_none_match = None if scope["method"] == "POST" else headers.get("if-none-match")
        answer = await self.service.read(caller, reading, receive, if_none_match)
        await send_answer(answer, scope, send)

    def start(self, query: str, authorization: str, accept: str | None) -> Started | None:
        """The query of a GET that says no more than this, on its way; ``None`` where something is
        in the way of that, for :meth:`handle` to wait for or to put into words."""
        try:
            caller = self.authenticator.authenticate({"authorization": authorization})
            reading = self._reading(query, [], accept)
        except Problem:
            return None
        return self.service.start(caller, reading)

    def _reading(
        self, query: str, parameters: list[tuple[str, str]], accept: str | None
    ) -> Reading:
        if len(query) > self.service.limits.query_bytes:
            raise self._too_large()
        results_type = negotiate.best(accept, RESULT_TYPES) or ""
        graph_type = negotiate.best(accept, GRAPH_TYPES) or ""
        repeatable = _repeatable(query)
        if not parameters:
            return Reading("query", query, results_type, graph_type, repeatable=repeatable)
        default = tuple(value for name, value in parameters if name == "default-graph-uri")
        named = tuple(value for name, value in parameters if name == "named-graph-uri")
        min_head = head_parameter(parameters, "min_head")
        return Reading(
            "query",
            query,
            results_type,
            graph_type,
            dataset=(default, named) if default or named else None,
            at=head_parameter(parameters, "at"),
            min_head=-1 if min_head is None else min_head,
            seconds=self._seconds(parameters),
            entailed=_entailed(parameters),
            repeatable=repeatable,
        )

    def _seconds(self, parameters: list[tuple[str, str]]) -> float | None:
        value = single(parameters, "timeout")
        if value is None:
            return None
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not seconds > 0:
            raise bad_parameter("timeout", f"{value[:40]!r} is no number of seconds, such as 2.5")
        return min(seconds, self.service.limits.most_seconds)

    async def _request(self, scope: Scope, receive: Receive, headers: Headers) -> _Request:
        parameters = pairs(scope["query_string"], what="the query string")
        if scope["method"] == "POST":
            media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
            if media_type == "application/x-www-form-urlencoded":
                parameters += pairs(
                    # Percent-encoding takes up to three bytes for one.
                    await self._body(receive, headers, 3 * self.service.limits.query_bytes),
                    what="the form",
                )
            elif media_type == "application/sparql-query":
                body = await self._body(receive, headers, self.service.limits.query_bytes)
                try:
                    parameters.append(("query", body.decode("utf-8")))
                except UnicodeDecodeError as error:
                    raise bad_parameter("the body", f"it is not UTF-8 ({error.reason})") from error
            elif media_type == "application/sparql-update":
                raise update_refused("This endpoint takes queries only")
            else:
                raise Problem(
                    415,
                    "content-type-unknown",
                    "This content type is not taken",
                    "Send a query as application/sparql-query, or as the form field query in"
                    " application/x-www-form-urlencoded.",
                    headers={
                        "Accept-Post": "application/sparql-query, application/x-www-form-urlencoded"
                    },
                )
        for name, _ in parameters:
            if name in _UPDATE_PARAMETERS:
                raise update_refused("This endpoint takes queries only")
        query = single(parameters, "query")
        if query is None and (scope["method"] == "POST" or parameters):
            raise bad_parameter("query", "it is missing")
        return _Request(query, [pair for pair in parameters if pair[0] != "query"])

    async def _body(self, receive: Receive, headers: Headers, most: int) -> bytes:
        announced = headers.get("content-length", "")
        if announced.isdigit() and int(announced) > most:
            raise self._too_large()
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone from ClientDisconnect()
            piece = message.get("body", b"")
            size += len(piece)
            if size > most:
                raise self._too_large()
            pieces.append(piece)
            if not message.get("more_body", False):
                return b"".join(pieces)

    def _too_large(self) -> Problem:
        return Problem(
            413,
            "query-too-large",
            "The query is too long",
            f"A query may have {self.service.limits.query_bytes} bytes. Put long lists of values"
            " into several queries.",
            extra={"limit": self.service.limits.query_bytes},
        )

    async def _describe(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, accept: str | None
    ) -> None:
        """No query: a description of this service, as the specification asks for."""
        media_type = negotiate.required(accept, GRAPH_TYPES)
        address = f"{scope.get('scheme', 'http')}://{headers.get('host', LOCALHOST)}{PATH}"
        try:
            body = _description(address, media_type)
        except ValueError as error:
            raise bad_parameter("Host", "it is no host name") from error
        response = Response(body, media_type=media_type, headers={"Vary": "Accept"})
        await response(scope, receive, send)


def _entailed(parameters: list[tuple[str, str]]) -> bool:
    value = single(parameters, "entailment")
    if value not in (None, "on", "off"):
        raise bad_parameter("entailment", f"{str(value)[:40]!r} is neither on nor off")
    return value != "off"


def _repeatable(query: str) -> bool:
    """Whether the same snapshot gives the same bytes each time; in doubt not."""
    lowered = query.lower()
    if any(part in lowered for part in _UNREPEATABLE_PARTS) and _UNREPEATABLE.search(lowered):
        return False
    return "construct" not in lowered or _BLANK_NODE.search(query) is None


@lru_cache(maxsize=64)
def _description(address: str, media_type: str) -> bytes:
    service, dataset = NamedNode(address), NamedNode(f"{address}#dataset")
    graph = NamedNode(f"{address}#merge")
    a = NamedNode("http://www.w3.org/1999/02/22-rdf-syntax-ns#type")

    def sd(name: str) -> NamedNode:
        return NamedNode(_SD + name)

    triples = [
        Triple(service, a, sd("Service")),
        Triple(service, sd("endpoint"), service),
        Triple(service, sd("supportedLanguage"), sd("SPARQL10Query")),
        Triple(service, sd("supportedLanguage"), sd("SPARQL11Query")),
        Triple(service, sd("defaultDataset"), dataset),
        # What is inferred is in the dataset; a query matches what is there and derives nothing.
        Triple(service, sd("defaultEntailmentRegime"), NamedNode(_SIMPLE_ENTAILMENT)),
        Triple(dataset, a, sd("Dataset")),
        Triple(dataset, sd("defaultGraph"), graph),
        Triple(graph, a, sd("Graph")),
        *(
            Triple(service, sd("resultFormat"), NamedNode(_FORMATS + name))
            for name in _FORMAT_NAMES
        ),
    ]
    body = serialize(
        triples, format=GRAPH_FORMATS[media_type], prefixes={"sd": _SD, "format": _FORMATS}
    )
    assert body is not None
    return body


def build_routes(endpoint: SparqlEndpoint) -> list[BaseRoute]:
    """The route of the endpoint; every method reaches it, so that each gets our answer."""
    return [Route(PATH, endpoint)]
