"""Answers for the IRIs of the graph themselves: what is known of the thing they name.

Invariant: ``GET /id/...`` describes the IRI ``{base}/id/...`` with exactly the path that was sent,
percent-encoding included, since another spelling is another IRI. ``/graph/...`` names a graph,
which isn't a document: it leads on to the document that holds its triples.
Specification: https://www.w3.org/TR/cooluris/
"""

from __future__ import annotations

from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from graph_api import negotiate
from graph_api.endpoint import Authenticates, Endpoint, head_parameter, pairs, raw_path
from graph_api.graphs import TRIPLE_TYPES
from graph_api.problems import Problem
from graph_api.query_answer import send_answer
from graph_api.query_service import QueryService, Reader, Reading


class ResourceEndpoint(Endpoint):
    """``GET /id/{path}``: what is said of a thing, what points at it, and labels around it."""

    async def handle(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, caller: Reader
    ) -> None:
        parameters = pairs(scope["query_string"], what="the query string")
        media_type = negotiate.required(headers.get("accept"), TRIPLE_TYPES)
        iri = self.service.ids.base + raw_path(scope)
        if any(character in iri for character in '<>"{}|^`\\ '):
            raise Problem(
                404,
                "not-found",
                "There is nothing of that name",
                "This path makes no IRI; percent-encode what stands in its segments.",
            )
        min_head = head_parameter(parameters, "min_head")
        reading = Reading(
            "describe",
            iri,
            graph_type=media_type,
            at=head_parameter(parameters, "at"),
            min_head=-1 if min_head is None else min_head,
        )
        answer = await self.service.read(caller, reading, receive, headers.get("if-none-match"))
        links = [f'<{iri}>; rel="describes"']
        if answer.more:
            # Not everything that points here fits a description; the query finds the rest.
            query = quote(f"SELECT ?s ?p {{ ?s ?p <{iri}> }}", safe="")
            links.append(
                f'</sparql?query={query}>; rel="related"; title="everything that points here"'
            )
        extra = {"Link": ", ".join(links)}
        await send_answer(answer, scope, send, extra)


class GraphNameEndpoint(Endpoint):
    """``GET /graph/{name}``: 303 to the document with the graph's triples."""

    async def handle(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, caller: Reader
    ) -> None:
        location = "/graphs" + raw_path(scope)[len("/graph") :]
        query = scope["query_string"].decode("latin-1")
        if query:
            location += f"?{query}"
        response = Response(status_code=303, headers={"Location": location})
        await response(scope, receive, send)


def build_routes(service: QueryService, authenticator: Authenticates) -> list[BaseRoute]:
    """The routes of what the graph's IRIs dereference to."""
    return [
        Route("/id/{path:path}", ResourceEndpoint(service, authenticator)),
        Route("/graph/{path:path}", GraphNameEndpoint(service, authenticator)),
    ]
