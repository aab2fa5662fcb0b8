"""``fractalops settings``: what a server would be started with here, and where each value is from.

Invariant: no server is asked and no secret printed.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from graph_api.cli_errors import CommandError
from graph_api.cli_output import column, show_rows
from graph_api.cli_session import (
    DataOption,
    OutputOption,
    SettingsOption,
    choices,
    output_format,
    setting_sources,
)

COLUMNS = (column("name"), column("value"), column("source"))

settings = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(settings, name="settings", help="Settings, and where they come from.")


@settings.command("show")
def show(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One setting, such as openbao_role.")
    ] = None,
    data: DataOption = None,
    settings_file: SettingsOption = None,
    output: OutputOption = None,
) -> None:
    """Show each setting with its source: option, environment:NAME, FILE:LINE or default.

    It is what up and worker would take, started here and now. Secrets are hidden, references to
    them shown.

    \b
    Example:
        fractalops settings show --settings platform.toml
        fractalops settings show openbao_role --output json
    """
    from runtime.errors import SettingsError
    from runtime.settings_shown import setting, shown_settings

    shown = output_format(context, output)
    said = choices(context)
    sources = setting_sources(
        context,
        settings_file,
        data=data or said.data,
        url=said.url,
        output=None if output or said.output is None else said.output.value,
    )
    try:
        found = shown_settings(sources)
        rows = [asdict(each) for each in (found if name is None else (setting(found, name),))]
    except SettingsError as error:
        raise CommandError(str(error)) from error
    show_rows(rows, COLUMNS, shown, whole=rows[0] if name is not None else {"items": rows})


@settings.command("check")
def check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The settings file, TOML.")],
    output: OutputOption = None,
) -> None:
    """Check a settings file by itself: its names, its values, and who may change and read it.

    What it sets is shown. Neither the environment nor options count.

    \b
    Example:
        fractalops settings check platform.toml
    """
    from runtime.errors import SettingsError
    from runtime.settings_file import read_file
    from runtime.settings_shown import FIXED, shown_settings
    from runtime.settings_sources import DEFAULT, Sources

    shown = output_format(context, output)
    try:
        found = shown_settings(Sources(file=read_file(file)))
    except SettingsError as error:
        raise CommandError(str(error)) from error
    rows = [asdict(each) for each in found if each.source not in (DEFAULT, FIXED)]
    show_rows(rows, COLUMNS, shown, whole={"items": rows}, nothing=f"{file} sets nothing.")
