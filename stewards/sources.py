"""The sources of facts, and what a steward makes of a page of them.

Invariant: each source asks its own questions and makes its own claims; what several of them claim
of one thing is one claim, with the evidence that was complete first, so their order says nothing.
A new source is a module of questions and rows, one that turns rows into claims, and a line in
``SOURCES``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from ontology.ids import Ids
from stewards import claims as span_claims
from stewards import (
    error_claims,
    error_queries,
    job_claims,
    job_queries,
    join_claims,
    join_queries,
    product_claims,
    product_queries,
)
from stewards.claim_set import Claims, ClaimSet
from stewards.fact_queries import Page
from stewards.fact_rows import Ask, read
from stewards.observe import observations

Source = Callable[[Page, Ask, Ids], Claims]
"""Asks for what the page holds of one source, and says what the graph ought to hold."""


def spans(page: Page, ask: Ask, ids: Ids) -> Claims:
    """Traces: services, their operations, and what these call, read and write."""
    return span_claims.claims(observations(read(page, ask)), ids, page.project)


def runs(page: Page, ask: Ask, ids: Ids) -> Claims:
    """OpenLineage: jobs, what they read and write, and what came from what."""
    return job_claims.claims(job_queries.read(page, ask), ids, page.project)


def product_events(page: Page, ask: Ask, ids: Ids) -> Claims:
    """PostHog: pages, event types and features."""
    return product_claims.claims(product_queries.read(page, ask), ids, page.project)


def errors(page: Page, ask: Ask, ids: Ids) -> Claims:
    """Sentry and GlitchTip: error issues, where they were seen and what they affect."""
    return error_claims.claims(error_queries.read(page, ask), ids, page.project)


def joins(page: Page, ask: Ask, ids: Ids) -> Claims:
    """All three together: what uses of the product reach, and which operations errors affect."""
    return join_claims.claims(join_queries.read(page, ask), ids, page.project)


SOURCES: tuple[Source, ...] = (spans, runs, product_events, errors, joins)
BY_NAME: Mapping[str, Source] = {source.__name__: source for source in SOURCES}


def claims(page: Page, ask: Ask, ids: Ids) -> Claims:
    """What the project's lineage graph ought to hold after this page."""
    return merged((source(page, ask, ids) for source in SOURCES), ids.lineage_graph(page.project))


def merged(found: Iterable[Claims], graph: str) -> Claims:
    """The claims of several sources on one named graph, as one."""
    together = ClaimSet(graph)
    set_aside: Counter[str] = Counter()
    for of_source in found:
        set_aside.update(of_source.set_aside)
        for claim in of_source.claims:
            together.add(claim)
    return Claims(together.ordered(), dict(set_aside))
