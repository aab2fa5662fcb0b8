"""Puts what a client asks to the product behind, and hands the answer on while the client waits.

Invariant: only questions are put, never what changes anything; an upstream that is slow, away or
says too much costs the client no more than :data:`SECONDS`, and then the answer is the harmless one
that is given without an upstream. Redirects are neither followed nor handed on.
Source: https://posthog.com/docs/advanced/proxy
"""

from __future__ import annotations

import logging
from typing import Final

from prometheus_client import Counter
from starlette.responses import Response

from ingest.upstream import Outgoing, Upstream
from runtime.errors import HttpAway, HttpError, UrlError
from runtime.http_addresses import PeerUrl
from runtime.http_async import AsyncHttpClient
from runtime.http_messages import Ask, Limits

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

    def __init__(self, client: AsyncHttpClient | None = None, *, seconds: float = SECONDS) -> None:
        # Nobody waits for an upstream that has been away for a while.
        self._client = client or AsyncHttpClient()
        self._limits = Limits(connect=seconds, quiet=seconds, total=seconds, answer=MAX_ANSWER)

    async def ask(self, there: Upstream, question: Outgoing) -> Response | None:
        """The upstream's answer; ``None`` where there is none to be had."""
        path, _, query = question.target.partition("?")
        try:
            ask = Ask(
                question.method,
                PeerUrl.parse(there.url),
                path,
                query=query,
                headers=question.headers,
                content=question.body,
                limits=self._limits,
            )
            answer = await self._client.send(ask)
        except (HttpError, UrlError) as error:
            # The kind alone: an address may hold a key.
            kind = error.kind if isinstance(error, HttpAway) else type(error).__name__
            self._failed(there, kind)
            return None
        if 300 <= answer.status < 400 or answer.status >= 500:
            self._failed(there, f"it answers {answer.status}")
            return None
        RELAYED.labels(there.kind, "answered").inc()
        headers = {name: value for name, value in answer.headers.items() if name in _HANDED_ON}
        return Response(answer.content, answer.status, headers)

    async def __aenter__(self) -> Relay:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._client.aclose()

    def _failed(self, there: Upstream, why: str) -> None:
        RELAYED.labels(there.kind, "failed").inc()
        log.warning("a question to %s was not answered: %s", there.kind, why)
