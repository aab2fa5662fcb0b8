"""PostHog's endpoints, as its clients use them.

Invariant: 200 is answered only after the payload is durable in the inbox, or after what is not kept
was counted with its reason. The clients take nothing else for a success, retry 408, 429 and 5xx,
and give up on 400, 401 and 413. Every answer may be read by any page, for browsers send from
wherever the product runs; the answers hold nothing that is not public.

Where a PostHog is behind the project, it is asked for flags, configuration, surveys and the like.
Without one flags stay as the clients have them, and the configuration asks for no more than events.
Source: https://posthog.com/docs/api/capture, https://posthog.com/docs/api/flags
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ingest.attributes import MAX_NAME, text
from ingest.bounded_json import LARGE
from ingest.cors import allowed, opened
from ingest.errors import PayloadUndecodable
from ingest.events import PRODUCT_SOURCE
from ingest.posthog import SESSION_REPLAY, refusal_of
from ingest.posthog_request import keys_named, parse
from ingest.receivers import KEY_HEADER, ProblemReceiver, arrival_of, key_in_headers
from ingest.relay import Relay
from ingest.sender import Sender
from ingest.upstream import Arrival, outgoing

EVENT_PATHS: Final = (
    "/batch/",
    "/e/",
    "/i/v0/e/",
    "/capture/",
    "/track/",
    "/engage/",
    "/i/v0/ai/batch/",
)
RESULTS_PATH: Final = "/i/v1/analytics/events"
FLAGS_PATHS: Final = ("/flags/", "/decide/")
REPLAY_PATH: Final = "/s/"
CONFIG_PATH: Final = "/array/{key}/config"
QUESTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "/api/surveys/": {"surveys": []},
    "/api/web_experiments/": {"experiments": []},
    "/api/early_access_features/": {"earlyAccessFeatures": []},
    "/api/feature_flag/local_evaluation/": {"flags": [], "group_type_mapping": {}, "cohorts": {}},
    "/flags/definitions/": {"flags": [], "group_type_mapping": {}, "cohorts": {}},
}
"""What clients ask with GET, their key as ``token`` in the query; the answers without a PostHog."""

_NO_UPSTREAM = "no PostHog is configured behind this server; flags stay as the client has them"
_FLAGS = {
    "flags": {},
    "featureFlags": {},
    "featureFlagPayloads": {},
    # Else a client would take every flag for switched off.
    "errorsWhileComputingFlags": True,
    "detail": _NO_UPSTREAM,
}
_CONFIG = {
    "supportedCompression": ["gzip", "gzip-js", "base64"],
    "analytics": {"endpoint": "/i/v0/e/"},
    "elementsChainAsString": True,
    "defaultIdentifiedOnly": True,
    "hasFeatureFlags": False,
    "sessionRecording": False,
    "heatmaps": False,
    "surveys": False,
    "captureDeadClicks": False,
    "capturePerformance": False,
    "autocaptureExceptions": False,
    "autocapture_opt_out": False,
    "isAuthenticated": False,
    "toolbarParams": {},
    "siteApps": [],
    "detail": _NO_UPSTREAM,
}
_CONFIG_SECONDS = 300
_USUAL_HEADERS = (
    f"authorization, content-type, content-encoding, {KEY_HEADER}, x-posthog-session-id,"
    " x-posthog-distinct-id, x-posthog-window-id, traceparent, tracestate, baggage"
)


class PostHogReceiver(ProblemReceiver):
    """Takes product events in for the project that the API key of the request belongs to.

    Each public method is a Starlette endpoint. ``problem`` makes the answer of an error: clients
    show its member ``detail``.
    """

    signal = "product-events"
    upstream_kind = "posthog"
    relay: Relay | None = None
    """Asks the PostHog behind; set by the composition root."""

    source = PRODUCT_SOURCE
    key_hint = (
        "the API key is the project's ingest key, as `fractalops projects create` printed it:"
        " give it to the client as its project API key"
    )

    async def capture(self, request: Request) -> Response:
        """Take events in, as all clients but the newest send them."""

        async def take(request: Request) -> Response:
            reasons = {reason for _, reason in await self._taken_in(request)}
            if "" not in reasons and reasons != {SESSION_REPLAY}:
                raise PayloadUndecodable(
                    "nothing in the body is an event: each needs its name as `event`"
                )
            return JSONResponse({"status": "Ok"})

        return await self._respond(request, take)

    async def capture_with_results(self, request: Request) -> Response:
        """Take events in, and say of each by its uuid what became of it."""

        async def take(request: Request) -> Response:
            results = {
                item["uuid"]: {"result": "drop", "details": reason} if reason else {"result": "ok"}
                for item, reason in await self._taken_in(request)
                if isinstance(item, dict) and isinstance(item.get("uuid"), str)
            }
            return JSONResponse({"results": results})

        return await self._respond(request, take)

    async def flags(self, request: Request) -> Response:
        """Say what the PostHog behind says, or that flags are not known here."""

        async def take(request: Request) -> Response:
            sender, _, _ = await self._opened(request)
            arrival, request.state.arrival = self.arrived(request), None
            return await self._asked(sender, arrival) or JSONResponse(_FLAGS)

        return await self._respond(request, take)

    async def replay(self, request: Request) -> Response:
        """Drop a recording of a session, which a client would send again if it were refused."""

        async def take(request: Request) -> Response:
            _, _, items = await self._opened(request)
            self.drop(SESSION_REPLAY, len(items))
            return JSONResponse({"status": "Ok"})

        return await self._respond(request, take)

    async def config(self, request: Request) -> Response:
        """What a browser asks before it sends."""
        found = await self._asked_by(request, request.path_params["key"])
        return self._public(found or JSONResponse(_CONFIG))

    async def config_script(self, request: Request) -> Response:
        """The same as a script, for pages whose client asks for it so."""
        found = await self._asked_by(request, request.path_params["key"])
        if found is not None:
            return self._public(found)
        key = _in_script(request.path_params["key"])
        script = (
            "(function(){var all=window._POSTHOG_REMOTE_CONFIG=window._POSTHOG_REMOTE_CONFIG||{};"
            f"all[{key}]={{config:{_in_script(_CONFIG)},siteApps:[]}};}})();\n"
        )
        return self._public(Response(script, media_type="application/javascript"))

    async def question(self, request: Request) -> Response:
        """What else clients ask, such as for surveys."""
        path = request.url.path.rstrip("/") + "/"

        async def take(request: Request) -> Response:
            key = request.query_params.get("token", "") or request.query_params.get("api_key", "")
            self.holder_of(key)
            return await self._asked_by(request, key) or JSONResponse(QUESTIONS[path])

        return await self._respond(request, take)

    async def preflight(self, request: Request) -> Response:
        """Let a page of any origin send what its client sends."""
        return allowed(request, _USUAL_HEADERS)

    async def _taken_in(self, request: Request) -> list[tuple[Any, str]]:
        """Keep the events of a request; each item, and why it is none (empty where it is one)."""
        sender, payload, items = await self._opened(request)
        if not items:
            raise PayloadUndecodable("the body holds no event")
        reasons = Counter(map(refusal_of, items))
        if reasons[""]:
            # The decoder counts what it skips of a payload that is kept.
            media_type = text(request.headers.get("content-type", ""), MAX_NAME)
            arrival = self.arrived(request)
            await self.keep(sender, media_type, payload, reasons[""], arrival)
        else:
            for reason, number in reasons.items():
                self.drop(reason, number)
        return [(item, refusal_of(item)) for item in items]

    async def _opened(self, request: Request) -> tuple[Sender, bytes, tuple[Any, ...]]:
        """Sender, payload and items of a request."""
        key = key_in_headers(request)
        if key:
            # Then nothing of a stranger's is read.
            self.sender_of(request, key)
        payload = await self.read(request)
        asked = request.query_params.get("api_key", "") or request.query_params.get("token", "")
        if len(payload) > LARGE and not key:
            # To parse it would be too much work for a stranger.
            named = await self.parsed(payload, keys_named)
            if not any(map(self.is_known, (*named, asked))):
                raise self.key_refused()
        opened = await self.parsed(payload, parse)
        return self.sender_of(request, key or opened.key or asked), payload, opened.items

    async def _asked_by(self, request: Request, key: str) -> Response | None:
        """The answer of the PostHog behind to a question without a body."""
        if not self.is_known(key):
            return None
        sender = self.holder_of(key)
        if not self.is_forwarded(sender):
            return None
        arrival = arrival_of(request, b"", b"")
        arrival.keys = (key,)
        return await self._asked(sender, arrival)

    async def _asked(self, sender: Sender, arrival: Arrival | None) -> Response | None:
        if arrival is None or self.outbox is None or self.relay is None:
            return None
        there = self.outbox.upstream(sender.project, self.upstream_kind)
        question = None if there is None else outgoing(arrival, there)
        if there is None or question is None:
            return None
        return await self.relay.ask(there, question)

    async def _respond(
        self, request: Request, take: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        return opened(await self.answer(request, take, self._problem))

    def _public(self, response: Response) -> Response:
        response.headers["Cache-Control"] = f"public, max-age={_CONFIG_SECONDS}"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return opened(response)


def _in_script(value: object) -> str:
    """A JSON value as it may stand in a script, also one that stands in a page."""
    return json.dumps(value).replace("<", "\\u003c").replace("/", "\\/")
