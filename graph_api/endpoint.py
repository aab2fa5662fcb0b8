"""What the reading endpoints share: an ASGI application each, without a framework in between.

Invariant: every request is authenticated before anything else is looked at, and whatever goes wrong
is one problem document.
Specification: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from graph_api.problems import Problem
from graph_api.query_service import ClientGone, QueryService, Reader

MOST_PARAMETERS = 200


class Authenticates(Protocol):
    """The part of :class:`graph_api.auth.Authenticator` that reading needs."""

    def authenticate(self, headers: Mapping[str, str]) -> Reader: ...


class Endpoint(ABC):
    """An ASGI application for one address; subclasses answer in :meth:`handle`."""

    methods: tuple[str, ...] = ("GET", "HEAD")

    def __init__(self, service: QueryService, authenticator: Authenticates) -> None:
        self.service = service
        self.authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = Headers(scope=scope)
            caller = self.authenticator.authenticate(headers)
            if scope["method"] not in self.methods:
                raise self.method_refused(scope["method"])
            await self.handle(scope, receive, send, headers, caller)
        except Problem as problem:
            await problem.response()(scope, receive, send)
        except ClientGone:
            return

    @abstractmethod
    async def handle(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, caller: Reader
    ) -> None:
        """Answers an authenticated request of an allowed method. Raises :class:`Problem`."""

    def method_refused(self, method: str) -> Problem:
        """The answer to another method."""
        return Problem(
            405,
            "method-not-allowed",
            "This can't be done here",
            f"{method} is not among {', '.join(self.methods)}.",
            headers={"Allow": ", ".join(self.methods)},
        )


class Direct:
    """Sends requests for exact paths straight to their endpoints, past the framework's routing.

    ``endpoints`` are also routes of ``app``, so that it works without this, only slower.
    """

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._endpoints = dict(endpoints)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            endpoint = self._endpoints.get(scope["path"])
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def until_gone(receive: Receive) -> None:
    """Returns once the client has hung up; its body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


def pairs(text: bytes, *, what: str) -> list[tuple[str, str]]:
    """Names and values of a query string or a form. Raises :class:`Problem`."""
    try:
        return parse_qsl(
            text.decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except ValueError as error:
        raise bad_parameter(
            what, f"it can't be read as UTF-8 name=value pairs ({error})"
        ) from error


def single(found: list[tuple[str, str]], name: str) -> str | None:
    """The value of a parameter that may be given once. Raises :class:`Problem`."""
    values = [value for key, value in found if key == name]
    if len(values) > 1:
        raise bad_parameter(name, "it is given more than once")
    return values[0] if values else None


def head_parameter(found: list[tuple[str, str]], name: str) -> int | None:
    """A head from the parameters. Raises :class:`Problem`."""
    value = single(found, name)
    if value is None:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise bad_parameter(name, f"{value[:40]!r} is no log index, such as 42")
    return int(value)


def bad_parameter(name: str, why: str) -> Problem:
    """The answer to a parameter that can't be used."""
    return Problem(400, "parameter-invalid", "A parameter can't be used", f"{name}: {why}.")


def raw_path(scope: Scope) -> str:
    """The path as it was sent: an encoded slash in a segment stays encoded."""
    raw = scope.get("raw_path")
    if raw is None:
        return str(scope["path"])
    return bytes(raw).partition(b"?")[0].decode("latin-1")
