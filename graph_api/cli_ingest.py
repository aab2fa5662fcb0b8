"""``fractalops ingest``: what other tools wrote into files becomes facts.

Invariant: everything goes through the same receivers as what clients send, with a key of the
project; a record that can't be taken in is named by file and line, and takes no other with it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from graph_api.cli_errors import CommandError
from graph_api.cli_output import column, say, show_rows, visible, warn
from graph_api.cli_progress import progress_bar
from graph_api.cli_session import (
    DataOption,
    OutputOption,
    connect,
    named_server,
    output_format,
    setting_sources,
)
from runtime.local_urls import is_loopback

if TYPE_CHECKING:
    from ingest.bookmarks import Bookmark
    from ingest.history_files import Outcome
    from ingest.history_records import Kind, Unreadable
    from ingest.patience import Peer

MAX_NAMED = 20
"""Records of one file that are named when they can't be taken in; the others are counted."""

INTERRUPTED = 130

COLUMNS = (
    column("file"),
    column("layout"),
    column("taken in", "taken_in"),
    column("not taken in", "not_taken_in"),
    column("in earlier runs", "before"),
)


class Format(StrEnum):
    """What a file can be said to hold."""

    OTLP = "otlp"
    OTLP_TRACES_PROTO = "otlp-traces-proto"
    OTLP_LOGS_PROTO = "otlp-logs-proto"
    OTLP_METRICS_PROTO = "otlp-metrics-proto"
    POSTHOG = "posthog"
    SENTRY = "sentry"
    OPENLINEAGE = "openlineage"

    @property
    def kind(self) -> Kind | None:
        from ingest.history_records import Kind

        return {
            Format.OTLP_TRACES_PROTO: Kind.TRACES_PROTO,
            Format.OTLP_LOGS_PROTO: Kind.LOGS_PROTO,
            Format.OTLP_METRICS_PROTO: Kind.METRICS_PROTO,
            Format.POSTHOG: Kind.PRODUCT_EVENT,
            Format.SENTRY: Kind.ENVELOPE,
            Format.OPENLINEAGE: Kind.LINEAGE,
        }.get(self)


ProjectOption = Annotated[
    str | None,
    typer.Option(
        "--project",
        metavar="SLUG",
        help="The project it is for; without --key, an operator's token borrows a key of it.",
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        envvar="FRACTALOPS_INGEST_KEY",
        help="An ingest key of the project (default: $FRACTALOPS_INGEST_KEY).",
    ),
]


@dataclass(frozen=True)
class Receiving:
    """The server that takes records in; ``names`` tell its bookmarks from those of others."""

    peer: Peer
    names: tuple[str, ...]


def register(app: typer.Typer) -> None:
    app.command("ingest")(ingest)


def ingest(
    context: typer.Context,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="What to take in; - reads stdin.")
    ],
    project: ProjectOption = None,
    key: KeyOption = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="One of otlp, otlp-traces-proto, otlp-logs-proto, otlp-metrics-proto, posthog,"
            " sentry, openlineage (default: what the content is).",
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin at the start, wherever an earlier run ended.")
    ] = False,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Take in what other tools wrote into files.

    OTLP of the Collector's file exporter, PostHog's exports as JSON lines, JSON or Parquet, Sentry
    envelopes and OpenLineage's JSON lines; plain, .gz, .zst or .br. Cut off, the same command goes
    on behind what was acknowledged. What comes twice is one fact.

    \b
    Example:
        fractalops ingest traces.jsonl.gz events.parquet --project shop
        fractalops ingest - --key foi_... --format posthog
    """
    shown = output_format(context, output)
    rows: list[dict[str, Any]] = []
    with receiving(context, data, project, key) as server:
        for name in files:
            with told_when_interrupted():
                outcome = _bring_in(name, server, form.kind if form else None, restart=restart)
            rows.append(
                {
                    "file": name,
                    "layout": str(outcome.layout),
                    "taken_in": outcome.delivered,
                    "not_taken_in": outcome.unreadable,
                    "before": outcome.before,
                }
            )
    show_rows(rows, COLUMNS, shown)
    if any(row["not_taken_in"] for row in rows):
        raise typer.Exit(1)


@contextmanager
def receiving(
    context: typer.Context, data: Path | None, project: str | None, key: str | None
) -> Iterator[Receiving]:
    """The server to send to, with a key that was given or is borrowed for as long as it runs."""
    import hashlib

    from ingest.errors import HistoryError

    key = setting_sources(context, ingest_key=key).text("ingest_key")
    if key is None and project is None:
        raise typer.BadParameter("name the project with --project, or give its key with --key")
    address = named_server(context, data)
    if key is None:
        with connect(context, data) as client:
            lent = client.lend_key(project or "")
        key, names = str(lent.get("ingest_key") or ""), (str(lent.get("log")), project or "")
    else:
        names = (address.url, hashlib.sha256(key.encode()).hexdigest())
    try:
        with peer_at(address.url, key, proxies=not is_loopback(address.url)) as peer:
            yield Receiving(peer, names)
    except HistoryError as error:
        raise CommandError(error.detail) from error


def peer_at(url: str, bearer: str, *, proxies: bool) -> Peer:
    """Another server, waited for as it asks."""
    from ingest.patience import Peer

    return Peer(
        url,
        bearer,
        sleep=time.sleep,
        clock=lambda: datetime.now(UTC),
        tell=lambda text: say(f"{text}."),
        proxies=proxies,
    )


def bookmark_of(*names: str) -> Bookmark:
    """The bookmark of this name among the caller's own."""
    from ingest.bookmarks import Bookmark, state_folder

    return Bookmark(state_folder(os.environ, Path.home()), *names)


@contextmanager
def told_when_interrupted() -> Iterator[None]:
    """Ctrl-C loses nothing: the person is told how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        say("Stopped. What was acknowledged is kept: run the same command again to go on.")
        raise typer.Exit(INTERRUPTED) from None


def _bring_in(name: str, server: Receiving, kind: Kind | None, *, restart: bool) -> Outcome:
    if name == "-":
        return _through(sys.stdin.buffer, name, None, server, kind, None, {})
    from ingest.bookmarks import identity_of, is_continued

    path = Path(name).resolve()
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        size, modified = about.st_size, about.st_mtime_ns
        if not file.seekable():
            return _through(file, name, None, server, kind, None, {})
        bookmark = bookmark_of(*server.names, str(path), str(kind))
        if restart:
            bookmark.forget()
        before = bookmark.read()
        if before is not None and not is_continued(file, size, modified, before):
            say(f"{visible(name)} was changed since it was taken in: beginning at its start.")
            bookmark.forget()
        identity = identity_of(file, size, modified)
        return _through(file, name, size, server, kind, bookmark, identity)


def _through(
    file: BinaryIO,
    name: str,
    size: int | None,
    server: Receiving,
    kind: Kind | None,
    bookmark: Bookmark | None,
    identity: dict[str, Any],
) -> Outcome:
    from ingest.errors import HistoryUnreadable
    from ingest.history_files import HistoryFile

    named = 0

    def tell(item: Unreadable) -> None:
        nonlocal named
        named += 1
        if named <= MAX_NAMED:
            warn(f"{visible(name)}:{item.place}: {visible(item.reason)}")

    with progress_bar(name, size) as advance:
        history = HistoryFile(file, name, server.peer, kind=kind, tell=tell, advance=advance)
        try:
            outcome = history.bring_in(bookmark, identity)
        except HistoryUnreadable as error:
            raise HistoryUnreadable(f"{visible(name)}: {error.detail}") from error
    if named > MAX_NAMED:
        warn(f"{visible(name)}: {named - MAX_NAMED} more could not be taken in")
    return outcome
