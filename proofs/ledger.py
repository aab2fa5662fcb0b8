"""The gate: validate, decide and commit, under one writer lock.

Invariant: this is the only road into the graph. Long work (parsing, canonicalising, validating) runs
outside the lock at a named head; under the lock only what came in between is checked again. A
change is committed when the journal has it; the projections follow at once, and where they fail
writing stops until they have caught up.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pyoxigraph import NamedNode

from ontology.errors import StoreError
from ontology.ids import Ids
from ontology.terms import Canonicalise, Delta, rdfc10, sha256, skolemise, to_nquads
from proofs.chain import Chain, Draft
from proofs.errors import (
    BadSubmission,
    Conflict,
    Forbidden,
    Invalid,
    UnknownProposal,
    WritingStopped,
    WrongState,
)
from proofs.governance import OPERATOR, Governance
from proofs.journal import Journal
from proofs.policy import AUTO, FOUR_EYES, Policy, Verdict
from proofs.predicate import DecisionRecord, ReportDigest, commit_evidence
from proofs.projections import Entry, Projections, format_time, load_delta, load_entry
from proofs.proposal import (
    APPLIED,
    APPROVED,
    AWAITING,
    INVALID,
    PROVEN,
    REJECTED,
    SUBMITTED,
    SUPERSEDED,
    VALID,
    WITHDRAWN,
    ProposalView,
    Submission,
)
from proofs.submission import Request
from shapes.errors import MalformedShapes
from shapes.report import Report, Result
from shapes.validator import Footprint, Validator

POLICY_PRINCIPAL = "policy"
REMEMBERED = 512
"""Changes kept in memory, so that a slow validation can see what came in meanwhile."""
MAX_BEHIND = 10_000
"""Entries that a submission's base may lie behind the head."""


@dataclass(frozen=True)
class _Checked:
    """A delta as it was found valid or invalid at a head."""

    delta: Delta
    report: Report
    head: int


class Ledger:
    """The gate of one organisation. Every public method may be called from any thread."""

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
    ) -> None:
        self._journal = journal
        self._chain = chain
        self._projections = projections
        self._store = projections.store
        self._index = projections.index
        self._validator = validator
        self._policy = policy
        self._ids = ids
        self._clock = clock
        self._new_id = new_id
        self._canonicalise = canonicalise
        self._writing = threading.RLock()
        self._recent: deque[tuple[int, Footprint]] = deque(maxlen=REMEMBERED)
        self._listeners: list[Callable[[int], None]] = []
        self.stopped: str | None = None

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
    def writer_lock(self) -> threading.RLock:
        """Held while an entry is written; hold it to read the store at one head."""
        return self._writing

    def on_commit(self, listener: Callable[[int], None]) -> None:
        """Calls ``listener(head)`` after each commit, in the committing thread: be quick."""
        self._listeners.append(listener)

    def proposal(self, identifier: str) -> ProposalView:
        view = self._index.proposal(identifier)
        if view is None:
            raise UnknownProposal(f"there is no proposal {identifier!r}")
        return view

    def delta_of(self, view: ProposalView) -> Delta:
        """The change a proposal asks for."""
        document = self.submission_of(view)
        return load_delta(self._journal, document.additions, document.removals)

    def submission_of(self, view: ProposalView) -> Submission:
        return Submission.from_bytes(self._journal.blob(view.submission))

    # --- what is written

    def submit(
        self, principal: str, request: Request, reverts: str | None = None
    ) -> ProposalView | None:
        """Takes a request through the gate: the proposal it became, or ``None`` if it changes
        nothing.

        Raises :class:`proofs.errors.GateError`; of these only ``Invalid`` leaves a record.
        """
        delta = self._skolemised(principal, request)
        self._authorise(principal, request.project, delta)
        checked = self._check(delta)
        with self._writing:
            self._refuse_if_stopped()
            self._authorise(principal, request.project, delta)
            self._refuse_conflict(request.base, delta)
            checked = self._checked_now(delta, checked)
            if not checked.delta:
                return None
            view = self._record_new(principal, request, checked, reverts)
        if view.state == INVALID:
            raise Invalid(checked.report.summary(), view.id)
        return view

    def dry_run(self, principal: str, request: Request) -> tuple[Delta, Report]:
        """What the shapes would say of this request, without recording anything."""
        delta = self._skolemised(principal, request)
        self._authorise(principal, request.project, delta)
        checked = self._check(delta)
        return checked.delta, checked.report

    def approve(self, principal: str, identifier: str, reason: str) -> ProposalView:
        """Applies a proposal that awaits a decision, if it is still valid."""
        with self._writing:
            view = self._decidable(principal, identifier)
            if view.author == principal:
                raise Forbidden(
                    "a proposal is approved by a person other than its author"
                    + (
                        f"; while there is a single operator it applies by itself after"
                        f" {view.time_lock_until}"
                        if view.time_lock_until
                        else ""
                    )
                )
            return self._apply_decided(view, principal, reason, single_person=False)

    def reject(self, principal: str, identifier: str, reason: str) -> ProposalView:
        """Ends a proposal that awaits a decision; the graph stays as it is."""
        with self._writing:
            view = self._decidable(principal, identifier)
            return self._end(view, principal, "reject", "rejected", REJECTED, reason)

    def withdraw(self, principal: str, identifier: str, reason: str) -> ProposalView:
        """Takes a proposal back, by its author."""
        with self._writing:
            view = self.proposal(identifier)
            if view.author != principal:
                raise Forbidden("a proposal is withdrawn by its author; an operator may reject it")
            self._must_await(view)
            return self._end(view, principal, "withdraw", "withdrawn", WITHDRAWN, reason)

    def revert(self, principal: str, identifier: str, rationale: str) -> ProposalView | None:
        """Proposes the inverse of an applied proposal."""
        view = self.proposal(identifier)
        if view.state not in (APPLIED, PROVEN):
            raise WrongState(f"only an applied proposal can be reverted; this one is {view.state}")
        if view.proof == 0:
            raise Forbidden("genesis is not reverted: propose what should be different")
        assert view.proof is not None
        entry = load_entry(
            self._journal, view.proof, self._journal.leaf(view.proof), self._chain.verifier
        )
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

    def tick(self) -> int:
        """Applies what the single-operator time lock has released; how many that were."""
        count = 0
        for identifier in self._index.due(format_time(self._clock())):
            with self._writing:
                view = self.proposal(identifier)
                still_single = self.governance.operators() <= {view.author}
                if self.stopped or view.state != AWAITING or not still_single:
                    continue
                reason = "the time lock of a single-operator organisation ran out"
                self._apply_decided(view, self._policy_iri, reason, single_person=True)
                count += 1
        return count

    def found(self, operator: str, delta: Delta, rationale: str) -> ProposalView:
        """Genesis: the first entry, which names the founding operator and loads the beginnings."""
        with self._writing:
            if self.head >= 0:
                raise WrongState("the organisation is founded already")
            now = format_time(self._clock())
            request = Request(delta.additions, frozenset(), rationale=rationale)
            document = self._document("genesis", operator, request, delta, None, now)
            decision = DecisionRecord(operator, "found", now, None, True, "genesis")
            return self._commit(
                "genesis",
                now,
                delta,
                document,
                (SUBMITTED, VALID, APPROVED, APPLIED),
                decisions=(decision,),
            )

    # --- the steps

    @property
    def _policy_iri(self) -> str:
        return self._ids.principal(POLICY_PRINCIPAL)

    def _skolemised(self, principal: str, request: Request) -> Delta:
        salt = f"{principal} {request.project or ''}"
        additions = skolemise(
            request.additions, self._ids.base, salt=salt, canonicalise=self._canonicalise
        )
        return Delta(additions - request.removals, request.removals)

    def _authorise(self, principal: str, project: str | None, delta: Delta) -> None:
        self._policy.authorise(self.governance, principal, project, delta.graphs())
        self._policy.refuse_restriction_change(self.governance, delta)

    def _check(self, delta: Delta) -> _Checked:
        head = self.head
        effective = self._store.effective(delta)
        if not effective:
            return _Checked(effective, Report(), head)
        try:
            report = self._validator.validate(effective)
        except MalformedShapes as error:
            graph = f"<{self._ids.graph('shapes')}>"
            report = Report((Result(graph, None, None, str(error), graph, "Violation", graph),))
        return _Checked(effective, report, head)

    def _checked_now(self, delta: Delta, checked: _Checked) -> _Checked:
        """The check as of the present head; runs again only what a change since can have turned."""
        if checked.head == self.head:
            return checked
        mine = self._validator.footprint(delta)
        since = [item for head, item in self._recent if head > checked.head]
        seen_all = bool(self._recent) and self._recent[0][0] <= checked.head + 1
        if not seen_all or any(mine.meets(theirs) for theirs in since):
            return self._check(delta)
        return replace(checked, head=self.head)

    def _refuse_conflict(self, base: int | None, delta: Delta) -> None:
        if base is None or base == self.head:
            return
        if base > self.head or base < 0:
            raise BadSubmission(
                f"the base {base} is no head of this graph; the head is {self.head}", "unknown-head"
            )
        if self.head - base > MAX_BEHIND:
            raise BadSubmission(
                f"the base {base} lies more than {MAX_BEHIND} entries behind: read the graph again"
                " and draft on the head it is at now",
                "unknown-head",
            )
        subjects = {quad.subject for quad in delta.quads}
        theirs: set[str] = set()
        for index, leaf in self._journal.leaves(base + 1):
            entry = load_entry(self._journal, index, leaf, self._chain.verifier)
            if entry.applies and any(quad.subject in subjects for quad in entry.delta.quads):
                theirs.update(entry.delta.patch().splitlines(keepends=True))
        if theirs:
            raise Conflict(
                f"what this proposal is about has changed since head {base}: read it again at head"
                f" {self.head}, and propose what is still needed",
                "".join(sorted(theirs)),
                delta.patch(),
            )

    def _refuse_if_stopped(self) -> None:
        if self.stopped is None:
            return
        try:
            self._projections.catch_up()
        except StoreError as error:
            raise WritingStopped(
                f"the graph store does not take changes ({self.stopped}); nothing is lost, reading"
                f" goes on. Mend the cause and restart the server. The last attempt: {error}"
            ) from error
        self.stopped = None

    def _document(
        self,
        identifier: str,
        principal: str,
        request: Request,
        delta: Delta,
        reverts: str | None,
        now: str,
    ) -> Submission:
        return Submission(
            id=identifier,
            project=request.project,
            principal=principal,
            rationale=request.rationale,
            graphs=tuple(delta.graphs()),
            additions=sha256(to_nquads(delta.additions)),
            additions_count=len(delta.additions),
            removals=sha256(to_nquads(delta.removals)),
            removals_count=len(delta.removals),
            evidence=request.evidence,
            base=request.base,
            media_type=request.media_type,
            source_sha256=sha256(request.source),
            reverts=reverts,
            submitted_at=now,
        )

    def _record_new(
        self, principal: str, request: Request, checked: _Checked, reverts: str | None
    ) -> ProposalView:
        moment = self._clock()
        now = format_time(moment)
        identifier = self._new_id(moment)
        delta, report = checked.delta, checked.report
        document = self._document(identifier, principal, request, delta, reverts, now)
        source = {document.source_sha256: request.source}
        if not report.conforms:
            states: tuple[str, ...] = (SUBMITTED, INVALID)
            return self._commit("invalid", now, delta, document, states, report, blobs=source)
        verdict = self._policy.judge(self.governance, principal, delta, self._known)
        if verdict.requires != AUTO:
            states = (SUBMITTED, VALID, AWAITING)
            return self._commit("submitted", now, delta, document, states, report, blobs=source)
        states = (SUBMITTED, VALID, APPROVED, APPLIED)
        decision = DecisionRecord(self._policy_iri, "approve", now, None, False, verdict.reason)
        return self._commit(
            "applied", now, delta, document, states, report, (decision,), blobs=source
        )

    def _known(self, iri: str) -> bool:
        graph = NamedNode(self._ids.graph("governance"))
        return next(iter(self._store.match(NamedNode(iri), graph=graph)), None) is not None

    def _must_await(self, view: ProposalView) -> None:
        if view.state != AWAITING:
            raise WrongState(f"this proposal is {view.state}; it awaits no decision")

    def _decidable(self, principal: str, identifier: str) -> ProposalView:
        self._refuse_if_stopped()
        view = self.proposal(identifier)
        if not self.governance.has_role(principal, OPERATOR):
            raise Forbidden("proposals are decided by operators")
        self._must_await(view)
        return view

    def verdict(self, view: ProposalView) -> Verdict:
        """What policy asks of a proposal as things stand."""
        return self._policy.judge(self.governance, view.author, self.delta_of(view), self._known)

    def _apply_decided(
        self, view: ProposalView, by: str, reason: str, *, single_person: bool
    ) -> ProposalView:
        now = format_time(self._clock())
        document = self.submission_of(view)
        asked = load_delta(self._journal, document.additions, document.removals)
        checked = self._check(asked)
        if not checked.delta:
            return self._end(
                view, by, "approve", "superseded", SUPERSEDED, reason or "nothing is left to change"
            )
        if not checked.report.conforms:
            invalid = self._commit(
                "invalid", now, asked, document, (INVALID,), checked.report, first=False
            )
            raise Invalid(f"it is no longer valid: {checked.report.summary()}", invalid.id)
        policy = "time lock" if single_person else FOUR_EYES
        decision, blobs = _decision(by, "approve", reason, now, single_person, policy)
        return self._commit(
            "applied",
            now,
            checked.delta,
            document,
            (APPROVED, APPLIED),
            checked.report,
            (decision,),
            blobs=blobs,
            first=False,
        )

    def _end(
        self, view: ProposalView, by: str, outcome: str, kind: str, state: str, reason: str
    ) -> ProposalView:
        self._refuse_if_stopped()
        now = format_time(self._clock())
        document = self.submission_of(view)
        decision, blobs = _decision(by, outcome, reason, now, False, None)
        asked = load_delta(self._journal, document.additions, document.removals)
        return self._commit(
            kind, now, asked, document, (state,), None, (decision,), blobs=blobs, first=False
        )

    def _commit(
        self,
        kind: str,
        now: str,
        delta: Delta,
        document: Submission,
        transitions: Sequence[str],
        report: Report | None = None,
        decisions: tuple[DecisionRecord, ...] = (),
        *,
        blobs: dict[str, bytes] | None = None,
        first: bool = True,
    ) -> ProposalView:
        stored = dict(blobs or {})
        submission = document.to_bytes()
        report_digest = None
        if report is not None:
            text = json.dumps(report.to_dict(), sort_keys=True, separators=(",", ":")).encode()
            stored[sha256(text)] = text
            report_digest = ReportDigest(sha256(text), report.conforms)
        stored[sha256(submission)] = submission
        versions = self._projections.versions
        draft = Draft(
            kind=kind,
            time=now,
            delta=delta,
            applies=kind in ("applied", "genesis"),
            proposal=document.id,
            project=document.project,
            principal=document.principal,
            reverts=document.reverts,
            submission=sha256(submission) if first else None,
            transitions=tuple(transitions),
            decisions=decisions,
            report=report_digest,
            shapes=versions.get("shapes"),
            ontology=versions.get("ontology"),
            rules=versions.get("rules"),
            evidence=commit_evidence(document.evidence),
        )
        index, proof, leaf_hash = self._chain.append(draft, stored)
        entry = Entry(
            index,
            leaf_hash,
            proof,
            document if first else None,
            delta,
            report.to_dict() if report is not None else None,
            {digest: data.decode() for digest, data in (blobs or {}).items()} if not first else {},
        )
        return self._project(entry)

    def _project(self, entry: Entry) -> ProposalView:
        try:
            view = self._projections.apply(entry)
        except StoreError as error:
            self.stopped = str(error)
            raise WritingStopped(
                f"entry {entry.index} is committed and will be applied from the journal, but the"
                f" graph store did not take it now ({error}): mend the cause and restart the server"
            ) from error
        if entry.applies:
            self._recent.append((entry.index, self._validator.footprint(entry.delta)))
            if self._policy.changes_rules_of_the_game(entry.delta):
                self._validator.forget()
        else:
            self._recent.append((entry.index, Footprint()))
        for listener in self._listeners:
            listener(entry.index)
        assert view is not None
        return view


def _decision(
    by: str, outcome: str, reason: str, now: str, single_person: bool, policy: str | None
) -> tuple[DecisionRecord, dict[str, bytes]]:
    if not reason:
        return DecisionRecord(by, outcome, now, None, single_person, policy), {}
    data = reason.encode()
    record = DecisionRecord(by, outcome, now, sha256(data), single_person, policy)
    return record, {sha256(data): data}
