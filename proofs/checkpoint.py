"""Checkpoints of the log and the cosignatures of its witnesses.

Invariant: a checkpoint is only ever opened with the key of its own origin, and a cosignature counts
only under a key that the verifier was configured with.
Specifications: https://c2sp.org/tlog-checkpoint, https://c2sp.org/tlog-cosignature,
https://c2sp.org/tlog-witness
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proofs.errors import InvalidSignature, MalformedCheckpoint, MalformedKey, MalformedNote
from proofs.merkle import HASH_SIZE, MAX_SIZE
from proofs.note import (
    COSIGNATURE_V1,
    ED25519,
    Note,
    NoteSignature,
    Signer,
    SignerKey,
    VerifierKey,
    cosigned_message,
    decode_base64,
    parse_note,
    sign_note,
)

__all__ = [
    "COSIGNATURE_V1",
    "ED25519",
    "Checkpoint",
    "Note",
    "NoteSignature",
    "Signer",
    "SignerKey",
    "VerifierKey",
    "add_cosignature",
    "cosign",
    "cosigners",
    "decode_base64",
    "open_checkpoint",
    "parse_note",
    "sign_checkpoint",
    "sign_note",
]

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class Checkpoint:
    """A tree head: the log's origin, its size in leaves and its root hash (32 bytes)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE:
            raise MalformedCheckpoint(f"a tree size lies between 0 and 2**63 - 1: {self.size}")
        if len(self.root) != HASH_SIZE:
            raise MalformedCheckpoint(f"a root hash has 32 bytes, not {len(self.root)}")
        for line in (self.origin, *self.extensions):
            if not line or "\n" in line:
                raise MalformedCheckpoint("origin and extensions are lines, none of them empty")

    def text(self) -> str:
        """The note text, with its final newline."""
        root = base64.b64encode(self.root).decode()
        return "\n".join([self.origin, str(self.size), root, *self.extensions]) + "\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint in a note's text (not in the whole note)."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() != "":
            raise MalformedCheckpoint("a checkpoint has three lines or more, each ended")
        origin, size, encoded, *extensions = lines
        if not _DECIMAL.fullmatch(size):
            raise MalformedCheckpoint(f"the tree size is a plain decimal number, not {size!r}")
        try:
            root = decode_base64(encoded)
        except ValueError as error:
            raise MalformedCheckpoint(f"the root hash is not plain base64: {encoded!r}") from error
        return cls(origin, int(size), root, tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, *signers: Signer) -> str:
    """The signed note of a checkpoint; the log's key is named after its origin. Where a log is
    handed on, the keys before and after sign."""
    for signer in signers:
        if checkpoint.origin != signer.name:
            raise MalformedCheckpoint(
                f"key {signer.name!r} signs checkpoints of its own origin, not"
                f" {checkpoint.origin!r}"
            )
    return sign_note(checkpoint.text(), signers)


def open_checkpoint(note: str | bytes, log_key: VerifierKey) -> Checkpoint:
    """The checkpoint in a note that ``log_key`` signed.

    :class:`InvalidSignature` when it did not, or when the origin is another log's.
    """
    parsed = parse_note(note)
    if not parsed.verified([log_key]):
        raise InvalidSignature(f"the checkpoint carries no signature of {log_key.label}")
    checkpoint = Checkpoint.parse(parsed.text)
    if checkpoint.origin != log_key.name:
        raise InvalidSignature(
            f"the checkpoint is of origin {checkpoint.origin!r}, the key of {log_key.name!r}"
        )
    return checkpoint


def cosign(note: str | bytes, signer: SignerKey, time: int) -> str:
    """The cosignature line of a witness at POSIX second ``time`` over a signed checkpoint.

    The caller has verified that the checkpoint is consistent with every one it cosigned before;
    that is the whole meaning of the line.
    """
    parsed = parse_note(note)
    Checkpoint.parse(parsed.text)
    verifier = signer.verifier
    if verifier.algorithm != COSIGNATURE_V1:
        raise MalformedKey(f"{verifier.label} is no witness key (signature type 0x04)")
    if not 0 <= time <= MAX_SIZE:
        raise MalformedNote(f"a cosignature's time is a POSIX second, not {time}")
    signed = time.to_bytes(8, "big") + signer.sign_raw(cosigned_message(parsed.text, time))
    return NoteSignature(verifier.name, verifier.key_id, signed).line()


def add_cosignature(note: str, line: str, witnesses: Sequence[VerifierKey]) -> str:
    """The note with a cosignature line added, after checking it against ``witnesses``.

    A line of the same witness that is already there is replaced when the new one is younger.
    :class:`InvalidSignature` when the line is of no configured witness or does not verify.
    """
    parsed = parse_note(note)
    signature = NoteSignature.parse(line[:-1] if line.endswith("\n") else line)
    witness = next((key for key in witnesses if signature.is_by(key)), None)
    if witness is None or witness.algorithm != COSIGNATURE_V1:
        raise InvalidSignature(
            f"{signature.name}+{signature.key_id.hex()} is no configured witness; "
            "configure its verifier key first"
        )
    if not witness.verify_text(parsed.text, signature.signature):
        raise InvalidSignature(
            f"the cosignature of {witness.label} does not fit this checkpoint; "
            "cosign the checkpoint that is current"
        )
    kept = []
    for item in parsed.signatures:
        if not item.is_by(witness):
            kept.append(item)
        elif (item.timestamp or 0) >= (signature.timestamp or 0):
            return note
    return str(parse_note(str(Note(parsed.text, (*kept, signature)))))


def cosigners(note: Note, witnesses: Iterable[VerifierKey]) -> list[tuple[VerifierKey, int]]:
    """The witnesses among ``witnesses`` that cosigned the note, each with its latest time.

    Keys of another signature type never count. A cosignature of a known witness that does not
    verify raises :class:`InvalidSignature`.
    """
    found = []
    for witness in note.verified(key for key in witnesses if key.algorithm == COSIGNATURE_V1):
        times = [item.timestamp or 0 for item in note.signatures if item.is_by(witness)]
        found.append((witness, max(times)))
    return found
