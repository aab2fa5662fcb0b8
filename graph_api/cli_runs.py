"""``fractalops runtime-assets runs``, ``output`` and ``cancel``: what was asked of assets.

Invariant: what is shown of a run is what the server says of it; following one that somebody asked
for before changes nothing about it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graph_api.cli_assets import AssetIdOption, assets, short
from graph_api.cli_follow import exit_code, finished, follow
from graph_api.cli_output import Column, Output, column, say, show_facts, show_rows
from graph_api.cli_session import DataOption, OutputOption, connect, output_format

if TYPE_CHECKING:
    from graph_api.client import Client

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
            show_run(client.run(run), shown)
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
        to_its_end(client, client.run(run), shown, wait=True, ours=False)


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
        show_run(client.cancel_run(run), shown)


def to_its_end(
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
                show_run(run, output)
            raise typer.Exit(exit_code(run))
    followed = follow(client, run, quiet=output is not Output.TABLE, ours=ours)
    if output is not Output.TABLE:
        whole = {**followed.run, "stdout": followed.stdout, "stderr": followed.stderr}
        show_run(whole, output)
    finished(followed.run)
    sys.stdout.flush()
    raise typer.Exit(exit_code(followed.run))


def show_run(run: dict[str, Any], output: Output) -> None:
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
        "cancelled by": result.get("cancelled_by"),
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
