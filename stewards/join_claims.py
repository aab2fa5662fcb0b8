"""What product events, errors and spans say together.

Invariant: :func:`claims` is a pure function of the rows. Both ends of a link are claimed again with
it, since the other end may have come with an earlier page.
"""

from __future__ import annotations

from ingest.events import ERROR_SOURCE, PRODUCT_SOURCE
from ontology.ids import Ids
from ontology.vocab import Fo
from stewards import claims as span_claims
from stewards.claim_set import Claims, ClaimSet
from stewards.error_claims import seen_in
from stewards.evidence import Evidence
from stewards.join_queries import FeatureRow, Joined, JoinRow
from stewards.names import is_named
from stewards.product_things import ProductThings
from stewards.programs import Programs


def claims(joined: Joined, ids: Ids, project: str) -> Claims:
    """Which operations pages, event types and features reach, and what error issues affect."""
    claimer = _Joiner(ids, project)
    for place in joined.places:
        claimer.place(place)
    for feature in joined.features:
        claimer.feature(feature)
    return claimer.claims()


class _Joiner:
    def __init__(self, ids: Ids, project: str) -> None:
        self._ids = ids
        self._project = project
        self._quads = ClaimSet(ids.lineage_graph(project))
        self._things = ProductThings(self._quads, ids, project)
        self._programs = Programs()
        self._links: list[tuple[str, str, str, Evidence]] = []

    def claims(self) -> Claims:
        told = span_claims.claims(self._programs.observations(), self._ids, self._project).claims
        for claim in told:
            self._quads.add(claim)
        # Foreign operations are counted where they are asked for.
        known = {claim.introduces for claim in told}
        for subject, predicate, operation, evidence in self._links:
            if operation in known:
                self._quads.link(subject, predicate, operation, evidence)
        return Claims(self._quads.ordered())

    def place(self, row: JoinRow) -> None:
        if not is_named(row.service):
            return
        said: Evidence = ((row.said_seq, row.said_batch),)
        at: Evidence = ((row.span_seq, row.span_batch),)
        evidence: Evidence = tuple(sorted({*said, *at, (row.via_seq, row.via_batch)}))
        self._programs.see(row.service, row.release, "", at)
        if row.operation:
            self._programs.enter(
                row.service, row.operation, row.operation_class, row.operation_kind, at
            )
        if row.source == ERROR_SOURCE:
            issue = self._things.issue(row.subject, row.name, row.culprit, row.exception, said)
            if issue:
                self._links.append((issue, Fo.affects, row.operation, evidence))
                seen_in(
                    self._quads,
                    self._ids,
                    self._project,
                    issue,
                    row.service,
                    row.release,
                    evidence,
                )
            return
        for thing in self._said(row, said):
            self._links.append((thing, Fo.reaches, row.operation, evidence))

    def _said(self, row: JoinRow, evidence: Evidence) -> set[str]:
        """What a product event, or a span that names a feature, is about."""
        found = {self._things.feature(row.feature, evidence)}
        if row.source == PRODUCT_SOURCE or row.event_class == Fo.Page:
            found.add(self._things.of_event(row.subject, row.event_class, evidence))
            if row.event_class != Fo.Page:
                found.add(self._things.place(row.place, evidence))
        return found - {""}

    def feature(self, row: FeatureRow) -> None:
        error: Evidence = ((row.error_seq, row.error_batch),)
        said: Evidence = ((row.said_seq, row.said_batch),)
        issue = self._things.issue(row.subject, row.name, row.culprit, row.exception, error)
        feature = self._things.feature(row.feature, said)
        if issue and feature:
            self._quads.link(issue, Fo.affects, feature, tuple(sorted({*error, *said})))
