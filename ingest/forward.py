"""Forwards what arrived to the product behind, one thread for each lane of the outbox.

Invariant: requests of a lane are put in their order, each until it was delivered or refused: a
connection that fails, 408, 429 and 5xx are tried again for as long as it takes, at the earliest
when Retry-After says; another answer is a refusal, which is counted and shown. A crash between a
delivery and its note delivers again; products tell equal events by their ids. Receivers and facts
never wait for an upstream.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from prometheus_client import Counter

from ingest.errors import InboxClosed
from ingest.outbox import Lane, Outbox
from ingest.upstream import Outgoing, Upstream

FORWARDED = Counter(
    "fractalops_forwarded_total",
    "Requests put to the product behind a project.",
    ["project", "kind", "outcome"],
)

SECONDS: Final = 30.0
"""An upstream may take so long to answer."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_LONGEST_RETRY_AFTER = 600.0
_IDLE_SECONDS = 5.0
_AGAIN = frozenset({408, 425, 429})

log = logging.getLogger(__name__)


@dataclass
class _State:
    """What ``status`` says of a lane."""

    delivered: int = 0
    refused: int = 0
    dropped: int = 0
    trouble: str = ""
    refusal: str = ""
    wake: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Forwarder:
    """Empties the lanes of an outbox. ``random`` spreads the attempts."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        client: Callable[[], httpx.Client] | None = None,
        random: Random | None = None,
        first_pause: float = _FIRST_PAUSE,
    ) -> None:
        self._outbox = outbox
        self._client = client or _client
        self._random = random or Random()
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

    def status(self) -> list[dict[str, Any]]:
        """Each lane: what waits, what became of the rest since the start, and what is wrong."""
        with self._lock:
            lanes = sorted(self._lanes.items())
        found = []
        for (project, kind), state in lanes:
            waiting = self._outbox.waiting((project, kind))
            found.append(
                {
                    "project": project,
                    "kind": kind,
                    "waiting": waiting.requests,
                    "waiting_bytes": waiting.bytes,
                    "delivered": state.delivered,
                    "refused": state.refused,
                    "dropped": state.dropped,
                    "trouble": state.trouble,
                    "last_refusal": state.refusal,
                }
            )
        return found

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

    def _empty(self, lane: Lane, state: _State, client: httpx.Client) -> None:
        pause = self._first_pause
        delivered = False
        while not self._stopping.is_set():
            there = self._outbox.upstream(*lane)
            if there is None:
                self._drop(lane, state, self._outbox.clear(lane), "there is no upstream any more")
                break
            found = self._outbox.first(lane)
            if found is None:
                break
            number, request = found
            wait = self._put(lane, state, client, there, request)
            if wait is None:
                self._outbox.remove(number)
                delivered, pause = True, self._first_pause
                continue
            self._drop(lane, state, self._outbox.shorten(lane), "too much waits for the upstream")
            self._stopping.wait(max(wait, pause * (1 + self._random.random())))
            pause = min(pause * 2, _LONGEST_PAUSE)
        if delivered:
            self._outbox.fold()

    def _put(
        self, lane: Lane, state: _State, client: httpx.Client, there: Upstream, request: Outgoing
    ) -> float | None:
        """Put one request: ``None`` when it is settled, else seconds until the next attempt."""
        try:
            answer = client.request(
                request.method,
                there.url + request.target,
                headers=dict(request.headers),
                content=request.body,
            )
        except httpx.HTTPError as error:
            # Its text may hold the address, which may hold a key.
            return self._retry(lane, state, there, type(error).__name__, 0.0)
        status = answer.status_code
        if status in _AGAIN or status >= 500:
            return self._retry(
                lane, state, there, f"it answers {status}", _retry_after(answer.headers)
            )
        state.trouble = ""
        if answer.is_success:
            state.delivered += 1
            FORWARDED.labels(*lane, "delivered").inc()
            return None
        state.refused += 1
        path = urlsplit(request.target).path
        state.refusal = f"{request.method} {path} was answered {status}"
        FORWARDED.labels(*lane, "refused").inc()
        log.warning("%s of project %s refuses: %s", lane[1], lane[0], state.refusal)
        return None

    def _retry(self, lane: Lane, state: _State, there: Upstream, why: str, after: float) -> float:
        if not state.trouble:
            log.warning("%s of project %s is not to be had: %s", lane[1], lane[0], why)
        host = urlsplit(there.url).hostname
        state.trouble = f"{host} is not to be had ({why}); it is tried again"
        FORWARDED.labels(*lane, "again").inc()
        return after

    def _drop(self, lane: Lane, state: _State, number: int, why: str) -> None:
        if number:
            state.dropped += number
            FORWARDED.labels(*lane, "dropped").inc(number)
            log.error("%d requests to %s of project %s are dropped: %s", number, *lane[::-1], why)


def _client() -> httpx.Client:
    # The proxy of the environment is for people's browsers; a redirect is not followed with a key.
    return httpx.Client(timeout=SECONDS, trust_env=False, follow_redirects=False)


def _retry_after(headers: httpx.Headers) -> float:
    said = headers.get("retry-after", "")
    return min(float(said), _LONGEST_RETRY_AFTER) if said.isascii() and said.isdigit() else 0.0
