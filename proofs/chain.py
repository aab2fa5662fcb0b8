"""Appends entries to the journal: signed, hashed into the tree, under a signed checkpoint.

Invariant: the leaf is signed first, then leaf, blobs, checkpoint and running hashes are committed
as one transaction; memory moves on only after that. Whoever calls holds the writer lock. A signer
that fails leaves everything as it was. An entry that hands the log to another key, and the
checkpoint that ends with it, carry the signatures of both.

Crash windows: before the commit the entry never was; after it, it is complete, with its checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ontology.terms import Delta, line, sha256, to_nquads
from proofs.checkpoint import Checkpoint, Signer, VerifierKey, sign_checkpoint
from proofs.delta import delta_digests, delta_subjects, order_subjects
from proofs.digest import GraphState
from proofs.errors import JournalBroken, JournalCorrupt, ProofError
from proofs.journal import Journal, Running
from proofs.log_keys import LogKeys, check_successor
from proofs.merkle import Frontier, leaf_hash
from proofs.predicate import DecisionRecord, EvidenceDigest, KeyRotation, Proof, ReportDigest
from proofs.statement import build, envelope, sign_payload, statement


@dataclass(frozen=True)
class Draft:
    """What an entry will say, but for what the chain itself adds.

    ``delta`` is the proposal's change; ``applies`` says whether this entry makes it.
    """

    kind: str
    time: str
    delta: Delta
    applies: bool
    proposal: str | None = None
    project: str | None = None
    principal: str | None = None
    reverts: str | None = None
    submission: str | None = None
    transitions: tuple[str, ...] = ()
    decisions: tuple[DecisionRecord, ...] = ()
    report: ReportDigest | None = None
    shapes: str | None = None
    ontology: str | None = None
    rules: str | None = None
    evidence: tuple[str, ...] | EvidenceDigest = ()
    signature: str | None = None
    rotation: KeyRotation | None = None
    order: str | None = None
    result: str | None = None


class Chain:
    """The growing log of one organisation."""

    def __init__(
        self, journal: Journal, signer: Signer, keys: LogKeys, fatal: Callable[[str], None]
    ) -> None:
        self._journal = journal
        self._signer = signer
        self._fatal = fatal
        self.keys = keys
        self._head = journal.head()
        running = journal.running()
        if running is None:
            if self._head >= 0:
                raise JournalCorrupt(
                    "the journal has entries but no running hashes: restore a backup"
                )
            self._frontier, self._state = Frontier(), GraphState()
            self._last: str | None = None
            return
        try:
            self._frontier = Frontier.from_bytes(running.frontier)
            self._state = GraphState.from_bytes(running.graph_state)
            self._last = self._check_end(running)
        except JournalCorrupt:
            raise
        except (ProofError, ValueError) as error:
            raise JournalCorrupt(
                f"entry {self._head} of the journal, its checkpoint or the running hashes cannot be"
                f" read: {error}. Keep the folder as it is and restore a backup (fractalops"
                " restore)"
            ) from error

    def _check_end(self, running: Running) -> str:
        """The newest entry, its checkpoint and the running hashes must agree."""
        leaf = self._journal.leaf(self._head)
        checkpoint = self.keys.open_checkpoint(self._journal.checkpoint(self._head + 1))
        proof = read_proof(leaf, self._head, self.keys)
        problems = [
            problem
            for problem, wrong in (
                ("the running hashes belong to another entry", running.n != self._head),
                ("its index is another one", proof.index != self._head),
                ("the checkpoint has another size", checkpoint.size != self._frontier.size),
                ("the checkpoint has another root", checkpoint.root != self._frontier.root()),
                ("the tree does not end with it", not self._ends_with(leaf_hash(leaf))),
                ("the graph state is another one", proof.state_after != self._state.digest()),
            )
            if wrong
        ]
        if problems:
            raise JournalCorrupt(
                f"entry {self._head} of the journal does not fit: {'; '.join(problems)}. Keep the"
                " folder as it is and restore a backup (fractalops restore)"
            )
        return leaf_hash(leaf).hex()

    def _ends_with(self, last: bytes) -> bool:
        stored = self._journal.leaf_hashes(self._head, self._head + 1)
        return self._frontier.size == self._head + 1 and stored == [last]

    @property
    def head(self) -> int:
        """Index of the newest entry, -1 before genesis."""
        return self._head

    @property
    def verifier(self) -> VerifierKey:
        """The log's key as it is now."""
        return self.keys.current

    @property
    def state_digest(self) -> str:
        """The graph state digest after the newest entry."""
        return self._state.digest()

    def append(self, draft: Draft, blobs: Mapping[str, bytes]) -> tuple[int, Proof, str]:
        """Commits one entry: its index, what it states and its leaf hash in hexadecimal.

        Raises :class:`proofs.errors.JournalFull` and :class:`proofs.errors.SignerFailed` with
        nothing changed. When it is unknown whether the entry is on disk the process is ended.
        """
        return self._append(draft, blobs, [self._signer])

    def rotate(
        self, draft: Draft, blobs: Mapping[str, bytes], successor: Signer
    ) -> tuple[int, Proof, str]:
        """Commits the entry that hands the log to the key of ``successor``, as :meth:`append` does;
        what follows is signed with that."""
        check_successor(self.keys, successor.verifier)
        rotation = KeyRotation(str(self.verifier), str(successor.verifier))
        done = self._append(
            replace(draft, rotation=rotation), blobs, [self._signer, successor], rotates=True
        )
        self.keys.rotate(done[0], self._journal.leaf(done[0]))
        self._signer = successor
        return done

    def _append(
        self,
        draft: Draft,
        blobs: Mapping[str, bytes],
        signers: Sequence[Signer],
        *,
        rotates: bool = False,
    ) -> tuple[int, Proof, str]:
        index = self._head + 1
        added = [line(quad) for quad in draft.delta.additions]
        removed = [line(quad) for quad in draft.delta.removals]
        state = self._state
        if draft.applies:
            state = state.copy()
            state.add(added)
            state.remove(removed)
        proof = Proof(
            kind=draft.kind,
            index=index,
            previous=self._last,
            time=draft.time,
            proposal=draft.proposal,
            project=draft.project,
            principal=draft.principal,
            reverts=draft.reverts,
            submission=draft.submission,
            transitions=draft.transitions,
            decisions=draft.decisions,
            report=draft.report,
            shapes=draft.shapes,
            ontology=draft.ontology,
            rules=draft.rules,
            evidence=draft.evidence,
            delta=delta_digests(added, removed),
            state_before=self._state.digest(),
            state_after=state.digest(),
            signature=draft.signature,
            rotation=draft.rotation,
            order=draft.order,
            result=draft.result,
        )
        subjects = delta_subjects(added, removed) or _document_subjects(draft)
        payload = build(statement(subjects, proof.to_dict()))
        first, *others = signers
        leaf = envelope(payload, first, [sign_payload(payload, other) for other in others])
        hashed = leaf_hash(leaf)
        frontier = self._frontier.copy()
        frontier.append(hashed)
        checkpoint = Checkpoint(self.keys.name, frontier.size, frontier.root())
        try:
            self._journal.append(
                index,
                leaf,
                hashed,
                {**blobs, **delta_blobs(draft.delta)},
                sign_checkpoint(checkpoint, *signers),
                Running(index, frontier.to_bytes(), state.to_bytes()),
                rotates=rotates,
            )
        except JournalBroken as error:
            self._fatal(str(error))
            raise
        self._head, self._frontier, self._state = index, frontier, state
        self._last = hashed.hex()
        return index, proof, hashed.hex()


def _document_subjects(draft: Draft) -> list[dict[str, Any]]:
    """What an entry that changes no graph is about: the documents that it records, or the key that
    the log is handed to."""
    if draft.order is not None:
        return order_subjects(draft.order, draft.result)
    if draft.rotation is not None:
        return [{"name": draft.kind, "digest": {"sha256": sha256(draft.rotation.after.encode())}}]
    if draft.report is None:
        return []
    return [{"name": draft.kind, "digest": {"sha256": draft.report.sha256}}]


def delta_blobs(delta: Delta) -> dict[str, bytes]:
    """Both halves of a delta as canonical N-Quads, by digest."""
    halves = (to_nquads(delta.additions), to_nquads(delta.removals))
    return {sha256(half): half for half in halves}


def read_proof(leaf: bytes, index: int, keys: LogKeys) -> Proof:
    """What entry ``index`` states; its signature is checked against the key that held."""
    return Proof.from_dict(keys.open_entry(leaf, index).statement["predicate"])
