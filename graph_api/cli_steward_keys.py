"""``fractalops stewards keys`` and what changes them: the keys that stewards sign with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from graph_api.cli_output import Output, column, say, show_rows
from graph_api.cli_proposals import show_outcome
from graph_api.cli_session import DataOption, OutputOption, connect, output_format
from graph_api.cli_verify import verifier_key

if TYPE_CHECKING:
    from graph_api.client import Client
    from graph_api.client_connection import Json

KEY_COLUMNS = (
    column("hash"),
    column("active"),
    column("since"),
    column("until"),
    column("here"),
    column("public key", "public_key"),
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The steward, or its project.")]


def register(stewards: typer.Typer) -> None:
    stewards.command("keys")(keys)
    stewards.command("rotate-key")(rotate_key)
    stewards.command("add-key")(add_key)
    stewards.command("retire-key")(retire_key)


def keys(
    context: typer.Context, name: Name, data: DataOption = None, output: OutputOption = None
) -> None:
    """List the keys a steward signs with: since and until which log entry each holds, and
    whether its private half is with this server.

    \b
    Example:
        fractalops stewards keys shop
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = client.steward_keys(_steward(client, name))
    show_rows(found, KEY_COLUMNS, shown, nothing="No keys: its proposals are unsigned.")


def rotate_key(
    context: typer.Context, name: Name, data: DataOption = None, output: OutputOption = None
) -> None:
    """Propose a new key for a steward in place of the one it signs with here. Another person
    approves it, or the time lock of a single operator runs out; until then the old key holds.

    \b
    Example:
        fractalops stewards rotate-key shop
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        answer = client.change_steward_key(_steward(client, name))
    _tell(answer, shown)


def add_key(
    context: typer.Context,
    name: Name,
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY|FILE", help="The public key, name+hash+base64, or a file that holds it."
        ),
    ],
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Propose one more key for a steward, made where it runs as well. Another person approves it.

    \b
    Example:
        fractalops stewards add-key shop steward-shop.pub
    """
    shown = output_format(context, output)
    public = str(verifier_key(key))
    with connect(context, data) as client:
        answer = client.change_steward_key(_steward(client, name), public)
    _tell(answer, shown)


def retire_key(
    context: typer.Context,
    name: Name,
    key: Annotated[
        str, typer.Argument(metavar="HASH", help="The key's hash; `stewards keys` shows it.")
    ],
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Propose that a key ends: nothing new is accepted by it then, and what it signed before stays
    proved. Another person approves it.

    \b
    Example:
        fractalops stewards retire-key shop 0a1b2c3d
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        answer = client.retire_steward_key(_steward(client, name), key)
    _tell(answer, shown)


def _steward(client: Client, name: str) -> str:
    """The steward that is called so, or whose project is; as it was said where none is at work."""
    at_work = client.stewards()
    return next(
        (str(item["name"]) for item in at_work if name in (item["name"], item.get("project"))), name
    )


def _tell(answer: Json, shown: Output) -> None:
    proposal = answer["proposal"]
    show_outcome(proposal, shown)
    if proposal.get("state") == "awaiting decision":
        say(f"A person other than you approves it: fractalops proposals approve {proposal['id']}")
