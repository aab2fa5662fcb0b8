"""The endpoints of Sentry and GlitchTip, as Sentry's clients use them.

Invariant: 200 is answered only after the payload is durable in the inbox, or after what is not kept
was counted with its reason. Clients give up on every other answer, and pause on 429 and wherever
X-Sentry-Rate-Limits says so. Every answer may be read by any page, for browsers send from wherever
the product runs; the answers hold nothing that is not public.
Source: https://develop.sentry.dev/sdk/foundations/transport/envelopes/,
https://develop.sentry.dev/sdk/foundations/transport/rate-limiting/
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ingest.cors import allowed, opened
from ingest.errors import DsnRefused
from ingest.events import ERROR_SOURCE
from ingest.otlp_receiver import OtlpReceiver
from ingest.receivers import ProblemReceiver
from ingest.sentry import refusal_of
from ingest.sentry_dsn import ingest_key, key_of, spellings_of
from ingest.sentry_envelope import ENVELOPE, EVENT, Envelope, parse

ENVELOPE_PATH: Final = "/api/{number}/envelope/"
STORE_PATH: Final = "/api/{number}/store/"
TRACES_PATH: Final = "/api/{number}/integration/otlp/v1/traces/"

_EXPOSED = "Retry-After, X-Sentry-Rate-Limits"
_USUAL_HEADERS = (
    "x-sentry-auth, authorization, content-type, content-encoding, sentry-trace, baggage"
)
_KEY_HINT = (
    "the DSN is not one of this server: give the client SENTRY_DSN as `fractalops projects create`"
    " printed it"
)


async def preflight(request: Request) -> Response:
    """Let a page of any origin send what its client sends."""
    return allowed(request, _USUAL_HEADERS)


class SentryReceiver(ProblemReceiver):
    """Takes envelopes and single events in for the project that the DSN's key belongs to.

    ``problem`` makes the answer of an error: clients log its member ``detail``.
    """

    signal = "errors"
    upstream_kind = "sentry"
    source = ERROR_SOURCE
    key_hint = _KEY_HINT
    key_error = DsnRefused

    def spellings(self, key: str) -> tuple[str, ...]:
        return spellings_of(key)

    async def envelope(self, request: Request) -> Response:
        """Take an envelope in."""
        return await self._taken_in(request, ENVELOPE)

    async def store(self, request: Request) -> Response:
        """Take one event in, as clients sent it before there were envelopes."""
        return await self._taken_in(request, EVENT)

    async def _taken_in(self, request: Request, content_type: str) -> Response:
        async def take(request: Request) -> Response:
            key = key_of(request)
            if key:
                # Then nothing of a stranger's is read.
                self.sender_of(request, key)
            payload = await self.read(request)
            envelope = await self.parsed(payload, lambda body: parse(body, content_type))
            self.sender_of(request, key or ingest_key(envelope.key))
            await self._keep(request, content_type, payload, envelope)
            return JSONResponse({"id": envelope.event_id} if envelope.event_id else {})

        response = await self.answer(request, take, self._problem)
        seconds = response.headers.get("Retry-After")
        if seconds is not None:
            # Of every category, for the whole organisation: the inbox is one.
            response.headers["X-Sentry-Rate-Limits"] = f"{seconds}::organization"
        return opened(response, _EXPOSED)

    async def _keep(
        self, request: Request, content_type: str, payload: bytes, envelope: Envelope
    ) -> None:
        """Keep the events of an envelope; one without any is counted alone."""
        reasons = Counter(map(refusal_of, envelope.items))
        if reasons[""]:
            # The decoder counts what it skips of a payload that is kept.
            sender, arrival = request.state.sender, self.arrived(request)
            await self.keep(sender, content_type, payload, reasons[""], arrival)
        else:
            for reason, number in reasons.items():
                if reason:
                    self.drop(reason, number)


class SentryOtlpReceiver(OtlpReceiver):
    """OTLP for clients that know a DSN, as the OTLP integration of Sentry's clients."""

    upstream_kind = "sentry"
    key_hint = _KEY_HINT
    key_error = DsnRefused

    def spellings(self, key: str) -> tuple[str, ...]:
        return spellings_of(key)

    def key_of(self, request: Request) -> str:
        return key_of(request)
