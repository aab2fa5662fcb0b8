"""A steward's look for dormant things, once a day, and what lets them wake.

Invariant: a look that can't be finished marks nothing: a mark says that every fact was asked. The
facts must be whole for that, so a look waits while they are made anew; and it is only after a day
at work that a steward looks for the first time. The facts are asked from the newest batches on,
until older ones can't say anything new, so steady traffic ends a look after its first part. What is
marked and appears in a sweep is looked at then, by the facts of that page alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from itertools import accumulate

from pyoxigraph import Literal, NamedNode

from ontology.ids import Ids
from ontology.vocab import Fo, Rdf
from stewards import sightings
from stewards.claim_set import Claim
from stewards.dormant import (
    KINDS,
    SHARED,
    Known,
    Mark,
    changes,
    day_of,
    is_awake,
    lifting,
    marking,
    read,
)
from stewards.dormant_notes import DormantNotes
from stewards.draft import Draft, Limits
from stewards.errors import GateRefused, LimitReached, UnexpectedAnswer
from stewards.fact_queries import Page
from stewards.fact_rows import rows
from stewards.gate_client import GateClient
from stewards.settled import Settled
from stewards.sightings import Slice

LOGGER = logging.getLogger(__name__)

DAY = 86_400.0
AGAIN = 600.0
"""Seconds until the next try, when the facts aren't whole or the gate said no."""
FACTS_AT_ONCE = 1_000_000
"""About so many facts are asked at once; fewer where that is too much for the platform."""
FEWEST_FACTS = 10_000

HandIn = Callable[[Draft], bool]
"""Submits a proposal; whether the gate took it, or would change nothing by it."""


class Dormancy:
    """Looks for one steward of one project; ``days`` without a fact make a thing dormant."""

    def __init__(
        self,
        client: GateClient,
        settled: Settled,
        notes: DormantNotes,
        ids: Ids,
        project: str,
        days: int,
        limits: Limits,
    ) -> None:
        self._client = client
        self._settled = settled
        self._notes = notes
        self._ids = ids
        self._project = project
        self._graph = ids.lineage_graph(project)
        self._days = days
        self._limits = limits
        self._asleep = dict(notes.asleep())
        looked = notes.looked_at()
        # Before its first look it doesn't know what was seen of what it marked.
        self._forgetful = not notes.proposals()
        self._due: float | None = None if looked is None else looked + DAY

    # --- once a day

    def is_due(self, now: datetime) -> bool:
        """Whether it is time to look: never before a day at work."""
        if self._due is None:
            self._done(now.timestamp())
        return self._due is not None and now.timestamp() >= self._due

    def look(self, now: datetime, hand_in: HandIn) -> None:
        """Make the marks that are due, and lift those that are no longer true, if it is time."""
        if not self.is_due(now):
            return
        moment = now.timestamp()
        self._due = moment + AGAIN
        today = now.astimezone(UTC).date()
        progress = self._client.progress()
        known = self._known(progress.head)
        try:
            seen = self._search(today, progress.pending, known)
        except LimitReached:
            # A day later there may be more room.
            self._done(moment)
            raise
        if seen is None:
            return
        found = changes(known, seen, today, self._days)
        made, more = found.made[: self._limits.quads], len(found.made[self._limits.quads :])
        lifted = found.lifted[: self._limits.quads]
        self._asleep = dict(known.own - known.kept)
        if lifted and hand_in(lifting(lifted, known.kinds, self._graph, (), known.shared)):
            self._forget(lifted)
        if made and hand_in(marking(made, known.kinds, seen, self._graph, self._days, more)):
            self._asleep.update(made)
        self._notes.note_asleep(self._asleep.items())
        self._forgetful = False
        self._done(moment)

    def _done(self, moment: float) -> None:
        self._notes.note_look(moment)
        self._due = moment + DAY

    def _known(self, head: int) -> Known:
        for proposal, change in self._settled.applied(self._notes.proposals()):
            things = {
                claimed.subject.value
                for claimed in change.additions
                if claimed.predicate.value == Rdf.type
                and isinstance(claimed.subject, NamedNode)
                and isinstance(claimed.object, NamedNode)
                and claimed.object.value in KINDS
            }
            self._notes.note_proposal(proposal, things, read(change.additions))
        brought = self._notes.brought()
        if not brought:
            return Known()
        withheld = self._settled.withheld()
        turned_down: dict[str, date] = {}
        for thing, since in read(withheld.additions):
            turned_down[thing] = max(since, turned_down.get(thing, since))
        marks = self._marks(head)
        return Known(
            {
                thing: kind
                for thing, kind in self._of_kinds(KINDS, head).items()
                if thing in brought or thing in marks
            },
            frozenset(marks),
            frozenset(mark for mark in self._notes.marks_made() if marks.get(mark[0]) == mark[1]),
            self._shared(head),
            turned_down,
            read(withheld.removals),
        )

    def _marks(self, head: int) -> dict[str, date | None]:
        found: dict[str, date | None] = {}
        for solution in self._client.query(
            f"SELECT ?thing ?since WHERE {{ GRAPH <{self._graph}>"
            f" {{ ?thing <{Fo.dormantSince}> ?since }} }}",
            head,
        ):
            since = solution.get("since")
            found[_iri(solution.get("thing"))] = (
                day_of(since.value) if isinstance(since, Literal) else None
            )
        return found

    def _of_kinds(self, kinds: frozenset[str], head: int) -> dict[str, str]:
        """The class of each thing of these classes in the project's graph."""
        values = " ".join(f"<{kind}>" for kind in sorted(kinds))
        return {
            _iri(solution.get("thing")): _iri(solution.get("kind"))
            for solution in self._client.query(
                f"SELECT ?thing ?kind WHERE {{ VALUES ?kind {{ {values} }}"
                f" GRAPH <{self._graph}> {{ ?thing a ?kind }} }} ORDER BY ?thing ?kind",
                head,
            )
        }

    def _shared(self, head: int) -> frozenset[str]:
        """What this project's graph and another one's say the class of."""
        values = " ".join(f"<{kind}>" for kind in sorted(SHARED))
        return frozenset(
            _iri(solution.get("thing"))
            for solution in self._client.query(
                f"SELECT DISTINCT ?thing WHERE {{ VALUES ?kind {{ {values} }}"
                f" GRAPH ?governance {{ ?project <{Fo.lineageGraph}> ?other }}"
                f" FILTER(?other != <{self._graph}>) GRAPH ?other {{ ?thing a ?kind }}"
                f" GRAPH <{self._graph}> {{ ?thing a ?kind }} }}",
                head,
            )
        )

    def _search(self, today: date, pending: int, known: Known) -> dict[str, int] | None:
        """How many days ago things were last seen; nothing while the facts aren't whole."""
        room = FACTS_AT_ONCE
        while True:
            try:
                return self._searched(today, pending, known, room)
            except LimitReached:
                room //= 10
                if room < FEWEST_FACTS:
                    raise

    def _searched(
        self, today: date, pending: int, known: Known, room: int
    ) -> dict[str, int] | None:
        parts = rows(Slice, self._client.all_facts(sightings.slices(self._project, today, room)))
        if pending and not (parts and parts[0].age == 0):
            # They may be on their way through years of them.
            return None
        left = set(known.candidates())
        if self._forgetful:
            left |= {thing for thing, _ in known.own}
        seen: dict[str, int] = {}
        # The server's clock may have been set back: of all that is still to be asked, the youngest.
        ages = list(accumulate((part.age for part in reversed(parts)), min))
        for part, youngest in zip(parts, reversed(ages), strict=True):
            left = {
                thing
                for thing in left
                if not self._is_settled(thing, seen.get(thing), youngest, today, known)
            }
            if not left:
                break
            page = sightings.aged(self._project, today, part.oldest, part.newest)
            found = sightings.last_seen(page, self._client.all_facts, self._ids)
            for thing, last in found.items():
                seen[thing] = min(last.age, seen.get(thing, last.age))
        return seen

    def _is_settled(
        self, thing: str, age: int | None, youngest: int, today: date, known: Known
    ) -> bool:
        """Whether facts of ``youngest`` days and more say nothing new of a thing."""
        if age is not None and (age <= self._days or age <= youngest):
            return True
        refused = known.turned_down.get(thing)
        if refused is not None and youngest >= (today - refused).days:
            return True
        # A mark that stands is lifted by what happened lately alone.
        return thing in known.marked and youngest > self._days

    # --- in a sweep

    def wake(
        self,
        page: Page,
        shown: Sequence[Claim],
        mixed: bool,
        now: datetime,
        hand_in: HandIn,
    ) -> None:
        """Lift the marks of what this page shows, where it was there lately and since the mark.

        ``mixed`` says whether senders that aren't trusted had a part in the page. They wake a thing
        as well, for that adds nothing to the graph that wasn't there; but no evidence of theirs is
        named.
        """
        kinds = {
            claim.introduces: claim.quad.object.value
            for claim in shown
            if claim.introduces in self._asleep and isinstance(claim.quad.object, NamedNode)
        }
        if not kinds:
            return
        today = now.astimezone(UTC).date()
        recent = sightings.aged(self._project, today, page.after + 1, page.until, self._days)
        try:
            seen = sightings.last_seen(recent, self._client.all_facts, self._ids)
            lifted = sorted(
                mark
                for mark in self._asleep.items()
                if mark[0] in kinds
                and mark[0] in seen
                and is_awake(mark, seen[mark[0]].age, today, self._days)
            )
            if mixed and lifted:
                seen = sightings.last_seen(recent, self._client.trusted_facts, self._ids)
            proved = [seen[thing].batch for thing, _ in lifted if thing in seen]
            named = sorted(set(proved))[: self._limits.evidence]
            untrusted = len(lifted) - len(proved)
            draft = lifting(lifted, kinds, self._graph, named, untrusted=untrusted)
            if lifted and hand_in(draft):
                self._forget(lifted)
                self._notes.note_asleep(self._asleep.items())
        except GateRefused as error:
            # The next page that shows them, or the next look, lets them wake.
            LOGGER.warning("%d dormant things were seen and not woken: %s", len(kinds), error)

    def _forget(self, marks: Sequence[Mark]) -> None:
        for thing, _ in marks:
            self._asleep.pop(thing, None)


def _iri(term: object) -> str:
    if not isinstance(term, NamedNode):
        raise UnexpectedAnswer(f"/sparql gave {term} where only an IRI can be")
    return term.value
