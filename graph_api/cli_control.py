"""``fractalops runtime-assets run`` and ``request``.

Invariant: what is asked for, is asked of the server, which decides and records; nothing is reached
from here. The exit code is the remote command's own where its end was seen; what has no such end
has a code of its own, and a message on stderr that says what it means.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from graph_api.cli_assets import AssetIdOption, EnvironmentOption, RoleOption, assets
from graph_api.cli_runs import to_its_end
from graph_api.cli_session import DataOption, OutputOption, connect, output_format, seconds

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


def register(app: typer.Typer) -> None:
    """The commands hang on those of :mod:`graph_api.cli_assets`."""


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
        run = client.ask_run(selected(asset_id, role, environment), "runs", document, key)
        to_its_end(client, run, shown, wait=wait)


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
        run = client.ask_run(selected(asset_id, role, environment), "requests", document, key)
        to_its_end(client, run, shown, wait=wait)


def selected(
    asset_id: str | None, role: str | None, environment: str | None
) -> tuple[str | None, str | None, str | None]:
    """What chooses one asset, as :meth:`graph_api.client.Client.ask_run` takes it."""
    if bool(asset_id) == bool(role):
        raise typer.BadParameter("name the asset with one of --asset-id ID and --role ROLE")
    if asset_id is not None and environment is not None:
        raise typer.BadParameter("an asset id needs no --environment")
    return asset_id or None, role or None, environment
