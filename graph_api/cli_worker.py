"""``fractalops worker``: executes the platform's jobs on Temporal.

Invariant: this is a composition root: it reads the settings and hands values on.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graph_api.cli_errors import CommandError
from graph_api.cli_output import say, show_line
from graph_api.cli_session import (
    DataOption,
    SettingsOption,
    data_folder,
    named_server,
    running_server,
    setting_sources,
)

if TYPE_CHECKING:
    from runtime.settings import Settings
    from runtime.settings_sources import Sources


def register(app: typer.Typer) -> None:
    app.command("worker")(worker)


def worker(
    context: typer.Context,
    data: DataOption = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="DIR",
            help="Where this worker's stewards keep how far they have read, and their keys"
            " (default: fractalops/worker below $XDG_STATE_HOME).",
        ),
    ] = None,
    settings_file: SettingsOption = None,
) -> None:
    """Execute the platform's jobs on Temporal until SIGTERM or Ctrl-C.

    FRACTALOPS_TEMPORAL=host:port, for `fractalops up` and for workers alike, says where Temporal
    is; FRACTALOPS_TEMPORAL_NAMESPACE, _QUEUE, _API_KEY and _TLS say more. Without it, `up` executes
    jobs itself and no worker is needed. The platform is reached as by any command; the token is an
    operator's. Any number of workers may run.

    \b
    Example:
        FRACTALOPS_TEMPORAL=127.0.0.1:7233 fractalops worker --data data
    """
    folder_of_server = data_folder(context, data, settings_file)
    settings = _settings(
        setting_sources(context, settings_file, data=folder_of_server, state=state)
    )
    address = named_server(context, data)
    if address.token is None:
        raise CommandError(
            f"a worker acts as an operator: set FRACTALOPS_TOKEN to a token of {address.url}"
        )
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("stewards").setLevel(logging.INFO)
    logging.getLogger("temporalio").setLevel(logging.ERROR)
    from graph_api.assembly_worker import WorkerAssembly

    folder = settings.state or _usual_state(os.environ)
    keys = _keys_beside(folder_of_server, address.url)
    with WorkerAssembly(settings, address.url, address.token, folder, keys, show_line) as assembly:
        assembly.run()
    say("The worker has ended; what it was doing goes on in the next one.")
    # Temporal's library has threads of its own, which may take the interpreter down as it ends.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _settings(sources: Sources) -> Settings:
    from runtime.errors import SettingsError
    from runtime.settings import Settings

    try:
        settings = Settings.read(sources.given, sources.environment, sources.file)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from error
    if settings.temporal is None:
        raise CommandError(
            "a worker executes jobs on Temporal, and none is configured: set"
            " FRACTALOPS_TEMPORAL=host:port for 'fractalops up' and for the worker. Without"
            " Temporal, 'fractalops up' alone executes all jobs: no worker is needed"
        )
    return settings


def _usual_state(environment: Mapping[str, str]) -> Path:
    from ingest.bookmarks import state_folder

    return state_folder(environment, Path.home()).with_name("worker")


def _keys_beside(folder: Path, url: str) -> Path | None:
    """The keys of the platform's own stewards, where this is its machine and its user."""
    keys = folder / "keys"
    beside = running_server(folder) == url and os.access(keys, os.R_OK | os.X_OK)
    return keys if beside else None
