"""Makes stewards for the assignments of one platform."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ontology.ids import Ids
from stewards.conduct import Conduct
from stewards.gate_client import GateClient
from stewards.loop import TelemetrySteward
from stewards.runs import Runs
from stewards.signer import ProposalSigner
from stewards.staff import Assignment
from stewards.submission import Clock
from stewards.sweep import Sweep
from stewards.watermark import WatermarkStore


@dataclass(frozen=True)
class Hiring:
    """What the stewards of one place have in common. ``url`` is where the platform answers: they
    go through its HTTP API like everyone else; ``signer(steward)`` signs what that one proposes,
    ``sleep(seconds)`` is called where the platform asks for patience."""

    url: str
    ids: Ids
    store: WatermarkStore
    runs: Runs
    clock: Clock
    conduct: Conduct
    signer: Callable[[str], ProposalSigner | None]
    sleep: Callable[[float], object]

    def hire(self, assignment: Assignment) -> TelemetrySteward:
        """The steward of this assignment; whoever hires it closes it."""
        name = assignment.name
        client = GateClient.connect(self.url, assignment.token, self.sleep, self.signer(name))
        return TelemetrySteward(
            Sweep(
                name,
                assignment.project,
                client,
                self.ids,
                self.store,
                self.clock,
                self.conduct,
            ),
            self.runs,
        )
