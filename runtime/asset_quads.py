"""Runtime assets, endpoints and roles as statements of the graph.

Invariant: what is written here reads back the same with :mod:`runtime.asset_graph`, and two writers
of the same thing write the same statements: every node has an IRI that follows from what it says.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyoxigraph import Literal, NamedNode, Triple

from ontology.ids import Ids
from ontology.vocab import Fo, Rdf, Rdfs, Xsd
from runtime.assets import AssetRole, IntegrationEndpoint, RuntimeAsset
from runtime.permitted_actions import PermittedAction, PermittedCommand
from runtime.urls import ExecutorUrl, InternalUrl, PublicUrl, Url

KIND_CLASSES = {"lxc": Fo.LxcAsset, "kubernetes": Fo.KubernetesAsset}
LOCATORS = {
    "node": Fo.locatorNode,
    "vmid": Fo.locatorVmid,
    "container": Fo.locatorContainer,
    "cluster": Fo.locatorCluster,
    "namespace": Fo.locatorNamespace,
    "workload": Fo.locatorWorkload,
}
URLS: dict[type[Url], tuple[str, str]] = {
    PublicUrl: (Fo.publicUrl, Fo.PublicUrl),
    ExecutorUrl: (Fo.executorUrl, Fo.ExecutorUrl),
    InternalUrl: (Fo.internalUrl, Fo.InternalUrl),
}


class Statements:
    """Collects the statements of one topology, or of one thing."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self.triples: set[Triple] = set()

    def asset(self, asset: RuntimeAsset) -> str:
        """State a runtime asset; its IRI."""
        subject = self._ids.runtime_asset(asset.asset_id)
        self._link(subject, Rdf.type, KIND_CLASSES[asset.kind])
        self._text(subject, Fo.assetId, asset.asset_id)
        for role in asset.roles:
            self._text(subject, Fo.assetRole, role)
        for capability in asset.capabilities:
            self._text(subject, Fo.capability, capability)
        for name, predicate in LOCATORS.items():
            self._text(subject, predicate, getattr(asset.locators, name))
        for action in asset.permits:
            self._link(subject, Fo.permits, self._action(asset.asset_id, action))
        for host in asset.hosts:
            self._link(subject, Fo.hosts, host)
        if asset.status is not None:
            self._text(subject, Fo.assetStatus, asset.status.state)
            self._add(subject, Fo.statusSince, _typed(asset.status.since, Xsd.dateTime))
            for evidence in asset.status.evidence:
                self._link(subject, Fo.statusEvidence, evidence)
        self._common(subject, asset, asset.urls)
        return subject

    def endpoint(self, endpoint: IntegrationEndpoint) -> str:
        """State an integration endpoint; its IRI."""
        subject = self._ids.integration_endpoint(endpoint.endpoint_id)
        self._link(subject, Rdf.type, Fo.IntegrationEndpoint)
        self._text(subject, Fo.endpointId, endpoint.endpoint_id)
        self._text(subject, Fo.product, endpoint.product)
        self._text(subject, Fo.authScheme, endpoint.authentication.scheme)
        self._text(subject, Fo.authReference, endpoint.authentication.reference)
        self._text(subject, Fo.readinessPath, endpoint.readiness_path)
        self._common(subject, endpoint, endpoint.urls)
        return subject

    def role(self, role: AssetRole) -> str:
        """State what is known of a role; its IRI."""
        subject = self._ids.asset_role(role.name)
        self._link(subject, Rdf.type, Fo.AssetRole)
        self._text(subject, Fo.roleName, role.name)
        if role.exclusive:
            self._add(subject, Fo.exclusive, _typed("true", Xsd.boolean))
        self._text(subject, Fo.declaredIn, role.declared_in)
        return subject

    def environment(self, name: str) -> str:
        """State a deployment environment, so that an asset can be in it; its IRI."""
        subject = self._ids.environment(name)
        self._link(subject, Rdf.type, Fo.DeploymentEnvironment)
        self._text(subject, Rdfs.label, name)
        return subject

    def _common(
        self, subject: str, thing: RuntimeAsset | IntegrationEndpoint, urls: Iterable[Url]
    ) -> None:
        self._text(subject, Rdfs.label, thing.label)
        self._text(subject, Fo.declaredIn, thing.declared_in)
        for predicate, iri in (
            (Fo.ownedBy, thing.owner),
            (Fo.inProject, thing.project),
            (Fo.inEnvironment, thing.environment),
        ):
            if iri:
                self._link(subject, predicate, iri)
        for url in urls:
            predicate, kind = URLS[type(url)]
            node = self._ids.url(url.address)
            self._link(subject, predicate, node)
            self._link(node, Rdf.type, kind)
            self._add(node, Fo.url, _typed(url.address, Xsd.anyURI))
            self._text(node, Fo.authority, url.authority)

    def _action(self, asset_id: str, action: PermittedAction) -> str:
        if isinstance(action, PermittedCommand):
            node = self._ids.permitted_action(asset_id, "command", action.effect, action.pattern)
            self._link(node, Rdf.type, Fo.PermittedCommand)
            self._text(node, Fo.argvPattern, action.pattern)
        else:
            rule = ("request", action.effect, " ".join(action.methods), action.path)
            node = self._ids.permitted_action(asset_id, *rule)
            self._link(node, Rdf.type, Fo.PermittedRequest)
            for method in action.methods:
                self._text(node, Fo.requestMethod, method)
            self._text(node, Fo.pathPattern, action.path)
        self._text(node, Fo.effect, action.effect)
        return node

    def _link(self, subject: str, predicate: str, iri: str) -> None:
        self.triples.add(Triple(NamedNode(subject), NamedNode(predicate), NamedNode(iri)))

    def _text(self, subject: str, predicate: str, value: str | int) -> None:
        if value:
            literal = Literal(value) if isinstance(value, str) else _typed(str(value), Xsd.integer)
            self._add(subject, predicate, literal)

    def _add(self, subject: str, predicate: str, literal: Literal) -> None:
        self.triples.add(Triple(NamedNode(subject), NamedNode(predicate), literal))


def _typed(text: str, datatype: str) -> Literal:
    return Literal(text, datatype=NamedNode(datatype))
