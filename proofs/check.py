"""Checks a change against the shapes outside the writer lock, and again what came in between.

Invariant: a check is as of a head that the store has reached, whatever is written meanwhile: what
was committed after that head is either shown not to touch the same things, or the check runs again
under the lock. So two changes that are valid each cannot break a shape together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from ontology.store import GraphStore
from ontology.terms import Delta
from shapes.errors import MalformedShapes
from shapes.reads import Reads
from shapes.report import Report, Result
from shapes.validator import Validation, Validator
from shapes.whole import Tell

REMEMBERED = 200_000
"""Quads of changes kept in memory, so that a slow check can see what came in meanwhile."""


@dataclass(frozen=True)
class Checked:
    """What is left of a delta once no-ops are dropped, and how the shapes found it, at a head."""

    delta: Delta
    report: Report
    head: int
    reads: Reads


class Checker:
    """Checks changes of one store. :meth:`check` may be called from any thread, the rest by whoever
    holds the writer lock."""

    def __init__(self, store: GraphStore, validator: Validator, head: int) -> None:
        self._store = store
        self._validator = validator
        self._shapes_graph = store.ids.graph("shapes")
        self._recent: deque[tuple[int, Delta]] = deque()
        self._remembered = 0
        self._head = head

    def check(self, delta: Delta, tell: Tell | None = None) -> Checked:
        """The delta as it would change the graph, and the report on the state after it.

        ``tell`` hears how far it is where that takes the whole graph; it may raise, to end it.
        """
        # Not the journal's head: that is ahead while an entry is on its way into the store.
        head = self._head
        effective = self._store.effective(delta)
        if not effective:
            return Checked(effective, Report(), head, Reads())
        found = self._found(lambda: self._validator.examine(effective, tell))
        return Checked(effective, found.report, head, found.reads)

    def check_all(self, tell: Tell | None = None) -> Checked:
        """The report on the graph as it stands: at the head it names, or with some of what was
        committed while it was made."""
        head = self._head
        found = self._found(lambda: self._validator.examine_all(tell))
        return Checked(Delta(), found.report, head, found.reads)

    def _found(self, examine: Callable[[], Validation]) -> Validation:
        try:
            return examine()
        except MalformedShapes as error:
            report = refusal(self._shapes_graph, str(error))
            return Validation(report, Reads(everything=True))

    def renewed(self, delta: Delta, checked: Checked) -> Checked:
        """The check as of now; runs again only where a change since can have turned it."""
        if checked.head == self._head:
            return checked
        since = [change for head, change in self._recent if head > checked.head]
        seen_all = bool(self._recent) and self._recent[0][0] <= checked.head + 1
        if not seen_all or any(self._turned(delta, checked, change) for change in since):
            return self.check(delta)
        return replace(checked, head=self._head)

    def settle(self, head: int, delta: Delta) -> None:
        """Notes that the store has taken entry ``head``, which changed ``delta`` (or nothing)."""
        self._recent.append((head, delta))
        self._remembered += 1 + len(delta)
        while self._remembered > REMEMBERED:
            self._remembered -= 1 + len(self._recent.popleft()[1])
        self._validator.settled(delta)
        self._head = head

    def _turned(self, delta: Delta, checked: Checked, since: Delta) -> bool:
        """Whether a change since can have turned the report, or what is left of the delta."""
        return (
            self._shapes_graph in since.graphs()
            or checked.reads.meet(since)
            or not delta.quads.isdisjoint(since.quads)
        )

    def start_over(self, head: int) -> None:
        """Notes that the store has reached ``head`` by a road that was not watched."""
        self._recent.clear()
        self._remembered = 0
        self._validator.forget()
        self._head = head


def refusal(graph: str, message: str) -> Report:
    """A report that refuses a change of a graph for a reason that no shape states."""
    return Report(
        (Result(f"<{graph}>", None, None, message, f"<{graph}>", "Violation", f"<{graph}>"),)
    )
