"""What waits for a person: kept by each steward until the graph has it or somebody said no.

Invariant: a steward keeps at most ``MAX_THINGS`` things that wait, whole with what is said of them;
what comes when there is no room is counted and comes again when it is seen again. What was admitted
is noted by the hour. All of it lies beside the watermarks, so that it survives a restart; where the
file is lost the facts are read again, and so is this.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import Counter as Metric

from ontology.terms import from_nquads, line
from stewards.claim_set import Claim
from stewards.new_things import kind_of, needing
from stewards.watermark import WatermarkStore

MAX_THINGS = 500
MAX_CLAIMS = 5_000
HOUR = 3600.0

HELD = Metric(
    "fractalops_claims_held_total",
    "Claims that a steward did not propose to apply at once.",
    ["project", "reason"],
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS waiting (
  steward TEXT NOT NULL, quad BLOB NOT NULL, reason TEXT NOT NULL, claim TEXT NOT NULL,
  PRIMARY KEY (steward, quad)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS turned_away (
  steward TEXT NOT NULL, what TEXT NOT NULL, times INTEGER NOT NULL, PRIMARY KEY (steward, what)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS admitted (
  steward TEXT NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL, things INTEGER NOT NULL
) STRICT;
"""


class Waiting:
    """What waits of one steward. Times are seconds since 1970."""

    def __init__(self, store: WatermarkStore, steward: str, project: str) -> None:
        self._store = store
        self._steward = steward
        self._project = project
        with store.transaction() as database:
            for statement in _SCHEMA.split(";"):
                database.execute(statement)

    def add(self, claims: Sequence[Claim], reason: str) -> int:
        """Keep these claims as far as there is room; how many were new."""
        waiting = [claim for claim, _ in self.all()]
        known = {claim.quad for claim in waiting}
        things = {claim.introduces for claim in waiting} - {None}
        fresh = [claim for claim in claims if claim.quad not in known]
        room = MAX_THINGS - len(things)
        new = list(dict.fromkeys(claim.about for claim in fresh if claim.introduces))
        turned_away = set(new[max(0, room) :])
        lost = set(needing(fresh, turned_away)) if turned_away else set()
        kept = [claim for claim in fresh if claim not in lost][: max(0, MAX_CLAIMS - len(known))]
        counts = Counter(filter(None, map(kind_of, lost)))
        with self._store.transaction() as database:
            database.executemany(
                "INSERT OR IGNORE INTO waiting VALUES (?, ?, ?, ?)",
                ((self._steward, line(claim.quad), reason, _written(claim)) for claim in kept),
            )
            database.executemany(
                "INSERT INTO turned_away VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET times = times + excluded.times",
                ((self._steward, kind, times) for kind, times in counts.items()),
            )
        HELD.labels(self._project, reason).inc(len(fresh))
        return len(kept)

    def all(self) -> list[tuple[Claim, str]]:
        """Every claim that waits, with the reason, in the order of claims."""
        with self._store.transaction() as database:
            rows = database.execute(
                "SELECT quad, reason, claim FROM waiting WHERE steward = ?", (self._steward,)
            ).fetchall()
        found = [(_read(quad, claim), reason) for quad, reason, claim in rows]
        return sorted(found, key=lambda item: (item[0].rank, item[0].about, str(item[0].quad)))

    def forget(self, claims: Iterable[Claim]) -> None:
        """Claims that wait no longer."""
        with self._store.transaction() as database:
            database.executemany(
                "DELETE FROM waiting WHERE steward = ? AND quad = ?",
                ((self._steward, line(claim.quad)) for claim in claims),
            )

    def turned_away(self) -> Mapping[str, int]:
        """How often things of each kind found no room, since something began to wait."""
        with self._store.transaction() as database:
            rows = database.execute(
                "SELECT what, times FROM turned_away WHERE steward = ? ORDER BY what",
                (self._steward,),
            ).fetchall()
        return dict(rows)

    def begin_again(self) -> None:
        """Nothing waits: what found no room is past."""
        with self._store.transaction() as database:
            database.execute("DELETE FROM turned_away WHERE steward = ?", (self._steward,))

    def note_admitted(self, kinds: Mapping[str, int], now: float) -> None:
        """Things that got into the graph by themselves."""
        with self._store.transaction() as database:
            database.execute("DELETE FROM admitted WHERE at <= ?", (now - HOUR,))
            database.executemany(
                "INSERT INTO admitted VALUES (?, ?, ?, ?)",
                ((self._steward, kind, now, things) for kind, things in kinds.items()),
            )

    def admitted(self, now: float) -> Mapping[str, int]:
        """How many of each kind did in the hour before ``now``."""
        with self._store.transaction() as database:
            rows = database.execute(
                "SELECT kind, sum(things) FROM admitted WHERE steward = ? AND at > ? GROUP BY kind",
                (self._steward, now - HOUR),
            ).fetchall()
        return dict(rows)


def _written(claim: Claim) -> str:
    return json.dumps([claim.evidence, claim.rank, claim.about, sorted(claim.needs)])


def _read(quad: bytes, text: str) -> Claim:
    evidence, rank, about, needs = json.loads(text)
    (stated,) = from_nquads(quad)
    return Claim(
        stated, tuple((seq, digest) for seq, digest in evidence), rank, about, frozenset(needs)
    )
