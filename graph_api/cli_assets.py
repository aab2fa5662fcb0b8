"""``fractalops runtime-assets`` and ``endpoints``: what there is, chosen by id or role.

Invariant: an asset is named by its asset id or by a role that one asset has; where several have it,
they are listed and none is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote

import typer

from graph_api.cli_errors import CommandError
from graph_api.cli_output import Column, column, show_facts, show_rows
from graph_api.cli_session import DataOption, OutputOption, connect, output_format

if TYPE_CHECKING:
    from graph_api.client import Client

MAX_NAMED = 20


def short(iri: str) -> str:
    """The last part of the key that an IRI is made of."""
    return unquote(iri.rpartition("/")[2])


ASSET_COLUMNS = (
    *(column("asset id", "asset_id"), column("kind"), column("roles")),
    *(column("environment", short=short), column("project", short=short)),
    Column("owner", lambda item: item.get("owner"), short),
    Column("status", lambda item: (item.get("status") or {}).get("state")),
    Column("since", lambda item: (item.get("status") or {}).get("since")),
    column("declared in", "declared_in"),
)
ENDPOINT_COLUMNS = (
    *(column("endpoint id", "endpoint_id"), column("product"), column("url")),
    Column("authentication", lambda item: (item.get("authentication") or {}).get("scheme")),
    *(column("readiness", "readiness_path"), column("environment", short=short)),
    Column("owner", lambda item: item.get("owner"), short),
)


def known(member: str) -> Callable[[typer.Context, str], list[str]]:
    """Completes with what the server's assets have in this member; with nothing where there is no
    server to ask."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        try:
            with connect(context, context.params.get("data")) as client:
                found = client.runtime_assets({})
        except (CommandError, typer.BadParameter, OSError):
            return []
        names: set[str] = set()
        for item in found:
            value = item.get(member)
            names.update(value if isinstance(value, list) else [str(value)])
        return sorted(name for name in names if name.startswith(incomplete))

    return complete


AssetIdOption = Annotated[
    str | None,
    typer.Option(
        "--asset-id",
        metavar="ID",
        help="The asset with this id.",
        autocompletion=known("asset_id"),
    ),
]
RoleOption = Annotated[
    str | None,
    typer.Option(
        "--role", metavar="ROLE", help="What has this role.", autocompletion=known("roles")
    ),
]
EnvironmentOption = Annotated[
    str | None,
    typer.Option("--environment", metavar="NAME", help="What belongs to this environment."),
]
AtOption = Annotated[
    int | None,
    typer.Option("--at", metavar="HEAD", min=0, help="As it was right after this log entry."),
]

assets = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
endpoints = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(assets, name="runtime-assets", help="Machines, by what they are for.")
    app.add_typer(endpoints, name="endpoints", help="Systems that are called, not controlled.")


@assets.command("list")
def list_assets(
    context: typer.Context,
    role: RoleOption = None,
    environment: EnvironmentOption = None,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="lxc or kubernetes.")
    ] = None,
    at: AtOption = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """List the runtime assets.

    \b
    Example:
        fractalops runtime-assets list
        fractalops runtime-assets list --role daytona_runtime --environment production
        fractalops runtime-assets list --at 120 --output json
    """
    shown = output_format(context, output)
    wanted = {"role": role, "environment": environment, "kind": kind, "at": at}
    with connect(context, data) as client:
        found = client.runtime_assets(wanted)
    show_rows(found, ASSET_COLUMNS, shown, nothing="There are none. See: fractalops infra apply -h")


@assets.command("show")
def show_asset(
    context: typer.Context,
    asset_id: AssetIdOption = None,
    role: RoleOption = None,
    environment: EnvironmentOption = None,
    at: AtOption = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Show one runtime asset: by its id, or by a role that it alone has.

    \b
    Example:
        fractalops runtime-assets show --role daytona_runtime
        fractalops runtime-assets show --asset-id workbench --output json
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = chosen(client, asset_id, role, environment, at)
    status, urls = found.get("status") or {}, found.get("urls") or {}
    facts = {
        "asset id": found.get("asset_id"),
        "iri": found.get("iri"),
        **{name: found.get(name) for name in ("kind", "label", "roles")},
        "owner": found.get("owner"),
        "project": found.get("project"),
        "environment": found.get("environment"),
        "status": status.get("state"),
        "since": status.get("since"),
        "evidence": status.get("evidence"),
        "capabilities": found.get("capabilities"),
        "public URL": urls.get("public"),
        "executor URL": urls.get("executor"),
        "internal URL": urls.get("internal"),
        "hosts": found.get("hosts"),
        "declared in": found.get("declared_in"),
        **{f"locator: {name}": value for name, value in (found.get("locators") or {}).items()},
        **{
            f"permits {number}": _permitted(action)
            for number, action in enumerate(found.get("permits") or (), start=1)
        },
    }
    show_facts({name: value for name, value in facts.items() if value}, shown, whole=found)


@endpoints.command("list")
def list_endpoints(
    context: typer.Context,
    product: Annotated[
        str | None, typer.Option("--product", metavar="NAME", help="What is of this product.")
    ] = None,
    environment: EnvironmentOption = None,
    at: AtOption = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """List the integration endpoints.

    \b
    Example:
        fractalops endpoints list
        fractalops endpoints list --product nexus --output json
    """
    shown = output_format(context, output)
    wanted = {"product": product, "environment": environment, "at": at}
    with connect(context, data) as client:
        found = client.endpoints(wanted)
    nothing = "There are none. See: fractalops infra apply -h"
    show_rows(found, ENDPOINT_COLUMNS, shown, nothing=nothing)


@endpoints.command("show")
def show_endpoint(
    context: typer.Context,
    endpoint_id: Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id.")],
    at: AtOption = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Show one integration endpoint: where it is, how to authenticate, and where readiness shows.

    \b
    Example:
        fractalops endpoints show artifacts
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = client.endpoint(endpoint_id, at)
    authentication, urls = found.get("authentication") or {}, found.get("urls") or {}
    facts = {
        "endpoint id": found.get("endpoint_id"),
        **{name: found.get(name) for name in ("iri", "label", "product", "owner", "project")},
        "environment": found.get("environment"),
        "public URL": urls.get("public"),
        "internal URL": urls.get("internal"),
        "authentication": authentication.get("scheme"),
        "reference": authentication.get("reference"),
        "readiness": found.get("readiness_path"),
        "declared in": found.get("declared_in"),
    }
    show_facts({name: value for name, value in facts.items() if value}, shown, whole=found)


def chosen(
    client: Client,
    asset_id: str | None,
    role: str | None,
    environment: str | None,
    at: int | None = None,
) -> dict[str, Any]:
    """The one asset that is meant. Raises :class:`CommandError` that lists the candidates, or what
    there is."""
    if bool(asset_id) == bool(role):
        raise typer.BadParameter("name the asset with one of --asset-id ID and --role ROLE")
    if asset_id:
        return client.runtime_asset(asset_id, at)
    found = client.runtime_assets({"role": role, "environment": environment, "at": at})
    where = "" if environment is None else f" in the environment {environment!r}"
    if len(found) > 1:
        named = _listed([str(item.get("asset_id")) for item in found])
        raise CommandError(
            f"{len(found)} runtime assets have the role {role!r}{where}: {named}. Name one with"
            " --asset-id, or its --environment"
        )
    if not found:
        every = client.runtime_assets({"at": at})
        others = [item for item in every if role in (item.get("roles") or ())]
        if others:
            named = _listed([f"{item['asset_id']} ({item.get('environment')})" for item in others])
            raise CommandError(f"no runtime asset has the role {role!r}{where}; elsewhere {named}")
        roles = sorted({str(name) for item in every for name in item.get("roles") or ()})
        there = f"there are {_listed(roles)}" if roles else "no asset has any role yet"
        raise CommandError(f"no runtime asset has the role {role!r}{where}; {there}")
    return found[0]


def _listed(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _permitted(action: dict[str, Any]) -> str:
    import shlex

    if "argv" in action:
        what = shlex.join(map(str, action["argv"]))
    else:
        what = f"{'|'.join(action.get('methods') or ())} {action.get('path')}"
    return f"{what} ({action.get('effect')})"
