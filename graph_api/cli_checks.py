"""``fractalops runtime-assets check`` and ``grant``, and ``endpoints check``.

Invariant: a look is the server's, which records it; that somebody may control something is a
proposal that another person decides on.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from graph_api.cli_assets import (
    AssetIdOption,
    EnvironmentOption,
    RoleOption,
    assets,
    endpoints,
)
from graph_api.cli_control import selected
from graph_api.cli_output import Output, column, show_facts, show_rows
from graph_api.cli_proposals import explained, show_outcome
from graph_api.cli_session import DataOption, OutputOption, connect, output_format


def register(app: typer.Typer) -> None:
    """The commands hang on those of :mod:`graph_api.cli_assets`."""


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
        found = client.check_asset(selected(asset_id, role, environment))
    _show_check(found, "asset id", shown)
    raise typer.Exit(0 if found.get("state") == "running" else 1)


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
    selected(asset_id, role, None)
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
