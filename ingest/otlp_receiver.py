"""OTLP/HTTP: ``POST /v1/traces``, ``/v1/logs`` and ``/v1/metrics``, and where others expect them.

Invariant: the answer is in the encoding of the request. What was taken in only in part says so in a
success, for a client that sent it again would send the same; an error's body is a
``google.rpc.Status``.
Specification: https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ingest.bodies import MAX_BODY
from ingest.cors import allowed, opened
from ingest.errors import IngestError
from ingest.inbox import Inbox
from ingest.otlp import PROTOBUF, Read, Signal, answer, encoding_of, read, refusal
from ingest.receivers import KEY_HEADER, Receiver, key_in_headers
from ingest.sender import FindSender, Sender
from ingest.upstream import Arrival

# google.rpc.Code: INVALID_ARGUMENT, UNAUTHENTICATED, PERMISSION_DENIED, RESOURCE_EXHAUSTED,
# UNAVAILABLE; INTERNAL for all others.
_CODES: Final = {400: 3, 401: 16, 403: 7, 413: 3, 415: 3, 429: 8, 503: 14}
_INTERNAL: Final = 13

_USUAL_HEADERS = f"content-type, content-encoding, authorization, {KEY_HEADER}"


class OtlpReceiver(Receiver):
    """Takes one signal in for the project that the request's ingest key belongs to:
    ``app.add_route("/v1/logs", OtlpReceiver(LOGS, ...).post, methods=["POST"])``.
    """

    upstream_kind = "otlp"
    key_hint = (
        "send the project's ingest key: set OTEL_EXPORTER_OTLP_HEADERS as `fractalops projects"
        f" create` printed it, or to {KEY_HEADER}=KEY"
    )

    def __init__(
        self,
        otlp: Signal[Any],
        inbox: Inbox,
        find_sender: FindSender,
        *,
        max_body: int = MAX_BODY,
    ) -> None:
        super().__init__(inbox, find_sender, max_body=max_body)
        self.otlp = otlp
        self.signal = otlp.name
        self.source = otlp.source

    def key_of(self, request: Request) -> str:
        """The ingest key that a request names."""
        return key_in_headers(request)

    async def post(self, request: Request) -> Response:
        """Answer one request, as a Starlette endpoint."""
        # Until the key is known to be good, what is wrong with the type is nobody's business.
        encoding = PROTOBUF

        async def take(request: Request) -> Response:
            nonlocal encoding
            sender = self.sender_of(request, self.key_of(request))
            encoding = encoding_of(request.headers.get("content-type", ""))
            payload = await self.read(request)
            found = await self.take_in(sender, encoding, payload, self.arrived(request))
            return Response(answer(self.otlp, found, encoding), media_type=encoding)

        def refuse(error: IngestError) -> Response:
            """A ``google.rpc.Status`` in the encoding of the request."""
            code = _CODES.get(error.status, _INTERNAL)
            body = refusal(code, f"{error.title}: {error.detail}", encoding)
            return Response(body, status_code=error.status, media_type=encoding)

        return await self.answer(request, take, refuse)

    async def take_in(
        self, sender: Sender, encoding: str, payload: bytes, arrival: Arrival | None = None
    ) -> Read[Any]:
        """Make a request durable, and say what was read of it; one without items is not kept.

        Raises as :func:`ingest.otlp.read` does.
        """
        found = await self.parsed(payload, lambda body: read(body, encoding, self.otlp))
        if found.items:
            # The decoder counts what it skips of a payload that is kept.
            await self.keep(sender, encoding, payload, found.items, arrival)
        return found


class PostHogOtlpReceiver(OtlpReceiver):
    """The same for PostHog's clients, which also name the key in the query, and send from pages."""

    upstream_kind = "posthog"
    key_hint = (
        "send the project's ingest key as Bearer token or as `?token=`: give the client"
        " POSTHOG_PROJECT_API_KEY as `fractalops projects create` printed it"
    )

    def key_of(self, request: Request) -> str:
        return key_in_headers(request) or request.query_params.get("token", "").strip()

    async def post(self, request: Request) -> Response:
        return opened(await super().post(request))

    async def preflight(self, request: Request) -> Response:
        """Let a page of any origin send what its client sends."""
        return allowed(request, _USUAL_HEADERS)
