"""``fractalops projects`` and ``fractalops tokens``: who sends, who asks.

Invariant: a key or a token is printed once, when it is made, and never asked for again.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from graph_api import cli_upstreams
from graph_api.cli_output import Output, column, say, show_json, show_line, show_rows, warn
from graph_api.cli_proposals import summary
from graph_api.cli_session import DataOption, OutputOption, connect, output_format

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

PROJECT_COLUMNS = (
    column("slug"),
    column("label"),
    column("graph"),
    column("restricted"),
)
TOKEN_COLUMNS = (
    column("id"),
    column("name"),
    column("role"),
    column("project"),
    column("created", "created_at"),
    column("revoked", "revoked_at"),
)

KEY_COLUMNS = (
    column("id"),
    column("kind"),
    column("created", "created_at"),
    column("revoked", "revoked_at"),
    column("last used", "last_used"),
    column("from pages", "from_pages"),
)

Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The project's short name.")]

projects = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
tokens = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    cli_upstreams.register(projects)
    app.add_typer(projects, name="projects", help="Projects and their ingest keys.")
    app.add_typer(tokens, name="tokens", help="Bearer tokens of people and agents.")


@projects.command("create")
def create(
    context: typer.Context,
    slug: Slug,
    label: Annotated[
        str | None, typer.Option("--label", help="What people call it (default: the slug).")
    ] = None,
    restricted: Annotated[
        bool,
        typer.Option(
            "--restricted",
            help="Only operators, auditors and the project's own principals may read its graph.",
        ),
    ] = False,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Create a project and print the settings of its OpenTelemetry, PostHog, Sentry and OpenLineage
    clients.

    It is a proposal like any other. Two ingest keys are printed this once: one for servers, and
    one for pages, which is public and brings nothing new into the graph by itself.

    \b
    Example:
        fractalops projects create shop --label "Web shop"
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        made = client.create_project(slug, label=label, restricted=restricted)
    proposal = made.get("proposal")
    if isinstance(proposal, Mapping):
        say(f"Project {slug}: {summary(proposal)}.")
    _show_key(made, shown)


@projects.command("list")
def list_projects(
    context: typer.Context, data: DataOption = None, output: OutputOption = None
) -> None:
    """List the projects.

    \b
    Example:
        fractalops projects list --output json
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = client.projects()
    show_rows(
        found,
        PROJECT_COLUMNS,
        shown,
        nothing="No projects yet. Create one: fractalops projects create SLUG",
    )


@projects.command("key")
def key(
    context: typer.Context,
    slug: Slug,
    browser: Annotated[
        bool, typer.Option("--browser", help="Make one that stands in pages, and so is public.")
    ] = False,
    revoke: Annotated[
        str | None,
        typer.Option(
            "--revoke", metavar="ID", help="End this key instead; `projects keys` shows its id."
        ),
    ] = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Make one more ingest key for a project, or end one. A key is printed this once.

    \b
    Example:
        fractalops projects key shop --browser
    """
    shown = output_format(context, output)
    if browser and revoke is not None:
        raise typer.BadParameter("either makes a key or ends one, not both", param_hint="--revoke")
    with connect(context, data) as client:
        if revoke is not None:
            client.revoke_key(slug, revoke)
            say(f"Key {revoke} of {slug} is revoked.")
            return
        made = client.create_key(slug, browser=browser)
    _show_key(made, shown)


@projects.command("keys")
def keys(
    context: typer.Context, slug: Slug, data: DataOption = None, output: OutputOption = None
) -> None:
    """List a project's ingest keys, revoked ones too, and how they are used.

    \b
    Example:
        fractalops projects keys shop
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = client.keys(slug)
    show_rows(
        found, KEY_COLUMNS, shown, nothing=f"No keys. Make one: fractalops projects key {slug}"
    )


@projects.command("glitchtip")
def glitchtip(
    context: typer.Context, slug: Slug, data: DataOption = None, output: OutputOption = None
) -> None:
    """Make the project in the configured GlitchTip, unless it is there, and print its DSN.

    `projects create` does it too; this is for when GlitchTip could not be reached then.

    \b
    Example:
        fractalops projects glitchtip shop
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        made = client.provision_glitchtip(slug)
    _show_key(made, shown)


@tokens.command("create")
def create_token(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will use it.")],
    role: Annotated[
        str, typer.Option("--role", help="One of analyst, steward, operator, auditor.")
    ] = "analyst",
    project: Annotated[
        str | None,
        typer.Option(
            "--project", help="The project a steward works for, or an analyst belongs to."
        ),
    ] = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Make a bearer token. It is printed this once; the server keeps only its hash.

    \b
    Example:
        fractalops tokens create ann --role analyst
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        made = client.create_token(name, role=role, project=project)
    if shown is Output.TABLE:
        say(
            f"Token {made.get('id')} for {made.get('name')} ({made.get('role')}). "
            "Keep it: it is not shown again. Use it as FRACTALOPS_TOKEN."
        )
        show_line(str(made.get("token")))
        if made.get("note"):
            say(str(made["note"]))
    else:
        show_rows([made], (*TOKEN_COLUMNS[:4], column("token")), shown, whole=made)


@tokens.command("list")
def list_tokens(
    context: typer.Context, data: DataOption = None, output: OutputOption = None
) -> None:
    """List the tokens, revoked ones too, without their secrets.

    \b
    Example:
        fractalops tokens list
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = client.tokens()
    show_rows(found, TOKEN_COLUMNS, shown, nothing="No tokens.")


@tokens.command("revoke")
def revoke_token(
    context: typer.Context,
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="The token's id, as `tokens list` shows it.")
    ],
    data: DataOption = None,
) -> None:
    """Revoke a token, at once and for good.

    \b
    Example:
        fractalops tokens revoke 7c1f0d
    """
    with connect(context, data) as client:
        client.revoke_token(identifier)
    say(f"Token {identifier} is revoked.")


def _show_key(made: Mapping[str, Any], output: Output) -> None:
    variables, posthog = _settings(made, "environment"), _settings(made, "posthog")
    sentry, glitchtip = _settings(made, "sentry"), _settings(made, "glitchtip")
    openlineage = _settings(made, "openlineage")
    if made.get("glitchtip_problem"):
        warn(
            f"the project was not made in GlitchTip: {made['glitchtip_problem']}. Try again with:"
            f" fractalops projects glitchtip {shlex.quote(str(made['project']['slug']))}"
        )
    # Told apart from the servers', so that pasting all of it mixes nothing up.
    browser = {f"BROWSER_{name}": text for name, text in _settings(made, "browser").items()}
    if output is Output.JSON:
        show_json(made)
        return
    if output is Output.CSV:
        every = variables | posthog | sentry | glitchtip | openlineage | browser
        rows = [{"name": name, "value": value} for name, value in every.items()]
        show_rows(rows, (column("name"), column("value")), output)
        return
    if glitchtip:
        say("The project in GlitchTip has the DSN:")
        _show_exports(glitchtip)
    if not variables and not browser:
        if made.get("ingest_key"):
            say("The ingest key; keep it, it is not shown again:")
            show_line(str(made["ingest_key"]))
        return
    if variables:
        _show_server(variables, posthog, sentry, openlineage)
    if browser:
        say(
            "In pages (posthog-js, @sentry/browser, OTLP) use this other key, which everybody may"
            " read there, as in posthog.init(KEY, {api_host: HOST}) and Sentry.init({dsn: DSN})."
            " What is seen through it alone waits for a person or for a server's key:"
        )
        _show_exports(browser)


def _show_server(
    variables: Mapping[str, Any],
    posthog: Mapping[str, Any],
    sentry: Mapping[str, Any],
    openlineage: Mapping[str, Any],
) -> None:
    say("Put this into the environment of the project's services; the key is not shown again:")
    _show_exports(variables)
    if posthog:
        say("PostHog clients take host and key as arguments, such as Posthog(KEY, host=HOST):")
        _show_exports(posthog)
    if sentry:
        say(
            "Sentry's clients read SENTRY_DSN, or take it as an argument such as"
            " sentry_sdk.init(DSN):"
        )
        _show_exports(sentry)
    if openlineage:
        say("OpenLineage's clients, such as those in Airflow, Spark and dbt, read:")
        _show_exports(openlineage)


def _settings(made: Mapping[str, Any], part: str) -> dict[str, Any]:
    found = made.get(part)
    return dict(found) if isinstance(found, Mapping) else {}


def _show_exports(variables: Mapping[str, Any]) -> None:
    for name, value in variables.items():
        # A server's answer becomes shell text here, so nothing but a variable's name may pass.
        if _VARIABLE.fullmatch(name):
            show_line(f"export {name}={shlex.quote(str(value))}")
