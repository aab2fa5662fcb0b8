"""The question that a steward asks of errors, as SQL, and its rows.

Invariant: the answer grows with the distinct issues and where they were seen, not with the number
of errors. Titles and messages of exceptions stay in the warehouse: they may hold anything.
Source: https://develop.sentry.dev/sdk/data-model/event-payloads/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.events import ERROR_SOURCE
from ontology.vocab import Fo
from stewards.fact_queries import Page, first_of, text, within
from stewards.fact_rows import Ask, rows

IS_ISSUE = f"class = {text(Fo.ErrorIssue)} AND subject != ''"

CULPRIT = first_of("error.culprit")
EXCEPTION = first_of("exception.type")
FEATURE = first_of("tags.feature")
# A release is called package@version; the package is what the program is called where it doesn't
# name its service.
SERVICE = f"if(service != '', service, {first_of('release.package')})"


@dataclass(frozen=True)
class ErrorRow:
    """Errors of a page of facts that agree in everything that matters here.

    ``name`` is the kind of the exception or the template of the message, ``exception`` its kind
    alone; ``feature`` is the tag of that name.
    """

    subject: str
    name: str
    culprit: str
    exception: str
    feature: str
    service: str
    release: str
    environment: str
    first_seq: int
    first_batch: str
    events: int


def events(page: Page) -> str:
    """Columns of :class:`ErrorRow`."""
    names = "subject, name, culprit, exception, feature, program, release, environment"
    return f"""
SELECT subject, name, {CULPRIT} AS culprit, {EXCEPTION} AS exception, {FEATURE} AS feature,
       {SERVICE} AS program, release, environment,
       min(seq) AS first_seq, argMin(batch, seq) AS first_batch, count() AS events
FROM {page.relation} WHERE {within(page, ERROR_SOURCE)} AND {IS_ISSUE}
GROUP BY {names} ORDER BY {names}"""


def read(page: Page, ask: Ask) -> Sequence[ErrorRow]:
    """Ask it. Raises :class:`stewards.errors.UnexpectedAnswer`."""
    return rows(ErrorRow, ask(events(page)))
