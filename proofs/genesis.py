"""What the first entry of a log states: vocabulary, shapes, rules, and the founding operator.

Invariant: a pure function of the shipped Turtle and the founding facts, so that two organisations
founded alike differ in nothing but their names.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from pyoxigraph import Literal, NamedNode, Quad, RdfFormat, parse

from ontology.ids import Ids
from ontology.library import ontology_turtle, rules_turtle
from ontology.terms import Delta, canonical_quad, in_named_graph, skolemise
from ontology.vocab import Fo, Rdf, Rdfs
from proofs.governance import ROLE_IRIS
from proofs.note import VerifierKey
from proofs.policy import ORGANISATION_GRAPHS, POLICY_PRINCIPAL, STEWARD_LIMIT
from shapes.library import shapes_turtle

_XSD = "http://www.w3.org/2001/XMLSchema#"


class GovernanceWriter:
    """Collects canonical quads about things in the governance graph."""

    def __init__(self, ids: Ids) -> None:
        self._graph = NamedNode(ids.graph("governance"))
        self.quads: set[Quad] = set()

    def iri(self, subject: str, predicate: str, *values: str) -> None:
        for value in values:
            self._add(subject, predicate, NamedNode(value))

    def text(self, subject: str, predicate: str, value: str) -> None:
        self._add(subject, predicate, Literal(value))

    def typed(self, subject: str, predicate: str, value: str, datatype: str) -> None:
        self._add(subject, predicate, Literal(value, datatype=NamedNode(_XSD + datatype)))

    def _add(self, subject: str, predicate: str, value: NamedNode | Literal) -> None:
        quad = Quad(NamedNode(subject), NamedNode(predicate), value, self._graph)
        self.quads.add(canonical_quad(quad))


def genesis_delta(ids: Ids, organisation: str, operator: str, time_lock: timedelta) -> Delta:
    """All quads of genesis. ``organisation`` and ``operator`` are slugs."""
    quads: set[Quad] = set()
    for graph, documents in (
        ("ontology", ontology_turtle()),
        ("rules", rules_turtle()),
        ("shapes", shapes_turtle()),
    ):
        node = NamedNode(ids.graph(graph))
        for name, turtle in sorted(documents.items()):
            found = {
                canonical_quad(in_named_graph(quad, node))
                for quad in parse(turtle, format=RdfFormat.TURTLE)
            }
            quads |= skolemise(found, ids.base, salt=f"genesis {graph} {name}")
    writer = GovernanceWriter(ids)
    subject = ids.organisation(organisation)
    writer.iri(subject, Rdf.type, Fo.Organisation)
    writer.text(subject, Rdfs.label, organisation)
    writer.text(subject, Fo.slug, organisation)
    seconds = int(time_lock.total_seconds())
    writer.typed(subject, Fo.timeLock, f"PT{seconds}S", "dayTimeDuration")
    _principal(writer, ids, subject, operator, Fo.Person, "operator")
    policy = ids.principal(POLICY_PRINCIPAL)
    writer.iri(policy, Rdf.type, Fo.ServiceAccount)
    writer.text(policy, Rdfs.label, "the gate's policy")
    writer.text(policy, Fo.slug, POLICY_PRINCIPAL)
    writer.iri(policy, Fo.memberOf, subject)
    for name in ORGANISATION_GRAPHS:
        graph = ids.graph(name)
        writer.iri(graph, Rdf.type, Fo.NamedGraph)
        writer.text(graph, Rdfs.label, name)
    return Delta(frozenset(quads | writer.quads))


def project_delta(
    ids: Ids,
    organisation: str,
    slug: str,
    label: str,
    *,
    restricted: bool = False,
    key: VerifierKey | None = None,
) -> Delta:
    """Founding a project: itself, its lineage graph, its steward with its ``key``, and the
    steward's grant."""
    writer = GovernanceWriter(ids)
    project, graph = ids.project(slug), ids.lineage_graph(slug)
    writer.iri(project, Rdf.type, Fo.Project)
    writer.text(project, Rdfs.label, label)
    writer.text(project, Fo.slug, slug)
    writer.iri(project, Fo.ownedBy, organisation)
    writer.iri(project, Fo.lineageGraph, graph)
    writer.iri(graph, Rdf.type, Fo.NamedGraph)
    writer.text(graph, Rdfs.label, f"lineage/{slug}")
    if restricted:
        writer.typed(graph, Fo.restricted, "true", "boolean")
    name = steward_slug(slug)
    _principal(writer, ids, organisation, name, Fo.Steward, "steward")
    steward = ids.principal(name)
    writer.iri(steward, Fo.stewardOf, project)
    grant = ids.grant(slug, name)
    writer.iri(grant, Rdf.type, Fo.Grant)
    writer.text(grant, Rdfs.label, f"{name} on lineage/{slug}")
    writer.iri(grant, Fo.grantee, steward)
    writer.iri(grant, Fo.onProject, project)
    writer.iri(grant, Fo.onGraph, graph)
    writer.typed(grant, Fo.autoApplyLimit, str(STEWARD_LIMIT), "integer")
    if key is not None:
        _signing_key(writer, ids, name, key)
    return Delta(frozenset(writer.quads))


def keys_delta(
    ids: Ids, enrolled: Iterable[tuple[str, VerifierKey]] = (), retired: Iterable[str] = ()
) -> Delta:
    """Enrolling keys, each of the principal with this slug, and retiring others by their IRI."""
    writer = GovernanceWriter(ids)
    for holder, key in enrolled:
        _signing_key(writer, ids, holder, key)
    for iri in retired:
        writer.typed(iri, Fo.retired, "true", "boolean")
    return Delta(frozenset(writer.quads))


def control_grant_delta(
    ids: Ids,
    grantee: str,
    *,
    asset_id: str = "",
    role: str = "",
    auto_approve: bool = False,
) -> Delta:
    """Granting the principal with this slug the control of one asset, or of every asset with a
    role: one of the two is given."""
    if bool(asset_id) == bool(role):
        raise ValueError("a control grant is on one asset or on one role")
    writer = GovernanceWriter(ids)
    grant = ids.control_grant(grantee, "asset" if asset_id else "role", asset_id or role)
    writer.iri(grant, Rdf.type, Fo.ControlGrant)
    writer.text(grant, Rdfs.label, f"{grantee} on {asset_id or f'assets with role {role}'}")
    writer.iri(grant, Fo.grantee, ids.principal(grantee))
    if asset_id:
        writer.iri(grant, Fo.onAsset, ids.runtime_asset(asset_id))
    else:
        writer.text(grant, Fo.onAssetRole, role)
    if auto_approve:
        writer.typed(grant, Fo.autoApprove, "true", "boolean")
    return Delta(frozenset(writer.quads))


def principal_delta(ids: Ids, organisation: str, slug: str, role: str) -> Delta:
    """Naming a person with a role."""
    writer = GovernanceWriter(ids)
    _principal(writer, ids, organisation, slug, Fo.Person, role)
    return Delta(frozenset(writer.quads))


def steward_slug(project: str) -> str:
    """The slug of the steward that a project is founded with."""
    return f"steward-{project}"


def _signing_key(writer: GovernanceWriter, ids: Ids, holder: str, key: VerifierKey) -> None:
    iri = ids.signing_key(holder, key.key_id.hex())
    writer.iri(iri, Rdf.type, Fo.SigningKey)
    writer.text(iri, Rdfs.label, key.label)
    writer.iri(iri, Fo.keyHolder, ids.principal(holder))
    writer.text(iri, Fo.publicKey, str(key))


def _principal(
    writer: GovernanceWriter, ids: Ids, organisation: str, slug: str, kind: str, role: str
) -> None:
    subject = ids.principal(slug)
    writer.iri(subject, Rdf.type, kind)
    writer.text(subject, Rdfs.label, slug)
    writer.text(subject, Fo.slug, slug)
    writer.iri(subject, Fo.memberOf, organisation)
    writer.iri(subject, Fo.hasRole, ROLE_IRIS[role])
