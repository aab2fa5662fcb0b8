"""``fractalops runtime-assets drift``: how what is declared differs from what is there.

Invariant: it looks and tells; with ``--propose`` it proposes what was found beyond what is
declared, for somebody else to decide on. Nothing that people declared is taken away.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from graph_api.cli_assets import assets, short
from graph_api.cli_output import Column, column, say, show_rows, working
from graph_api.cli_session import DataOption, OutputOption, connect, output_format


def register(app: typer.Typer) -> None:
    """The command hangs on those of :mod:`graph_api.cli_assets`."""


DRIFT_COLUMNS = (
    *(column("difference", "kind"), column("asset id", "asset_id")),
    Column("where", lambda item: _where(item.get("locators") or {})),
    *(column("service", short=short), column("detail")),
)


@assets.command("drift")
def show_drift(
    context: typer.Context,
    propose: Annotated[
        bool,
        typer.Option("--propose", help="Propose new assets, and services where they were seen."),
    ] = False,
    rationale: Annotated[
        str, typer.Option("--rationale", metavar="TEXT", help="Why, for whoever decides on it.")
    ] = "",
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Tell how the assets that are declared differ from what a look round finds.

    Hosts, Proxmox VEs and clusters of the file of machines are asked, executor URLs tried, and the
    telemetry of a day looked at. Ends with 1 where something differs.

    \b
    Example:
        fractalops runtime-assets drift
        fractalops runtime-assets drift --output json
        fractalops runtime-assets drift --propose --rationale "the new hosts"
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        with working("Looking round"):
            found = client.drift()
        show_rows(found, DRIFT_COLUMNS, shown, nothing="Everything is as it is declared.")
        if propose:
            with working("Proposing"):
                made = client.propose_drift(rationale)
            if made.get("proposal"):
                say(f"{made['proposal']} is {made['state']}: fractalops proposals show it")
            else:
                say("there is nothing to propose: nothing was found beyond what is declared")
    raise typer.Exit(1 if found else 0)


def _where(locators: dict[str, Any]) -> str:
    order = ("cluster", "node", "namespace", "workload", "vmid", "container")
    return " ".join(str(locators[name]) for name in order if locators.get(name))
