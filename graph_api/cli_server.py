"""``fractalops demo`` and ``status``: see the platform at work, and ask how it is."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from graph_api.cli_output import show_facts
from graph_api.cli_session import DataOption, OutputOption, connect, output_format


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)
    app.command("status")(status)


def demo(
    context: typer.Context,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep", metavar="DIR", help="Leave the data folder and the bundle here afterwards."
        ),
    ] = None,
) -> None:
    """Run the platform and a small shop of real processes; show the graph their telemetry becomes.

    \b
    Example:
        fractalops demo --keep kept
    """
    from rich.console import Console

    from graph_api.demo import run_demo

    console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    raise typer.Exit(run_demo(console, keep))


def status(context: typer.Context, data: DataOption = None, output: OutputOption = None) -> None:
    """Show how the server is: its head, its log key, its projects, what waits.

    \b
    Example:
        fractalops status --output json
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = client.status()
    show_facts(flat(found), shown, whole=found)


def flat(found: Mapping[str, object], above: str = "") -> dict[str, object]:
    """Nested members as one level: ``log_key.custody`` becomes ``log key custody``."""
    facts: dict[str, object] = {}
    for name, value in found.items():
        path = f"{above} {name.replace('_', ' ')}".strip()
        if isinstance(value, Mapping) and value:
            facts.update(flat(value, path))
        elif isinstance(value, list):
            facts[path] = [_short(item) for item in value]
        else:
            facts[path] = value
    return facts


def _short(item: object) -> object:
    if isinstance(item, Mapping):
        return item.get("slug") or item.get("name") or item
    return item
