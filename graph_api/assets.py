"""``/runtime-assets`` and ``/endpoints``: what the graph knows of them, as typed JSON.

Invariant: an answer is what ``graph/assets`` states at one head, read by the caller's own rights; a
locator chooses nothing. An id that isn't there is answered with those that are.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any

from pyoxigraph import RdfFormat, parse
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from graph_api import negotiate
from graph_api.endpoint import Authenticates, Endpoint, bad_parameter, head_parameter, pairs, single
from graph_api.problems import Problem
from graph_api.query_answer import Answer, send_answer
from graph_api.query_service import QueryService, Reader, Reading
from runtime.asset_graph import AssetGraph, read_assets
from runtime.asset_json import asset_json, endpoint_json
from runtime.assets import KINDS
from runtime.errors import AssetError

ASSETS = "/runtime-assets"
ENDPOINTS = "/endpoints"
TYPES = ("application/json",)

_TRIPLES = "application/n-triples"


class _AssetsEndpoint(Endpoint, ABC):
    """What both have in common: the view of the graph at the head that is asked for."""

    filters: tuple[str, ...] = ()

    def __init__(self, service: QueryService, authenticator: Authenticates) -> None:
        super().__init__(service, authenticator)
        self._graph = service.ids.graph("assets")

    async def handle(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, caller: Reader
    ) -> None:
        parameters = pairs(scope["query_string"], what="the query string")
        media_type = negotiate.required(headers.get("accept"), TYPES)
        name = scope.get("path_params", {}).get("name")
        known = ("at", "min_head", *(() if name else self.filters))
        for given, _ in parameters:
            if given not in known:
                raise bad_parameter(given[:40], f"only {', '.join(known)} are known here")
        wanted = {key: single(parameters, key) for key in self.filters}
        min_head = head_parameter(parameters, "min_head")
        reading = Reading(
            "query",
            f"CONSTRUCT {{ ?s ?p ?o }} WHERE {{ GRAPH <{self._graph}> {{ ?s ?p ?o }} }}",
            graph_type=_TRIPLES,
            at=head_parameter(parameters, "at"),
            min_head=-1 if min_head is None else min_head,
        )
        answer = await self.service.read(caller, reading, receive)
        graph = read_assets(parse(answer.read(), RdfFormat.N_TRIPLES))
        if name:
            try:
                document = self.one(graph, name)
            except AssetError as error:
                raise Problem(
                    404, "unknown-asset", "There is nothing of that id", f"{error}."
                ) from error
        else:
            document = {"items": self.several(graph, wanted)}
        body = json.dumps({"head": answer.head, **document}, ensure_ascii=False).encode()
        whole = Answer(answer.head, None, media_type, body, size=len(body))
        await send_answer(whole, scope, send)

    @abstractmethod
    def one(self, graph: AssetGraph, name: str) -> dict[str, Any]:
        """The document of one of them. Raises :class:`AssetError`."""

    @abstractmethod
    def several(self, graph: AssetGraph, wanted: dict[str, str | None]) -> list[dict[str, Any]]:
        """The documents of those that the parameters ask for."""

    def environment(self, wanted: dict[str, str | None]) -> str | None:
        """The IRI of the environment that is asked for, by name or as it is."""
        name = wanted["environment"]
        return name if not name or ":" in name else self.service.ids.environment(name)


class RuntimeAssetsEndpoint(_AssetsEndpoint):
    """``GET /runtime-assets`` and ``/runtime-assets/{asset_id}``."""

    filters = ("role", "environment", "kind")

    def one(self, graph: AssetGraph, name: str) -> dict[str, Any]:
        return asset_json(graph.asset(name), self.service.ids)

    def several(self, graph: AssetGraph, wanted: dict[str, str | None]) -> list[dict[str, Any]]:
        role, kind, environment = wanted["role"], wanted["kind"], self.environment(wanted)
        if kind is not None and kind not in KINDS:
            raise bad_parameter("kind", f"{kind[:40]!r} is none of {', '.join(KINDS)}")
        return [
            asset_json(asset, self.service.ids)
            for asset in graph.assets.values()
            if (role is None or role in asset.roles)
            and kind in (None, asset.kind)
            and environment in (None, asset.environment)
        ]


class EndpointsEndpoint(_AssetsEndpoint):
    """``GET /endpoints`` and ``/endpoints/{endpoint_id}``."""

    filters = ("product", "environment")

    def one(self, graph: AssetGraph, name: str) -> dict[str, Any]:
        return endpoint_json(graph.endpoint(name), self.service.ids)

    def several(self, graph: AssetGraph, wanted: dict[str, str | None]) -> list[dict[str, Any]]:
        product, environment = wanted["product"], self.environment(wanted)
        return [
            endpoint_json(endpoint, self.service.ids)
            for endpoint in graph.endpoints.values()
            if product in (None, endpoint.product) and environment in (None, endpoint.environment)
        ]


def build_routes(service: QueryService, authenticator: Authenticates) -> list[BaseRoute]:
    """The routes of runtime assets and integration endpoints."""
    assets = RuntimeAssetsEndpoint(service, authenticator)
    endpoints = EndpointsEndpoint(service, authenticator)
    return [
        Route(ASSETS, assets),
        Route(ASSETS + "/{name}", assets),
        Route(ENDPOINTS, endpoints),
        Route(ENDPOINTS + "/{name}", endpoints),
    ]
