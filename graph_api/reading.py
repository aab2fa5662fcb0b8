"""Puts the reading endpoints into the application: SPARQL, graphs, assets, the graph's own IRIs.

Invariant: the query workers live exactly as long as the application answers; they are started in
the event loop that serves, whose thread they are bound to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from graph_api import assets, catalog, dereference, graphs, sparql
from graph_api.endpoint import Authenticates
from graph_api.query_operations import GRAPH_FORMATS, RESULT_FORMATS
from graph_api.query_service import QueryService
from graph_api.query_workers import QueryPool


@asynccontextmanager
async def running(pool: QueryPool, service: QueryService) -> AsyncIterator[None]:
    """The workers, for as long as the application answers: part of its lifespan."""
    await pool.start()
    try:
        yield
    finally:
        await pool.close()
        service.close()


def add_routes(
    app: FastAPI, service: QueryService, authenticator: Authenticates
) -> dict[str, ASGIApp]:
    """Adds and documents the routes.

    What comes back is for :class:`graph_api.endpoint.Direct`: FastAPI's own middleware and routing
    take as long as a short query does.
    """
    query = sparql.SparqlEndpoint(service, authenticator)
    app.router.routes.extend(sparql.build_routes(query))
    app.router.routes.extend(graphs.build_routes(service, authenticator))
    app.router.routes.extend(assets.build_routes(service, authenticator))
    app.router.routes.extend(dereference.build_routes(service, authenticator))
    app.openapi = _documented(app)  # type: ignore[method-assign]
    return {sparql.PATH: query}


def _documented(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """``app.openapi`` with the raw routes described as well."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            schema.setdefault("paths", {}).update(_paths())
        assert app.openapi_schema is not None
        return app.openapi_schema

    return openapi


def _paths() -> dict[str, Any]:
    head = [
        _parameter("at", "Read the graph right after this log entry.", "integer"),
        _parameter("min_head", "Read a graph at least as new as this log entry.", "integer"),
    ]
    query = [
        _parameter("default-graph-uri", "A graph of the default graph; replaces FROM.", many=True),
        _parameter("named-graph-uri", "A named graph; replaces FROM NAMED.", many=True),
        *head,
        _parameter("timeout", "Seconds the query may take.", "number"),
        _parameter("entailment", "'off' leaves out what is inferred; 'on' is usual."),
    ]
    results = _content(*RESULT_FORMATS, *GRAPH_FORMATS)
    triples = _content(*graphs.TRIPLE_TYPES)
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        sparql.PATH: {
            "get": _operation(
                "Query the graph; without a query, describe this service.",
                [_parameter("query", "A SPARQL 1.1 query."), *query],
                results,
            ),
            "post": {
                **_operation("Query the graph.", query, results),
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/sparql-query": {"schema": {"type": "string"}},
                        "application/x-www-form-urlencoded": {
                            "schema": {
                                "type": "object",
                                "properties": {"query": {"type": "string"}},
                                "required": ["query"],
                            }
                        },
                    },
                },
            },
        },
        graphs.PATH: {
            "get": _operation(
                "The graphs and their sizes, or one graph.",
                [
                    _parameter("graph", "The IRI or short name of a graph; 'all' for every one."),
                    _parameter("default", "The merge of all unrestricted graphs."),
                    *head,
                ],
                _content(*graphs.LIST_TYPES, *graphs.QUAD_TYPES),
            )
        },
        graphs.PATH + "/{name}": {"get": _operation("One graph.", [name, *head], triples)},
        catalog.PATH: {
            "get": _operation(
                "The entities of the catalog, page by page.",
                [
                    _parameter("kind", "Entities of this kind only.", many=True),
                    _parameter("since", "Only what changed after this log entry.", "integer"),
                    _parameter("limit", "Entities on a page.", "integer"),
                    _parameter("cursor", "Where the page begins, as the one before it says."),
                    head[0],
                ],
                _content(*catalog.TYPES),
            )
        },
        assets.ASSETS: {
            "get": _operation(
                "The runtime assets.",
                [
                    _parameter("role", "Those with this role only."),
                    _parameter("environment", "Those of this environment only, by name or IRI."),
                    _parameter("kind", "'lxc' or 'kubernetes'."),
                    *head,
                ],
                _content(*assets.TYPES),
            )
        },
        assets.ASSETS + "/{name}": {
            "get": _operation("One runtime asset.", [name, *head], _content(*assets.TYPES))
        },
        assets.ENDPOINTS: {
            "get": _operation(
                "The integration endpoints.",
                [
                    _parameter("product", "Those of this product only."),
                    _parameter("environment", "Those of this environment only, by name or IRI."),
                    *head,
                ],
                _content(*assets.TYPES),
            )
        },
        assets.ENDPOINTS + "/{name}": {
            "get": _operation("One integration endpoint.", [name, *head], _content(*assets.TYPES))
        },
        "/graph/{name}": {
            "get": {
                **_operation("The IRI of a graph leads to its triples.", [name, *head], {}),
                "responses": {"303": {"description": "The address of its triples"}},
            }
        },
        "/id/{name}": {
            "get": _operation("What is known of the thing with this IRI.", [name, *head], triples)
        },
    }


def _operation(
    summary: str, parameters: list[dict[str, Any]], content: dict[str, Any]
) -> dict[str, Any]:
    return {
        "tags": ["reading"],
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "The answer", "content": content},
            "304": {"description": "It is what If-None-Match names"},
        },
    }


def _parameter(
    name: str, description: str, kind: str = "string", *, many: bool = False
) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": kind}
    if many:
        schema = {"type": "array", "items": schema}
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _content(*media_types: str) -> dict[str, Any]:
    return {media_type: {} for media_type in dict.fromkeys(media_types)}
