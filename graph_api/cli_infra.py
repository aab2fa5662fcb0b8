"""``fractalops infra``: a topology, validated, proposed, and made into environment variables.

Invariant: nothing but ``apply`` speaks to the server, and ``apply`` proposes: the topology becomes
true when the gate says so. Values of an environment are compared and never printed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graph_api.cli_errors import CommandError, Refused
from graph_api.cli_output import (
    Output,
    column,
    say,
    show_facts,
    show_rows,
    show_text,
    warn,
    working,
)
from graph_api.cli_proposals import explained, show_outcome
from graph_api.cli_report import show_report, show_verdict
from graph_api.cli_session import DataOption, OutputOption, connect, output_format

if TYPE_CHECKING:
    from pyoxigraph import Triple

    from graph_api.client import Client
    from ontology.ids import Ids
    from runtime.topology import Topology
    from runtime.topology_change import Change

DIFFERENCES = (column("name"), column("difference"))
VARIABLES = (column("name"), column("value"))
_PATCH = "application/rdf-patch"

File = Annotated[Path, typer.Argument(metavar="FILE", help="The topology, as YAML.")]
EnvironmentOption = Annotated[
    str | None,
    typer.Option("--environment", metavar="NAME", help="Of what belongs to it or to none alone."),
]

infra = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(infra, name="infra", help="The topology of runtime assets and endpoints.")


@infra.command("validate")
def validate(context: typer.Context, file: File, output: OutputOption = None) -> None:
    """Read a topology and check it against the shapes, without a server.

    Every fault is told with its line. Owners, projects and services are taken to exist: the gate
    asks the graph when the topology is proposed.

    \b
    Example:
        fractalops infra validate topology.yaml
    """
    shown = output_format(context, output)
    topology, _ = _read(file)
    facts = {
        "topology": topology.name,
        "assets": len(topology.assets),
        "endpoints": len(topology.endpoints),
        "roles": len(topology.roles),
    }
    show_facts(facts, shown, whole=facts)


@infra.command("apply")
def apply(
    context: typer.Context,
    file: File,
    rationale: Annotated[
        str, typer.Option("--rationale", help="Why; it is kept with the proposal.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate only; nothing is kept.")
    ] = False,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Propose what makes the graph say what a topology declares.

    What it declared before and no longer does is proposed for removal; what was found, and what
    other topologies declare, is left alone. A person decides, as on all runtime assets.

    \b
    Example:
        fractalops infra apply topology.yaml --rationale "the new workbench"
        fractalops infra apply topology.yaml --dry-run
    """
    shown = output_format(context, output)
    from ontology.ids import Ids
    from runtime.topology_change import change

    with connect(context, data) as client:
        ids = Ids(str(client.status()["base"]))
        topology, _ = _read(file, ids)
        head, current = _stated(client)
        with _told(file):
            wanted = change(topology, ids, current)
        if not wanted.additions and not wanted.removals:
            say("The graph says all of it already.")
            return
        _summarise(wanted)
        with explained(shown), working("Validating" if dry_run else "Proposing"):
            answer = client.submit(
                _patch(wanted, ids),
                _PATCH,
                {"rationale": rationale or f"the topology {topology.name}"},
                base=head,
                dry_run=dry_run,
            )
    if dry_run:
        if shown is Output.TABLE:
            show_verdict(answer)
        show_report(answer, shown)
        raise typer.Exit(0 if answer.get("conforms") else 1)
    show_outcome(answer, shown)


@infra.command("generate-env")
def generate_env(
    context: typer.Context,
    file: File,
    environment: EnvironmentOption = None,
    env_file: Annotated[
        Path | None,
        typer.Option("--env-file", metavar="FILE", help="Where they go (default: stdout)."),
    ] = None,
    output: OutputOption = None,
) -> None:
    """Print the environment variables that a topology becomes, one NAME=value a line.

    \b
    Example:
        fractalops infra generate-env topology.yaml
        fractalops infra generate-env topology.yaml --environment test --env-file test.env
    """
    shown = output_format(context, output)
    from runtime.topology_environment import render, variables

    topology, ids = _read(file)
    with _told(file):
        found = variables(topology, ids, environment)
    if env_file is not None:
        # Whoever reads it meanwhile gets the old one or the new one.
        new = env_file.with_name(f"{env_file.name}.new")
        new.write_text(render(found), encoding="utf-8")
        new.replace(env_file)
        say(f"{len(found)} variables are in {env_file}")
    elif shown is Output.TABLE:
        show_text(render(found))
    else:
        rows = [{"name": name, "value": value} for name, value in found.items()]
        show_rows(rows, VARIABLES, shown, whole=found)


@infra.command("env-check")
def env_check(
    context: typer.Context,
    file: File,
    env_file: Annotated[
        Path | None,
        typer.Option(
            "--env-file", metavar="FILE", help="NAME=value lines (default: this process)."
        ),
    ] = None,
    environment: EnvironmentOption = None,
    output: OutputOption = None,
) -> None:
    """Check a deployment's environment against a topology; no value is printed.

    \b
    Example:
        fractalops infra env-check topology.yaml
        fractalops infra env-check topology.yaml --env-file production.env --environment production
    """
    shown = output_format(context, output)
    from runtime.topology_environment import (
        MAX_BYTES,
        differences,
        read_environment,
        variables,
    )

    topology, ids = _read(file)
    with _told(file):
        wanted = variables(topology, ids, environment)
        found = dict(os.environ)
        if env_file is not None:
            found = read_environment(_content(env_file, MAX_BYTES))
    differing = [{"name": item.name, "difference": item.how} for item in differences(wanted, found)]
    show_rows(
        differing, DIFFERENCES, shown, nothing=f"All {len(wanted)} variables are as declared."
    )
    raise typer.Exit(1 if differing else 0)


def _read(file: Path, ids: Ids | None = None) -> tuple[Topology, Ids]:
    """A topology that no shape refuses. Raises :class:`CommandError` with everything wrong."""
    from ontology.ids import Ids as Minted
    from runtime.permitted_actions import PermittedCommand
    from runtime.topology import read_topology
    from runtime.topology_shapes import complaints
    from runtime.topology_text import MAX_BYTES
    from shapes.errors import ShapesError

    ids = Minted() if ids is None else ids
    data = _content(file, MAX_BYTES)
    with _told(file):
        topology = read_topology(data, ids)
    try:
        found = complaints(topology, ids)
    except ShapesError as error:
        raise CommandError(f"{file} could not be checked against the shapes: {error}") from error
    if found:
        raise CommandError("\n".join((f"{file} is refused by the shapes", *found)))
    for asset in topology.assets:
        for action in asset.permits:
            if isinstance(action, PermittedCommand) and action.interprets:
                warn(
                    f"{asset.asset_id} permits {action.pattern}: {action.argv[0]} does whatever its"
                    " arguments say"
                )
    return topology, ids


def _content(file: Path, limit: int) -> bytes:
    """No more of a file than tells that it is too large."""
    with file.open("rb") as stream:
        return stream.read(limit + 1)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    from runtime.errors import TopologyError

    try:
        yield
    except TopologyError as error:
        raise CommandError("\n".join((f"{file} is refused", *error.faults))) from error


def _stated(client: Client) -> tuple[int | None, list[Triple]]:
    """What the graph says of assets, and at which head; nothing where it says nothing."""
    from pyoxigraph import RdfFormat, parse

    try:
        answer = client.send("GET", "/graphs/assets", headers={"Accept": "application/n-triples"})
    except Refused as refusal:
        if refusal.status != 404:
            raise
        return None, []
    head = answer.headers.get("fractalops-head", "")
    triples = [quad.triple for quad in parse(answer.content, RdfFormat.N_TRIPLES)]
    return (int(head) if head.isdecimal() else None), triples


def _patch(wanted: Change, ids: Ids) -> bytes:
    graph = f"<{ids.graph('assets')}>"
    rows = [f"D {triple} {graph} ." for triple in wanted.removals]
    rows += [f"A {triple} {graph} ." for triple in wanted.additions]
    return "\n".join(sorted(rows, reverse=True)).encode() + b"\n"


def _summarise(wanted: Change) -> None:
    for what, iris in (("new", wanted.new), ("changed", wanted.changed), ("gone", wanted.gone)):
        for iri in iris:
            say(f"{what}: {iri.partition('/id/')[2] or iri}")
