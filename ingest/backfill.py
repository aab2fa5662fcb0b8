"""What PostHog and GlitchTip hold already, brought in page by page from where an earlier run ended.

Invariant: a place is kept once all that lies before it was acknowledged and not before, so that a
run that was cut off, or begun by another process, goes on there. What comes twice is one fact. A
place is plain data; :mod:`ingest.pull_posthog` and :mod:`ingest.pull_glitchtip` say what it means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ingest import pull_glitchtip, pull_posthog
from ingest.delivery import Delivered
from ingest.history_records import Record, Unreadable, requests_of
from ingest.patience import Peer

OVERLAP: Final = timedelta(hours=1)
"""A run over errors begins this much before the last one did: clocks differ, and events come
late."""

Place = Mapping[str, Any]
Deliver = Callable[[Sequence[Record | Unreadable]], Delivered]


@dataclass(frozen=True)
class Step:
    """Records in order, and the place behind them. ``reached`` is the moment up to which a history
    that is in order was read, in microseconds since 1970."""

    records: tuple[Record | Unreadable, ...]
    place: Place
    reached: int | None = None


@dataclass(frozen=True)
class BroughtIn:
    """How many records became facts, and how many could not."""

    taken_in: int = 0
    not_taken_in: int = 0


def posthog(
    source: Peer, project: str, place: Place | None, since: datetime, until: datetime
) -> Iterator[Step]:
    """The product events of a project's number in PostHog before ``until``: behind the place, or
    from ``since`` on. Raises as :func:`ingest.pull_posthog.pages` does."""
    mark = pull_posthog.mark_of(place) or pull_posthog.Mark(microseconds(since))
    for page in pull_posthog.pages(source, project, mark, until):
        yield Step(page.records, page.mark.document(), page.mark.time)


def glitchtip(
    source: Peer,
    organisation: str,
    place: Place | None,
    since: datetime,
    begun: datetime,
    project: str | None = None,
) -> Iterator[Step]:
    """The error events of an organisation in GlitchTip since then, or since the run before began.

    ``begun`` is now. The last step has no records: from its place the next run begins. Raises as
    :func:`ingest.pull_glitchtip.pages` does.
    """
    before = place or {}
    since = datetime.fromisoformat(before["since"]) if "since" in before else since
    # What this run began with, also where it goes on with one that was cut off.
    begun = datetime.fromisoformat(before["begun"]) if "begun" in before else begun
    first = pull_glitchtip.place_of(before)
    for page in pull_glitchtip.pages(source, organisation, first, since, project):
        stands = {"since": since.isoformat(), "begun": begun.isoformat()}
        yield Step(page.records, page.place.document() | stands)
    yield Step((), {"since": (begun - OVERLAP).isoformat()} | pull_glitchtip.Place().document())


def bring_in(
    steps: Iterable[Step],
    deliver: Deliver,
    keep: Callable[[Step, BroughtIn], None],
    tell: Callable[[Unreadable], None] = lambda item: None,
) -> BroughtIn:
    """Deliver each step and keep its place; ``tell`` is told of each record that can't be taken
    in."""
    so_far = BroughtIn()
    for step in steps:
        for group in requests_of(step.records):
            result = deliver(group)
            so_far = replace(
                so_far,
                taken_in=so_far.taken_in + result.records,
                not_taken_in=so_far.not_taken_in + len(result.refused),
            )
            for item in result.refused:
                tell(item)
        keep(step, so_far)
    return so_far


def utc(moment: datetime) -> datetime:
    """The moment, in UTC where it says no zone."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Since 1970-01-01 UTC."""
    return round(moment.timestamp() * 10**6)
