"""One error shape for every HTTP answer: RFC 9457 problem details.

Invariant: whatever goes wrong, the caller gets ``application/problem+json`` with a stable ``type``,
a sentence about what happened and, in ``detail``, what to do next; and it is counted by type.
Specification: https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from prometheus_client import Counter
from starlette.requests import Request
from starlette.responses import Response

from ingest.errors import IngestError

PROBLEM_JSON = "application/problem+json"
TYPE_PREFIX = "https://w3id.org/fractalops/problems/"

PROBLEMS = Counter("fractalops_problems_total", "Error answers, by problem type.", ["type"])


class Problem(Exception):
    """An error answer on its way to the caller.

    ``kind`` is the stable last segment of the problem type (kebab-case), ``title`` the short
    summary that is the same for every occurrence, ``detail`` what happened here and what the
    caller can do about it. ``extra`` adds members to the body, ``headers`` to the answer.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        *,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{title}: {detail}")
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
        if status == 413:
            # The rest of the body is not read, so that the connection is of no further use.
            self.headers["Connection"] = "close"

    def response(self) -> Response:
        """The answer, counted."""
        return Response(
            json.dumps(self.told(), ensure_ascii=False).encode(),
            status_code=self.status,
            media_type=PROBLEM_JSON,
            headers=self.headers,
        )

    def told(self) -> dict[str, Any]:
        """The problem document of an answer that is on its way, counted."""
        PROBLEMS.labels(type=self.kind).inc()
        return {
            "type": TYPE_PREFIX + self.kind,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            **self.extra,
        }


def of_ingest(error: IngestError) -> Problem:
    """The problem that an error of telemetry and facts is."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return Problem(error.status, error.kind, error.title, error.detail, headers=headers)


async def handle_problem(request: Request, error: Exception) -> Response:
    """Starlette exception handler for :class:`Problem`."""
    assert isinstance(error, Problem)
    return error.response()
