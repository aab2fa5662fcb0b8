"""Who may have something carried out on a runtime asset, and whether a person decides on it.

Invariant: the verdict is a pure function of the order, its author, the roles that the asset has and
the governance view. What a person has to decide no grant lets pass, and a grant covers the one
asset or role that it names.

- Operators may order on every asset, others where a control grant of theirs covers the asset or a
  role that it has.
- What reads goes at once. What changes goes at once where such a grant says so, for operators too;
  else a person other than the author decides.
- An order that says why a person must decide waits for one, whatever it does.
"""

from __future__ import annotations

from collections.abc import Collection

from proofs.errors import Forbidden
from proofs.governance import OPERATOR, ControlGrant, Governance
from proofs.orders import READS, Order
from proofs.policy import AUTO, FOUR_EYES, Verdict


def authorise(governance: Governance, principal: str, order: Order, roles: Collection[str]) -> None:
    """Whether this principal may order that on an asset with these roles.

    Raises :class:`Forbidden`, which says what is missing and who can give it.
    """
    if governance.has_role(principal, OPERATOR):
        return
    if not _covering(governance, principal, order, roles):
        of_roles = f", nor on one of its roles {', '.join(sorted(roles))}" if roles else ""
        raise Forbidden(
            f"<{principal}> holds no control grant on {order.asset_id}{of_roles}: an operator"
            f" proposes one with 'fractalops runtime-assets grant --asset-id {order.asset_id} --to"
            f" {principal.rpartition('/')[2]}', and another person approves it"
        )


def judge(governance: Governance, principal: str, order: Order, roles: Collection[str]) -> Verdict:
    """What an authorised order needs: ``AUTO`` or ``FOUR_EYES``."""
    if order.person:
        return Verdict(FOUR_EYES, order.person)
    if order.effect == READS:
        return Verdict(AUTO, "it reads, and its author may order that")
    if any(grant.auto_approve for grant in _covering(governance, principal, order, roles)):
        return Verdict(AUTO, "a control grant of its author has such changes go at once")
    return Verdict(FOUR_EYES, f"what changes {order.asset_id} needs a person other than its author")


def _covering(
    governance: Governance, principal: str, order: Order, roles: Collection[str]
) -> list[ControlGrant]:
    return [
        grant
        for grant in governance.control_grants
        if grant.grantee == principal and (grant.asset == order.asset or grant.role in roles)
    ]
