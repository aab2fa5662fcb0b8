"""Checks the author's own signature in a bundle: that it fits, and that the key was the author's.

Invariant: nothing is taken from the platform's word but what the log's key signed: the key of the
author is read from the entry that states it, whose inclusion is proved under the same checkpoint.
An entry about another change than the one that was signed fails, unless it is a part of it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from proofs.bundle import Bundle, Delta, Enrolment, SignedProposal
from proofs.checkpoint import Checkpoint, VerifierKey
from proofs.errors import InvalidSignature, MalformedStatement, ProofError
from proofs.log_keys import LogKeys
from proofs.merkle import leaf_hash, verify_inclusion
from proofs.signed_proposal import ProposalStatement, open_proposal, signing_key_of
from proofs.statement import Proof, delta_digests, parse_quad
from proofs.verdict import Check

_NS = b"https://w3id.org/fractalops/ns#"
_HOLDER = b"<" + _NS + b"keyHolder>"
_PUBLIC_KEY = b"<" + _NS + b"publicKey>"


@dataclass(frozen=True, slots=True)
class Submitter:
    """What came of it: the checks, and the key where one was found."""

    checks: tuple[Check, ...]
    key: VerifierKey | None = None


def check_submitter(
    bundle: Bundle, proof: Proof, head: Checkpoint | None, keys: LogKeys
) -> Submitter:
    """The checks of the author's signature; none where the entry names none and none came along."""
    signed = bundle.signature
    if proof.signature is None:
        if signed is None:
            return Submitter(())
        return _failed("the bundle has a signature of the author, and the entry names none")
    if signed is None:
        return Submitter(
            (
                Check(
                    "author's signature",
                    None,
                    "NOT CHECKED: the author signed it, and the bundle lacks that; export it anew",
                ),
            )
        )
    if hashlib.sha256(signed.envelope).hexdigest() != proof.signature:
        return _failed("it is not the one that the entry commits to")
    try:
        key = _enrolled(signed, proof, head, keys)
    except (ProofError, ValueError) as error:
        return Submitter((Check("author's key", False, str(error)),))
    enrolled = Check(
        "author's key",
        True,
        f"entry {signed.enrolment.index} of the log states that {key.label} is a key of"
        f" {proof.principal}",
    )
    try:
        stated = open_proposal(signed.envelope, key)
        wrong = _differences(stated, proof, keys)
        if wrong:
            raise MalformedStatement(f"the author signed another proposal: {', '.join(wrong)}")
        part = _part(bundle, signed, stated, proof)
    except (ProofError, ValueError) as error:
        return Submitter((enrolled, Check("author's signature", False, str(error))), key)
    fits = Check("author's signature", True, f"signed with {key.label}, {part}")
    return Submitter((enrolled, fits), key)


def _failed(detail: str) -> Submitter:
    return Submitter((Check("author's signature", False, detail),))


def _enrolled(
    signed: SignedProposal, proof: Proof, head: Checkpoint | None, keys: LogKeys
) -> VerifierKey:
    """The author's key, from the entry that states it."""
    enrolment = signed.enrolment
    stating = Proof.from_dict(
        keys.open_entry(enrolment.leaf, enrolment.index).statement["predicate"]
    )
    if stating.index != enrolment.index or not enrolment.index < proof.index:
        raise MalformedStatement("the entry that is to state the key is not one before this one")
    if not stating.applies:
        raise MalformedStatement(f"the entry that is to state the key is of kind {stating.kind}")
    lines = Delta(enrolment.additions, "").added
    if delta_digests(lines, []).additions != stating.delta.additions or sorted(set(lines)) != lines:
        raise MalformedStatement("its additions are not those that the entry commits to")
    if head is None:
        raise MalformedStatement("without a checkpoint the entry that states it cannot be placed")
    hashed = leaf_hash(enrolment.leaf)
    verify_inclusion(hashed, enrolment.index, head.size, enrolment.inclusion, head.root)
    label = signing_key_of(signed.envelope)
    found = _stated_key(enrolment, label, proof.principal or "")
    if found is None:
        raise InvalidSignature(
            f"entry {enrolment.index} does not state that {label} is a key of {proof.principal}"
        )
    return found


def _stated_key(enrolment: Enrolment, label: str, principal: str) -> VerifierKey | None:
    # Only the governance graph says whose a key is; anybody's lineage graph may hold such triples.
    base, _, slug = principal.partition("/id/principal/")
    governance = f"{base}/graph/governance"
    holders: set[bytes] = set()
    public: dict[bytes, bytes] = {}
    for text in Delta(enrolment.additions, "").added:
        subject, predicate, value, graph = parse_quad(text)
        if graph != governance or not slug:
            continue
        if predicate == _HOLDER and value == b"<" + principal.encode() + b">":
            holders.add(subject)
        elif predicate == _PUBLIC_KEY:
            public[subject] = value
    for subject in sorted(holders & public.keys()):
        key = VerifierKey.parse(public[subject].decode().strip('"'))
        if key.label == label:
            return key
    return None


def _differences(stated: ProposalStatement, proof: Proof, keys: LogKeys) -> list[str]:
    pairs = (
        ("it is for another log", stated.log in keys.labels, True),
        ("it is for another project", stated.project, proof.project),
        ("it is by another principal", stated.principal, proof.principal),
        ("it rests on other evidence", stated.evidence, proof.evidence),
    )
    wrong = [name for name, one, other in pairs if one != other]
    if stated.base >= proof.index:
        wrong.append("it was drafted on a later head")
    return wrong


def _part(bundle: Bundle, signed: SignedProposal, stated: ProposalStatement, proof: Proof) -> str:
    """How the entry's change is the one that was signed. Raises :class:`MalformedStatement`."""
    if stated.delta == proof.delta:
        return "over exactly this change"
    if bundle.delta is None or signed.delta is None:
        raise MalformedStatement("the author signed another change, which the bundle does not hold")
    asked, made = signed.delta, bundle.delta
    if delta_digests(asked.added, asked.removed) != stated.delta:
        raise MalformedStatement("the change that the author is to have signed is another one")
    if not (set(made.added) <= set(asked.added) and set(made.removed) <= set(asked.removed)):
        raise MalformedStatement("the entry changes what its author did not ask for")
    return "over this change and more, which the graph held or no longer needed"
