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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from prometheus_client import Counter, Gauge

from ingest.classify import Classifier
from ingest.decoders import Decoder
from ingest.errors import (
    BodyError,
    EvidenceCorrupt,
    EvidenceErased,
    InboxClosed,
    InboxError,
    PayloadError,
    PayloadUndecodable,
    WarehouseUnavailable,
)
from ingest.events import Event, Skipped
from ingest.evidence import EvidenceBatch
from ingest.inbox import Inbox
from ingest.marks import UNKEYED, Marks, note
from ingest.warehouse import Warehouse

# Many small batches go into one insert, because each costs about the same; a large one is inserted
# in chunks, because its events take much more room than its bytes.
_MAX_BATCHES: Final = 64
_CHUNK: Final = 10_000
_IDLE_SECONDS = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_IDENTITY = "warehouse"

EVENTS = Counter("fractalops_events_total", "Events turned into facts.", ["project", "classified"])
SET_ASIDE = Counter("fractalops_batches_set_aside_total", "Batches that can't become facts.")
SKIPPED = Counter(
    "fractalops_items_skipped_total", "Items of a batch that are no events.", ["source", "reason"]
)
FAILURES = Counter("fractalops_facts_failures_total", "Attempts to store facts that failed.")
LAG = Gauge("fractalops_inbox_lag_batches", "Batches that are not facts yet.")

log = logging.getLogger(__name__)


class Pump:
    """The thread between inbox and warehouse.

    ``decoders`` has the decoder of each source. ``rules()`` gives the classifier to use now; it is
    asked before every group of batches, so that a change of the rules takes effect with the next
    one. ``marks`` mark what is stored and what is noted of it. ``on_facts(seq)`` is told, on the
    pump's thread, after facts up to this batch became readable.
    """

    def __init__(
        self,
        inbox: Inbox,
        warehouse: Warehouse,
        rules: Callable[[], Classifier],
        decoders: Mapping[str, Decoder],
        *,
        marks: Marks = UNKEYED,
        on_facts: Callable[[int], None] | None = None,
    ) -> None:
        self._inbox = inbox
        self._warehouse = warehouse
        self._rules = rules
        self._decoders = decoders
        self._marks = marks
        self._on_facts = on_facts
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
            self._thread.join()

    @property
    def lag(self) -> int:
        """How many batches are not facts yet."""
        return self._inbox.counts().pending

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
        classifier = self._rules()
        last = self._inbox.cursor
        waiting: list[Event] = []
        received: dict[int, int] = {}
        brought: dict[int, list[int]] = {}
        tally: TallyCounter[tuple[str, bool]] = TallyCounter()
        taken = 0

        def store(events: list[Event]) -> int:
            """Make facts of what waits, and empty it."""
            keys = self._warehouse.insert(events, received, classifier.version, self._marks)
            for event, key in zip(events, keys.tolist(), strict=True):
                brought[event.seq].append(key)
            tally.update((event.project, bool(event.event_class)) for event in events)
            stored = len(events)
            events.clear()
            return stored

        for batch in self._inbox.pending(last, _MAX_BATCHES):
            received[batch.seq] = batch.received_at
            brought[batch.seq] = []
            for event in self._events_of(batch, classifier):
                waiting.append(event)
                if len(waiting) >= _CHUNK:
                    taken += store(waiting)
            last = batch.seq
            if taken or self._stopping.is_set():
                break
        store(waiting)
        self._inbox.advance(last, {seq: note(keys) for seq, keys in brought.items()})
        for (project, classified), number in tally.items():
            EVENTS.labels(project, "yes" if classified else "no").inc(number)
        LAG.set(self.lag)
        with self._moved:
            self._moved.notify_all()
        if self._on_facts is not None:
            self._on_facts(last)

    def _events_of(self, batch: EvidenceBatch, classifier: Classifier) -> Iterator[Event]:
        """The events of a batch; none for one that was erased, or that is set aside now."""
        try:
            decode = self._decoders.get(batch.source)
            if decode is None:
                raise PayloadUndecodable(f"nothing here decodes {batch.source}")
            for item in decode(self._inbox.payload(batch.seq), batch):
                if isinstance(item, Skipped):
                    SKIPPED.labels(batch.source, item.reason).inc()
                else:
                    event = item if batch.trusted else replace(item, trusted=False)
                    yield classifier.classify(event)
        except EvidenceErased:
            return
        except (PayloadError, BodyError, EvidenceCorrupt) as error:
            self._set_aside(batch, error.detail)
        except InboxError:
            raise
        except Exception as error:
            # A fault of ours that this payload brings out must not stop those behind it.
            log.exception("batch %d can't be turned into facts", batch.seq)
            self._set_aside(batch, f"{type(error).__name__} while decoding")

    def _set_aside(self, batch: EvidenceBatch, reason: str) -> None:
        SET_ASIDE.inc()
        log.error("batch %d was set aside: %s", batch.seq, reason)
        self._inbox.set_aside(batch.seq, reason)
