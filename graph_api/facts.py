"""Read-only SQL over the facts: ``GET`` and ``POST /facts``.

Invariant: a query changes nothing, sees no row of a project that its caller may not read, and ends
at the limits of time, memory and rows; what it can't do is refused with a problem that says so.
Dialect: https://clickhouse.com/docs/sql-reference/statements/select
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from graph_api.auth import Authenticator, Caller
from graph_api.negotiate import required
from graph_api.problems import Problem, of_ingest
from ingest.bodies import read_body
from ingest.errors import IngestError
from ingest.inbox import Inbox
from ingest.warehouse import MAX_ROWS, MAX_SECONDS, Result, Warehouse

JSON = "application/json"
CSV = "text/csv"
SQL_TYPES = ("application/sql", "text/plain")

Limit = Annotated[int, Query(ge=1, le=MAX_ROWS, description="The most rows to answer with.")]

TrustedOnly = Annotated[
    bool, Query(description="Only events of trusted senders: not what came through a page's key.")
]

_MAX_SQL = 256 * 1024
_LINEAGE = "/graph/lineage/"
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The rows; `truncated` says that there were more than `limit`.",
        "content": {
            JSON: {"example": {"columns": ["service"], "rows": [["web"]], "truncated": False}},
            CSV: {},
        },
    },
    400: {"description": "The SQL is not valid."},
    403: {"description": "The SQL does more than read the facts."},
    503: {"description": "The query reached its limit of time or memory, or all readers are busy."},
}


def build_router(
    warehouse: Warehouse,
    authenticator: Authenticator,
    inbox: Inbox,
    head: Callable[[], int],
    *,
    seconds: float = MAX_SECONDS,
) -> APIRouter:
    """The routes, for callers of every role; a query may take so many ``seconds``. ``head`` is that
    of the log."""
    router = APIRouter(tags=["facts"])
    reader = Depends(authenticator.require())

    @router.get("/facts/progress")
    def show_progress(caller: Caller = reader) -> dict[str, int]:
        """How far the log and the facts have come. Facts are whole up to the batch ``cursor``; of
        the batch after it some may be there already, and ``pending`` batches are still to come."""
        return {"head": head(), "cursor": inbox.cursor, "pending": inbox.counts().pending}

    @router.get("/facts", summary="Ask the facts with SQL", responses=_ANSWERS)
    async def get_facts(
        request: Request,
        query: Annotated[str, Query(description="One SELECT in ClickHouse's dialect.")],
        limit: Limit = MAX_ROWS,
        trusted: TrustedOnly = False,
        caller: Caller = reader,
    ) -> Response:
        return await _answer(warehouse, request, caller, query, limit, seconds, trusted)

    @router.post(
        "/facts",
        summary="Ask the facts with SQL",
        responses=_ANSWERS,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/sql": {"schema": {"type": "string"}}},
            }
        },
    )
    async def post_facts(
        request: Request,
        limit: Limit = MAX_ROWS,
        trusted: TrustedOnly = False,
        caller: Caller = reader,
    ) -> Response:
        sql = await _sql(request)
        return await _answer(warehouse, request, caller, sql, limit, seconds, trusted)

    return router


def hidden_projects(caller: Caller) -> set[str]:
    """The projects whose rows this caller may not read."""
    return {
        unquote(graph.rpartition(_LINEAGE)[2])
        for graph in caller.hidden_graphs
        if _LINEAGE in graph
    }


async def _sql(request: Request) -> str:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in SQL_TYPES:
        raise Problem(
            415,
            "content-type-unsupported",
            "The Content-Type is not supported",
            f"Send the SQL as {SQL_TYPES[0]}.",
        )
    try:
        return (await read_body(request.stream(), request.headers, _MAX_SQL)).decode()
    except IngestError as error:
        raise of_ingest(error) from error
    except UnicodeDecodeError as error:
        raise Problem(
            400, "facts-query-invalid", "The query is not valid SQL here", "Send it in UTF-8."
        ) from error
    except ClientDisconnect as error:
        # Nobody reads this answer; it only ends the request.
        raise Problem(400, "client-gone", "The client hung up", "Send the whole body.") from error


async def _answer(
    warehouse: Warehouse,
    request: Request,
    caller: Caller,
    sql: str,
    limit: int,
    seconds: float,
    trusted: bool,
) -> Response:
    media_type = required(request.headers.get("accept"), (JSON, CSV))
    hidden = hidden_projects(caller)

    def run() -> Response:
        result = warehouse.query(
            sql,
            max_seconds=seconds,
            max_rows=limit,
            hidden_projects=hidden,
            trusted_only=trusted,
        )
        body = _csv(result) if media_type == CSV else _json(result)
        headers = {"Vary": "Accept", "Cache-Control": "no-store"}
        if media_type == CSV:
            # CSV has no room for it in the body.
            headers["Fractalops-Truncated"] = "true" if result.truncated else "false"
        return Response(body, media_type=media_type, headers=headers)

    try:
        return await run_in_threadpool(run)
    except IngestError as error:
        raise of_ingest(error) from error


def _json(result: Result) -> bytes:
    document = {"columns": result.columns, "rows": result.rows, "truncated": result.truncated}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _csv(result: Result) -> bytes:
    """RFC 4180; arrays, tuples and maps are written as JSON, a missing value as nothing."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(result.columns)
    writer.writerows(
        [
            json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
            for value in row
        ]
        for row in result.rows
    )
    return text.getvalue().encode()
