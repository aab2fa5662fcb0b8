"""One request to the platform, and what its answer says.

Invariant: every answer that is not a success becomes a typed error of :mod:`stewards.errors` with
the title and detail of its problem document. Only "busy" is retried, within bounds. The token goes
to the platform that was named and nowhere else.
Specification: https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from json import dumps
from typing import Any

from runtime.errors import HttpAway, HttpError, UrlError
from runtime.http_addresses import PeerUrl
from runtime.http_client import HttpClient, Transport
from runtime.http_messages import MEBIBYTE, Answer, Ask, Limits, Query
from runtime.http_retries import ONCE
from stewards.errors import GateBusy, GateUnreachable, UnexpectedAnswer, refusal

Json = dict[str, Any]

ATTEMPTS = 4
LONGEST_WAIT = 30.0
"""Seconds that are waited at once, whatever ``Retry-After`` says."""
USUAL_WAIT = 1.0
QUIET = 120.0
"""Seconds without a sign of life from the platform."""
MAX_ANSWER = 1024 * MEBIBYTE


class Exchange:
    """Speaks to the platform at ``url`` (no trailing slash) as one principal, with this bearer
    token; any thread may. ``sleep`` is called between retries, by whichever thread asks; ``quiet``
    is the seconds that an answer may take to begin; ``transport`` replaces the network."""

    def __init__(
        self,
        url: str,
        token: str,
        sleep: Callable[[float], object] = time.sleep,
        *,
        quiet: float = QUIET,
        transport: Transport | None = None,
    ) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._sleep = sleep
        self._quiet = quiet
        # What is asked again is told by what a refusal means, which is known here. No redirect is
        # followed and no proxy used: either could carry the token elsewhere.
        self._http = HttpClient(
            "fractalops-steward", retries=ONCE, circuit=None, transport=transport
        )

    def close(self) -> None:
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Query | None = None,
        content: bytes = b"",
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        quiet: float | None = None,
    ) -> Answer:
        """The answer, a success. ``json`` is a document to send in the place of ``content``.

        Raises :class:`GateUnreachable` and :class:`GateRefused`.
        """
        given = dict(headers or {})
        if json is not None:
            content = dumps(json).encode()
            given["Content-Type"] = "application/json"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._http.send(
                    Ask(
                        method,
                        PeerUrl.parse(self._url),
                        path,
                        query=params or {},
                        headers=self._headers | given,
                        content=content,
                        limits=_limits(self._quiet if quiet is None else quiet),
                    )
                )
            except (HttpError, UrlError) as error:
                why = error.kind if isinstance(error, HttpAway) else str(error)
                raise GateUnreachable(
                    f"{method} {path}: no answer from {self._url} ({why})"
                ) from error
            if answer.is_success:
                return answer
            error_ = refusal(answer.status, _problem(answer), _retry_after(answer))
            if not isinstance(error_, GateBusy) or attempt == ATTEMPTS:
                raise error_
            wait = error_.retry_after
            self._sleep(min(USUAL_WAIT * attempt if wait is None else wait, LONGEST_WAIT))
        raise AssertionError("the last attempt returns or raises")


def _limits(quiet: float) -> Limits:
    return Limits(connect=5.0, quiet=quiet, total=max(10 * quiet, 3600.0), answer=MAX_ANSWER)


def object_in(answer: Answer) -> Json:
    """The JSON object that an answer is. Raises :class:`UnexpectedAnswer`."""
    try:
        body = answer.json()
    except ValueError as error:
        raise unexpected(answer, f"no JSON ({error})") from error
    if not isinstance(body, dict):
        raise unexpected(answer, "JSON that is no object")
    return body


def unexpected(answer: Answer, what: str) -> UnexpectedAnswer:
    """The error for a success that is ``what`` instead of what the contract says."""
    return UnexpectedAnswer(
        f"{answer.method} {answer.path} answered {answer.status} with"
        f" {what}: is there another service at {answer.origin.partition('://')[2]}?"
    )


def _problem(answer: Answer) -> Json:
    """The problem document of an error answer; a plain one where a proxy wrote something else."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    if isinstance(body, dict):
        return body
    return {"title": answer.reason or "Error", "detail": answer.text[:200]}


def _retry_after(answer: Answer) -> float | None:
    """Seconds; a date, or nonsense, counts as not said."""
    value = answer.headers.get("Retry-After", "")
    return float(value) if re.fullmatch(r"\d{1,6}", value) else None
