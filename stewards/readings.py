"""What a page of facts shows, read from each source once.

Invariant: what is kept in memory is of one page, and no more than what its facts would say again:
another process reads it anew. What only senders show that aren't trusted is told from the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

from ontology.ids import Ids
from stewards import fact_queries
from stewards.claim_set import Claim, Claims
from stewards.fact_queries import Page
from stewards.fact_rows import Ask
from stewards.gate_client import GateClient
from stewards.sources import BY_NAME, merged


class Readings:
    """The readings of one steward of one project."""

    def __init__(self, client: GateClient, ids: Ids, project: str) -> None:
        self._client = client
        self._ids = ids
        self._project = project
        self._found: dict[tuple[Page, str, bool], Claims] = {}
        self._mixed = False
        self._looked: Page | None = None

    def of(self, page: Page, source: str, *, trusted: bool = False) -> Claims:
        """What one source shows in the page, or in what trusted senders sent of it."""
        key = (page, source, trusted)
        if key not in self._found:
            ask: Ask = self._client.trusted_facts if trusted else self._client.all_facts
            self._found[key] = BY_NAME[source](page, ask, self._ids)
        return self._found[key]

    def all(self, page: Page, *, trusted: bool = False) -> Claims:
        """What all sources show together."""
        key = (page, "", trusted)
        if key not in self._found:
            found = [self.of(page, source, trusted=trusted) for source in BY_NAME]
            self._found[key] = merged(found, self._ids.lineage_graph(self._project))
        return self._found[key]

    def by_trust(self, page: Page) -> tuple[Claims, Sequence[Claim]]:
        """What trusted senders show, and the claims that only others do."""
        wanted = self.all(page)
        if not self.is_mixed(page):
            return wanted, ()
        trusted = self.all(page, trusted=True)
        shown = {claim.quad for claim in trusted.claims}
        return trusted, [claim for claim in wanted.claims if claim.quad not in shown]

    def is_mixed(self, page: Page) -> bool:
        """Whether the page shows anything, and the project has facts of senders that aren't
        trusted, up to this page."""
        if not self.all(page).claims:
            return False
        if not self._mixed and self._looked != page:
            # What is older was looked at once, and what is joined with the page may be as old.
            after = min(self._looked.until if self._looked else 0, page.after)
            answer = self._client.facts(fact_queries.untrusted(self._project, after, page.until))
            self._mixed = bool(int(answer.rows[0][0]))
            self._looked = page
        return self._mixed

    def keep_only(self, page: Page | None) -> None:
        """Forget every other page."""
        self._found = {key: found for key, found in self._found.items() if key[0] == page}
