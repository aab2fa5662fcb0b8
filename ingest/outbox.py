"""Requests that are still to be forwarded, in the inbox's own file.

Invariant: what is to be forwarded is durable in the same commit as the batch it came with, so a
client that was answered 2xx has lost nothing of the product behind. Each upstream of a project is
a lane: its requests leave in the order they came, and stay until they were delivered or refused.
Each is sealed under a key of its own, and both go when it does; erasing a batch erases the request
that it came with.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter

from ingest.evidence import Secret, seal, unseal
from ingest.inbox_file import InboxFile
from ingest.sender import Sender
from ingest.upstream import Arrival, Outgoing, Upstream, outgoing

MAX_BYTES: Final = 1 << 30
"""Of one lane; when there is more, the oldest go."""

UNFORWARDED = Counter(
    "fractalops_unforwarded_total",
    "Requests that can't be forwarded without a key of this server in them.",
    ["project", "kind"],
)

Lane = tuple[str, str]
"""Project and kind of upstream."""

FindUpstream = Callable[[str, str], Upstream | None]
"""The upstream of a project and a kind, if there is one."""


@dataclass(frozen=True)
class Waiting:
    """What a lane holds: so many requests of so many bytes."""

    requests: int
    bytes: int


class Outbox:
    """The lanes in one file. ``random(n)`` gives n secret bytes."""

    def __init__(self, file: InboxFile, find: FindUpstream, random: Callable[[int], bytes]) -> None:
        self._file = file
        self._find = find
        self._random = random
        self.on_arrival: Callable[[Lane], None] = lambda lane: None

    def upstream(self, project: str, kind: str) -> Upstream | None:
        return self._find(project, kind) if kind else None

    def writing(
        self, sender: Sender, kind: str, arrival: Arrival
    ) -> Callable[[sqlite3.Connection, int | None], None] | None:
        """What puts a request into its lane, beside the batch of this number if it has one;
        ``None`` where nothing is behind the project, or a key of ours would go along."""
        there = self.upstream(sender.project, kind)
        if there is None:
            return None
        request = outgoing(arrival, there)
        if request is None:
            UNFORWARDED.labels(sender.project, kind).inc()
            return None
        sealed = seal(request.sealed(), self._random)
        secret = sealed.secret

        def write(connection: sqlite3.Connection, batch: int | None) -> None:
            number = connection.execute(
                "INSERT INTO outbox (batch, project, kind, digest, size, ciphertext)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (batch, sender.project, kind, sealed.digest, sealed.size, sealed.ciphertext),
            ).lastrowid
            connection.execute(
                "INSERT INTO outbox_key VALUES (?, ?, ?, ?)",
                (number, secret.key, secret.salt, secret.payload_sha256),
            )

        return write

    async def put(self, sender: Sender, kind: str, arrival: Arrival) -> None:
        """Make a request that brought no batch durable, where something is behind the project."""
        write = self.writing(sender, kind, arrival)
        if write is not None:
            await self._file.written(lambda connection: write(connection, None))
            self.on_arrival((sender.project, kind))

    def lanes(self) -> tuple[Lane, ...]:
        """The lanes that hold something."""
        return tuple(self._file.rows("SELECT DISTINCT project, kind FROM outbox ORDER BY 1, 2"))

    def waiting(self, lane: Lane) -> Waiting:
        ((requests, size),) = self._file.rows(
            "SELECT count(*), coalesce(sum(size), 0) FROM outbox WHERE project = ? AND kind = ?",
            lane,
        )
        return Waiting(requests, size)

    def first(self, lane: Lane) -> tuple[int, Outgoing] | None:
        """The number and the request that leaves this lane next."""
        rows = self._file.rows(
            "SELECT outbox.id, digest, ciphertext, key, salt, payload_sha256 FROM outbox"
            " JOIN outbox_key ON outbox_key.id = outbox.id"
            " WHERE project = ? AND kind = ? ORDER BY outbox.id LIMIT 1",
            lane,
        )
        for number, digest, ciphertext, key, salt, sha256 in rows:
            return number, Outgoing.opened(unseal(digest, ciphertext, Secret(key, salt, sha256)))
        return None

    def remove(self, number: int) -> None:
        """Let go of a request, durably."""
        self._file.write(lambda connection: forget(connection, "id = ?", (number,)))

    def clear(self, lane: Lane) -> int:
        """Let go of everything in a lane; how many requests that were."""
        return self._file.write(
            lambda connection: forget(connection, "project = ? AND kind = ?", lane)
        )

    def shorten(self, lane: Lane, most: int = MAX_BYTES) -> int:
        """Let go of the oldest requests of a lane that holds more than so many bytes."""
        gone = 0
        while self.waiting(lane).bytes > most:
            ((number,),) = self._file.rows(
                "SELECT min(id) FROM outbox WHERE project = ? AND kind = ?", lane
            )
            self.remove(number)
            gone += 1
        return gone

    def fold(self) -> None:
        """Leave no trace of what is gone in the write-ahead log."""
        self._file.fold()


def forget(connection: sqlite3.Connection, which: str, values: tuple[object, ...]) -> int:
    """Let go of the requests for which a condition holds, in the commit at hand; how many."""
    connection.execute(
        f"DELETE FROM outbox_key WHERE id IN (SELECT id FROM outbox WHERE {which})", values
    )
    return connection.execute(f"DELETE FROM outbox WHERE {which}", values).rowcount
