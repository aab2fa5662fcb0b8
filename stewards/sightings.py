"""When the facts last showed a thing.

Invariant: a fact shows a thing here by the same question, and under the same name, as in a sweep:
what keeps a thing awake is what would bring it into the graph. A fact counts for the day of its own
time, so history that is sent late wakes nothing, and never for a day after its receipt, so a clock
that is years ahead keeps nothing awake.

The questions are put to a relation in which the number of a fact is its age in days (plus one, for
a page begins after zero), so that what they call first is what was seen last: one aggregate
question for each kind of thing, whose answer grows with the things and not with the facts.
Source: https://clickhouse.com/docs/sql-reference/statements/select#replace
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from ingest.events import SPAN_SOURCE
from ontology.ids import Ids
from stewards import claims as span_claims
from stewards import fact_queries, job_claims, job_queries, sources
from stewards.claim_set import Claims, ClaimSet
from stewards.fact_queries import Page, first_of, text, within
from stewards.fact_rows import Ask, PageRows, SpanRow, rows
from stewards.observe import observations
from stewards.product_things import ProductThings
from stewards.sources import Source

EVER = 2**31


@dataclass(frozen=True)
class Slice:
    """Batches of one project, ``oldest`` to ``newest``; ``age`` is that of the latest receipt among
    them, in days, and no fact in them is younger."""

    oldest: int
    newest: int
    age: int


@dataclass(frozen=True)
class NamedRow:
    """A feature that spans name."""

    feature: str
    first_seq: int
    first_batch: str


@dataclass(frozen=True, order=True)
class Sighting:
    """How many days ago a thing was seen, and a batch that showed it then."""

    age: int
    batch: str


def last_seen(page: Page, ask: Ask, ids: Ids) -> dict[str, Sighting]:
    """When the facts of a page of :func:`aged` last showed each thing, by its IRI."""
    found: dict[str, Sighting] = {}
    for sighting in SIGHTINGS.values():
        for claim in sighting(page, ask, ids).claims:
            if claim.introduces:
                number, batch = claim.evidence[-1]
                seen = Sighting(number - 1, batch)
                found[claim.introduces] = min(seen, found.get(claim.introduces, seen))
    return found


def aged(project: str, today: date, oldest: int, newest: int, days: int | None = None) -> Page:
    """The facts of the batches ``oldest`` to ``newest`` by their age; none of more than ``days``
    days where that is given."""
    facts = (
        f"SELECT * FROM events WHERE project = {text(project)}"
        f" AND seq >= {oldest:d} AND seq <= {newest:d}"
    )
    number = f"toUInt64({_age('least(time, received)', today)} + 1)"
    relation = f"(SELECT * REPLACE ({number} AS seq) FROM ({facts}))"
    return Page(project, 0, EVER if days is None else days + 1, 0, relation)


def slices(project: str, today: date, facts: int) -> str:
    """Columns of :class:`Slice`: the project's batches in parts of about so many facts, newest
    first."""
    batches = (
        f"SELECT seq, count() AS facts, min({_age('received', today)}) AS age"
        f" FROM events WHERE project = {text(project)} GROUP BY seq"
    )
    parts = (
        f"SELECT seq, age, intDiv(sum(facts) OVER (ORDER BY seq DESC) - 1, {facts:d}) AS part"
        f" FROM ({batches})"
    )
    return (
        "SELECT min(seq) AS oldest, max(seq) AS newest, min(age) AS youngest"
        f" FROM ({parts}) GROUP BY part ORDER BY newest DESC"
    )


def _age(moment: str, today: date) -> str:
    """A moment's age in days, as dates differ; 0 for one that is still to come."""
    return f"greatest(dateDiff('day', toDate32({moment}), toDate32('{today}')), 0)"


def _spans(page: Page, ask: Ask, ids: Ids) -> Claims:
    # What calls what brings no thing that the spans alone don't, dependencies apart.
    found = PageRows(rows(SpanRow, ask(fact_queries.spans(page))))
    return span_claims.claims(observations(found), ids, page.project)


def _runs(page: Page, ask: Ask, ids: Ids) -> Claims:
    found = job_queries.LineageRows(
        rows(job_queries.JobRow, ask(job_queries.jobs(page))),
        rows(job_queries.AssetRow, ask(job_queries.assets(page))),
        (),
        rows(job_queries.ColumnRow, ask(job_queries.columns(page))),
    )
    return job_claims.claims(found, ids, page.project)


def _named_by_spans(page: Page, ask: Ask, ids: Ids) -> Claims:
    # Of what is joined, only this isn't seen by what is joined with it.
    sql = (
        f"SELECT {first_of('feature')} AS feature, min(seq) AS first_seq,"
        f" argMin(batch, seq) AS first_batch FROM {page.relation}"
        f" WHERE {within(page, SPAN_SOURCE)} AND mapContains(attributes, 'feature')"
        " GROUP BY feature ORDER BY feature"
    )
    quads = ClaimSet(ids.lineage_graph(page.project))
    things = ProductThings(quads, ids, page.project)
    for row in rows(NamedRow, ask(sql)):
        things.feature(row.feature, ((row.first_seq, row.first_batch),))
    return Claims(quads.ordered())


SIGHTINGS: Mapping[Source, Source] = {
    sources.spans: _spans,
    sources.runs: _runs,
    sources.product_events: sources.product_events,
    sources.errors: sources.errors,
    sources.joins: _named_by_spans,
}
"""How each source of facts shows its things, without what it says between them."""
