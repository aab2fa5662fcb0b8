"""``fractalops infra machines-check``: the file of machines, read and tried.

Invariant: it works without a server, as the user who runs it: what that one may read and reach is
what is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graph_api.cli_errors import CommandError
from graph_api.cli_infra import infra
from graph_api.cli_output import column, show_rows
from graph_api.cli_session import OutputOption, output_format

if TYPE_CHECKING:
    from runtime.secret_reference import SecretReference

LOOKS = (column("name"), column("way"), column("reached"), column("trouble"))


def register(_: typer.Typer) -> None:
    infra.command("machines-check")(machines_check)


def machines_check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file of machines, as YAML.")],
    output: OutputOption = None,
) -> None:
    """Read a file of machines, and reach every host, Proxmox VE and cluster in it.

    Nothing is changed there: a host runs `true`, a Proxmox VE lists its machines, a cluster what
    kinds it has. The command ends with 1 where one isn't reached. It needs no server.

    \b
    Example:
        fractalops infra machines-check machines.yaml
        fractalops infra machines-check machines.yaml --output json
    """
    shown = output_format(context, output)
    from runtime.errors import MachinesFileError
    from runtime.machines_check import look
    from runtime.reach_file import read_reach, secrets_from

    with ExitStack() as closing:
        secret = secrets_from(os.environ, _of_openbao(closing))
        try:
            reach = read_reach(file, lambda: datetime.now(UTC), secret)
        except MachinesFileError as error:
            raise CommandError("\n".join((f"{file} is refused", *error.faults))) from error
        looked = list(look(reach, f"machines-check-{os.getpid()}"))
    rows = [
        {
            "name": one.name,
            "way": one.way,
            "reached": "no" if one.trouble else "yes",
            "trouble": one.trouble,
        }
        for one in looked
    ]
    show_rows(rows, LOOKS, shown, nothing="The file names this machine alone.")
    raise typer.Exit(1 if any(one.trouble for one in looked) else 0)


def _of_openbao(closing: ExitStack) -> Callable[[SecretReference], str] | None:
    """The secrets of the OpenBao that the environment names, which is asked when one is needed."""
    from runtime.settings import Settings

    settings = Settings.read({})
    if settings.openbao is None:
        return None

    def secret(reference: SecretReference) -> str:
        from graph_api.assembly_secrets import open_secrets

        _, bao = open_secrets(settings, closing)
        assert bao is not None
        return bao.secret(reference)

    return secret
