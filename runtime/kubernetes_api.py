"""What is asked of a cluster's server, with the official client.

Invariant: nothing is tried again, no redirect is followed and no proxy of the environment is used.
An answer is read up to a size and for a time. What the server says against us reaches the caller as
one bounded line with what to do; no header, token or address of a request does.
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType, TracebackType
from typing import Any

import urllib3

from runtime.errors import MachineMissing, MachineUnreachable
from runtime.kubernetes_cluster import Access, KubernetesCluster, access

_ANSWER_BYTES = 32 * 1024 * 1024
_CHUNK = 64 * 1024
_PAGE = 250
_WORDS = 400

# What each layer of a cluster puts before the words of the one below.
_LAYERS = re.compile(r"^(?:Internal error occurred: |error executing command in container: )+")
_ADDRESS = re.compile(r'"https?://[^"\s]*"')

NO_QUERY: Mapping[str, str] = MappingProxyType({})

_NOTHING_SENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.LocationParseError,
)


class ClusterApi:
    """A cluster's server, as it is got into now; use it as a context manager.

    Raises :class:`MachineUnreachable`.
    """

    def __init__(self, cluster: KubernetesCluster) -> None:
        # It takes a quarter of a second and some 40 MB, which only who asks a cluster pays.
        import kubernetes.client

        self.cluster = cluster
        self.access: Access = access(cluster)
        self._failures = (
            urllib3.exceptions.HTTPError,
            kubernetes.client.ApiException,
            OSError,
        )
        configuration = kubernetes.client.Configuration(host=self.access.server)
        configuration.proxy = None
        configuration.retries = False
        if self.access.token:
            configuration.api_key = {"BearerToken": f"Bearer {self.access.token}"}
        self._client = kubernetes.client.ApiClient(configuration)
        self._client.user_agent = "fractalops"
        # The client would take keys from files only, and keep them on the disk meanwhile.
        self._client.rest_client.pool_manager = urllib3.PoolManager(
            ssl_context=self.access.tls,
            # Not assert_hostname too, for which urllib3 would switch the check of TLS itself off.
            server_hostname=self.access.server_name,
            retries=False,
        )

    def __enter__(self) -> ClusterApi:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()  # type: ignore[no-untyped-call]

    def get(self, path: str, query: Mapping[str, str] = NO_QUERY) -> dict[str, Any]:
        """One object. Raises :class:`MachineMissing` when it isn't there, else
        :class:`MachineUnreachable`."""
        return self._object(self.text(path, _ANSWER_BYTES, query), path)

    def listed(
        self, path: str, most: int, query: Mapping[str, str] = NO_QUERY
    ) -> Iterator[dict[str, Any]]:
        """The objects of a list, page by page, at most ``most``; errors as in :meth:`get`."""
        following, seen = "", 0
        while seen < most:
            more = {"continue": following} if following else {}
            page = self.get(path, {**query, **more, "limit": str(min(_PAGE, most - seen))})
            items = page.get("items")
            if not isinstance(items, list):
                raise self._unreachable("its server sent a list that is none")
            for item in items[: most - seen]:
                seen += 1
                yield item
            following = str((page.get("metadata") or {}).get("continue") or "")
            if not following or not items:
                return

    def text(self, path: str, limit: int, query: Mapping[str, str]) -> bytes:
        """An answer as it is, at most ``limit`` bytes of it; errors as in :meth:`get`."""
        try:
            return self._sent("GET", path, query, None, limit)
        except self._failures as error:
            raise self._unreachable(_words(error)) from None

    def patched(self, path: str, change: Mapping[str, Any]) -> str:
        """Change an object once, by a strategic merge patch; empty when the server did so, else
        why that isn't known. Raises :class:`MachineError` when it certainly did not."""
        try:
            self._sent("PATCH", path, {}, change, _ANSWER_BYTES)
        except _NOTHING_SENT as error:
            raise self._unreachable(_words(error)) from None
        except self._failures as error:
            return f"the server's answer was lost: {_words(error)}"
        return ""

    def _sent(
        self, method: str, path: str, query: Mapping[str, str], body: object, limit: int
    ) -> bytes:
        content = {"Content-Type": "application/strategic-merge-patch+json"} if body else {}
        verb, url, headers, payload, _ = self._client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json, */*", **content},
            body=body,
            auth_settings=["BearerToken"],
        )
        until = time.monotonic() + self.cluster.answer_seconds
        answer = self._client.call_api(
            verb,
            url,
            header_params=headers,
            body=payload,
            _request_timeout=(self.cluster.connect_seconds, self.cluster.answer_seconds),
        ).response
        try:
            good = 200 <= answer.status < 300
            read = _read(answer, limit if good else _CHUNK, until)
        finally:
            answer.close()
        if not good:
            raise self._refusal(answer.status, read)
        return read

    def _object(self, text: bytes, path: str) -> dict[str, Any]:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self._unreachable(f"its server's answer to {path} is too long or no object")
        return found

    def _refusal(self, status: int, body: bytes) -> MachineMissing | MachineUnreachable:
        said = server_words(body)
        if status == 404:
            return MachineMissing(f"cluster {self.cluster.name}: {said or 'it has no such object'}")
        advice = {
            401: "its credentials are not accepted; renew those of its kubeconfig or account",
            403: "its account may not do this; give it the right",
        }.get(status, "its server did not do it")
        return self._unreachable(f"{advice} ({status}{f': {said}' if said else ''})")

    def _unreachable(self, words: str) -> MachineUnreachable:
        return MachineUnreachable(f"cluster {self.cluster.name}: {words}")


def server_words(body: bytes | str | None) -> str:
    """What a server said in a status object, or in plain text: one bounded line."""
    return one_line(server_text(body))


def server_text(body: bytes | str | None) -> str:
    """The same as it stands there, without the addresses of requests, which hold a command."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and isinstance(found.get("message"), str):
        text = found["message"]
    return _ADDRESS.sub("its node", text)


def one_line(text: str) -> str:
    """A stranger's text without what moves a cursor, cut to what a message holds."""
    plain = "".join(c if c.isprintable() else " " for c in _LAYERS.sub("", text)[: 4 * _WORDS])
    return " ".join(plain.split())[:_WORDS]


def _read(answer: urllib3.BaseHTTPResponse, limit: int, until: float) -> bytes:
    """At most ``limit`` bytes. Raises :class:`TimeoutError` when they take too long."""
    found = bytearray()
    while len(found) < limit:
        if time.monotonic() >= until:
            raise TimeoutError("the answer takes too long")
        chunk = answer.read(min(_CHUNK, limit - len(found)))
        if not chunk:
            break
        found += chunk
    return bytes(found)


def _words(error: Exception) -> str:
    """Why the server could not be asked. The client's own words hold no header; they may hold
    a path, and whatever comes after its question mark is left out."""
    # The client says so of what failed in TLS.
    said = str(getattr(error, "reason", "") or error)
    text = one_line(said.rpartition("): ")[2] or type(error).__name__)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        text = f"its server's certificate is not of the authority that is trusted: {text}"
    return f"its server can't be reached: {text.partition('?')[0]}"
