"""Makes facts of payloads: decoded, redacted, classified and laid out as columns, purely.

Invariant: what is made depends on the payloads, the rules and the keys alone, and on nothing that
this process holds, so that it may be done in any. What can't be decoded is named and never stops
what comes after it. No more than :data:`CHUNK` events are held at a time.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from ingest.classify import Classifier
from ingest.decoders import Decoder
from ingest.errors import BodyError, EvidenceCorrupt, PayloadError, PayloadUndecodable
from ingest.events import Event, Skipped
from ingest.evidence import EvidenceBatch
from ingest.fact_columns import to_columns
from ingest.marks import Marks, Numbers

CHUNK: Final = 10_000
"""Events made at a time: they take much more room than the bytes they come from."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Given:
    """A batch and its payload."""

    batch: EvidenceBatch
    payload: bytes = field(repr=False)


@dataclass(slots=True)
class Facts:
    """Some of what was made: rows of the table of events, and what to note of them.

    ``keys`` has the keys of the rows of each batch, by its number; ``set_aside`` why a batch can't
    be turned into facts. The counters go by project and whether there is a class, by source and
    reason, and by project and rule. ``last`` says that no more of the same batches comes.
    """

    columns: pa.Table
    keys: dict[int, Numbers]
    events: Counter[tuple[str, bool]]
    skipped: Counter[tuple[str, str]]
    redacted: Counter[tuple[str, str]]
    set_aside: dict[int, str]
    last: bool


class FactMaker:
    """Makes facts with these decoders, marked with these marks."""

    def __init__(self, decoders: Mapping[str, Decoder], marks: Marks) -> None:
        self._decoders = decoders
        self._marks = marks

    def make(self, classifier: Classifier, given: Iterable[Given]) -> Iterator[Facts]:
        """The facts of these batches, in their order, in chunks; at least one."""
        received: dict[int, int] = {}
        waiting: list[Event] = []
        skipped: Counter[tuple[str, str]] = Counter()
        aside: dict[int, str] = {}

        def facts(*, last: bool) -> Facts:
            keys = self._marks.keys(waiting)
            columns = to_columns(
                waiting,
                [received[event.seq] for event in waiting],
                classifier.version,
                self._marks.checksums(waiting, keys, classifier.version),
            )
            made = Facts(
                columns,
                _by_batch(waiting, keys),
                Counter((event.project, bool(event.event_class)) for event in waiting),
                skipped.copy(),
                classifier.redacted(),
                aside.copy(),
                last,
            )
            waiting.clear()
            skipped.clear()
            aside.clear()
            return made

        for each in given:
            batch = each.batch
            received[batch.seq] = batch.received_at
            try:
                for item in self._items(each):
                    if isinstance(item, Skipped):
                        skipped[batch.source, item.reason] += 1
                        continue
                    event = item if batch.trusted else item._replace(trusted=False)
                    waiting.append(classifier.classify(event))
                    if len(waiting) >= CHUNK:
                        yield facts(last=False)
            except (PayloadError, BodyError, EvidenceCorrupt) as error:
                aside[batch.seq] = error.detail
            except Exception as error:
                # A fault of ours that this payload brings out must not stop those behind it.
                log.exception("batch %d can't be turned into facts", batch.seq)
                aside[batch.seq] = f"{type(error).__name__} while decoding"
        yield facts(last=True)

    def _items(self, given: Given) -> Iterator[Event | Skipped]:
        decode = self._decoders.get(given.batch.source)
        if decode is None:
            raise PayloadUndecodable(f"nothing here decodes {given.batch.source}")
        return decode(given.payload, given.batch)


def _by_batch(events: list[Event], keys: Numbers) -> dict[int, Numbers]:
    """The keys of each batch, of events in the order of their batches."""
    numbers, starts = np.unique([event.seq for event in events], return_index=True)
    parts = np.split(keys, starts[1:]) if events else []
    return dict(zip(numbers.tolist(), parts, strict=True))
