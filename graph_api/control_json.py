"""Runs, checks and requests on runtime assets as JSON, and what is read of them from strangers.

Invariant: whoever shows a run shows it the same way, every member always there. Refusals of the
control of assets have one status and one stable type each.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from graph_api.problems import Problem
from graph_api.proposal_json import problem_of
from proofs.errors import ProofError
from runtime import errors
from runtime.asset_service import (
    DEFAULT_OUTPUT,
    DEFAULT_SECONDS,
    LONGEST_SECONDS,
    MOST_OUTPUT,
    Selection,
)
from runtime.control_request import BODY_BYTES, ControlRequest
from runtime.control_request import LONGEST_SECONDS as LONGEST_REQUEST
from runtime.control_runs import Run

T = TypeVar("T")

LONGEST_NAME = 256
_Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
_Output = Annotated[int, Field(ge=0, le=MOST_OUTPUT)]

_TITLES: dict[type[errors.RuntimeFloorError], tuple[int, str, str]] = {
    errors.UnknownAsset: (404, "unknown-asset", "There is nothing of that id"),
    errors.AmbiguousRole: (409, "ambiguous-role", "Several assets have the role"),
    errors.NotPermitted: (403, "not-permitted", "The asset does not permit this"),
    errors.NotControlled: (409, "not-controlled", "An endpoint is called, not controlled"),
    errors.RequestRefused: (422, "request-refused", "That is no request to an executor"),
    errors.ControlBusy: (429, "control-busy", "Too much is under way"),
    errors.ControlClosed: (503, "server-ending", "The server is ending"),
    errors.UnknownRun: (404, "unknown-run", "There is no such run"),
    errors.CommandRefused: (422, "command-refused", "That is no command for a machine"),
    errors.OpenBaoError: (503, "secret-unavailable", "A secret can't be had"),
    errors.AdapterError: (422, "machine-unreached", "No adapter reaches the machine"),
}


class SelectedBody(BaseModel):
    """An asset by the role that it alone has, in an environment where one is named."""

    model_config = ConfigDict(extra="forbid")

    role: str = Field(default="", max_length=LONGEST_NAME)
    environment: str = Field(default="", max_length=LONGEST_NAME)


class RunBody(SelectedBody):
    """A command: the program and its arguments, as they are to arrive."""

    argv: list[str] = Field(min_length=1, max_length=4096)
    seconds: float = Field(default=DEFAULT_SECONDS, gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)
    output_bytes: _Output = DEFAULT_OUTPUT
    rationale: str = Field(default="", max_length=4000)


class ControlGrantBody(BaseModel):
    """The right of a principal, by name, to control one asset or all assets with a role."""

    model_config = ConfigDict(extra="forbid")

    to: _Name
    asset_id: str = Field(default="", max_length=LONGEST_NAME)
    role: str = Field(default="", max_length=LONGEST_NAME)
    auto_approve: bool = False

    @model_validator(mode="after")
    def _is_on_one(self) -> Self:
        if bool(self.asset_id) == bool(self.role):
            raise ValueError("give asset_id or role")
        return self


class RequestBody(SelectedBody):
    """A request to the executor URL; the body as text, or in base64."""

    method: str = Field(max_length=20)
    path: str = Field(max_length=2000)
    body: str = Field(default="", max_length=BODY_BYTES)
    body_base64: str = Field(default="", max_length=2 * BODY_BYTES)
    content_type: str = Field(default="", max_length=100)
    seconds: float = Field(default=DEFAULT_SECONDS, gt=0, le=LONGEST_REQUEST, allow_inf_nan=False)
    output_bytes: _Output = DEFAULT_OUTPUT
    rationale: str = Field(default="", max_length=4000)

    @model_validator(mode="after")
    def _says_it_once(self) -> Self:
        if self.body and self.body_base64:
            raise ValueError("give body or body_base64")
        return self

    def request(self) -> ControlRequest:
        """Raises :class:`runtime.errors.RequestRefused`."""
        try:
            body = (
                base64.b64decode(self.body_base64, validate=True)
                if self.body_base64
                else self.body.encode()
            )
        except ValueError as error:
            raise errors.RequestRefused("the body is neither text nor base64") from error
        kind = self.content_type or ("application/octet-stream" if body else "")
        return ControlRequest(self.method, self.path, body, kind, self.seconds, self.output_bytes)


def run_json(run: Run) -> dict[str, Any]:
    """A run as every route shows it; ``result`` is ``null`` until it has ended."""
    view, order = run.view, run.order
    action = {name: value for name, value in order.action.items() if name != "key"}
    return {
        "id": view.id,
        "iri": view.iri,
        "state": view.state,
        "outcome": run.result.get("outcome"),
        "asset_id": order.asset_id,
        "asset": order.asset,
        "target": order.target or None,
        "action": action,
        "effect": order.effect,
        "rule": order.rule,
        "person": order.person or None,
        "author": view.author,
        "project": view.project,
        "rationale": view.rationale,
        "submitted_at": view.submitted_at,
        "decisions": [
            {"by": item.by, "outcome": item.outcome, "reason": item.reason, "at": item.at}
            for item in view.decisions
        ],
        "transitions": [
            {"state": item.state, "at": item.at, "proof": item.proof} for item in view.transitions
        ],
        "proof": view.proof,
        "head": view.head,
        "result": dict(run.result) or None,
        "evidence": list(view.evidence),
    }


def selection_of(asset_id: str | None, body: SelectedBody, environment: str) -> Selection:
    """What is meant by a path or a body. Raises :class:`Problem` where that is nothing, or twice.
    ``environment`` is the IRI of the one that is named."""
    if asset_id is not None:
        if body.role or body.environment:
            raise Problem(
                400,
                "parameter-invalid",
                "A parameter cannot be used",
                "The path names the asset: leave out role and environment.",
            )
        return Selection(asset_id=asset_id)
    if not body.role:
        raise Problem(
            400,
            "parameter-invalid",
            "A parameter cannot be used",
            "Name the asset by its role, or by its id: POST /runtime-assets/{asset_id}/...",
        )
    return Selection(role=body.role, environment=environment)


def controlled(function: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """What a function of the control of assets gives; its refusals as :class:`Problem`."""
    try:
        return function(*arguments, **named)
    except ProofError as error:
        raise problem_of(error) from error
    except errors.RuntimeFloorError as error:
        raise problem_of_control(error) from error


def problem_of_control(error: errors.RuntimeFloorError) -> Problem:
    """The answer to a refusal, with nothing started."""
    extra: dict[str, Any] = {}
    if isinstance(error, errors.AmbiguousRole):
        extra["candidates"] = list(error.candidates)
    if isinstance(error, errors.NotPermitted):
        extra["permitted"] = list(error.patterns)
    for kind, (status, name, title) in _TITLES.items():
        if isinstance(error, kind):
            headers = {"Retry-After": "5"} if status in (429, 503) else {}
            return Problem(status, name, title, f"{error}.", extra=extra, headers=headers)
    if isinstance(error, errors.ControlError):
        return Problem(409, "control-refused", "This is not carried out", f"{error}.")
    return Problem(502, "machine-unreached", "No adapter reaches the machine", f"{error}.")
