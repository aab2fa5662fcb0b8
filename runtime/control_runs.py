"""Runs as they stand: an order with what became of it.

Invariant: a run is a view of its order in the journal and nothing besides; its id is the
proposal's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proofs.orders import Order
from proofs.proposal import ProposalView


@dataclass(frozen=True, slots=True)
class Run:
    """``result`` is empty until it has ended; ``evidence`` are digests of what is kept of it."""

    view: ProposalView
    order: Order
    result: Mapping[str, Any]
    evidence: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.view.id


def run_of(view: ProposalView) -> Run:
    """The run that an order is."""
    return Run(view, order_of(view), view.result or {}, view.evidence)


def order_of(view: ProposalView) -> Order:
    """What is to be carried out. Raises :class:`proofs.errors.MalformedStatement`."""
    return Order.from_dict(view.order)
