"""What a steward does at each node of its graph.

Invariant: each step may be carried out twice, by another process, at any later time, and proposes
nothing twice: what is drafted is first looked up at the gate (:mod:`stewards.settled`), and of the
same change by the same author the gate keeps one that waits. A step returns what it changes of the
state; what it holds in memory is only what it would otherwise read again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from ontology.ids import Ids
from stewards import fact_queries
from stewards.conduct import Conduct
from stewards.conflict_watch import ConflictWatch
from stewards.dormancy import Dormancy
from stewards.dormant_notes import DormantNotes
from stewards.draft import Draft
from stewards.errors import GateRefused, OutdatedDraft
from stewards.fact_queries import Page
from stewards.gate_client import GateClient
from stewards.new_things import UNTRUSTED, kinds_in
from stewards.outcome import Tally
from stewards.pages import Pages
from stewards.plan import Planner
from stewards.readings import Readings
from stewards.reflection_times import ReflectionTimes
from stewards.review import Review
from stewards.rule_proposals import RuleProposals
from stewards.run_state import MAX_AWAITING, Reading, State, begun, page_of, written
from stewards.settled import Settled
from stewards.submission import AWAITING, MAX_ROUNDS, Clock, Refused, Submission, head_of
from stewards.waiting import Waiting
from stewards.watermark import Bookmark, WatermarkStore

LOGGER = logging.getLogger(__name__)

MAX_REFUSALS = 3
"""How often in a row the same batches may be refused before the rest goes on without them."""
NOT_LOOKED = "looks for dormant things that could not be finished"
NOT_COMPARED = "looks for conflicts between sources that could not be finished"

Update = dict[str, Any]


class Sweep:
    """The steps of one steward of one project. Steps of one run may be in several threads only
    while it reads. ``stopping`` is asked before each page."""

    def __init__(
        self,
        name: str,
        project: str,
        client: GateClient,
        ids: Ids,
        store: WatermarkStore,
        clock: Clock,
        conduct: Conduct | None = None,
    ) -> None:
        conduct = conduct or Conduct()
        limits, self._pacing = conduct.limits, conduct.pacing
        self.name = name
        self.project = project
        self.clock = clock
        self.bookmark = Bookmark(store, name, project)
        self.stopping: Callable[[], bool] = lambda: False
        self._client = client
        settled = Settled(client, ids, project, ids.principal(name))
        self._waiting = Waiting(store, name, project)
        self._pages = Pages(client, self.bookmark, self._pacing)
        self._submission = Submission(client, ids, self.bookmark, store, clock)
        self._planner = Planner(
            name, client, settled, store, self._waiting, clock, limits, conduct.caps
        )
        self._review = Review(
            name,
            client,
            settled,
            self._waiting,
            self._planner,
            self._submission,
            clock,
            limits,
            self._pacing.hold_seconds,
        )
        self._dormancy = (
            Dormancy(
                client,
                settled,
                DormantNotes(store, name),
                ids,
                project,
                conduct.dormant_after,
                limits,
            )
            if conduct.dormant_after
            else None
        )
        self._conflicts = ConflictWatch(client, settled, ids, project, limits)
        every = conduct.reflect_every
        self._rules = (
            RuleProposals(
                name,
                project,
                client,
                ids,
                self._submission,
                ReflectionTimes(store, name, every),
                conduct.wording,
            )
            if every
            else None
        )
        self._readings = Readings(client, ids, project)
        self._read_all = False
        self._drafts: dict[str, Draft] = {}

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    # --- before a run

    def next_page(self) -> Page | None:
        """The page to read next, where there are new facts."""
        return self._pages.next()

    def is_due(self) -> bool:
        """Whether there is something to do without new facts."""
        now = self.clock()
        return (
            self._review.is_due()
            or (self._dormancy is not None and self._dormancy.is_due(now))
            or self._conflicts.is_due(now)
            or (self._rules is not None and self._rules.is_due(now))
        )

    def decided(self, awaiting: Sequence[str]) -> dict[str, str]:
        """What became of those of these proposals that wait no longer, by their ids."""
        if not awaiting:
            return {}
        left = {
            str(proposal.get("id"))
            for proposal in self._client.proposals(state=AWAITING, project=self.project)
        }
        return {
            identifier: self._became(identifier)
            for identifier in awaiting
            if identifier not in left
        }

    def _became(self, proposal: str) -> str:
        try:
            return self._client.state_of(proposal)
        except GateRefused as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            # The platform was restored from before it was made.
            return "not known any more"

    # --- the nodes

    def begin(self, state: State) -> Update:
        """Begin a cycle, with the page that was given where it is the next one."""
        watermark, page = self.bookmark.record.watermark, page_of(state)
        return {
            **begun(self.project, watermark, page if page and page.after == watermark else None)
        }

    def observe(self, state: State) -> Update:
        """Take the next page in hand, unless there is none or it is time to stop."""
        tally = _tally(state)
        page = page_of(state)
        self._read_all = False
        if page is None and tally.pages < self._pacing.cycle_pages and not self.stopping():
            page = self.next_page()
            self._read_all = page is None
        self._forget(page)
        tally.facts += 0 if page is None else page.facts
        return {
            "page": None if page is None else written(page),
            "readings": {},
            "rounds": 0,
            "tally": tally.to_json(),
        }

    def read(self, reading: Reading) -> Update:
        """What one source shows in the page."""
        page = page_of(reading)
        assert page is not None
        found = self._readings.of(page, reading["source"])
        return {"readings": {reading["source"]: len(found.claims)}}

    def draft(self, state: State) -> Update:
        """Draft what the graph doesn't hold, as of now."""
        page = page_of(state)
        assert page is not None
        tally = _tally(state)
        trusted, only = self._readings.by_trust(page)
        self._wait(self._planner.hold(only, UNTRUSTED))
        aside = Counter(self._readings.all(page).set_aside)
        self._drafts, base = {}, state["base"]
        if trusted.claims:
            base = self._client.progress().head
            plan, waits = self._planner.plan(trusted.claims, base)
            self._wait(waits)
            self._drafts = {draft.key: draft for draft in plan.drafts}
            aside.update(plan.set_aside)
        return {"drafts": list(self._drafts), "base": base, "aside": dict(aside)} | _said(
            tally, state
        )

    def submit(self, state: State) -> Update:
        """Hand in the next draft. Where it isn't in memory, or is refused, ``drafts`` becomes
        empty and ``base`` negative: to be drafted again."""
        key, *left = state["drafts"]
        draft = self._drafts.get(key)
        if draft is None:
            return {"drafts": [], "base": -1}
        page = page_of(state)
        assert page is not None
        tally = _tally(state)
        final = state["rounds"] + 1 >= MAX_ROUNDS
        try:
            answer = self._submission.hand_in(draft, state["base"], tally)
        except OutdatedDraft:
            if final:
                raise
            return {"drafts": [], "base": -1, "rounds": state["rounds"] + 1}
        except Refused as refused:
            blamed = self._submission.blamed(refused)
            if not blamed and self.bookmark.record.refusals + 1 >= MAX_REFUSALS:
                # Nothing else of the page has to wait for it.
                blamed = frozenset(refused.draft.quads)
            if not blamed or final:
                raise refused.error from None
            LOGGER.warning(
                "steward %s sets %d quads aside: %s", self.name, len(blamed), refused.error
            )
            self._submission.set_aside(blamed, tally)
            return {"drafts": [], "base": -1, "rounds": state["rounds"] + 1} | _said(tally, state)
        if answer.get("id") is not None:
            kinds = kinds_in(draft.quads, self._readings.all(page).claims)
            self._waiting.note_admitted(kinds, self.clock().timestamp())
        return {"drafts": left, "base": head_of(answer)} | _said(tally, state)

    def settle(self, state: State) -> Update:
        """The gate has answered for everything in the page: wake what it shows, and pass it."""
        page = page_of(state)
        assert page is not None
        tally = _tally(state)
        if self._dormancy is not None:
            self._dormancy.wake(
                page,
                self._readings.all(page).claims,
                self._readings.is_mixed(page),
                self.clock(),
                lambda draft: self._submission.hand_in_marks(draft, tally),
            )
        if self._readings.of(page, "runs").claims:
            self._conflicts.see()
        self.bookmark.keep(watermark=page.until, refusals=0)
        tally.set_aside.update(state["aside"])
        tally.pages += 1
        self._forget(None)
        return {"page": None, "aside": {}} | _said(tally, state)

    def review(self, state: State) -> Update:
        """When every page is read: look at what waits, at what is dormant, and at what sources
        disagree on."""
        tally = _tally(state)
        if self._review.is_due():
            self._review.look(tally)
        if self._dormancy is not None and self._read_all:
            try:
                self._dormancy.look(
                    self.clock(), lambda draft: self._submission.hand_in_marks(draft, tally)
                )
            except GateRefused as error:
                # What is read and proposed doesn't wait for it.
                LOGGER.warning("steward %s: what is dormant isn't known: %s", self.name, error)
                tally.set_aside[NOT_LOOKED] += 1
        if state["since"] < self.bookmark.record.watermark:
            self._conflicts.want(self.clock(), changed=bool(tally.proposals))
        if self._read_all:
            self._compare(tally)
        return _said(tally, state)

    def _compare(self, tally: Tally) -> None:
        try:
            tally.set_aside.update(
                self._conflicts.look(
                    self.clock, lambda draft: self._submission.hand_in_marks(draft, tally)
                )
            )
        except GateRefused as error:
            # What is read and proposed doesn't wait for it.
            LOGGER.warning("steward %s: conflicts aren't known: %s", self.name, error)
            tally.set_aside[NOT_COMPARED] += 1

    def follow(self, state: State) -> Update:
        """Begin a cycle with what people decided since on the proposals that waited: the gate says
        so, and nobody else."""
        awaiting = state.get("awaiting", [])
        decided = self.decided(awaiting)
        left = [identifier for identifier in awaiting if identifier not in decided]
        tally = Tally(decided=len(decided))
        return self.begin(state) | {
            "awaiting": left,
            "decided": decided,
            "tally": tally.to_json(),
        }

    def publish(self, state: State) -> Update:
        """Tell what was decided; what is applied is in the graph, and its readers follow the
        head."""
        for identifier, became in state["decided"].items():
            LOGGER.info("steward %s: proposal %s is %s", self.name, identifier, became)
        return {"decided": {}}

    def reflect(self, state: State) -> Update:
        """Count what no rule fitted in what the cycle read; from time to time, propose rules for
        what stayed unknown, once every fact is read."""
        tally = _tally(state)
        if self._read_all and self._rules is not None:
            self._rules.propose(self.clock(), tally)
        return self._unclassified(state) | _said(tally, state)

    def _unclassified(self, state: State) -> Update:
        first, last = state["since"], self.bookmark.record.watermark
        if last <= first:
            return {"unclassified": {}}
        try:
            rows = self._client.facts(fact_queries.unclassified(self.project, first, last)).rows
        except GateRefused as error:
            # Nothing rests on it.
            LOGGER.warning("steward %s: what is unclassified isn't known: %s", self.name, error)
            return {"unclassified": {}}
        return {"unclassified": {str(source): int(count) for source, count in rows}}

    def _forget(self, page: Page | None) -> None:
        self._drafts = {}
        self._readings.keep_only(page)

    def _wait(self, more: int) -> None:
        if more:
            self._review.soon()


def _tally(state: Mapping[str, Any]) -> Tally:
    return Tally.of_json(state["tally"])


def _said(tally: Tally, state: Mapping[str, Any]) -> Update:
    """The tally, and what is to be followed from now on."""
    followed = dict.fromkeys([*state.get("awaiting", []), *tally.open])
    tally.open = []
    return {"tally": tally.to_json(), "awaiting": list(followed)[-MAX_AWAITING:]}
