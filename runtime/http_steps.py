"""The steps of a request: the one that was asked for, and those that redirects make of it.

Invariant: each step is judged by the rules of the target's kind before it is sent. To another
origin go only headers that say nothing of who asks; from https nothing leads to http.
Specification: https://www.rfc-editor.org/rfc/rfc9110#name-redirection-3xx
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Final

import httpcore
import httpx

from runtime.errors import HttpAway, HttpRedirectRefused, HttpRefused, HttpTimeout
from runtime.http_addresses import literal
from runtime.http_body import ACCEPTED
from runtime.http_messages import Ask, Limits
from runtime.http_trace import CURRENT, Trace
from runtime.urls import ExecutorUrl

TROUBLE: Final = (
    httpx.TransportError,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)
"""What transports raise."""

_NOT_REACHED = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")
_NOT_SENT = (*_NOT_REACHED, "LocalProtocolError", "UnsupportedProtocol")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FOLLOWED = frozenset({"GET", "HEAD"})
_FOR_ANYBODY = frozenset({"accept", "accept-language", "accept-encoding", "user-agent"})


@dataclass(frozen=True, slots=True)
class Step:
    """A request as it is sent. ``origin`` is scheme, host and port, all that messages tell of an
    address, for a path may hold a key too; ``hops`` are the redirects that led here."""

    kind: str
    request: httpx.Request
    hops: int = 0

    @property
    def origin(self) -> str:
        url = self.request.url
        return f"{url.scheme}://{url.netloc.decode('ascii')}"


def first_step(ask: Ask, limits: Limits, agent: str, random: Random) -> Step:
    """What is sent first. Raises :class:`HttpRefused`."""
    url = ask.url()
    literal(ask.target.kind, url.raw_host.decode("ascii"))
    fields = ask.fields()
    given = fields.pop("traceparent", ""), fields.pop("tracestate", "")
    trace = Trace.read(*given)
    if trace is None:
        trace = (ask.trace or CURRENT.get() or Trace.fresh(random)).child(random)
    headers = {
        "user-agent": agent,
        "accept": "*/*",
        "accept-encoding": ACCEPTED,
        **fields,
        **trace.fields(),
    }
    seconds = {
        "connect": limits.connect,
        "pool": limits.connect,
        "read": limits.quiet,
        "write": limits.quiet,
    }
    return Step(ask.target.kind, _request(ask.method, url, headers, ask.content, seconds))


def next_step(ask: Ask, step: Step, answer: httpx.Response) -> Step | None:
    """Where an answer leads; ``None`` where it is the answer. Raises
    :class:`HttpRedirectRefused`."""
    status, location = answer.status_code, answer.headers.get("location", "")
    if status not in _REDIRECTS or not location or not ask.redirects:
        return None
    if ask.method not in _FOLLOWED or step.kind == ExecutorUrl.kind:
        return None
    if step.hops >= ask.redirects:
        raise HttpRedirectRefused(
            f"{step.origin} leads on, after {step.hops} redirects: ask where it ends", status
        )
    here = step.request.url
    try:
        url = here.join(location).copy_with(fragment=None)
        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            raise HttpRefused("that is no address of a server")
        if here.scheme == "https" and url.scheme == "http":
            raise HttpRefused("from https to http no request is taken")
        literal(step.kind, url.raw_host.decode("ascii"))
    except (httpx.InvalidURL, ValueError, HttpRefused) as error:
        why = str(error) if isinstance(error, HttpRefused) else "that is no address"
        raise HttpRedirectRefused(
            f"{step.origin} answers {status} and leads to where this request may not go: {why}",
            status,
        ) from error
    headers = {
        name: value
        for name, value in step.request.headers.items()
        if name not in ("host", "traceparent", "tracestate")
        and (_origin(url) == _origin(here) or name in _FOR_ANYBODY)
    }
    trace = {
        name: value
        for name, value in step.request.headers.items()
        if name == "traceparent" or (name == "tracestate" and _origin(url) == _origin(here))
    }
    seconds = step.request.extensions["timeout"]
    return Step(step.kind, _request(ask.method, url, headers | trace, b"", seconds), step.hops + 1)


def to_error(error: Exception, where: str, *, sent: bool | None = None) -> HttpAway:
    """What a transport's trouble is to whoever asked; its own text is left out, for it may hold the
    address with its query."""
    kind = type(error).__name__
    if sent is None:
        sent = kind not in _NOT_SENT
    reached = kind not in _NOT_REACHED
    if isinstance(error, httpx.TimeoutException | httpcore.TimeoutException):
        what = "did not answer in time" if reached else "could not be connected to in time"
        return HttpTimeout(f"{where} {what} ({kind})", sent=sent, kind=kind, reached=reached)
    what = "broke off the connection" if reached else "could not be connected to"
    return HttpAway(f"{where} {what} ({kind})", sent=sent, kind=kind, reached=reached)


def certificates(authority: Path | None, *, environment: bool) -> Callable[[], ssl.SSLContext]:
    """The certificates that servers' own must come from, read when first needed."""

    @lru_cache(maxsize=1)
    def read() -> ssl.SSLContext:
        if authority is not None:
            return ssl.create_default_context(cafile=str(authority))
        return httpx.create_ssl_context(trust_env=environment)

    return read


@lru_cache(maxsize=8)
def user_agent(product: str) -> str:
    """The product and the version of this installation."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{product}/{version('fractalops')}"
    except PackageNotFoundError:
        return product


def _request(
    method: str,
    url: httpx.URL,
    headers: dict[str, str],
    content: bytes,
    seconds: dict[str, float | None],
) -> httpx.Request:
    return httpx.Request(
        method, url, headers=headers, content=content, extensions={"timeout": seconds}
    )


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)
