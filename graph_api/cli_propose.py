"""``fractalops propose``: send a delta to the gate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from graph_api.cli_output import Output, working
from graph_api.cli_proposals import explained, show_outcome
from graph_api.cli_report import show_report, show_verdict
from graph_api.cli_session import DataOption, OutputOption, connect, output_format

FORMATS = {
    "turtle": "text/turtle",
    "ntriples": "application/n-triples",
    "nquads": "application/n-quads",
    "trig": "application/trig",
    "jsonld": "application/ld+json",
    "patch": "application/rdf-patch",
    "update": "application/sparql-update",
    "json": "application/json",
}
SUFFIXES = {
    ".ttl": "turtle",
    ".nt": "ntriples",
    ".nq": "nquads",
    ".trig": "trig",
    ".jsonld": "jsonld",
    ".rdfp": "patch",
    ".rdfpatch": "patch",
    ".patch": "patch",
    ".ru": "update",
    ".rq": "update",
    ".json": "json",
}
# What a suffix is called by those who write files by hand.
_ALSO = {
    **{suffix[1:]: name for suffix, name in SUFFIXES.items()},
    "n-triples": "ntriples",
    "n-quads": "nquads",
    "json-ld": "jsonld",
    "rdf-patch": "patch",
    "sparql": "update",
    "sparql-update": "update",
}


ProjectOption = Annotated[
    str | None, typer.Option("--project", metavar="SLUG", help="The project it is for.")
]
GraphOption = Annotated[
    str | None,
    typer.Option(
        "--graph",
        metavar="NAME",
        help="Where triples go that name no graph: short (lineage/shop) or an IRI "
        "(default: the project's lineage graph).",
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help=f"One of {', '.join(FORMATS)}, or a media type (default: by the file's suffix; "
        "turtle on stdin).",
    ),
]


def register(app: typer.Typer) -> None:
    app.command("propose")(propose)


def propose(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The delta; - reads stdin.")],
    project: ProjectOption = None,
    graph: GraphOption = None,
    rationale: Annotated[
        str, typer.Option("--rationale", help="Why; it is kept with the proposal.")
    ] = "",
    evidence: Annotated[
        list[str] | None,
        typer.Option("--evidence", metavar="sha256:...", help="What it rests on; may be repeated."),
    ] = None,
    format_: FormatOption = None,
    base: Annotated[
        int | None,
        typer.Option(
            "--base",
            metavar="HEAD",
            min=0,
            help="The head it was drafted on: refused when its nodes have changed since.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate only; nothing is kept.")
    ] = False,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Propose a change of the graph: Turtle, N-Triples, N-Quads, TriG, JSON-LD, RDF Patch, SPARQL
    INSERT DATA and DELETE DATA, or JSON with N-Quads.

    \b
    Example:
        fractalops propose owners.ttl --project shop --rationale "who owns what"
        fractalops propose change.rdfp --project shop --dry-run
    """
    shown = output_format(context, output)
    media_type = media_type_of(file, format_)
    content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    graph = default_graph(graph, project, media_type)
    with (
        explained(shown),
        working("Validating" if dry_run else "Proposing"),
        connect(context, data) as client,
    ):
        answer = client.submit(
            content,
            media_type,
            {"project": project, "graph": graph, "rationale": rationale or None},
            evidence=tuple(evidence or ()),
            base=base,
            dry_run=dry_run,
        )
    if dry_run:
        conforms = bool(answer.get("conforms"))
        if shown is Output.TABLE:
            show_verdict(answer)
        show_report(answer, shown)
        raise typer.Exit(0 if conforms else 1)
    show_outcome(answer, shown)


def default_graph(graph: str | None, project: str | None, media_type: str) -> str | None:
    """Where triples go that name no graph, if nothing was said: the project's lineage graph."""
    names_none = media_type in (FORMATS["turtle"], FORMATS["ntriples"], FORMATS["jsonld"])
    if graph is None and project is not None and names_none:
        return f"lineage/{project}"
    return graph


def media_type_of(file: str, format_: str | None) -> str:
    """The media type that was said, or that the file's suffix says."""
    if format_ is not None:
        if "/" in format_:
            return format_
        name = _ALSO.get(format_.lower(), format_.lower())
        if name not in FORMATS:
            raise typer.BadParameter(
                f"--format must be one of {', '.join(FORMATS)} or a media type, not {format_!r}"
            )
        return FORMATS[name]
    if file == "-":
        return FORMATS["turtle"]
    suffix = Path(file).suffix.lower()
    if suffix not in SUFFIXES:
        raise typer.BadParameter(
            f"{file} has no suffix that says its format; add --format, one of {', '.join(FORMATS)}"
        )
    return FORMATS[SUFFIXES[suffix]]
