"""What the spans of a page of facts say about the architecture.

Invariant: :func:`observations` is a pure function of the rows, and what two pages show together is
what they show apart, in any order. Each thing carries the batches that showed it first, as its
evidence. Only names leave the facts; the texts of statements don't.
Source: https://opentelemetry.io/docs/specs/semconv/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ontology.dataset_names import DataName, dataset, store, system_name, topic
from ontology.vocab import Fo
from ontology.workload_names import Workload
from stewards.evidence import Evidence, see
from stewards.fact_rows import PageRows, RelationRow, SpanRow
from stewards.names import MAX_NAME, is_named, shown

NO_SERVICE_NAME = "spans without a service name: set OTEL_SERVICE_NAME"
LONG_NAME = f"names of more than {MAX_NAME} characters"
NOT_UNDERSTOOD = "kinds of database statements that could not be parsed"


@dataclass(frozen=True, order=True)
class Operation:
    """An operation of a service; ``subject`` is the IRI that classification minted."""

    service: str
    subject: str
    role: Literal["offers", "performs"]
    event_class: str


@dataclass(frozen=True, order=True)
class Access:
    """An operation that reads or writes a dataset or a topic."""

    service: str
    subject: str
    way: Literal["reads", "writes"]
    asset: DataName


@dataclass(frozen=True, order=True)
class Call:
    """A service that calls another one; the operations are empty where no rule named them."""

    caller: str
    callee: str
    outgoing: str
    entry: str


@dataclass(frozen=True, order=True)
class Invocation:
    """Entering a service by ``entry`` leads to its own operation ``outgoing``."""

    service: str
    entry: str
    outgoing: str


@dataclass(frozen=True)
class Observations:
    """Every distinct thing that a page shows, with the earliest evidence for it.

    ``set_aside`` counts, by reason, what was seen and can't become knowledge.
    """

    services: Mapping[str, Evidence] = field(default_factory=dict)
    environments: Mapping[tuple[str, str], Evidence] = field(default_factory=dict)
    releases: Mapping[tuple[str, str], Evidence] = field(default_factory=dict)
    workloads: Mapping[tuple[str, Workload], Evidence] = field(default_factory=dict)
    pages: Mapping[str, Evidence] = field(default_factory=dict)
    operations: Mapping[Operation, Evidence] = field(default_factory=dict)
    accesses: Mapping[Access, Evidence] = field(default_factory=dict)
    calls: Mapping[Call, Evidence] = field(default_factory=dict)
    invocations: Mapping[Invocation, Evidence] = field(default_factory=dict)
    set_aside: Mapping[str, int] = field(default_factory=dict)


def observations(rows: PageRows) -> Observations:
    """Turn the rows of one page into what they show."""
    return _Observer().observe(rows)


class _Observer:
    def __init__(self) -> None:
        self.services: dict[str, Evidence] = {}
        self.environments: dict[tuple[str, str], Evidence] = {}
        self.releases: dict[tuple[str, str], Evidence] = {}
        self.workloads: dict[tuple[str, Workload], Evidence] = {}
        self.pages: dict[str, Evidence] = {}
        self.operations: dict[Operation, Evidence] = {}
        self.accesses: dict[Access, Evidence] = {}
        self.calls: dict[Call, Evidence] = {}
        self.invocations: dict[Invocation, Evidence] = {}
        self.set_aside: Counter[str] = Counter()

    def observe(self, rows: PageRows) -> Observations:
        for span in rows.spans:
            if is_named(span.service):
                self._span(span)
            else:
                reason = LONG_NAME if len(span.service) > MAX_NAME else NO_SERVICE_NAME
                self.set_aside[reason] += span.spans
        for relation in rows.relations:
            if is_named(relation.from_service) and is_named(relation.to_service):
                self._relation(relation)
        return self.result()

    def result(self) -> Observations:
        return Observations(
            self.services,
            self.environments,
            self.releases,
            self.workloads,
            self.pages,
            self.operations,
            self.accesses,
            self.calls,
            self.invocations,
            dict(self.set_aside),
        )

    def _span(self, row: SpanRow) -> None:
        evidence = ((row.first_seq, row.first_batch),)
        see(self.services, row.service, evidence)
        for found, value in ((self.environments, row.environment), (self.releases, row.release)):
            if len(value) > MAX_NAME:
                self.set_aside[LONG_NAME] += row.spans
            elif shown(value):
                see(found, (row.service, value), evidence)
        self._workload(row, evidence)
        if not row.subject:
            return
        self._operation(row.service, row.subject, row.event_class, row.kind, evidence)
        if row.peer not in ("", row.service):
            self._peer(row, evidence)
        # A message that travels through a database is still a message, and the other way round.
        if row.database and row.event_class not in _MESSAGES:
            self._database(row, evidence)
        elif row.destination and row.event_class != Fo.DatabaseOperation:
            self._message(row, evidence)

    def _workload(self, row: SpanRow, evidence: Evidence) -> None:
        names = (row.workload, row.cluster, row.cluster_namespace)
        if max(map(len, names)) > MAX_NAME:
            self.set_aside[LONG_NAME] += row.spans
        elif shown(row.workload.partition("/")[2]):
            workload = Workload(row.cluster, row.cluster_namespace, row.workload)
            see(self.workloads, (row.service, workload), evidence)

    def _operation(
        self, service: str, subject: str, event_class: str, kind: str, evidence: Evidence
    ) -> None:
        if event_class == Fo.Page:
            # It was seen in a trace, and nobody carries it out.
            see(self.pages, subject, evidence)
            return
        operation = Operation(service, subject, role(event_class, kind), event_class)
        see(self.operations, operation, evidence)

    def _peer(self, row: SpanRow, evidence: Evidence) -> None:
        """The service that a call names: it may be one that nothing instruments."""
        if is_named(row.peer):
            see(self.services, row.peer, evidence)
            see(self.calls, Call(row.service, row.peer, "", ""), evidence)
        elif len(row.peer) > MAX_NAME:
            self.set_aside[LONG_NAME] += row.spans

    def _database(self, row: SpanRow, evidence: Evidence) -> None:
        # The SQL parser takes as long to import as the rest of this floor: not while one starts.
        from stewards.statements import tables

        system = system_name(row.database)
        touched = tables(system, row.statement, row.collection, row.verb)
        if touched is None:
            self.set_aside[NOT_UNDERSTOOD] += 1
            return
        # A connection, a transaction or a ping touches no table.
        holder = store(system, row.address, row.port, row.namespace)
        for name in touched.reads:
            self._access(row, "reads", dataset(holder, name), evidence)
        for name in touched.writes:
            self._access(row, "writes", dataset(holder, name), evidence)

    def _message(self, row: SpanRow, evidence: Evidence) -> None:
        if row.event_class == Fo.PublishOperation:
            way: Literal["reads", "writes"] = "writes"
        elif row.event_class == Fo.ConsumeOperation:
            way = "reads"
        else:
            way = "writes" if row.kind == "producer" else "reads"
        system = row.messaging.lower() or "messaging"
        asset = topic(system, row.address, row.port, row.destination)
        self._access(row, way, asset, evidence)

    def _access(
        self, row: SpanRow, way: Literal["reads", "writes"], asset: DataName, evidence: Evidence
    ) -> None:
        names = (asset.name, asset.store.address, asset.store.namespace)
        if max(map(len, names)) > MAX_NAME:
            self.set_aside[LONG_NAME] += 1
        elif shown(asset.name):
            see(self.accesses, Access(row.service, row.subject, way, asset), evidence)

    def _relation(self, row: RelationRow) -> None:
        start, end, between = (
            (row.from_seq, row.from_batch),
            (row.to_seq, row.to_batch),
            (row.via_seq, row.via_batch),
        )
        # The other end may have come with an earlier page.
        for service, subject, event_class, kind, seen in (
            (row.from_service, row.from_subject, row.from_class, row.from_kind, start),
            (row.to_service, row.to_subject, row.to_class, row.to_kind, end),
        ):
            see(self.services, service, (seen,))
            if subject:
                self._operation(service, subject, event_class, kind, (seen,))
        evidence = tuple(sorted({start, end, between}))
        if row.relation == "invocation":
            if row.from_subject and row.to_subject:
                invocation = Invocation(row.to_service, row.from_subject, row.to_subject)
                see(self.invocations, invocation, evidence)
            return
        ends_at_operation = row.from_class in _CALLS and row.to_class in _CALLED
        call = Call(
            row.from_service,
            row.to_service,
            row.from_subject if ends_at_operation else "",
            row.to_subject,
        )
        see(self.calls, call, evidence)


def role(event_class: str, kind: str) -> Literal["offers", "performs"]:
    """Whether others enter the service by such an operation, or the service carries it out."""
    if event_class in _CALLED:
        return "offers"
    if event_class in _CARRIED_OUT:
        return "performs"
    return "offers" if kind in ("server", "consumer") else "performs"


_CALLS = frozenset({Fo.HttpCall, Fo.RpcCall})
_CALLED = frozenset({Fo.HttpRoute, Fo.RpcMethod})
_MESSAGES = frozenset({Fo.PublishOperation, Fo.ConsumeOperation, Fo.MessageOperation})
_CARRIED_OUT = _CALLS | {Fo.DatabaseOperation, Fo.PublishOperation, Fo.InternalOperation}
