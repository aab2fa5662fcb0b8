"""The routes by which telemetry comes in.

Invariant: each address is a receiver's and takes an ingest key instead of a token; clients that
leave a trailing slash out, or add one, are answered and not sent elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from graph_api.problems import of_ingest
from ingest.errors import IngestError
from ingest.inbox import Inbox
from ingest.posthog_receiver import (
    CONFIG_PATH,
    EVENT_PATHS,
    FLAGS_PATHS,
    REPLAY_PATH,
    RESULTS_PATH,
    PostHogReceiver,
)
from ingest.receivers import TracesReceiver

TRACES_PATH: Final = "/v1/traces"
_POSTHOG_PATHS = (*EVENT_PATHS, RESULTS_PATH, *FLAGS_PATHS, REPLAY_PATH)
OWN_BODIES: Final = (
    TRACES_PATH,
    *(spelling for path in _POSTHOG_PATHS for spelling in (path, path.rstrip("/"))),
)
"""Paths whose receivers bound what they read themselves."""

_TRACES_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("application/x-protobuf", "application/json")
        },
    }
}
_EVENTS_BODY = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {}}}},
}
_KEY_PARAMETER = {
    "parameters": [{"name": "key", "in": "path", "required": True, "schema": {"type": "string"}}]
}

Endpoint = Callable[[Request], Awaitable[Response]]


def add_routes(
    app: FastAPI, inbox: Inbox, resolve_key: Callable[[str], str | None], *, otlp_bytes: int
) -> None:
    """Let the receivers answer. ``resolve_key`` gives the project of an ingest key."""
    traces = TracesReceiver(inbox, resolve_key, max_body=otlp_bytes)
    app.add_api_route(
        TRACES_PATH,
        traces.post,
        methods=["POST"],
        tags=["telemetry"],
        summary="Take OTLP traces in; the ingest key is the bearer token.",
        response_class=Response,
        openapi_extra=_TRACES_BODY,
    )
    posthog = PostHogReceiver(inbox, resolve_key, _answer)
    for path in EVENT_PATHS:
        _add(app, path, posthog.capture, posthog, "Take product events in from a PostHog client.")
    _add(app, RESULTS_PATH, posthog.capture_with_results, posthog, "The same, told one by one.")
    for path in FLAGS_PATHS:
        _add(app, path, posthog.flags, posthog, "Feature flags: none are known here.")
    _add(app, REPLAY_PATH, posthog.replay, posthog, "Session recordings: dropped and counted.")
    for path, endpoint in (
        (CONFIG_PATH, posthog.config),
        (f"{CONFIG_PATH}.js", posthog.config_script),
    ):
        app.add_api_route(
            path,
            endpoint,
            methods=["GET"],
            tags=["telemetry"],
            summary="What a PostHog client in a browser asks before it sends.",
            response_class=Response,
            openapi_extra=_KEY_PARAMETER,
        )


def _add(
    app: FastAPI, path: str, endpoint: Endpoint, posthog: PostHogReceiver, summary: str
) -> None:
    """Both spellings of a path, and what browsers ask beforehand."""
    for spelling in dict.fromkeys((path, path.rstrip("/"))):
        app.add_api_route(
            spelling,
            endpoint,
            methods=["POST"],
            tags=["telemetry"],
            summary=summary,
            response_class=Response,
            openapi_extra=_EVENTS_BODY,
            include_in_schema=spelling == path,
        )
        app.add_api_route(spelling, posthog.preflight, methods=["OPTIONS"], include_in_schema=False)


def _answer(error: IngestError) -> Response:
    return of_ingest(error).response()
