"""Sends requests to executor URLs, and asks addresses whether they answer, by the one HTTP client.

Invariant: nothing is sent twice and no redirect is followed. Whether an order was carried out is
said by a status that was received together with its whole answer; else it is not started, where
certainly nothing arrived, or unknown.
Source: :mod:`runtime.http_client`
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from threading import Event
from urllib.parse import urlsplit

from runtime.asset_checks import Probed
from runtime.commands import Output, Sink, Stream
from runtime.control_request import ControlRequest, Reply, path_as_sent
from runtime.errors import HttpError, HttpTooLarge
from runtime.http_client import HttpClient
from runtime.http_messages import MEBIBYTE, Ask, Limits
from runtime.run_words import CANCELLED, FAILED, NOT_STARTED, SUCCEEDED, UNKNOWN
from runtime.urls import ExecutorUrl, InternalUrl, PublicUrl

LARGEST_ANSWER = 64 * MEBIBYTE
"""Bytes after which an answer is not read any further."""
PROBE_SECONDS = 10.0
_LONGEST_LOCATION = 300


class ExecutorCalls:
    """Any thread may call. ``client`` repeats nothing; ``clock`` gives UTC."""

    def __init__(self, client: HttpClient, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock

    def send(
        self, executor: ExecutorUrl, request: ControlRequest, sink: Sink, cancel: Event
    ) -> Reply:
        """As :data:`runtime.control_request.Send`."""
        started = self._clock()
        if cancel.is_set():
            return Reply(CANCELLED, started, self._clock(), reason="nothing was sent")
        ask = Ask(
            request.method,
            executor,
            path_as_sent(request.path),
            headers={"Content-Type": request.content_type} if request.content_type else {},
            content=request.body,
            limits=Limits(total=request.seconds, quiet=request.seconds, answer=LARGEST_ANSWER),
        )
        body = _Body(request.output_bytes, sink)
        status, kind, location, reason = None, "", "", ""
        outcome = UNKNOWN
        try:
            with self._client.stream(ask) as answer:
                status = answer.status
                kind = answer.headers.get("content-type", "")[:100]
                location = _without_query(answer.headers.get("location", ""))
                outcome = SUCCEEDED if answer.is_success else FAILED
                for chunk in answer.chunks():
                    if cancel.is_set():
                        outcome, reason = UNKNOWN, "it was cancelled after it had been sent"
                        break
                    body.take(chunk)
        except HttpTooLarge as error:
            # The server has said what came of it, and more than anybody reads.
            reason = str(error)
        except HttpError as error:
            outcome, reason = UNKNOWN if error.sent else NOT_STARTED, str(error)
        if location and not reason:
            reason = f"it redirects to {location}, which is not followed"
        return Reply(
            outcome,
            started,
            self._clock(),
            status,
            kind,
            location,
            None if status is None else body.output(),
            reason,
        )

    def probe(
        self,
        address: ExecutorUrl | InternalUrl | PublicUrl,
        method: str,
        path: str,
        headers: Mapping[str, str],
    ) -> Probed:
        """As :data:`runtime.asset_checks.Probe`."""
        limits = Limits(total=PROBE_SECONDS, quiet=PROBE_SECONDS, answer=MEBIBYTE)
        try:
            with self._client.stream(
                Ask(method, address, path, headers=headers, limits=limits)
            ) as answer:
                return Probed(answer.status)
        except HttpError as error:
            return Probed(None, str(error))


class _Body:
    """What came of an answer: passed on within the limit, all of it counted and digested."""

    def __init__(self, limit: int, sink: Sink) -> None:
        self._limit = limit
        self._sink = sink
        self._digest = hashlib.sha256()
        self._size = 0

    def take(self, chunk: bytes) -> None:
        room = self._limit - self._size
        self._digest.update(chunk)
        self._size += len(chunk)
        if room > 0:
            self._sink(Stream.STDOUT, chunk[:room])

    def output(self) -> Output:
        digest = f"sha256:{self._digest.hexdigest()}"
        return Output(digest, self._size, min(self._size, self._limit))


def _without_query(location: str) -> str:
    try:
        return urlsplit(location)._replace(query="", fragment="").geturl()[:_LONGEST_LOCATION]
    except ValueError:
        return ""
