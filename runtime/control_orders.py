"""What the control of assets needs of the gate: orders, and what becomes of them.

Invariant: who may order what, and who must decide on it, is the gate's to say; what is begun there
is on disk before anything starts, and is begun once.
Source: :mod:`proofs.ledger`, :mod:`proofs.orders`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from proofs.orders import Order, Result
from proofs.proposal import ProposalView


class Orders(Protocol):
    """The part of :class:`proofs.ledger.Ledger` that carries orders."""

    def order(
        self,
        principal: str,
        order: Order,
        *,
        project: str | None = None,
        rationale: str = "",
        begin: bool = False,
    ) -> ProposalView: ...

    def begin(self, identifier: str) -> ProposalView: ...

    def finish(self, identifier: str, result: Result) -> ProposalView: ...

    def abandon(self, identifier: str, reason: str, *, by: str | None = None) -> ProposalView: ...

    def withdraw(self, principal: str, identifier: str, reason: str) -> ProposalView: ...

    def reject(self, principal: str, identifier: str, reason: str) -> ProposalView: ...

    def proposal(self, identifier: str) -> ProposalView: ...


class OrderIndex(Protocol):
    """Finds orders, newest first (:meth:`proofs.index.Index.orders`)."""

    def __call__(
        self,
        *,
        states: Sequence[str] = (),
        asset: str | None = None,
        principal: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[tuple[int, ProposalView]]: ...
