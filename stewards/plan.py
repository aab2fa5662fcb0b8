"""Plans what to propose of some claims: without what is settled, over the caps, or to wait.

Invariant: what a plan leaves out is in the graph, is set aside, or waits for a person; planning
the same claims twice changes nothing the second time.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from stewards.claim_set import Claim
from stewards.draft import Drafts, Held, Limits, drafts, unsettled
from stewards.gate_client import GateClient
from stewards.new_things import OVER_CAP, HourlyCaps, kind_of, over_cap
from stewards.settled import Settled
from stewards.submission import Clock
from stewards.waiting import Waiting
from stewards.watermark import WatermarkStore

LOGGER = logging.getLogger(__name__)


class Planner:
    """Plans for one steward."""

    def __init__(
        self,
        name: str,
        client: GateClient,
        settled: Settled,
        store: WatermarkStore,
        waiting: Waiting,
        clock: Clock,
        limits: Limits,
        caps: HourlyCaps,
    ) -> None:
        self._name = name
        self._client = client
        self._settled = settled
        self._store = store
        self._waiting = waiting
        self._clock = clock
        self._limits = limits
        self._caps = caps

    def plan(self, wanted: Sequence[Claim], head: int) -> tuple[Drafts, int]:
        """The drafts that these claims are at this head, and how many more now wait."""
        held = self.held(wanted, head)
        over = over_cap(
            wanted,
            held.quads | held.withheld,
            self._waiting.admitted(self._clock().timestamp()),
            self._caps,
        )
        if not over:
            return drafts(wanted, held, self._limits), 0
        new = Counter(kind_of(claim) for claim in over if claim.quad not in held.quads)
        LOGGER.warning(
            "steward %s: %s: %s", self._name, OVER_CAP, ", ".join(counted(new)) or len(over)
        )
        waits = self.hold([claim for claim in over if claim.quad not in held.quads], OVER_CAP)
        left = set(over)
        plan = drafts([claim for claim in wanted if claim not in left], held, self._limits)
        capped = {f"{kind}: {OVER_CAP}": count for kind, count in new.items() if kind}
        return replace(plan, set_aside={**plan.set_aside, **capped}), waits

    def held(self, wanted: Sequence[Claim], head: int) -> Held:
        """What is settled of these claims, at the gate and here."""
        held = self._settled.look_up(wanted, head)
        quads = (claim.quad for claim in wanted if claim.quad not in held.quads)
        aside = self._store.aside(self._name, quads, self._clock().timestamp())
        return replace(held, withheld=held.withheld | aside)

    def hold(self, found: Sequence[Claim], reason: str) -> int:
        """Keep what isn't settled of these claims for the proposal that waits; how many are new."""
        if not found:
            return 0
        held = self.held(found, self._client.progress().head)
        settled = held.quads | held.withheld
        left = [claim for claim in unsettled(found, held) if claim.quad not in settled]
        return self._waiting.add(left, reason)


def counted(numbers: Mapping[str, int]) -> list[str]:
    """Things of each kind, with their numbers."""
    return [f"{count:,} {kind}" for kind, count in sorted(numbers.items()) if kind]
