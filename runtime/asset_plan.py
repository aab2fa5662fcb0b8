"""What is to be proposed of what was found: new assets, services that run on assets, and what can
be done with an asset of which nobody has said it.

Invariant: pure; the same look at the same graph gives the same statements. Only statements are
added, of things whose place nobody has stated, and of services that the graph knows: what people
declared stays as they declared it. What a person has turned down, or has still to decide on, isn't
proposed again. One thing that can't be stated is set aside and keeps no other from being proposed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Final

from pyoxigraph import Literal, NamedNode, Triple

from ontology.ids import Ids
from ontology.vocab import Fo
from proofs.secret_text import holds_secret
from runtime.asset_graph import AssetGraph
from runtime.asset_matching import Found, Meeting, same_place
from runtime.asset_naming import asset_id
from runtime.asset_quads import Statements
from runtime.assets import Kind, Locators, RuntimeAsset, Status

MOST_NEW: Final = 50
"""New assets in one proposal: more than that no person reads at once."""
MOST_HOSTED: Final = 200
_MOST_EVIDENCE: Final = 16

CAPABILITIES: Final[Mapping[Kind, tuple[str, ...]]] = {
    "lxc": ("run",),
    "kubernetes": ("logs", "restart", "run"),
}
"""What every adapter of a kind can do."""

# As the shapes have them; a name of something else than a machine is set aside.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_CLUSTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,252}")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_WORKLOAD = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.-]{0,252}")
_ENVIRONMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the graph knows around assets: the organisation, which answers for what no project's
    owner does; the owners of projects, by slug; whether an IRI is a service that everybody may
    read of."""

    organisation: str
    owners: Mapping[str, str]
    is_service: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class TurnedDown:
    """What was proposed before, and rejected or not decided on: assets by kind and locators, and
    the statements about assets that there were."""

    assets: tuple[tuple[Kind, Locators], ...] = ()
    statements: frozenset[Triple] = frozenset()

    def holds(self, found: Found) -> bool:
        return any(
            kind == found.kind and same_place(kind, locators, found.locators)
            for kind, locators in self.assets
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What to propose: the statements, what they are about (new ``assets``; by asset id, the
    services that are ``hosted`` and the assets that are ``capable`` of what nobody has stated),
    and the digests of the evidence.

    ``set_aside`` counts by reason what was found and isn't proposed."""

    additions: frozenset[Triple] = frozenset()
    assets: tuple[RuntimeAsset, ...] = ()
    hosted: tuple[tuple[str, str], ...] = ()
    capable: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    set_aside: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.additions)


UNCLEAR = "could be several assets"
UNNAMED = "has no name that can be an asset id"
STRANGE = "has a name that no machine has"
DECIDED = "was turned down, or waits for a decision"
BEYOND = "is beyond what one proposal holds"


def plan(
    meeting: Meeting,
    graph: AssetGraph,
    ids: Ids,
    around: Surroundings,
    before: TurnedDown,
    *,
    elsewhere: bool = False,
) -> Plan:
    """What makes the graph know what was found. With ``elsewhere``, of a service that an asset
    hosts already also where else it was seen; a person asks for that.

    Raises nothing: what can't be proposed is counted.
    """
    return _Planner(graph, ids, around, before, elsewhere).planned(meeting)


class _Planner:
    def __init__(
        self,
        graph: AssetGraph,
        ids: Ids,
        around: Surroundings,
        before: TurnedDown,
        elsewhere: bool,
    ) -> None:
        self._graph = graph
        self._ids = ids
        self._around = around
        self._before = before
        self._hosted = (
            set() if elsewhere else {iri for a in graph.assets.values() for iri in a.hosts}
        )
        self._stated = Statements(ids)
        self._assets: list[RuntimeAsset] = []
        self._links: list[tuple[str, str]] = []
        self._capable: list[str] = []
        self._evidence: set[str] = set()
        self._aside: dict[str, int] = {}

    def planned(self, meeting: Meeting) -> Plan:
        if meeting.unclear:
            self._aside[UNCLEAR] = len(meeting.unclear)
        for name, found in sorted(meeting.known.items()):
            self._host(self._graph.assets[name], found)
            self._enable(self._graph.assets[name], found)
        for found in meeting.new:
            self._asset(found)
        return Plan(
            frozenset(self._stated.triples),
            tuple(self._assets),
            tuple(self._links),
            tuple(self._capable),
            tuple(sorted(self._evidence)),
            dict(sorted(self._aside.items())),
        )

    def _host(self, asset: RuntimeAsset, found: Found) -> None:
        subject = asset.iri or self._ids.runtime_asset(asset.asset_id)
        for service in self._services(found):
            if service in asset.hosts:
                continue
            link = Triple(NamedNode(subject), NamedNode(Fo.hosts), NamedNode(service))
            if link in self._before.statements:
                self._set_aside(DECIDED)
            elif len(self._links) >= MOST_HOSTED:
                self._set_aside(BEYOND)
            else:
                self._stated.triples.add(link)
                self._links.append((asset.asset_id, service))
                self._evidence.update(_digests(found))

    def _enable(self, asset: RuntimeAsset, found: Found) -> None:
        """What its host or cluster can do with it, where nobody has said anything of that."""
        if asset.capabilities or set(found.sources) <= {"telemetry"}:
            return
        subject = NamedNode(asset.iri or self._ids.runtime_asset(asset.asset_id))
        stated = {
            Triple(subject, NamedNode(Fo.capability), Literal(name))
            for name in CAPABILITIES[asset.kind]
        }
        if stated <= self._before.statements:
            self._set_aside(DECIDED)
        elif len(self._capable) >= MOST_HOSTED:
            self._set_aside(BEYOND)
        else:
            self._stated.triples |= stated
            self._capable.append(asset.asset_id)

    def _asset(self, found: Found) -> None:
        if not _is_statable(found):
            self._set_aside(STRANGE)
        elif self._before.holds(found):
            self._set_aside(DECIDED)
        elif len(self._assets) >= MOST_NEW:
            self._set_aside(BEYOND)
        else:
            taken = {*self._graph.assets, *(asset.asset_id for asset in self._assets)}
            name = asset_id(found, taken)
            if not name:
                self._set_aside(UNNAMED)
                return
            asset = self._made(name, found)
            self._stated.asset(asset)
            if asset.environment:
                self._stated.environment(found.environment)
            self._assets.append(asset)
            self._evidence.update(_digests(found))

    def _made(self, name: str, found: Found) -> RuntimeAsset:
        projects = [slug for slug in found.projects if slug in self._around.owners]
        project = projects[0] if len(projects) == 1 else ""
        is_said = bool(_ENVIRONMENT.fullmatch(found.environment))
        status = None
        if found.state is not None:
            evidence = tuple(self._ids.evidence(digest) for digest in _bare(found))
            status = Status(found.state, _moment(found), evidence)
        return RuntimeAsset(
            asset_id=name,
            kind=found.kind,
            owner=self._around.owners.get(project) or self._around.organisation,
            locators=found.locators,
            project=self._ids.project(project) if project else "",
            environment=self._ids.environment(found.environment) if is_said else "",
            capabilities=CAPABILITIES[found.kind],
            hosts=tuple(self._services(found)),
            status=status,
            iri=self._ids.runtime_asset(name),
        )

    def _services(self, found: Found) -> list[str]:
        return [
            iri
            for iri in found.services
            if iri not in self._hosted and self._around.is_service(iri)
        ]

    def _set_aside(self, reason: str) -> None:
        self._aside[reason] = self._aside.get(reason, 0) + 1


def _is_statable(found: Found) -> bool:
    at = found.locators
    where = (at.node, at.container, at.cluster, at.namespace, at.workload)
    texts = (*where, *found.names, found.environment)
    if any(map(holds_secret, filter(None, texts))):
        return False
    if found.kind == "kubernetes":
        return bool(
            _NAMESPACE.fullmatch(at.namespace)
            and _WORKLOAD.fullmatch(at.workload)
            and (not at.cluster or _CLUSTER.fullmatch(at.cluster))
        )
    return bool(
        (at.vmid > 0 or _NAME.fullmatch(at.container))
        and all(not name or _NAME.fullmatch(name) for name in (at.node, at.container))
    )


def _moment(found: Found) -> str:
    return found.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _bare(found: Found) -> list[str]:
    return [item.removeprefix("sha256:") for item in _digests(found)]


def _digests(found: Found) -> list[str]:
    return sorted(item for item in found.evidence if item.startswith("sha256:"))[:_MOST_EVIDENCE]
