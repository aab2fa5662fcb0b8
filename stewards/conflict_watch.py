"""A steward's look for conflicts, once it has read every fact.

Invariant: a look that can't be finished changes nothing, and the next one makes up for it. It looks
when a page showed jobs or the graph changed, which steady traffic of services doesn't do, and for
at most a tenth of the time. No more than ``MAX_CONFLICTS`` are stated of one project, those that
are there already first, so that none comes and goes for want of room.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from pyoxigraph import Literal, NamedNode, Quad

from ontology.ids import Ids
from stewards import conflict_queries
from stewards.conflict_drafts import Statements, drafts
from stewards.conflict_queries import (
    MAX_ACCESSES,
    MAX_STATEMENTS,
    SeenRow,
    StatementRow,
    access_rows,
)
from stewards.conflicts import Conflict, conflicts
from stewards.draft import Draft, Limits
from stewards.errors import UnexpectedAnswer
from stewards.fact_queries import SOURCE as SPAN_SOURCE
from stewards.fact_rows import rows
from stewards.gate_client import GateClient
from stewards.settled import Change, Settled, chunks

MAX_CONFLICTS = 200
LASTING = timedelta(hours=1)
"""So long a program must not be seen at a data asset before that is told: its spans may be on their
way."""
SHARE = 10
"""A look waits this many times as long as the one before it took."""

TOO_MANY = "conflicts between sources above the limit for one project"
CUT = "questions about conflicts whose answers were cut"

HandIn = Callable[[Draft], bool]


class ConflictWatch:
    """Looks for one steward of one project."""

    def __init__(
        self, client: GateClient, settled: Settled, ids: Ids, project: str, limits: Limits
    ) -> None:
        self._client = client
        self._settled = settled
        self._ids = ids
        self._project = project
        self._graph = ids.lineage_graph(project)
        self._limits = limits
        self._wanted = False
        # Whether the project has jobs; not known before the first look.
        self._has_jobs: bool | None = None
        self._next: datetime | None = None
        self._unseen_since: dict[str, datetime] = {}

    def is_due(self, now: datetime) -> bool:
        """Whether a look that had to wait may begin."""
        return self._wanted and self._may_begin(now)

    def see(self) -> None:
        """A page shows jobs."""
        self._has_jobs = self._wanted = True

    def want(self, now: datetime, *, changed: bool) -> None:
        """There were new facts, and the graph was ``changed`` by them or not."""
        lasting = any(now - since >= LASTING for since in self._unseen_since.values())
        if self._has_jobs is None or (self._has_jobs and (changed or lasting)):
            self._wanted = True

    def look(self, clock: Callable[[], datetime], hand_in: HandIn) -> Mapping[str, int]:
        """State what is new, and take back what is over; what was set aside, counted by reason."""
        began = clock()
        if not self.is_due(began):
            return {}
        self._wanted = False
        try:
            return self._look(began, hand_in)
        finally:
            self._next = clock() + SHARE * (clock() - began)

    def _may_begin(self, now: datetime) -> bool:
        # A clock that was put back doesn't stop it.
        return self._next is None or now >= self._next or self._next - now > timedelta(days=1)

    def _look(self, now: datetime, hand_in: HandIn) -> Mapping[str, int]:
        head = self._client.progress().head
        if not self._has_jobs:
            self._has_jobs = bool(self._client.query(conflict_queries.any_job(self._graph), head))
        if not self._has_jobs:
            return {}
        found, aside = self._found(now, head)
        stated = self._stated(head)
        wanted = sorted(found, key=lambda conflict: (conflict.iri not in stated, conflict.iri))
        if len(wanted) > MAX_CONFLICTS:
            aside[TOO_MANY] = len(wanted) - MAX_CONFLICTS
        for draft in self._drafts(wanted[:MAX_CONFLICTS], stated):
            if not hand_in(draft):
                break
        return aside

    def _drafts(
        self, wanted: list[Conflict], stated: Mapping[str, Statements]
    ) -> tuple[Draft, ...]:
        def made(settled: Change) -> tuple[Draft, ...]:
            return drafts(
                wanted,
                stated,
                settled.additions,
                settled.removals,
                self._ids,
                self._project,
                self._limits,
            )

        # What people turned down is only asked for where there is something to propose.
        return made(self._settled.withheld()) if made(Change()) else ()

    def _found(self, now: datetime, head: int) -> tuple[list[Conflict], dict[str, int]]:
        accesses = tuple(
            access_rows(self._client.query(conflict_queries.accesses(self._graph), head))
        )
        answer = self._client.facts(conflict_queries.statements(self._project), trusted=True)
        aside = {}
        if answer.truncated or len(answer.rows) == MAX_STATEMENTS or len(accesses) == MAX_ACCESSES:
            aside[CUT] = 1
        operations = {row.party for row in accesses if row.source == SPAN_SOURCE}
        found, passing = conflicts(
            accesses,
            rows(StatementRow, answer.rows),
            self._batches(operations),
            self._ids,
            self._project,
        )
        self._unseen_since = {iri: self._unseen_since.get(iri, now) for iri in passing}
        lasting = [
            conflict
            for conflict in found
            if conflict.iri not in passing or now - self._unseen_since[conflict.iri] >= LASTING
        ]
        return self._known(lasting, head), aside

    def _batches(self, operations: Iterable[str]) -> dict[str, str]:
        listed = sorted(operations)
        found: dict[str, str] = {}
        for place in range(0, len(listed), 500):
            answer = self._client.facts(
                conflict_queries.seen(self._project, listed[place : place + 500]), trusted=True
            )
            found |= {row.subject: row.batch for row in rows(SeenRow, answer.rows)}
        return found

    def _known(self, found: list[Conflict], head: int) -> list[Conflict]:
        """Those that speak of nothing but what the graph introduces."""
        things = {asset for conflict in found for asset in conflict.assets}
        things |= {claim.party for conflict in found for claim in conflict.claims if claim.party}
        there = set()
        for values in chunks(sorted(things)):
            question = conflict_queries.known(self._graph, values.split())
            there |= {
                _iri(solution.get("thing")) for solution in self._client.query(question, head)
            }
        return [
            conflict
            for conflict in found
            if there.issuperset(conflict.assets)
            and all(not claim.party or claim.party in there for claim in conflict.claims)
        ]

    def _stated(self, head: int) -> dict[str, Statements]:
        graph = NamedNode(self._graph)
        found: dict[str, dict[str, set[Quad]]] = defaultdict(lambda: defaultdict(set))
        question = conflict_queries.stated(self._graph, self._ids.conflicts(self._project))
        for solution in self._client.query(question, head):
            subject, predicate, value = (solution.get(name) for name in ("s", "p", "o"))
            if (
                isinstance(subject, NamedNode)
                and isinstance(predicate, NamedNode)
                and isinstance(value, NamedNode | Literal)
            ):
                quad = Quad(subject, predicate, value, graph)
                found[_iri(solution.get("conflict"))][subject.value].add(quad)
        return {
            iri: Statements({node: frozenset(quads) for node, quads in of_node.items()})
            for iri, of_node in found.items()
        }


def _iri(term: object) -> str:
    if not isinstance(term, NamedNode):
        raise UnexpectedAnswer(f"/sparql gave {term} where only an IRI can be")
    return term.value
