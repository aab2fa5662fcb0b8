"""Turns batches of the inbox into facts, one after the other, for as long as the server runs.

Invariant: the cursor moves past a batch only after all its facts are on disk or after it was set
aside with a reason; a crash in between repeats the batch, and equal keys make that harmless. A
batch that can't be decoded never blocks those behind it; a warehouse that can't be written to
blocks, and loses nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter as TallyCounter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from prometheus_client import Counter, Gauge

from ingest.classify import Classifier
from ingest.decoders import Decoder
from ingest.errors import EvidenceCorrupt, EvidenceErased, InboxClosed, WarehouseUnavailable
from ingest.fact_making import FactMaker, Facts, Given
from ingest.fact_process import FactProcess, ProcessLost
from ingest.inbox import Inbox
from ingest.marks import UNKEYED, Marks, Numbers, note
from ingest.warehouse import Warehouse

# Many small batches are taken together, because each insert costs about the same.
_MAX_BATCHES: Final = 256
_MAX_BYTES: Final = 8 << 20
# From so many bytes on, making facts of them here would keep requests waiting.
_LARGE: Final = 256 << 10
# Columns of this size go into one insert, together with the chunk that exceeds it.
_INSERT_BYTES: Final = 32 << 20
_IDLE_SECONDS = 1.0
_STOP_SECONDS: Final = 15.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_IDENTITY = "warehouse"

EVENTS = Counter("fractalops_events_total", "Events turned into facts.", ["project", "classified"])
SET_ASIDE = Counter("fractalops_batches_set_aside_total", "Batches that can't become facts.")
SKIPPED = Counter(
    "fractalops_items_skipped_total", "Items of a batch that are no events.", ["source", "reason"]
)
FAILURES = Counter("fractalops_facts_failures_total", "Attempts to store facts that failed.")
LAG = Gauge("fractalops_inbox_lag_batches", "Batches that are not facts yet.")

REDACTIONS = Counter(
    "fractalops_redactions_total", "What was taken out of events.", ["project", "rule"]
)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Taken:
    """Batches as they were read, of ``size`` bytes together; ``alone`` is one that may have ended
    the process before."""

    seqs: list[int]
    given: list[Given]
    size: int
    alone: bool


@dataclass(frozen=True, slots=True)
class _Group:
    """Batches that are taken across together, and the facts that are made of them."""

    seqs: Sequence[int]
    facts: Iterator[Facts]
    apart: bool

    @property
    def last(self) -> int:
        return self.seqs[-1]


class Pump:
    """The thread between inbox and warehouse.

    ``decoders`` has the decoder of each source. ``rules()`` gives the classifier to use now; it is
    asked before every group of batches, so that a change of the rules takes effect with the next
    one. ``marks`` mark what is stored and what is noted of it. A large group is made into facts by
    ``process``, where there is one, with the same decoders and marks. ``on_facts(projects)`` is
    told, on the pump's thread, after facts of these projects became readable.
    """

    def __init__(
        self,
        inbox: Inbox,
        warehouse: Warehouse,
        rules: Callable[[], Classifier],
        decoders: Mapping[str, Decoder],
        *,
        marks: Marks = UNKEYED,
        process: FactProcess | None = None,
        on_facts: Callable[[frozenset[str]], None] | None = None,
    ) -> None:
        self._inbox = inbox
        self._warehouse = warehouse
        self._rules = rules
        self._maker = FactMaker(decoders, marks)
        self._process = process
        self._on_facts = on_facts
        self._ahead: _Group | None = None
        self._careful_until = 0
        self._met = False
        self._stopping = threading.Event()
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="facts-pump", daemon=True)

    def start(self) -> None:
        """Begin; a warehouse that is not the one last written to is filled again from the start."""
        try:
            self._meet()
        except WarehouseUnavailable as error:
            # A server that is away; the thread asks again until it is there.
            log.warning("facts can't be stored for now: %s", error)
        self._thread.start()

    def _meet(self) -> None:
        """See, once, whether the warehouse is the one that the cursor speaks of."""
        identity = self._warehouse.identity
        if self._inbox.state(_IDENTITY) != identity:
            if self._inbox.cursor:
                log.warning("the facts are new or were replaced: building them again")
                self._inbox.advance(0)
            self._inbox.set_state(_IDENTITY, identity)
        self._met = True

    def stop(self) -> None:
        """End after the group of batches at hand."""
        self._stopping.set()
        self._inbox.wake()
        with self._moved:
            self._moved.notify_all()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        # Whoever still waits for it hears that it is lost.
        self._forget()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def lag(self) -> int:
        """How many batches are not facts yet."""
        return self._inbox.waiting()[0]

    @property
    def behind(self) -> bool:
        """Whether as much waits as is made into facts by the other process."""
        return self._inbox.waiting()[1] >= _LARGE

    def wait_for(self, seq: int, timeout: float) -> bool:
        """Wait until the facts of this batch are readable; ``False`` when time ran out first."""
        with self._moved:
            self._moved.wait_for(
                lambda: self._inbox.cursor >= seq or self._stopping.is_set(), timeout
            )
        return self._inbox.cursor >= seq

    def drain(self, timeout: float) -> bool:
        """Wait until everything that has arrived by now is readable."""
        return self.wait_for(self._inbox.last_seq, timeout)

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            try:
                if not self._met:
                    self._meet()
                if self._inbox.wait(self._inbox.cursor, _IDLE_SECONDS):
                    self._turn()
                pause = _FIRST_PAUSE
            except InboxClosed:
                return
            except Exception:
                # Whatever failed, the batches are on disk and the next attempt starts from there.
                FAILURES.inc()
                log.exception("facts could not be stored; trying again in %.1f s", pause)
                self._stopping.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _turn(self) -> None:
        """Take one group of batches across."""
        group, self._ahead = self._ahead or self._begin(self._taken(self._inbox.cursor)), None
        if group is None:
            return
        # Read while the other process is at this group, which it leaves the moment it is done.
        following = self._taken(group.last) if group.apart and not self._stopping.is_set() else None
        waiting: list[pa.Table] = []
        brought: dict[int, list[Numbers]] = {seq: [] for seq in group.seqs}
        events: TallyCounter[tuple[str, bool]] = TallyCounter()
        try:
            for facts in group.facts:
                if facts.last and following is not None:
                    self._ahead = self._begin_ahead(following)
                waiting.append(facts.columns)
                if facts.last or sum(each.nbytes for each in waiting) >= _INSERT_BYTES:
                    self._store(waiting)
                self._note(facts)
                for seq, keys in facts.keys.items():
                    brought[seq].append(keys)
                events.update(facts.events)
        except ProcessLost as error:
            self._suspect(group, error)
            return
        except BaseException:
            self._forget()
            raise
        self._inbox.advance(group.last, {seq: note(keys) for seq, keys in brought.items()})
        for (project, classified), number in events.items():
            EVENTS.labels(project, "yes" if classified else "no").inc(number)
        LAG.set(self.lag)
        with self._moved:
            self._moved.notify_all()
        if self._on_facts is not None:
            self._on_facts(frozenset(project for project, _ in events))

    def _taken(self, after: int) -> _Taken:
        """The batches after this one that are taken across together, and their payloads."""
        taken = _Taken([], [], 0, alone=after < self._careful_until)
        for batch in self._inbox.pending(after, 1 if taken.alone else _MAX_BATCHES):
            if taken.seqs and taken.size + batch.size > _MAX_BYTES:
                break
            taken.seqs.append(batch.seq)
            taken.size += batch.size
            try:
                taken.given.append(Given(batch, self._inbox.payload(batch.seq)))
            except EvidenceErased:
                continue
            except EvidenceCorrupt as error:
                self._set_aside(batch.seq, error.detail)
        return taken

    def _begin(self, taken: _Taken) -> _Group | None:
        """Begin with these batches, large groups in the other process."""
        if not taken.seqs:
            return None
        apart = self._process if taken.alone or taken.size >= _LARGE else None
        facts = (apart or self._maker).make(self._rules(), taken.given)
        return _Group(taken.seqs, facts, apart is not None)

    def _begin_ahead(self, taken: _Taken) -> _Group | None:
        """The same while what was made before is stored; only the other process can do that."""
        if not taken.alone and taken.size < _LARGE:
            return None
        try:
            return self._begin(taken)
        except ProcessLost as error:
            # It had made all it was asked for: these are begun again in their turn.
            log.warning("%s", error)
            return None

    def _store(self, waiting: list[pa.Table]) -> None:
        """Store what waits, at once: the engine merges small parts again and again."""
        columns = pa.concat_tables(waiting)
        waiting.clear()
        if columns.num_rows:
            self._warehouse.insert_columns(columns)

    def _note(self, facts: Facts) -> None:
        for (source, reason), number in facts.skipped.items():
            SKIPPED.labels(source, reason).inc(number)
        for (project, rule), number in facts.redacted.items():
            REDACTIONS.labels(project, rule).inc(number)
        for seq, why in facts.set_aside.items():
            self._set_aside(seq, why)

    def _suspect(self, group: _Group, error: ProcessLost) -> None:
        """One of these batches ended the process that read it: each is read alone, and that one is
        set aside."""
        self._forget()
        if self._stopping.is_set():
            return
        if len(group.seqs) > 1:
            log.warning("%s; reading the batches up to %d one by one", error, group.last)
            self._careful_until = group.last
            return
        self._set_aside(group.last, "the process that read it ended, or took too long")
        self._inbox.advance(group.last, {group.last: note([])})

    def _forget(self) -> None:
        """Let go of what was begun: it is begun again from the cursor."""
        self._ahead = None
        if self._process is not None:
            self._process.stop()

    def _set_aside(self, seq: int, reason: str) -> None:
        SET_ASIDE.inc()
        log.error("batch %d was set aside: %s", seq, reason)
        self._inbox.set_aside(seq, reason)
