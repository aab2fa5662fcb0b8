"""Finds runtime assets and integration endpoints in what ``graph/assets`` states.

Invariant: a view is a pure function of the statements; an asset is found by asset id or by a role
that one asset has, and never by a locator. What doesn't say what it must is left out: the shapes
keep it from being stated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TypeVar, get_args

from pyoxigraph import BlankNode, Quad, Triple

from ontology.vocab import Fo, Rdf, Rdfs
from runtime.asset_quads import KIND_CLASSES, LOCATORS, URLS
from runtime.assets import (
    KINDS,
    AssetRole,
    Authentication,
    IntegrationEndpoint,
    Locators,
    RuntimeAsset,
    Scheme,
    State,
    Status,
)
from runtime.errors import AmbiguousRole, UnknownAsset
from runtime.permitted_actions import (
    Effect,
    PermittedAction,
    PermittedCommand,
    PermittedRequest,
)
from runtime.urls import ExecutorUrl, InternalUrl, PublicUrl, Url

MAX_NAMED = 20
"""So many ids a message names."""

_Url = TypeVar("_Url", bound=Url)
_Said = Mapping[str, list[str]]


class AssetGraph:
    """What is known of the organisation's assets at one head, each by its id."""

    def __init__(
        self,
        assets: Iterable[RuntimeAsset] = (),
        endpoints: Iterable[IntegrationEndpoint] = (),
        roles: Iterable[AssetRole] = (),
    ) -> None:
        self.assets = {asset.asset_id: asset for asset in assets}
        self.endpoints = {endpoint.endpoint_id: endpoint for endpoint in endpoints}
        self.roles = {role.name: role for role in roles}

    def asset(self, asset_id: str) -> RuntimeAsset:
        """The asset with this id. Raises :class:`UnknownAsset` that says which there are."""
        found = self.assets.get(asset_id)
        if found is None:
            raise UnknownAsset(_unknown("runtime asset", asset_id, self.assets))
        return found

    def with_role(self, role: str, environment: str = "") -> tuple[RuntimeAsset, ...]:
        """The assets with this role, in this environment (an IRI) if one is said."""
        return tuple(
            asset
            for asset in self.assets.values()
            if role in asset.roles and environment in ("", asset.environment)
        )

    def by_role(self, role: str, environment: str = "") -> RuntimeAsset:
        """The one asset with this role. Raises :class:`UnknownAsset` that says which roles there
        are, :class:`AmbiguousRole` that lists the candidates."""
        found = self.with_role(role, environment)
        elsewhere = () if found else self.with_role(role)
        if elsewhere:
            raise UnknownAsset(
                f"no runtime asset of <{environment}> has the role {role!r}; there are "
                + ", ".join(
                    f"{asset.asset_id} in <{asset.environment}>"
                    if asset.environment
                    else f"{asset.asset_id} in no environment"
                    for asset in elsewhere[:MAX_NAMED]
                )
            )
        if not found:
            known = {name for asset in self.assets.values() for name in asset.roles}
            raise UnknownAsset(_unknown("runtime asset with the role", role, known))
        if len(found) > 1:
            candidates = [asset.asset_id for asset in found]
            raise AmbiguousRole(
                f"{len(found)} runtime assets have the role {role!r}: {_listed(candidates)}. Name"
                " the environment, or choose one by its asset id",
                candidates,
            )
        return found[0]

    def endpoint(self, endpoint_id: str) -> IntegrationEndpoint:
        """The endpoint with this id. Raises :class:`UnknownAsset`."""
        found = self.endpoints.get(endpoint_id)
        if found is None:
            raise UnknownAsset(_unknown("integration endpoint", endpoint_id, self.endpoints))
        return found


def read_assets(statements: Iterable[Quad | Triple]) -> AssetGraph:
    """The view of these statements, sorted by id."""
    facts: dict[str, dict[str, list[str]]] = {}
    for item in statements:
        if isinstance(item.subject, Triple | BlankNode) or isinstance(item.object, Triple):
            continue
        about = facts.setdefault(item.subject.value, {})
        about.setdefault(item.predicate.value, []).append(item.object.value)
    for about in facts.values():
        for values in about.values():
            values.sort()
    reader = _Reader(facts)
    assets = sorted(filter(None, map(reader.asset, facts)), key=lambda item: item.asset_id)
    endpoints = sorted(filter(None, map(reader.endpoint, facts)), key=lambda i: i.endpoint_id)
    roles = sorted(filter(None, map(reader.role, facts)), key=lambda item: item.name)
    return AssetGraph(assets, endpoints, roles)


class _Reader:
    def __init__(self, facts: Mapping[str, _Said]) -> None:
        self._facts = facts

    def asset(self, iri: str) -> RuntimeAsset | None:
        said = self._facts[iri]
        kind = next((k for k in KINDS if KIND_CLASSES[k] in said.get(Rdf.type, ())), None)
        asset_id = _one(said, Fo.assetId)
        if kind is None or not asset_id:
            return None
        executor = self._urls(said, ExecutorUrl)
        vmid = _one(said, Fo.locatorVmid)
        texts = {name: _one(said, p) for name, p in LOCATORS.items() if name != "vmid"}
        return RuntimeAsset(
            asset_id=asset_id,
            kind=kind,
            owner=_one(said, Fo.ownedBy),
            locators=Locators(
                vmid=int(vmid) if vmid.isdecimal() and len(vmid) < 19 else 0, **texts
            ),
            label=_one(said, Rdfs.label),
            roles=tuple(said.get(Fo.assetRole, ())),
            project=_one(said, Fo.inProject),
            environment=_one(said, Fo.inEnvironment),
            capabilities=tuple(said.get(Fo.capability, ())),
            permits=self._permits(said),
            public=self._urls(said, PublicUrl),
            executor=executor[0] if executor else None,
            internal=self._urls(said, InternalUrl),
            hosts=tuple(said.get(Fo.hosts, ())),
            status=_status(said),
            declared_in=_one(said, Fo.declaredIn),
            iri=iri,
        )

    def endpoint(self, iri: str) -> IntegrationEndpoint | None:
        said = self._facts[iri]
        endpoint_id = _one(said, Fo.endpointId)
        if Fo.IntegrationEndpoint not in said.get(Rdf.type, ()) or not endpoint_id:
            return None
        scheme = _one(said, Fo.authScheme)
        return IntegrationEndpoint(
            endpoint_id=endpoint_id,
            owner=_one(said, Fo.ownedBy),
            readiness_path=_one(said, Fo.readinessPath),
            authentication=Authentication(
                next((known for known in get_args(Scheme) if known == scheme), "none"),
                _one(said, Fo.authReference),
            ),
            label=_one(said, Rdfs.label),
            product=_one(said, Fo.product),
            project=_one(said, Fo.inProject),
            environment=_one(said, Fo.inEnvironment),
            public=self._urls(said, PublicUrl),
            internal=self._urls(said, InternalUrl),
            declared_in=_one(said, Fo.declaredIn),
            iri=iri,
        )

    def role(self, iri: str) -> AssetRole | None:
        said = self._facts[iri]
        name = _one(said, Fo.roleName)
        if Fo.AssetRole not in said.get(Rdf.type, ()) or not name:
            return None
        return AssetRole(name, "true" in said.get(Fo.exclusive, ()), _one(said, Fo.declaredIn))

    def _urls(self, said: _Said, kind: type[_Url]) -> tuple[_Url, ...]:
        predicate, _ = URLS[kind]
        nodes = (self._facts.get(node, {}) for node in said.get(predicate, ()))
        # As the graph has it: the shapes are what refuses an address.
        return tuple(sorted((kind(_one(node, Fo.url)) for node in nodes), key=lambda u: u.address))

    def _permits(self, said: _Said) -> tuple[PermittedAction, ...]:
        nodes = (self._facts.get(node, {}) for node in said.get(Fo.permits, ()))
        read = [action for node in nodes if (action := _action(node)) is not None]
        commands = sorted(action for action in read if isinstance(action, PermittedCommand))
        requests = sorted(action for action in read if isinstance(action, PermittedRequest))
        return (*commands, *requests)


def _action(said: _Said) -> PermittedAction | None:
    # What isn't said to read changes something.
    effect: Effect = "reads" if said.get(Fo.effect) == ["reads"] else "changes"
    if Fo.PermittedRequest in said.get(Rdf.type, ()):
        methods, path = tuple(said.get(Fo.requestMethod, ())), _one(said, Fo.pathPattern)
        return PermittedRequest(methods, path, effect) if methods and path else None
    try:
        argv = json.loads(_one(said, Fo.argvPattern))
    except ValueError:
        return None
    if not isinstance(argv, list) or not argv or not all(isinstance(a, str) for a in argv):
        return None
    return PermittedCommand(tuple(argv), effect)


def _status(said: _Said) -> Status | None:
    stated = _one(said, Fo.assetStatus)
    state: State | None = next((known for known in get_args(State) if known == stated), None)
    if state is None:
        return None
    return Status(state, _one(said, Fo.statusSince), tuple(said.get(Fo.statusEvidence, ())))


def _one(said: _Said, predicate: str) -> str:
    return next(iter(said.get(predicate, ())), "")


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    there = f"there are {_listed(names)}" if names else "there are none yet"
    return f"there is no {what} {name[:128]!r}; {there}"


def _listed(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
