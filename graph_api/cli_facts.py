"""``fractalops facts``: SQL over what telemetry became.

Invariant: read-only; the server's own guard decides what may be asked, so the command asks as the
caller and adds nothing. Dialect: https://clickhouse.com/docs/sql-reference/statements/select
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from graph_api.cli_errors import CommandError
from graph_api.cli_output import Output, say, show_json, show_stream, show_table, working
from graph_api.cli_query import read_text
from graph_api.cli_session import DataOption, OutputOption, connect, output_format

_TIMEOUT = 120.0
"""Seconds; the server keeps the limit, this only notices that it is gone."""

facts = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(facts, name="facts", help="The facts: what telemetry became, asked with SQL.")


@facts.command("query")
def query(
    context: typer.Context,
    text: Annotated[
        str | None, typer.Argument(metavar="[SQL]", help="One SELECT; - or nothing reads stdin.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", metavar="FILE", help="Read the SQL from here.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="The most rows to print.")
    ] = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Ask the facts with one SELECT in ClickHouse's dialect.

    \b
    Example:
        fractalops facts query 'SELECT service, count() FROM events GROUP BY service'
        fractalops facts query -f slowest.sql --limit 20 --output csv
    """
    shown = output_format(context, output)
    question = read_text(text, file).removeprefix("\ufeff")
    accept = "text/csv" if shown is Output.CSV else "application/json"
    with connect(context, data) as client, working("Asking"):
        answer = client.send(
            "POST",
            "/facts",
            parameters={"limit": limit},
            content=question.encode(),
            headers={"Content-Type": "application/sql", "Accept": accept},
            timeout=_TIMEOUT,
        )
    if shown is Output.CSV:
        show_stream([answer.content])
        truncated = answer.headers.get("Fractalops-Truncated") == "true"
    else:
        truncated = _show(answer.content, shown)
    if truncated:
        say("There are more rows than these: give a LIMIT and an OFFSET, or ask for less.")


def _show(body: bytes, output: Output) -> bool:
    """Print the answer; whether it was cut at the limit."""
    try:
        found = json.loads(body)
        names, rows = [str(name) for name in found["columns"]], list(found["rows"])
        truncated = bool(found["truncated"])
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"the server's rows cannot be read: {error}") from error
    if output is Output.JSON:
        show_json(found)
    else:
        show_table(names, rows)
    return truncated
