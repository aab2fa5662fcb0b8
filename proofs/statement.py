"""A log entry: an in-toto Statement v1 in a DSSE envelope, and the digests it commits to.

Invariant: a leaf is the exact bytes of its envelope in canonical JSON (RFC 8785), so the same
statement under the same key is the same leaf; it stays below 64 KiB because it carries digests,
never deltas.
Specifications: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md,
https://github.com/secure-systems-lab/dsse, https://www.rfc-editor.org/rfc/rfc8785
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785

from proofs.delta import (
    DeltaDigest,
    DeltaDigests,
    delta_digests,
    delta_subjects,
    parse_quad,
)
from proofs.errors import InvalidSignature, LeafTooLarge, MalformedStatement
from proofs.note import Signer, VerifierKey, decode_base64
from proofs.predicate import (
    DecisionRecord,
    EvidenceDigest,
    KeyRotation,
    Members,
    Proof,
    ReportDigest,
    commit_evidence,
    read_delta,
    read_evidence,
)

__all__ = [
    "MAX_LEAF",
    "PAYLOAD_TYPE",
    "PREDICATE_TYPE",
    "STATEMENT_TYPE",
    "DecisionRecord",
    "DeltaDigest",
    "DeltaDigests",
    "Envelope",
    "EnvelopeSignature",
    "EvidenceDigest",
    "KeyRotation",
    "Members",
    "Proof",
    "ReportDigest",
    "build",
    "canonical_json",
    "commit_evidence",
    "delta_digests",
    "delta_subjects",
    "envelope",
    "load_canonical_json",
    "open_envelope",
    "pae",
    "parse_envelope",
    "parse_quad",
    "read_delta",
    "read_evidence",
    "sign_payload",
    "statement",
]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://w3id.org/fractalops/proof/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_LEAF = 65535
"""Bytes of the largest leaf: an entry bundle prefixes each entry with a uint16 length."""


def canonical_json(value: Any) -> bytes:
    """``value`` in the JSON Canonicalization Scheme; :class:`MalformedStatement` if it can't be."""
    try:
        return rfc8785.dumps(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise MalformedStatement(f"this value has no canonical JSON form: {error}") from error


def load_canonical_json(data: bytes, what: str) -> Any:
    """The value of ``data``, which must be canonical JSON to the byte.

    :class:`MalformedStatement` names ``what`` and the first byte that breaks the form.
    """
    try:
        value = json.loads(data.decode(), parse_float=_no_float, parse_constant=_no_float)
    except (ValueError, RecursionError) as error:
        raise MalformedStatement(f"{what} is not JSON as we write it: {error}") from error
    expected = canonical_json(value)
    if expected != data:
        at = next(
            (i for i, (a, b) in enumerate(zip(expected, data, strict=False)) if a != b),
            min(len(expected), len(data)),
        )
        raise MalformedStatement(
            f"{what} is not in canonical form (RFC 8785): it differs at byte {at}"
        )
    return value


def statement(subjects: Sequence[dict[str, Any]], predicate: dict[str, Any]) -> dict[str, Any]:
    """The in-toto statement about ``subjects``; in-toto asks for at least one."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": list(subjects),
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }


def build(value: dict[str, Any]) -> bytes:
    """The payload bytes of a statement: checked, then canonical JSON."""
    _check_statement(value)
    return canonical_json(value)


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True)
class EnvelopeSignature:
    """One DSSE signature: the key's label (``name+hash``) and 64 bytes."""

    keyid: str
    signature: bytes


@dataclass(frozen=True)
class Envelope:
    """An opened envelope: its payload, the statement in it, and who signed.

    ``verified`` are the labels of known keys whose signatures hold, ``unknown`` those of keys
    that the reader was not given.
    """

    payload: bytes
    statement: dict[str, Any]
    signatures: tuple[EnvelopeSignature, ...]
    verified: tuple[str, ...]
    unknown: tuple[str, ...]


def sign_payload(payload: bytes, signer: Signer) -> EnvelopeSignature:
    """The DSSE signature of a statement payload under a note key."""
    return EnvelopeSignature(signer.verifier.label, signer.sign_raw(pae(PAYLOAD_TYPE, payload)))


def envelope(
    payload: bytes,
    sign: Signer | Callable[[bytes], Sequence[EnvelopeSignature]],
    others: Sequence[EnvelopeSignature] = (),
) -> bytes:
    """The leaf: canonical JSON of the DSSE envelope around ``payload``.

    ``sign`` is the log's key, or a function from the pre-authentication encoding to signatures
    when the key lives elsewhere. ``others`` are further signatures over the same payload, such
    as a submitter's own; they are kept in the given order after the log's.
    """
    if callable(sign):
        own: Sequence[EnvelopeSignature] = sign(pae(PAYLOAD_TYPE, payload))
    else:
        own = [sign_payload(payload, sign)]
    signatures = [*own, *others]
    if not signatures:
        raise MalformedStatement("an envelope carries at least one signature")
    leaf = canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {"keyid": item.keyid, "sig": base64.b64encode(item.signature).decode()}
                for item in signatures
            ],
        }
    )
    if len(leaf) > MAX_LEAF:
        raise LeafTooLarge(
            f"this entry has {len(leaf)} bytes and a leaf at most {MAX_LEAF}; commit to long lists "
            "by their digest"
        )
    return leaf


def parse_envelope(leaf: bytes) -> tuple[bytes, tuple[EnvelopeSignature, ...]]:
    """Payload and signatures of a leaf, checked to the byte; signatures are not verified here."""
    if len(leaf) > MAX_LEAF:
        raise LeafTooLarge(f"a leaf has at most {MAX_LEAF} bytes, not {len(leaf)}")
    names = {"payload", "payloadType", "signatures"}
    document = Members(load_canonical_json(leaf, "the envelope"), names, "the envelope")
    if document.text("payloadType") != PAYLOAD_TYPE:
        raise MalformedStatement(
            f"the envelope holds {document.text('payloadType')!r}, not {PAYLOAD_TYPE!r}"
        )
    signatures = []
    for item in document.items("signatures"):
        member = Members(item, {"keyid", "sig"}, "a signature of the envelope")
        signature = _base64(member.text("sig"), "a signature")
        signatures.append(EnvelopeSignature(member.text("keyid"), signature))
    if not signatures:
        raise MalformedStatement("the envelope has no signatures")
    return _base64(document.text("payload"), "the payload"), tuple(signatures)


def open_envelope(leaf: bytes, verify_keys: Sequence[VerifierKey]) -> Envelope:
    """The statement of a leaf, signed by at least one of ``verify_keys``.

    A signature of a known key that fails raises :class:`InvalidSignature`; signatures of other
    keys are reported as unknown.
    """
    payload, signatures = parse_envelope(leaf)
    keys = {key.label: key for key in verify_keys}
    signed = pae(PAYLOAD_TYPE, payload)
    verified, unknown = [], []
    for item in signatures:
        key = keys.get(item.keyid)
        if key is None:
            unknown.append(item.keyid)
        elif key.verify_raw(signed, item.signature):
            verified.append(item.keyid)
        else:
            raise InvalidSignature(f"the signature of {item.keyid} does not fit the entry")
    if not verified:
        raise InvalidSignature(
            f"the entry is signed by {', '.join(unknown)}, by none of the keys given"
        )
    value = load_canonical_json(payload, "the statement")
    _check_statement(value)
    return Envelope(payload, value, signatures, tuple(verified), tuple(unknown))


def _check_statement(value: Any) -> None:
    members = Members(value, {"_type", "subject", "predicateType", "predicate"}, "the statement")
    for name, expected in (("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)):
        if members.text(name) != expected:
            raise MalformedStatement(f"{name} of the statement is {value[name]!r}, not {expected}")
    if not members.items("subject"):
        raise MalformedStatement("a statement names at least one subject")
    for item in value["subject"]:
        subject = Members(item, {"name", "digest"}, "a subject")
        subject.text("name")
        Members(subject.value["digest"], {"sha256"}, "the digest of a subject").sha256("sha256")
    Proof.from_dict(value["predicate"])


def _base64(value: str, what: str) -> bytes:
    try:
        return decode_base64(value)
    except ValueError as error:
        raise MalformedStatement(f"{what} of the envelope is not plain base64") from error


def _no_float(text: str) -> Any:
    raise ValueError(f"the number {text} is not an integer")
