"""The gate: who may propose what, what the shapes say, who decides.

Invariant: this is the only road into the graph. Long work (parsing, canonicalising, validating)
runs outside the writer lock at a named head; under the lock only what came in between is checked
again, and what was decided is recorded at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from pyoxigraph import NamedNode

from ontology.ids import Ids
from ontology.terms import (
    Canonicalise,
    Delta,
    has_blank_nodes,
    rdfc10,
    sha256,
    skolemise,
    to_nquads,
)
from proofs.chain import Chain
from proofs.check import Checked, Checker
from proofs.checkpoint import Signer
from proofs.decider import Decider
from proofs.erasure import Erasure
from proofs.errors import (
    BadSubmission,
    Conflict,
    Forbidden,
    Invalid,
    SignatureRefused,
    WrongState,
)
from proofs.governance import OPERATOR, Governance
from proofs.journal import Journal
from proofs.order_book import OrderBook, order_of, result_of
from proofs.orders import Order, Result
from proofs.policy import AUTO, POLICY_PRINCIPAL, Policy, Verdict
from proofs.projections import Projections, format_time, load_entry
from proofs.proposal import (
    APPLIED,
    APPROVED,
    AWAITING,
    CHANGES_REQUESTED,
    INVALID,
    PROVEN,
    REJECTED,
    SUBMITTED,
    VALID,
    ProposalView,
)
from proofs.recorder import Recorder, decision, document_of
from proofs.signatures import Signature, check_key, check_signature
from proofs.submission import Request, check_text
from shapes.validator import Validator
from shapes.whole import Tell

MAX_BEHIND = 10_000
"""Entries that a submission's base may lie behind the head."""
MAX_WAITING = 500
"""Of the proposals that wait in a project, so many are compared with a new one, the newest."""


class Ledger:
    """The gate of one organisation. Every public method may be called from any thread.

    ``doubts`` says why a person is to look at this evidence of a project; empty where nothing is
    wrong with it.
    """

    def __init__(
        self,
        journal: Journal,
        chain: Chain,
        projections: Projections,
        validator: Validator,
        policy: Policy,
        ids: Ids,
        *,
        clock: Callable[[], datetime],
        new_id: Callable[[datetime], str],
        canonicalise: Canonicalise = rdfc10,
        doubts: Callable[[Sequence[str], str | None], str] = lambda evidence, project: "",
    ) -> None:
        self._journal = journal
        self._chain = chain
        self._projections = projections
        self._store = projections.store
        self._checker = Checker(projections.store, validator, chain.head)
        self._recorder = Recorder(chain, projections, self._checker)
        self._policy = policy
        self._ids = ids
        self._clock = clock
        self._new_id = new_id
        self._canonicalise = canonicalise
        self._doubts = doubts
        self._writing = threading.RLock()
        self._orders = OrderBook(
            projections,
            self._recorder,
            ids,
            policy=ids.principal(POLICY_PRINCIPAL),
            clock=clock,
            new_id=new_id,
            writing=self._writing,
        )
        self._decider = Decider(
            projections,
            self._checker,
            self._recorder,
            policy,
            ids,
            clock,
            self._writing,
            self._orders,
        )

    # --- what is read

    @property
    def head(self) -> int:
        return self._chain.head

    @property
    def state_digest(self) -> str:
        return self._chain.state_digest

    @property
    def governance(self) -> Governance:
        return self._projections.governance

    @property
    def stopped(self) -> str | None:
        """Why no changes are taken; ``None`` while they are."""
        return self._recorder.stopped

    @property
    def writer_lock(self) -> threading.RLock:
        """Held while an entry is written; hold it to read the store at one head."""
        return self._writing

    def on_commit(self, listener: Callable[[int], None]) -> None:
        """Calls ``listener(head)`` after each commit, in the committing thread: be quick."""
        self._recorder.on_commit(listener)

    def proposal(self, identifier: str) -> ProposalView:
        """Raises :class:`proofs.errors.UnknownProposal`."""
        return self._projections.proposal(identifier)

    def delta_of(self, view: ProposalView) -> Delta:
        """The change a proposal asks for."""
        return self._projections.delta_of(view)

    def verdict(self, view: ProposalView) -> Verdict:
        """What policy asks of a proposal as the graph is now, once it is valid."""
        if view.order is not None:
            return self._orders.verdict(view)
        delta = self._projections.delta_of(view)
        return self._policy.judge(self.governance, view.author, delta, self._known, view.hold)

    def approvals(self, view: ProposalView) -> tuple[list[str], int]:
        """Who has approved a waiting proposal, and how many approvals it lacks."""
        asked = self._projections.delta_of(view)
        return self._decider.approvals(view), self._decider.approvals_missing(view, asked)

    # --- what is proposed

    def submit(
        self, principal: str, request: Request, reverts: str | None = None
    ) -> ProposalView | None:
        """Takes a request through the gate: the proposal it became, or ``None`` if it changes
        nothing. One that its author has made before, and that still waits, stays one.

        Raises :class:`proofs.errors.GateError`; of these only ``Invalid`` leaves a record.
        """
        signature = self._signature(principal, request)
        request = self._held(principal, request)
        delta = self._skolemised(principal, request)
        self._authorise(principal, request.project, delta)
        compared = self._refuse_conflict(principal, request.base, delta, request.base)
        checked = self._checker.check(delta)
        with self._writing:
            self._recorder.resume()
            self._authorise(principal, request.project, delta)
            check_key(self.governance, principal, signature)
            self._refuse_conflict(principal, request.base, delta, compared)
            checked = self._checker.renewed(delta, checked)
            if not checked.delta:
                return None
            view = self._record_new(principal, request, checked, reverts, signature)
        if view.state == INVALID:
            raise Invalid(checked.report.summary(), view.id)
        return view

    def dry_run(self, principal: str, request: Request, tell: Tell | None = None) -> Checked:
        """What the shapes would say of this request, without recording anything; ``tell`` as for
        :meth:`proofs.check.Checker.check`."""
        self._signature(principal, request)
        delta = self._skolemised(principal, request)
        self._authorise(principal, request.project, delta)
        return self._checker.check(delta, tell)

    def check_all(self, tell: Tell | None = None) -> Checked:
        """What the shapes say of the graph as it stands, without recording anything."""
        return self._checker.check_all(tell)

    def revert(self, principal: str, identifier: str, rationale: str) -> ProposalView | None:
        """Proposes the inverse of an applied proposal."""
        check_text(rationale, "the rationale")
        view = self.proposal(identifier)
        if view.state not in (APPLIED, PROVEN):
            raise WrongState(f"only an applied proposal can be reverted; this one is {view.state}")
        if view.proof == 0:
            raise Forbidden("genesis is not reverted: propose what should be different")
        assert view.proof is not None
        leaf = self._journal.leaf(view.proof)
        entry = load_entry(self._journal, view.proof, leaf, self._chain.keys)
        inverse = entry.delta.inverse()
        request = Request(
            inverse.additions,
            inverse.removals,
            project=view.project,
            rationale=rationale or f"reverts {identifier}",
            media_type="application/x-revert",
            source=identifier.encode(),
        )
        return self.submit(principal, request, reverts=identifier)

    def enrol(self, delta: Delta, rationale: str) -> ProposalView | None:
        """Proposes the first signing keys of stewards on the gate's own behalf; a person decides.
        What waits or was turned down already is not proposed again: ``None`` then."""
        principal = self._decider.policy
        request = Request(delta.additions, delta.removals, rationale=rationale)
        self._policy.refuse_key_change(self.governance, principal, delta)
        checked = self._checker.check(delta)
        with self._writing:
            self._recorder.resume()
            checked = self._checker.renewed(delta, checked)
            states = (AWAITING, REJECTED, CHANGES_REQUESTED, INVALID)
            if not checked.delta or self._asked(principal, None, delta, None, states) is not None:
                return None
            return self._record_new(principal, request, checked, None, None)

    def found(self, operator: str, delta: Delta, rationale: str) -> ProposalView:
        """Genesis: the first entry, which names the founding operator and loads the beginnings."""
        with self._writing:
            if self.head >= 0:
                raise WrongState("the organisation is founded already")
            now = format_time(self._clock())
            request = Request(delta.additions, frozenset(), rationale=rationale)
            return self._recorder.commit(
                "genesis",
                now,
                delta,
                document_of("genesis", operator, request, delta, now),
                (SUBMITTED, VALID, APPROVED, APPLIED),
                decisions=[decision(operator, "found", "", now, "genesis", single=True)],
                source=request.source,
            )

    # --- what is carried out

    def order(
        self,
        principal: str,
        order: Order,
        *,
        project: str | None = None,
        rationale: str = "",
        begin: bool = False,
    ) -> ProposalView:
        """Takes an order: ``approved`` where policy lets it go at once, ``executing`` then with
        ``begin``, by the one entry; else ``awaiting decision``. One that its author has given
        before, and that still waits, stays one. The roles in it become those that the graph states
        of the asset.

        Raises :class:`proofs.errors.BadSubmission` (kinds ``unknown-asset``, ``secret``,
        ``too-large``, ``bad-order``), :class:`proofs.errors.Forbidden` or
        :class:`proofs.errors.UnknownProject`, with nothing recorded.
        """
        return self._orders.submit(principal, order, project, rationale, begin=begin)

    def begin(self, identifier: str) -> ProposalView:
        """Begins an approved order: who gets it back carries it out, and nobody else does.

        Raises :class:`proofs.errors.WrongState` for one that is not approved, so for one that was
        begun, and :class:`proofs.errors.Forbidden` or :class:`proofs.errors.BadSubmission` where
        its author may no longer order it, or the asset is gone: abandon it then. After
        :class:`proofs.errors.WritingStopped` it may have been begun: carry nothing out.
        """
        return self._orders.begin(identifier)

    def finish(self, identifier: str, result: Result) -> ProposalView:
        """Records what came of an order that was begun. Texts that look like secrets are left out.

        Raises :class:`proofs.errors.BadSubmission` for an outcome that is too large, and
        :class:`proofs.errors.WrongState` for an order that isn't executing.
        """
        return self._orders.finish(identifier, result)

    def abandon(self, identifier: str, reason: str, *, by: str | None = None) -> ProposalView:
        """Ends an approved order that isn't to be begun any more, as superseded, with the reason:
        ``by`` somebody who cancels it, else on the gate's own behalf. The caller has seen to it
        that they may."""
        return self._orders.abandon(identifier, reason, by)

    def order_of(self, view: ProposalView) -> Order:
        """What a proposal has carried out. Raises :class:`proofs.errors.WrongState` for one that
        changes the graph."""
        return order_of(view)

    def result_of(self, view: ProposalView) -> Result | None:
        """What came of an order; ``None`` while nothing is recorded."""
        return result_of(view)

    # --- what is erased

    def rotate(self, successor: Signer, reason: str, principal: str | None = None) -> int:
        """Hands the log to another key: the index of that entry. Without a ``principal`` who asks
        for it, it is on the gate's own behalf.

        Raises :class:`proofs.errors.GateError`, with nothing changed.
        """
        with self._writing:
            self._recorder.resume()
            now = format_time(self._clock())
            by = principal or self._decider.policy
            return self._recorder.commit_rotation(by, successor, reason, now)

    def erase(self, principal: str, erasure: Erasure, reason: str) -> int:
        """Records that these payloads are to be erased: the index of the entry. Whoever follows the
        journal destroys them. The caller has seen to it that ``principal`` may."""
        check_text(reason, "the reason")
        with self._writing:
            self._recorder.resume()
            now = format_time(self._clock())
            return self._recorder.commit_erasure(principal, erasure, reason, now)

    # --- what is decided

    def approve(self, principal: str, identifier: str, reason: str) -> ProposalView:
        """Applies a proposal that awaits a decision, if it is still valid.

        Raises :class:`proofs.errors.Invalid`, which leaves a record, when it is not.
        """
        return self._decider.approve(principal, identifier, reason)

    def reject(self, principal: str, identifier: str, reason: str) -> ProposalView:
        """Ends a proposal that awaits a decision; the graph stays as it is."""
        return self._decider.reject(principal, identifier, reason)

    def request_changes(self, principal: str, identifier: str, reason: str) -> ProposalView:
        """Ends a proposal that could be one with what ``reason`` asks for; an operator's, author or
        not. Its author proposes anew."""
        return self._decider.request_changes(principal, identifier, reason)

    def withdraw(self, principal: str, identifier: str, reason: str) -> ProposalView:
        """Takes a proposal back, by its author."""
        return self._decider.withdraw(principal, identifier, reason)

    def tick(self) -> int:
        """Applies what the single-operator time lock has released; how many that were. What waited
        for longer than proposals live expires."""
        return self._decider.tick()

    # --- the steps

    def _signature(self, principal: str, request: Request) -> Signature | None:
        return check_signature(self.governance, principal, request, self._chain.keys.labels)

    def _held(self, principal: str, request: Request) -> Request:
        """The request, to be held where it rests on what anybody may have sent, or on what was
        sent to others. An operator who proposes it has looked."""
        if request.hold or not request.evidence:
            return request
        if self.governance.has_role(principal, OPERATOR):
            return request
        return replace(request, hold=self._doubts(request.evidence, request.project))

    def _skolemised(self, principal: str, request: Request) -> Delta:
        additions = request.additions
        if has_blank_nodes(additions):
            removals = sha256(to_nquads(request.removals))
            additions = skolemise(
                additions,
                self._ids.base,
                salt=f"{principal} {request.project or ''} {removals}",
                canonicalise=self._canonicalise,
            )
        return Delta(additions - request.removals, request.removals)

    def _authorise(self, principal: str, project: str | None, delta: Delta) -> None:
        self._policy.authorise(self.governance, principal, project, delta.graphs())
        self._policy.refuse_rewriting(self.governance, principal, delta, self._states)
        self._policy.refuse_restriction_change(delta, self._store.holds)
        self._policy.refuse_key_change(self.governance, principal, delta)

    def _refuse_conflict(
        self, principal: str, base: int | None, delta: Delta, compared: int | None
    ) -> int | None:
        """Compares the delta with what was applied after ``compared``: the head up to which."""
        head = self.head
        if base is None or compared is None or base == head:
            return head
        if base > head or base < 0:
            raise BadSubmission(
                f"the base {base} is no head of this graph; the head is {head}", "unknown-head"
            )
        if head - base > MAX_BEHIND:
            raise BadSubmission(
                f"the base {base} lies more than {MAX_BEHIND} entries behind: read the graph again"
                " and draft on the head it is at now",
                "unknown-head",
            )
        subjects = {quad.subject for quad in delta.quads}
        hidden = self.governance.hidden_from(principal)
        theirs: list[str] = []
        for index, leaf in self._journal.leaves(compared + 1, head + 1):
            entry = load_entry(self._journal, index, leaf, self._chain.keys)
            if entry.applies:
                seen = entry.delta.without_graphs(hidden)
                if any(quad.subject in subjects for quad in seen.quads):
                    theirs.append(seen.patch())
        if theirs:
            raise Conflict(
                f"what this proposal is about has changed since head {base}: read it again at head"
                f" {head}, and propose what is still needed",
                "".join(theirs),
                delta.patch(),
            )
        return head

    def _record_new(
        self,
        principal: str,
        request: Request,
        checked: Checked,
        reverts: str | None,
        signature: Signature | None,
    ) -> ProposalView:
        moment = self._clock()
        now = format_time(moment)
        delta, report = checked.delta, checked.report
        identifier = self._new_id(moment)
        if signature is not None and self._journal.holds(signature.sha256):
            waiting = self._waiting(principal, request.project, delta, reverts)
            if waiting is not None:
                return waiting
            raise SignatureRefused(
                "this signed proposal was taken before, and a signature is good for one: draft and"
                f" sign it anew on the head it is at now, {self.head}"
            )
        signed = request if signature is not None else None
        document = document_of(identifier, principal, request, delta, now, reverts, signature)
        if not report.conforms:
            states: tuple[str, ...] = (SUBMITTED, INVALID)
            return self._recorder.commit(
                "invalid", now, delta, document, states, report, (), request.source, signed
            )
        verdict = self._policy.judge(self.governance, principal, delta, self._known, request.hold)
        if verdict.requires != AUTO:
            waiting = self._waiting(principal, request.project, delta, reverts)
            if waiting is not None:
                return waiting
            states = (SUBMITTED, VALID, AWAITING)
            return self._recorder.commit(
                "submitted", now, delta, document, states, report, (), request.source, signed
            )
        states = (SUBMITTED, VALID, APPROVED, APPLIED)
        approval = decision(self._decider.policy, "approve", "", now, verdict.reason)
        return self._recorder.commit(
            "applied", now, delta, document, states, report, [approval], request.source, signed
        )

    def _waiting(
        self, principal: str, project: str | None, delta: Delta, reverts: str | None
    ) -> ProposalView | None:
        """The author's own proposal of the same change that waits already: who asks twice, for want
        of an answer or at two places at once, asks once."""
        return self._asked(principal, project, delta, reverts, (AWAITING,))

    def _asked(
        self,
        principal: str,
        project: str | None,
        delta: Delta,
        reverts: str | None,
        states: Sequence[str],
    ) -> ProposalView | None:
        """The newest proposal of this change by this author that is in one of these states."""
        found = self._projections.index.proposals(states=states, project=project, limit=MAX_WAITING)
        for _, view in found:
            if (
                (view.author, view.project, view.reverts) == (principal, project, reverts)
                and (view.additions, view.removals) == (len(delta.additions), len(delta.removals))
                and self._projections.delta_of(view) == delta
            ):
                return view
        return None

    def _known(self, iri: str) -> bool:
        return self._states(self._ids.graph("governance"), iri)

    def _states(self, graph: str, iri: str) -> bool:
        found = self._store.match(NamedNode(iri), graph=NamedNode(graph))
        return next(iter(found), None) is not None
