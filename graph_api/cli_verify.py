"""``fractalops proofs verify``: judge a proof bundle on this machine alone.

Invariant: no server and no network is asked. The verdict rests on the keys the caller names; when
the only key is the bundle's own, that is said loudly and the verdict is at most UNANCHORED.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graph_api.cli_errors import CommandError
from graph_api.cli_output import (
    Output,
    cell_text,
    column,
    show,
    show_facts,
    show_rows,
    warn,
)
from graph_api.cli_session import (
    DataOption,
    OutputOption,
    data_folder,
    output_format,
    setting_sources,
)

if TYPE_CHECKING:
    from proofs.checkpoint import VerifierKey

_MARKS = {True: "ok", False: "FAILED", None: "not checked"}
_CHECK_COLUMNS = (column("check"), column("result"), column("detail"))
_SHOWN_FACTS = (
    ("index", "index"),
    ("kind", "kind"),
    ("proposal", "proposal"),
    ("project", "project"),
    ("principal", "principal"),
    ("author's key", "author_key"),
    ("time", "time"),
    ("graphs", "graphs"),
    ("order", "order_document"),
    ("result", "result_document"),
    ("log", "origin"),
    ("log size", "size"),
    ("leaf hash", "leaf_hash"),
    ("witnesses", "witnesses"),
)


def verify(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="The bundle; - reads stdin.")],
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            metavar="KEY|FILE",
            help="The log's verifier key, name+hash+base64; may be repeated with others of the "
            "same log (default: $FRACTALOPS_LOG_KEY, the data folder's keys/log.pub and "
            "log.former.pub, else the bundle's own).",
        ),
    ] = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            "--witness", metavar="KEY|FILE", help="A witness's verifier key; may be repeated."
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", metavar="FILE", help="A checkpoint of the log that you trust already."
        ),
    ] = None,
    triple: Annotated[
        str | None,
        typer.Option("--triple", metavar="'S P O'", help="A triple that the entry must add."),
    ] = None,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Check a bundle without any server: INVALID, DIVERGED, UNANCHORED or WITNESSED.

    Ends with 0 for UNANCHORED (all is well, but nobody outside the log vouches for it) and
    WITNESSED, with 1 for INVALID and DIVERGED, with 2 when a file cannot be read.

    \b
    Example:
        fractalops proofs verify entry-12.json --key log.pub
    """
    from proofs.verify import Status, verify_bundle

    shown = output_format(context, output)
    bundle = _read(file)
    log_keys = _log_keys(key or _named_keys(context), data_folder(context, data))
    verdict = verify_bundle(
        bundle,
        log_keys[0] if log_keys else None,
        [verifier_key(text) for text in witness or ()],
        None if checkpoint is None else _read(str(checkpoint)).decode("utf-8", "replace"),
        None if triple is None else _triple(triple),
        log_keys[1:],
    )
    if not log_keys:
        warn(
            "no key of the log is known here, so the bundle's own was used: anybody could have "
            "made this bundle. Name the key you got from the log's owner with --key."
        )
    whole = {
        "status": str(verdict.status),
        "checks": [check._asdict() for check in verdict.checks],
        "facts": verdict.facts,
    }
    rows = [
        {"check": check.name, "result": _MARKS[check.ok], "detail": check.detail}
        for check in verdict.checks
    ]
    if shown is Output.TABLE:
        facts = {
            name: cell_text(verdict.facts[member])
            for name, member in _SHOWN_FACTS
            if verdict.facts.get(member) not in (None, "", [])
        }
        if facts:
            show_facts(facts, shown, whole=whole)
            show("")
        show_rows(rows, _CHECK_COLUMNS, shown)
        show(f"\n{verdict.status}")
    else:
        show_rows(rows, _CHECK_COLUMNS, shown, whole=whole)
    if verdict.status in (Status.INVALID, Status.DIVERGED):
        raise CommandError(f"{verdict.status}: {'; '.join(verdict.reasons)}")


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from error


def _named_keys(context: typer.Context) -> list[str]:
    """The keys of the log that the environment or the settings file names."""
    found = setting_sources(context).find("log_key")
    if found is None:
        return []
    return found.value.split() if isinstance(found.value, str) else list(map(str, found.value))


def _log_keys(said: Sequence[str], folder: Path) -> list[VerifierKey]:
    """The keys of the log that are known here, the present one first."""
    named = list(said)
    if not named:
        kept = (folder / "keys" / "log.pub", folder / "keys" / "log.former.pub")
        named = [str(path) for path in kept if path.is_file()]
    return [key for text in named for key in verifier_keys(text)]


def verifier_keys(said: str) -> list[VerifierKey]:
    """The verifier keys in a text, or in the file of that name, one a line."""
    if not _is_file(Path(said)):
        return [verifier_key(said)]
    lines = _read(said).decode("utf-8", "replace").split("\n")
    return [verifier_key(line) for line in lines if line.strip()] or [verifier_key(said)]


def verifier_key(said: str) -> VerifierKey:
    """The verifier key in a text or in the file of that name."""
    from proofs.checkpoint import VerifierKey
    from proofs.errors import MalformedKey

    named = Path(said)
    text = _read(said).decode("utf-8", "replace").strip() if _is_file(named) else said.strip()
    try:
        return VerifierKey.parse(text)
    except MalformedKey as error:
        raise typer.BadParameter(
            f"{said} is neither a file with a verifier key nor one itself: {error}"
        ) from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # A key may be longer than any file name.
        return False


def _triple(text: str) -> str:
    """The triple as the bundle writes it, common prefixes expanded."""
    from pyoxigraph import RdfFormat, parse

    from ontology.errors import OntologyError
    from ontology.terms import canonical_quad
    from ontology.vocab import PREFIXES

    prologue = "".join(f"PREFIX {name}: <{iri}>\n" for name, iri in PREFIXES.items())
    typed = text.strip().removesuffix(".")
    try:
        found = [canonical_quad(quad) for quad in parse(f"{prologue}{typed} .", RdfFormat.TURTLE)]
    except (SyntaxError, ValueError, OntologyError) as error:
        raise typer.BadParameter(f"--triple is not a triple such as '<s> fo:p <o>': {error}") from (
            error
        )
    if len(found) != 1:
        raise typer.BadParameter(f"--triple must be one triple, not {len(found)}")
    return f"{found[0].subject} {found[0].predicate} {found[0].object}"
