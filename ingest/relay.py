"""Puts what a client asks to the product behind, and hands the answer on while the client waits.

Invariant: only questions are put, never what changes anything; an upstream that is slow, away or
says too much costs the client no more than :data:`SECONDS`, and then the answer is the harmless one
that is given without an upstream. Redirects are neither followed nor handed on.
Source: https://posthog.com/docs/advanced/proxy
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import httpx
from prometheus_client import Counter
from starlette.responses import Response

from ingest.upstream import Outgoing, Upstream

SECONDS: Final = 5.0
MAX_ANSWER: Final = 8 * 1024 * 1024

RELAYED = Counter(
    "fractalops_relayed_total", "Questions put to the product behind.", ["kind", "outcome"]
)

# Of an answer: what a client reads. How it was packed ends here.
_HANDED_ON = frozenset({"content-type", "cache-control", "etag", "last-modified"})

log = logging.getLogger(__name__)


class Relay:
    """Asks upstreams. Use it within the event loop that serves."""

    def __init__(
        self, client: httpx.AsyncClient | None = None, *, seconds: float = SECONDS
    ) -> None:
        self._seconds = seconds
        self._client = client or httpx.AsyncClient(
            timeout=SECONDS, trust_env=False, follow_redirects=False
        )

    async def ask(self, there: Upstream, question: Outgoing) -> Response | None:
        """The upstream's answer; ``None`` where there is none to be had."""
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream(
                    question.method,
                    there.url + question.target,
                    headers=dict(question.headers),
                    content=question.body or None,
                ) as answer,
            ):
                body = bytearray()
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER:
                        self._failed(there, "it says too much")
                        return None
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            self._failed(there, type(error).__name__)
            return None
        if answer.is_redirect or answer.status_code >= 500:
            self._failed(there, f"it answers {answer.status_code}")
            return None
        RELAYED.labels(there.kind, "answered").inc()
        headers = {name: value for name, value in answer.headers.items() if name in _HANDED_ON}
        return Response(bytes(body), answer.status_code, headers)

    async def __aenter__(self) -> Relay:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._client.aclose()

    def _failed(self, there: Upstream, why: str) -> None:
        RELAYED.labels(there.kind, "failed").inc()
        log.warning("a question to %s was not answered: %s", there.kind, why)
