"""``fractalops runtime-assets check``, ``run``, ``request``, ``runs``, ``output`` and ``cancel``,
and ``endpoints check``.

Invariant: what is asked for, is asked of the server, which decides and records; nothing is reached
from here. The exit code is the remote command's own where its end was seen; what has no such end
has a code of its own, and a message on stderr that says what it means.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graph_api.cli_assets import (
    AssetIdOption,
    EnvironmentOption,
    RoleOption,
    assets,
    endpoints,
    short,
)
from graph_api.cli_follow import exit_code, finished, follow
from graph_api.cli_output import Column, Output, column, say, show_facts, show_rows
from graph_api.cli_proposals import explained, show_outcome
from graph_api.cli_session import DataOption, OutputOption, connect, output_format, seconds

if TYPE_CHECKING:
    from graph_api.client import Client

TimeoutOption = Annotated[
    str,
    typer.Option(
        "--timeout", metavar="DURATION", help="How long it may take, such as 90s (default: 60s)."
    ),
]
WaitOption = Annotated[
    bool,
    typer.Option("--wait", help="Where a person must approve it first, stay until it has ended."),
]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", metavar="KEY", help="Asked again with the same key, it is the same run."),
]
ReasonOption = Annotated[
    str, typer.Option("--rationale", metavar="TEXT", help="Why, for whoever decides on it.")
]
OutputLimitOption = Annotated[
    int,
    typer.Option(
        "--output-limit", metavar="BYTES", min=0, help="So much of each stream is passed on."
    ),
]

DEFAULT_OUTPUT = 1024 * 1024

RUN_COLUMNS = (
    *(column("run", "id"), column("asset id", "asset_id")),
    Column("action", lambda item: asked(item)),
    *(column("effect"), column("state"), column("outcome")),
    Column("exit code", lambda item: (item.get("result") or {}).get("exit_code")),
    Column("status", lambda item: (item.get("result") or {}).get("status")),
    Column("author", lambda item: item.get("author"), short),
    column("asked at", "submitted_at"),
    column("proof"),
)


def register(app: typer.Typer) -> None:
    """The commands hang on those of :mod:`graph_api.cli_assets`."""


def asked(run: Mapping[str, Any]) -> str:
    """What a run does, on one line."""
    import shlex

    action = run.get("action") or {}
    if action.get("kind") == "request":
        return f"{action.get('method')} {action.get('path')}"
    return shlex.join(map(str, action.get("argv") or ()))


@assets.command("check")
def check_asset(
    context: typer.Context,
    asset_id: AssetIdOption = None,
    role: RoleOption = None,
    environment: EnvironmentOption = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Look whether an asset would run a command now, and whether its executor URL is reached.

    Ends with 1 where the asset is not running.

    \b
    Example:
        fractalops runtime-assets check --asset-id workbench
        fractalops runtime-assets check --role daytona_runtime --output json
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = client.check_asset(_one(asset_id, role, environment))
    _show_check(found, "asset id", shown)
    raise typer.Exit(0 if found.get("state") == "running" else 1)


@assets.command("run")
def run_command(
    context: typer.Context,
    argv: Annotated[
        list[str],
        typer.Argument(metavar="-- PROGRAM [ARGUMENT]...", help="As they are to arrive there."),
    ],
    asset_id: AssetIdOption = None,
    role: RoleOption = None,
    environment: EnvironmentOption = None,
    timeout: TimeoutOption = "60s",
    output_limit: OutputLimitOption = DEFAULT_OUTPUT,
    wait: WaitOption = False,
    key: KeyOption = None,
    rationale: ReasonOption = "",
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Run a command on an asset that permits it. What reads goes at once; what changes something
    waits for a person, unless a grant says otherwise.

    Standard output and error come as they are written; Ctrl-C cancels the run. The exit code is
    the command's own, 128 + n where signal n ended it. Otherwise: 69 nothing was started, 74 the
    outcome is unknown, 75 it waits for approval, 77 it was not approved, 124 out of time, 130
    cancelled.

    \b
    Example:
        fractalops runtime-assets run --role daytona_runtime -- python -V
        fractalops runtime-assets run --asset-id workbench --wait -- systemctl restart web
    """
    shown = output_format(context, output)
    document = {
        "argv": argv,
        "seconds": seconds(timeout),
        "output_bytes": output_limit,
        "rationale": rationale,
    }
    with connect(context, data) as client:
        run = client.ask_run(_one(asset_id, role, environment), "runs", document, key)
        _to_its_end(client, run, shown, wait=wait)


@assets.command("request")
def send_request(
    context: typer.Context,
    asset_id: AssetIdOption = None,
    role: RoleOption = None,
    environment: EnvironmentOption = None,
    method: Annotated[
        str, typer.Option("--method", metavar="METHOD", help="GET, POST and so on.")
    ] = "GET",
    path: Annotated[
        str, typer.Option("--path", metavar="PATH", help="From the root of the executor URL.")
    ] = "/",
    body: Annotated[
        str | None, typer.Option("--body", metavar="TEXT", help="The body of the request.")
    ] = None,
    body_file: Annotated[
        Path | None, typer.Option("--body-file", metavar="FILE", help="A file with the body.")
    ] = None,
    content_type: Annotated[
        str, typer.Option("--content-type", metavar="TYPE", help="What the body is.")
    ] = "application/json",
    timeout: TimeoutOption = "60s",
    output_limit: OutputLimitOption = DEFAULT_OUTPUT,
    wait: WaitOption = False,
    key: KeyOption = None,
    rationale: ReasonOption = "",
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Send a request to the executor URL of an asset that permits it; the answer's body is printed.

    Redirects are not followed. The exit code is 0 for a status of 2xx, 22 for any other, and
    otherwise as for 'run'.

    \b
    Example:
        fractalops runtime-assets request --role langboard_executor --method GET --path /health
        fractalops runtime-assets request --role builder --method POST --path /jobs --body '{}'
    """
    shown = output_format(context, output)
    if body is not None and body_file is not None:
        raise typer.BadParameter("give the body with --body or with --body-file")
    content = body_file.read_bytes() if body_file is not None else (body or "").encode()
    document: dict[str, Any] = {
        "method": method.upper(),
        "path": path,
        "seconds": seconds(timeout),
        "output_bytes": output_limit,
        "rationale": rationale,
    }
    if content:
        import base64

        document["body_base64"] = base64.b64encode(content).decode()
        document["content_type"] = content_type
    with connect(context, data) as client:
        run = client.ask_run(_one(asset_id, role, environment), "requests", document, key)
        _to_its_end(client, run, shown, wait=wait)


@assets.command("runs")
def list_runs(
    context: typer.Context,
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Show this one alone.")] = None,
    asset_id: AssetIdOption = None,
    state: Annotated[
        str | None,
        typer.Option("--state", help='Only this state, such as "awaiting decision" or executing.'),
    ] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Only what you asked for.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 20,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """List runs and requests, the newest first, or show one.

    \b
    Example:
        fractalops runtime-assets runs --asset-id workbench
        fractalops runtime-assets runs 20261128-1cb8bef4a2 --output json
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        if run is not None:
            _show_run(client.run(run), shown)
            return
        found = client.runs(
            {
                "asset_id": asset_id,
                "state": state,
                "mine": "true" if mine else None,
                "limit": limit,
            }
        )
    show_rows(found, RUN_COLUMNS, shown, nothing="There are none.")


@assets.command("output")
def show_output(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Print the output of a run and stay until it has ended, also where it still waits for
    approval. Ends as the run did. Of older runs the output is printed as it is kept: redacted.

    \b
    Example:
        fractalops runtime-assets output 20261128-1cb8bef4a2
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        _to_its_end(client, client.run(run), shown, wait=True, ours=False)


@assets.command("cancel")
def cancel_run(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """End a run that is under way, or have it not begun at all.

    \b
    Example:
        fractalops runtime-assets cancel 20261128-1cb8bef4a2
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        _show_run(client.cancel_run(run), shown)


@assets.command("grant")
def grant_control(
    context: typer.Context,
    to: Annotated[
        str, typer.Option("--to", metavar="NAME", help="The principal, such as shop-steward.")
    ],
    asset_id: AssetIdOption = None,
    role: RoleOption = None,
    auto_approve: Annotated[
        bool,
        typer.Option("--auto-approve", help="What changes something goes at once for them, too."),
    ] = False,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Propose that a principal may control an asset, or every asset with a role. Another person
    decides on it.

    \b
    Example:
        fractalops runtime-assets grant --role daytona_runtime --to shop-steward
        fractalops runtime-assets grant --asset-id workbench --to ann --auto-approve
    """
    shown = output_format(context, output)
    _one(asset_id, role, None)
    document: dict[str, Any] = {"to": to, "auto_approve": auto_approve}
    document |= {"asset_id": asset_id} if asset_id is not None else {"role": role}
    with connect(context, data) as client, explained(shown):
        found = client.grant_control(document)
    show_outcome(found, shown)


@endpoints.command("check")
def check_endpoint(
    context: typer.Context,
    endpoint_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="The endpoint's id.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every endpoint there is.")] = False,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Ask endpoints where they show that they are ready, with their authentication.

    Ends with 1 where one is not ready.

    \b
    Example:
        fractalops endpoints check artifacts
        fractalops endpoints check --all --output json
    """
    shown = output_format(context, output)
    if (endpoint_id is None) == (not every):
        raise typer.BadParameter("name an endpoint, or give --all")
    with connect(context, data) as client:
        if endpoint_id is not None:
            found = [client.check_endpoint(endpoint_id)]
        else:
            names = [str(item.get("endpoint_id")) for item in client.endpoints({})]
            found = [client.check_endpoint(name) for name in names]
    columns = (
        *(column("endpoint id", "about"), column("state"), column("status")),
        *(column("reason"), column("at"), column("evidence")),
    )
    show_rows(found, columns, shown, nothing="There are none.")
    raise typer.Exit(0 if all(item.get("state") == "ready" for item in found) else 1)


def _one(
    asset_id: str | None, role: str | None, environment: str | None
) -> tuple[str | None, str | None, str | None]:
    if (asset_id is None) == (role is None):
        raise typer.BadParameter("name the asset with --asset-id ID or with --role ROLE")
    if asset_id is not None and environment is not None:
        raise typer.BadParameter("an asset id needs no --environment")
    return asset_id, role, environment


def _to_its_end(
    client: Client, run: dict[str, Any], output: Output, *, wait: bool, ours: bool = True
) -> None:
    """Follow a run, and end as it did; one that waits for a person is followed with ``wait``."""
    identifier = str(run.get("id"))
    if run.get("state") == "awaiting decision":
        say(
            f"run {identifier} waits for approval"
            + (f" ({run['person']})" if run.get("person") else "")
            + f": fractalops proposals approve {identifier}"
        )
        if not wait:
            say(f"Then see: fractalops runtime-assets output {identifier}")
            if output is not Output.TABLE:
                _show_run(run, output)
            raise typer.Exit(exit_code(run))
    followed = follow(client, run, quiet=output is not Output.TABLE, ours=ours)
    if output is not Output.TABLE:
        whole = {**followed.run, "stdout": followed.stdout, "stderr": followed.stderr}
        _show_run(whole, output)
    finished(followed.run)
    sys.stdout.flush()
    raise typer.Exit(exit_code(followed.run))


def _show_check(found: dict[str, Any], name: str, output: Output) -> None:
    executor = found.get("executor") or {}
    facts = {
        name: found.get("about"),
        "state": found.get("state"),
        "reason": found.get("reason"),
        "at": found.get("at"),
        "executor URL": executor.get("url"),
        "reached": executor.get("reached"),
        "status": executor.get("status"),
        "why not": executor.get("reason"),
        "evidence": found.get("evidence"),
    }
    show_facts(
        {key: value for key, value in facts.items() if value not in (None, "")},
        output,
        whole=found,
    )


def _show_run(run: dict[str, Any], output: Output) -> None:
    result = run.get("result") or {}
    facts = {
        "run": run.get("id"),
        "asset id": run.get("asset_id"),
        "action": asked(run),
        **{name: run.get(name) for name in ("effect", "rule", "person", "state", "outcome")},
        "exit code": result.get("exit_code"),
        "signal": result.get("signal"),
        "status": result.get("status"),
        "reason": result.get("reason"),
        "author": run.get("author"),
        "asked at": run.get("submitted_at"),
        "began": result.get("started"),
        "ended": result.get("ended"),
        **{
            f"{name}: {member}": (result.get(name) or {}).get(member)
            for name in ("stdout", "stderr", "body")
            for member in ("digest", "size", "truncated")
        },
        "proof": run.get("proof"),
        "evidence": run.get("evidence"),
    }
    show_facts(
        {key: value for key, value in facts.items() if value not in (None, "", [])},
        output,
        whole=run,
    )
