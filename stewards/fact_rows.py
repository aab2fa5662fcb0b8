"""The rows in which the warehouse answers a steward.

Invariant: one class for each question about spans of :mod:`stewards.fact_queries`, its fields being
the columns of that question in their order. A row stands for all spans that agree in it, and names
the batch that showed them first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints

from stewards import fact_queries
from stewards.errors import UnexpectedAnswer
from stewards.fact_queries import Page


@dataclass(frozen=True)
class SpanRow:
    """Spans of a page that agree in everything that matters here.

    ``database`` is the database system and ``destination`` the lasting one of a message; what
    stands between them and the evidence is empty for other spans, but ``peer``, which is what a
    call names as the service that it calls, and the ``workload`` with its place, as which the
    service ran.
    """

    service: str
    environment: str
    release: str
    subject: str
    event_class: str
    kind: str
    database: str
    messaging: str
    destination: str
    address: str
    port: str
    namespace: str
    collection: str
    verb: str
    peer: str
    workload: str
    cluster: str
    cluster_namespace: str
    statement: str = field(repr=False)
    first_seq: int
    first_batch: str
    spans: int


@dataclass(frozen=True)
class RelationRow:
    """``call``: a span of one service above a server span; ``invocation``: the entry into a service
    above an outgoing span of it. The batches are those of the two spans and of the way between."""

    relation: str
    from_service: str
    from_subject: str
    from_class: str
    from_kind: str
    to_service: str
    to_subject: str
    to_class: str
    to_kind: str
    from_seq: int
    from_batch: str
    to_seq: int
    to_batch: str
    via_seq: int
    via_batch: str


@dataclass(frozen=True)
class PageRows:
    """The answers to the questions of :mod:`stewards.fact_queries` for one page."""

    spans: Sequence[SpanRow] = ()
    relations: Sequence[RelationRow] = ()


Row = TypeVar("Row")
Ask = Callable[[str], Sequence[Sequence[Any]]]
"""Asks the facts one SQL question and gives all rows of the answer."""


def read(page: Page, ask: Ask) -> PageRows:
    """Ask every question about this page. Raises :class:`stewards.errors.UnexpectedAnswer`."""
    relations = rows(RelationRow, ask(fact_queries.relations(page)))
    if any(row.relation == "long" for row in relations):
        relations = (
            *(row for row in relations if row.relation != "long"),
            *rows(RelationRow, ask(fact_queries.long_relations(page))),
        )
    return PageRows(rows(SpanRow, ask(fact_queries.spans(page))), relations)


def rows(kind: type[Row], answer: Sequence[Sequence[Any]]) -> tuple[Row, ...]:
    """The rows of an answer. Raises :class:`stewards.errors.UnexpectedAnswer`."""
    types = get_type_hints(kind).values()
    try:
        return tuple(
            kind(*(cast(value) for cast, value in zip(types, row, strict=True))) for row in answer
        )
    except (TypeError, ValueError) as error:
        raise UnexpectedAnswer(
            f"/facts gave a row that is no {kind.__name__}: {error}. The platform and this steward"
            " are of different versions: upgrade the older one"
        ) from error
