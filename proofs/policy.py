"""Who may propose what, and what needs a decision by a person other than the author.

Invariant: the verdict is a pure function of the delta, its author, the governance view and what the
governance graph already says of the nodes in the delta; it never depends on the road a proposal
came by.

- A change to a project's lineage graph applies at once within the author's limit, else an operator
  decides.
- A change to the ontology, shapes, rules, governance or assets needs a person other than the
  author. Founding a project (the project, its graph, its steward and the steward's grant over that
  graph, all new) and naming a new reader (an analyst or an auditor without grants) give nobody any
  right that the operator who does it lacks, so an operator does these alone.
- While there is a single operator, what needs two people is applied when its time lock runs out,
  and marked single-person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pyoxigraph import Literal, NamedNode, Quad

from ontology.ids import Ids
from ontology.store import SYSTEM_GRAPHS
from ontology.terms import Delta, graph_of
from ontology.vocab import Fo, Rdf
from proofs.errors import Forbidden, UnknownGraph, UnknownProject
from proofs.governance import AUDITOR, OPERATOR, ROLE_IRIS, Governance, Project

ORGANISATION_GRAPHS = ("ontology", "shapes", "rules", "governance", "assets")
OPERATOR_LIMIT = 100_000
STEWARD_LIMIT = 20_000

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
        self._shared = {ids.graph(name): name for name in ORGANISATION_GRAPHS}
        self._governance_graph = ids.graph("governance")
        self._lineage_prefix = ids.graph("lineage") + "/"

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
        for graph in sorted(graphs):
            if graph in self._system:
                raise Forbidden(f"<{graph}> is written by the system alone")
            if graph in self._shared:
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
    ) -> Verdict:
        """What an authorised, valid delta needs. ``known`` says whether the governance graph says
        anything of a node already."""
        graphs = delta.graphs()
        operator = governance.has_role(principal, OPERATOR)
        shared = [graph for graph in graphs if graph in self._shared]
        if shared:
            if (
                operator
                and graphs == [self._governance_graph]
                and self._is_routine(delta, governance, known)
            ):
                return Verdict(AUTO, "routine governance: it gives no right the operator lacks")
            names = ", ".join(self._shared[graph] for graph in shared)
            return Verdict(FOUR_EYES, f"a change to {names} needs a person other than its author")
        limit = OPERATOR_LIMIT if operator else 0
        for graph in graphs:
            grant = governance.grant(principal, graph)
            if not operator:
                limit = grant.auto_apply_limit if grant else 0
            if len(delta.in_graph(graph)) > limit:
                return Verdict(
                    ONE_OPERATOR,
                    f"{len(delta)} quads are above the author's limit of {limit} that apply at once",
                )
        return Verdict(AUTO, "within the author's grant on the project's own lineage graph")

    def _is_routine(
        self, delta: Delta, governance: Governance, known: Callable[[str], bool]
    ) -> bool:
        if delta.removals:
            return False
        facts: dict[str, dict[str, set[str]]] = {}
        for quad in delta.additions:
            assert isinstance(quad.subject, NamedNode)
            assert isinstance(quad.object, NamedNode | Literal)
            about = facts.setdefault(quad.subject.value, {})
            about.setdefault(quad.predicate.value, set()).add(quad.object.value)
        if any(known(subject) for subject in facts):
            return False
        projects = {s for s, f in facts.items() if Fo.Project in f.get(Rdf.type, set())}
        return all(
            self._routine_node(subject, about, facts, projects) for subject, about in facts.items()
        )

    def _routine_node(
        self,
        subject: str,
        about: dict[str, set[str]],
        facts: dict[str, dict[str, set[str]]],
        projects: set[str],
    ) -> bool:
        types = about.get(Rdf.type, set())
        if subject in projects:
            graphs = about.get(Fo.lineageGraph, set())
            return graphs <= set(facts) and all(g.startswith(self._lineage_prefix) for g in graphs)
        if types == {Fo.NamedGraph}:
            return any(subject in facts[p].get(Fo.lineageGraph, set()) for p in projects)
        if types == {Fo.Grant}:
            return (
                about.get(Fo.onProject, set()) <= projects
                and about.get(Fo.onGraph, set()) <= set(facts)
                and about.get(Fo.grantee, set()) <= set(facts)
                and all(
                    limit.isdigit() and int(limit) <= STEWARD_LIMIT
                    for limit in about.get(Fo.autoApplyLimit, set())
                )
            )
        roles = about.get(Fo.hasRole, set())
        if Fo.Steward in types:
            return roles <= {ROLE_IRIS["steward"]} and about.get(Fo.stewardOf, set()) <= projects
        readers = {ROLE_IRIS["analyst"], ROLE_IRIS[AUDITOR]}
        principal_types = {Fo.Principal, Fo.Person, Fo.Agent, Fo.ServiceAccount}
        return bool(types) and types <= principal_types and bool(roles) and roles <= readers

    def changes_rules_of_the_game(self, delta: Delta) -> bool:
        """Whether shapes, classes or rights change, so that every pending check must run again."""
        return any(graph_of(quad) in self._shared for quad in delta.quads)

    def refuse_restriction_change(self, governance: Governance, delta: Delta) -> None:
        """A graph is restricted from its beginning or never: the merge may hold its triples."""
        for quad in delta.quads:
            if quad.predicate.value == Fo.restricted and self._exists(governance, quad):
                raise Forbidden(
                    f"{quad.subject} is in use: whether a graph is restricted is settled when its"
                    " project is created"
                )

    @staticmethod
    def _exists(governance: Governance, quad: Quad) -> bool:
        assert isinstance(quad.subject, NamedNode)
        return governance.project_of_graph(quad.subject.value) is not None
