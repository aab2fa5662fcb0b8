"""The loop against a played gate: what it proposes, and what it does when the gate says no."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.stewards.conftest import Hire, PlayedGate, Traffic


def test_facts_become_one_applied_proposal_and_steady_traffic_none(
    gate: PlayedGate, traffic: Traffic, hire: Hire
) -> None:
    traffic.send(*traffic.order())
    steward = hire()
    first = steward.run_once()
    print(first, gate.proposals["p1"]["report"])
    assert first.state == "proposed"
