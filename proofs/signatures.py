"""Holds an author's signature against what was submitted, and against the keys it may be by.

Invariant: a signature is taken only where a key of the author, named by the governance graph and
not retired, signed exactly this submission; any other is refused with what to do, and never passed
over. What comes without one is as good as before, and shown as unsigned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ontology.terms import Delta, has_blank_nodes, line, sha256
from proofs.errors import FormatError, InvalidSignature, SignatureRefused
from proofs.governance import STEWARD, Governance, SigningKey
from proofs.signed_proposal import (
    differences,
    open_proposal,
    proposal_statement,
    signing_key_of,
)
from proofs.submission import Request

_ROTATE = "'fractalops stewards keys NAME' lists them"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that was found good: by which key (its IRI), and the SHA-256 of the envelope."""

    key: str
    sha256: str


def check_signature(
    governance: Governance, principal: str, request: Request, logs: Sequence[str]
) -> Signature | None:
    """The signature of a request, ``None`` where it has none; ``logs`` are the labels of the
    log's keys, the present one last: one signs for a log, whichever of its keys it knew.

    Raises :class:`SignatureRefused`.
    """
    if not request.signature:
        return None
    try:
        key = _key(governance, principal, signing_key_of(request.signature))
        signed = open_proposal(request.signature, key.verifier)
    except (FormatError, InvalidSignature) as error:
        raise SignatureRefused(
            f"the signature cannot be taken: {error}. Sign the proposal as it is sent, or send it"
            " unsigned"
        ) from error
    if request.base is None:
        raise SignatureRefused(
            "a signed proposal names the head that it was drafted on, as base: without one its"
            " signature would hold for ever"
        )
    delta = Delta(request.additions, request.removals)
    if has_blank_nodes(delta.quads):
        raise SignatureRefused(
            "a signed proposal has no blank nodes, for the graph gives them names that its author"
            " did not sign: name the nodes by IRIs"
        )
    asked = proposal_statement(
        log=signed.log if signed.log in logs else logs[-1],
        project=request.project,
        principal=principal,
        base=request.base,
        rationale=request.rationale,
        hold=request.hold,
        evidence=request.evidence,
        additions=[line(quad) for quad in delta.additions],
        removals=[line(quad) for quad in delta.removals],
    )
    found = differences(signed, asked)
    if found:
        raise SignatureRefused(
            f"the signature is of another proposal: {', '.join(found)} differs from what was"
            " signed. Sign what is sent, on the head it was drafted on"
        )
    return Signature(key.iri, sha256(request.signature))


def check_key(governance: Governance, principal: str, signature: Signature | None) -> None:
    """Whether the key of a good signature holds still. Raises :class:`SignatureRefused`."""
    if signature is None:
        return
    key = next((k for k in governance.keys_of(principal) if k.iri == signature.key), None)
    if key is None or key.retired:
        raise _retired(governance, principal, signature.key)


def _key(governance: Governance, principal: str, label: str) -> SigningKey:
    found = next((k for k in governance.keys if k.verifier.label == label), None)
    if found is None or found.holder != principal:
        whose = f"is a key of <{found.holder}>" if found else "is no key that the graph names"
        raise SignatureRefused(
            f"{label[:200]} {whose}, and the proposal is one of <{principal}>: an operator enrols a"
            f" key with 'fractalops stewards add-key'; {_ROTATE}"
        )
    if not governance.has_role(principal, STEWARD):
        raise SignatureRefused(
            f"<{principal}> is no steward (any more): the keys of others sign no proposals"
        )
    if found.retired:
        raise _retired(governance, principal, found.iri)
    return found


def _retired(governance: Governance, principal: str, iri: str) -> SignatureRefused:
    active = [k.verifier.label for k in governance.keys_of(principal) if not k.retired]
    instead = f"sign with {' or '.join(active)}" if active else "ask an operator for another key"
    return SignatureRefused(
        f"<{iri}> is retired, and nothing new is taken by it: {instead}; {_ROTATE}. What it signed"
        " before stays proved"
    )
