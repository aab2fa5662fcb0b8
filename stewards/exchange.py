"""One request to the platform, and what its answer says.

Invariant: every answer that is not a success becomes a typed error of :mod:`stewards.errors` with
the title and detail of its problem document. Only "busy" is retried, within bounds. The token goes
to the platform that was named and nowhere else.
Specification: https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import httpx

from stewards.errors import GateBusy, GateUnreachable, UnexpectedAnswer, refusal

Json = dict[str, Any]

ATTEMPTS = 4
LONGEST_WAIT = 30.0
"""Seconds that are waited at once, whatever ``Retry-After`` says."""
USUAL_WAIT = 1.0
TIMEOUT = httpx.Timeout(120.0, connect=5.0)


class Exchange:
    """Speaks to one platform as one principal; any thread may. ``http`` has the base URL and the
    bearer token. ``sleep`` is called between retries, by whichever thread asks."""

    def __init__(self, http: httpx.Client, sleep: Callable[[float], object] = time.sleep) -> None:
        self._http = http
        self._sleep = sleep

    def close(self) -> None:
        self._http.close()

    def send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """The answer, a success; ``arguments`` are those of :meth:`httpx.Client.request`.

        Raises :class:`GateUnreachable` and :class:`GateRefused`.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                raise GateUnreachable(
                    f"{method} {path}: no answer from {self._http.base_url}"
                    f" ({type(error).__name__}: {error})"
                ) from error
            if answer.is_success:
                return answer
            error_ = refusal(answer.status_code, _problem(answer), _retry_after(answer))
            if not isinstance(error_, GateBusy) or attempt == ATTEMPTS:
                raise error_
            wait = error_.retry_after
            self._sleep(min(USUAL_WAIT * attempt if wait is None else wait, LONGEST_WAIT))
        raise AssertionError("the last attempt returns or raises")


def client(url: str, token: str, timeout: httpx.Timeout = TIMEOUT) -> httpx.Client:
    """A client of the platform at ``url`` (no trailing slash) with this bearer token."""
    return httpx.Client(
        base_url=url,
        headers={"Authorization": f"Bearer {token}", "User-Agent": "fractalops-steward"},
        timeout=timeout,
        # A redirect or a proxy could carry the token elsewhere.
        follow_redirects=False,
        trust_env=False,
        # Plain HTTP has no certificates to verify, and the trusted ones take time to read.
        verify=not url.startswith("http://"),
    )


def object_in(answer: httpx.Response) -> Json:
    """The JSON object that an answer is. Raises :class:`UnexpectedAnswer`."""
    try:
        body = answer.json()
    except ValueError as error:
        raise unexpected(answer, f"no JSON ({error})") from error
    if not isinstance(body, dict):
        raise unexpected(answer, "JSON that is no object")
    return body


def unexpected(answer: httpx.Response, what: str) -> UnexpectedAnswer:
    """The error for a success that is ``what`` instead of what the contract says."""
    return UnexpectedAnswer(
        f"{answer.request.method} {answer.request.url.path} answered {answer.status_code} with"
        f" {what}: is there another service at {answer.request.url.host}?"
    )


def _problem(answer: httpx.Response) -> Json:
    """The problem document of an error answer; a plain one where a proxy wrote something else."""
    try:
        body = json.loads(answer.content)
    except ValueError:
        body = None
    if isinstance(body, dict):
        return body
    return {"title": answer.reason_phrase or "Error", "detail": answer.text[:200]}


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds; a date, or nonsense, counts as not said."""
    value = answer.headers.get("Retry-After", "")
    return float(value) if re.fullmatch(r"\d{1,6}", value) else None
