"""Reads what a request asks of the gate: its body within a limit, and its parameters.

Invariant: a body is read with its limit before anything is parsed, and parsed in a thread, so that
readers never wait for it.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from graph_api.auth import Caller
from graph_api.problems import Problem
from graph_api.proposal_json import answered
from ingest.bodies import read_body
from ingest.errors import BodyError
from ontology.ids import Ids
from proofs.submission import MEDIA_TYPES, read_submission
from proofs.submission import Request as GateRequest

_PARAMETERS = {"project": "string", "graph": "string", "rationale": "string", "base": "integer"}


def described(*, required: bool) -> dict[str, Any]:
    """Body and parameters, for the API description."""
    content: dict[str, Any] = {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES}
    content["application/json"] = {"schema": {"type": "object"}}
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": {"type": kind}}
            for name, kind in _PARAMETERS.items()
        ],
        "requestBody": {"required": required, "content": content},
    }


def asks_nothing(request: Request) -> bool:
    """Whether a request comes without a body, and without a word about one."""
    headers = request.headers
    return (
        headers.get("content-length", "0") == "0"
        and "transfer-encoding" not in headers
        and "content-type" not in headers
        and not request.query_params
    )


async def read_request(request: Request, caller: Caller, ids: Ids, body_limit: int) -> GateRequest:
    """What a caller asks for. Raises :class:`Problem`."""
    parameters = request.query_params
    try:
        body = await read_body(request.stream(), request.headers, body_limit)
    except BodyError as error:
        # What is left of the body is not read: the connection serves no further request.
        raise Problem(
            error.status,
            error.kind,
            error.title,
            error.detail,
            headers={"Connection": "close"},
        ) from error
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return await run_in_threadpool(
        answered,
        read_submission,
        body,
        media_type,
        ids,
        project=parameters.get("project") or caller.project,
        graph=parameters.get("graph"),
        rationale=parameters.get("rationale", ""),
        evidence=parameters.getlist("evidence"),
        base=_base(request),
    )


def _base(request: Request) -> int | None:
    given = request.query_params.get("base") or request.headers.get("if-match", "").strip('W/" ')
    if not given or given == "*":
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 19):
        raise Problem(
            400, "unknown-head", "The base is no head", f"{given[:40]!r} is not a log index"
        )
    return int(given)
