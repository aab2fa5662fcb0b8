"""The foundation client, in an event loop.

Invariant: as :mod:`runtime.http_client`, and nothing is ever sent twice: who waits in an event loop
has somebody waiting, and no time for that.
Specification: https://www.rfc-editor.org/rfc/rfc9110
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

import httpx

from runtime.errors import HttpError, HttpTimeout
from runtime.http_body import Unpacking
from runtime.http_circuit import Circuits, Patience
from runtime.http_client import USUAL_LIMITS, USUAL_PATIENCE
from runtime.http_connections import Resolve, resolve
from runtime.http_messages import Answer, Ask, Limits
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
from runtime.http_transport import AsyncGuardedTransport


class AsyncHttpClient:
    """Sends requests within one event loop; an asynchronous context manager. What it is made with
    is what :class:`runtime.http_client.HttpClient` is made with."""

    def __init__(
        self,
        agent: str = "fractalops",
        *,
        limits: Limits = USUAL_LIMITS,
        circuit: Patience | None = USUAL_PATIENCE,
        authority: Path | None = None,
        resolve: Resolve = resolve,
        monotonic: Callable[[], float] = time.monotonic,
        random: Random | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._agent = user_agent(agent)
        self._limits = limits
        self._circuits = Circuits(circuit, monotonic)
        self._certificates = certificates(authority, environment=False)
        self._resolve = resolve
        self._random = random or Random()
        self._given = transport
        self._transports: dict[str, httpx.AsyncBaseTransport] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends its connections."""
        for transport in self._transports.values():
            await transport.aclose()

    async def send(self, ask: Ask) -> Answer:
        """The answer, whatever its status, read to its end. Raises :class:`HttpError`."""
        limits = ask.limits or self._limits
        step = first_step(ask, limits, self._agent, self._random)
        end = None if limits.total is None else asyncio.get_running_loop().time() + limits.total
        while True:
            try:
                found = await self._exchange(ask, step, limits, end)
            except HttpError as error:
                told = of_redirect(step, error)
                if told is error:
                    raise
                raise told from error
            if isinstance(found, Answer):
                return found
            step = found

    async def _exchange(
        self, ask: Ask, step: Step, limits: Limits, end: float | None
    ) -> Answer | Step:
        """The answer, or the step that it leads to."""
        with self._circuits.asking(step.origin) as answered:
            try:
                async with asyncio.timeout_at(end):
                    response = await self._transport(step.kind).handle_async_request(step.request)
                    try:
                        following = next_step(ask, step, response)
                        found = following or await _read(step, response, limits.answer)
                    finally:
                        await response.aclose()
            except TROUBLE as error:
                raise to_error(error, step.origin) from error
            except TimeoutError as error:
                # Where the time went is not known here: the request may have arrived.
                raise HttpTimeout(
                    f"{step.origin} did not answer in time", sent=True, kind="TimeoutError"
                ) from error
            answered(response.status_code)
            return found

    def _transport(self, kind: str) -> httpx.AsyncBaseTransport:
        if self._given is not None:
            return self._given
        found = self._transports.get(kind)
        if found is None:
            found = AsyncGuardedTransport(kind, self._resolve, self._certificates)
            self._transports[kind] = found
        return found


async def _read(step: Step, response: httpx.Response, limit: int | None) -> Answer:
    unpacking = Unpacking(response.headers.get("content-encoding", ""), step.origin, limit)
    if step.request.method != "HEAD":
        unpacking.declared(response.headers.get("content-length", ""))
    body = bytearray()
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    try:
        async for data in stream:
            for piece in unpacking.feed(data):
                body += piece
    except TROUBLE as error:
        raise to_error(error, step.origin, sent=True) from error
    unpacking.end()
    return Answer(
        response.status_code,
        response.headers,
        bytes(body),
        response.reason_phrase,
        step.request.method,
        step.origin,
        step.request.url.path,
    )
