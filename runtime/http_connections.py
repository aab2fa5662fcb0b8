"""Connections to where a request may go, made to the very address that was judged.

Invariant: a name is resolved once for each connection, and the connection is made to one of the
addresses that were found then and permitted: what the name resolves to a moment later changes
nothing. Certificates are still those of the name. No wait is longer than what is left of the
request's time, name servers that don't answer included.
Source: https://www.encode.io/httpcore/network-backends/
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import anyio.to_thread
import httpcore

from runtime.http_addresses import IpAddress, literal, permitted

Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a name, as text, those to try first first; :class:`OSError` for none."""
SocketOptions = Iterable[Any] | None

MOST_ADDRESSES: Final = 8

_left: ContextVar[Callable[[], float] | None] = ContextVar("http_time_left", default=None)


def resolve(host: str, port: int) -> list[str]:
    """As this machine resolves names."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


@contextmanager
def within(left: Callable[[], float] | None) -> Iterator[None]:
    """Whatever waits for the network in here waits no longer than ``left`` says, in seconds."""
    token = _left.set(left)
    try:
        yield
    finally:
        _left.reset(token)


def _bounded(timeout: float | None, late: type[Exception]) -> float | None:
    left = _left.get()
    if left is None:
        return timeout
    seconds = left()
    if seconds <= 0:
        raise late("the time of the request is over")
    return seconds if timeout is None else min(timeout, seconds)


class GuardedStream(httpcore.NetworkStream):
    """A connection whose waits end with the time of the request."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _bounded(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _bounded(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        bounded = _bounded(timeout, httpcore.ConnectTimeout)
        return GuardedStream(self._inner.start_tls(ssl_context, server_hostname, bounded))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to where targets of one kind may lead."""

    def __init__(self, kind: str, resolve: Resolve = resolve) -> None:
        self._kind = kind
        self._resolve = resolve
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions = None,
    ) -> httpcore.NetworkStream:
        timeout = _bounded(timeout, httpcore.ConnectTimeout)
        found = _addresses(
            self._kind, host, lambda: _patiently(lambda: self._resolve(host, port), timeout)
        )
        failed: Exception = _nowhere(host)
        for number, address in enumerate(found):
            bounded = _bounded(timeout, httpcore.ConnectTimeout)
            share = None if bounded is None else bounded / (len(found) - number)
            try:
                return GuardedStream(
                    self._inner.connect_tcp(
                        str(address), port, share, local_address, socket_options
                    )
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: SocketOptions = None
    ) -> httpcore.NetworkStream:
        raise httpcore.UnsupportedProtocol("requests go to hosts, not to files")

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class AsyncGuardedBackend(httpcore.AsyncNetworkBackend):
    """As :class:`GuardedBackend`, in an event loop; how long it may take is for the caller's own
    :func:`asyncio.timeout`."""

    def __init__(self, kind: str, resolve: Resolve = resolve) -> None:
        self._kind = kind
        self._resolve = resolve
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions = None,
    ) -> httpcore.AsyncNetworkStream:
        names: Sequence[str] = ()
        if literal(self._kind, host) is None:
            try:
                names = await anyio.to_thread.run_sync(
                    self._resolve, host, port, abandon_on_cancel=True
                )
            except OSError as error:
                raise _nowhere(host) from error
        found = _addresses(self._kind, host, lambda: names)
        failed: Exception = _nowhere(host)
        for number, address in enumerate(found):
            share = None if timeout is None else timeout / (len(found) - number)
            try:
                return await self._inner.connect_tcp(
                    str(address), port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: SocketOptions = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.UnsupportedProtocol("requests go to hosts, not to files")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


def _addresses(kind: str, host: str, resolve: Callable[[], Sequence[str]]) -> list[IpAddress]:
    """Where to connect to, in order. Raises :class:`HttpRefused`, :class:`httpcore.ConnectError`
    and :class:`httpcore.ConnectTimeout`."""
    written = literal(kind, host)
    if written is not None:
        return [written]
    try:
        names = resolve()
    except OSError as error:
        raise _nowhere(host) from error
    return permitted(kind, host, names)[:MOST_ADDRESSES]


def _nowhere(host: str) -> httpcore.ConnectError:
    return httpcore.ConnectError(f"the name {host} leads nowhere")


def _patiently(ask: Callable[[], Sequence[str]], timeout: float | None) -> Sequence[str]:
    """What name servers say, unless they take longer; the operating system can't be told to stop
    asking them."""
    if timeout is None:
        return ask()
    found: list[Sequence[str]] = []
    failed: list[OSError] = []

    def run() -> None:
        try:
            found.append(ask())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="http-resolve", daemon=True)
    thread.start()
    thread.join(timeout)
    if failed:
        raise failed[0]
    if not found:
        raise httpcore.ConnectTimeout("name servers do not answer")
    return found[0]
