"""Bounds what a request may send to endpoints that do not read their body themselves.

Invariant: no request makes the server hold more than a limit, whoever sends it: a framework reads a
JSON body whole, before it asks who is there.
Specification: https://www.rfc-editor.org/rfc/rfc9110#name-413-content-too-large
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph_api.problems import Problem

SMALL_BODY = 1024 * 1024
"""Bytes; decisions, tokens and the like are a few hundred."""


class BodyLimit:
    """Refuses bodies above ``limit`` bytes, but for the paths that see to it themselves.

    ``own_limits`` are paths, or templates of paths such as ``/api/{number}/store/``.
    """

    def __init__(self, app: ASGIApp, own_limits: Collection[str], limit: int = SMALL_BODY) -> None:
        self._app = app
        self._own_limits = frozenset(path for path in own_limits if "{" not in path)
        self._own_templates = tuple(compile_path(path)[0] for path in own_limits if "{" in path)
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_own(scope["path"]):
            await self._app(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > self._limit:
            await self._too_large().response()(scope, receive, send)
            return
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._limit:
                # Of all exceptions, the framework passes only this one on as it is.
                raise HTTPException(413, self._too_large().detail)
            return message

        await self._app(scope, bounded, send)

    def _is_own(self, path: str) -> bool:
        return path in self._own_limits or any(t.match(path) for t in self._own_templates)

    def _too_large(self) -> Problem:
        return Problem(
            413,
            "body-too-large",
            "The body is too large",
            f"This takes at most {self._limit} bytes; send less.",
        )
