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

What only senders show that aren't trusted, and what is more than the project may get in an hour, is
kept and waits for a person in one proposal (:mod:`stewards.new_things`, :mod:`stewards.waiting`),
which is submitted anew at most every ``hold_seconds``. When a trusted sender shows it, or the next
hour has room when it is seen again, it is proposed as usual.

Once a day, when every fact was read, what no fact showed for a while is marked as dormant
(:mod:`stewards.dormancy`). Once an hour, rules are proposed for what stayed unknown
(:mod:`stewards.reflection`).
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pyoxigraph import NamedNode, Quad

from ontology.ids import Ids
from stewards import fact_queries
from stewards.claim_set import Claim, Claims
from stewards.dormancy import Dormancy
from stewards.dormant_notes import DormantNotes
from stewards.draft import Draft, Drafts, Held, Limits, drafts, unsettled
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
from stewards.new_things import OVER_CAP, UNTRUSTED, HourlyCaps, kind_of, kinds_in, over_cap
from stewards.outcome import Outcome, Tally
from stewards.reflection import reflect
from stewards.reflection_model import Wording
from stewards.reflection_times import ReflectionTimes
from stewards.settled import Settled
from stewards.sources import claims
from stewards.waiting import Waiting
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
NOT_LOOKED = "looks for dormant things that could not be finished"
RULES_WAIT = "a steward's rule is decided by a person"
RESUBMITTED = "submitted anew with what was seen since"
NOT_REFLECTED = "reflections that could not be finished"
PASSED_OVER = "batches passed over after repeated refusals"


@dataclass(frozen=True)
class Pacing:
    """How much is read at a time. A page is whole batches, at least one, up to ``page_facts``;
    the proposal that waits for a person is submitted anew at most every ``hold_seconds``."""

    page_facts: int = 250_000
    cycle_pages: int = 100
    page_batches: int = 1_000
    hold_seconds: float = 600.0


class TelemetrySteward:
    """One steward of one project. One cycle runs at a time; :meth:`run_once` may be called from any
    thread. Things are dormant after so many days without a fact, never where that is 0. It reflects
    at most once in ``reflect_every``, never where that is nothing; ``wording`` may word what it
    proposes then."""

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
        caps: HourlyCaps | None = None,
        dormant_after: int = 0,
        reflect_every: timedelta = timedelta(0),
        wording: Wording | None = None,
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
        self._caps = caps or HourlyCaps()
        self._waiting = Waiting(store, name, project)
        self._dormancy = (
            Dormancy(
                client,
                self._settled,
                DormantNotes(store, name),
                ids,
                project,
                dormant_after,
                self._limits,
            )
            if dormant_after
            else None
        )
        self._times = ReflectionTimes(store, name, reflect_every) if reflect_every else None
        self._wording = wording
        # At the start it is unknown what waits at the gate.
        self._review_at: float | None = 0.0
        self._mixed = False
        self._looked_until = 0
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
            self._review(tally)
            if page is None and not stopping():
                self._look(tally)
                self._reflect(tally)
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
        mixed = bool(wanted.claims) and self._is_mixed(page)
        trusted = wanted
        if mixed:
            trusted = claims(page, self._client.trusted_facts, self._ids)
            shown = {claim.quad for claim in trusted.claims}
            self._hold([claim for claim in wanted.claims if claim.quad not in shown], UNTRUSTED)
        self._propose(trusted, tally)
        if self._dormancy is not None:
            self._dormancy.wake(
                page,
                wanted.claims,
                mixed,
                self._clock(),
                lambda draft: self._hand_in_marks(draft, tally),
            )

    def _propose(self, wanted: Claims, tally: Tally) -> None:
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
        plan = self._plan(wanted, base, tally)
        for draft in plan.drafts:
            answer = self._answer(draft, base)
            base = _int(answer, "head")
            if answer.get("id") is None:
                continue
            self._count(answer, draft, tally)
            self._waiting.note_admitted(kinds_in(draft.quads, wanted.claims), self._now())
        for reason, count in plan.set_aside.items():
            tally.set_aside[reason] += count

    def _plan(self, wanted: Claims, head: int, tally: Tally) -> Drafts:
        held = self._held(wanted.claims, head)
        over = over_cap(
            wanted.claims,
            held.quads | held.withheld,
            self._waiting.admitted(self._now()),
            self._caps,
        )
        if not over:
            return drafts(wanted.claims, held, self._limits)
        new = Counter(kind_of(claim) for claim in over if claim.quad not in held.quads)
        LOGGER.warning(
            "steward %s: %s: %s", self.name, OVER_CAP, ", ".join(_counted(new)) or len(over)
        )
        for kind, count in new.items():
            if kind:
                tally.set_aside[f"{kind}: {OVER_CAP}"] += count
        self._hold([claim for claim in over if claim.quad not in held.quads], OVER_CAP)
        left = set(over)
        return drafts([claim for claim in wanted.claims if claim not in left], held, self._limits)

    def _held(self, wanted: Sequence[Claim], head: int) -> Held:
        """What is settled of these claims, at the gate and here."""
        held = self._settled.look_up(wanted, head)
        quads = (claim.quad for claim in wanted if claim.quad not in held.quads)
        return replace(
            held, withheld=held.withheld | self._store.aside(self.name, quads, self._now())
        )

    # --- what waits for a person

    def _is_mixed(self, page: Page) -> bool:
        """Whether the project has facts of senders that aren't trusted, up to this page."""
        if not self._mixed:
            # What is older was looked at once, and what is joined with the page may be as old.
            after = min(self._looked_until, page.after)
            answer = self._client.facts(fact_queries.untrusted(self.project, after, page.until))
            self._mixed = bool(int(answer.rows[0][0]))
            self._looked_until = page.until
        return self._mixed

    def _hold(self, found: Sequence[Claim], reason: str) -> None:
        """Keep what isn't settled of these claims for the proposal that waits."""
        if not found:
            return
        held = self._held(found, self._client.progress().head)
        settled = held.quads | held.withheld
        left = [claim for claim in unsettled(found, held) if claim.quad not in settled]
        if self._waiting.add(left, reason) and self._review_at is None:
            self._review_at = self._now()

    def _review(self, tally: Tally) -> None:
        """Make the proposal that waits be what waits now, when it is time for that."""
        if self._review_at is None or self._now() < self._review_at:
            return
        for _ in range(MAX_ROUNDS):
            head = self._client.progress().head
            waiting = self._waiting.all()
            found = [claim for claim, _ in waiting]
            held = self._held(found, head) if found else Held()
            open_claims = set(unsettled(found, held))
            gone = [
                claim for claim in found if claim not in open_claims or claim.quad in held.withheld
            ]
            self._waiting.forget(gone)
            left = [item for item in waiting if item[0] not in set(gone)]
            plan = drafts([claim for claim, _ in left], held, self._limits)
            try:
                self._hand_in(plan.drafts[:1], left, head, tally)
            except _Refused as refused:
                project = self._ids.project(self.project)
                blamed = blame(refused.draft, refused.error, project)
                aside = blamed or frozenset(refused.draft.quads)
                LOGGER.warning("steward %s: what waits was refused: %s", self.name, refused.error)
                self._store.set_aside(self.name, aside, self._now() + ASIDE.total_seconds())
                tally.set_aside[REFUSED] += len(aside)
                continue
            break
        if self._waiting.all():
            self._review_at = self._now() + self._pacing.hold_seconds
        else:
            self._review_at = None
            self._waiting.begin_again()

    def _hand_in(
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
                said += f" Not among it, for want of room: {', '.join(_counted(rest))} (sightings)."
            answer = self._answer(replace(draft, rationale=said), head, "; ".join(reasons))
            if answer.get("id") is not None:
                self._count(answer, draft, tally)

    # --- what is dormant

    def _look(self, tally: Tally) -> None:
        if self._dormancy is None:
            return
        try:
            self._dormancy.look(self._clock(), lambda draft: self._hand_in_marks(draft, tally))
        except GateRefused as error:
            # What is read and proposed doesn't wait for it.
            LOGGER.warning("steward %s: what is dormant isn't known: %s", self.name, error)
            tally.set_aside[NOT_LOOKED] += 1

    def _hand_in_marks(self, draft: Draft, tally: Tally) -> bool:
        """Submit a change of marks, without what the gate refuses of it: that is set aside for a
        day. Whether the gate took it."""
        for _ in range(MAX_ROUNDS):
            aside = self._store.aside(self.name, draft.quads, self._now())
            draft = replace(draft, quads=tuple(quad for quad in draft.quads if quad not in aside))
            if not draft.quads and not draft.removals:
                return False
            try:
                answer = self._answer(draft, self._client.progress().head)
            except _Refused as refused:
                LOGGER.warning("steward %s: marks were refused: %s", self.name, refused.error)
                blamed = blame(draft, refused.error, self._ids.project(self.project))
                aside = blamed or frozenset(draft.quads)
                tally.set_aside[REFUSED] += len(aside)
                if not aside:
                    return False
                self._store.set_aside(self.name, aside, self._now() + ASIDE.total_seconds())
                continue
            if answer.get("id") is not None:
                self._count(answer, draft, tally)
            return True
        return False

    # --- what stayed unknown

    def _reflect(self, tally: Tally) -> None:
        now = self._clock()
        if self._times is None or not self._times.is_due(now):
            return
        try:
            found = reflect(
                self.project,
                lambda sql: self._client.facts(sql).rows,
                self._client,
                self._ids,
                self._ids.principal(self.name),
                now,
                self._wording,
            )
            tally.set_aside.update(found.set_aside)
            for draft in found.drafts:
                self._hand_in_rule(draft, tally)
        except GateRefused as error:
            # What is read and proposed doesn't wait for it.
            LOGGER.warning("steward %s could not reflect: %s", self.name, error)
            tally.set_aside[NOT_REFLECTED] += 1

    def _hand_in_rule(self, draft: Draft, tally: Tally) -> None:
        try:
            answer = self._answer(draft, self._client.progress().head, RULES_WAIT)
        except _Refused as refused:
            # The gate remembers it as invalid, so that it isn't proposed again for a while.
            LOGGER.warning("steward %s: a rule was refused: %s", self.name, refused.error)
            tally.set_aside[REFUSED] += len(draft.quads)
            return
        if answer.get("id") is not None:
            self._count(answer, draft, tally)

    def _count(self, answer: Mapping[str, Any], draft: Draft, tally: Tally) -> None:
        tally.proposals.append(str(answer["id"]))
        tally.quads += len(draft.quads)
        tally.awaiting += answer.get("state") == "awaiting decision"
        self._save(replace(self._record, proposals=self._record.proposals + 1))

    def _now(self) -> float:
        return self._clock().timestamp()

    def _answer(self, draft: Draft, base: int, hold: str = "") -> dict[str, Any]:
        try:
            answer = self._client.propose(
                self.project,
                draft.rationale,
                draft.additions,
                draft.removals,
                draft.evidence,
                base,
                hold,
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


def _counted(numbers: Mapping[str, int]) -> list[str]:
    return [f"{count:,} {kind}" for kind, count in sorted(numbers.items()) if kind]


def _iri(text: str) -> str:
    """``<iri>``, however the report writes it."""
    return text if text.startswith(("<", '"')) else f"<{text}>"


def _int(answer: dict[str, Any], name: str) -> int:
    value = answer.get(name)
    if not isinstance(value, int):
        raise UnexpectedAnswer(f"POST /proposals answered without {name}: {sorted(answer)}")
    return value
