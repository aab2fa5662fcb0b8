"""The routes by which telemetry comes in.

Invariant: each address is a receiver's and takes an ingest key instead of a token; clients that
leave a trailing slash out, or add one, are answered and not sent elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from graph_api.problems import of_ingest
from ingest.errors import IngestError
from ingest.inbox import Inbox
from ingest.openlineage_receiver import BATCH_PATH, LINEAGE_PATH, LineageReceiver
from ingest.otlp import LOGS, METRICS, TRACES, Signal
from ingest.otlp_receiver import OtlpReceiver, PostHogOtlpReceiver
from ingest.outbox import Outbox
from ingest.posthog_receiver import (
    CONFIG_PATH,
    EVENT_PATHS,
    FLAGS_PATHS,
    QUESTIONS,
    REPLAY_PATH,
    RESULTS_PATH,
    PostHogReceiver,
)
from ingest.relay import Relay
from ingest.sender import FindSender
from ingest.sentry_receiver import ENVELOPE_PATH, STORE_PATH, SentryOtlpReceiver, SentryReceiver
from ingest.sentry_receiver import TRACES_PATH as SENTRY_TRACES_PATH
from ingest.sentry_receiver import preflight as sentry_preflight
from ingest.webhook_receiver import (
    GLITCHTIP_PATHS,
    POSTHOG_PATHS,
    GlitchTipWebhook,
    PostHogWebhook,
)

SIGNALS: Final[tuple[Signal[Any], ...]] = (TRACES, LOGS, METRICS)
OTLP_PATHS: Final = tuple(f"/v1/{signal.name}" for signal in SIGNALS)
POSTHOG_OTLP_PATHS: Final = tuple(f"/i{path}" for path in OTLP_PATHS)
_POSTHOG_PATHS = (*EVENT_PATHS, RESULTS_PATH, *FLAGS_PATHS, REPLAY_PATH)
OWN_BODIES: Final = (
    *OTLP_PATHS,
    *POSTHOG_PATHS,
    *GLITCHTIP_PATHS,
    LINEAGE_PATH,
    BATCH_PATH,
    *(
        spelling
        for path in (
            *(*_POSTHOG_PATHS, *POSTHOG_OTLP_PATHS),
            *(ENVELOPE_PATH, STORE_PATH, SENTRY_TRACES_PATH),
        )
        for spelling in (path, path.rstrip("/"))
    ),
)
"""Paths, or templates of paths, whose receivers bound what they read themselves."""

_OTLP_BODY = {
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
_ENVELOPE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-sentry-envelope": {"schema": {"type": "string", "format": "binary"}}
        },
    }
}
_NUMBER_PARAMETER = {
    "parameters": [{"name": "number", "in": "path", "required": True, "schema": {"type": "string"}}]
}
_KEY_PARAMETER = {
    "parameters": [{"name": "key", "in": "path", "required": True, "schema": {"type": "string"}}]
}

_TOKEN_PARAMETER = {
    "parameters": [{"name": "token", "in": "query", "required": True, "schema": {"type": "string"}}]
}

_CAPTURE = "Take product events in from a PostHog client."

Endpoint = Callable[[Request], Awaitable[Response]]


def otlp_receivers(
    inbox: Inbox, find_sender: FindSender, *, otlp_bytes: int, outbox: Outbox | None = None
) -> tuple[OtlpReceiver, ...]:
    """The receivers of the three signals, whatever they are reached by."""
    found = tuple(
        OtlpReceiver(signal, inbox, find_sender, max_body=otlp_bytes) for signal in SIGNALS
    )
    for receiver in found:
        receiver.outbox = outbox
    return found


def add_routes(
    app: FastAPI,
    inbox: Inbox,
    find_sender: FindSender,
    *,
    otlp_bytes: int,
    outbox: Outbox | None = None,
    relay: Relay | None = None,
) -> None:
    """Let the receivers answer. ``find_sender`` says whose an ingest key is; ``outbox`` is for what
    is also forwarded, ``relay`` asks the products behind."""
    for otlp in otlp_receivers(inbox, find_sender, otlp_bytes=otlp_bytes, outbox=outbox):
        app.add_api_route(
            f"/v1/{otlp.signal}",
            otlp.post,
            methods=["POST"],
            tags=["telemetry"],
            summary=f"Take OTLP {otlp.signal} in; the ingest key is the bearer token.",
            response_class=Response,
            openapi_extra=_OTLP_BODY,
        )
    for signal, path in zip(SIGNALS, POSTHOG_OTLP_PATHS, strict=True):
        receiver = PostHogOtlpReceiver(signal, inbox, find_sender, max_body=otlp_bytes)
        receiver.outbox = outbox
        summary = f"Take OTLP {signal.name} in from a PostHog client."
        _add(app, path, receiver.post, receiver.preflight, summary, _OTLP_BODY)
    lineage = LineageReceiver(inbox, find_sender, _answer)
    for path, endpoint, summary in (
        (LINEAGE_PATH, lineage.post, "Take an event in from an OpenLineage client."),
        (BATCH_PATH, lineage.post_batch, "Take a list of them in; says which are none."),
    ):
        app.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            tags=["telemetry"],
            summary=summary,
            response_class=Response,
            openapi_extra=_EVENTS_BODY,
        )
    posthog = PostHogReceiver(inbox, find_sender, _answer)
    posthog.outbox, posthog.relay = outbox, relay
    for path, endpoint, summary in (
        *((path, posthog.capture, _CAPTURE) for path in EVENT_PATHS),
        (RESULTS_PATH, posthog.capture_with_results, "The same, told one by one."),
        *((path, posthog.flags, "Feature flags: none are known here.") for path in FLAGS_PATHS),
        (REPLAY_PATH, posthog.replay, "Session recordings: dropped and counted."),
    ):
        _add(app, path, endpoint, posthog.preflight, summary, _EVENTS_BODY)
    sentry = SentryReceiver(inbox, find_sender, _answer)
    traces = SentryOtlpReceiver(TRACES, inbox, find_sender, max_body=otlp_bytes)
    sentry.outbox = traces.outbox = outbox
    for path, endpoint, summary, body in (
        (
            ENVELOPE_PATH,
            sentry.envelope,
            "Take an envelope in from a Sentry client.",
            _ENVELOPE_BODY,
        ),
        (STORE_PATH, sentry.store, "Take one event in, as older clients send it.", _EVENTS_BODY),
        (SENTRY_TRACES_PATH, traces.post, "Take OTLP traces in; the DSN is the key.", _OTLP_BODY),
    ):
        _add(app, path, endpoint, sentry_preflight, summary, body | _NUMBER_PARAMETER)
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
    for path in QUESTIONS:
        for spelling in (path, path.rstrip("/")):
            app.add_api_route(
                spelling,
                posthog.question,
                methods=["GET"],
                tags=["telemetry"],
                summary="What the PostHog behind says, or nothing harmful.",
                response_class=Response,
                openapi_extra=_TOKEN_PARAMETER,
                include_in_schema=spelling == path,
            )
            app.add_api_route(
                spelling, posthog.preflight, methods=["OPTIONS"], include_in_schema=False
            )
    _add_webhooks(app, inbox, find_sender)


def _add_webhooks(app: FastAPI, inbox: Inbox, find_sender: FindSender) -> None:
    """What other servers call; a key in the address is for those that send no headers."""
    for paths, receiver, summary in (
        (POSTHOG_PATHS, PostHogWebhook(inbox, find_sender, _answer), "A webhook of PostHog."),
        (GLITCHTIP_PATHS, GlitchTipWebhook(inbox, find_sender, _answer), "GlitchTip's alerts."),
    ):
        for path in paths:
            app.add_api_route(
                path,
                receiver.post,
                methods=["POST"],
                tags=["telemetry"],
                summary=summary,
                response_class=Response,
                openapi_extra=_EVENTS_BODY | (_KEY_PARAMETER if "{" in path else {}),
            )


def _add(
    app: FastAPI,
    path: str,
    endpoint: Endpoint,
    preflight: Endpoint,
    summary: str,
    described: dict[str, Any],
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
            openapi_extra=described,
            include_in_schema=spelling == path,
        )
        app.add_api_route(spelling, preflight, methods=["OPTIONS"], include_in_schema=False)


def _answer(error: IngestError) -> Response:
    return of_ingest(error).response()
