"""``fractalops backup`` and ``fractalops restore``: on the machine that has the data folder."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graph_api.cli_output import Output, say, show_facts, working
from graph_api.cli_session import DataOption, OutputOption, data_folder, output_format

if TYPE_CHECKING:
    from graph_api.backup import Copied


def register(app: typer.Typer) -> None:
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(
    context: typer.Context,
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="A new folder, or a new file ending in .tar.")
    ],
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Copy the data folder while its server runs: journal, evidence, tokens and keys.

    The graph and everything else that is derived is left out; `up` makes it again. The copy holds
    the log's signing key and the operator's token: keep it as safe as the folder itself.

    \b
    Example:
        fractalops backup /var/backups/fractalops-monday.tar --data data
    """
    from graph_api.backup import back_up

    shown = output_format(context, output)
    with working("Copying") as progress:
        copied = back_up(data_folder(context, data), destination, progress=progress, clock=_now)
    _show(copied, destination, shown)
    say("It holds the log's signing key and the operator's token: keep it safe.")


def restore(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="SRC", help="What `fractalops backup` made.")],
    mirror: Annotated[
        Path | None,
        typer.Option(
            "--mirror",
            metavar="DIR",
            envvar="FRACTALOPS_MIRROR",
            help="A mirror of the public log: refused when it is ahead of the backup.",
        ),
    ] = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Put a backup into a new or empty data folder, or over an older copy of the same log.

    Refused when the log had come further than the backup: a restored old copy that goes on would
    fork it. Tokens revoked after the backup was made are valid again: revoke them again.

    \b
    Example:
        fractalops restore /var/backups/fractalops-monday.tar --data restored
    """
    from graph_api.restore import restore as put_back

    shown = output_format(context, output)
    folder = data_folder(context, data)
    with working("Restoring") as progress:
        copied, aside = put_back(source, folder, mirror=mirror, progress=progress, clock=_now)
    _show(copied, folder, shown)
    if aside is not None:
        say(f"What was there before is kept in {aside}; remove it when all is well.")
    say(
        f"Start it: fractalops up --data {shlex.quote(str(folder))} "
        "(the graph is built again from the journal)"
    )


def _show(copied: Copied, place: Path, output: Output) -> None:
    facts: dict[str, object] = {
        "place": str(place),
        "log": copied.checkpoint.origin,
        "head": copied.head,
        "root": copied.checkpoint.root.hex(),
    }
    show_facts(facts, output, whole=facts)


def _now() -> datetime:
    return datetime.now(UTC)
