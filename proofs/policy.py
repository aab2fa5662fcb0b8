"""Who may propose what, and what needs a decision by a person other than the author.

Invariant: the verdict is a pure function of the delta, its author, the governance view, what the
governance graph already says of the nodes in the delta, and whether it is to be held; it never
depends on the road a proposal came by.

- A change to a project's lineage graph applies at once within the author's limit, else an operator
  decides.
- A statement of how classes or properties relate has consequences in everybody's queries and for
  every shape: in a lineage graph too, an operator decides on it.
- Who may do what, which rules and shapes hold, and which machines there are, only the
  organisation's own graphs say. In a lineage graph it would only look so to whoever asks the merge,
  or take an asset id before its owner does: an operator decides on it.
- A change to the ontology, shapes, rules, governance or assets needs a person other than the
  author. Founding a project (the project, its graph, its steward and the steward's grant over that
  graph, all new) and naming a new reader (an analyst or an auditor without grants) give nobody any
  right that the operator who does it lacks, so an operator does these alone.
- How runtime assets are found (:mod:`proofs.observed_policy`) the platform says itself, and
  operators and whoever is granted that; it applies at once. To anything else about assets the
  platform asks for a person's decision, as everybody does.
- A change of signing keys is an operator's to propose and another person's to decide; only a
  steward that is founded with its project has its first key from the start. What is stated of a
  key stays, but that it may be retired: old proofs rest on it.
- A project's steward may ask for new classification rules, classes and shapes, on behalf of its
  project: additions alone, about nodes of that one kind that nothing was said of in these graphs.
  Like every change to them, they need a person.
- What rests on evidence from senders that aren't trusted, or of another project, or whose author
  asks for it, needs an operator where it would have applied at once. Nobody can ask for the
  opposite.
- While there is a single operator, what needs two people is applied when its time lock runs out,
  and marked single-person.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pyoxigraph import Literal, NamedNode, Quad

from ontology.entailment_schema import axiom_of
from ontology.ids import Ids
from ontology.store import SYSTEM_GRAPHS
from ontology.terms import Delta, graph_of
from ontology.vocab import Fo, Owl, Rdf, Rdfs, Sh
from proofs.errors import Forbidden, UnknownGraph, UnknownProject
from proofs.governance import (
    ANALYST,
    AUDITOR,
    OPERATOR,
    ROLE_IRIS,
    STEWARD,
    Governance,
    Project,
)
from proofs.key_policy import refuse_key_change, signing_key_iri
from proofs.observed_policy import is_observation, may_observe

ORGANISATION_GRAPHS = ("ontology", "shapes", "rules", "governance", "assets")
REFLECTED_GRAPHS: Mapping[str, str] = {
    "ontology": Owl.Class,
    "shapes": Sh.NodeShape,
    "rules": Fo.ClassificationRule,
}
"""To these a steward may propose what it learned, each thing of this one class."""
OPERATOR_LIMIT = 100_000
STEWARD_LIMIT = 20_000

_GOVERNING = frozenset(
    {
        *(Fo.hasRole, Fo.stewardOf, Fo.grantee, Fo.onProject, Fo.onGraph, Fo.autoApplyLimit),
        *(Fo.lineageGraph, Fo.restricted, Fo.timeLock, Fo.approvalsNeeded, Fo.proposalLifetime),
        *(Fo.onAsset, Fo.onAssetRole, Fo.autoApprove),
        *(Fo.assetId, Fo.assetRole, Fo.inEnvironment, Fo.capability, Fo.permits, Fo.argvPattern),
        *(Fo.requestMethod, Fo.pathPattern, Fo.effect, Fo.assetStatus, Fo.statusSince),
        *(Fo.statusEvidence, Fo.declaredIn, Fo.roleName, Fo.exclusive, Fo.endpointId, Fo.product),
        *(Fo.authScheme, Fo.authReference, Fo.readinessPath, Fo.hosts, Fo.publicUrl),
        *(Fo.executorUrl, Fo.internalUrl, Fo.url, Fo.authority, Fo.locatorNode, Fo.locatorVmid),
        *(Fo.locatorContainer, Fo.locatorCluster, Fo.locatorNamespace, Fo.locatorWorkload),
    }
)
_GOVERNED = frozenset(
    {
        *(Fo.Organisation, Fo.Project, Fo.NamedGraph, Fo.Role, Fo.Grant, Fo.ControlGrant),
        *(Fo.ClassificationRule, Fo.RedactionRule, Sh.NodeShape, Sh.PropertyShape),
        *(Fo.RuntimeAsset, Fo.LxcAsset, Fo.KubernetesAsset, Fo.IntegrationEndpoint, Fo.AssetRole),
        *(Fo.PermittedAction, Fo.PermittedCommand, Fo.PermittedRequest),
        *(Fo.PublicUrl, Fo.ExecutorUrl, Fo.InternalUrl),
    }
)
"""Classes of which only the organisation's own graphs say what is."""

MAX_ROUTINE = 64
"""Nodes that a routine change of the governance graph may state."""

POLICY_PRINCIPAL = "policy"
"""The slug of the gate's own principal, which decides where no person has to."""

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_Facts = dict[str, dict[str, set[str]]]
"""What a delta states in the governance graph: values by predicate by subject."""

AUTO = "auto-apply"
ONE_OPERATOR = "operator decision"
FOUR_EYES = "four eyes"


@dataclass(frozen=True)
class Verdict:
    """What policy asks of a valid proposal: one of ``AUTO``, ``ONE_OPERATOR``, ``FOUR_EYES``."""

    requires: str
    reason: str


class Policy:
    """Policy over one organisation's graphs."""

    def __init__(self, ids: Ids) -> None:
        self._system = frozenset(ids.graph(name) for name in SYSTEM_GRAPHS)
        self._ids = ids
        self._shared = {ids.graph(name): name for name in ORGANISATION_GRAPHS}
        self._governance_graph = ids.graph("governance")
        self._assets_graph = ids.graph("assets")
        self._own = ids.principal(POLICY_PRINCIPAL)

    def authorise(
        self, governance: Governance, principal: str, project: str | None, graphs: Iterable[str]
    ) -> None:
        """Whether this principal may propose to these graphs on behalf of this project.

        Raises :class:`UnknownProject`, :class:`UnknownGraph` or :class:`Forbidden`.
        """
        if project is not None and project not in governance.projects:
            raise UnknownProject(
                f"there is no project {project!r}: an operator creates it with"
                f" 'fractalops projects create {project}'"
            )
        operator = governance.has_role(principal, OPERATOR)
        learns = self._is_steward_of(governance, principal, project)
        for graph in sorted(graphs):
            if graph in self._system:
                raise Forbidden(f"<{graph}> is written by the system alone")
            if graph in self._shared:
                if learns and self._shared[graph] in REFLECTED_GRAPHS:
                    continue
                if principal == self._own and graph == self._assets_graph:
                    continue
                if not operator and governance.grant(principal, graph) is None:
                    raise Forbidden(
                        f"<{principal}> holds no grant on <{graph}>; its changes are proposed by"
                        " operators"
                    )
                continue
            owner = governance.project_of_graph(graph)
            if owner is None:
                raise UnknownGraph(
                    f"there is no graph <{graph}>: a lineage graph comes with its project, and no"
                    " other graph takes proposals"
                )
            self._authorise_lineage(governance, principal, project, owner, operator)

    def _is_steward_of(self, governance: Governance, principal: str, project: str | None) -> bool:
        found = governance.projects.get(project) if project is not None else None
        return (
            found is not None
            and principal in found.stewards
            and governance.has_role(principal, STEWARD)
        )

    def refuse_rewriting(
        self,
        governance: Governance,
        principal: str,
        delta: Delta,
        states: Callable[[str, str], bool],
    ) -> None:
        """What belongs to all is added to by stewards, and changed by operators and whoever holds a
        grant on the graph.

        ``states(graph, iri)`` says whether the graph says anything of a node. Raises
        :class:`Forbidden`.
        """
        if governance.has_role(principal, OPERATOR):
            return
        learned = {
            graph
            for graph in delta.graphs()
            if self._shared.get(graph) in REFLECTED_GRAPHS
            and governance.grant(principal, graph) is None
        }
        if not learned:
            return
        if any(graph_of(quad) in learned for quad in delta.removals):
            raise Forbidden(
                "a steward adds rules, classes and shapes and takes none away: ask an operator to"
                " propose that"
            )
        kinds: dict[tuple[str, str], set[str]] = {}
        for quad in delta.additions:
            subject, graph = quad.subject, graph_of(quad)
            assert isinstance(subject, NamedNode)
            if graph in learned:
                of_thing = kinds.setdefault((graph, subject.value), set())
                if quad.predicate.value == Rdf.type:
                    of_thing.add(str(getattr(quad.object, "value", "")))
            if graph in learned and not subject.value.startswith(f"{self._ids.base}/id/"):
                raise Forbidden(
                    f"{subject} is not below {self._ids.base}/id/: a steward defines no terms but"
                    " its organisation's own"
                )
            if graph in learned and states(graph, subject.value):
                raise Forbidden(
                    f"<{graph}> speaks of {subject} already: a steward changes no rule, class or"
                    " shape that is there; ask an operator to propose that"
                )
        for (graph, thing), found in kinds.items():
            wanted = REFLECTED_GRAPHS[self._shared[graph]]
            if found != {wanted}:
                raise Forbidden(
                    f"a steward adds to <{graph}> what is a <{wanted}> and nothing else, and"
                    f" <{thing}> is not stated to be one"
                )

    def _authorise_lineage(
        self,
        governance: Governance,
        principal: str,
        project: str | None,
        owner: Project,
        operator: bool,
    ) -> None:
        if project is None:
            raise UnknownProject(
                f"<{owner.graph}> belongs to project {owner.slug!r}: name it with ?project="
                f"{owner.slug}"
            )
        if owner.slug != project:
            raise Forbidden(
                f"<{owner.graph}> belongs to project {owner.slug!r}, the proposal is for"
                f" {project!r}: propose it for {owner.slug!r}, as one of its stewards"
            )
        if not operator and governance.grant(principal, owner.graph) is None:
            raise Forbidden(
                f"<{principal}> holds no grant on <{owner.graph}>: ask one of the stewards of"
                f" {owner.slug!r} to propose it, or an operator for a grant"
            )

    def judge(
        self,
        governance: Governance,
        principal: str,
        delta: Delta,
        known: Callable[[str], bool],
        hold: str = "",
    ) -> Verdict:
        """What an authorised, valid delta needs. ``known`` says whether the governance graph says
        anything of a node already, ``hold`` why a person is to decide on what would pass."""
        found = self._judged(governance, principal, delta, known)
        if hold and found.requires == AUTO:
            return Verdict(ONE_OPERATOR, hold)
        return found

    def _judged(
        self,
        governance: Governance,
        principal: str,
        delta: Delta,
        known: Callable[[str], bool],
    ) -> Verdict:
        graphs = delta.graphs()
        operator = governance.has_role(principal, OPERATOR)
        shared = [graph for graph in graphs if graph in self._shared]
        if shared:
            if operator and graphs == [self._governance_graph] and self._is_routine(delta, known):
                return Verdict(AUTO, "routine governance: it gives no right the operator lacks")
            if is_observation(delta, self._assets_graph) and may_observe(
                governance, principal, self._own, self._assets_graph, len(delta)
            ):
                return Verdict(AUTO, "how runtime assets were found, and nothing else")
            names = ", ".join(self._shared[graph] for graph in shared)
            return Verdict(FOUR_EYES, f"a change to {names} needs a person other than its author")
        if not operator and any(axiom_of(quad) is not None for quad in delta.quads):
            return Verdict(
                ONE_OPERATOR, "how classes and properties relate has consequences for everybody"
            )
        if not operator and any(_governs(quad) for quad in delta.quads):
            return Verdict(
                ONE_OPERATOR, "who may do what, by which rules and where, is not for lineage to say"
            )
        for graph in graphs:
            grant = governance.grant(principal, graph)
            limit = grant.auto_apply_limit if grant else 0
            if operator:
                limit = OPERATOR_LIMIT
            count = len(delta.in_graph(graph))
            if count > limit:
                return Verdict(
                    ONE_OPERATOR,
                    f"{count} quads are above the author's limit of {limit} that apply at once",
                )
        return Verdict(AUTO, "within the author's grant on the project's own lineage graph")

    def _is_routine(self, delta: Delta, known: Callable[[str], bool]) -> bool:
        if delta.removals:
            return False
        facts: _Facts = {}
        for quad in delta.additions:
            assert isinstance(quad.subject, NamedNode)
            assert isinstance(quad.object, NamedNode | Literal)
            about = facts.setdefault(quad.subject.value, {})
            about.setdefault(quad.predicate.value, set()).add(quad.object.value)
        if len(facts) > MAX_ROUTINE or any(known(subject) for subject in facts):
            return False
        return all(
            self._is_project(subject, facts)
            or self._is_lineage_graph(subject, facts)
            or self._is_steward(subject, facts)
            or self._is_grant(subject, facts)
            or self._is_first_key(subject, facts)
            or self._is_reader(subject, facts)
            for subject in facts
        )

    # Each of these says everything the node may state: what they do not name is not routine.

    def _is_project(self, subject: str, facts: _Facts) -> bool:
        about = facts[subject]
        slug = _slug(about)
        return (
            _states(about, {Fo.Project}, {Fo.slug, Rdfs.label, Fo.ownedBy, Fo.lineageGraph})
            and bool(slug)
            and subject == self._ids.project(slug)
            and about.get(Fo.lineageGraph) == {self._ids.lineage_graph(slug)}
            and self._ids.lineage_graph(slug) in facts
        )

    def _is_lineage_graph(self, subject: str, facts: _Facts) -> bool:
        return _states(facts[subject], {Fo.NamedGraph}, {Rdfs.label, Fo.restricted}) and any(
            self._is_project(other, facts) and facts[other][Fo.lineageGraph] == {subject}
            for other in facts
        )

    def _is_steward(self, subject: str, facts: _Facts) -> bool:
        about = facts[subject]
        stated = {Fo.slug, Rdfs.label, Fo.memberOf, Fo.hasRole, Fo.stewardOf}
        return (
            _states(about, {Fo.Steward}, stated)
            and subject == self._ids.principal(_slug(about) or "-")
            and about.get(Fo.hasRole, set()) <= {ROLE_IRIS["steward"]}
            and all(self._new_project(item, facts) for item in about.get(Fo.stewardOf, ()))
        )

    def _is_grant(self, subject: str, facts: _Facts) -> bool:
        about = facts[subject]
        stated = {Rdfs.label, Fo.grantee, Fo.onProject, Fo.onGraph, Fo.autoApplyLimit}
        limit = _only(about, Fo.autoApplyLimit) or "0"
        return (
            _states(about, {Fo.Grant}, stated)
            and all(self._new_project(item, facts) for item in about.get(Fo.onProject, ()))
            and all(
                item in facts and self._is_lineage_graph(item, facts)
                for item in about.get(Fo.onGraph, ())
            )
            and all(
                item in facts and self._is_steward(item, facts)
                for item in about.get(Fo.grantee, ())
            )
            and len(limit) <= 9
            and limit.isascii()
            and limit.isdigit()
            and int(limit) <= STEWARD_LIMIT
        )

    def _is_first_key(self, subject: str, facts: _Facts) -> bool:
        about = facts[subject]
        stated = {Rdfs.label, Fo.keyHolder, Fo.publicKey}
        holder = _only(about, Fo.keyHolder)
        return (
            _states(about, {Fo.SigningKey}, stated)
            and holder in facts
            and self._is_steward(holder, facts)
            and subject == signing_key_iri(self._ids, holder, _only(about, Fo.publicKey))
        )

    def _is_reader(self, subject: str, facts: _Facts) -> bool:
        about = facts[subject]
        roles = about.get(Fo.hasRole, set())
        return (
            _states(
                about,
                {Fo.Principal, Fo.Person, Fo.Agent, Fo.ServiceAccount},
                {Fo.slug, Rdfs.label, Fo.memberOf, Fo.hasRole},
            )
            and subject == self._ids.principal(_slug(about) or "-")
            and bool(roles)
            and roles <= {ROLE_IRIS[ANALYST], ROLE_IRIS[AUDITOR]}
        )

    def _new_project(self, iri: str, facts: _Facts) -> bool:
        return iri in facts and self._is_project(iri, facts)

    def refuse_key_change(self, governance: Governance, principal: str, delta: Delta) -> None:
        """As :func:`proofs.key_policy.refuse_key_change`. Raises :class:`Forbidden`."""
        refuse_key_change(self._ids, governance, principal, delta, self._own)

    def refuse_restriction_change(self, delta: Delta, holds: Callable[[str], bool]) -> None:
        """A graph is restricted while it is empty or never: the merge may have its triples.

        ``holds`` says whether a graph has quads. Raises :class:`Forbidden`.
        """
        for quad in delta.quads:
            if quad.predicate.value != Fo.restricted or graph_of(quad) != self._governance_graph:
                continue
            assert isinstance(quad.subject, NamedNode)
            if holds(quad.subject.value):
                raise Forbidden(
                    f"{quad.subject} is in use: whether a graph is restricted is settled when its"
                    " project is created"
                )


def _states(about: Mapping[str, set[str]], types: set[str], predicates: set[str]) -> bool:
    """Whether a node has one or more of these types, none besides, and nothing but these facts."""
    found = about.get(Rdf.type, set())
    return bool(found) and found <= types and set(about) <= predicates | {Rdf.type}


def _slug(about: Mapping[str, set[str]]) -> str:
    slug = _only(about, Fo.slug)
    return slug if _SLUG.fullmatch(slug) else ""


def _only(about: Mapping[str, set[str]], predicate: str) -> str:
    """The one value of a property, or nothing."""
    values = about.get(predicate, set())
    return next(iter(values)) if len(values) == 1 else ""


def _governs(quad: Quad) -> bool:
    if quad.predicate.value == Rdf.type:
        return isinstance(quad.object, NamedNode) and quad.object.value in _GOVERNED
    return quad.predicate.value in _GOVERNING
