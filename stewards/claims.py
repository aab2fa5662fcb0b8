"""What observations would have the graph say.

Invariant: :func:`claims` is a pure function; every IRI is minted by :class:`ontology.ids.Ids`, so
two stewards that see the same thing claim the same quads. A claim names the nodes it can't do
without, so that nothing is ever said of a thing that the graph won't hold.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from pyoxigraph import Literal, NamedNode, Quad

from ontology.ids import Ids
from ontology.vocab import Fo, Rdf, Rdfs, Skos
from stewards.names import shown
from stewards.observe import Access, Call, Evidence, Observations, Operation, Store

MAX_IRI = 2048

FOREIGN_SUBJECT = "operations whose IRI isn't one of this project"

# Things first, then what is said between them: a part of the claims, taken in this order, never
# speaks of a thing that a later part introduces.
PLACES, DATA, OPERATIONS, LINKS, DETAILS = range(5)


@dataclass(frozen=True)
class Claim:
    """One quad, its evidence, and how it hangs together with others.

    ``about`` is the node that it describes: claims of one rank about one node stay in one proposal,
    or out of it. ``needs`` are the nodes it makes no sense without.
    """

    quad: Quad
    evidence: Evidence
    rank: int
    about: str
    needs: frozenset[str] = frozenset()

    @property
    def introduces(self) -> str | None:
        """The thing that this claim brings into the graph, by giving it a class."""
        return self.about if self.quad.predicate.value == Rdf.type else None


@dataclass(frozen=True)
class Claims:
    """Every claim of a page, in order, and what was set aside, counted by reason."""

    claims: tuple[Claim, ...] = ()
    set_aside: Mapping[str, int] = field(default_factory=dict)


def claims(observed: Observations, ids: Ids, project: str) -> Claims:
    """What the project's lineage graph ought to hold after these observations."""
    return _Claimer(ids, project).claim(observed)


_METHOD = re.compile(r"[A-Za-z_-]{1,32}\Z")


class _Claimer:
    def __init__(self, ids: Ids, project: str) -> None:
        self._ids = ids
        self._project = project
        self._graph = NamedNode(ids.lineage_graph(project))
        self._operation_prefix = ids.instance("operation", project) + "/"
        self._operations: dict[str, str] = {}
        self._set_aside: Counter[str] = Counter()
        self._found: dict[Quad, Claim] = {}

    def claim(self, observed: Observations) -> Claims:
        self._set_aside.update(observed.set_aside)
        for service, evidence in observed.services.items():
            self._service(service, evidence)
        for (service, name), evidence in observed.environments.items():
            self._environment(service, name, evidence)
        for (service, version), evidence in observed.releases.items():
            self._release(service, version, evidence)
        for operation, evidence in _by_evidence(observed.operations):
            self._operation(operation, evidence)
        for access, evidence in observed.accesses.items():
            self._access(access, evidence)
        for call, evidence in observed.calls.items():
            self._call(call, evidence)
        for invocation, evidence in observed.invocations.items():
            if {invocation.entry, invocation.outgoing} <= set(self._operations):
                self._link(invocation.entry, Fo.invokes, invocation.outgoing, evidence)
        ordered = sorted(
            self._found.values(), key=lambda claim: (claim.rank, claim.about, str(claim.quad))
        )
        return Claims(tuple(ordered), dict(self._set_aside))

    # --- things

    def _service(self, name: str, evidence: Evidence) -> None:
        service = self._ids.service(self._project, name)
        self._thing(service, Fo.Service, name, evidence, PLACES)
        self._node(service, Fo.inProject, self._ids.project(self._project), evidence, PLACES)

    def _environment(self, service: str, name: str, evidence: Evidence) -> None:
        environment = self._ids.environment(name)
        self._thing(environment, Fo.DeploymentEnvironment, name, evidence, PLACES)
        self._link(self._ids.service(self._project, service), Fo.runsIn, environment, evidence)

    def _release(self, service: str, version: str, evidence: Evidence) -> None:
        release = self._ids.release(service, version)
        self._thing(release, Fo.Release, f"{service} {version}", evidence, PLACES, version)
        self._text(release, Fo.version, version, evidence, PLACES)
        self._link(self._ids.service(self._project, service), Fo.hasRelease, release, evidence)

    def _operation(self, operation: Operation, evidence: Evidence) -> None:
        subject = operation.subject
        if not self._is_ours(subject):
            self._set_aside[FOREIGN_SUBJECT] += 1
            return
        service = self._ids.service(self._project, operation.service)
        predicate = Fo.offers if operation.role == "offers" else Fo.performs
        if subject not in self._operations:
            # An operation has one class: that of the spans that showed it first.
            self._operations[subject] = operation.event_class
            name = unquote(subject.rsplit("/", 1)[1])
            needs = frozenset({service})
            self._thing(subject, operation.event_class, name, evidence, OPERATIONS, needs=needs)
            self._node(
                subject, Fo.inProject, self._ids.project(self._project), evidence, OPERATIONS
            )
            if operation.event_class in (Fo.HttpRoute, Fo.HttpCall):
                method, _, rest = name.partition(" ")
                if _METHOD.match(method):
                    self._text(subject, Fo.httpMethod, method, evidence, OPERATIONS)
                    if rest and operation.event_class == Fo.HttpRoute:
                        self._text(subject, Fo.route, rest, evidence, OPERATIONS)
        self._node(service, predicate, subject, evidence, OPERATIONS, about=subject)

    def _access(self, access: Access, evidence: Evidence) -> None:
        if access.subject not in self._operations:
            return
        store = access.store
        # Without an address of its own a store is known within the project only.
        address = store.address or f"project:{self._project}"
        holder = self._ids.data_store(store.system, address, store.namespace)
        if access.kind == "topic":
            asset = self._ids.topic(store.system, address, access.name)
            kind = Fo.Topic
        else:
            asset = self._ids.dataset(store.system, address, store.namespace, access.name)
            kind = Fo.Dataset
        self._store(holder, store, evidence)
        self._thing(asset, kind, access.name, evidence, DATA, needs=frozenset({holder}))
        self._text(asset, Fo.system, store.system, evidence, DATA)
        if store.namespace:
            self._text(asset, Fo.namespace, store.namespace, evidence, DATA)
        self._node(asset, Fo.storedIn, holder, evidence, DATA)
        predicate = Fo.reads if access.way == "reads" else Fo.writes
        self._link(access.subject, predicate, asset, evidence)

    def _store(self, holder: str, store: Store, evidence: Evidence) -> None:
        where = " at ".join(filter(None, (store.namespace, store.address))) or self._project
        self._thing(
            holder, Fo.DataStore, f"{store.system} {where}", evidence, PLACES, store.namespace
        )
        self._text(holder, Fo.system, store.system, evidence, PLACES)
        if store.namespace:
            self._text(holder, Fo.namespace, store.namespace, evidence, PLACES)
        if store.address:
            self._text(holder, Fo.address, store.address, evidence, PLACES)

    # --- what is said between them

    def _call(self, call: Call, evidence: Evidence) -> None:
        known = set(self._operations)
        if {call.outgoing, call.entry} <= known:
            self._link(call.outgoing, Fo.callsOperation, call.entry, evidence)
        if call.caller == call.callee:
            # A service that calls itself doesn't depend on another one.
            return
        caller = self._ids.service(self._project, call.caller)
        callee = self._ids.service(self._project, call.callee)
        dependency = self._ids.dependency(self._project, call.caller, call.callee)
        self._link(caller, Fo.calls, callee, evidence)
        self._thing(
            dependency,
            Fo.Dependency,
            f"{call.caller} calls {call.callee}",
            evidence,
            LINKS,
            "",
            frozenset({caller, callee}),
        )
        self._node(dependency, Fo.inProject, self._ids.project(self._project), evidence, LINKS)
        self._node(dependency, Fo.caller, caller, evidence, LINKS)
        self._node(dependency, Fo.callee, callee, evidence, LINKS)
        if call.entry in known:
            self._node(dependency, Fo.via, call.entry, evidence, DETAILS)

    def _link(self, subject: str, predicate: str, value: str, evidence: Evidence) -> None:
        self._node(subject, predicate, value, evidence, LINKS)

    # --- quads

    def _thing(
        self,
        subject: str,
        kind: str,
        name: str,
        evidence: Evidence,
        rank: int,
        notation: str | None = None,
        needs: frozenset[str] = frozenset(),
    ) -> None:
        """Introduce a thing; ``notation`` is its key in telemetry, by default its name."""
        self._claim(subject, Rdf.type, NamedNode(kind), evidence, rank, subject, needs)
        self._text(subject, Rdfs.label, name, evidence, rank)
        if notation is None or notation:
            self._text(subject, Skos.notation, notation or name, evidence, rank)

    def _text(self, subject: str, predicate: str, text: str, evidence: Evidence, rank: int) -> None:
        value = shown(text)
        if value:
            self._claim(subject, predicate, Literal(value), evidence, rank, subject)

    def _node(
        self,
        subject: str,
        predicate: str,
        value: str,
        evidence: Evidence,
        rank: int,
        about: str | None = None,
    ) -> None:
        self._claim(
            subject,
            predicate,
            NamedNode(value),
            evidence,
            rank,
            about or subject,
            frozenset({value}),
        )

    def _claim(
        self,
        subject: str,
        predicate: str,
        value: NamedNode | Literal,
        evidence: Evidence,
        rank: int,
        about: str,
        needs: Iterable[str] = (),
    ) -> None:
        quad = Quad(NamedNode(subject), NamedNode(predicate), value, self._graph)
        known = self._found.get(quad)
        if known is None or (evidence[-1][0], evidence) < (known.evidence[-1][0], known.evidence):
            self._found[quad] = Claim(
                quad, evidence, rank, about, frozenset({subject, about, *needs})
            )

    def _is_ours(self, subject: str) -> bool:
        if not subject.startswith(self._operation_prefix) or len(subject) > MAX_IRI:
            return False
        try:
            NamedNode(subject)
        except ValueError:
            return False
        return True


def _by_evidence(
    operations: Mapping[Operation, Evidence],
) -> list[tuple[Operation, Evidence]]:
    return sorted(operations.items(), key=lambda item: (item[1][-1][0], item[1], item[0]))
