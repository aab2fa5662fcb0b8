"""The view of the assets is of the head, and is made anew only when the graph has changed."""

from __future__ import annotations

from graph_api.asset_view import AssetView
from proofs.orders import Result
from tests.proofs.conftest import (
    Gate,
    asset_turtle,
    controlled,
    controlled_folder,
    founded,
    gate,
    order_on,
    signer,
)

__all__ = ["controlled", "controlled_folder", "founded", "gate", "signer"]


def test_it_is_of_the_head_and_runs_leave_it_as_it_is(controlled: Gate) -> None:
    view = AssetView(controlled.store, controlled.index, controlled.ids)
    first = view()
    assert list(first.assets) == ["web-1"]
    begun = controlled.ledger.order(controlled.operator, order_on(controlled.ids, "x"), begin=True)
    controlled.ledger.finish(begun.id, Result({"outcome": "succeeded"}))
    assert view() is first
    controlled.propose(asset_turtle(controlled.ids, "web-2"), "assets", by=controlled.operator)
    assert view() is first
    controlled.clock.move(hours=25)
    assert controlled.ledger.tick() == 1
    assert list(view().assets) == ["web-1", "web-2"]
