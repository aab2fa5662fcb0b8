"""Carries journal entries into the graph store and the index, live and in replay alike.

Invariant: there is one road from an entry to the projections, so a replay gives what the live run
gave. An entry's change reaches the store in one atomic update that moves its head; an entry that
the store has already is not applied twice. Only one thread writes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pyoxigraph import Literal, NamedNode, Quad

from ontology.entailment import VERSION, Entailment
from ontology.ids import Ids
from ontology.store import GraphStore
from ontology.terms import Delta, from_nquads, line, sha256, to_nquads
from ontology.vocab import Fo
from proofs.chain import read_proof
from proofs.errors import JournalBroken, JournalCorrupt, ProofError, UnknownProposal
from proofs.governance import Governance, read_governance
from proofs.index import EntryRow, Index
from proofs.journal import Journal
from proofs.log_keys import LogKeys
from proofs.merkle import leaf_hash
from proofs.orders import Order
from proofs.predicate import EXECUTED, EvidenceDigest, Proof
from proofs.proposal import AWAITING, DRAFT, REVERTED, DecisionView, ProposalView, Submission
from proofs.system_graphs import system_delta

LOGGER = logging.getLogger(__name__)

VERSIONED = ("shapes", "ontology", "rules")


@dataclass(frozen=True)
class Entry:
    """One journal entry with all it refers to."""

    index: int
    leaf_hash: str
    proof: Proof
    submission: Submission | None
    delta: Delta
    report: dict[str, Any] | None
    reasons: dict[str, str]
    signature: bytes | None = None
    order: Order | None = None
    result: dict[str, Any] | None = None

    @property
    def applies(self) -> bool:
        return self.proof.kind in ("genesis", "applied")


def load_entry(journal: Journal, index: int, leaf: bytes, keys: LogKeys) -> Entry:
    """An entry from the journal, its signature and every digest checked.

    Raises :class:`JournalCorrupt`, which names the entry.
    """
    try:
        return _load(journal, index, leaf, keys)
    except JournalBroken:
        raise
    except (ProofError, ValueError, TypeError, KeyError, SyntaxError) as error:
        raise JournalCorrupt(
            f"entry {index} of the journal is not what was written: {error}. Keep the folder as it"
            " is and restore a backup (fractalops restore)"
        ) from error


def _load(journal: Journal, index: int, leaf: bytes, keys: LogKeys) -> Entry:
    proof = read_proof(leaf, index, keys)
    if proof.index != index:
        raise JournalCorrupt(f"it says it is entry {proof.index}")
    report = None
    if proof.report is not None:
        report = _json(journal.blob(proof.report.sha256))
    submission = Submission.from_bytes(journal.blob(proof.submission)) if proof.submission else None
    if submission is not None and submission.order != (proof.order or ""):
        raise JournalCorrupt("it is about another order than its proposal")
    return Entry(
        index=index,
        leaf_hash=leaf_hash(leaf).hex(),
        proof=proof,
        submission=submission,
        delta=load_delta(journal, proof.delta.additions.sha256, proof.delta.removals.sha256),
        report=report,
        reasons={
            decision.reason_sha256: journal.blob(decision.reason_sha256).decode()
            for decision in proof.decisions
            if decision.reason_sha256
        },
        signature=journal.blob(proof.signature) if proof.signature else None,
        order=Order.from_bytes(journal.blob(proof.order)) if proof.order else None,
        result=_json(journal.blob(proof.result)) if proof.result else None,
    )


def load_delta(journal: Journal, additions: str, removals: str) -> Delta:
    """The delta whose halves have these digests."""
    return Delta(
        frozenset(from_nquads(journal.blob(additions))),
        frozenset(from_nquads(journal.blob(removals))),
    )


class Projections:
    """Graph store and index of one organisation, and the views that are read from them."""

    def __init__(
        self,
        journal: Journal,
        store: GraphStore,
        index: Index,
        ids: Ids,
        keys: LogKeys,
    ) -> None:
        self._journal = journal
        self.store = store
        self.entailment = Entailment(store)
        self.index = index
        self._ids = ids
        self._keys = keys
        self._governance_graph = ids.graph("governance")
        self._versioned = {ids.graph(name): name for name in VERSIONED}
        self._governance_quads: set[Quad] = set()
        self.governance = Governance()
        self.versions: dict[str, str] = {}

    def catch_up(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Brings store and index to the journal's head; how many entries that took."""
        head = self._journal.head()
        behind = self._stored_head(head)
        self.bring_up_to_date()
        start = min(behind, self._indexed_head(head)) + 1
        for graph in self._versioned:
            self._read_version(graph)
        self._read_governance_at(start - 1, behind)
        following = start
        for index, leaf in self._journal.leaves(start, head + 1):
            if index != following:
                break
            entry = load_entry(self._journal, index, leaf, self._keys)
            self.apply(entry, to_store=index > behind)
            following += 1
            if progress is not None:
                progress(index, head)
        if following != head + 1:
            raise JournalCorrupt(
                f"entry {following} of the journal is missing: keep the folder as it is and restore"
                " a backup (fractalops restore)"
            )
        return following - start

    def bring_up_to_date(self) -> None:
        """Has ``graph/inferred`` hold what the present rules infer from the store as it is.

        What an earlier version filled differs from what a replay gives now."""
        graph = NamedNode(self._governance_graph)
        governance = read_governance(self.store.match(graph=graph))
        if self.entailment.bring_up_to_date(governance.restricted):
            LOGGER.info("graph/inferred follows version %s of the rules", VERSION)

    def _stored_head(self, head: int) -> int:
        """The newest entry the store has, -1 for none; it must be of this journal."""
        stored = self.store.head()
        if stored is None:
            return -1
        if stored > head:
            raise JournalCorrupt(
                f"the graph store has entry {stored}, the journal ends with {head}: the journal is"
                " older than the graph. Put the newer journal back, or move the graph folder away"
                " if this journal is the one you mean"
            )
        hashes = {
            quad.object.value
            for quad in self.store.match(
                NamedNode(self._ids.proof(stored)),
                NamedNode(Fo.leafHash),
                graph=NamedNode(self._ids.graph("proofs")),
            )
            if isinstance(quad.object, Literal)
        }
        if hashes != {item.hex() for item in self._journal.leaf_hashes(stored, stored + 1)}:
            raise JournalCorrupt(
                f"the graph store's entry {stored} is not the journal's: one of them belongs to"
                " another history, or was changed. Move the graph folder away to have it rebuilt"
                " from this journal, or put back the journal it belongs to"
            )
        return stored

    def _indexed_head(self, head: int) -> int:
        """The newest entry the index has, -1 for none; an index of another history is emptied."""
        indexed = self.index.head()
        if indexed < 0:
            return -1
        row = self.index.entry(indexed)
        hashes = [item.hex() for item in self._journal.leaf_hashes(indexed, indexed + 1)]
        if row is None or [row.leaf_hash] != hashes:
            self.index.clear()
            return -1
        return indexed

    def apply(self, entry: Entry, to_store: bool = True) -> ProposalView | None:
        """Applies one entry: the proposal it leaves.

        Raises :class:`ontology.errors.StoreError` or :class:`proofs.errors.IndexFailed`; the index
        is then untouched, the governance view too, and :meth:`catch_up` mends it.
        """
        before = self.governance
        view = self._fold(entry, before)
        views = [view] if view is not None else []
        if view is not None and entry.applies and view.reverts:
            reverted = self.index.proposal(view.reverts)
            if reverted is not None and reverted.state != REVERTED:
                at, index = entry.proof.time, entry.index
                reverted = replace(reverted.reached([REVERTED], at, index), reverted_by=view.id)
            # An index that is ahead of the store has it as reverted already; the store has not.
            if reverted is not None and reverted.reverted_by == view.id:
                views.append(reverted)
        delta = entry.delta if entry.applies else Delta()
        of_governance = delta.in_graph(self._governance_graph)
        after, governance_quads = before, self._governance_quads
        if of_governance:
            governance_quads = (governance_quads - of_governance.removals) | of_governance.additions
            after = read_governance(governance_quads)
        if to_store:
            system = system_delta(
                self._ids, entry.index, entry.leaf_hash, entry.proof, views, self._about
            )
            self._to_store(entry.index, delta, system, before.restricted, after.restricted)
        self.index.take(
            EntryRow(
                entry.index,
                entry.proof.kind,
                entry.proof.time,
                entry.proof.proposal,
                entry.proof.project,
                entry.proof.principal,
                entry.leaf_hash,
                self._is_restricted(entry.proof, view, before),
            ),
            views,
            [line(quad) for quad in delta.additions],
            [line(quad) for quad in delta.removals],
        )
        self.governance, self._governance_quads = after, governance_quads
        for graph in set(delta.graphs()) & set(self._versioned):
            self._read_version(graph)
        return view

    def _to_store(
        self,
        index: int,
        delta: Delta,
        system: Delta,
        before: frozenset[str],
        after: frozenset[str],
    ) -> None:
        """Writes an entry's change with what follows from it, in one update."""
        try:
            inferred = self.entailment.consequence(delta, before, after) if delta else None
            if inferred is not None:
                system = Delta(
                    system.additions | inferred.delta.additions,
                    system.removals | inferred.delta.removals,
                )
            self.store.apply(delta, system, index, after, before)
            if inferred is not None:
                self.entailment.settle(inferred)
        except BaseException:
            self.entailment.forget()
            raise

    def _is_restricted(
        self, proof: Proof, view: ProposalView | None, governance: Governance
    ) -> bool:
        """Whether an entry concerns a restricted graph; without a proposal, its project's."""
        if view is not None or proof.project is None:
            return bool(view and view.restricted)
        return self._ids.lineage_graph(proof.project) in governance.restricted

    def proposal(self, identifier: str) -> ProposalView:
        """A proposal as it stands. Raises :class:`proofs.errors.UnknownProposal`."""
        view = self.index.proposal(identifier)
        if view is None:
            raise UnknownProposal(f"there is no proposal {identifier!r}")
        return view

    def submission_of(self, view: ProposalView) -> Submission:
        """The document of a proposal."""
        return Submission.from_bytes(self._journal.blob(view.submission))

    def delta_of(self, view: ProposalView) -> Delta:
        """The change a proposal asks for."""
        document = self.submission_of(view)
        return load_delta(self._journal, document.additions, document.removals)

    def _about(self, subject: str, graph: str) -> list[Any]:
        return list(self.store.match(NamedNode(subject), graph=NamedNode(graph)))

    def _fold(self, entry: Entry, governance: Governance) -> ProposalView | None:
        proof = entry.proof
        if proof.proposal is None:
            return None
        view = None
        if entry.submission is None:
            view = self.index.proposal(proof.proposal)
            if view is None:
                raise JournalCorrupt(f"entry {entry.index} is about a proposal no entry submitted")
            if view.head >= entry.index:
                return view
        else:
            view = self._first_view(entry.submission, entry, governance)
        at = proof.time
        view = view.reached(proof.transitions, at, entry.index)
        decisions = tuple(
            DecisionView(
                by=item.by,
                outcome=item.outcome,
                reason=entry.reasons.get(item.reason_sha256 or "", ""),
                at=item.at,
                single_person=item.single_person,
                policy=item.policy,
            )
            for item in proof.decisions
        )
        locked = view.state == AWAITING and governance.operators() == {view.author}
        return replace(
            view,
            decisions=(*view.decisions, *decisions),
            report=entry.report if entry.report is not None else view.report,
            proof=entry.index if entry.applies or proof.kind == EXECUTED else view.proof,
            result=entry.result if entry.result is not None else view.result,
            evidence=self._evidence_of(proof) if proof.kind == EXECUTED else view.evidence,
            time_lock_until=_later(at, governance.time_lock) if locked else None,
        )

    @staticmethod
    def _evidence_of(proof: Proof) -> tuple[str, ...]:
        return () if isinstance(proof.evidence, EvidenceDigest) else proof.evidence

    def _first_view(
        self, submission: Submission, entry: Entry, governance: Governance
    ) -> ProposalView:
        proof = entry.proof
        concerned = submission.graphs
        if submission.order and submission.project is not None:
            # An order changes no graph; what is asked for a project is as restricted as its graph.
            concerned = (self._ids.lineage_graph(submission.project),)
        return ProposalView(
            id=submission.id,
            iri=self._ids.proposal(submission.id),
            state=DRAFT,
            head=proof.index,
            proof=None,
            project=submission.project,
            author=submission.principal,
            rationale=submission.rationale,
            graphs=submission.graphs,
            additions=submission.additions_count,
            removals=submission.removals_count,
            evidence=submission.evidence,
            submitted_at=submission.submitted_at,
            reverts=submission.reverts,
            hold=submission.hold,
            signature=submission.signature,
            signed_with=submission.signed_with,
            restricted=bool(governance.restricted.intersection(concerned)),
            order=entry.order.to_dict() if entry.order else None,
            submission=proof.submission or "",
        )

    def _read_governance_at(self, index: int, stored: int) -> None:
        """The governance as entry ``index`` left it, from a store that has entry ``stored``.

        What an entry means (a time lock, a restriction) depends on the governance of its moment.
        """
        quads = set(self.store.match(graph=NamedNode(self._governance_graph)))
        for later in range(stored, index, -1):
            entry = load_entry(self._journal, later, self._journal.leaf(later), self._keys)
            if entry.applies:
                of_graph = entry.delta.in_graph(self._governance_graph)
                quads -= of_graph.additions
                quads |= of_graph.removals
        self._governance_quads = quads
        self.governance = read_governance(quads)

    def _read_version(self, graph: str) -> None:
        quads = self.store.match(graph=NamedNode(graph))
        self.versions[self._versioned[graph]] = sha256(to_nquads(quads))


def _later(at: str, span: timedelta) -> str:
    return format_time(datetime.fromisoformat(at) + span)


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, so that texts sort as times do."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _json(data: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(data)
    return value
