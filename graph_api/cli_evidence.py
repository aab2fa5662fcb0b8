"""``fractalops evidence``: the payloads behind the facts, and erasing them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from graph_api.cli_chain import erased
from graph_api.cli_errors import CommandError
from graph_api.cli_output import Column, column, say, show_facts, show_rows
from graph_api.cli_session import DataOption, OutputOption, connect, output_format

EVIDENCE_COLUMNS = (
    column("digest"),
    column("project"),
    column("source"),
    column("received", "received_at"),
    column("bytes", "size"),
    Column("payload", lambda item: erased(item["erased"]) if item.get("erased") else "kept"),
)

Before = Annotated[
    datetime | None,
    typer.Option("--before", metavar="DATE", help="Only what was received before (UTC)."),
]
ProjectOption = Annotated[str | None, typer.Option("--project", help="Only this project's.")]

evidence = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(evidence, name="evidence", help="The payloads behind the facts; erasing them.")


@evidence.command("list")
def list_evidence(
    context: typer.Context,
    project: ProjectOption = None,
    before: Before = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")] = 50,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """List evidence batches, newest first, and whether their payloads are still there.

    \b
    Example:
        fractalops evidence list --project shop --before 2026-11-01
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = client.evidence(project=project, before=_text(before), limit=limit)
    show_rows(found, EVIDENCE_COLUMNS, shown, nothing="No such evidence.")


@evidence.command("show")
def show_evidence(
    context: typer.Context,
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="The batch's commitment.")],
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Show what is known of a batch without opening it.

    \b
    Example:
        fractalops evidence show sha256:6dcd...
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        found = client.evidence_batch(digest)
    facts = {name.replace("_", " "): found[name] for name in found if name != "erased"}
    facts["payload"] = erased(found["erased"]) if found.get("erased") else "kept"
    show_facts(facts, shown, whole=found)


@evidence.command("erase")
def erase(
    context: typer.Context,
    reason: Annotated[
        str, typer.Option("--reason", help="Why; it is kept for good, so name no person in it.")
    ],
    batch: Annotated[
        list[str] | None,
        typer.Option("--batch", metavar="DIGEST", help="This batch; may be repeated."),
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", help="Of this project: --before or --person.")
    ] = None,
    before: Before = None,
    person: Annotated[
        str | None,
        typer.Option(
            "--person",
            metavar="DISTINCT_ID",
            help="The batches in which a product's client names this person.",
        ),
    ] = None,
    facts: Annotated[
        bool,
        typer.Option(
            "--facts",
            help="Remove what became of them too; with --person what is about that person.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, it is only counted.")] = False,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Erase payloads for good. Their commitments stay, and every proof stays valid.

    The erasure is an entry of the proof log: which commitments, who, when, and why.

    \b
    Example:
        fractalops evidence erase --project shop --person visitor-17 --reason "asked to" --yes
    """
    shown = output_format(context, output)
    asked: dict[str, Any] = {
        "batches": batch or None,
        "project": project,
        "before": _text(before),
        "person": person,
        "reason": reason,
        "facts": facts,
        "dry_run": not yes,
    }
    if sum(bool(choice) for choice in (batch, before, person)) != 1 or bool(batch) == bool(project):
        raise CommandError("give --batch; or --project and --before; or --project and --person")
    with connect(context, data) as client:
        found = client.erase_evidence({key: asked[key] for key in asked if asked[key] is not None})
    show_facts(found, shown, whole=found)
    if not yes:
        say("Nothing was erased. Give --yes to erase these payloads for good.")
    elif found.get("more"):
        say("There are more: give the same command again.")
    elif not found.get("done"):
        say("It is recorded, and goes on as soon as the facts can be written.")


def _text(moment: datetime | None) -> str | None:
    return moment.replace(tzinfo=UTC).isoformat() if moment is not None else None
