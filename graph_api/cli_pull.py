"""``fractalops pull``: what PostHog and GlitchTip already hold becomes facts.

Invariant: a page is remembered once all of it was acknowledged and not before, so that a pull that
was cut off goes on there; the token is taken from the environment, never from the command line, and
is sent to the named server alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graph_api.cli_ingest import (
    MAX_NAMED,
    KeyOption,
    ProjectOption,
    Receiving,
    bookmark_of,
    peer_at,
    receiving,
    told_when_interrupted,
)
from graph_api.cli_output import Output, show_facts, visible, warn
from graph_api.cli_progress import progress_bar
from graph_api.cli_session import DataOption, OutputOption, output_format
from runtime.local_urls import is_loopback

if TYPE_CHECKING:
    from ingest.backfill import BroughtIn, Step
    from ingest.history_records import Unreadable
    from ingest.patience import Peer

# Not asked for where a place says it.
_FROM_THE_PLACE = datetime.fromtimestamp(0, UTC)

Url = Annotated[
    str, typer.Option("--url", metavar="URL", help="The address of the server to pull from.")
]
Since = Annotated[
    datetime | None,
    typer.Option(
        "--since",
        metavar="DATE",
        formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"],
        help="The first day or moment, UTC; later runs go on where the last one ended.",
    ),
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Begin at --since, wherever an earlier run ended.")
]

pull = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(pull, name="pull", help="Take in what PostHog and GlitchTip hold already.")


@pull.command("posthog")
def posthog(
    context: typer.Context,
    number: Annotated[
        str, typer.Argument(metavar="NUMBER", help="The project's number in PostHog.")
    ],
    url: Url,
    since: Since = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            "--until",
            metavar="DATE",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"],
            help="The end, which is not part of it (default: now).",
        ),
    ] = None,
    token_variable: Annotated[
        str,
        typer.Option(
            "--token-env",
            metavar="NAME",
            help="The variable that holds a personal API key with the scope query:read.",
        ),
    ] = "POSTHOG_PERSONAL_API_KEY",
    project: ProjectOption = None,
    key: KeyOption = None,
    restart: Restart = False,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Take in the events of a PostHog project, oldest first.

    Cut off, the same command goes on behind the last page. What reaches PostHog afterwards with an
    earlier time comes with --restart. What comes twice is one fact.

    \b
    Example:
        fractalops pull posthog 17 --project shop --url https://eu.posthog.com --since 2026-01-01
    """
    from ingest.backfill import microseconds, utc
    from ingest.backfill import posthog as posthog_steps
    from ingest.pull_posthog import mark_of

    if not (number.isascii() and number.isdigit()):
        raise typer.BadParameter("the project's number in PostHog is a number, as in its settings")
    shown = output_format(context, output)
    with receiving(context, data, project, key) as server, _source(url, token_variable) as source:
        bookmark = bookmark_of(*server.names, "posthog", source.url, number)
        if restart:
            bookmark.forget()
        place = bookmark.read()
        mark = mark_of(place)
        first = utc(_said(since)) if mark is None else _FROM_THE_PLACE
        start = microseconds(first) if mark is None else mark.time
        end = utc(until) if until else datetime.now(UTC)
        counts = _Counts("PostHog", server)
        with told_when_interrupted(), progress_bar("PostHog", microseconds(end) - start) as advance:

            def keep(step: Step, so_far: BroughtIn) -> None:
                bookmark.keep(step.place)
                advance((step.reached or start) - start)

            counts.bring_in(posthog_steps(source, number, place, first, end), keep)
    counts.show(shown)


@pull.command("glitchtip")
def glitchtip(
    context: typer.Context,
    organisation: Annotated[
        str,
        typer.Argument(metavar="ORGANISATION", help="The organisation's slug in GlitchTip."),
    ],
    url: Url,
    number: Annotated[
        str | None,
        typer.Option(
            "--source-project",
            metavar="N",
            help="The project's number in GlitchTip (default: all the token sees).",
        ),
    ] = None,
    since: Since = None,
    token_variable: Annotated[
        str,
        typer.Option(
            "--token-env",
            metavar="NAME",
            help="The variable that holds a token with the scopes org:read, project:read and"
            " event:read.",
        ),
    ] = "GLITCHTIP_TOKEN",
    project: ProjectOption = None,
    key: KeyOption = None,
    restart: Restart = False,
    data: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Take in the error events of GlitchTip (or Sentry), issue by issue.

    Cut off, the same command goes on behind the last page. What comes twice is one fact.

    \b
    Example:
        fractalops pull glitchtip acme --project shop --url https://gt.example --since 2026-01-01
    """
    from ingest.backfill import glitchtip as glitchtip_steps
    from ingest.backfill import utc

    shown = output_format(context, output)
    begun = datetime.now(UTC)
    with receiving(context, data, project, key) as server, _source(url, token_variable) as source:
        bookmark = bookmark_of(*server.names, "glitchtip", source.url, organisation, number or "")
        if restart:
            bookmark.forget()
        place = bookmark.read()
        first = _FROM_THE_PLACE if place and "since" in place else utc(_said(since))
        counts = _Counts("GlitchTip", server)
        with told_when_interrupted(), progress_bar("GlitchTip", None):
            counts.bring_in(
                glitchtip_steps(source, organisation, place, first, begun, number),
                lambda step, so_far: bookmark.keep(step.place),
            )
    counts.show(shown)


class _Counts:
    """What became of the records of one pull."""

    def __init__(self, source: str, server: Receiving) -> None:
        self._source = source
        self._server = server
        self._taken_in = self._not_taken_in = 0

    def bring_in(self, steps: Iterator[Step], keep: Callable[[Step, BroughtIn], None]) -> None:
        """Deliver what a source holds; what can't be taken in is named."""
        from ingest.backfill import bring_in
        from ingest.delivery import deliver

        found = bring_in(steps, lambda group: deliver(self._server.peer, group), keep, self._tell)
        self._taken_in, self._not_taken_in = found.taken_in, found.not_taken_in

    def _tell(self, item: Unreadable) -> None:
        self._not_taken_in += 1
        if self._not_taken_in <= MAX_NAMED:
            warn(f"{self._source}:{item.place}: {visible(item.reason)}")

    def show(self, output: Output) -> None:
        """Print the numbers; exit code 1 where something was not taken in."""
        facts: dict[str, Any] = {
            "source": self._source,
            "taken_in": self._taken_in,
            "not_taken_in": self._not_taken_in,
        }
        show_facts(facts, output, whole=facts)
        if self._not_taken_in:
            raise typer.Exit(1)


def _source(url: str, variable: str) -> Peer:
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"the URL must start with http:// or https://, not {url!r}")
    token = os.environ.get(variable, "")
    if not token:
        raise typer.BadParameter(f"set the variable {variable} to a token of {url}")
    return peer_at(url, token, proxies=not is_loopback(url))


def _said(since: datetime | None) -> datetime:
    if since is None:
        raise typer.BadParameter("say with --since from when on; nothing was pulled here before")
    return since
