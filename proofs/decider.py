"""Decides what waits for a decision: by a person, or by policy when a time lock runs out.

Invariant: approving never bypasses validation, which runs again, of an order whether its author may
still give it; nobody approves what they wrote
themselves, unless nobody else could and the time lock has run out, which is marked single-person.
Where policy asks for several approvals each is an entry, and counts for as long as who gave it may
approve. What nobody decides within its lifetime expires; no decision is taken on it afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime

from ontology.ids import Ids
from ontology.terms import Delta
from proofs.check import Checked, Checker, refusal
from proofs.errors import BadSubmission, Forbidden, Invalid, WrongState
from proofs.governance import OPERATOR
from proofs.order_book import OrderBook
from proofs.policy import FOUR_EYES, POLICY_PRINCIPAL, Policy
from proofs.projections import Projections, format_time
from proofs.proposal import (
    APPLIED,
    APPROVED,
    AWAITING,
    CHANGES_REQUESTED,
    EXPIRED,
    INVALID,
    REJECTED,
    SUPERSEDED,
    WITHDRAWN,
    ProposalView,
)
from proofs.recorder import Recorder, decision
from proofs.submission import check_text
from shapes.errors import ValidationFailed

LOGGER = logging.getLogger(__name__)

TIME_LOCK = "time lock"
MOST_EXPIRED = 100
"""Waiting proposals that are looked at in one turn."""


class Decider:
    """Decisions on the proposals of one organisation; any thread may call."""

    def __init__(
        self,
        projections: Projections,
        checker: Checker,
        recorder: Recorder,
        policy: Policy,
        ids: Ids,
        clock: Callable[[], datetime],
        writing: AbstractContextManager[object],
        orders: OrderBook,
    ) -> None:
        self._projections = projections
        self._checker = checker
        self._recorder = recorder
        self._rules = policy
        self._ids = ids
        self._clock = clock
        self._writing = writing
        self._orders = orders
        self.policy = ids.principal(POLICY_PRINCIPAL)

    def approve(self, principal: str, identifier: str, reason: str) -> ProposalView:
        check_text(reason, "the reason")
        view = self._approvable(principal, identifier)
        asked = self._projections.delta_of(view)
        checked = self._checker.check(asked)
        with self._writing:
            self._recorder.resume()
            view = self._approvable(principal, identifier)
            missing = self.approvals_missing(view, asked, principal)
            if missing:
                return self._endorse(view, asked, principal, reason, missing)
            if view.order is not None:
                return self._orders.approve(view, principal, reason, FOUR_EYES, single=False)
            checked = self._checker.renewed(asked, checked)
            return self._apply(view, asked, checked, principal, reason, single=False)

    def reject(self, principal: str, identifier: str, reason: str) -> ProposalView:
        check_text(reason, "the reason")
        with self._writing:
            self._recorder.resume()
            view = self._decidable(principal, identifier)
            return self._end(view, principal, "reject", "rejected", REJECTED, reason)

    def request_changes(self, principal: str, identifier: str, reason: str) -> ProposalView:
        check_text(reason, "the reason")
        if not reason.strip():
            raise BadSubmission("say what should change: the author reads it", "reason-missing")
        with self._writing:
            self._recorder.resume()
            view = self._decidable(principal, identifier)
            # It is not applied in this form, which is what the log has to tell of it.
            outcome, state = "request changes", CHANGES_REQUESTED
            return self._end(view, principal, outcome, "rejected", state, reason)

    def withdraw(self, principal: str, identifier: str, reason: str) -> ProposalView:
        check_text(reason, "the reason")
        with self._writing:
            self._recorder.resume()
            view = self._projections.proposal(identifier)
            if view.author != principal:
                raise Forbidden("a proposal is withdrawn by its author; an operator may reject it")
            _must_await(view)
            return self._end(view, principal, "withdraw", "withdrawn", WITHDRAWN, reason)

    def approvals(self, view: ProposalView) -> list[str]:
        """Who has approved what still waits, and may approve it still."""
        given = {item.by for item in view.decisions if item.outcome == "approve"}
        return sorted(given & self._eligible(view))

    def approvals_missing(self, view: ProposalView, asked: Delta, by: str | None = None) -> int:
        """How many approvals a waiting proposal lacks, ``by`` counting as one of them.

        Raises :class:`WrongState` where that one has been given."""
        given = set(self.approvals(view))
        if by in given:
            raise WrongState("you have approved this proposal; it awaits the approval of others")
        governance = self._projections.governance
        if view.order is not None:
            verdict = self._orders.verdict(view)
        else:
            # What is routine doesn't wait, so nothing that waits is new to the governance graph.
            verdict = self._rules.judge(governance, view.author, asked, lambda iri: True, view.hold)
        wanted = 1
        if verdict.requires == FOUR_EYES:
            # More than there are could never be had.
            wanted = max(1, min(governance.approvals_needed, len(self._eligible(view))))
        return max(0, wanted - len(given | ({by} if by else set())))

    def _eligible(self, view: ProposalView) -> frozenset[str]:
        return self._projections.governance.operators() - {view.author}

    def tick(self) -> int:
        self._expire()
        count = 0
        for identifier in self._projections.index.due(format_time(self._clock())):
            view = self._projections.proposal(identifier)
            if not self._released(view):
                continue
            asked = self._projections.delta_of(view)
            try:
                count += self._release(identifier, asked)
            except ValidationFailed as error:
                # It stays due, and does not keep the others from their turn.
                LOGGER.warning("%s could not be validated: %s", identifier, error)
        return count

    def _expire(self) -> None:
        """Ends what waited for longer than it lives; what a time lock will decide is left to it."""
        lifetime = self._projections.governance.lifetime
        if lifetime is None:
            return
        latest = format_time(self._clock() - lifetime)
        for found in self._projections.index.oldest(AWAITING, MOST_EXPIRED):
            if found.submitted_at > latest or found.time_lock_until:
                continue
            with self._writing:
                view = self._projections.proposal(found.id)
                if self._recorder.stopped or view.state != AWAITING or view.time_lock_until:
                    continue
                reason = "nobody decided on it within the lifetime of a proposal"
                self._end(view, self.policy, "expire", "withdrawn", EXPIRED, reason)

    def _release(self, identifier: str, asked: Delta) -> bool:
        """Applies what is due and released, or approves it to be carried out; whether it did."""
        checked = self._checker.check(asked)
        with self._writing:
            view = self._projections.proposal(identifier)
            if self._recorder.stopped or not self._released(view):
                return False
            checked = self._checker.renewed(asked, checked)
            reason = "the time lock of a single-operator organisation ran out"
            try:
                if view.order is not None:
                    self._orders.approve(view, self.policy, reason, TIME_LOCK, single=True)
                    return True
                view = self._apply(view, asked, checked, self.policy, reason, single=True)
            except Invalid:
                # It is recorded as such.
                return False
            return view.state == APPLIED

    def _decidable(self, principal: str, identifier: str) -> ProposalView:
        view = self._projections.proposal(identifier)
        if not self._projections.governance.has_role(principal, OPERATOR):
            raise Forbidden("proposals are decided by operators")
        _must_await(view)
        return view

    def _approvable(self, principal: str, identifier: str) -> ProposalView:
        view = self._decidable(principal, identifier)
        if principal not in self._projections.governance.operators():
            raise Forbidden("a proposal is approved by a person; agents and services may not")
        if view.author == principal:
            until = view.time_lock_until
            raise Forbidden(
                "a proposal is approved by a person other than its author"
                + (f"; while there is a single operator it applies after {until}" if until else "")
            )
        return view

    def _released(self, view: ProposalView) -> bool:
        """Whether a proposal may be applied for want of a second operator, once it is due."""
        operators = self._projections.governance.operators()
        return view.state == AWAITING and operators == {view.author}

    def _apply(
        self,
        view: ProposalView,
        asked: Delta,
        checked: Checked,
        by: str,
        reason: str,
        *,
        single: bool,
    ) -> ProposalView:
        if not checked.delta:
            nothing = reason or "nothing is left to change"
            return self._end(view, by, "approve", "superseded", SUPERSEDED, nothing, single)
        now = format_time(self._clock())
        document = self._projections.submission_of(view)
        report = checked.report
        try:
            self._rules.refuse_restriction_change(asked, self._projections.store.holds)
            self._rules.refuse_key_change(self._projections.governance, view.author, asked)
        except Forbidden as error:
            report = refusal(self._ids.graph("governance"), str(error))
        if not report.conforms:
            self._recorder.commit("invalid", now, asked, document, (INVALID,), report)
            raise Invalid(f"it is no longer valid: {report.summary()}", view.id)
        policy = TIME_LOCK if single else FOUR_EYES
        approval = decision(by, "approve", reason, now, policy, single=single)
        return self._recorder.commit(
            "applied", now, checked.delta, document, (APPROVED, APPLIED), report, [approval]
        )

    def _endorse(
        self, view: ProposalView, asked: Delta, by: str, reason: str, missing: int
    ) -> ProposalView:
        """Records an approval that doesn't suffice."""
        now = format_time(self._clock())
        approval = decision(by, "approve", reason, now, f"{FOUR_EYES}, {missing} more needed")
        document = self._projections.submission_of(view)
        return self._recorder.commit("approved", now, asked, document, (), None, [approval])

    def _end(
        self,
        view: ProposalView,
        by: str,
        outcome: str,
        kind: str,
        state: str,
        reason: str,
        single: bool = False,
    ) -> ProposalView:
        now = format_time(self._clock())
        ending = decision(by, outcome, reason, now, None, single=single)
        asked = self._projections.delta_of(view)
        document = self._projections.submission_of(view)
        return self._recorder.commit(kind, now, asked, document, (state,), None, [ending])


def _must_await(view: ProposalView) -> None:
    if view.state != AWAITING:
        raise WrongState(f"this proposal is {view.state}; it awaits no decision")
