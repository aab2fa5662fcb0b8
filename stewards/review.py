"""Keeps the one proposal that waits for a person what waits now.

Invariant: of one steward at most one such proposal is at the gate, and it is submitted anew only
when what waits has changed and ``hold_seconds`` have passed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from stewards.claim_set import Claim
from stewards.draft import Draft, Held, Limits, drafts, unsettled
from stewards.gate_client import GateClient
from stewards.outcome import Tally
from stewards.plan import Planner, counted
from stewards.settled import Settled
from stewards.submission import MAX_ROUNDS, Clock, Refused, Submission
from stewards.waiting import Waiting

LOGGER = logging.getLogger(__name__)

RESUBMITTED = "submitted anew with what was seen since"


class Review:
    """Looks at what waits of one steward."""

    def __init__(
        self,
        name: str,
        client: GateClient,
        settled: Settled,
        waiting: Waiting,
        planner: Planner,
        submission: Submission,
        clock: Clock,
        limits: Limits,
        hold_seconds: float,
    ) -> None:
        self._name = name
        self._client = client
        self._settled = settled
        self._waiting = waiting
        self._planner = planner
        self._submission = submission
        self._clock = clock
        self._limits = limits
        self._hold_seconds = hold_seconds
        # At the start it is unknown what waits at the gate.
        self._at: float | None = 0.0

    def soon(self) -> None:
        """Something more waits."""
        if self._at is None:
            self._at = self._clock().timestamp()

    def is_due(self) -> bool:
        """Whether it is time, and something waits here or at the gate."""
        if self._at is None or self._clock().timestamp() < self._at:
            return False
        if self._waiting.all() or self._settled.held():
            return True
        self._rest()
        return False

    def look(self, tally: Tally) -> None:
        """Make the proposal that waits be what waits now."""
        for _ in range(MAX_ROUNDS):
            head = self._client.progress().head
            waiting = self._waiting.all()
            found = [claim for claim, _ in waiting]
            held = self._planner.held(found, head) if found else Held()
            open_claims = set(unsettled(found, held))
            gone = [
                claim for claim in found if claim not in open_claims or claim.quad in held.withheld
            ]
            self._waiting.forget(gone)
            left = [item for item in waiting if item[0] not in set(gone)]
            plan = drafts([claim for claim, _ in left], held, self._limits)
            try:
                self._replace(plan.drafts[:1], left, head, tally)
            except Refused as refused:
                LOGGER.warning("steward %s: what waits was refused: %s", self._name, refused.error)
                aside = self._submission.blamed(refused) or frozenset(refused.draft.quads)
                self._submission.set_aside(aside, tally)
                continue
            break
        self._rest()

    def _replace(
        self, wanted: Sequence[Draft], left: Sequence[tuple[Claim, str]], head: int, tally: Tally
    ) -> None:
        """Submit the one proposal that waits, in place of the one that is there."""
        at_gate = self._settled.held()
        quads = frozenset(wanted[0].quads) if wanted else frozenset()
        if list(at_gate.values()) == ([quads] if quads else []):
            return
        for identifier in at_gate:
            self._client.withdraw(identifier, RESUBMITTED if quads else "nothing waits any more")
        for draft in wanted:
            reasons = sorted({reason for claim, reason in left if claim.quad in quads})
            rest = self._waiting.turned_away()
            said = f"Waits for a person: {' and '.join(reasons)}. {draft.rationale}"
            if rest:
                said += f" Not among it, for want of room: {', '.join(counted(rest))} (sightings)."
            self._submission.hand_in(
                replace(draft, rationale=said), head, tally, "; ".join(reasons)
            )

    def _rest(self) -> None:
        if self._waiting.all():
            self._at = self._clock().timestamp() + self._hold_seconds
        else:
            self._at = None
            self._waiting.begin_again()
