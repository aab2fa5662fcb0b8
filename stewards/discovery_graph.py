"""What discovery asks of the graph and of its own proposals before it proposes.

Invariant: nothing is remembered beside the log: what was turned down is read from the proposals,
by the place of a machine and not by its name. Nothing is said here of restricted projects, since
everybody may read of assets.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from pyoxigraph import DefaultGraph, NamedNode, Triple

from ontology.ids import Ids
from ontology.store import GraphStore
from ontology.vocab import Fo, Rdf
from proofs.ledger import Ledger
from proofs.policy import POLICY_PRINCIPAL
from proofs.proposal import AWAITING, CHANGES_REQUESTED, REJECTED, REVERTED, ProposalView
from runtime.asset_graph import read_assets
from runtime.asset_plan import Surroundings, TurnedDown
from runtime.assets import Kind, Locators

_STATES: Final = (AWAITING, REJECTED, CHANGES_REQUESTED, REVERTED)
# So much is looked through: the newest proposals, whoever made them.
_PAGE, _MOST_PAGES = 100, 50


class Proposals(Protocol):
    """As :meth:`proofs.index.Index.proposals`."""

    def __call__(
        self, *, states: Iterable[str], limit: int, before: int | None = None
    ) -> list[tuple[int, ProposalView]]: ...


def surroundings(ledger: Ledger, store: GraphStore, ids: Ids) -> Surroundings:
    """What the graph knows around assets, as it stands."""
    governance = ledger.governance
    graph = NamedNode(ids.graph("governance"))

    def owner(project: str) -> str:
        found = store.match(NamedNode(project), NamedNode(Fo.ownedBy), graph=graph)
        return min((q.object.value for q in found if isinstance(q.object, NamedNode)), default="")

    def is_service(iri: str) -> bool:
        found = store.match(NamedNode(iri), NamedNode(Rdf.type), NamedNode(Fo.Service))
        return any(isinstance(quad.graph_name, DefaultGraph) for quad in found)

    owners = {
        slug: owner(project.iri) or governance.organisation
        for slug, project in governance.projects.items()
        if not project.restricted
    }
    return Surroundings(governance.organisation, owners, is_service)


def turned_down(ledger: Ledger, proposals: Proposals, ids: Ids) -> tuple[int, TurnedDown]:
    """How many of the platform's proposals about assets wait, and what those were about and the
    ones that were turned down."""
    platform, graph = ids.principal(POLICY_PRINCIPAL), ids.graph("assets")
    waiting, before = 0, None
    assets: list[tuple[Kind, Locators]] = []
    statements: set[Triple] = set()
    for _ in range(_MOST_PAGES):
        page = proposals(states=_STATES, limit=_PAGE, before=before)
        if not page:
            break
        before = page[-1][0]
        for _, view in page:
            if view.author != platform or view.graphs != (graph,):
                continue
            waiting += view.state == AWAITING
            additions = ledger.delta_of(view).additions
            for asset in read_assets(additions).assets.values():
                assets.append((asset.kind, asset.locators))
            statements |= {
                quad.triple
                for quad in additions
                if quad.predicate.value in (Fo.hosts, Fo.capability)
            }
    return waiting, TurnedDown(tuple(assets), frozenset(statements))
