"""Records what happens to proposals: an entry in the journal, then in graph store and index.

Invariant: an entry is committed when the journal has it; the projections follow at once, and where
they fail nothing further is written until they have caught up. Whoever calls holds the writer lock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from ontology.errors import StoreError
from ontology.terms import Delta, sha256, to_nquads
from proofs.chain import Chain, Draft, delta_blobs
from proofs.check import Checker
from proofs.checkpoint import Signer
from proofs.erasure import KIND, Erasure
from proofs.errors import IndexFailed, WritingStopped
from proofs.orders import Order, Result
from proofs.predicate import ROTATION, DecisionRecord, ReportDigest, commit_evidence
from proofs.projections import Entry, Projections
from proofs.proposal import ProposalView, Submission
from proofs.signatures import Signature
from proofs.submission import Request
from shapes.report import Report


class Recorder:
    """The writing hand of one organisation's gate."""

    def __init__(self, chain: Chain, projections: Projections, checker: Checker) -> None:
        self._chain = chain
        self._projections = projections
        self._checker = checker
        self._listeners: list[Callable[[int], None]] = []
        self.stopped: str | None = None

    def on_commit(self, listener: Callable[[int], None]) -> None:
        self._listeners.append(listener)

    def resume(self) -> None:
        """Lets writing go on, after a failure of store or index by catching up with the journal.

        Raises :class:`WritingStopped`.
        """
        if self.stopped is None:
            return
        try:
            self._projections.catch_up()
        except (StoreError, IndexFailed) as error:
            raise WritingStopped(
                f"graph store and index do not take changes ({self.stopped}); nothing is lost,"
                " reading goes on. Mend the cause and restart the server. The last attempt:"
                f" {error}"
            ) from error
        self._checker.start_over(self._chain.head)
        self.stopped = None
        self._tell(self._chain.head)

    def commit(
        self,
        kind: str,
        now: str,
        delta: Delta,
        document: Submission,
        transitions: Sequence[str],
        report: Report | None = None,
        decisions: Sequence[tuple[DecisionRecord, str]] = (),
        source: bytes | None = None,
        signed: Request | None = None,
        result: Result | None = None,
    ) -> ProposalView:
        """Commits one entry about a proposal: the proposal it leaves.

        ``source`` are the bytes as they came, given with a proposal's first entry and no other;
        ``signed`` is the request, where its author signed it; ``decisions`` come with their
        reasons; ``result`` is what came of an order.
        """
        blobs: dict[str, bytes] = {}

        def keep(data: bytes) -> str:
            blobs[sha256(data)] = data
            return sha256(data)

        reasons = {keep(reason.encode()): reason for _, reason in decisions if reason}
        report_digest = None
        if report is not None:
            text = json.dumps(report.to_dict(), sort_keys=True, separators=(",", ":")).encode()
            report_digest = ReportDigest(keep(text), report.conforms)
        submission = None
        if source is not None:
            keep(source)
            submission = keep(document.to_bytes())
        if signed is not None:
            keep(signed.signature)
            # What was signed, of which the entry's own change may be a part.
            blobs |= delta_blobs(Delta(signed.additions, signed.removals))
        outcome = result.to_bytes() if result is not None else None
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
            submission=submission,
            transitions=tuple(transitions),
            decisions=tuple(record for record, _ in decisions),
            report=report_digest,
            shapes=versions.get("shapes"),
            ontology=versions.get("ontology"),
            rules=versions.get("rules"),
            evidence=commit_evidence(result.evidence if result else document.evidence),
            signature=document.signature or None,
            order=document.order or None,
            result=keep(outcome) if outcome is not None else None,
        )
        index, proof, leaf_hash = self._chain.append(draft, blobs)
        view = self._project(
            Entry(
                index,
                leaf_hash,
                proof,
                document if submission else None,
                delta,
                report.to_dict() if report is not None else None,
                reasons,
                order=Order.from_bytes(source) if source and document.order else None,
                result=json.loads(outcome) if outcome is not None else None,
            )
        )
        assert view is not None
        return view

    def commit_erasure(self, principal: str, erasure: Erasure, reason: str, now: str) -> int:
        """Commits the entry of an erasure, which is about no proposal: its index."""
        document = json.dumps(erasure.to_dict(), sort_keys=True, separators=(",", ":")).encode()
        record, _ = decision(principal, "erase", reason, now, None)
        reasons = {sha256(reason.encode()): reason} if reason else {}
        versions = self._projections.versions
        draft = Draft(
            kind=KIND,
            time=now,
            delta=Delta(),
            applies=False,
            project=erasure.project,
            principal=principal,
            decisions=(record,),
            report=ReportDigest(sha256(document), True),
            shapes=versions.get("shapes"),
            ontology=versions.get("ontology"),
            rules=versions.get("rules"),
            evidence=commit_evidence(erasure.commitments),
        )
        blobs = {sha256(document): document} | {
            digest: text.encode() for digest, text in reasons.items()
        }
        index, proof, leaf_hash = self._chain.append(draft, blobs)
        self._project(Entry(index, leaf_hash, proof, None, Delta(), erasure.to_dict(), reasons))
        return index

    def commit_rotation(self, principal: str, successor: Signer, reason: str, now: str) -> int:
        """Commits the entry that hands the log to another key, about no proposal: its index."""
        record, _ = decision(principal, "rotate", reason, now, None)
        reasons = {sha256(reason.encode()): reason} if reason else {}
        versions = self._projections.versions
        draft = Draft(
            kind=ROTATION,
            time=now,
            delta=Delta(),
            applies=False,
            principal=principal,
            decisions=(record,),
            shapes=versions.get("shapes"),
            ontology=versions.get("ontology"),
            rules=versions.get("rules"),
        )
        blobs = {digest: text.encode() for digest, text in reasons.items()}
        index, proof, leaf_hash = self._chain.rotate(draft, blobs, successor)
        self._project(Entry(index, leaf_hash, proof, None, Delta(), None, reasons))
        return index

    def _project(self, entry: Entry) -> ProposalView | None:
        try:
            view = self._projections.apply(entry)
        except (StoreError, IndexFailed) as error:
            self.stopped = str(error)
            raise WritingStopped(
                f"entry {entry.index} is committed and will be applied from the journal, but graph"
                f" store and index did not take it now ({error}): mend the cause and restart the"
                " server"
            ) from error
        self._checker.settle(entry.index, entry.delta if entry.applies else Delta())
        self._tell(entry.index)
        return view

    def _tell(self, head: int) -> None:
        for listener in self._listeners:
            listener(head)


def document_of(
    identifier: str,
    principal: str,
    request: Request,
    delta: Delta,
    now: str,
    reverts: str | None = None,
    signature: Signature | None = None,
) -> Submission:
    """The document of a proposal: what is asked once no-ops are dropped, by whom, and why."""
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
        hold=request.hold,
        signature=signature.sha256 if signature else "",
        signed_with=signature.key if signature else "",
    )


def decision(
    by: str, outcome: str, reason: str, now: str, policy: str | None, *, single: bool = False
) -> tuple[DecisionRecord, str]:
    """A decision with its reason, which stays in the journal while its digest is signed."""
    digest = sha256(reason.encode()) if reason else None
    return DecisionRecord(by, outcome, now, digest, single, policy), reason
