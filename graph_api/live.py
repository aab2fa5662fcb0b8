"""What happens, as it happens: ``GET /live``, server-sent events.

Invariant: the events are the entries of the proof log, in order and without gaps, as far as their
reader may read them; the id of an event is the index of its entry, so a stream that broke goes on
where it ended, also after a restart. Nothing is kept for a client: it is read for at its own pace,
and one that doesn't read is let go. A token that ends, ends its streams.
Specification: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from graph_api.auth import Authenticator, Caller
from graph_api.endpoint import bad_parameter, until_gone
from graph_api.problems import Problem
from proofs.governance import Governance
from proofs.index import EntryRow, Index
from proofs.proposal import AWAITING, ProposalView

LOGGER = logging.getLogger(__name__)

MEDIA_TYPE = "text/event-stream"
PAGE = 100
MOST_STREAMS = 200
MOST_PER_PRINCIPAL = 8
MOST_REMINDED = 50
HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that what lies between doesn't hang up."""
STALLED = 60.0
"""Seconds after which a client that takes nothing is let go."""
RETRY = 2_000
"""Milliseconds that a client waits before it comes again."""
REMIND = 3_600


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asks for: the first entry that it lacks, and seconds between reminders."""

    first: int
    remind: float


class Live:
    """The streams that are open. ``governance`` says who may read what at this moment;
    ``heartbeat`` and ``stalled`` are seconds."""

    def __init__(
        self,
        index: Index,
        governance: Callable[[], Governance],
        *,
        heartbeat: float = HEARTBEAT,
        stalled: float = STALLED,
    ) -> None:
        self._index = index
        self._governance = governance
        self.heartbeat = heartbeat
        self.stalled = stalled
        self.closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakes: dict[asyncio.Event, str] = {}

    def notify(self, _head: int) -> None:
        """An entry was committed; any thread may call."""
        loop = self._loop
        if loop is not None:
            # The loop may have ended since: then nobody listens.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._wake)

    def close(self) -> None:
        """Lets every stream end; to be called in the event loop."""
        self.closing = True
        self._wake()

    def join(self, principal: str) -> asyncio.Event:
        """A place for one more stream, and what is set when there is something new. Raises
        :class:`Problem` where there is none."""
        held = Counter(self._wakes.values())
        if held[principal] >= MOST_PER_PRINCIPAL or held.total() >= MOST_STREAMS:
            raise Problem(
                503,
                "live-busy",
                "There are too many streams",
                f"You have {held[principal]} streams of at most {MOST_PER_PRINCIPAL}, all have"
                f" {held.total()} of at most {MOST_STREAMS}: end one, or try again later.",
                headers={"Retry-After": "10"},
            )
        self._loop = asyncio.get_running_loop()
        wake = asyncio.Event()
        self._wakes[wake] = principal
        return wake

    def leave(self, wake: asyncio.Event) -> None:
        self._wakes.pop(wake, None)

    def head(self) -> int:
        return self._index.head()

    def entries(self, first: int, caller: Caller) -> tuple[list[EntryRow], int]:
        """Entries from ``first`` on that the caller may read, and the first that isn't among
        those looked at."""
        head = self._index.head()
        rows = self._index.following(first, PAGE, self._readable(caller))
        return rows, rows[-1].index + 1 if len(rows) == PAGE else max(first, head + 1)

    def waiting(self, caller: Caller) -> list[ProposalView]:
        """Proposals that wait for a decision, newest first, one more than are told."""
        readable = self._readable(caller)
        found = self._index.proposals(states=[AWAITING], limit=MOST_REMINDED + 1, readable=readable)
        return [view for _, view in found]

    def _readable(self, caller: Caller) -> list[str] | None:
        return self._governance().readable_projects(caller.hidden_graphs)

    def _wake(self) -> None:
        for wake in self._wakes:
            wake.set()


class _Stream(Response):
    """One client's stream, for as long as it listens."""

    def __init__(
        self,
        live: Live,
        authenticate: Callable[[], Caller],
        wanted: Wanted,
        wake: asyncio.Event,
    ) -> None:
        super().__init__(
            media_type=MEDIA_TYPE,
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        # How long it gets is not known.
        del self.headers["content-length"]
        self._live = live
        self._authenticate = authenticate
        self._wanted = wanted
        self._wake = wake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(until_gone(receive))

        async def tell(text: str, *, more: bool = True) -> None:
            message = {"type": "http.response.body", "body": text.encode(), "more_body": more}
            await asyncio.wait_for(send(message), self._live.stalled)

        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            await tell(f"retry: {RETRY}\n\n")
            await self._run(tell, gone)
            if not gone.done():
                await tell("", more=False)
        except TimeoutError:
            LOGGER.info("a client of /live that takes nothing was let go")
        finally:
            gone.cancel()
            self._live.leave(self._wake)

    async def _run(self, tell: Callable[[str], Any], gone: asyncio.Future[None]) -> None:
        clock = asyncio.get_running_loop().time
        first, due = self._wanted.first, clock()
        while not gone.done() and not self._live.closing:
            self._wake.clear()
            try:
                caller = self._authenticate()
            except Problem as problem:
                await tell(_event("end", {"type": problem.kind, "detail": problem.detail}))
                return
            rows, first = await run_in_threadpool(self._live.entries, first, caller)
            if rows:
                await tell("".join(_event("entry", _entry(row), row.index) for row in rows))
                continue
            if clock() >= due:
                due = clock() + self._wanted.remind
                waiting = await run_in_threadpool(self._live.waiting, caller)
                if waiting:
                    await tell(_event("reminder", _reminder(waiting)))
            if not await self._something(gone, min(self._live.heartbeat, due - clock())):
                await tell(": heartbeat\n\n")

    async def _something(self, gone: asyncio.Future[None], seconds: float) -> bool:
        """Whether there is something to look at before that time."""
        woken = asyncio.ensure_future(self._wake.wait())
        watched: set[asyncio.Future[Any]] = {gone, woken}
        try:
            done, _ = await asyncio.wait(
                watched, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            woken.cancel()
        return bool(done)


def build_router(live: Live, authenticator: Authenticator) -> APIRouter:
    """The route ``/live``, for callers of every role."""
    router = APIRouter(tags=["live"])
    anybody = Depends(authenticator.require())

    @router.get("/live", responses={200: {"content": {MEDIA_TYPE: {}}}}, response_class=Response)
    async def stream(
        request: Request,
        last_event_id: Annotated[str | None, Header()] = None,
        after: Annotated[str | None, Query(description="As Last-Event-ID.")] = None,
        remind: Annotated[int, Query(ge=10, le=86_400, description="Seconds.")] = REMIND,
        caller: Caller = anybody,
    ) -> Response:
        """Log entries as they are committed, and reminders of what waits for a decision."""
        head = await run_in_threadpool(live.head)
        first = min(_after(last_event_id or after, head), head) + 1
        headers = request.headers
        wake = live.join(caller.principal)
        return _Stream(
            live, lambda: authenticator.authenticate(headers), Wanted(first, float(remind)), wake
        )

    return router


def _after(text: str | None, head: int) -> int:
    """The newest entry that a client has; what is to come is lacked by all."""
    if not text:
        return head
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise bad_parameter("Last-Event-ID", f"{text[:40]!r} is no log index, such as 42")
    return int(text)


def _event(name: str, data: Mapping[str, Any], identifier: int | None = None) -> str:
    """One event. JSON has no line ends of its own, and escapes those of what it holds."""
    lines = [] if identifier is None else [f"id: {identifier}"]
    lines += [f"event: {name}", f"data: {json.dumps(data, separators=(',', ':'))}"]
    return "\n".join(lines) + "\n\n"


def _entry(row: EntryRow) -> dict[str, Any]:
    return {
        "entry": row.index,
        "kind": row.kind,
        "time": row.time,
        "proposal": row.proposal,
        "project": row.project,
        "principal": row.principal,
    }


def _reminder(views: Iterable[ProposalView]) -> dict[str, Any]:
    told = list(views)
    return {
        "waiting": [
            {
                "proposal": view.id,
                "project": view.project,
                "author": view.author,
                "submitted_at": view.submitted_at,
                "time_lock_until": view.time_lock_until,
            }
            for view in told[:MOST_REMINDED]
        ],
        "more": len(told) > MOST_REMINDED,
    }
