"""The rows in which the warehouse answers a steward.

Invariant: one class for each question of :mod:`stewards.fact_queries`, its fields being the columns
of that question in their order. A row stands for all spans that agree in it, and names the batch
that showed them first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints

from stewards import fact_queries
from stewards.errors import UnexpectedAnswer
from stewards.fact_queries import Page


@dataclass(frozen=True)
class ServiceRow:
    service: str
    environment: str
    release: str
    first_seq: int
    first_batch: str
    spans: int


@dataclass(frozen=True)
class OperationRow:
    service: str
    subject: str
    event_class: str
    kind: str
    first_seq: int
    first_batch: str


@dataclass(frozen=True)
class DatabaseRow:
    service: str
    subject: str
    event_class: str
    system: str
    address: str
    port: str
    namespace: str
    collection: str
    verb: str
    statement: str = field(repr=False)
    first_seq: int
    first_batch: str


@dataclass(frozen=True)
class MessageRow:
    service: str
    subject: str
    event_class: str
    kind: str
    system: str
    address: str
    port: str
    destination: str
    first_seq: int
    first_batch: str


@dataclass(frozen=True)
class CallRow:
    caller_service: str
    caller_subject: str
    caller_class: str
    callee_service: str
    callee_subject: str
    callee_class: str
    one_seq: int
    one_batch: str
    other_seq: int
    other_batch: str


@dataclass(frozen=True)
class InvocationRow:
    service: str
    entry: str
    outgoing: str
    one_seq: int
    one_batch: str
    other_seq: int
    other_batch: str


@dataclass(frozen=True)
class PageRows:
    """The answers to the questions of :mod:`stewards.fact_queries` for one page."""

    services: Sequence[ServiceRow] = ()
    operations: Sequence[OperationRow] = ()
    database: Sequence[DatabaseRow] = ()
    messages: Sequence[MessageRow] = ()
    calls: Sequence[CallRow] = ()
    invocations: Sequence[InvocationRow] = ()


Row = TypeVar("Row")
Ask = Callable[[str], Sequence[Sequence[Any]]]
"""Asks the facts one SQL question and gives all rows of the answer."""


def read(page: Page, ask: Ask) -> PageRows:
    """Ask every question about this page. Raises :class:`stewards.errors.UnexpectedAnswer`."""
    return PageRows(
        services=_rows(ServiceRow, ask(fact_queries.services(page))),
        operations=_rows(OperationRow, ask(fact_queries.operations(page))),
        database=_rows(DatabaseRow, ask(fact_queries.database(page))),
        messages=_rows(MessageRow, ask(fact_queries.messages(page))),
        calls=_rows(CallRow, ask(fact_queries.calls(page))),
        invocations=_rows(InvocationRow, ask(fact_queries.invocations(page))),
    )


def _rows(kind: type[Row], answer: Sequence[Sequence[Any]]) -> tuple[Row, ...]:
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
