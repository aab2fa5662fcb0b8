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

from graph_api.cli_errors import CommandError, Refused, Unreachable
from runtime.errors import HttpAway, HttpError, HttpRefused, HttpTimeout, UrlError
from runtime.http_addresses import PeerUrl
from runtime.http_client import HttpClient, Transport
from runtime.http_messages import Answer, Ask, Limits
from runtime.http_open_answer import OpenAnswer
from runtime.http_retries import ONCE

Json = dict[str, Any]
Parameters = Mapping[str, str | int | float | Sequence[str] | None]

DEFAULT_TIMEOUT = 60.0
"""Seconds a usual answer may take; long work waits without a limit."""
CONNECT_TIMEOUT = 5.0

JSON = {"Accept": "application/json, application/problem+json"}


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
        transport: Transport | None = None,
    ) -> None:
        self.url = url
        self._found = found
        self._has_token = token is not None
        self._headers: dict[str, str] = {}
        if token is not None:
            # A header can carry no other characters, and no message is to quote it.
            if not (token.isascii() and token.isprintable()):
                raise Unreachable("FRACTALOPS_TOKEN holds characters that no token has")
            self._headers["Authorization"] = f"Bearer {token}"
        try:
            self._target = PeerUrl.parse(url)
        except UrlError as error:
            raise self._unreachable(error) from error
        # Whoever types a command sees what happened, and decides whether to ask again.
        self._http = HttpClient(
            "fractalops-cli", retries=ONCE, circuit=None, proxies=proxies, transport=transport
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
    ) -> Answer:
        """Send one request and give its successful answer, read to the end.

        ``timeout`` is in seconds, ``None`` waits for ever. Raises :class:`Refused` and
        :class:`Unreachable`.
        """
        ask = self._ask(method, path, parameters, content, document, headers, timeout)
        try:
            answer = self._http.send(ask)
        except HttpError as error:
            raise self._unreachable(error) from error
        return self._checked(answer)

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
    ) -> Iterator[OpenAnswer]:
        """As :meth:`send`, with the body still to be read; a cut body is :class:`Unreachable`."""
        ask = self._ask(method, path, parameters, content, None, headers, timeout)
        try:
            with self._http.stream(ask) as answer:
                if not answer.is_success:
                    raise problem(answer.read(), has_token=self._has_token)
                yield answer
        except HttpError as error:
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

    def object_in(self, answer: Answer) -> Json:
        """The JSON object that an answer is."""
        try:
            value = answer.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise Unreachable(
                f"{self.url} answered with something that is not FractalOps's JSON. "
                f"Check the address ({self._found or 'as given'})."
            )
        return value

    def _ask(
        self,
        method: str,
        path: str,
        parameters: Parameters | None,
        content: bytes | None,
        document: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        timeout: float | None,
    ) -> Ask:
        given = {name: value for name, value in (parameters or {}).items() if value is not None}
        said = dict(headers or {})
        if document is not None:
            content = json.dumps(document).encode()
            said["Content-Type"] = "application/json"
        return Ask(
            method,
            self._target,
            path,
            query=given,
            headers=self._headers | said,
            content=content or b"",
            limits=Limits(connect=CONNECT_TIMEOUT, quiet=timeout, total=None, answer=None),
        )

    def _checked(self, answer: Answer) -> Answer:
        if answer.is_success:
            return answer
        raise problem(answer, has_token=self._has_token)

    def _unreachable(self, error: HttpError | UrlError) -> Unreachable:
        where = f"{self.url} ({self._found})" if self._found else self.url
        match error:
            case HttpAway(reached=False):
                return Unreachable(
                    f"no server answers at {where}. Start one with: fractalops up --data DIR"
                )
            case HttpTimeout():
                return Unreachable(f"{where} did not answer in time; see its log, then try again")
            case HttpAway(kind=kind):
                return Unreachable(f"the connection to {where} broke: {kind}")
            case UrlError():
                return Unreachable(f"{where} is not a URL of a server: {error}")
            case HttpRefused():
                return Unreachable(f"{where} was not asked: {error}")
        return Unreachable(f"{where} answered with what can't be used: {error}")


def items(page: Json) -> list[Json]:
    """The items of a listing."""
    found = page.get("items")
    if not isinstance(found, list):
        raise Unreachable("the server's listing has no items: it is of another version")
    return found


def segment(text: str) -> str:
    """A path segment that can't reach another path. Raises :class:`CommandError` for what no path
    can hold, which the server could only answer as a path that isn't there."""
    if not text or "/" in text:
        raise CommandError(f"{text[:100]!r} names nothing: a name is not empty and has no slash")
    quoted = quote(text, safe="")
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted


def problem(answer: Answer, *, has_token: bool = True) -> Refused:
    """The error for an answer that is not a success."""
    body: Json = {}
    try:
        found = answer.json()
        if isinstance(found, dict):
            body = found
    except ValueError:
        body = {}
    title = str(body.get("title") or answer.reason or f"HTTP {answer.status}")
    detail = body.get("detail")
    if detail is None and not body:
        detail = answer.text[:300].strip()
    if isinstance(detail, list):
        detail = "; ".join(str(part.get("msg", part)) for part in detail if isinstance(part, dict))
    said = str(detail or "")
    if answer.status == 401:
        hint = (
            "FRACTALOPS_TOKEN (or the folder's operator.token) is not one this server knows."
            if has_token
            else "Set FRACTALOPS_TOKEN, or name the server's folder with --data."
        )
        said = f"{said} {hint}".strip()
    kind = str(body.get("type") or "").rstrip("/").rpartition("/")[2]
    return Refused(answer.status, kind, title, said, body)


def refused(body: Json) -> Refused:
    """The error of a problem document that came in the middle of an answer."""
    kind = str(body.get("type") or "").rstrip("/").rpartition("/")[2]
    status, title = int(body.get("status") or 500), str(body.get("title") or "A problem")
    return Refused(status, kind, title, str(body.get("detail") or ""), body)
