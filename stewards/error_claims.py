"""What errors would have the graph say.

Invariant: :func:`claims` is a pure function of the rows. An issue is known by its grouping key; it
affects the service that reported it, in the release that it named. What names a feature is the tag
``feature``.
"""

from __future__ import annotations

from collections.abc import Iterable

from ontology.ids import Ids
from ontology.vocab import Fo
from stewards import claims as span_claims
from stewards.claim_set import Claims, ClaimSet
from stewards.error_queries import ErrorRow
from stewards.evidence import Evidence
from stewards.product_things import FOREIGN_SUBJECT, ProductThings
from stewards.programs import Programs, is_version


def claims(rows: Iterable[ErrorRow], ids: Ids, project: str) -> Claims:
    """Issues, the services and releases that they were seen in, and the features they affect."""
    quads = ClaimSet(ids.lineage_graph(project))
    things = ProductThings(quads, ids, project)
    programs = Programs()
    foreign = 0
    for row in rows:
        evidence = ((row.first_seq, row.first_batch),)
        issue = things.issue(row.subject, row.name, row.culprit, row.exception, evidence)
        if not issue:
            foreign += row.events
            continue
        if programs.see(row.service, row.release, row.environment, evidence):
            seen_in(quads, ids, project, issue, row.service, row.release, evidence)
        feature = things.feature(row.feature, evidence)
        if feature:
            quads.link(issue, Fo.affects, feature, evidence)
    for claim in span_claims.claims(programs.observations(), ids, project).claims:
        quads.add(claim)
    return Claims(quads.ordered(), {FOREIGN_SUBJECT: foreign} if foreign else {})


def seen_in(
    quads: ClaimSet,
    ids: Ids,
    project: str,
    issue: str,
    service: str,
    release: str,
    evidence: Evidence,
) -> None:
    """State which service an issue affects, and in which release of it."""
    quads.link(issue, Fo.affects, ids.service(project, service), evidence)
    if is_version(release):
        quads.link(issue, Fo.seenInRelease, ids.release(service, release), evidence)
