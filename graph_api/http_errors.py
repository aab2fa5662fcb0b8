"""Errors that no handler answers itself, as RFC 9457 problems.

Invariant: what is not expected is logged here in full and told to the caller without internals.
"""

from __future__ import annotations

import logging
import sqlite3
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from graph_api import validation
from graph_api.problems import Problem, handle_problem
from shapes.errors import ValidationFailed

LOGGER = logging.getLogger(__name__)

_DISK = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
_KINDS = {404: "not-found", 405: "method-not-allowed", 413: "body-too-large"}
_HINTS = {
    404: "GET /docs lists what there is.",
    405: "GET /docs lists the methods of each path.",
}


def add_handlers(app: FastAPI) -> None:
    """Answer every error of this application as a problem."""
    app.add_exception_handler(Problem, handle_problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(ValidationFailed, _unvalidated)
    app.add_exception_handler(sqlite3.OperationalError, _not_kept)
    app.add_exception_handler(Exception, _unexpected)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [
        {
            "where": ".".join(str(part) for part in item["loc"]),
            "message": item["msg"],
        }
        for item in error.errors()
    ]
    first = found[0] if found else {"where": "the request", "message": "is not valid"}
    return Problem(
        422,
        "invalid-request",
        "The request is not valid",
        f"{first['where']}: {first['message']}",
        extra={"errors": found},
    ).response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _KINDS.get(error.status_code, "http-error")
    said = str(error.detail).rstrip(".")
    return Problem(
        error.status_code,
        kind,
        HTTPStatus(error.status_code).phrase,
        f"{request.method} {request.url.path}: {said}. {_HINTS.get(error.status_code, '')}",
        headers=dict(error.headers or {}),
    ).response()


async def _gone(request: Request, error: Exception) -> Response:
    return Problem(
        400, "client-gone", "The client hung up", "The body ended early; nothing was stored."
    ).response()


async def _unvalidated(request: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationFailed)
    LOGGER.error("%s %s: %s", request.method, request.url.path, error)
    return validation.unvalidated(error).response()


async def _not_kept(request: Request, error: Exception) -> Response:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DISK:
        return await _unexpected(request, error)
    LOGGER.error("%s %s: a file of the data folder: %s", request.method, request.url.path, error)
    return Problem(
        507,
        "disk-full",
        "It could not be kept",
        f"a file of the data folder could not be written ({error}): free some space, or mend the"
        " disk, and ask again",
        headers={"Retry-After": "60"},
    ).response()


async def _unexpected(request: Request, error: Exception) -> Response:
    LOGGER.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return Problem(
        500,
        "internal",
        "Something went wrong here",
        "The server's log has the details; whether the request took effect can be read back.",
    ).response()
