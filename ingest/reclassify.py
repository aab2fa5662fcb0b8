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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from ingest.classify import Classifier
from ingest.errors import WarehouseBusy
from ingest.events import Event
from ingest.fact_columns import COLUMNS, from_columns
from ingest.marks import UNKEYED, Marks
from ingest.warehouse import Warehouse, text

_PAGE: Final = 2_000

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

    def __init__(
        self, warehouse: Warehouse, rules: Callable[[], Classifier], marks: Marks = UNKEYED
    ) -> None:
        self._marks = marks
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
            others = f"rules != {text(classifier.version)} AND seq >= {since:d}"
            if project is not None:
                others += f" AND project = {text(project)}"
            pages = self._warehouse.scan(others, COLUMNS, _PAGE)
            while True:
                with self._warehouse.rewriting:
                    page = next(pages, None)
                    if page is None:
                        break
                    self._page(page, classifier, found, None if dry_run else on_change or _nobody)
                if stopping():
                    break
            return found
        finally:
            self._running.release()

    def _page(
        self,
        page: pa.Table,
        classifier: Classifier,
        found: Reclassification,
        on_change: Changed | None,
    ) -> None:
        """Classify one page, and write it unless there is nobody to be told of changes."""
        events, received = from_columns(page)
        # A class that is no longer given must go.
        again = [classifier.classify(event.classified("", "", "")) for event in events]
        self._count(found, events, again)
        if on_change is None:
            return
        if found.first_changed:
            on_change(found.first_changed)
        moments = {event.seq: at for event, at in zip(again, received, strict=True)}
        self._warehouse.insert(again, moments, found.rules, self._marks)

    def _count(self, found: Reclassification, before: list[Event], after: list[Event]) -> None:
        found.looked_at += len(before)
        for old, new in zip(before, after, strict=True):
            if _chosen(old) != _chosen(new):
                found.changed[old.event_class, new.event_class] += 1
                first = found.first_changed.get(old.project, old.seq)
                found.first_changed[old.project] = min(first, old.seq)


def _nobody(changed: Mapping[str, int]) -> None:
    """Hears of changes where nobody else does."""


def _chosen(event: Event) -> tuple[str, str, str]:
    return event.event_class, event.rule, event.subject
