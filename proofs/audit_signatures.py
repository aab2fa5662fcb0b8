"""Audits the authors' own signatures while the journal is replayed.

Invariant: each signature is held against the keys as the entries before it left them, by nothing
but the journal, and what an entry changes is at most what its author signed.
"""

from __future__ import annotations

from collections.abc import Collection

from pyoxigraph import NamedNode

from ontology.vocab import Fo
from proofs.errors import ProofError
from proofs.governance import SigningKey, read_governance
from proofs.journal import Journal
from proofs.projections import Entry, load_delta
from proofs.signed_proposal import open_proposal, signing_key_of


class SignatureAudit:
    """Follows entries in the order of the log; ``governance`` is the graph that names keys,
    ``logs`` are the labels of the log's."""

    def __init__(self, journal: Journal, governance: str, logs: Collection[str]) -> None:
        self._journal = journal
        self._governance = governance
        self._logs = logs
        self._keys: dict[str, SigningKey] = {}
        self._retired: set[str] = set()

    def follow(self, entry: Entry) -> tuple[list[str], list[str]]:
        """What is wrong with the signature of an entry, and the blobs that it rests on."""
        findings, blobs = self._check(entry) if entry.signature else ([], [])
        if entry.applies:
            stated = entry.delta.in_graph(self._governance).additions
            for key in read_governance(stated).keys if stated else ():
                self._keys[key.verifier.label] = key
            self._retired |= {
                str(quad.subject.value)
                for quad in stated
                if isinstance(quad.subject, NamedNode) and quad.predicate.value == Fo.retired
            }
        return findings, blobs

    def _check(self, entry: Entry) -> tuple[list[str], list[str]]:
        assert entry.signature is not None
        try:
            label = signing_key_of(entry.signature)
            key = self._keys.get(label)
            if key is None or key.holder != entry.proof.principal:
                return [f"entry {entry.index} is signed with {label}, no key of its author's"], []
            signed = open_proposal(entry.signature, key.verifier)
            blobs = [signed.delta.additions.sha256, signed.delta.removals.sha256]
            asked = load_delta(self._journal, *blobs)
        except ProofError as error:
            return [f"the signature of entry {entry.index}: {error}"], []
        findings = []
        # What was signed in time may be decided later.
        if entry.submission is not None and key.iri in self._retired:
            findings.append(f"entry {entry.index} is signed with {label}, which was retired")
        here = (signed.project, signed.principal) == (entry.proof.project, entry.proof.principal)
        if signed.log not in self._logs or not here:
            findings.append(f"the author of entry {entry.index} signed it for another place")
        if not (
            entry.delta.additions <= asked.additions and entry.delta.removals <= asked.removals
        ):
            findings.append(f"entry {entry.index} changes what its author did not sign")
        return findings, blobs
