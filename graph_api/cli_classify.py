"""``fractalops classify``: why an event has its class, and facts under changed rules."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from graph_api.cli_output import (
    Output,
    column,
    say,
    show_json,
    show_line,
    show_rows,
    working,
)
from graph_api.cli_session import DataOption, OutputOption, connect, output_format
from graph_api.cli_terms import short_iri

EVENT_COLUMNS = (
    column("event", "event_id"),
    column("name"),
    column("class"),
    column("rule"),
    column("subject"),
)
CHANGE_COLUMNS = (
    column("before", short=short_iri),
    column("after", short=short_iri),
    column("events"),
)

classify = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(
        classify, name="classify", help="Classification: which rule an event gets its class from."
    )


@classify.command("explain")
def explain(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The payload; - reads stdin.")],
    source: Annotated[
        str | None,
        typer.Option("--source", help="Its source, such as otel.span (default: found out)."),
    ] = None,
    content_type: Annotated[
        str | None,
        typer.Option("--content-type", metavar="TYPE", help="Its media type (default: found out)."),
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", metavar="SLUG", help="The project it would be of.")
    ] = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Show which rule chooses the class of each event of a payload, and why. Nothing is kept.

    Rules are tried from the top until one fits: + is a condition that is met, - one that isn't.

    \b
    Example:
        fractalops classify explain trace.json --project shop
    """
    shown = output_format(context, output)
    payload = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    with connect(context, data) as client, working("Explaining"):
        found = client.explain_payload(payload, source, content_type, project)
    events = [item for item in found.get("events") or [] if isinstance(item, Mapping)]
    if shown is Output.TABLE:
        for line in _told(found, events):
            show_line(line)
    elif shown is Output.JSON:
        show_json(found)
    else:
        show_rows(events, EVENT_COLUMNS, shown)


@classify.command("rerun")
def rerun(
    context: typer.Context,
    project: Annotated[
        str | None,
        typer.Option("--project", metavar="SLUG", help="Only its facts (default: all)."),
    ] = None,
    since: Annotated[
        int, typer.Option("--since", metavar="SEQ", min=0, help="Only from this batch on.")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")
    ] = False,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Classify stored facts again by the rules as they stand, and say how many changed.

    Facts that the rules' version was asked for already are passed over. The stewards then read what
    changed once more.

    \b
    Example:
        fractalops classify rerun --project shop --dry-run
    """
    shown = output_format(context, output)
    with connect(context, data) as client, working("Classifying the facts again"):
        found = client.reclassify(project, since, dry_run=dry_run)
    changes = [
        {**item, "before": item.get("before") or "", "after": item.get("after") or ""}
        for item in found.get("changes") or []
    ]
    show_rows(changes, CHANGE_COLUMNS, shown, whole=found)
    would = "would change" if dry_run else "changed"
    say(f"{found.get('changed')} of {found.get('looked_at')} facts {would}.")


def _told(found: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"source {found.get('source')}, rules {found.get('rules') or 'none'}"
    for event in events:
        yield ""
        kind = f" ({event['kind']})" if event.get("kind") else ""
        yield f"{event.get('event_id')}: {event.get('name')}{kind}"
        for trial in event.get("trials") or []:
            won = ", which wins" if trial.get("won") else ""
            yield f"  {short_iri(str(trial['rule']))}, priority {trial['priority']}{won}"
            for condition in trial.get("conditions") or []:
                sign = "+" if condition["met"] else "-"
                has = f": {condition['found']}" if condition.get("found") else ""
                yield f"    {sign} {condition['asks']}{has}"
        if event.get("rule"):
            yield f"  class {short_iri(str(event['class']))}"
            yield f"  subject {event.get('subject_name')}: {event.get('subject')}"
        else:
            yield "  no rule fits: it is kept without a class"
    for reason in found.get("skipped") or []:
        yield f"left out: {reason}"
