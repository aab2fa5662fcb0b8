"""What product events would have the graph say.

Invariant: :func:`claims` is a pure function of the rows. What names a feature is the property
``feature`` of an event, or the flag that a ``$feature_flag_called`` is about. Persons aren't looked
at.
"""

from __future__ import annotations

from collections.abc import Iterable

from ontology.ids import Ids
from ontology.vocab import Fo
from stewards import claims as span_claims
from stewards.claim_set import Claims, ClaimSet
from stewards.product_queries import ProductRow
from stewards.product_things import FOREIGN_SUBJECT, ProductThings
from stewards.programs import Programs


def claims(rows: Iterable[ProductRow], ids: Ids, project: str) -> Claims:
    """Pages, event types and features, how they belong together, and the services that tell."""
    quads = ClaimSet(ids.lineage_graph(project))
    things = ProductThings(quads, ids, project)
    programs = Programs()
    foreign = 0
    for row in rows:
        evidence = ((row.first_seq, row.first_batch),)
        programs.see(row.service, row.release, row.environment, evidence)
        subject = things.of_event(row.subject, row.event_class, evidence)
        if not subject:
            foreign += row.events
            continue
        feature = things.feature(row.feature, evidence)
        page = subject if row.event_class == Fo.Page else things.place(row.place, evidence)
        if feature and page:
            quads.link(feature, Fo.onPage, page, evidence)
        if row.event_class == Fo.ProductEventType:
            if feature:
                quads.link(subject, Fo.concernsFeature, feature, evidence)
            if page:
                quads.link(subject, Fo.onPage, page, evidence)
    told = span_claims.claims(programs.observations(), ids, project)
    for claim in told.claims:
        quads.add(claim)
    return Claims(quads.ordered(), {FOREIGN_SUBJECT: foreign} if foreign else {})
