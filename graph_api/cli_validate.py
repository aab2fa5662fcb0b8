"""``fractalops validate``: what the shapes say, without recording anything."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from graph_api.cli_errors import CommandError
from graph_api.cli_output import Output, show_json, show_line, show_text, working
from graph_api.cli_proposals import explained
from graph_api.cli_propose import (
    FormatOption,
    GraphOption,
    ProjectOption,
    default_graph,
    media_type_of,
)
from graph_api.cli_report import Tense, show_report, show_reports, show_verdict
from graph_api.cli_session import DataOption, connect, output_format


class ReportOutput(StrEnum):
    """How a report is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    TURTLE = "turtle"


def register(app: typer.Typer) -> None:
    app.command("validate")(validate)


def validate(
    context: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="Changes to try, each by itself, as propose takes them; - reads stdin. Without "
            "one the whole graph is validated, which operators and auditors may do.",
        ),
    ] = None,
    project: ProjectOption = None,
    graph: GraphOption = None,
    format_: FormatOption = None,
    data: DataOption = None,
    output: Annotated[
        ReportOutput | None,
        typer.Option(
            "--output",
            metavar="|".join(ReportOutput),
            help="How the report is printed (default: table).",
        ),
    ] = None,
) -> None:
    """Validate a change, or the whole graph, against the shapes; nothing is recorded.

    The exit code is 0 when it conforms, 1 when it doesn't: warnings do not count. Turtle is the
    W3C report graph.

    \b
    Example:
        fractalops validate owners.ttl --project shop
        fractalops validate --output turtle
    """
    turtle = output is ReportOutput.TURTLE
    if turtle and len(files or ()) > 1:
        raise typer.BadParameter("--output turtle prints one report: name one FILE at a time")
    if not files and (project or graph or format_):
        raise typer.BadParameter(
            "--project, --graph and --format go with a FILE; the whole graph is validated as it is"
        )
    said = None if output is None or turtle else Output(output.value)
    shown = Output.JSON if turtle else output_format(context, said)
    reports: list[tuple[str, Mapping[str, Any]]] = []
    types = [media_type_of(file, format_) for file in files or ()]
    with (
        explained(shown),
        working("Validating") as tell,
        connect(context, data) as client,
    ):

        def progress(step: Mapping[str, Any]) -> None:
            tell(_told(step))

        for file, media_type in zip(files or (), types, strict=True):
            content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
            parameters = {"project": project, "graph": default_graph(graph, project, media_type)}
            reports.append((file, client.validate(content, media_type, parameters, progress)))
        if not files:
            reports.append(("", client.validate(None, None, {}, progress)))
    if turtle:
        show_text(_turtle(reports[0][1]))
    elif shown is not Output.TABLE and len(reports) > 1:
        show_reports(reports, shown)
    elif shown is Output.JSON:
        show_json(reports[0][1])
    else:
        for number, (file, report) in enumerate(reports):
            if len(reports) > 1:
                if number:
                    show_text("\n")
                show_line(f"{file}:")
            _show(report, shown, whole=not files)
    if not all(report.get("conforms") for _, report in reports):
        raise typer.Exit(1)


def _show(report: Mapping[str, Any], output: Output, *, whole: bool) -> None:
    if output is Output.TABLE:
        show_verdict(report, ("additions", "removals", "head"))
    show_report(report, output, Tense.DOES if whole else Tense.WOULD)


def _told(step: Mapping[str, Any]) -> str:
    """How far a validation is, in words."""
    return (
        f"Validating the whole graph: part {int(step.get('part', 0)):,} of"
        f" {int(step.get('parts', 0)):,}, {int(step.get('nodes', 0)):,} nodes,"
        f" {int(step.get('found', 0)):,} results"
    )


def _turtle(report: Mapping[str, Any]) -> str:
    from pyoxigraph import RdfFormat, serialize

    from ontology.vocab import PREFIXES
    from shapes.report import Report

    try:
        triples = list(Report.from_dict(dict(report)).triples())
        text = "".join(map(str, triples))
        prefixes = {name: iri for name, iri in PREFIXES.items() if f"<{iri}" in text}
        return (serialize(triples, format=RdfFormat.TURTLE, prefixes=prefixes) or b"").decode()
    except (KeyError, TypeError, ValueError, SyntaxError) as error:
        raise CommandError(
            f"the server's report cannot be read: it is of another version ({error})"
        ) from error
