"""Classifies stored facts again, by the rules as they stand now.

Invariant: a fact is read, classified and written again under its own batch, so that it wins over
what it was before and loses to a later batch that brought the same event; evidence is not needed.
Facts that carry the rules' version already are passed over, so that what was cut short goes on
where it stopped, and a second run changes nothing. Pages are small, and the pump never waits for
more than one.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ingest.classify import Classifier
from ingest.errors import WarehouseBusy
from ingest.events import Event
from ingest.fact_columns import to_columns
from ingest.warehouse import Warehouse, text

_PAGE: Final = 2_000
# Pages come in order of the key, so a page changes facts of batches from all over the time.
_KINDS: Final = "SELECT DISTINCT project, source FROM events WHERE {} ORDER BY project, source"

Changed = Callable[[Mapping[str, int]], None]
"""Told, before they are written, which facts change: the lowest batch of each project."""


@dataclass
class Reclassification:
    """What came of it. ``changed`` counts by the class before and after (empty for none) the facts
    that have another class, rule or subject now; ``first_changed`` is the lowest batch of each
    project among them. ``rules`` is the version that facts carry now."""

    rules: str
    looked_at: int = 0
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)
    first_changed: dict[str, int] = field(default_factory=dict)


class Reclassifier:
    """Works on one warehouse, one run at a time; any thread may ask."""

    def __init__(self, warehouse: Warehouse, rules: Callable[[], Classifier]) -> None:
        self._warehouse = warehouse
        self._rules = rules
        self._running = threading.Lock()

    def run(
        self,
        *,
        project: str | None = None,
        since: int = 0,
        dry_run: bool = False,
        on_change: Changed | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Reclassification:
        """Look at the facts of a project, or of all, from batch ``since`` on.

        With ``dry_run`` nothing is written. Raises :class:`WarehouseBusy` while another run is at
        work, and :class:`WarehouseUnavailable`; what was written by then stays.
        """
        if not self._running.acquire(blocking=False):
            raise WarehouseBusy("facts are being classified again already; wait for that to end")
        try:
            classifier = self._rules()
            found = Reclassification(classifier.version)
            for events, received in self._pages(classifier.version, project, since):
                # A class that is no longer given must go.
                again = [classifier.classify(event.classified("", "", "")) for event in events]
                self._count(found, events, again)
                if not dry_run:
                    if on_change and found.first_changed:
                        on_change(found.first_changed)
                    self._warehouse.insert_columns(to_columns(again, received, found.rules))
                if stopping():
                    break
            return found
        finally:
            self._running.release()

    def _pages(
        self, version: str, project: str | None, since: int
    ) -> Iterator[tuple[list[Event], list[int]]]:
        others = f"rules != {text(version)} AND seq >= {since:d}"
        if project is not None:
            others += f" AND project = {text(project)}"
        for owner, source in self._warehouse.query(_KINDS.format(others)).rows:
            mine = f"{others} AND project = {text(owner)} AND source = {text(source)}"
            events, received = self._warehouse.read_events(mine, _PAGE)
            while events:
                yield events, received
                after = f"event_id > {text(events[-1].event_id)}"
                events, received = self._warehouse.read_events(f"{mine} AND {after}", _PAGE)

    def _count(self, found: Reclassification, before: list[Event], after: list[Event]) -> None:
        found.looked_at += len(before)
        for old, new in zip(before, after, strict=True):
            if _chosen(old) != _chosen(new):
                found.changed[old.event_class, new.event_class] += 1
                first = found.first_changed.get(old.project, old.seq)
                found.first_changed[old.project] = min(first, old.seq)


def _chosen(event: Event) -> tuple[str, str, str]:
    return event.event_class, event.rule, event.subject
