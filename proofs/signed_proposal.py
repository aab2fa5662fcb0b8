"""What a submitter signs: an in-toto Statement v1 about the change it asks for, in a DSSE envelope.

Invariant: a signature is of one change, by one principal, for one project, on one head of one log,
for one reason; :func:`differences` names each part in which a request is another. The change is the
one that was asked for; what enters the log may be less of it, because the graph held some already,
and is never anything else.
Specifications: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md,
https://github.com/secure-systems-lab/dsse; ``docs/proofs.md`` describes the predicate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from proofs.errors import InvalidSignature, MalformedStatement
from proofs.note import SignerKey, VerifierKey
from proofs.statement import (
    PAYLOAD_TYPE,
    STATEMENT_TYPE,
    DeltaDigests,
    EvidenceDigest,
    Members,
    canonical_json,
    commit_evidence,
    delta_digests,
    delta_subjects,
    envelope,
    load_canonical_json,
    pae,
    parse_envelope,
    read_delta,
    read_evidence,
)

PREDICATE_TYPE = "https://w3id.org/fractalops/proposal/v1"

_MEMBERS = {
    *("log", "project", "principal", "base", "rationale_sha256", "hold_sha256", "evidence"),
    "delta",
}


@dataclass(frozen=True, slots=True)
class ProposalStatement:
    """What was signed. ``log`` is the label of the log's key, ``base`` the index of the entry that
    the change was drafted on, ``graphs`` the digest of each named graph's part by its IRI."""

    log: str
    project: str | None
    principal: str
    base: int
    rationale_sha256: str
    hold_sha256: str | None
    evidence: tuple[str, ...] | EvidenceDigest
    delta: DeltaDigests
    graphs: tuple[tuple[str, str], ...]

    def payload(self) -> bytes:
        """The statement in canonical JSON."""
        evidence: Any
        if isinstance(self.evidence, EvidenceDigest):
            evidence = {"sha256": self.evidence.sha256, "count": self.evidence.count}
        else:
            evidence = list(self.evidence)
        return canonical_json(
            {
                "_type": STATEMENT_TYPE,
                "subject": [
                    {"name": name, "digest": {"sha256": digest}} for name, digest in self.graphs
                ],
                "predicateType": PREDICATE_TYPE,
                "predicate": {
                    "log": self.log,
                    "project": self.project,
                    "principal": self.principal,
                    "base": self.base,
                    "rationale_sha256": self.rationale_sha256,
                    "hold_sha256": self.hold_sha256,
                    "evidence": evidence,
                    "delta": self.delta.to_dict(),
                },
            }
        )


def proposal_statement(
    *,
    log: str,
    project: str | None,
    principal: str,
    base: int,
    rationale: str,
    hold: str,
    evidence: Iterable[str],
    additions: Sequence[bytes],
    removals: Sequence[bytes],
) -> ProposalStatement:
    """The statement about a change, given as lines of canonical N-Quads without blank nodes.

    Raises :class:`MalformedStatement` for other lines, or evidence of another form.
    """
    return ProposalStatement(
        log=log,
        project=project,
        principal=principal,
        base=base,
        rationale_sha256=_digest(rationale),
        hold_sha256=_digest(hold) if hold else None,
        evidence=commit_evidence(list(evidence)),
        delta=delta_digests(additions, removals),
        graphs=tuple(
            (item["name"], item["digest"]["sha256"]) for item in delta_subjects(additions, removals)
        ),
    )


def sign_proposal(stated: ProposalStatement, signer: SignerKey) -> bytes:
    """The envelope that goes with the proposal: canonical JSON, the same for the same statement."""
    return envelope(stated.payload(), signer)


def signing_key_of(signed: bytes) -> str:
    """The label of the key that an envelope says it is signed with, unverified.

    Raises :class:`MalformedStatement`.
    """
    _, signatures = parse_envelope(signed)
    if len(signatures) != 1:
        raise MalformedStatement(f"it carries {len(signatures)} signatures, and not one")
    return signatures[0].keyid


def open_proposal(signed: bytes, key: VerifierKey) -> ProposalStatement:
    """What an envelope states, signed with exactly this key.

    Raises :class:`MalformedStatement` and :class:`InvalidSignature`.
    """
    payload, signatures = parse_envelope(signed)
    if [item.keyid for item in signatures] != [key.label]:
        raise InvalidSignature(f"it is not signed with {key.label} alone")
    if not key.verify_raw(pae(PAYLOAD_TYPE, payload), signatures[0].signature):
        raise InvalidSignature(f"the signature of {key.label} does not fit the proposal")
    return _read(load_canonical_json(payload, "the signed statement"))


def differences(signed: ProposalStatement, asked: ProposalStatement) -> list[str]:
    """The parts in which what is asked is not what was signed, in words."""
    parts = (
        ("the log", signed.log, asked.log),
        ("the project", signed.project, asked.project),
        ("the principal", signed.principal, asked.principal),
        ("the head it was drafted on", signed.base, asked.base),
        ("the rationale", signed.rationale_sha256, asked.rationale_sha256),
        ("the reason to hold it", signed.hold_sha256, asked.hold_sha256),
        ("the evidence", signed.evidence, asked.evidence),
        ("the change", (signed.delta, signed.graphs), (asked.delta, asked.graphs)),
    )
    return [name for name, one, other in parts if one != other]


def _read(value: Any) -> ProposalStatement:
    names = {"_type", "subject", "predicateType", "predicate"}
    members = Members(value, names, "the signed statement")
    for name, expected in (("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)):
        if members.text(name) != expected:
            raise MalformedStatement(f"{name} of the signed statement is {value[name]!r}")
    graphs = []
    for item in members.items("subject"):
        subject = Members(item, {"name", "digest"}, "a subject")
        digest = Members(subject.value["digest"], {"sha256"}, "the digest of a subject")
        graphs.append((subject.text("name"), digest.sha256("sha256")))
    if not graphs:
        raise MalformedStatement("the signed statement names no graph")
    predicate = Members(value["predicate"], _MEMBERS, "the predicate of the signed statement")
    return ProposalStatement(
        log=predicate.text("log"),
        project=predicate.optional_text("project"),
        principal=predicate.text("principal"),
        base=predicate.count("base"),
        rationale_sha256=predicate.sha256("rationale_sha256"),
        hold_sha256=predicate.optional_sha256("hold_sha256"),
        evidence=read_evidence(predicate.value["evidence"]),
        delta=read_delta(predicate.value["delta"]),
        graphs=tuple(graphs),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
