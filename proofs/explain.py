"""Explains a triple: which entry stated it, on whose word, on which evidence, under which shapes.

Invariant: the answer is read from the signed entry itself, whose delta must contain the quad; the
index is only the way to find it. What is inferred is led back to triples that entries state.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from pyoxigraph import Literal, NamedNode, Quad

from ontology.entailment_derivation import Derivation, derive
from ontology.store import GraphStore
from ontology.terms import graph_of, line
from proofs.bundle import Consistency, make_bundle
from proofs.bundle import Delta as BundleDelta
from proofs.checkpoint import VerifierKey, cosigners, parse_note
from proofs.errors import JournalCorrupt
from proofs.index import Index
from proofs.journal import Journal
from proofs.merkle import NodeReader, consistency_proof, inclusion_proof, node_hash
from proofs.predicate import Proof
from proofs.projections import load_entry
from proofs.proposal import ProposalView


@dataclass(frozen=True)
class Statement:
    """Where one quad comes from."""

    graph: str
    index: int
    proof: Proof
    proposal: ProposalView


class Explainer:
    """Reads origins and bundles of one log."""

    def __init__(
        self,
        journal: Journal,
        index: Index,
        store: GraphStore,
        verifier: VerifierKey,
        witnesses: Sequence[VerifierKey] = (),
    ) -> None:
        self._witnesses = witnesses
        self._journal = journal
        self._store = store
        self._index = index
        self._verifier = verifier
        self._levels: list[list[bytes]] = [[]]
        self._growing = threading.Lock()

    def explain(self, quad: Quad) -> Statement | None:
        """The origin of a canonical quad the graph holds, or ``None``."""
        text = line(quad)
        origin = self._index.origin(text)
        if origin is None:
            return None
        entry = load_entry(self._journal, origin, self._journal.leaf(origin), self._verifier)
        if quad not in entry.delta.additions or entry.proof.proposal is None:
            raise JournalCorrupt(
                f"the index says entry {origin} states {quad}, and it does not: run 'fractalops"
                " proofs audit'"
            )
        view = self._index.proposal(entry.proof.proposal)
        if view is None:
            raise JournalCorrupt(f"entry {origin} is about a proposal the index does not know")
        return Statement(graph_of(quad), origin, entry.proof, view)

    def graphs(self, quad: Quad) -> list[str]:
        """The graphs that proposals write and that state this triple, sorted."""
        subject, value = quad.subject, quad.object
        assert isinstance(subject, NamedNode)
        assert isinstance(value, NamedNode | Literal)
        return sorted(
            graph_of(found) for found in self._store.asserted(subject, quad.predicate, value)
        )

    def derivation(self, quad: Quad, restricted: frozenset[str]) -> Derivation | None:
        """Why a triple is in ``graph/inferred``, or ``None`` where it is not.

        Its premises are stated by graphs that are not ``restricted``, so everybody may see them."""
        subject, value = quad.subject, quad.object
        assert isinstance(subject, NamedNode)
        assert isinstance(value, NamedNode | Literal)
        if Quad(subject, quad.predicate, value, self._store.inferred) not in self._store:
            return None
        return derive(self._store, quad.triple, restricted)

    def bundle(self, index: int, since: int | None = None) -> bytes:
        """The proof bundle of an entry, under the newest checkpoint.

        A second checkpoint comes with it, and the consistency proof between the two: the one of
        size ``since``, for a reader who kept it, or the newest that a configured witness cosigned.
        Raises :class:`proofs.errors.JournalMissing` for an entry or a size the log does not have.
        """
        leaf = self._journal.leaf(index)
        size = self._journal.head() + 1
        entry = load_entry(self._journal, index, leaf, self._verifier)
        delta = entry.proof.delta
        return make_bundle(
            log_key=self._verifier,
            index=index,
            leaf=leaf,
            checkpoint=self._journal.checkpoint(size),
            inclusion=inclusion_proof(index, size, self._nodes(size)),
            consistency=self._second(index, size, since),
            delta=BundleDelta(
                self._journal.blob(delta.additions.sha256).decode(),
                self._journal.blob(delta.removals.sha256).decode(),
            ),
        )

    def _second(self, index: int, size: int, since: int | None) -> Consistency | None:
        if since is not None:
            other, note = since, self._journal.checkpoint(since)
        else:
            found = self._newest_cosigned(index)
            if found is None:
                return None
            other, note = found
        if other == size and since is None:
            return None
        old, new = sorted((other, size))
        return Consistency(note, tuple(consistency_proof(old, new, self._nodes(new))))

    def _newest_cosigned(self, index: int) -> tuple[int, str] | None:
        if not self._witnesses:
            return None
        for size, note in self._journal.cosigned(index):
            if cosigners(parse_note(note), self._witnesses):
                return size, note
        return None

    def _nodes(self, size: int) -> NodeReader:
        with self._growing:
            self._grow(size)
        return lambda level, index: self._levels[level][index]

    def _grow(self, size: int) -> None:
        """Keeps every perfect subtree's hash: 64 bytes an entry, made once."""
        leaves = self._levels[0]
        leaves.extend(self._journal.leaf_hashes(len(leaves), size))
        level = 0
        while len(self._levels[level]) > 1:
            below = self._levels[level]
            if level + 1 == len(self._levels):
                self._levels.append([])
            above = self._levels[level + 1]
            for at in range(len(above), len(below) // 2):
                above.append(node_hash(below[2 * at], below[2 * at + 1]))
            level += 1
