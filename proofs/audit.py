"""Audits everything that is derived against what is signed.

Invariant: every byte is accounted for: each journal entry, blob and checkpoint against signatures
and the tree, each published file against the journal, each quad of the store against a replay of
the deltas. A finding names the place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pyoxigraph import DefaultGraph, NamedNode

from ontology.entailment import Entailment
from ontology.errors import StoreError
from ontology.ids import Ids
from ontology.store import SYSTEM_GRAPHS, GraphStore
from ontology.terms import Delta, graph_of, line, sha256
from proofs.audit_signatures import SignatureAudit
from proofs.checkpoint import (
    Checkpoint,
    VerifierKey,
    cosigners,
    parse_note,
)
from proofs.digest import GraphState
from proofs.errors import JournalError, ProofError
from proofs.governance import read_governance
from proofs.journal import Journal, Running
from proofs.log_keys import LogKeys
from proofs.merkle import Frontier, leaf_hash
from proofs.projections import Entry, load_entry
from proofs.tiles import verify_folder

MAX_NAMED = 20
"""How many findings of one kind are told in full."""


@dataclass
class AuditCheck:
    """One check: what was checked, and what was found wrong (nothing, if it is sound)."""

    name: str
    detail: str = ""
    findings: list[str] = field(default_factory=list)
    count: int = 0

    @property
    def ok(self) -> bool:
        return self.count == 0

    def find(self, what: str) -> None:
        self.count += 1
        if len(self.findings) < MAX_NAMED:
            self.findings.append(what)


@dataclass(frozen=True)
class AuditReport:
    """All checks of one audit, at one head."""

    head: int
    state_digest: str
    quads: int
    checks: tuple[AuditCheck, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


@dataclass
class _Replay:
    """What the journal's entries lead to, as far as they were followed.

    ``expected`` are the lines the graph must hold, each with the entry that stated it; ``blobs``
    those that entries refer to; ``whole`` is false when an entry could not be read.
    """

    count: int = 0
    previous: str | None = None
    frontier: Frontier = field(default_factory=Frontier)
    state: GraphState = field(default_factory=GraphState)
    expected: dict[bytes, int] = field(default_factory=dict)
    blobs: dict[str, int] = field(default_factory=dict)
    whole: bool = True

    def refer(self, entry: Entry, signed: Sequence[str]) -> None:
        proof, document = entry.proof, entry.submission
        digests = [proof.delta.additions.sha256, proof.delta.removals.sha256, *entry.reasons]
        if proof.report is not None:
            digests.append(proof.report.sha256)
        digests += [digest for digest in (proof.order, proof.result) if digest is not None]
        if proof.signature is not None:
            digests += [proof.signature, *signed]
        if document is not None and proof.submission is not None:
            digests += [proof.submission, document.source_sha256]
            digests += [document.additions, document.removals]
        for digest in digests:
            self.blobs.setdefault(digest, entry.index)


class Auditor:
    """Audits one data folder, of which nothing may change meanwhile: hold the writer lock, or give
    it a pinned journal and a checkpoint of the store."""

    def __init__(
        self,
        journal: Journal,
        store: GraphStore,
        ids: Ids,
        keys: LogKeys,
        folders: Sequence[Path],
        witnesses: Sequence[VerifierKey] = (),
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self._journal = journal
        self._store = store
        self._ids = ids
        self._keys = keys
        self._folders = folders
        self._witnesses = witnesses
        self._progress = progress or (lambda name, done, total: None)
        self._system = frozenset(ids.graph(name) for name in SYSTEM_GRAPHS)

    def check_folders(self) -> list[AuditCheck]:
        """Checks the published folders against the journal."""
        size = self._journal.head() + 1
        return [
            self._check_folder(folder, size, "mirror" if number else "tiles")
            for number, folder in enumerate(self._folders)
        ]

    def run(
        self,
        *,
        rebuilt: GraphStore | None = None,
        folders: Sequence[AuditCheck] | None = None,
    ) -> AuditReport:
        """Audits journal, published folders and store.

        ``rebuilt`` is a store built anew from the journal; with it the system graphs and the merge
        are compared quad by quad too. ``folders`` is what :meth:`check_folders` found, if it was
        asked before.
        """
        head = self._journal.head()
        tree = AuditCheck("entries, tree and checkpoints")
        blobs = AuditCheck("blobs")
        graph = AuditCheck("graph state")
        signatures = AuditCheck("authors' signatures")
        replay = _Replay()
        with self._readable(tree):
            integrity = self._journal.integrity()
            if integrity != "ok":
                tree.find(f"{self._journal.path.name}: {integrity}")
            self._replay(head, replay, tree, graph, signatures)
        with self._readable(blobs):
            self._check_blobs(blobs, replay)
        checks = [tree, blobs, graph]
        checks += self.check_folders() if folders is None else folders
        checks.append(signatures)
        state, quads = self._check_store(graph, replay.expected)
        checks.append(self._check_inferred())
        if rebuilt is not None:
            checks.append(self._compare(rebuilt))
        return AuditReport(head, state, quads, tuple(checks))

    @contextmanager
    def _readable(self, check: AuditCheck) -> Iterator[None]:
        """What of the journal cannot even be read is a finding like any other."""
        try:
            yield
        except JournalError as error:
            check.find(f"{self._journal.path.name}: {error}")

    def _replay(
        self,
        head: int,
        replay: _Replay,
        tree: AuditCheck,
        graph: AuditCheck,
        signatures: AuditCheck,
    ) -> None:
        """Follows the journal from its first entry, into ``replay``."""
        authors = SignatureAudit(self._journal, self._ids.graph("governance"), self._keys.labels)
        signed = 0
        checkpoints = dict(self._journal.checkpoints())
        hashes = self._journal.leaf_hashes(0, head + 1)
        for index, leaf in self._journal.leaves():
            while replay.count < index:
                tree.find(f"entry {replay.count} of the journal is missing")
                replay.count += 1
            hashed = leaf_hash(leaf)
            replay.frontier.append(hashed)
            if index >= len(hashes) or hashes[index] != hashed:
                tree.find(f"entry {index} of the journal: its stored leaf hash is another one")
            self._check_checkpoint(index, replay.frontier, checkpoints.pop(index + 1, None), tree)
            entry = self._check_entry(index, leaf, replay, tree, graph)
            if entry is not None:
                findings, blobs = authors.follow(entry)
                replay.refer(entry, blobs)
                signed += entry.signature is not None
                for finding in findings:
                    signatures.find(finding)
            replay.count += 1
            if index % 256 == 0:
                self._progress("replaying the journal", index, head)
        for size in sorted(checkpoints):
            tree.find(f"checkpoint {size} of the journal belongs to none of its entries")
        self._check_running(head, replay, tree)
        tree.detail = f"{replay.count} entries"
        signatures.detail = f"{signed} signed entries"

    def _check_checkpoint(
        self, index: int, frontier: Frontier, note: str | None, tree: AuditCheck
    ) -> None:
        if note is None:
            tree.find(f"checkpoint {index + 1} of the journal is missing")
            return
        try:
            checkpoint = self._keys.open_checkpoint(note)
            cosigners(parse_note(note), self._witnesses)
        except ProofError as error:
            tree.find(f"checkpoint {index + 1} of the journal: {error}")
            return
        if checkpoint != Checkpoint(self._keys.name, index + 1, frontier.root()):
            tree.find(
                f"checkpoint {index + 1} of the journal signs another tree than the entries make"
            )

    def _check_running(self, head: int, replay: _Replay, tree: AuditCheck) -> None:
        """The row that the next entry is computed from."""
        expected = Running(head, replay.frontier.to_bytes(), replay.state.to_bytes())
        if self._journal.running() != expected:
            tree.find("the running hashes of the journal are not those its entries lead to")

    def _check_entry(
        self, index: int, leaf: bytes, replay: _Replay, tree: AuditCheck, graph: AuditCheck
    ) -> Entry | None:
        previous, replay.previous = replay.previous, leaf_hash(leaf).hex()
        try:
            entry = load_entry(self._journal, index, leaf, self._keys)
        except ProofError as error:
            tree.find(str(error))
            replay.whole = False
            return None
        proof, state = entry.proof, replay.state
        if (proof.rotation is not None) != (index in self._keys.rotations):
            tree.find(f"entry {index} hands the log to another key, and the journal lists others")
        if proof.previous != previous:
            tree.find(f"entry {index} of the journal does not follow the one before it")
        if index == 0:
            for name in entry.delta.graphs():
                if not name.startswith(f"{self._ids.base}/"):
                    tree.find(f"the journal says its base is {self._ids.base}, entry 0 has {name}")
        if proof.state_before != state.digest():
            graph.find(f"entry {index} starts from another graph state than entry {index - 1} left")
        if entry.applies:
            self._apply(index, entry.delta, state, replay.expected, graph)
        if proof.state_after != state.digest():
            graph.find(f"entry {index} ends with another graph state than its delta leads to")
        return entry

    @staticmethod
    def _apply(
        index: int,
        delta: Delta,
        state: GraphState,
        expected: dict[bytes, int],
        graph: AuditCheck,
    ) -> None:
        removed = [line(quad) for quad in delta.removals]
        added = [line(quad) for quad in delta.additions]
        for text in removed:
            if expected.pop(text, None) is None:
                graph.find(f"entry {index} removes what was not there: {text.decode().strip()}")
        for text in added:
            if text in expected:
                graph.find(f"entry {index} adds what was there: {text.decode().strip()}")
            expected[text] = index
        state.remove(removed)
        state.add(added)

    def _check_blobs(self, check: AuditCheck, replay: _Replay) -> None:
        missing = dict(replay.blobs)
        count = 0
        for digest, data in self._journal.blobs():
            count += 1
            if sha256(data) != digest:
                check.find(f"blob {digest} of the journal was changed")
            if missing.pop(digest, None) is None and digest not in replay.blobs and replay.whole:
                check.find(f"blob {digest} of the journal belongs to none of its entries")
        for digest, index in missing.items():
            check.find(f"blob {digest} of the journal, which entry {index} refers to, is missing")
        check.detail = f"{count} blobs"

    def _check_folder(self, folder: Path, size: int, name: str) -> AuditCheck:
        check = AuditCheck(name)
        with self._readable(check):
            note = self._journal.checkpoint(size).encode()
            for problem in verify_folder(folder, self._journal.leaf, size, note):
                check.find(f"{folder.name}/{problem}")
        check.detail = f"{size} entries published"
        return check

    def _check_store(self, check: AuditCheck, expected: dict[bytes, int]) -> tuple[str, int]:
        state = GraphState()
        missing = dict(expected)
        extra: list[bytes] = []

        def lines() -> Iterator[bytes]:
            for quad in self._store.asserted():
                text = line(quad)
                if missing.pop(text, None) is None:
                    extra.append(text)
                yield text

        try:
            state.add(lines())
        except StoreError as error:
            check.find(str(error))
            return state.digest(), 0
        quads = len(expected) - len(missing) + len(extra)
        for text in sorted(extra):
            check.find(f"the store holds a quad no entry states: {text.decode().strip()}")
        for text, index in sorted(missing.items()):
            check.find(f"the store lacks what entry {index} states: {text.decode().strip()}")
        check.detail = f"{quads} quads, digest {state.digest()}"
        return state.digest(), quads

    def _check_inferred(self) -> AuditCheck:
        """``graph/inferred``, against what follows from the quads that the store states."""
        check = AuditCheck("inferred graph")
        governance = NamedNode(self._ids.graph("governance"))
        named: set[str] = set()
        try:
            restricted = read_governance(self._store.match(graph=governance)).restricted
            for quad, missing in Entailment(self._store).check(restricted):
                # What is missing may follow from several triples; memory stays bounded.
                if str(quad) in named:
                    continue
                if len(named) < MAX_NAMED:
                    named.add(str(quad))
                if missing:
                    check.find(f"the store lacks what follows from what it states: {quad}")
                else:
                    check.find(f"the store infers what does not follow, or is stated: {quad}")
            inferred = self._store.match(graph=self._store.inferred)
            check.detail = f"{sum(1 for _ in inferred)} triples"
        except StoreError as error:
            check.find(str(error))
        return check

    def _compare(self, rebuilt: GraphStore) -> AuditCheck:
        """System graphs, head marker and merge, against a store built anew."""
        check = AuditCheck("system graphs and merge")
        try:
            ours = set(self._derived(self._store))
        except StoreError as error:
            check.find(str(error))
            return check
        theirs = set(self._derived(rebuilt))
        for text in sorted(ours - theirs):
            check.find(f"the store holds what no entry leads to: {text}")
        for text in sorted(theirs - ours):
            check.find(f"the store lacks what the entries lead to: {text}")
        check.detail = f"{len(theirs)} quads"
        return check

    def _derived(self, store: GraphStore) -> Iterator[str]:
        for quad in store.match():
            graph = quad.graph_name
            if isinstance(graph, DefaultGraph):
                yield f"in the merge: {quad}"
            elif graph_of(quad) in self._system:
                yield str(quad)
