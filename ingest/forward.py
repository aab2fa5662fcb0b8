"""Forwards what arrived to the product behind, one thread for each lane of the outbox.

Invariant: requests of a lane are put in their order, each until it was delivered or refused: a
connection that fails, 408, 429 and 5xx are tried again for as long as it takes, at the earliest
when Retry-After says, and until the outbox gives it up; another answer is a refusal, which is
counted and shown. A crash between a delivery and its note delivers again; products tell equal
events by their ids. Receivers and facts never wait for an upstream.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

from ingest.errors import InboxClosed
from ingest.outbox import Outbox
from ingest.outbox_tally import ENTRIES, FORWARDED, OLDEST, OUTCOMES, Lane, Outcome
from ingest.upstream import Outgoing, Upstream
from runtime.errors import HttpAway, HttpError, HttpRefused, UrlError
from runtime.http_addresses import PeerUrl
from runtime.http_client import HttpClient
from runtime.http_messages import Ask, Limits
from runtime.http_retries import ONCE, retry_after

SECONDS: Final = 30.0
"""An upstream may take so long to answer."""

_LOST: Final[tuple[Outcome, ...]] = ("refused", "dropped", "given_up")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_LONGEST_RETRY_AFTER = 600.0
_LONGEST_ATTEMPT = 600.0
_LONGEST_ANSWER = 1024 * 1024
_IDLE_SECONDS = 5.0
_AGAIN = frozenset({408, 425, 429})

log = logging.getLogger(__name__)


@dataclass
class _State:
    """How a lane's thread gets on: ``trouble`` says what keeps it waiting."""

    trouble: str = ""
    wake: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Forwarder:
    """Empties the lanes of an outbox. ``random`` spreads the attempts, ``clock`` tells what a
    Retry-After with a date is measured against."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        client: Callable[[], HttpClient] | None = None,
        random: Random | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        first_pause: float = _FIRST_PAUSE,
    ) -> None:
        self._outbox = outbox
        self._client = client or _client
        self._random = random or Random()
        self._clock = clock
        self._first_pause = first_pause
        self._lanes: dict[Lane, _State] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin with what waits from before."""
        self._outbox.on_arrival = self.wake
        for lane in self._outbox.lanes():
            self.wake(lane)

    def stop(self) -> None:
        """End after the attempts at hand."""
        self._stopping.set()
        with self._lock:
            states = list(self._lanes.values())
        for state in states:
            state.wake.set()
        for state in states:
            if state.thread is not None:
                state.thread.join()

    def wake(self, lane: Lane) -> None:
        """Look at a lane now."""
        with self._lock:
            state = self._lanes.setdefault(lane, _State())
            if state.thread is None and not self._stopping.is_set():
                name = f"forward-{lane[1]}-{lane[0]}"
                state.thread = threading.Thread(
                    target=self._run, args=(lane, state), name=name, daemon=True
                )
                state.thread.start()
        state.wake.set()

    def begin(self, lane: Lane) -> None:
        """Another product is behind a lane: what becomes of its requests is counted anew."""
        self._outbox.begin(lane)
        with self._lock:
            if lane in self._lanes:
                self._lanes[lane].trouble = ""
        self.wake(lane)

    def status(self) -> list[dict[str, Any]]:
        """Each lane: what waits, what became of the rest since its upstream was stated, and what is
        wrong now."""
        with self._lock:
            troubles = {lane: state.trouble for lane, state in self._lanes.items()}
        return [
            {
                "project": tally.project,
                "kind": tally.kind,
                "waiting": tally.waiting,
                "waiting_bytes": tally.waiting_bytes,
                "oldest_seconds": self._outbox.oldest_seconds(tally),
                **{outcome: getattr(tally, outcome) for outcome in OUTCOMES},
                "trouble": troubles.get((tally.project, tally.kind), ""),
                "last_refusal": tally.last_refusal,
            }
            for tally in self._outbox.tallies()
        ]

    def warnings(self) -> list[str]:
        """What a person should look at, in sentences; nothing of what was removed by a person."""
        found = []
        for lane in self.status():
            if self._outbox.upstream(lane["project"], lane["kind"]) is None:
                continue
            where = f"{lane['kind']} behind project {lane['project']}"
            if lane["trouble"]:
                found.append(f"{lane['waiting']} requests wait for the {where}: {lane['trouble']}")
            if any(lane[outcome] for outcome in _LOST):
                refusal = f" ({lane['last_refusal']})" if lane["refused"] else ""
                found.append(
                    f"the {where} refused {lane['refused']} requests{refusal}; {lane['dropped']}"
                    f" were dropped for want of room, and {lane['given_up']} given up that had"
                    " waited for too long. State it once more with 'fractalops projects upstream"
                    f" {lane['project']}' to count anew"
                )
        return found

    def measure(self) -> None:
        """Bring the gauges up to date."""
        ENTRIES.clear()
        OLDEST.clear()
        for tally in self._outbox.tallies():
            ENTRIES.labels(tally.project, tally.kind).set(tally.waiting)
            OLDEST.labels(tally.project, tally.kind).set(self._outbox.oldest_seconds(tally))

    def _run(self, lane: Lane, state: _State) -> None:
        with self._client() as client:
            while not self._stopping.is_set():
                state.wake.clear()
                try:
                    self._empty(lane, state, client)
                except InboxClosed:
                    return
                except Exception:
                    # Whatever failed, the requests are on disk; the next look starts from there.
                    log.exception("forwarding to %s of project %s failed", lane[1], lane[0])
                    self._stopping.wait(_IDLE_SECONDS)
                state.wake.wait(_IDLE_SECONDS)

    def _empty(self, lane: Lane, state: _State, client: HttpClient) -> None:
        pause = self._first_pause
        delivered = False
        while not self._stopping.is_set():
            there = self._outbox.upstream(*lane)
            if there is None:
                self._outbox.clear(lane)
                state.trouble = ""
                break
            self._outbox.expire(lane)
            found = self._outbox.first(lane)
            if found is None:
                state.trouble = ""
                break
            number, request = found
            wait = self._put(lane, state, client, there, number, request)
            if wait is None:
                delivered, pause = True, self._first_pause
                continue
            self._stopping.wait(max(wait, pause * (1 + self._random.random())))
            pause = min(pause * 2, _LONGEST_PAUSE)
        if delivered:
            self._outbox.fold()

    def _put(
        self,
        lane: Lane,
        state: _State,
        client: HttpClient,
        there: Upstream,
        number: int,
        request: Outgoing,
    ) -> float | None:
        """Put one request: ``None`` when it is settled, else seconds until the next attempt."""
        path, _, query = request.target.partition("?")
        try:
            target = PeerUrl.parse(there.url)
        except UrlError as error:
            return self._retry(lane, state, there, f"its address is none: {error}", 0.0)
        ask = Ask(
            request.method,
            target,
            path,
            query=query,
            headers=request.headers,
            content=request.body,
        )
        try:
            ask.check()
        except HttpRefused as error:
            self._refused(lane, number, request, f"can't be sent: {error}")
            return None
        try:
            with client.stream(ask) as answer:
                # The status tells what became of it; the rest is read for the next request's sake.
                with suppress(HttpError):
                    for _ in answer.chunks():
                        pass
                status, after = answer.status, answer.headers.get("retry-after", "")
        except HttpError as error:
            # Its text may hold the address, which may hold a key.
            kind = error.kind if isinstance(error, HttpAway) else type(error).__name__
            return self._retry(lane, state, there, kind, 0.0)
        if status in _AGAIN or status >= 500:
            return self._retry(lane, state, there, f"it answers {status}", self._seconds(after))
        state.trouble = ""
        if 200 <= status < 300:
            self._outbox.settle(lane, number, "delivered")
            return None
        self._refused(lane, number, request, f"was answered {status}")
        return None

    def _refused(self, lane: Lane, number: int, request: Outgoing, why: str) -> None:
        path = urlsplit(request.target).path
        refusal = f"{request.method} {path} {why}"
        log.warning("%s of project %s refuses: %s", lane[1], lane[0], refusal)
        self._outbox.settle(lane, number, "refused", refusal)

    def _retry(self, lane: Lane, state: _State, there: Upstream, why: str, after: float) -> float:
        if not state.trouble:
            log.warning("%s of project %s is not to be had: %s", lane[1], lane[0], why)
        host = urlsplit(there.url).hostname
        state.trouble = f"{host} is not to be had ({why}); it is tried again"
        FORWARDED.labels(*lane, "again").inc()
        return after

    def _seconds(self, said: str) -> float:
        return min(retry_after(said, self._clock()) or 0.0, _LONGEST_RETRY_AFTER)


def _client() -> HttpClient:
    # The proxy of the environment is for people's browsers; a redirect is not followed with a key.
    # When a request is put again is decided here.
    return HttpClient(
        limits=Limits(
            connect=SECONDS, quiet=SECONDS, total=_LONGEST_ATTEMPT, answer=_LONGEST_ANSWER
        ),
        retries=ONCE,
        circuit=None,
    )
