"""The telemetry steward: facts since its watermark become proposals.

Invariant: the watermark passes a page of facts only when the gate has answered for everything that
the page shows, so a crash at any moment costs a second reading and nothing else; and what was read
twice proposes nothing, for the graph holds it.

What holds the watermark, and what doesn't:

- The platform doesn't answer, is busy or fails (429, 5xx), or the token, the grant or the project
  is missing (401, 403, 404): the watermark stays, the runner waits longer each time, and the
  outcome says why. Nothing is lost.
- A shape is broken (422): the things that the report names are set aside for a day, with whatever
  can't be said without them, and the rest is proposed.
- A refusal that names nothing (400, 413, 422), of the draft or of the page's facts: tried again in
  the next cycles, with smaller pages, ``MAX_REFUSALS`` times in all; then the page is passed over,
  which is logged and counted.
- The graph moved (409): read and drafted again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pyoxigraph import NamedNode, Quad

from ontology.ids import Ids
from stewards import fact_queries
from stewards.claim_set import Claims
from stewards.draft import Draft, Drafts, Limits, drafts
from stewards.errors import (
    DraftRefused,
    GateRefused,
    LimitReached,
    OutdatedDraft,
    StewardError,
    UnexpectedAnswer,
    report_results,
)
from stewards.fact_queries import Page
from stewards.gate_client import GateClient
from stewards.outcome import Outcome, Tally
from stewards.settled import Settled
from stewards.sources import claims
from stewards.watermark import Record, WatermarkStore

LOGGER = logging.getLogger(__name__)

Clock = Callable[[], datetime]
"""The time now, with its zone."""

MAX_REFUSALS = 3
REFUSAL_STATUSES = frozenset({400, 408, 413, 422})
"""What speaks of the request itself, so that the same request would be refused again."""
MAX_ROUNDS = 10
"""How often one page is drafted anew after a conflict or a refusal, in one cycle."""
ASIDE = timedelta(days=1)
"""A refused thing is proposed again after this: shapes may have changed."""
REFUSED = "quads that the gate refused"
PASSED_OVER = "batches passed over after repeated refusals"


@dataclass(frozen=True)
class Pacing:
    """How much is read at a time. A page is whole batches, at least one, up to ``page_facts``."""

    page_facts: int = 20_000
    cycle_pages: int = 100
    page_batches: int = 1_000


class TelemetrySteward:
    """One steward of one project. One cycle runs at a time; :meth:`run_once` may be called from any
    thread."""

    def __init__(
        self,
        name: str,
        project: str,
        client: GateClient,
        ids: Ids,
        store: WatermarkStore,
        clock: Clock,
        *,
        limits: Limits | None = None,
        pacing: Pacing | None = None,
    ) -> None:
        self.name = name
        self.project = project
        self._client = client
        self._ids = ids
        self._store = store
        self._clock = clock
        self._limits = limits or Limits()
        self._pacing = pacing or Pacing()
        self._settled = Settled(client, ids, project, ids.principal(name))
        self._cycle_lock = threading.Lock()
        self._record = store.record(name, project)

    def close(self) -> None:
        """Close the connection, once a running cycle has ended."""
        with self._cycle_lock:
            self._client.close()

    def status(self) -> dict[str, Any]:
        """The steward as ``GET /stewards`` shows it."""
        record = self._record
        return {
            "name": record.name,
            "project": record.project,
            "watermark": record.watermark,
            "last_run_at": record.last_run_at,
            "last_outcome": record.last_outcome,
            "runs": record.runs,
            "proposals": record.proposals,
        }

    def read_again(self, seq: int) -> None:
        """Move the watermark back to before this batch, once a running cycle has ended."""
        with self._cycle_lock:
            if self._record.watermark >= seq:
                self._save(replace(self._record, watermark=seq - 1))

    def run_once(self, stopping: Callable[[], bool] = lambda: False) -> Outcome:
        """Read every new fact and propose what it shows; stops between pages when told to.

        Never raises a :class:`StewardError`: the outcome carries it.
        """
        with self._cycle_lock:
            outcome = self._cycle(stopping)
            record = replace(
                self._record,
                last_run_at=self._clock().isoformat(timespec="seconds"),
                runs=self._record.runs + 1,
            )
            if outcome.state == "idle" and record.last_outcome is not None:
                # The last thing that happened says more than that nothing happened since, and isn't
                # worth a write every few seconds.
                self._record = record
            else:
                self._save(replace(record, last_outcome=str(outcome)))
            return outcome

    def _cycle(self, stopping: Callable[[], bool]) -> Outcome:
        tally = Tally()
        pages = 0
        page: Page | None = None
        try:
            while pages < self._pacing.cycle_pages and not stopping():
                page = self._next_page(tally)
                if page is None:
                    break
                self._propose_page(page, tally)
                self._save(replace(self._record, watermark=page.until, refusals=0))
                pages += 1
        except GateRefused as error:
            if isinstance(error, LimitReached) or error.status in REFUSAL_STATUSES:
                return self._refused(page, error, tally, pages)
            return self._ended("failed", error, tally, pages)
        except StewardError as error:
            return self._ended("failed", error, tally, pages)
        return tally.outcome(self._record.watermark, pages)

    def _refused(self, page: Page | None, error: GateRefused, tally: Tally, pages: int) -> Outcome:
        refusals = self._record.refusals + 1
        if page is None or refusals < MAX_REFUSALS:
            self._save(replace(self._record, refusals=refusals))
        else:
            LOGGER.error(
                "steward %s passes over batches %d to %d, refused %d times: %s",
                self.name,
                page.after + 1,
                page.until,
                refusals,
                error,
            )
            tally.set_aside[PASSED_OVER] += 1
            self._save(replace(self._record, watermark=page.until, refusals=0))
        return self._ended("refused", error, tally, pages)

    def _ended(self, state: Any, error: StewardError, tally: Tally, pages: int) -> Outcome:
        LOGGER.warning("steward %s: %s", self.name, error)
        return tally.outcome(self._record.watermark, pages, str(error), state)

    # --- one page

    def _next_page(self, tally: Tally) -> Page | None:
        """The next whole batches, up to the page's size."""
        after = self._record.watermark
        found = self._client.facts(
            fact_queries.batches(self.project, after, self._pacing.page_batches)
        ).rows
        if not found and after:
            newest = int(self._client.facts(fact_queries.newest(self.project)).rows[0][0])
            if newest < after:
                # The facts were made anew, with other numbers.
                LOGGER.warning(
                    "steward %s has read up to batch %d and the newest is %d: it reads from the"
                    " start",
                    self.name,
                    after,
                    newest,
                )
                self._save(replace(self._record, watermark=0))
                return self._next_page(tally) if newest else None
        if not found:
            return None
        # A large batch becomes facts in parts: of the one at work a part may be there already.
        whole = self._client.progress().cursor
        # After a refusal, smaller steps find the batch that is refused.
        room = self._pacing.page_facts >> (4 * self._record.refusals)
        until, facts = after, 0
        for seq, count in found:
            if int(seq) > whole or (facts and facts + int(count) > room):
                break
            until, facts = int(seq), facts + int(count)
        tally.facts += facts
        return Page(self.project, after, until, facts) if until > after else None

    def _propose_page(self, page: Page, tally: Tally) -> None:
        wanted = claims(page, self._client.all_facts, self._ids)
        for reason, count in wanted.set_aside.items():
            tally.set_aside[reason] += count
        if not wanted.claims:
            return
        for final in (*(False,) * (MAX_ROUNDS - 1), True):
            try:
                self._submit(wanted, tally)
                return
            except OutdatedDraft:
                if final:
                    raise
            except _Refused as refused:
                blamed = blame(refused.draft, refused.error, self._ids.project(self.project))
                if not blamed and self._record.refusals + 1 >= MAX_REFUSALS:
                    # Nothing else of the page has to wait for it.
                    blamed = frozenset(refused.draft.quads)
                if not blamed or final:
                    raise refused.error from None
                LOGGER.warning(
                    "steward %s sets %d quads aside: %s", self.name, len(blamed), refused.error
                )
                tally.set_aside[REFUSED] += len(blamed)
                until = (self._clock() + ASIDE).timestamp()
                self._store.set_aside(self.name, blamed, until)

    def _submit(self, wanted: Claims, tally: Tally) -> None:
        base = self._client.progress().head
        plan = self._plan(wanted, base)
        for draft in plan.drafts:
            answer = self._answer(draft, base)
            base = _int(answer, "head")
            if answer.get("id") is None:
                continue
            tally.proposals.append(str(answer["id"]))
            tally.quads += len(draft.quads)
            tally.awaiting += answer.get("state") == "awaiting decision"
            self._save(replace(self._record, proposals=self._record.proposals + 1))
        for reason, count in plan.set_aside.items():
            tally.set_aside[reason] += count

    def _plan(self, wanted: Claims, head: int) -> Drafts:
        held = self._settled.look_up(wanted.claims, head)
        quads = (claim.quad for claim in wanted.claims if claim.quad not in held.quads)
        aside = self._store.aside(self.name, quads, self._clock().timestamp())
        return drafts(wanted.claims, replace(held, withheld=held.withheld | aside), self._limits)

    def _answer(self, draft: Draft, base: int) -> dict[str, Any]:
        try:
            answer = self._client.propose(
                self.project,
                draft.rationale,
                draft.additions,
                draft.removals,
                draft.evidence,
                base,
            )
        except DraftRefused as error:
            raise _Refused(draft, error) from error
        if answer.get("state") in ("invalid", "rejected"):
            raise _Refused(
                draft,
                DraftRefused(
                    422, "about:blank", "The proposal is invalid", "", report_results(answer)
                ),
            )
        return answer

    def _save(self, record: Record) -> None:
        self._store.save(record)
        self._record = record


class _Refused(Exception):
    """The gate refused this draft, as opposed to another request."""

    def __init__(self, draft: Draft, error: DraftRefused) -> None:
        super().__init__(str(error))
        self.draft = draft
        self.error = error


def blame(draft: Draft, error: DraftRefused, project: str) -> frozenset[Quad]:
    """The quads of the draft that its report is about; none where the report names nothing in it.

    Where a result's value is a thing of this draft, that thing is at fault, rather than the thing
    that points at it. What is wrong with the project itself is no fault of a part of the draft.
    """
    subjects = {str(quad.subject) for quad in draft.quads}
    named = set()
    for result in error.results:
        focus, value = _iri(result.focus), _iri(result.value)
        named.add(value if value in subjects and value != focus else focus)
    named.discard(_iri(project))
    return frozenset(
        quad
        for quad in draft.quads
        if str(quad.subject) in named
        or (isinstance(quad.object, NamedNode) and str(quad.object) in named)
    )


def _iri(text: str) -> str:
    """``<iri>``, however the report writes it."""
    return text if text.startswith(("<", '"')) else f"<{text}>"


def _int(answer: dict[str, Any], name: str) -> int:
    value = answer.get(name)
    if not isinstance(value, int):
        raise UnexpectedAnswer(f"POST /proposals answered without {name}: {sorted(answer)}")
    return value
