"""The client that every request over HTTP that we write ourselves is sent with.

Invariant: nothing is sent but to where its target may lead (:mod:`runtime.http_addresses`), judged
by the address connected to and again at each redirect; a redirect to another origin takes no
credential along, none leads from https to http, none is followed for an executor. Nothing is sent
twice that isn't idempotent or carries a key that makes it so. Every wait, every body and the number
of repetitions is bounded. What goes wrong is an :class:`HttpError` that says whether the request
may have arrived, and holds no query, header or body.
Specification: https://www.rfc-editor.org/rfc/rfc9110
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx

from runtime.errors import HttpAway, HttpError
from runtime.http_circuit import Circuits, Patience
from runtime.http_connections import Resolve, resolve, within
from runtime.http_messages import Answer, Ask, Limits
from runtime.http_open_answer import OpenAnswer
from runtime.http_retries import ONCE, PASSING, Budget, Retries, pause, retry_after
from runtime.http_steps import (
    TROUBLE,
    Step,
    certificates,
    first_step,
    next_step,
    of_redirect,
    to_error,
    user_agent,
)
from runtime.http_transport import GuardedTransport

USUAL_LIMITS: Final = Limits()
USUAL_RETRIES: Final = Retries()
USUAL_PATIENCE: Final = Patience()

Transport = httpx.BaseTransport
"""What tests may put in the place of the network."""

T = TypeVar("T", OpenAnswer, Answer)


class HttpClient:
    """Sends requests; any thread may use it, and it is a context manager.

    ``agent`` is what it calls itself, before its version. ``limits`` are those of requests that
    name none. Without ``circuit`` a server that fails is asked as ever. With ``proxies`` peers are
    reached through those of the environment, and SSL_CERT_FILE is honoured. ``authority`` is a file
    with the certificates that servers' own must come from, in the place of the usual ones.
    ``resolve``, ``monotonic``, ``clock``, ``sleep`` and ``random`` are there to be told in tests,
    and so is ``transport``, which takes the place of the network.
    """

    def __init__(
        self,
        agent: str = "fractalops",
        *,
        limits: Limits = USUAL_LIMITS,
        retries: Retries = USUAL_RETRIES,
        circuit: Patience | None = USUAL_PATIENCE,
        proxies: bool = False,
        authority: Path | None = None,
        resolve: Resolve = resolve,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], object] = time.sleep,
        random: Random | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._agent = user_agent(agent)
        self._limits = limits
        self._retries = retries
        self._budget = Budget(retries)
        self._circuits = Circuits(circuit, monotonic)
        self._proxies = proxies
        self._certificates = certificates(authority, environment=proxies)
        self._resolve = resolve
        self._monotonic, self._clock, self._sleep = monotonic, clock, sleep
        self._random = random or Random()
        self._given = transport
        self._transports: dict[str, httpx.BaseTransport] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends its connections."""
        for transport in self._transports.values():
            transport.close()

    def send(self, ask: Ask) -> Answer:
        """The answer, whatever its status, read to its end. Raises :class:`HttpError`."""

        def whole(left: Callable[[], float] | None) -> Answer:
            opened = self._open(ask, left)
            try:
                return opened.read()
            finally:
                opened.close()

        return self._repeat(ask, whole)

    @contextmanager
    def stream(self, ask: Ask) -> Iterator[OpenAnswer]:
        """As :meth:`send`, with the body still to be read, within the same limits."""
        opened = self._repeat(ask, lambda left: self._open(ask, left))
        try:
            yield opened
        finally:
            opened.close()

    def _repeat(self, ask: Ask, attempt: Callable[[Callable[[], float] | None], T]) -> T:
        retries = self._retries if ask.repeatable else ONCE
        total = (ask.limits or self._limits).total
        end = None if total is None else self._monotonic() + total
        left = None if end is None else lambda: end - self._monotonic()
        self._budget.earn()
        number = 1
        while True:
            failure: HttpAway | None = None
            answer: T | None = None
            asked = None
            try:
                answer = attempt(left)
            except HttpAway as error:
                failure = error
            else:
                if answer.status not in PASSING:
                    return answer
                asked = retry_after(answer.headers.get("retry-after", ""), self._clock())
            wait = pause(retries, number, asked, self._random)
            if (
                number >= retries.attempts
                or wait is None
                or (left is not None and left() <= wait)
                or not self._budget.spend()
            ):
                if answer is not None:
                    return answer
                assert failure is not None
                raise failure
            if isinstance(answer, OpenAnswer):
                answer.close()
            self._sleep(wait)
            number += 1

    def _open(self, ask: Ask, left: Callable[[], float] | None) -> OpenAnswer:
        """One attempt, with its redirects."""
        limits = ask.limits or self._limits
        step = first_step(ask, limits, self._agent, self._random)
        while True:
            try:
                response = self._exchange(step, left)
            except HttpError as error:
                told = of_redirect(step, error)
                if told is error:
                    raise
                raise told from error
            try:
                following = next_step(ask, step, response)
                if following is None:
                    return OpenAnswer(step, response, limits.answer, left, self._circuits.failed)
            except BaseException:
                response.close()
                raise
            response.close()
            step = following

    def _exchange(self, step: Step, left: Callable[[], float] | None) -> httpx.Response:
        with self._circuits.asking(step.origin) as answered:
            try:
                with within(left):
                    response = self._transport(step.kind).handle_request(step.request)
            except TROUBLE as error:
                raise to_error(error, step.origin) from error
            answered(response.status_code)
            return response

    def _transport(self, kind: str) -> httpx.BaseTransport:
        if self._given is not None:
            return self._given
        found = self._transports.get(kind)
        if found is None:
            made = GuardedTransport(kind, self._resolve, self._certificates, proxies=self._proxies)
            found = self._transports.setdefault(kind, made)
        return found
