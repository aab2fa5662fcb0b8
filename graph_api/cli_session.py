"""Finds the server a command speaks to, and who it speaks as.

Invariant: a token found in a data folder is sent only to the server that runs on that folder, or to
this machine; ``FRACTALOPS_TOKEN``, when set, always decides who the caller is. What is said on the
command line wins over the environment, and after the subcommand over before it.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graph_api.cli_errors import CommandError, Unreachable
from graph_api.cli_output import Output

if TYPE_CHECKING:
    from graph_api.client import Client

DEFAULT_DATA = Path("data")

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The server's data folder (default: ./data)."),
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


def data_folder(context: typer.Context, data: Path | None) -> Path:
    """The data folder: after the subcommand, before it, FRACTALOPS_DATA, ``./data``."""
    if data is not None:
        return data
    said = choices(context).data
    if said is not None:
        return said
    return Path(os.environ.get("FRACTALOPS_DATA") or DEFAULT_DATA)


def output_format(context: typer.Context, output: Output | None) -> Output:
    """How rows are printed: after the subcommand, before it, FRACTALOPS_OUTPUT, a table."""
    if output is not None:
        return output
    said = choices(context).output
    if said is not None:
        return said
    wanted = os.environ.get("FRACTALOPS_OUTPUT") or Output.TABLE
    try:
        return Output(wanted)
    except ValueError:
        raise typer.BadParameter(
            f"FRACTALOPS_OUTPUT is {wanted!r}; it must be table, json or csv"
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
    named = data or said.data
    return find_server(
        url=said.url or (None if named else os.environ.get("FRACTALOPS_URL") or None),
        folder=data_folder(context, data),
        environ=os.environ,
    )


def find_server(*, url: str | None, folder: Path, environ: Mapping[str, str]) -> Address:
    """Where the server is and who calls: by URL, or by its data folder.

    Raises :class:`Unreachable` when no server runs on the folder.
    """
    token = environ.get("FRACTALOPS_TOKEN") or None
    if url is None:
        running = running_server(folder)
        if running is None:
            raise Unreachable(
                f"no server runs on {folder}. Start one with: fractalops up --data "
                f"{shlex.quote(str(folder))}\n"
                "or name another: --data DIR, or FRACTALOPS_URL and FRACTALOPS_TOKEN."
            )
        return Address(running, token or folder_token(folder), f"{folder}/server.json")
    url = url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter(
            f"the server's URL must start with http:// or https://, not {url!r}"
        )
    if token is None and (is_loopback(url) or running_server(folder) == url):
        token = folder_token(folder)
    return Address(url, token, "FRACTALOPS_URL" if environ.get("FRACTALOPS_URL") else "--url")


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


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine, so that nothing leaves it."""
    import ipaddress
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def seconds(duration: str) -> int:
    """A duration such as 90s, 30m, 24h or 7d in seconds; a bare number is seconds."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = duration[:-1], duration[-1:]
    if duration.isascii() and duration.isdigit():
        number, unit = duration, "s"
    if unit not in units or not (number.isascii() and number.isdigit()):
        raise typer.BadParameter(f"{duration!r} is no duration; write 0, 90s, 30m, 24h or 7d")
    return int(number) * units[unit]
