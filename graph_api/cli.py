"""The ``fractalops`` command.

Invariant: stdout carries data only and messages go to stderr; the exit code is 0 when it is done, 1
when something was refused or failed verification, 2 for wrong usage. Everything but ``up``,
``demo``, ``backup``, ``restore``, ``proofs verify``, ``settings``, ``infra`` without ``apply`` and
the local half of ``ontology`` speaks HTTP to the running server. Modules that are slow to import
are imported by the command that needs them.
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
    cli_assets,
    cli_backup,
    cli_checks,
    cli_classify,
    cli_control,
    cli_drift,
    cli_evidence,
    cli_facts,
    cli_infra,
    cli_ingest,
    cli_jobs,
    cli_machines,
    cli_ontology,
    cli_projects,
    cli_proofs,
    cli_proposals,
    cli_propose,
    cli_pull,
    cli_query,
    cli_runs,
    cli_schedules,
    cli_server,
    cli_settings,
    cli_stewards,
    cli_validate,
    cli_worker,
)
from graph_api.cli_errors import CommandError, OutputClosed
from graph_api.cli_output import Output, fail, show_line
from graph_api.cli_session import (
    Choices,
    SettingsOption,
    data_folder,
    seconds,
    setting_sources,
)
from runtime.local_urls import LOOPBACK

app = typer.Typer(
    name="fractalops",
    no_args_is_help=True,
    # Plain help: brackets in it are text, and it shows without importing rich.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            show_line(f"fractalops {version('fractalops')}")
        except PackageNotFoundError:
            raise CommandError(
                "fractalops runs from a folder and isn't installed, so it has no version. Install "
                "it with: make setup"
            ) from None
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
    settings: SettingsOption = None,
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
    context.obj = Choices(url=url, data=data, output=output, settings=settings)


@app.command("up")
def up(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="The data folder (default: ./data)."),
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help=f"The address to listen on (default: {LOOPBACK}).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="0 picks a free one (default: 8080)."),
    ] = None,
    grpc_port: Annotated[
        str | None,
        typer.Option(
            "--grpc-port",
            metavar="N|off",
            help="Where OTLP/gRPC is taken in; 0 picks a free port (default: 4317 if it is free).",
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base", metavar="IRI", help="What every IRI starts with; fixed at the first start."
        ),
    ] = None,
    organisation: Annotated[
        str | None,
        typer.Option("--organisation", metavar="SLUG", help="The organisation; fixed as well."),
    ] = None,
    operator: Annotated[
        str | None,
        typer.Option("--operator", metavar="SLUG", help="The founding operator; fixed as well."),
    ] = None,
    time_lock: Annotated[
        str | None,
        typer.Option(
            "--time-lock",
            metavar="DURATION",
            help="While there is one operator, what needs two people waits this long: 0, 90s, 30m, "
            "24h, 7d; fixed as well (default: 24h).",
        ),
    ] = None,
    mirror: Annotated[
        Path | None,
        typer.Option(
            "--mirror",
            metavar="DIR",
            help="A folder that the public log is mirrored to, and compared with at every start.",
        ),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            "--witness",
            metavar="KEY|FILE",
            help="The verifier key of a witness, name+hash+base64; may be repeated.",
        ),
    ] = None,
    query_seconds: Annotated[
        float | None,
        typer.Option("--query-seconds", help="How long a query may run at most (default: 30)."),
    ] = None,
    steward_seconds: Annotated[
        float | None,
        typer.Option("--steward-seconds", help="How often stewards look for facts (default: 5)."),
    ] = None,
    settings_file: SettingsOption = None,
) -> None:
    """Run the platform until Ctrl-C.

    A new data folder gets a log key and an operator token, which is printed once and kept in
    DIR/operator.token. Every setting may also be a variable, such as FRACTALOPS_QUERY_MEMORY, or a
    line of the settings file: fractalops settings show lists them.

    \b
    Example:
        fractalops up --data data --port 8080
    """
    folder = data_folder(context, data, settings_file)
    from graph_api.cli_verify import verifier_key
    from graph_api.restore import MARKER, interrupted

    if interrupted(folder):
        raise CommandError(
            f"a restore into {folder} was cut short ({MARKER} is there): run fractalops restore "
            "again, then start"
        )
    from ingest.errors import IngestError
    from ontology.errors import OntologyError
    from proofs.errors import ProofError
    from runtime.errors import RuntimeFloorError, SettingsError
    from runtime.settings import Settings
    from shapes.errors import ShapesError
    from stewards.errors import StewardError

    sources = setting_sources(context, settings_file)
    try:
        settings = Settings.read(
            {
                "data": folder,
                "host": host,
                "port": port,
                "grpc_port": grpc_port,
                "base": base,
                "organisation": organisation,
                "operator": operator,
                "time_lock_seconds": None if time_lock is None else seconds(time_lock),
                "mirror": mirror,
                "witness_keys": tuple(str(verifier_key(key)) for key in witness or ()) or None,
                "query_seconds": query_seconds,
                "steward_seconds": steward_seconds,
            },
            file=sources.file,
        )
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from error
    from graph_api.serving import serve

    # A SIGTERM ends the server the way Ctrl-C does, so that all it holds open is closed in order.
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        code = serve(settings, show_line)
    except (
        IngestError,
        OntologyError,
        ProofError,
        RuntimeFloorError,
        ShapesError,
        StewardError,
    ) as error:
        raise CommandError(str(error)) from error
    raise typer.Exit(code)


for _module in (
    cli_server,
    cli_settings,
    cli_projects,
    cli_query,
    cli_facts,
    cli_classify,
    cli_propose,
    cli_validate,
    cli_proposals,
    cli_proofs,
    cli_assets,
    cli_control,
    cli_runs,
    cli_checks,
    cli_drift,
    cli_infra,
    cli_machines,
    cli_ontology,
    cli_stewards,
    cli_schedules,
    cli_jobs,
    cli_ingest,
    cli_pull,
    cli_evidence,
    cli_backup,
    cli_worker,
):
    _module.register(app)


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
