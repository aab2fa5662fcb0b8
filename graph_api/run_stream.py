"""The output of one run as lines of JSON, for as long as it runs and its reader listens.

Invariant: a reader gets every byte that was passed on, in order, and at the end the run as it
stands; nothing of it is held for a reader that is slow. Of a run that ended a while ago, what is
kept as evidence is told, which is redacted, and the lines say so. A reader that takes nothing, or
that went away, is let go. A token that ends, ends its streams.
Format: https://github.com/ndjson/ndjson-spec
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from graph_api.control_json import run_json
from graph_api.endpoint import until_gone
from graph_api.problems import Problem
from ingest.errors import IngestError
from proofs.proposal import APPROVED, AWAITING, EXECUTING
from runtime.asset_service import RuntimeAssetControlService
from runtime.commands import Stream

LOGGER = logging.getLogger(__name__)

MEDIA_TYPE = "application/x-ndjson"
HEARTBEAT = 10.0
"""Seconds of silence after which a line says that there is nothing new."""
STALLED = 60.0
_OPEN = frozenset({AWAITING, APPROVED, EXECUTING})

Tell = Callable[..., Any]


class RunStream(Response):
    """One reader of one run. ``authenticate`` raises :class:`Problem` once the reader may not be
    told any more. Without ``wait`` it ends with what there is by now."""

    def __init__(
        self,
        service: RuntimeAssetControlService,
        run: str,
        kept_output: Callable[[str], tuple[str, str]],
        authenticate: Callable[[], object],
        *,
        wait: bool,
    ) -> None:
        super().__init__(
            media_type=MEDIA_TYPE,
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        # How long it gets is not known.
        del self.headers["content-length"]
        self._service = service
        self._run = run
        self._kept_output = kept_output
        self._authenticate = authenticate
        self._wait = wait

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(until_gone(receive))
        loop = asyncio.get_running_loop()
        news = asyncio.Event()

        def wake() -> None:
            # The loop may have ended since: then nobody listens.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(news.set)

        async def tell(*lines: dict[str, Any], more: bool = True) -> None:
            text = "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines)
            message = {"type": "http.response.body", "body": text.encode(), "more_body": more}
            await asyncio.wait_for(send(message), STALLED)

        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            with self._service.live.watched(self._run, wake):
                await self._follow(tell, news, gone)
            if not gone.done():
                await tell(more=False)
        except TimeoutError:
            LOGGER.info("a reader of run %s that takes nothing was let go", self._run)
        finally:
            gone.cancel()

    async def _follow(self, tell: Tell, news: asyncio.Event, gone: asyncio.Future[None]) -> None:
        place, told = 0, False
        while not gone.done():
            news.clear()
            try:
                self._authenticate()
            except Problem as problem:
                await tell({"problem": problem.told()})
                return
            live = self._service.live.find(self._run)
            over = live is None or live.over.is_set()
            if live is not None:
                chunks, place = await run_in_threadpool(live.output.after, place)
                if chunks:
                    told = True
                    await tell(*(_line(stream, chunk) for stream, chunk in chunks))
                    continue
            run = await run_in_threadpool(self._service.find, self._run)
            if over and run.view.state == EXECUTING and self._service.live.find(self._run) is None:
                # It is about to be there, or was left by an earlier process.
                over = False
            elif run.view.state in _OPEN and live is None:
                over = False
            if over or not self._wait or self._service.closing:
                if over and live is None:
                    await self._tell_kept(tell, run.evidence)
                await tell({"run": run_json(run), "complete": over, "told": told})
                return
            if not await _something(news, gone):
                await tell({"state": run.view.state})

    async def _tell_kept(self, tell: Tell, evidence: tuple[str, ...]) -> None:
        """What is kept of a run whose output isn't at hand any more."""
        for digest in evidence:
            try:
                texts = await run_in_threadpool(self._kept_output, digest)
            except IngestError as error:
                await tell({"kept": False, "reason": error.detail})
                continue
            for stream, text in zip(Stream, texts, strict=True):
                if text:
                    await tell({**_line(stream, text.encode()), "redacted": True})


def _line(stream: Stream, chunk: bytes) -> dict[str, Any]:
    return {"stream": stream.value, "data": base64.b64encode(chunk).decode()}


async def _something(news: asyncio.Event, gone: asyncio.Future[None]) -> bool:
    """Whether there is something to look at before a heartbeat is due."""
    woken = asyncio.ensure_future(news.wait())
    watched: set[asyncio.Future[Any]] = {gone, woken}
    try:
        done, _ = await asyncio.wait(
            watched, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        woken.cancel()
    return bool(done)
