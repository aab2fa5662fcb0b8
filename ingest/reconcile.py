"""Compares the facts with what the inbox noted of each batch when they were stored.

Invariant: a batch is named if a fact that it brought is gone, if one is there under its number that
it did not bring, or if the batch or the classification of one is not as it was written. Of an
event that several batches brought the newest is answerable: its row is the one that stays. What
came after the comparison began, may have been dropped for its age, or was erased, is no finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from ingest.inbox import Inbox
from ingest.marks import Marks, Numbers, noted
from ingest.warehouse import Warehouse

_NOTES: Final = 500
_ROWS: Final = 50_000
_DAY: Final = 24 * 3600 * 10**9
_COLUMNS: Final = (
    *("project", "source", "event_id", "seq", "class", "rule", "subject", "rules", "checksum"),
)


@dataclass
class Reconciliation:
    """What was compared, and how many facts of each batch are gone, added or changed. ``damaged``
    are batches whose note is not whole, ``unnoted`` counts those without a note."""

    compared: int = 0
    batches: int = 0
    unnoted: int = 0
    damaged: list[int] = field(default_factory=list)
    gone: Counter[int] = field(default_factory=Counter)
    added: Counter[int] = field(default_factory=Counter)
    changed: Counter[int] = field(default_factory=Counter)

    def findings(self) -> Iterator[str]:
        """A sentence for each batch and each kind of difference."""
        for seq in self.damaged:
            yield f"batch {seq}: the inbox's note of its facts is damaged"
        for counts, what in (
            (self.gone, "are missing"),
            (self.added, "are there that it did not bring"),
            (self.changed, "are not as they were written"),
        ):
            for seq, number in sorted(counts.items()):
                yield f"batch {seq}: {number} facts {what}"


@dataclass
class _Notes:
    """The keys that batches brought, sorted, and beside each the newest batch that brought it."""

    keys: Numbers
    owners: Numbers
    received: dict[int, int]
    unnoted: frozenset[int]
    damaged: list[int]


def reconcile(
    inbox: Inbox, warehouse: Warehouse, marks: Marks, now: int, days: int
) -> Reconciliation:
    """Compare every fact up to the inbox's cursor; takes 16 bytes of memory for each.

    ``now`` is in nanoseconds since 1970; ``days`` is how long facts are kept, 0 for ever. Raises
    :class:`ingest.errors.WarehouseError`, :class:`ingest.errors.InboxError`.
    """
    cursor = inbox.cursor
    notes = _read(inbox, cursor)
    found = Reconciliation(
        batches=len(notes.received), unnoted=len(notes.unnoted), damaged=notes.damaged
    )
    seen = np.zeros(len(notes.keys), np.bool_)
    for page in warehouse.scan("seq >= 0", _COLUMNS, _ROWS):
        _compare(page, marks, notes, cursor, found, seen)
    last, (erased, told) = inbox.last_seq, _erased(inbox, cursor)
    # What came meanwhile, and what is noted as nothing since its payload is gone, is no finding.
    for seq in [seq for seq in found.added if cursor < seq <= last or seq in erased]:
        del found.added[seq]
    oldest = now - days * _DAY if days else 0
    for seq, number in Counter(notes.owners[~seen].tolist()).items():
        if seq not in told and notes.received[seq] > oldest:
            found.gone[seq] = number
    return found


def _read(inbox: Inbox, cursor: int) -> _Notes:
    keys, seqs = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    received: dict[int, int] = {}
    unnoted: set[int] = set()
    damaged: list[int] = []
    after = 0
    while batches := inbox.notes.between(after, cursor, _NOTES):
        for batch in batches:
            if batch.keys is None:
                unnoted.add(batch.seq)
            elif not batch.sound:
                damaged.append(batch.seq)
                unnoted.add(batch.seq)
            else:
                received[batch.seq] = batch.received_at
                keys.append(noted(batch.keys))
                seqs.append(np.full(len(keys[-1]), batch.seq, np.uint64))
        after = batches[-1].seq
    all_keys, all_seqs = np.concatenate(keys), np.concatenate(seqs)
    order = np.lexsort((all_seqs, all_keys))
    all_keys, all_seqs = all_keys[order], all_seqs[order]
    newest = np.append(all_keys[1:] != all_keys[:-1], True) if len(order) else order.astype(bool)
    return _Notes(all_keys[newest], all_seqs[newest], received, frozenset(unnoted), damaged)


def _compare(
    page: pa.Table,
    marks: Marks,
    notes: _Notes,
    cursor: int,
    found: Reconciliation,
    seen: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> None:
    columns = {name: page.column(name).to_pylist() for name in _COLUMNS}
    keys = marks.keys_of(zip(*(columns[name] for name in _COLUMNS[:3]), strict=True))
    chosen = list(zip(*(columns[name] for name in _COLUMNS[3:8]), strict=True))
    sound = marks.checksums_of(keys, chosen) == np.array(columns["checksum"], np.uint64)
    seqs: list[int] = columns["seq"]
    places = np.searchsorted(notes.keys, keys)
    places[places == len(notes.keys)] = 0
    brought = notes.keys[places] == keys if len(notes.keys) else np.zeros(len(keys), np.bool_)
    for seq, place, is_brought, is_sound in zip(
        seqs, places.tolist(), brought.tolist(), sound.tolist(), strict=True
    ):
        owner = int(notes.owners[place]) if is_brought else None
        if owner is not None and seq >= owner:
            seen[place] = True
        if seq in notes.unnoted:
            continue
        found.compared += 1
        if seq == owner:
            if not is_sound:
                found.changed[seq] += 1
        elif owner is None or seq > owner:
            found.added[seq] += 1
        # Else it came to light because the newer row is gone, which is what will be said.


def _erased(inbox: Inbox, cursor: int) -> tuple[frozenset[int], frozenset[int]]:
    """The batches whose payloads are gone, and those whose facts may be too: the log says so."""
    erased: set[int] = set()
    told: set[int] = set()
    after = 0
    while batches := inbox.notes.between(after, cursor, _NOTES):
        erased.update(batch.seq for batch in batches if batch.erased)
        told.update(batch.seq for batch in batches if batch.told)
        after = batches[-1].seq
    return frozenset(erased), frozenset(told)
