"""Who may have something carried out on an asset, and what waits for a person."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pyoxigraph import NamedNode

from ontology.ids import Ids
from ontology.terms import Delta
from proofs.control_policy import authorise, judge
from proofs.errors import Forbidden
from proofs.genesis import control_grant_delta, genesis_delta, principal_delta, project_delta
from proofs.governance import ControlGrant, Governance, read_governance
from proofs.orders import Order
from proofs.policy import AUTO, FOUR_EYES, ONE_OPERATOR, Policy
from tests.proofs.conftest import order_on

IDS = Ids()
ACME = IDS.organisation("acme")
GOVERNANCE = IDS.graph("governance")
OLGA, ANNA, SHOP = map(IDS.principal, ("olga", "anna", "steward-shop"))
FACTS = (
    genesis_delta(IDS, "acme", "olga", timedelta(hours=24)).in_graph(GOVERNANCE).additions
    | project_delta(IDS, ACME, "shop", "Shop").additions
    | principal_delta(IDS, ACME, "anna", "analyst").additions
)


def governed(*grants: Delta) -> Governance:
    return read_governance(FACTS.union(*(grant.additions for grant in grants)))


def granted(grantee: str, auto: bool = False, **on: str) -> Delta:
    return control_grant_delta(IDS, grantee, auto_approve=auto, **on)


NONE = governed()
BY_ASSET = governed(granted("steward-shop", asset_id="web-1"))
BY_ROLE = governed(granted("steward-shop", role="web"))
BY_ROLE_AT_ONCE = governed(granted("steward-shop", auto=True, role="web"))
OLGA_AT_ONCE = governed(granted("olga", auto=True, asset_id="web-1"))
BOTH = governed(
    granted("steward-shop", asset_id="web-1"), granted("steward-shop", auto=True, role="web")
)
ANOTHER = governed(
    granted("steward-shop", auto=True, asset_id="web-2"),
    granted("steward-shop", auto=True, role="database"),
    granted("anna", auto=True, role="web"),
)
READS = order_on(IDS, "uptime")
CHANGES = order_on(IDS, "reboot", effect="changes")
OPEN = order_on(IDS, "sh", "-c", "x", person="the pattern leaves open what sh does")


@pytest.mark.parametrize(
    ("governance", "principal", "order", "needs"),
    [
        (NONE, OLGA, READS, AUTO),
        (NONE, OLGA, CHANGES, FOUR_EYES),
        (OLGA_AT_ONCE, OLGA, CHANGES, AUTO),
        (OLGA_AT_ONCE, OLGA, OPEN, FOUR_EYES),
        (BY_ASSET, SHOP, READS, AUTO),
        (BY_ASSET, SHOP, CHANGES, FOUR_EYES),
        (BY_ROLE, SHOP, READS, AUTO),
        (BY_ROLE_AT_ONCE, SHOP, CHANGES, AUTO),
        (BY_ROLE_AT_ONCE, SHOP, OPEN, FOUR_EYES),
        (BOTH, SHOP, CHANGES, AUTO),
        (ANOTHER, ANNA, CHANGES, AUTO),
    ],
)
def test_what_waits_and_what_goes_at_once(
    governance: Governance, principal: str, order: Order, needs: str
) -> None:
    authorise(governance, principal, order, ["web"])
    assert judge(governance, principal, order, ["web"]).requires == needs


@pytest.mark.parametrize(
    ("governance", "principal"),
    [(NONE, SHOP), (ANOTHER, SHOP), (BY_ROLE, ANNA), (BY_ASSET, IDS.principal("nobody"))],
)
@pytest.mark.parametrize("order", [READS, CHANGES, OPEN])
def test_nothing_is_ordered_without_a_grant(
    governance: Governance, principal: str, order: Order
) -> None:
    with pytest.raises(Forbidden, match="no control grant on web-1, nor on one of its roles web"):
        authorise(governance, principal, order, ["web"])


def test_a_role_counts_while_the_asset_has_it() -> None:
    with pytest.raises(Forbidden, match="no control grant on web-1: an operator proposes one"):
        authorise(BY_ROLE, SHOP, READS, [])


def test_grants_are_read_from_the_governance_graph() -> None:
    asset = IDS.runtime_asset("web-1")
    assert BY_ASSET.control_grants == (ControlGrant(SHOP, asset, "", False),)
    assert BY_ROLE_AT_ONCE.control_grants == (ControlGrant(SHOP, "", "web", True),)
    with pytest.raises(ValueError, match="one asset or on one role"):
        control_grant_delta(IDS, "anna", asset_id="web-1", role="web")


def test_nobody_grants_control_alone() -> None:
    known = {quad.subject for quad in FACTS}
    policy = Policy(IDS)
    delta = granted("anna", role="web")
    found = policy.judge(NONE, OLGA, delta, lambda iri: NamedNode(iri) in known)
    assert found.requires == FOUR_EYES
    with pytest.raises(Forbidden):
        policy.authorise(NONE, SHOP, "shop", delta.graphs())


def test_what_looks_like_control_in_a_lineage_graph_is_seen_by_a_person() -> None:
    lineage = NamedNode(IDS.lineage_graph("shop"))
    moved = Delta(
        frozenset(
            type(quad)(quad.subject, quad.predicate, quad.object, lineage)
            for quad in granted("steward-shop", auto=True, role="web").additions
        )
    )
    found = Policy(IDS).judge(NONE, SHOP, moved, lambda iri: False)
    assert found.requires == ONE_OPERATOR
