"""``/heads``: which log entry was the newest at a moment, so that ``at=N`` can ask about it.

Invariant: the answer is the newest entry that was made by then, by the clock of this platform. That
an entry exists, and when it was made, is no secret: every answer names its head.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime

from graph_api.auth import Authenticator, Caller
from graph_api.problems import Problem
from proofs.index import EntryRow
from proofs.projections import format_time

Moment = Annotated[
    AwareDatetime, Query(description="A moment with its zone (RFC 3339), such as 2026-11-07T12:00Z")
]

_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def build_router(
    *, authenticator: Authenticator, newest_by: Callable[[str], EntryRow | None]
) -> APIRouter:
    """The route. ``newest_by`` is :meth:`proofs.index.Index.newest_by`."""
    router = APIRouter(tags=["graph"])
    anybody = Depends(authenticator.require())

    @router.get("/heads")
    def head_at(time: Moment, caller: Caller = anybody) -> dict[str, Any]:
        """The head at a moment: the newest log entry that was made by then."""
        # Years that have fewer digits don't sort as texts, and some moments have no UTC.
        asked = min(max(time, _EARLIEST), _LATEST)
        found = newest_by(format_time(asked.astimezone(UTC)))
        if found is None:
            raise Problem(
                404,
                "before-the-log",
                "The log had no entry yet",
                f"nothing was recorded by {time.isoformat()}: ask for a later moment, or with at=0"
                " for the beginning",
            )
        return {"head": found.index, "time": found.time}

    return router
