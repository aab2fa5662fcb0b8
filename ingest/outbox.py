"""Requests that are still to be forwarded, in the inbox's own file.

Invariant: what is to be forwarded is durable in the same commit as the batch it came with, so a
client that was answered 2xx has lost nothing of the product behind. Each upstream of a project is
a lane: its requests leave in the order they came, and stay until they were delivered or refused,
have waited for too long, or have to make room; whichever it was is counted in the commit that
removes them. Each is sealed under a key of its own, and both go when it does; erasing a batch
erases the request that it came with.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter

from ingest import outbox_tally
from ingest.evidence import Secret, seal, unseal
from ingest.inbox_file import InboxFile
from ingest.outbox_entry import BOUNDS, Bounds, Entry, forget
from ingest.outbox_tally import FORWARDED, Lane, Outcome, Tally
from ingest.sender import Sender
from ingest.upstream import Arrival, Outgoing, Upstream, outgoing

DAYS: Final = 7
"""For so long a request waits."""

UNFORWARDED = Counter(
    "fractalops_unforwarded_total",
    "Requests that can't be forwarded without a key of this server in them.",
    ["project", "kind"],
)

_DAY = 24 * 3600 * 10**9

FindUpstream = Callable[[str, str], Upstream | None]
"""The upstream of a project and a kind, if there is one."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a lane holds: so many requests of so many bytes."""

    requests: int
    bytes: int


class Outbox:
    """The lanes in one file. ``random(n)`` gives n secret bytes, ``clock`` nanoseconds since
    1970-01-01 UTC; ``days`` is how long a request may wait, 0 for ever."""

    def __init__(
        self,
        file: InboxFile,
        find: FindUpstream,
        random: Callable[[int], bytes],
        *,
        clock: Callable[[], int] = time.time_ns,
        days: int = DAYS,
        bounds: Bounds = BOUNDS,
    ) -> None:
        self._file = file
        self._find = find
        self._random = random
        self._clock = clock
        self._bounds = bounds
        self.days = days
        self.on_arrival: Callable[[Lane], None] = lambda lane: None
        self._file.write(self._date)

    def upstream(self, project: str, kind: str) -> Upstream | None:
        return self._find(project, kind) if kind else None

    def writing(self, sender: Sender, kind: str, arrival: Arrival) -> Entry | None:
        """What puts a request into its lane; ``None`` where nothing is behind the project, or a key
        of ours would go along. Who wrote it says so to :meth:`landed`."""
        there = self.upstream(sender.project, kind)
        if there is None:
            return None
        request = outgoing(arrival, there)
        if request is None:
            UNFORWARDED.labels(sender.project, kind).inc()
            return None
        sealed = seal(request.sealed(), self._random)
        return Entry((sender.project, kind), sealed, self._clock(), self._bounds)

    def landed(self, entry: Entry) -> None:
        """A request is durable: it may leave from now on."""
        for lane, number in entry.dropped.items():
            _tell(lane, "dropped", number, "too much waits for the upstream")
        self.on_arrival(entry.lane)

    async def put(self, sender: Sender, kind: str, arrival: Arrival) -> None:
        """Make a request that brought no batch durable, where something is behind the project."""
        entry = self.writing(sender, kind, arrival)
        if entry is not None:
            await self._file.written(lambda connection: entry(connection, None))
            self.landed(entry)

    def tallies(self) -> tuple[Tally, ...]:
        """What each lane holds, and what became of the rest."""
        return outbox_tally.tallies(self._file)

    def oldest_seconds(self, tally: Tally) -> int:
        """For how long the oldest request of a lane waits."""
        return tally.oldest_seconds(self._clock())

    def lanes(self) -> tuple[Lane, ...]:
        """The lanes that hold something."""
        return tuple((each.project, each.kind) for each in self.tallies() if each.waiting)

    def waiting(self, lane: Lane) -> Waiting:
        row = self._file.row(
            "SELECT requests, bytes FROM outbox_tally WHERE project = ? AND kind = ?", lane
        )
        return Waiting(*(row or (0, 0)))

    def first(self, lane: Lane) -> tuple[int, Outgoing] | None:
        """The number and the request that leaves this lane next."""
        row = self._file.row(
            "SELECT outbox.id, digest, ciphertext, key, salt, payload_sha256 FROM outbox"
            " JOIN outbox_key ON outbox_key.id = outbox.id"
            " WHERE project = ? AND kind = ? ORDER BY outbox.id LIMIT 1",
            lane,
        )
        if row is None:
            return None
        number, digest, ciphertext, key, salt, sha256 = row
        return number, Outgoing.opened(unseal(digest, ciphertext, Secret(key, salt, sha256)))

    def settle(self, lane: Lane, number: int, outcome: Outcome, why: str = "") -> None:
        """Let go of a request, durably, and count what became of it, unless it is gone already."""
        if self._let_go(lane, outcome, "id = ?", (number,), why):
            FORWARDED.labels(*lane, outcome).inc()

    def clear(self, lane: Lane) -> None:
        """Let go of everything in a lane."""
        gone = self._let_go(lane, "dropped", "project = ? AND kind = ?", lane)
        _tell(lane, "dropped", gone, "there is no upstream any more")

    def expire(self, lane: Lane) -> int:
        """Let go of what has waited in a lane for too long; how much that was."""
        if not self.days:
            return 0
        before = self._clock() - self.days * _DAY
        head = self._file.row(
            "SELECT put_at FROM outbox JOIN outbox_time USING (id)"
            " WHERE project = ? AND kind = ? ORDER BY id LIMIT 1",
            lane,
        )
        if head is None or head[0] >= before:
            return 0
        which = "project = ? AND kind = ? AND id IN (SELECT id FROM outbox_time WHERE put_at < ?)"
        gone = self._let_go(lane, "given_up", which, (*lane, before))
        _tell(lane, "given_up", gone, f"they have waited for more than {self.days} days")
        self.fold()
        return gone

    def begin(self, lane: Lane) -> None:
        """Count from nought what becomes of a lane's requests: another product is behind it."""
        self._file.write(lambda connection: outbox_tally.begin(connection, lane))

    def fold(self) -> None:
        """Leave no trace of what is gone in the write-ahead log."""
        self._file.fold()

    def _let_go(
        self, lane: Lane, outcome: Outcome, which: str, values: tuple[object, ...], why: str = ""
    ) -> int:
        def job(connection: sqlite3.Connection) -> int:
            gone = forget(connection, which, values)
            if gone:
                outbox_tally.count(connection, lane, outcome, gone, why)
            return gone

        return self._file.write(job)

    def _date(self, connection: sqlite3.Connection) -> None:
        """A version that noted no time may have put requests here."""
        connection.execute(
            "INSERT INTO outbox_time SELECT id, coalesce(received_at, ?) FROM outbox"
            " LEFT JOIN batch ON batch.seq = outbox.batch"
            " WHERE id NOT IN (SELECT id FROM outbox_time)",
            (self._clock(),),
        )


def _tell(lane: Lane, outcome: Outcome, number: int, why: str) -> None:
    """Say of requests that were lost that they were."""
    if number:
        FORWARDED.labels(*lane, outcome).inc(number)
        log.error("%d requests to %s of project %s are lost: %s", number, *lane[::-1], why)
