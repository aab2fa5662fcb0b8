"""Erases evidence: says so in the proof log first, then destroys what opens it.

Invariant: the journal is the truth. A payload is destroyed by following the journal's erasure
entries, and no other way, so that what a crash or a restored backup left undone is done at the next
start; doing it again changes nothing. Every proof stays valid: the commitments stay.

Crash windows: before the entry nothing happened; after it, :meth:`Eraser.follow` goes on from the
cursor that the inbox keeps, which moves only when keys and facts are gone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ingest.errors import IngestError, WarehouseUnavailable
from ingest.evidence import EvidenceBatch
from ingest.inbox import Inbox
from ingest.posthog import PERSON
from ingest.pseudonyms import Pseudonyms
from ingest.pump import Pump
from ingest.warehouse import Warehouse
from proofs.audit import AuditCheck
from proofs.erasure import KIND, MAX_COMMITMENTS, Erasure
from proofs.errors import ProofError
from proofs.index import Index
from proofs.journal import Journal
from proofs.ledger import Ledger
from proofs.log_keys import LogKeys
from proofs.projections import load_entry

LOGGER = logging.getLogger(__name__)

SWEEP = 600.0
"""Seconds between two looks for payloads that are too old, and for erasures left undone."""
PATIENCE = 30.0
"""Seconds that the pump gets to be done with the batches whose facts are to go."""

_CURSOR = "erasures"


@dataclass(frozen=True)
class Told:
    """An erasure as it is told: entry of the proof log, when, by whom, and why."""

    entry: int
    at: str
    by: str
    reason: str


@dataclass(frozen=True)
class Looked:
    """What a look came to: earlier entries of the log that it carried out, and those it made of
    payloads that are too old."""

    carried_out: int
    made: int


class Eraser:
    """Erases on request and by age. Safe to use from any thread.

    ``policy`` is the principal in whose name payloads go that are older than ``days`` (0: none).
    """

    def __init__(
        self,
        ledger: Ledger,
        journal: Journal,
        index: Index,
        keys: LogKeys,
        inbox: Inbox,
        warehouse: Warehouse,
        pump: Pump,
        pseudonyms: Pseudonyms,
        *,
        clock: Callable[[], datetime],
        policy: str,
        days: int,
    ) -> None:
        self._ledger = ledger
        self._journal = journal
        self._index = index
        self._keys = keys
        self._inbox = inbox
        self._warehouse = warehouse
        self._pump = pump
        self._pseudonyms = pseudonyms
        self._clock = clock
        self._policy = policy
        self._days = days
        self._on_erased: list[Callable[[Collection[str]], None]] = []
        self._following = threading.Lock()
        self._looking = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="evidence-eraser", daemon=True)

    def on_erased(self, forget: Callable[[Collection[str]], None]) -> None:
        """Has ``forget`` called with the commitments of payloads that are gone, by whoever holds
        what was in them elsewhere."""
        self._on_erased.append(forget)

    def start(self) -> None:
        """Finish what was left undone, then look regularly for what has become too old."""
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def of_project(self, project: str, before: datetime, *, facts: bool) -> Erasure:
        """What erasing a project's payloads received before this moment would take; with ``facts``
        also what became of those that are gone."""
        batches = self._inbox.evidence.batches(
            project=project, before=_nanoseconds(before), kept=not facts, limit=MAX_COMMITMENTS
        )
        return Erasure("project", _digests(batches), project, before.isoformat(), facts=facts)

    def of_batches(self, digests: Sequence[str], *, facts: bool) -> Erasure:
        """The same for payloads by their commitments; unknown ones are left out."""
        found = [self._inbox.evidence.find(digest) for digest in dict.fromkeys(digests)]
        batches = [b for b in found if b is not None and (facts or b.payload_sha256)]
        projects = {batch.project for batch in batches}
        # What a run on an asset of no project left behind is of none.
        project = (projects.pop() or None) if len(projects) == 1 else None
        return Erasure("batch", _digests(batches), project, facts=facts)

    def of_person(self, project: str, identifier: str, *, facts: bool) -> Erasure:
        """The same for the payloads in which a project's client named this person, of whose facts
        those about that person go."""
        person = self._pseudonyms.of(project, identifier)
        quoted = project.replace("\\", "\\\\").replace("'", "\\'")
        rows = self._warehouse.query(
            f"SELECT DISTINCT batch FROM events WHERE project = '{quoted}'"
            f" AND attributes['{PERSON}'] = '{person}' ORDER BY batch",
            max_rows=MAX_COMMITMENTS,
        ).rows
        batches = tuple(batch for (batch,) in rows)
        return Erasure("person", batches, project, person=person, facts=facts)

    def erase(self, principal: str, erasure: Erasure, reason: str) -> tuple[int, bool]:
        """Record an erasure and carry it out: its entry, and whether all of it is done by now.

        Raises :class:`proofs.errors.ProofError` where it can't be recorded; nothing is gone then.
        """
        entry = self._ledger.erase(principal, erasure, reason)
        try:
            self.follow()
        except IngestError as error:
            LOGGER.warning("entry %d is carried out later: %s", entry, error)
            return entry, False
        return entry, True

    def follow(self) -> int:
        """Carry out what the journal says and is not done yet; how many entries that were."""
        with self._following:
            start = int(self._inbox.state(_CURSOR) or 0)
            head = self._journal.head()
            # A cursor beyond the journal is that of another one.
            entries = self._index.of_kind(KIND, start if start <= head + 1 else 0)
            for number in entries:
                self._carry_out(number)
                self._inbox.set_state(_CURSOR, str(number + 1))
            return len(entries)

    def told(self, number: int) -> Told:
        """An erasure by its entry of the proof log."""
        entry = load_entry(self._journal, number, self._journal.leaf(number), self._keys)
        (decision,) = entry.proof.decisions
        reason = entry.reasons.get(decision.reason_sha256 or "", "")
        return Told(number, entry.proof.time, decision.by, reason)

    def sweep(self) -> int:
        """Erase the payloads that are too old and facts by now; how many entries that made."""
        if not self._days:
            return 0
        before = self._clock() - timedelta(days=self._days)
        reason = f"received more than {self._days} days ago"
        entries = 0
        while not self._stopping.is_set():
            batches = self._inbox.evidence.batches(
                before=_nanoseconds(before), kept=True, limit=MAX_COMMITMENTS
            )
            old = [batch for batch in batches if batch.seq <= self._inbox.cursor]
            if not old:
                break
            erasure = Erasure("age", _digests(old), before=before.isoformat())
            entries += 1
            if not self.erase(self._policy, erasure, reason)[1]:
                break
        return entries

    def look(self) -> Looked:
        """Finish what was left undone, then erase what is too old; one look at a time."""
        with self._looking:
            return Looked(self.follow(), self.sweep())

    def _carry_out(self, number: int) -> None:
        entry = load_entry(self._journal, number, self._journal.leaf(number), self._keys)
        erasure = Erasure.from_dict(entry.report or {})
        self._inbox.erasures.erase(erasure.commitments, number)
        for forget in self._on_erased:
            forget(erasure.commitments)
        if not erasure.facts:
            return
        # A batch that the pump has open becomes facts all the same: they go after that.
        if not self._pump.wait_for(self._inbox.last_seq, PATIENCE):
            raise WarehouseUnavailable(
                "the facts lag behind; what became of the payloads goes later"
            )
        of_person = {PERSON: erasure.person} if erasure.person else {}
        self._warehouse.erase(erasure.commitments, of_person)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except (IngestError, ProofError) as error:
                LOGGER.warning("erasing waits: %s", error)
            self._stopping.wait(SWEEP)


def check_evidence(inbox: Inbox, index: Index) -> AuditCheck:
    """The payloads that are gone, against the erasures of the log."""
    check = AuditCheck("evidence")
    erased = dict(inbox.erasures.by_entry())
    never_kept = erased.pop(None, 0)
    known = set(index.of_kind(KIND))
    for digest in inbox.erasures.unexplained():
        check.find(f"the payload of {digest} is gone, and no erasure says so")
    for number in sorted(entry for entry in erased if entry is not None and entry not in known):
        check.find(f"payloads are said to be erased by entry {number}, which is no erasure")
    check.detail = (
        f"{inbox.counts().batches} batches, {sum(erased.values())} erased by"
        f" {len(erased)} entries, {never_kept} not kept"
    )
    return check


def _digests(batches: Sequence[EvidenceBatch]) -> tuple[str, ...]:
    return tuple(batch.digest for batch in batches)


def _nanoseconds(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1000
