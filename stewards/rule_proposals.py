"""A steward's proposals of rules for what stayed unknown, from time to time.

Invariant: nothing that is read and proposed otherwise waits for them, whatever they come to; and a
person decides on each.
"""

from __future__ import annotations

import logging
from datetime import datetime

from ontology.ids import Ids
from stewards import reflection
from stewards.draft import Draft
from stewards.errors import GateRefused
from stewards.gate_client import GateClient
from stewards.outcome import Tally
from stewards.reflection_model import Wording
from stewards.reflection_times import ReflectionTimes
from stewards.submission import REFUSED, Refused, Submission

LOGGER = logging.getLogger(__name__)

RULES_WAIT = "a steward's rule is decided by a person"
NOT_REFLECTED = "reflections that could not be finished"


class RuleProposals:
    """Those of one steward of one project; ``wording`` may word them."""

    def __init__(
        self,
        steward: str,
        project: str,
        client: GateClient,
        ids: Ids,
        submission: Submission,
        times: ReflectionTimes,
        wording: Wording | None,
    ) -> None:
        self._steward = steward
        self._project = project
        self._client = client
        self._ids = ids
        self._submission = submission
        self._times = times
        self._wording = wording

    def is_due(self, now: datetime) -> bool:
        """Whether the interval is over."""
        return self._times.is_over(now)

    def propose(self, now: datetime, tally: Tally) -> None:
        """Where it is time, propose rules for what is unknown."""
        if not self._times.is_due(now):
            return
        try:
            found = reflection.reflect(
                self._project,
                lambda sql: self._client.facts(sql).rows,
                self._client,
                self._ids,
                self._ids.principal(self._steward),
                now,
                self._wording,
            )
            tally.set_aside.update(found.set_aside)
            for draft in found.drafts:
                self._hand_in(draft, tally)
        except GateRefused as error:
            # What is read and proposed doesn't wait for it.
            LOGGER.warning("steward %s could not reflect: %s", self._steward, error)
            tally.set_aside[NOT_REFLECTED] += 1

    def _hand_in(self, draft: Draft, tally: Tally) -> None:
        try:
            self._submission.hand_in(draft, self._client.progress().head, tally, RULES_WAIT)
        except Refused as refused:
            # The gate remembers it as invalid, so that it isn't proposed again for a while.
            LOGGER.warning("steward %s: a rule was refused: %s", self._steward, refused.error)
            tally.set_aside[REFUSED] += len(draft.quads)
