"""``fractalops proposals``: what waits, what was decided, and deciding it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from graph_api.cli_card import show_card
from graph_api.cli_errors import Refused
from graph_api.cli_output import (
    Column,
    Output,
    column,
    fail,
    say,
    show,
    show_facts,
    show_json,
    show_rows,
    show_text,
    visible,
)
from graph_api.cli_report import show_report
from graph_api.cli_session import DataOption, OutputOption, connect, output_format
from graph_api.cli_terms import short_iri, short_principal

PROPOSAL_COLUMNS = (
    column("id"),
    column("state"),
    Column("order on", lambda item: (item.get("order") or {}).get("asset_id")),
    column("project"),
    column("author", short=short_principal),
    Column("added", lambda item: item.get("additions")),
    Column("removed", lambda item: item.get("removals")),
    column("proof"),
    column("submitted", "submitted_at"),
    column("rationale"),
)
DECISION_COLUMNS = (
    column("by", short=short_principal),
    column("outcome"),
    Column("single person", lambda item: item.get("single_person")),
    column("at"),
    column("policy"),
    column("reason"),
)
TRANSITION_COLUMNS = (column("state"), column("at"), column("proof"))
CHANGE_COLUMNS = (column("change"), column("quad"))

Identifier = Annotated[str, typer.Argument(metavar="ID", help="The proposal's id.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept with the decision.")]

proposals = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(proposals, name="proposals", help="What was proposed, and deciding it.")


def summary(proposal: Mapping[str, Any]) -> str:
    """A proposal's outcome in one line."""
    identifier, state = proposal.get("id"), str(proposal.get("state"))
    parts = [f"proposal {identifier}: {state}" if identifier else state]
    if proposal.get("proof") is not None:
        parts.append(f"proof {proposal['proof']}")
    if proposal.get("head") is not None:
        parts.append(f"head {proposal['head']}")
    if proposal.get("time_lock_until"):
        parts.append(f"under a time lock until {proposal['time_lock_until']}")
    return ", ".join(parts)


def signature_text(proposal: Mapping[str, Any]) -> str:
    """Whether its author signed it itself, and with which key."""
    signature = proposal.get("signature")
    if not isinstance(signature, Mapping):
        return "unsigned"
    return f"signed with {short_iri(str(signature.get('key')))}"


def show_outcome(proposal: Mapping[str, Any], output: Output) -> None:
    """Print what became of a proposal; ends the command with 1 when it was refused."""
    facts = {
        name: proposal.get(key)
        for name, key in (
            ("id", "id"),
            ("state", "state"),
            ("proof", "proof"),
            ("head", "head"),
            ("time lock until", "time_lock_until"),
        )
        if proposal.get(key) is not None
    }
    show_facts(facts, output, whole=proposal)
    report = proposal.get("report")
    if output is Output.TABLE and isinstance(report, Mapping):
        show_report(report, output)
    if proposal.get("state") == "invalid":
        raise typer.Exit(1)


@contextmanager
def explained(output: Output) -> Iterator[None]:
    """Say why the gate refused: the report of a 422 on stdout, the deltas of a 409 on stderr."""
    try:
        yield
    except Refused as refusal:
        report = refusal.body.get("report", refusal.body)
        if isinstance(report, Mapping) and "results" in report:
            show_report(report, output)
        fail(str(refusal))
        identifier = refusal.body.get("id")
        if isinstance(identifier, str) and refusal.status == 422:
            say(f"It is kept: fractalops proposals show {identifier}")
        for name, title in (("theirs", "Changed meanwhile:"), ("yours", "What you proposed:")):
            patch = refusal.body.get(name)
            if isinstance(patch, str):
                say(f"{title}\n{patch.rstrip()}")
        raise typer.Exit(1) from refusal


@proposals.command("list")
def list_proposals(
    context: typer.Context,
    state: Annotated[
        str | None,
        typer.Option("--state", help='Only this state, such as "awaiting decision" or applied.'),
    ] = None,
    project: Annotated[str | None, typer.Option("--project", help="Only this project.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="How many at most.")] = 50,
    before: Annotated[
        int | None, typer.Option("--before", metavar="N", help="Only older ones than this.")
    ] = None,
    all_orders: Annotated[
        bool,
        typer.Option(
            "--all-orders", help="Also orders that only read and that nobody had to decide on."
        ),
    ] = False,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """List proposals, newest first.

    \b
    Example:
        fractalops proposals list --state "awaiting decision"
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        page = client.proposals(
            state=state,
            project=project,
            limit=limit,
            before=before,
            orders="all" if all_orders else None,
        )
    show_rows(page.get("items") or [], PROPOSAL_COLUMNS, shown, nothing="No such proposals.")
    if page.get("next") is not None:
        say(f"There are older ones: --before {page['next']}")


@proposals.command("show")
def show_proposal(
    context: typer.Context,
    identifier: Identifier,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Show one proposal as somebody needs it who decides: its state and steps, what it says in
    words, what bears each claim out, the things as they would be, and what saved queries would
    answer; of an order what would be carried out, on which asset and by which rule. A claim is
    verified where stored facts of the evidence say it, asserted where its author says it of
    evidence, uncited where there is none.

    \b
    Example:
        fractalops proposals show 01JD3Z8Y
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        card = dict(client.proposal_card(identifier))
    proposal = card.pop("proposal")
    tables = ("decisions", "transitions", "report", "order", "result")
    facts = {
        name.replace("_", " "): value
        for name, value in proposal.items()
        if name not in tables and value is not None and value != []
    }
    facts["signature"] = signature_text(proposal)
    show_facts(facts, shown, whole={**proposal, "card": card})
    if shown is not Output.TABLE:
        return
    for title, columns in (("decisions", DECISION_COLUMNS), ("transitions", TRANSITION_COLUMNS)):
        rows = proposal.get(title) or []
        if rows:
            show(f"\n{title}")
            show_rows(rows, columns, shown)
    report = proposal.get("report")
    if isinstance(report, Mapping) and report.get("results"):
        show("\nreport")
        show_report(report, shown)
    show_card(card)


@proposals.command("diff")
def diff(
    context: typer.Context,
    identifier: Identifier,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Show what a proposal adds (A) and deletes (D), as an RDF Patch.

    \b
    Example:
        fractalops proposals diff 01JD3Z8Y
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        changes = client.proposal_diff(identifier)
    show_changes(changes, shown)


def show_changes(changes: Mapping[str, Any], output: Output) -> None:
    """Print a delta: an RDF Patch that can be proposed again, JSON, or CSV."""
    if output is Output.JSON:
        show_json(changes)
    elif output is Output.CSV:
        rows = [{"change": change, "quad": quad} for change, quad in _lines(changes)]
        show_rows(rows, CHANGE_COLUMNS, output)
    else:
        show_patch(changes)


def show_patch(changes: Mapping[str, Any]) -> None:
    """Print a delta as an RDF Patch, coloured on a terminal."""
    if not sys.stdout.isatty():
        show_text("".join(f"{change} {quad}\n" for change, quad in _lines(changes)))
        return
    from rich.text import Text

    colours = {"A": "green", "D": "red"}
    lines = [
        Text(visible(f"{change} {quad}"), style=colours[change]) for change, quad in _lines(changes)
    ]
    show(Text("\n").join(lines))


def _lines(changes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for change, member in (("D", "removals"), ("A", "additions")):
        # Not splitlines(): only a line feed ends a quad, other line breaks may stand in a literal.
        for line in str(changes.get(member) or "").split("\n"):
            if line.strip():
                yield change, line.strip("\r")


def _decide(
    context: typer.Context,
    identifier: str,
    outcome: str,
    reason: str,
    data: DataOption,
    output: OutputOption,
) -> None:
    shown = output_format(context, output)
    with explained(shown), connect(context, data) as client:
        proposal = client.decide(identifier, outcome, reason)
    show_outcome(proposal, shown)


@proposals.command("approve")
def approve(
    context: typer.Context,
    identifier: Identifier,
    reason: Reason = "",
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Approve a proposal. It is validated again, then applied; an order is carried out.

    \b
    Example:
        fractalops proposals approve 01JD3Z8Y --reason "matches the deployment"
    """
    _decide(context, identifier, "approve", reason, data, output)


@proposals.command("reject")
def reject(
    context: typer.Context,
    identifier: Identifier,
    reason: Reason = "",
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Reject a proposal. The graph stays as it is; the rejection is kept and proved.

    \b
    Example:
        fractalops proposals reject 01JD3Z8Y --reason "the service was renamed"
    """
    _decide(context, identifier, "reject", reason, data, output)


@proposals.command("request-changes")
def request_changes(
    context: typer.Context,
    identifier: Identifier,
    reason: Annotated[
        str, typer.Option("--reason", help="What should change; its author reads it.")
    ],
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Ask for changes: this proposal ends, and its author proposes anew.

    \b
    Example:
        fractalops proposals request-changes 01JD3Z8Y --reason "name the database as it is now"
    """
    _decide(context, identifier, "request-changes", reason, data, output)


@proposals.command("withdraw")
def withdraw(
    context: typer.Context,
    identifier: Identifier,
    reason: Reason = "",
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Withdraw a proposal of your own that nobody has decided yet.

    \b
    Example:
        fractalops proposals withdraw 01JD3Z8Y
    """
    _decide(context, identifier, "withdraw", reason, data, output)


@proposals.command("revert")
def revert(
    context: typer.Context,
    identifier: Identifier,
    rationale: Annotated[
        str, typer.Option("--rationale", help="Why (default: names the proposal).")
    ] = "",
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Propose the exact inverse of an applied proposal.

    \b
    Example:
        fractalops proposals revert 01JD3Z8Y --rationale "the deployment was rolled back"
    """
    shown = output_format(context, output)
    with explained(shown), connect(context, data) as client:
        proposal = client.revert(identifier, rationale or f"Reverts proposal {identifier}")
    show_outcome(proposal, shown)
