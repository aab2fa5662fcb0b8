"""Where PostHog and GlitchTip call, when they are told to by a webhook.

Invariant: 2xx is answered only after the payload is durable in the inbox. Neither signs its calls,
so that the ingest key is the secret: a header carries it, or, for GlitchTip, which sends none, the
address itself. Keys that a payload names are those of other servers, and are not looked at.
Source: https://posthog.com/docs/cdp/destinations/webhook,
https://glitchtip.com/documentation/error-tracking#webhooks
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ingest import glitchtip_alert, posthog_request
from ingest.errors import PayloadUndecodable
from ingest.events import ERROR_SOURCE, PRODUCT_SOURCE
from ingest.glitchtip_alert import ALERT, is_alert
from ingest.posthog import refusal_of
from ingest.receivers import KEY_HEADER, ProblemReceiver, key_in_headers

POSTHOG_PATHS: Final = ("/webhooks/posthog", "/webhooks/posthog/{key}")
GLITCHTIP_PATHS: Final = ("/webhooks/glitchtip", "/webhooks/glitchtip/{key}")

_JSON = "application/json"


class _WebhookReceiver(ProblemReceiver, ABC):
    """What both do alike; ``post`` is a Starlette endpoint."""

    signal = "webhooks"
    content_type = _JSON

    @staticmethod
    @abstractmethod
    def count(payload: bytes) -> int:
        """How many events a payload holds. Raises ``PayloadError`` and ``BodyError``."""

    async def post(self, request: Request) -> Response:
        """Take one call in."""

        async def take(request: Request) -> Response:
            sender = self.sender_of(request, _key_of(request))
            payload = await self.read(request)
            items = await self.parsed(payload, self.count)
            await self.keep(sender, self.content_type, payload, items)
            return JSONResponse({"status": "Ok"})

        return await self.answer(request, take, self._problem)


class PostHogWebhook(_WebhookReceiver):
    """Takes the events in that PostHog passes on."""

    source = PRODUCT_SOURCE
    key_hint = (
        f"send the project's ingest key: add the header {KEY_HEADER} to the destination in PostHog"
    )

    @staticmethod
    def count(payload: bytes) -> int:
        items = posthog_request.parse(payload).items
        found = sum(not refusal_of(item) for item in items)
        if not found:
            raise PayloadUndecodable(
                'the body is not a call of PostHog\'s webhook: {"event": {"uuid", "event",'
                ' "distinct_id", "properties", "timestamp"}, "person": {...}}, with the name of the'
                " event as `event` inside"
            )
        return found


class GlitchTipWebhook(_WebhookReceiver):
    """Takes the alerts in that GlitchTip sends."""

    source = ERROR_SOURCE
    content_type = ALERT
    key_hint = (
        "put the project's ingest key behind the address: /webhooks/glitchtip/KEY, as recipient of"
        " the alert in GlitchTip"
    )

    @staticmethod
    def count(payload: bytes) -> int:
        return sum(map(is_alert, glitchtip_alert.parse(payload)))


def _key_of(request: Request) -> str:
    """The ingest key in a header, in the address or in the query."""
    in_path: str = request.path_params.get("key", "")
    return key_in_headers(request) or in_path or request.query_params.get("key", "")
