"""Explains a triple: which entry stated it, on whose word, on which evidence, under which shapes.

Invariant: the answer is read from the signed entry itself, whose delta must contain the quad; the
index is only the way to find it. What is inferred is led back to triples that entries state.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyoxigraph import Literal, NamedNode, Quad

from ontology.entailment_derivation import Derivation, derive
from ontology.store import GraphStore
from ontology.terms import graph_of, line
from ontology.vocab import Fo
from proofs.bundle import (
    Consistency,
    Enrolment,
    Handover,
    OrderDocuments,
    SignedProposal,
    make_bundle,
)
from proofs.bundle import Delta as BundleDelta
from proofs.checkpoint import VerifierKey, cosigners, parse_note
from proofs.delta import DeltaDigests
from proofs.errors import JournalCorrupt
from proofs.governance import SigningKey, read_governance
from proofs.index import Index
from proofs.journal import Journal
from proofs.log_keys import LogKeys
from proofs.merkle import NodeReader, consistency_proof, inclusion_proof, node_hash
from proofs.predicate import Proof
from proofs.projections import Entry, load_entry
from proofs.proposal import ProposalView
from proofs.signed_proposal import open_proposal, signing_key_of

_BOOLEAN = "http://www.w3.org/2001/XMLSchema#boolean"


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
        keys: LogKeys,
        witnesses: Sequence[VerifierKey] = (),
    ) -> None:
        self._witnesses = witnesses
        self._journal = journal
        self._store = store
        self._index = index
        self._keys = keys
        self._levels: list[list[bytes]] = [[]]
        self._growing = threading.Lock()

    def explain(self, quad: Quad) -> Statement | None:
        """The origin of a canonical quad the graph holds, or ``None``."""
        text = line(quad)
        origin = self._index.origin(text)
        if origin is None:
            return None
        entry = load_entry(self._journal, origin, self._journal.leaf(origin), self._keys)
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
        keys = self._keys
        entry = load_entry(self._journal, index, leaf, keys)
        delta = entry.proof.delta
        return make_bundle(
            log_key=keys.current,
            index=index,
            leaf=leaf,
            checkpoint=self._journal.checkpoint(size),
            inclusion=inclusion_proof(index, size, self._nodes(size)),
            consistency=self._second(index, size, since),
            delta=self._delta(delta),
            signature=self._signed(entry, size),
            succession=[self._handover(at, size) for at in keys.rotations if at < size],
            order=self._order(entry.proof),
        )

    def _order(self, proof: Proof) -> OrderDocuments | None:
        if proof.order is None:
            return None
        result = self._journal.blob(proof.result).decode() if proof.result else None
        return OrderDocuments(self._journal.blob(proof.order).decode(), result)

    def _handover(self, index: int, size: int) -> Handover:
        proof = inclusion_proof(index, size, self._nodes(size))
        return Handover(index, self._journal.leaf(index), tuple(proof))

    def _delta(self, delta: DeltaDigests) -> BundleDelta:
        return BundleDelta(
            self._journal.blob(delta.additions.sha256).decode(),
            self._journal.blob(delta.removals.sha256).decode(),
        )

    def _signed(self, entry: Entry, size: int) -> SignedProposal | None:
        """The author's signature of an entry, with the entry that states the key."""
        proof = entry.proof
        if entry.signature is None or proof.principal is None:
            return None
        governance = read_governance(self._governance())
        label = signing_key_of(entry.signature)
        keys = governance.keys_of(proof.principal)
        key = next((k for k in keys if k.verifier.label == label), None)
        index = None if key is None else self.enrolled(key)
        if key is None or index is None:
            raise JournalCorrupt(
                f"entry {entry.index} is signed with {label}, which the graph does not name: run"
                " 'fractalops proofs audit'"
            )
        asked = open_proposal(entry.signature, key.verifier).delta
        leaf = self._journal.leaf(index)
        stating = load_entry(self._journal, index, leaf, self._keys)
        return SignedProposal(
            entry.signature,
            None if asked == proof.delta else self._delta(asked),
            Enrolment(
                index,
                leaf,
                tuple(inclusion_proof(index, size, self._nodes(size))),
                self._journal.blob(stating.proof.delta.additions.sha256).decode(),
            ),
        )

    def _governance(self) -> Iterable[Quad]:
        return self._store.match(graph=NamedNode(self._store.ids.graph("governance")))

    def enrolled(self, key: SigningKey) -> int | None:
        """The entry that states a key: from then on it is its holder's."""
        return self._origin_in_governance(key.iri, Fo.publicKey, Literal(str(key.verifier)))

    def retired(self, key: SigningKey) -> int | None:
        """The entry that retired a key; ``None`` for one that holds."""
        true = Literal("true", datatype=NamedNode(_BOOLEAN))
        return self._origin_in_governance(key.iri, Fo.retired, true)

    def _origin_in_governance(self, subject: str, predicate: str, value: Literal) -> int | None:
        graph = NamedNode(self._store.ids.graph("governance"))
        return self._index.origin(
            line(Quad(NamedNode(subject), NamedNode(predicate), value, graph))
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
