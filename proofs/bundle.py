"""The proof bundle: everything that a stranger needs to check one log entry, in one document.

Invariant: a bundle has one spelling. It is canonical JSON (RFC 8785) of exactly these members, and
``digest`` is the SHA-256 of the rest, so a changed byte shows even in parts that no signature of a
known key covers, such as the cosignature of a witness the reader doesn't know. Where the author
signed, there is a member more, ``signature``, and the version is 2; all else is as in version 1.
Where the log was handed to another key, there is one more, ``succession``, and the version is 3.
Where the entry is about an order, there is one more, ``order``, and the version is 4.
The format is described in ``docs/proofs.md``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proofs.checkpoint import VerifierKey, decode_base64
from proofs.errors import FormatError, MalformedBundle
from proofs.statement import Members, canonical_json, load_canonical_json

BUNDLE_MEDIA_TYPE = "application/vnd.fractalops.bundle+json"
BUNDLE_VERSION = 1
SIGNED_VERSION = 2
"""The version of bundles with the author's own signature."""
ROTATED_VERSION = 3
"""The version of bundles of a log that was handed to another key."""
ORDER_VERSION = 4
"""The version of bundles of an entry about an order."""

_MEMBERS = {
    *("mediaType", "version", "log", "index", "envelope", "checkpoint", "inclusion", "delta"),
    *("consistency", "digest"),
}


@dataclass(frozen=True)
class Delta:
    """Additions and removals as sorted canonical N-Quads text."""

    additions: str
    removals: str

    @property
    def added(self) -> list[bytes]:
        return self.additions.encode().splitlines(keepends=True)

    @property
    def removed(self) -> list[bytes]:
        return self.removals.encode().splitlines(keepends=True)


@dataclass(frozen=True)
class Consistency:
    """Another signed checkpoint of the same log, and the proof between it and the bundle's own.

    The proof leads from the smaller of the two trees to the larger; hashes have 32 bytes.
    """

    checkpoint: str
    proof: tuple[bytes, ...]


@dataclass(frozen=True)
class Enrolment:
    """The entry that states a key: its index and leaf, the way to the root of the bundle's
    checkpoint, and its additions as sorted canonical N-Quads text."""

    index: int
    leaf: bytes
    inclusion: tuple[bytes, ...]
    additions: str


@dataclass(frozen=True)
class SignedProposal:
    """What the author signed: the envelope, and the change where the entry's own is another;
    ``enrolment`` states the author's key."""

    envelope: bytes
    delta: Delta | None
    enrolment: Enrolment


@dataclass(frozen=True)
class Handover:
    """An entry that hands the log to another key: its index and leaf, and the way to the root of
    the bundle's checkpoint."""

    index: int
    leaf: bytes
    inclusion: tuple[bytes, ...]


@dataclass(frozen=True)
class OrderDocuments:
    """What is to be carried out, and what came of it where the entry says so, as canonical JSON."""

    order: str
    result: str | None


@dataclass(frozen=True)
class Bundle:
    """A read bundle. ``delta`` is None where it was withheld from the reader, ``signature`` where
    the entry's author signed nothing, ``order`` where it is about a change of the graph.
    ``succession`` leads to the log's key from its first."""

    log_key: VerifierKey
    index: int
    leaf: bytes
    checkpoint: str
    inclusion: tuple[bytes, ...]
    delta: Delta | None
    consistency: Consistency | None
    signature: SignedProposal | None = None
    succession: tuple[Handover, ...] = ()
    order: OrderDocuments | None = None


def make_bundle(
    *,
    log_key: VerifierKey,
    index: int,
    leaf: bytes,
    checkpoint: str,
    inclusion: Sequence[bytes],
    delta: Delta | None,
    consistency: Consistency | None = None,
    signature: SignedProposal | None = None,
    succession: Sequence[Handover] = (),
    order: OrderDocuments | None = None,
) -> bytes:
    """The bundle of one entry; ``leaf`` is the exact bytes of its envelope.

    ``checkpoint`` is the signed note, with any cosignatures, that ``inclusion`` leads to.
    """
    body: dict[str, Any] = {
        "mediaType": BUNDLE_MEDIA_TYPE,
        "version": _version(
            signed=signature is not None, rotated=bool(succession), orders=order is not None
        ),
        "log": {"key": str(log_key)},
        "index": index,
        "envelope": base64.b64encode(leaf).decode(),
        "checkpoint": checkpoint,
        "inclusion": _texts(inclusion),
        "delta": _halves(delta),
        "consistency": consistency
        and {
            "checkpoint": consistency.checkpoint,
            "proof": _texts(consistency.proof),
        },
    }
    if signature is not None:
        enrolment = signature.enrolment
        body["signature"] = {
            "envelope": base64.b64encode(signature.envelope).decode(),
            "delta": _halves(signature.delta),
            "enrolment": {
                "index": enrolment.index,
                "envelope": base64.b64encode(enrolment.leaf).decode(),
                "inclusion": _texts(enrolment.inclusion),
                "additions": enrolment.additions,
            },
        }
    if succession:
        body["succession"] = [
            {
                "index": item.index,
                "envelope": base64.b64encode(item.leaf).decode(),
                "inclusion": _texts(item.inclusion),
            }
            for item in succession
        ]
    if order is not None:
        body["order"] = {"order": order.order, "result": order.result}
    return canonical_json({**body, "digest": body_digest(body)})


def read_bundle(data: bytes) -> Bundle:
    """The parts of a bundle, its format checked to the byte; nothing is verified here."""
    try:
        return parts(load_document(data))
    except (FormatError, ValueError) as error:
        raise MalformedBundle(str(error)) from error


def load_document(data: bytes) -> dict[str, Any]:
    """The members of a bundle, canonical to the byte; its digest is not checked here."""
    document = load_canonical_json(data, "the bundle")
    members = _members(document)
    version = _version(
        signed="signature" in document,
        rotated="succession" in document,
        orders="order" in document,
    )
    if members.text("mediaType") != BUNDLE_MEDIA_TYPE or members.count("version") != version:
        raise MalformedBundle(
            f"this is {members.text('mediaType')} version {members.count('version')}; this program "
            f"reads {BUNDLE_MEDIA_TYPE} version {BUNDLE_VERSION}, version {SIGNED_VERSION} with a"
            f" signature, version {ROTATED_VERSION} with a succession of keys and version"
            f" {ORDER_VERSION} with an order"
        )
    members.sha256("digest")
    return dict(document)


def parts(document: dict[str, Any]) -> Bundle:
    """The values in the members of a bundle."""
    members = _members(document)
    log = Members(document["log"], {"key"}, "the log of the bundle")
    consistency = None
    if document["consistency"] is not None:
        names = {"checkpoint", "proof"}
        second = Members(document["consistency"], names, "the consistency of the bundle")
        consistency = Consistency(second.text("checkpoint"), _hashes(second, "proof"))
    return Bundle(
        log_key=VerifierKey.parse(log.text("key")),
        index=members.count("index"),
        leaf=decode_base64(members.text("envelope")),
        checkpoint=members.text("checkpoint"),
        inclusion=_hashes(members, "inclusion"),
        delta=_delta(document["delta"], "the delta of the bundle"),
        consistency=consistency,
        signature=_signature(document["signature"]) if "signature" in document else None,
        succession=_succession(members) if "succession" in document else (),
        order=_order(document["order"]) if "order" in document else None,
    )


def _members(document: Any) -> Members:
    optional = {"signature", "succession", "order"}
    more = optional & set(document if isinstance(document, Mapping) else ())
    return Members(document, _MEMBERS | more, "the bundle")


def _order(value: Any) -> OrderDocuments:
    members = Members(value, {"order", "result"}, "the order of the bundle")
    return OrderDocuments(members.text("order"), members.optional_text("result"))


def _version(*, signed: bool, rotated: bool, orders: bool) -> int:
    if orders:
        return ORDER_VERSION
    if rotated:
        return ROTATED_VERSION
    return SIGNED_VERSION if signed else BUNDLE_VERSION


def _succession(members: Members) -> tuple[Handover, ...]:
    found = []
    for item in members.items("succession"):
        entry = Members(item, {"index", "envelope", "inclusion"}, "an entry of the succession")
        leaf = decode_base64(entry.text("envelope"))
        found.append(Handover(entry.count("index"), leaf, _hashes(entry, "inclusion")))
    if not found:
        raise MalformedBundle("the succession of keys is empty: a bundle without one has no member")
    return tuple(found)


def _delta(value: Any, what: str) -> Delta | None:
    if value is None:
        return None
    halves = Members(value, {"additions", "removals"}, what)
    return Delta(halves.any_text("additions"), halves.any_text("removals"))


def _signature(value: Any) -> SignedProposal:
    signed = Members(value, {"envelope", "delta", "enrolment"}, "the signature of the bundle")
    names = {"index", "envelope", "inclusion", "additions"}
    enrolment = Members(signed.value["enrolment"], names, "the enrolment of the bundle")
    return SignedProposal(
        decode_base64(signed.text("envelope")),
        _delta(signed.value["delta"], "the delta of the signature"),
        Enrolment(
            enrolment.count("index"),
            decode_base64(enrolment.text("envelope")),
            _hashes(enrolment, "inclusion"),
            enrolment.text("additions"),
        ),
    )


def _halves(delta: Delta | None) -> dict[str, str] | None:
    return None if delta is None else {"additions": delta.additions, "removals": delta.removals}


def _texts(hashes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(item).decode() for item in hashes]


def _hashes(members: Members, name: str) -> tuple[bytes, ...]:
    return tuple(decode_base64(item) for item in members.texts(name))


def body_digest(body: dict[str, Any]) -> str:
    """The SHA-256 of a bundle's members without ``digest``, as canonical JSON."""
    return hashlib.sha256(canonical_json(body)).hexdigest()
