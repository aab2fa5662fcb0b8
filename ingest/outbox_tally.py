"""What each lane of the outbox holds, and what became of the requests that left it.

Invariant: the counts lie in the inbox's file and change in the commit that adds or removes what
they count, so they say the same after a restart or a crash. They begin when the upstream is stated:
what another product was sent before is not its own.
Source of the triggers: https://www.sqlite.org/lang_createtrigger.html
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final, Literal, get_args

from prometheus_client import Counter, Gauge

from ingest.inbox_file import InboxFile

FORWARDED = Counter(
    "fractalops_forwarded_total",
    "Requests put to the product behind a project.",
    ["project", "kind", "outcome"],
)
ENTRIES = Gauge(
    "fractalops_outbox_entries",
    "Requests that wait for the product behind a project.",
    ["project", "product"],
)
OLDEST = Gauge(
    "fractalops_outbox_oldest_seconds",
    "For how long the oldest of them waits; 0 where none does.",
    ["project", "product"],
)

Lane = tuple[str, str]
"""Project and kind of upstream."""

Outcome = Literal["delivered", "refused", "dropped", "given_up"]
"""Taken by the product, or refused by it; dropped for want of room or of an upstream, or given up
because it waited for too long."""

OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

_MOST_SAID = 200
_SECOND = 10**9


@dataclass(frozen=True, slots=True)
class Tally:
    """One lane: what waits in it, when the oldest of that came (nanoseconds since 1970-01-01 UTC;
    ``None`` where nothing waits), and how many requests had which outcome."""

    project: str
    kind: str
    waiting: int
    waiting_bytes: int
    delivered: int
    refused: int
    dropped: int
    given_up: int
    last_refusal: str
    oldest: int | None

    def oldest_seconds(self, now: int) -> int:
        """For how long the oldest request waits."""
        return 0 if self.oldest is None else max(0, now - self.oldest) // _SECOND


def tallies(file: InboxFile) -> tuple[Tally, ...]:
    """Every lane that ever held something, by project and kind."""
    rows = file.rows(
        "SELECT project, kind, requests, bytes, delivered, refused, dropped, given_up,"
        " last_refusal, (SELECT put_at FROM outbox JOIN outbox_time USING (id)"
        "  WHERE outbox.project = outbox_tally.project AND outbox.kind = outbox_tally.kind"
        "  ORDER BY outbox.id LIMIT 1)"
        " FROM outbox_tally ORDER BY project, kind"
    )
    return tuple(Tally(*row) for row in rows)


def count(
    connection: sqlite3.Connection, lane: Lane, outcome: Outcome, number: int, why: str = ""
) -> None:
    """Count requests that left a lane, in the commit at hand; ``why`` is of a refusal."""
    assert outcome in OUTCOMES
    connection.execute(
        f"UPDATE outbox_tally SET {outcome} = {outcome} + ?,"
        " last_refusal = CASE WHEN ? = '' THEN last_refusal ELSE ? END"
        " WHERE project = ? AND kind = ?",
        (number, why, why[:_MOST_SAID], *lane),
    )


def begin(connection: sqlite3.Connection, lane: Lane) -> None:
    """Count from nought what becomes of a lane's requests, in the commit at hand."""
    connection.execute(
        "UPDATE outbox_tally SET delivered = 0, refused = 0, dropped = 0, given_up = 0,"
        " last_refusal = '' WHERE project = ? AND kind = ?",
        lane,
    )
