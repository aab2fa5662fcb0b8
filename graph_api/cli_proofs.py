"""``fractalops proofs``: the log, where a triple comes from, and whether all of it still fits."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graph_api import cli_verify
from graph_api.cli_chain import CHAIN_COLUMNS, chain, chain_rows
from graph_api.cli_errors import CommandError
from graph_api.cli_output import (
    Output,
    cell_text,
    column,
    say,
    show,
    show_facts,
    show_json,
    show_rows,
    show_stream,
    working,
)
from graph_api.cli_session import DataOption, OutputOption, connect, output_format
from graph_api.cli_terms import short_principal, term

if TYPE_CHECKING:
    pass

LOG_COLUMNS = (
    column("index"),
    column("kind"),
    column("time"),
    column("proposal"),
    column("project"),
    column("principal", short=short_principal),
    column("leaf hash", "leaf_hash"),
)
CHECK_COLUMNS = (column("name"), column("ok"), column("detail"))

Index = Annotated[int, typer.Argument(metavar="N", min=0, help="The entry's index in the log.")]

proofs = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    proofs.command("verify")(cli_verify.verify)
    app.add_typer(proofs, name="proofs", help="The proof log: read, explain, export, verify.")


@proofs.command("log")
def log(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 50,
    before: Annotated[
        int | None, typer.Option("--before", metavar="N", min=0, help="Only entries before N.")
    ] = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """List the log's entries, newest first.

    \b
    Example:
        fractalops proofs log --limit 10
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        page = client.log(limit=limit, before=before)
    items = page.get("items") or []
    show_rows(items, LOG_COLUMNS, shown, nothing="No such entries.")
    if len(items) == limit and items[-1].get("index", 0) > 0:
        say(f"There are older ones: --before {items[-1]['index']}")


@proofs.command("show")
def show_entry(
    context: typer.Context, index: Index, data: DataOption = None, output: OutputOption = None
) -> None:
    """Show one entry: what it states and who signed it.

    \b
    Example:
        fractalops proofs show 12 --output json
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        entry = client.entry(index)
    facts: dict[str, object] = {"index": entry.get("index"), "leaf hash": entry.get("leaf_hash")}
    statement = entry.get("statement") or {}
    for subject in statement.get("subject") or []:
        name = str(subject.get("name"))
        # What changes no graph is about documents, which have names and no IRIs.
        kind = "graph" if ":" in name else "document"
        facts[f"{kind} {name}"] = cell_text(subject.get("digest"))
    facts.update(statement.get("predicate") or {})
    signatures = (entry.get("envelope") or {}).get("signatures") or []
    facts["signed by"] = [signature.get("keyid") for signature in signatures]
    show_facts(facts, shown, whole=entry)


@proofs.command("explain")
def explain(
    context: typer.Context,
    subject: Annotated[str, typer.Argument(metavar="S", help="An IRI or prefixed name.")],
    predicate: Annotated[str, typer.Argument(metavar="P", help="An IRI, prefixed name or a.")],
    object_: Annotated[
        str, typer.Argument(metavar="O", help="An IRI, a prefixed name or a literal.")
    ],
    graph: Annotated[
        str | None,
        typer.Option(
            "--graph",
            metavar="NAME",
            help="Only as it stands in this named graph: short (lineage/shop) or an IRI.",
        ),
    ] = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Say where a triple comes from: proposal, decision, rule, evidence, raw payload.

    Terms are IRIs (angle brackets may be left out), names with a common prefix, and literals as
    Turtle writes them; a plain text needs its own quotes.

    \b
    Example:
        fractalops proofs explain fo:Service rdfs:label '"service"@en'
    """
    shown = output_format(context, output)
    triple = term(subject, "subject"), term(predicate, "predicate"), term(object_, "object")
    with connect(context, data) as client:
        found = client.explain(*triple, graph.strip("<>") if graph else None)
    if shown is Output.JSON:
        show_json(found)
    elif shown is Output.CSV:
        show_rows(list(chain_rows(found)), CHAIN_COLUMNS, shown)
    else:
        show(chain(found, " ".join(triple)))


@proofs.command("bundle")
def bundle(
    context: typer.Context,
    index: Index,
    to: Annotated[
        Path | None,
        typer.Option("-o", "--to", metavar="FILE", help="Write it here (default: stdout)."),
    ] = None,
    data: DataOption = None,
) -> None:
    """Export an entry with everything that proves it, for `proofs verify` on any machine.

    \b
    Example:
        fractalops proofs bundle 12 -o entry-12.json
    """
    with connect(context, data) as client:
        exported = client.bundle(index)
    if to is None:
        show_stream([exported])
        return
    replace_file(to, exported)
    say(f"Written to {to}. Check it: fractalops proofs verify {shlex.quote(str(to))}")


@proofs.command("audit")
def audit(context: typer.Context, data: DataOption = None, output: OutputOption = None) -> None:
    """Check the journal, the log, the tiles and the graph against each other, the facts as well.

    \b
    Example:
        fractalops proofs audit
    """
    shown = output_format(context, output)
    with working("Auditing"), connect(context, data) as client:
        report = client.audit()
    checks = [item for item in report.get("checks") or [] if isinstance(item, Mapping)]
    show_rows(checks, CHECK_COLUMNS, shown, whole=report)
    if not report.get("ok"):
        failed = [str(item.get("name")) for item in checks if not item.get("ok")]
        raise CommandError(
            f"the audit failed: {', '.join(failed) or 'see the report'}. Keep the data folder as "
            "it is; `fractalops proofs rebuild` makes the graph again from the journal."
        )


@proofs.command("rebuild")
def rebuild(context: typer.Context, data: DataOption = None, output: OutputOption = None) -> None:
    """Build the graph again from the journal and compare the state digests.

    \b
    Example:
        fractalops proofs rebuild
    """
    shown = output_format(context, output)
    with working("Rebuilding the graph from the journal"), connect(context, data) as client:
        report = client.rebuild()
    checks = [item for item in report.get("checks") or [] if isinstance(item, Mapping)]
    facts = {name.replace("_", " "): report[name] for name in report if name != "checks"}
    show_facts(facts, shown, whole=report)
    if shown is Output.TABLE and checks:
        show("")
        show_rows(checks, CHECK_COLUMNS, shown)
    if not report.get("ok"):
        raise CommandError(
            "the rebuilt graph differs from what the log states. Run `fractalops proofs audit`, "
            "and restore a backup if the journal itself is damaged."
        )


@proofs.command("rotate-key")
def rotate_key(
    context: typer.Context,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the journal.")] = "",
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Hand the log to the newest version of its key in OpenBao, after that was rotated there.

    The key before and the key after sign that entry, and every proof verifies on. Hand out
    keys/log.pub again.

    \b
    Example:
        fractalops proofs rotate-key --reason 'once a year'
    """
    shown = output_format(context, output)
    with connect(context, data) as client:
        done = client.rotate_log_key(reason)
    show_facts(done, shown, whole=done)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole: who looks sees the old one or the new one, never half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
