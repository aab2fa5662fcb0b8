"""What observations of traces would have the graph say.

Invariant: :func:`claims` is a pure function; every IRI is minted by :class:`ontology.ids.Ids`, so
two stewards that see the same thing claim the same quads.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from urllib.parse import unquote

from pyoxigraph import NamedNode

from ontology.ids import Ids
from ontology.vocab import Fo
from ontology.workload_names import Workload
from stewards.claim_set import DETAILS, LINKS, OPERATIONS, PLACES, Claims, ClaimSet
from stewards.data_claims import claim_asset
from stewards.evidence import Evidence
from stewards.observe import Access, Call, Observations, Operation
from stewards.product_things import FOREIGN_SUBJECT as FOREIGN_PAGE
from stewards.product_things import ProductThings

MAX_IRI = 2048

FOREIGN_SUBJECT = "operations whose IRI isn't one of this project"


def claims(observed: Observations, ids: Ids, project: str) -> Claims:
    """What the project's lineage graph ought to hold after these observations."""
    return _Claimer(ids, project).claim(observed)


_METHOD = re.compile(r"[A-Za-z_-]{1,32}\Z")


class _Claimer:
    def __init__(self, ids: Ids, project: str) -> None:
        self._ids = ids
        self._project = project
        self._quads = ClaimSet(ids.lineage_graph(project))
        self._operation_prefix = ids.instance("operation", project) + "/"
        self._operations: dict[str, str] = {}
        self._set_aside: Counter[str] = Counter()

    def claim(self, observed: Observations) -> Claims:
        self._set_aside.update(observed.set_aside)
        for service, evidence in observed.services.items():
            self._service(service, evidence)
        for (service, name), evidence in observed.environments.items():
            self._environment(service, name, evidence)
        for (service, version), evidence in observed.releases.items():
            self._release(service, version, evidence)
        for (service, workload), evidence in observed.workloads.items():
            self._workload(service, workload, evidence)
        things = ProductThings(self._quads, self._ids, self._project)
        for page, evidence in observed.pages.items():
            if not things.of_event(page, Fo.Page, evidence):
                self._set_aside[FOREIGN_PAGE] += 1
        for operation, evidence in _by_evidence(observed.operations):
            self._operation(operation, evidence)
        for access, evidence in observed.accesses.items():
            self._access(access, evidence)
        for call, evidence in observed.calls.items():
            self._call(call, evidence)
        for invocation, evidence in observed.invocations.items():
            if {invocation.entry, invocation.outgoing} <= set(self._operations):
                self._quads.link(invocation.entry, Fo.invokes, invocation.outgoing, evidence)
        return Claims(self._quads.ordered(), dict(self._set_aside))

    # --- things

    def _service(self, name: str, evidence: Evidence) -> None:
        service = self._ids.service(self._project, name)
        self._quads.thing(service, Fo.Service, name, evidence, PLACES)
        self._quads.node(service, Fo.inProject, self._ids.project(self._project), evidence, PLACES)

    def _environment(self, service: str, name: str, evidence: Evidence) -> None:
        environment = self._ids.environment(name)
        self._quads.thing(environment, Fo.DeploymentEnvironment, name, evidence, PLACES)
        self._quads.link(
            self._ids.service(self._project, service), Fo.runsIn, environment, evidence
        )

    def _workload(self, service: str, workload: Workload, evidence: Evidence) -> None:
        iri = workload.iri(self._ids, self._project)
        self._quads.thing(iri, Fo.Workload, workload.name, evidence, PLACES, workload.key)
        self._quads.link(self._ids.service(self._project, service), Fo.runsAs, iri, evidence)

    def _release(self, service: str, version: str, evidence: Evidence) -> None:
        release = self._ids.release(service, version)
        self._quads.thing(release, Fo.Release, f"{service} {version}", evidence, PLACES, version)
        self._quads.text(release, Fo.version, version, evidence, PLACES)
        self._quads.link(
            self._ids.service(self._project, service), Fo.hasRelease, release, evidence
        )

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
            self._quads.thing(
                subject, operation.event_class, name, evidence, OPERATIONS, needs=needs
            )
            self._quads.node(
                subject, Fo.inProject, self._ids.project(self._project), evidence, OPERATIONS
            )
            if operation.event_class in (Fo.HttpRoute, Fo.HttpCall):
                method, _, rest = name.partition(" ")
                if _METHOD.match(method):
                    self._quads.text(subject, Fo.httpMethod, method, evidence, OPERATIONS)
                    # What is named by the function that serves it has no route to tell.
                    is_route = rest and not rest.endswith("()")
                    if is_route and operation.event_class == Fo.HttpRoute:
                        self._quads.text(subject, Fo.route, rest, evidence, OPERATIONS)
        self._quads.node(service, predicate, subject, evidence, OPERATIONS, about=subject)

    def _access(self, access: Access, evidence: Evidence) -> None:
        if access.subject not in self._operations:
            return
        asset = claim_asset(self._quads, self._ids, self._project, access.asset, evidence)
        predicate = Fo.reads if access.way == "reads" else Fo.writes
        self._quads.link(access.subject, predicate, asset, evidence)

    # --- what is said between them

    def _call(self, call: Call, evidence: Evidence) -> None:
        known = set(self._operations)
        if {call.outgoing, call.entry} <= known:
            self._quads.link(call.outgoing, Fo.callsOperation, call.entry, evidence)
        if call.caller == call.callee:
            # A service that calls itself doesn't depend on another one.
            return
        caller = self._ids.service(self._project, call.caller)
        callee = self._ids.service(self._project, call.callee)
        dependency = self._ids.dependency(self._project, call.caller, call.callee)
        self._quads.link(caller, Fo.calls, callee, evidence)
        self._quads.thing(
            dependency,
            Fo.Dependency,
            f"{call.caller} calls {call.callee}",
            evidence,
            LINKS,
            "",
            frozenset({caller, callee}),
        )
        self._quads.node(
            dependency, Fo.inProject, self._ids.project(self._project), evidence, LINKS
        )
        self._quads.node(dependency, Fo.caller, caller, evidence, LINKS)
        self._quads.node(dependency, Fo.callee, callee, evidence, LINKS)
        if call.entry in known:
            self._quads.node(dependency, Fo.via, call.entry, evidence, DETAILS)

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
