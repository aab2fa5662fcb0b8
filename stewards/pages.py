"""The next page of facts that a steward reads: whole batches after its watermark.

Invariant: a page ends with a batch whose facts are all there, and the next one begins right after
it, so that no fact is passed by. After a refusal pages are smaller, until the batch that is refused
stands alone.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from stewards import fact_queries
from stewards.fact_queries import Page
from stewards.gate_client import GateClient
from stewards.watermark import Bookmark

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pacing:
    """How much is read at a time. A page is whole batches, at least one, up to ``page_facts``;
    the proposal that waits for a person is submitted anew at most every ``hold_seconds``."""

    page_facts: int = 250_000
    cycle_pages: int = 100
    page_batches: int = 1_000
    hold_seconds: float = 600.0


class Pages:
    """Finds the pages of one steward of one project."""

    def __init__(self, client: GateClient, bookmark: Bookmark, pacing: Pacing) -> None:
        self._client = client
        self._bookmark = bookmark
        self._pacing = pacing

    def next(self) -> Page | None:
        """The next whole batches, up to the page's size."""
        record = self._bookmark.record
        after = record.watermark
        found = self._client.facts(
            fact_queries.batches(record.project, after, self._pacing.page_batches)
        ).rows
        if not found and after:
            newest = int(self._client.facts(fact_queries.newest(record.project)).rows[0][0])
            if newest < after:
                # The facts were made anew, with other numbers.
                LOGGER.warning(
                    "steward %s has read up to batch %d and the newest is %d: it reads from the"
                    " start",
                    record.name,
                    after,
                    newest,
                )
                self._bookmark.keep(watermark=0)
                return self.next() if newest else None
        if not found:
            return None
        # A large batch becomes facts in parts: of the one at work a part may be there already.
        whole = self._client.progress().cursor
        # After a refusal, smaller steps find the batch that is refused.
        room = self._pacing.page_facts >> (4 * record.refusals)
        until, facts = after, 0
        for seq, count in found:
            if int(seq) > whole or (facts and facts + int(count) > room):
                break
            until, facts = int(seq), facts + int(count)
        return Page(record.project, after, until, facts) if until > after else None
