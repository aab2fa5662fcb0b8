"""Requests to one server, and what their answers say.

Invariant: every answer that is not a success becomes a :class:`Refused` that carries the server's
problem document; redirects are never followed, so a token goes nowhere but to the server named.
Problems: https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from graph_api.cli_errors import Refused, Unreachable

Json = dict[str, Any]
Parameters = Mapping[str, str | int | float | Sequence[str] | None]

DEFAULT_TIMEOUT = 60.0
"""Seconds a usual answer may take; long work waits without a limit."""
CONNECT_TIMEOUT = 5.0

JSON = {"Accept": "application/json, application/problem+json"}
_TRANSPORT_TROUBLE = (httpx.TransportError, httpx.InvalidURL)


class Connection:
    """Speaks to one server as one caller; a context manager.

    ``url`` has no trailing slash, ``found`` says where it was found (for messages), ``proxies``
    says whether the environment's proxies are used, ``transport`` replaces the network.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        found: str = "",
        proxies: bool = False,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url
        self._found = found
        self._has_token = token is not None
        headers = {"User-Agent": "fractalops-cli"}
        if token is not None:
            # A header can carry no other characters, and httpx's own message would quote it.
            if not (token.isascii() and token.isprintable()):
                raise Unreachable("FRACTALOPS_TOKEN holds characters that no token has")
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(DEFAULT_TIMEOUT, connect=CONNECT_TIMEOUT),
            follow_redirects=False,
            trust_env=proxies,
            transport=transport,
            # Plain HTTP has no certificates to verify, and the trusted ones take longer to read
            # than most answers take to come.
            verify=not url.startswith("http://"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        parameters: Parameters | None = None,
        content: bytes | None = None,
        document: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> httpx.Response:
        """Send one request and give its successful answer, read to the end.

        ``timeout`` is in seconds, ``None`` waits for ever. Raises :class:`Refused` and
        :class:`Unreachable`.
        """
        request = self._request(method, path, parameters, content, document, headers, timeout)
        try:
            response = self._http.send(request)
        except _TRANSPORT_TROUBLE as error:
            raise self._unreachable(error) from error
        return self._checked(response)

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        parameters: Parameters | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Iterator[httpx.Response]:
        """As :meth:`send`, with the body still to be read; a cut body is :class:`Unreachable`."""
        request = self._request(method, path, parameters, content, None, headers, timeout)
        try:
            response = self._http.send(request, stream=True)
            try:
                if not response.is_success:
                    response.read()
                yield self._checked(response)
            finally:
                response.close()
        except _TRANSPORT_TROUBLE as error:
            raise self._unreachable(error) from error

    def get(self, path: str, parameters: Parameters | None = None) -> Json:
        """The JSON object at a path."""
        return self.object_in(self.send("GET", path, parameters=parameters, headers=JSON))

    def post(
        self,
        path: str,
        document: Mapping[str, Any] | None = None,
        *,
        parameters: Parameters | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Json:
        """Post a JSON object (or nothing) and give the JSON object that comes back."""
        return self.object_in(
            self.send(
                "POST",
                path,
                parameters=parameters,
                document=document,
                headers=JSON,
                timeout=timeout,
            )
        )

    def line(self, text: str) -> Json:
        """The JSON object that a line of an answer is."""
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Unreachable(f"{self.url} answered with a line that is not FractalOps's JSON")
        return value

    def object_in(self, response: httpx.Response) -> Json:
        """The JSON object that an answer is."""
        try:
            value = response.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Unreachable(
                f"{self.url} answered with something that is not FractalOps's JSON. "
                f"Check the address ({self._found or 'as given'})."
            )
        return value

    def _request(
        self,
        method: str,
        path: str,
        parameters: Parameters | None,
        content: bytes | None,
        document: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        timeout: float | None,
    ) -> httpx.Request:
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        try:
            return self._http.build_request(
                method,
                path,
                params=given or None,
                content=content,
                json=document,
                headers=headers,
                timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT),
            )
        except _TRANSPORT_TROUBLE as error:
            raise self._unreachable(error) from error

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        raise problem(response, has_token=self._has_token)

    def _unreachable(self, error: Exception) -> Unreachable:
        where = f"{self.url} ({self._found})" if self._found else self.url
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return Unreachable(
                f"no server answers at {where}. Start one with: fractalops up --data DIR"
            )
        if isinstance(error, httpx.TimeoutException):
            return Unreachable(f"{where} did not answer in time; see its log, then try again")
        if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
            return Unreachable(f"{where} is not a URL of a server: {error}")
        return Unreachable(f"the connection to {where} broke: {str(error) or type(error).__name__}")


def items(page: Json) -> list[Json]:
    """The items of a listing."""
    found = page.get("items")
    if not isinstance(found, list):
        raise Unreachable("the server's listing has no items: it is of another version")
    return found


def segment(text: str) -> str:
    """A path segment that can't reach another path."""
    quoted = quote(text, safe="")
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted


def problem(response: httpx.Response, *, has_token: bool = True) -> Refused:
    """The error for an answer that is not a success."""
    body: Json = {}
    try:
        found = json.loads(response.content)
        if isinstance(found, dict):
            body = found
    except ValueError:
        body = {}
    title = str(body.get("title") or response.reason_phrase or f"HTTP {response.status_code}")
    detail = body.get("detail")
    if detail is None and not body:
        detail = response.text[:300].strip()
    if isinstance(detail, list):
        detail = "; ".join(str(part.get("msg", part)) for part in detail if isinstance(part, dict))
    said = str(detail or "")
    if response.status_code == 401:
        hint = (
            "FRACTALOPS_TOKEN (or the folder's operator.token) is not one this server knows."
            if has_token
            else "Set FRACTALOPS_TOKEN, or name the server's folder with --data."
        )
        said = f"{said} {hint}".strip()
    kind = str(body.get("type") or "").rstrip("/").rpartition("/")[2]
    return Refused(response.status_code, kind, title, said, body)


def refused(body: Json) -> Refused:
    """The error of a problem document that came in the middle of an answer."""
    kind = str(body.get("type") or "").rstrip("/").rpartition("/")[2]
    status, title = int(body.get("status") or 500), str(body.get("title") or "A problem")
    return Refused(status, kind, title, str(body.get("detail") or ""), body)
