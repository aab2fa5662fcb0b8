"""Finds the server a command speaks to, and who it speaks as.

Invariant: a token found in a data folder is sent only to the server that runs on that folder, or to
this machine; the setting ``token``, where there is one, always decides who the caller is. What is
said on the command line wins over the environment, and after the subcommand over before it; the
environment wins over the settings file.
"""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graph_api.cli_errors import CommandError, Unreachable
from graph_api.cli_output import Output
from runtime.errors import SettingsError
from runtime.local_urls import is_loopback
from runtime.settings_file import named_file
from runtime.settings_sources import OPTION, Found, Sources

if TYPE_CHECKING:
    from graph_api.client import Client

DEFAULT_DATA = Path("data")
"""As ``data`` of :class:`runtime.serving_settings.ServingSettings`, which is slow to import."""

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The server's data folder (default: ./data)."),
]
SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE",
        help="The settings file, TOML (default: $FRACTALOPS_SETTINGS).",
    ),
]
OutputOption = Annotated[
    Output | None, typer.Option("--output", help="How rows are printed (default: table).")
]


@dataclass(frozen=True)
class Choices:
    """What was said before the subcommand; ``None`` where nothing was."""

    url: str | None = None
    data: Path | None = None
    output: Output | None = None
    settings: Path | None = None


@dataclass(frozen=True)
class Address:
    """Where a server is, who the caller is, and how that was found (for messages)."""

    url: str
    token: str | None
    found: str


def choices(context: typer.Context) -> Choices:
    """What was said before the subcommand."""
    said = context.find_root().obj
    return said if isinstance(said, Choices) else Choices()


def setting_sources(
    context: typer.Context, settings: Path | None = None, **given: object
) -> Sources:
    """What sets a setting here: what is ``given``, the environment and the settings file, which was
    named after the subcommand, before it, or by FRACTALOPS_SETTINGS."""
    try:
        file = named_file(settings or choices(context).settings, os.environ)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from error
    return Sources(given, os.environ, file)


def data_folder(context: typer.Context, data: Path | None, settings: Path | None = None) -> Path:
    """The data folder: after the subcommand, before it, FRACTALOPS_DATA, the settings file,
    ``./data``."""
    named = data or choices(context).data
    return Path(setting_sources(context, settings, data=named).text("data") or DEFAULT_DATA)


def output_format(context: typer.Context, output: Output | None) -> Output:
    """How rows are printed: after the subcommand, before it, FRACTALOPS_OUTPUT, the settings file,
    a table."""
    said = output or choices(context).output
    if said is not None:
        return said
    found = setting_sources(context).find("output")
    if found is None:
        return Output.TABLE
    try:
        return Output(found.value)
    except ValueError:
        place = found.source.removeprefix("environment:")
        raise typer.BadParameter(
            f"{place} is {found.value!r}; it must be table, json or csv"
        ) from None


def connect(context: typer.Context, data: Path | None) -> Client:
    """A client of the server that the options and the environment name."""
    from graph_api.client import Client

    address = named_server(context, data)
    return Client(
        address.url,
        address.token,
        found=address.found,
        # A proxy of the environment must not come between this machine and itself.
        proxies=not is_loopback(address.url),
    )


def named_server(context: typer.Context, data: Path | None) -> Address:
    """The server that the options and the environment name."""
    said = choices(context)
    sources = setting_sources(context, url=said.url)
    url = sources.find("url")
    # A folder that was said on the command line wins over an address that wasn't.
    named = data or said.data
    return _find_server(
        None if url is None or (named and said.url is None) else url,
        data_folder(context, data),
        sources.text("token"),
    )


def _find_server(named: Found | None, folder: Path, token: str | None) -> Address:
    """Where the server is and who calls: by URL, or by its data folder.

    Raises :class:`Unreachable` when no server runs on the folder.
    """
    if named is None:
        running = running_server(folder)
        if running is None:
            raise Unreachable(
                f"no server runs on {folder}. Start one with: fractalops up --data "
                f"{shlex.quote(str(folder))}\n"
                "or name another: --data DIR, or FRACTALOPS_URL and FRACTALOPS_TOKEN."
            )
        return Address(running, token or folder_token(folder), f"{folder}/server.json")
    url = str(named.value).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter(
            f"the server's URL must start with http:// or https://, not {url!r}"
        )
    if token is None and (is_loopback(url) or running_server(folder) == url):
        token = folder_token(folder)
    found = "--url" if named.source == OPTION else named.source.removeprefix("environment:")
    return Address(url, token, found)


def running_server(folder: Path) -> str | None:
    """The URL of the server that runs on a data folder, or ``None``."""
    try:
        found = json.loads((folder / "server.json").read_bytes())
        url, process = str(found["url"]).rstrip("/"), int(found["pid"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{folder}/server.json cannot be read: {error}") from error
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        # Left behind by a killed server. Its port may be a stranger's by now: send it nothing.
        return None
    except PermissionError:
        return url
    return url


def folder_token(folder: Path) -> str | None:
    """The operator's token kept in a data folder, if it may be read."""
    try:
        return (folder / "operator.token").read_text().strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise CommandError(
            f"{error.filename} belongs to another user. Set FRACTALOPS_TOKEN to your own token."
        ) from error


def seconds(duration: str) -> int:
    """A duration such as 90s, 30m, 24h or 7d in seconds; a bare number is seconds."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = duration[:-1], duration[-1:]
    if duration.isascii() and duration.isdigit():
        number, unit = duration, "s"
    if unit not in units or not (number.isascii() and number.isdigit()):
        raise typer.BadParameter(f"{duration!r} is no duration; write 0, 90s, 30m, 24h or 7d")
    return int(number) * units[unit]
