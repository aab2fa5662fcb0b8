"""What carries a request: pools of guarded connections, one for each kind of target.

Invariant: a connection is used again only for the host it was made for and for targets of the kind
it was judged for. Proxies of the environment are used by who asks for them, for peers alone: where
a proxy goes for somebody is not for us to see, so what must not lead anywhere never goes through
one.
Source: https://www.encode.io/httpcore/connection-pools/
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import httpcore
import httpx

from runtime.errors import HttpRefused
from runtime.http_addresses import PeerUrl
from runtime.http_connections import AsyncGuardedBackend, GuardedBackend, Resolve

_POOL: Final[dict[str, Any]] = {
    "max_connections": 100,
    "max_keepalive_connections": 20,
    "keepalive_expiry": 5.0,
}

Certificates = Callable[[], ssl.SSLContext]
"""The certificates that servers' own must come from; called once TLS is spoken."""


class _Body(httpx.SyncByteStream):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        yield from self._inner

    def close(self) -> None:
        self._inner.close()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class GuardedTransport(httpx.BaseTransport):
    """Carries requests to targets of one kind; any thread may use it."""

    def __init__(
        self, kind: str, resolve: Resolve, certificates: Certificates, *, proxies: bool
    ) -> None:
        self._proxies = proxies and kind == PeerUrl.kind
        self._certificates = certificates
        self._backend = GuardedBackend(kind, resolve)
        self._pools: dict[tuple[bool, str], httpcore.ConnectionPool] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        proxy = _proxy(request.url) if self._proxies else ""
        secure = request.url.scheme == "https"
        pool = self._pools.get((secure, proxy))
        if pool is None:
            pool = self._pools.setdefault((secure, proxy), self._pool(secure, proxy))
        answer = pool.handle_request(_carried(request))
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer.stream),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()

    def _pool(self, secure: bool, proxy: str) -> httpcore.ConnectionPool:
        # Plain HTTP has no certificates to verify, and the trusted ones take time to read.
        trusted = self._certificates() if secure else None
        if not proxy:
            return httpcore.ConnectionPool(
                ssl_context=trusted, network_backend=self._backend, **_POOL
            )
        return httpcore.HTTPProxy(
            proxy,
            ssl_context=trusted,
            network_backend=self._backend,
            **_proxy_login(proxy),
            **_POOL,
        )


class AsyncGuardedTransport(httpx.AsyncBaseTransport):
    """As :class:`GuardedTransport`, in one event loop and without proxies."""

    def __init__(self, kind: str, resolve: Resolve, certificates: Certificates) -> None:
        self._certificates = certificates
        self._backend = AsyncGuardedBackend(kind, resolve)
        self._pools: dict[bool, httpcore.AsyncConnectionPool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        secure = request.url.scheme == "https"
        pool = self._pools.get(secure)
        if pool is None:
            pool = self._pools[secure] = httpcore.AsyncConnectionPool(
                ssl_context=self._certificates() if secure else None,
                network_backend=self._backend,
                **_POOL,
            )
        answer = await pool.handle_async_request(_carried(request))
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_AsyncBody(answer.stream),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()


def _carried(request: httpx.Request) -> httpcore.Request:
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        ),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def _proxy(url: httpx.URL) -> str:
    """The proxy that the environment names for an address, empty for none. Raises
    :class:`HttpRefused`."""
    found = getproxies_environment()
    if proxy_bypass(url.netloc.decode("ascii")):
        return ""
    proxy = found.get(url.scheme) or found.get("all") or ""
    if not proxy:
        return ""
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not proxy.startswith(("http://", "https://")):
        raise HttpRefused(
            "the proxy that the environment names is no HTTP proxy: name one, or add the server's"
            " host to NO_PROXY"
        )
    return proxy


def _proxy_login(proxy: str) -> dict[str, Any]:
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    return {"proxy_auth": (parts.username, parts.password or "")}
