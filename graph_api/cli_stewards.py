"""``fractalops stewards``: who turns facts into proposals."""

from __future__ import annotations

from typing import Annotated

import typer

from graph_api import cli_steward_keys
from graph_api.cli_output import column, say, show_rows, working
from graph_api.cli_session import DataOption, OutputOption, connect, output_format

STEWARD_COLUMNS = (
    column("name"),
    column("project"),
    column("watermark"),
    column("last run", "last_run_at"),
    column("last outcome", "last_outcome"),
    column("runs"),
    column("proposals"),
)

stewards = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    cli_steward_keys.register(stewards)
    app.add_typer(stewards, name="stewards", help="Stewards: they turn facts into proposals.")


@stewards.command("list")
def list_stewards(
    context: typer.Context, data: DataOption = None, output: OutputOption = None
) -> None:
    """List the stewards, how far each has read and what came of it.

    \b
    Example:
        fractalops stewards list
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = client.stewards()
    show_rows(found, STEWARD_COLUMNS, shown, nothing="No stewards: they come with projects.")


@stewards.command("run")
def run(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="The steward, or its project (default: all)."),
    ] = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Let a steward read the new facts now, and propose what they show.

    \b
    Example:
        fractalops stewards run shop
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        names = [
            str(item["name"])
            for item in client.stewards()
            if name in (None, item["name"], item.get("project"))
        ]
        if name is not None and not names:
            # The server says which ones there are.
            names = [name]
        found = []
        for one in names:
            with working(f"Steward {one} reads the new facts"):
                found.append(client.run_steward(one))
    show_rows(found, STEWARD_COLUMNS, shown, nothing="No stewards: they come with projects.")
    for item in found:
        if item.get("last_error"):
            say(f"{item.get('name')}: {item['last_error']}")
