"""The OTLP/HTTP receiver: ``POST /v1/traces``.

Invariant: 200 is answered only after the payload was parsed and is durable in the inbox; every
refusal says in the request's own encoding what to do, and stores nothing. Statuses that tell an
exporter to try again (429, 502, 503, 504) are used only where that helps.
Specification: https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ingest.bodies import MAX_BODY, read_body
from ingest.errors import IngestError, KeyRefused
from ingest.events import SPAN_SOURCE
from ingest.inbox import Inbox
from ingest.otlp import PROTOBUF, empty_answer, encoding_of, parse, refusal, span_count

KEY_HEADER: Final = "x-fractalops-key"

REQUESTS = Counter(
    "fractalops_ingest_requests_total", "Requests to the receivers.", ["signal", "outcome"]
)
SPANS = Counter("fractalops_ingest_spans_total", "Spans that were durably taken in.")
BYTES = Counter("fractalops_ingest_bytes_total", "Plain bytes that were durably taken in.")

# google.rpc.Code: INVALID_ARGUMENT, UNAUTHENTICATED, UNAVAILABLE; INTERNAL for all others.
_CODES = {400: 3, 401: 16, 413: 3, 415: 3, 503: 14}
_INTERNAL = 13
# A small body is parsed where it stands: a thread would cost more.
_PARSED_INLINE = 64 * 1024

log = logging.getLogger(__name__)


class TracesReceiver:
    """Takes OTLP traces in for the project that the request's ingest key belongs to:
    ``app.add_route("/v1/traces", TracesReceiver(...).post, methods=["POST"])``.

    ``resolve_key`` gives the project's slug, ``None`` for a key that is not valid (any more).
    ``max_body`` is in bytes, after decompression.
    """

    def __init__(
        self,
        inbox: Inbox,
        resolve_key: Callable[[str], str | None],
        *,
        max_body: int = MAX_BODY,
    ) -> None:
        self._inbox = inbox
        self._resolve_key = resolve_key
        self._max_body = max_body

    async def post(self, request: Request) -> Response:
        """Answer one request, as a Starlette endpoint."""
        encoding = PROTOBUF
        try:
            project = self._project(request)
            encoding = encoding_of(request.headers.get("content-type", ""))
            payload = await read_body(request.stream(), request.headers, self._max_body)
            await self._take_in(project, encoding, payload)
        except ClientDisconnect:
            # Nobody is left to answer, and nothing was stored.
            REQUESTS.labels("traces", "client-gone").inc()
            return Response(status_code=400)
        except IngestError as error:
            return _refusal(error, encoding)
        REQUESTS.labels("traces", "accepted").inc()
        return Response(empty_answer(encoding), media_type=encoding)

    async def _take_in(self, project: str, encoding: str, payload: bytes) -> None:
        if len(payload) <= _PARSED_INLINE:
            spans = span_count(parse(payload, encoding))
        else:
            spans = await asyncio.to_thread(lambda: span_count(parse(payload, encoding)))
        if not spans:
            return
        await self._inbox.submit(project, SPAN_SOURCE, encoding, payload)
        SPANS.inc(spans)
        BYTES.inc(len(payload))

    def _project(self, request: Request) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else ""
        key = key or request.headers.get(KEY_HEADER, "").strip()
        project = self._resolve_key(key) if key else None
        if project is None:
            raise KeyRefused(
                "send the project's ingest key: set OTEL_EXPORTER_OTLP_HEADERS as `fractalops"
                f" projects create` printed it, or to {KEY_HEADER}=KEY"
            )
        return project


def _refusal(error: IngestError, encoding: str) -> Response:
    """A ``google.rpc.Status`` in the encoding of the request, counted by its kind."""
    REQUESTS.labels("traces", error.kind).inc()
    status = error.status
    if status >= 500:
        log.warning("traces refused: %s: %s", error.title, error.detail)
    body = refusal(_CODES.get(status, _INTERNAL), f"{error.title}: {error.detail}", encoding)
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="ingest"'
    if status in (401, 413, 415):
        # The rest of the body is not read, however much of it is still to come.
        headers["Connection"] = "close"
    return Response(body, status_code=status, media_type=encoding, headers=headers)
