"""Who is who and who may do what, read from the governance graph.

Invariant: a view is a pure function of the quads of ``graph/governance``; it is taken anew whenever
an entry changes that graph, and nothing else says what a principal may do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

from pyoxigraph import Literal, NamedNode, Quad

from ontology.vocab import Fo, Rdf, Rdfs
from proofs.errors import MalformedKey
from proofs.note import ED25519, VerifierKey

ANALYST = "analyst"
STEWARD = "steward"
OPERATOR = "operator"
AUDITOR = "auditor"

ROLES: Mapping[str, str] = MappingProxyType(
    {
        Fo.AnalystRole: ANALYST,
        Fo.StewardRole: STEWARD,
        Fo.OperatorRole: OPERATOR,
        Fo.AuditorRole: AUDITOR,
    }
)
ROLE_IRIS: Mapping[str, str] = MappingProxyType({name: iri for iri, name in ROLES.items()})

DEFAULT_TIME_LOCK = timedelta(hours=24)
MAX_TIME_LOCK = timedelta(days=3650)
"""A longer time lock, or lifetime, counts as this one."""

_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")
_DURATION = re.compile(
    r"P(?=.)(?:([0-9]{1,18})D)?(?:T(?=.)(?:([0-9]{1,18})H)?(?:([0-9]{1,18})M)?"
    r"(?:([0-9]{1,18})(?:\.[0-9]+)?S)?)?"
)

MIN_LIFETIME = timedelta(hours=1)
"""A shorter lifetime counts as this one: what mends it must live long enough to be approved."""


@dataclass(frozen=True)
class Grant:
    """A principal's right to propose to one graph of a project.

    ``auto_apply_limit`` is the largest number of quads of a valid proposal that policy applies
    without a person's decision.
    """

    grantee: str
    project: str
    graph: str
    auto_apply_limit: int


@dataclass(frozen=True)
class ControlGrant:
    """A principal's right to have things carried out on one asset (its IRI), or on every asset with
    one role (its name); the other is empty. With ``auto_approve`` what changes goes at once."""

    grantee: str
    asset: str
    role: str
    auto_approve: bool


@dataclass(frozen=True)
class SigningKey:
    """A principal's public key; nothing new is accepted by one that is ``retired``."""

    iri: str
    holder: str
    verifier: VerifierKey
    retired: bool


@dataclass(frozen=True)
class Project:
    """A project: its slug, IRI, label and the graph of what is known of it."""

    slug: str
    iri: str
    label: str
    graph: str
    restricted: bool
    stewards: tuple[str, ...]


@dataclass(frozen=True)
class Governance:
    """One state of the governance graph, indexed; IRIs throughout, projects also by slug.

    ``approvals_needed`` is of what takes two people, from those who aren't its author;
    ``lifetime`` how long a proposal waits before it expires, ``None`` for ever."""

    organisation: str = ""
    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)
    grants: tuple[Grant, ...] = ()
    control_grants: tuple[ControlGrant, ...] = ()
    projects: Mapping[str, Project] = field(default_factory=dict)
    people: frozenset[str] = frozenset()
    restricted: frozenset[str] = frozenset()
    time_lock: timedelta = DEFAULT_TIME_LOCK
    approvals_needed: int = 1
    lifetime: timedelta | None = None
    keys: tuple[SigningKey, ...] = ()

    def has_role(self, principal: str, role: str) -> bool:
        return role in self.roles.get(principal, frozenset())

    def operators(self) -> frozenset[str]:
        """The persons who decide. Four eyes are two people's: an agent's or a service's do not
        count."""
        return frozenset(p for p in self.people if self.has_role(p, OPERATOR))

    @property
    def single_operator(self) -> bool:
        return len(self.operators()) <= 1

    def project_of_graph(self, graph: str) -> Project | None:
        return next((p for p in self.projects.values() if p.graph == graph), None)

    def grant(self, principal: str, graph: str) -> Grant | None:
        """The widest grant of this principal on this graph."""
        held = [g for g in self.grants if g.grantee == principal and g.graph == graph]
        return max(held, key=lambda grant: grant.auto_apply_limit, default=None)

    def keys_of(self, principal: str) -> tuple[SigningKey, ...]:
        """The keys of this principal, retired ones too."""
        return tuple(key for key in self.keys if key.holder == principal)

    def readable_projects(self, hidden: frozenset[str]) -> list[str] | None:
        """The projects a reader from whom these graphs are hidden may see; ``None`` for all."""
        if not hidden:
            return None
        return sorted(slug for slug, p in self.projects.items() if p.graph not in hidden)

    def hidden_from(self, principal: str) -> frozenset[str]:
        """The restricted graphs this principal may not read."""
        roles = self.roles.get(principal, frozenset())
        if roles & {OPERATOR, AUDITOR}:
            return frozenset()
        own = {g.graph for g in self.grants if g.grantee == principal}
        own |= {p.graph for p in self.projects.values() if principal in p.stewards}
        return self.restricted - own


def read_governance(quads: Iterable[Quad]) -> Governance:
    """The view of these quads; statements it does not know are ignored."""
    facts: dict[str, dict[str, list[str]]] = {}
    for quad in quads:
        assert isinstance(quad.subject, NamedNode)
        assert isinstance(quad.object, NamedNode | Literal)
        of_subject = facts.setdefault(quad.subject.value, {})
        of_subject.setdefault(quad.predicate.value, []).append(quad.object.value)

    def typed(*classes: str) -> list[str]:
        return sorted(s for s, f in facts.items() if set(classes) & set(f.get(Rdf.type, [])))

    def one(subject: str, predicate: str) -> str:
        return min(facts[subject].get(predicate, [""]))

    restricted = frozenset(s for s, f in facts.items() if "true" in f.get(Fo.restricted, []))
    stewards: dict[str, list[str]] = {}
    for subject, of_subject in sorted(facts.items()):
        for project in of_subject.get(Fo.stewardOf, []):
            stewards.setdefault(project, []).append(subject)
    projects = {}
    for iri in typed(Fo.Project):
        slug, graph = one(iri, Fo.slug), one(iri, Fo.lineageGraph)
        if slug and graph:
            projects[slug] = Project(
                slug,
                iri,
                one(iri, Rdfs.label) or slug,
                graph,
                graph in restricted,
                tuple(stewards.get(iri, [])),
            )
    organisation = next(iter(typed(Fo.Organisation)), "")

    def policy(predicate: str) -> str:
        return one(organisation, predicate) if organisation else ""

    time_lock, lifetime = _duration(policy(Fo.timeLock)), _duration(policy(Fo.proposalLifetime))
    return Governance(
        organisation=organisation,
        roles={
            subject: frozenset(ROLES[role] for role in f[Fo.hasRole] if role in ROLES)
            for subject, f in facts.items()
            if Fo.hasRole in f
        },
        grants=tuple(
            Grant(
                one(iri, Fo.grantee),
                one(iri, Fo.onProject),
                one(iri, Fo.onGraph),
                _number(one(iri, Fo.autoApplyLimit)),
            )
            for iri in typed(Fo.Grant)
        ),
        control_grants=tuple(
            ControlGrant(
                one(iri, Fo.grantee),
                one(iri, Fo.onAsset),
                one(iri, Fo.onAssetRole),
                facts[iri].get(Fo.autoApprove) == ["true"],
            )
            for iri in typed(Fo.ControlGrant)
        ),
        projects=projects,
        people=frozenset(typed(Fo.Person)),
        restricted=restricted,
        time_lock=DEFAULT_TIME_LOCK if time_lock is None else time_lock,
        approvals_needed=max(1, _number(policy(Fo.approvalsNeeded))),
        lifetime=None if lifetime is None else max(lifetime, MIN_LIFETIME),
        keys=tuple(
            SigningKey(iri, one(iri, Fo.keyHolder), key, "true" in facts[iri].get(Fo.retired, []))
            for iri in typed(Fo.SigningKey)
            if (key := read_key(one(iri, Fo.publicKey))) is not None
        ),
    )


def read_key(text: str) -> VerifierKey | None:
    """The Ed25519 key in this text; ``None`` where there is none."""
    try:
        key = VerifierKey.parse(text)
    except MalformedKey:
        return None
    return key if key.algorithm == ED25519 else None


def _number(text: str) -> int:
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else 0


def _duration(text: str) -> timedelta | None:
    """A canonical ``xsd:dayTimeDuration`` such as ``P1DT30M``, ``None`` for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return timedelta(seconds=min(total, int(MAX_TIME_LOCK.total_seconds())))
