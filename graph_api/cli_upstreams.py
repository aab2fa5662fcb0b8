"""``fractalops projects upstream`` and ``upstreams``: the products behind a project.

Invariant: a key or a header's value that is given here is never printed.
"""

from __future__ import annotations

from typing import Annotated

import typer

from graph_api.cli_errors import CommandError
from graph_api.cli_output import column, say, show_rows
from graph_api.cli_session import DataOption, OutputOption, connect, output_format

COLUMNS = (
    *(column("kind"), column("url"), column("waiting"), column("delivered"), column("refused")),
    *(column("dropped"), column("given up", "given_up")),
    *(column("trouble"), column("last refusal", "last_refusal")),
)

Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The project's short name.")]
Kind = Annotated[str, typer.Option("--kind", help="One of posthog, sentry, otlp.")]


def register(projects: typer.Typer) -> None:
    projects.command("upstream")(state)
    projects.command("upstreams")(list_upstreams)


def state(
    context: typer.Context,
    slug: Slug,
    kind: Kind,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Where the product is; of Sentry and GlitchTip the DSN."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", help="The key that the product's clients send, such as phc_..."),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", help="'Name: value', sent with every request; repeatable."),
    ] = None,
    trusted: Annotated[
        bool, typer.Option("--trusted", help="The product's key stands on servers alone.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Forward nothing more of this kind.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Forward what arrives for a project to the product behind it too.

    Clients keep the key they have and get this server as their host: what they send is taken in
    here and forwarded as it came.

    \b
    Example:
        fractalops projects upstream shop --kind posthog --url https://eu.i.posthog.com --key KEY
        fractalops projects upstream shop --kind sentry --url https://KEY@errors.example/1
        fractalops projects upstream shop --kind otlp --url http://collector:4318
        fractalops projects upstream shop --kind otlp --remove
    """
    with connect(context, data) as client:
        if remove:
            client.remove_upstream(slug, kind)
            say(f"Nothing of kind {kind} is behind project {slug} any more.")
            return
        if url is None:
            raise CommandError("name the product with --url, or say --remove")
        document = {
            "url": url,
            "key": key or "",
            "headers": dict(map(_header, header or ())),
            "trusted": trusted,
        }
        made = client.state_upstream(slug, kind, document)
    say(f"What arrives for project {slug} is forwarded to {made.get('url')} from now on.")


def list_upstreams(
    context: typer.Context, slug: Slug, data: DataOption = None, output: OutputOption = None
) -> None:
    """List the products behind a project, and how the forwarding goes.

    \b
    Example:
        fractalops projects upstreams shop
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = client.upstreams(slug)
    show_rows(
        found, COLUMNS, shown, nothing="Nothing is behind it. See: fractalops projects upstream -h"
    )


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition(":")
    if not separator:
        raise CommandError(f"a header is 'Name: value', not {text!r}")
    return name.strip(), value.strip()
