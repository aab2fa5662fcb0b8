"""The ``fractalops`` command.

Invariant: stdout carries data only and messages go to stderr; the exit code is 0 when it is done, 1
when something was refused or failed verification, 2 for wrong usage. Everything but ``up``,
``demo``, ``backup``, ``restore``, ``proofs verify`` and the local half of ``ontology`` speaks HTTP
to the running server. Modules that are slow to import are imported by the command that needs them.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from graph_api import (
    cli_backup,
    cli_ontology,
    cli_projects,
    cli_proofs,
    cli_proposals,
    cli_propose,
    cli_query,
    cli_server,
    cli_stewards,
)
from graph_api.cli_errors import CommandError, OutputClosed
from graph_api.cli_output import Output, fail, show_line
from graph_api.cli_session import Choices

app = typer.Typer(
    name="fractalops",
    no_args_is_help=True,
    # Plain help: brackets in it are text, and it shows without importing rich.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _module in (
    cli_server,
    cli_projects,
    cli_query,
    cli_propose,
    cli_proposals,
    cli_proofs,
    cli_ontology,
    cli_stewards,
    cli_backup,
):
    _module.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        show_line(f"fractalops {version('fractalops')}")
        raise typer.Exit()


@app.callback()
def common(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="The data folder of the server to speak to: its address and the operator's token "
            "are found there (default: $FRACTALOPS_DATA or ./data).",
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", help="The server to speak to (default: $FRACTALOPS_URL)."
        ),
    ] = None,
    output: Annotated[
        Output | None,
        typer.Option("--output", help="How rows are printed (default: $FRACTALOPS_OUTPUT, table)."),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """FractalOps Semantics: telemetry in, one governed and provable knowledge graph out.

    Who you are is in the variable FRACTALOPS_TOKEN; without it, --data finds the operator's token.

    \b
    Example:
        fractalops up --data data
        fractalops --data data status
    """
    context.obj = Choices(url=url, data=data, output=output)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="fractalops")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except OutputClosed:
        # What is still buffered would be flushed at exit, into a pipe that nobody reads.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except CommandError as error:
        fail(str(error))
        return 1
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        fail(f"{named}{error.strerror or error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
