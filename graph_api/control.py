"""Commands, requests and checks over HTTP: ``/runtime-assets/.../runs``, ``/runs`` and the rest.

Invariant: everything is asked of :class:`runtime.asset_service.RuntimeAssetControlService`, the
command line's own calls included. An answer of 202 is about what is on disk already. Output is told
to who asked for the run, and to operators and auditors; what is kept of it is redacted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from starlette.responses import JSONResponse

from graph_api.auth import Authenticator, Caller
from graph_api.control_json import (
    LONGEST_NAME,
    ControlGrantBody,
    RequestBody,
    RunBody,
    SelectedBody,
    controlled,
    problem_of_control,
    run_json,
    selection_of,
)
from graph_api.problems import Problem, of_ingest
from graph_api.proposing import Proposing
from graph_api.run_stream import MEDIA_TYPE, RunStream
from ingest.errors import IngestError
from ontology.ids import Ids
from proofs.genesis import control_grant_delta
from proofs.governance import AUDITOR, OPERATOR, Governance
from proofs.proposal import TRANSITIONS
from proofs.submission import Request as Submitted
from runtime.asset_checks import Checked
from runtime.asset_service import RuntimeAssetControlService, Selection
from runtime.control_runs import Run
from runtime.errors import UnknownRun

AssetId = Annotated[str, Path(min_length=1, max_length=LONGEST_NAME)]
RunId = Annotated[str, Path(min_length=1, max_length=100)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="Asked again with the same key, it is the same run.",
    ),
]


def build_router(
    *,
    service: RuntimeAssetControlService,
    authenticator: Authenticator,
    ids: Ids,
    kept_output: Callable[[str], tuple[str, str]],
    governance: Callable[[], Governance],
    proposing: Proposing,
) -> APIRouter:
    """The routes. ``kept_output`` gives standard output and error, redacted, of an evidence
    batch."""
    router = APIRouter(tags=["runtime assets"])
    anybody = Depends(authenticator.require())
    operators = Depends(authenticator.require(OPERATOR))

    def selected(asset_id: str | None, body: SelectedBody) -> Selection:
        name = body.environment
        return selection_of(
            asset_id, body, name if not name or ":" in name else ids.environment(name)
        )

    def begun(run: Run) -> JSONResponse:
        return JSONResponse(run_json(run), 202, headers={"Location": f"/runs/{run.id}"})

    def ask_run(asset_id: str | None, body: RunBody, key: str | None, caller: Caller) -> Response:
        return begun(
            controlled(
                service.run,
                caller.principal,
                selected(asset_id, body),
                tuple(body.argv),
                seconds=body.seconds,
                output_bytes=body.output_bytes,
                rationale=body.rationale,
                key=key or "",
            )
        )

    def ask_request(
        asset_id: str | None, body: RequestBody, key: str | None, caller: Caller
    ) -> Response:
        return begun(
            controlled(
                service.request,
                caller.principal,
                selected(asset_id, body),
                controlled(body.request),
                rationale=body.rationale,
                key=key or "",
            )
        )

    def ask_check(asset_id: str | None, body: SelectedBody, caller: Caller) -> dict[str, Any]:
        return checked(service.check, caller.principal, selected(asset_id, body))

    def checked(look: Callable[..., Checked], *arguments: Any) -> dict[str, Any]:
        try:
            return check_json(controlled(look, *arguments))
        except IngestError as error:
            raise of_ingest(error) from error

    def readable(identifier: str, caller: Caller) -> Run:
        run = controlled(service.find, identifier)
        projects = governance().readable_projects(caller.hidden_graphs)
        hidden = run.view.restricted and projects is not None and run.view.project not in projects
        if hidden and run.view.author != caller.principal:
            # The same answer as for one that does not exist: its existence is restricted too.
            raise problem_of_control(UnknownRun(f"there is no run {identifier!r}"))
        return run

    @router.post("/runtime-assets/runs", status_code=202)
    def run_by_role(body: RunBody, key: Key = None, caller: Caller = anybody) -> Response:
        """Ask for a command on the asset that alone has a role."""
        return ask_run(None, body, key, caller)

    @router.post("/runtime-assets/requests", status_code=202)
    def request_by_role(body: RequestBody, key: Key = None, caller: Caller = anybody) -> Response:
        """Ask for a request to the executor URL of the asset that alone has a role."""
        return ask_request(None, body, key, caller)

    @router.post("/runtime-assets/check")
    def check_by_role(body: SelectedBody, caller: Caller = anybody) -> dict[str, Any]:
        """Look whether the asset that alone has a role would run a command now."""
        return ask_check(None, body, caller)

    @router.post("/runtime-assets/grants", status_code=201)
    def grant(body: ControlGrantBody, caller: Caller = operators) -> JSONResponse:
        """Propose that a principal may control an asset, or all assets with a role; another person
        decides on it. 200 where it is so already."""
        delta = control_grant_delta(
            ids, body.to, asset_id=body.asset_id, role=body.role, auto_approve=body.auto_approve
        )
        on = body.asset_id or f"assets with the role {body.role}"
        request = Submitted(
            delta.additions,
            delta.removals,
            rationale=f"{body.to} may control {on}",
            media_type="application/x-control-grant",
            source=body.model_dump_json().encode(),
        )
        view = proposing.submit(caller, request)
        if view is None:
            return JSONResponse({"id": None, "state": "unchanged"}, 200)
        return JSONResponse(
            proposing.shown(view), 201, headers={"Location": f"/proposals/{view.id}"}
        )

    @router.post("/runtime-assets/{asset_id}/runs", status_code=202)
    def run_by_id(
        asset_id: AssetId, body: RunBody, key: Key = None, caller: Caller = anybody
    ) -> Response:
        """Ask for a command: begun at once where that may be, else it waits for a person."""
        return ask_run(asset_id, body, key, caller)

    @router.post("/runtime-assets/{asset_id}/requests", status_code=202)
    def request_by_id(
        asset_id: AssetId, body: RequestBody, key: Key = None, caller: Caller = anybody
    ) -> Response:
        """Ask for a request to the executor URL: sent at once where that may be."""
        return ask_request(asset_id, body, key, caller)

    @router.post("/runtime-assets/{asset_id}/check")
    def check_by_id(asset_id: AssetId, caller: Caller = anybody) -> dict[str, Any]:
        """Look whether an asset would run a command now, and whether its executor is reached."""
        return ask_check(asset_id, SelectedBody(), caller)

    @router.post("/endpoints/{endpoint_id}/check")
    def check_endpoint(endpoint_id: AssetId, caller: Caller = operators) -> dict[str, Any]:
        """Ask an integration endpoint where it shows that it is ready."""
        return checked(service.check_endpoint, caller.principal, endpoint_id)

    @router.get("/runs")
    def list_runs(
        asset_id: Annotated[str | None, Query(min_length=1, max_length=LONGEST_NAME)] = None,
        state: Annotated[str | None, Query(max_length=40)] = None,
        mine: Annotated[bool, Query(description="Only those that the caller asked for.")] = False,
        before: Annotated[int | None, Query(ge=0, le=2**53)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
        caller: Caller = anybody,
    ) -> dict[str, Any]:
        """Runs and requests, the newest first; `next` continues where there may be more."""
        if state is not None and state not in TRANSITIONS:
            raise Problem(
                400,
                "parameter-invalid",
                "A parameter can't be used",
                f"state: {state!r} is none of {', '.join(TRANSITIONS)}.",
            )
        found = controlled(
            service.runs,
            states=(state,) if state else (),
            asset=None if asset_id is None else ids.runtime_asset(asset_id),
            principal=caller.principal if mine else None,
            before=before,
            limit=limit,
            readable=governance().readable_projects(caller.hidden_graphs),
            reader=caller.principal,
        )
        return {
            "items": [run_json(run) for _, run in found],
            "next": found[-1][0] if len(found) == limit else None,
        }

    @router.get("/runs/{identifier}")
    def show_run(identifier: RunId, caller: Caller = anybody) -> dict[str, Any]:
        """One run."""
        return run_json(readable(identifier, caller))

    @router.get(
        "/runs/{identifier}/output",
        responses={200: {"content": {MEDIA_TYPE: {}}}},
        response_class=Response,
    )
    def follow(
        request: Request,
        identifier: RunId,
        wait: Annotated[bool, Query(description="Whether to stay until the run has ended.")] = True,
        caller: Caller = anybody,
    ) -> Response:
        """The output as it comes, a JSON object a line, and the run as it stands at the end."""
        run = readable(identifier, caller)
        if caller.principal != run.view.author and caller.role not in (OPERATOR, AUDITOR):
            raise Problem(
                403,
                "role-needed",
                "Your role does not allow this",
                "The output of a run is told to who asked for it, to operators and to auditors.",
            )
        headers = request.headers
        return RunStream(
            service,
            identifier,
            kept_output,
            lambda: authenticator.authenticate(headers),
            wait=wait,
        )

    @router.post("/runs/{identifier}/cancel", status_code=202)
    def cancel(identifier: RunId, caller: Caller = anybody) -> dict[str, Any]:
        """End a run that is under way, or have it not begun; its author and operators may."""
        run = readable(identifier, caller)
        if caller.principal != run.view.author and caller.role != OPERATOR:
            raise Problem(
                403,
                "role-needed",
                "Your role does not allow this",
                "A run is cancelled by who asked for it, or by an operator.",
            )
        return run_json(controlled(service.cancel, caller.principal, identifier))

    return router


def check_json(found: Checked) -> dict[str, Any]:
    """What a look found, as every route shows it."""
    return {**asdict(found), "at": found.at.isoformat(), "evidence": list(found.evidence)}
