"""Signed notes and their keys, all under Ed25519.

Invariant: what this module accepts has exactly one spelling; base64 with stray bits, leading
zeroes, control characters and the like are refused, so that no byte of a note can change unseen
by a verifier that knows its keys.
Specifications: https://c2sp.org/signed-note, https://c2sp.org/tlog-cosignature (the signature type
of witnesses)
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidSignature as CryptographyInvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from proofs.errors import InvalidSignature, MalformedKey, MalformedNote
from proofs.merkle import MAX_SIZE

ED25519 = 0x01
"""Signature type of a plain Ed25519 note signature."""
COSIGNATURE_V1 = 0x04
"""Signature type of a timestamped Ed25519 witness cosignature."""

MAX_SIGNATURES = 100
"""Notes with more signature lines are refused, as Go's sumdb/note does."""

_SIGNATURE_PREFIX = "\u2014 "
_ALGORITHMS = {ED25519: "Ed25519", COSIGNATURE_V1: "cosignature/v1"}
_KEY_ID = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class VerifierKey:
    """A public key with a name and a signature type, written ``name+hash+base64``."""

    name: str
    public_key: bytes
    algorithm: int = ED25519

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.algorithm not in _ALGORITHMS:
            raise MalformedKey(
                f"key {self.name!r} has signature type {self.algorithm:#04x}; "
                "use Ed25519 (0x01) or cosignature/v1 (0x04)"
            )
        if len(self.public_key) != 32:
            raise MalformedKey(f"an Ed25519 public key has 32 bytes, not {len(self.public_key)}")

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256 over name, newline, signature type and public key."""
        material = bytes([self.algorithm]) + self.public_key
        return hashlib.sha256(self.name.encode() + b"\n" + material).digest()[:4]

    @property
    def label(self) -> str:
        """``name+hash``: what names this key in a note signature and as DSSE ``keyid``."""
        return f"{self.name}+{self.key_id.hex()}"

    def __str__(self) -> str:
        material = bytes([self.algorithm]) + self.public_key
        return f"{self.label}+{base64.b64encode(material).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key written as ``name+hash+base64``; :class:`MalformedKey` says what is wrong."""
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise MalformedKey("a verifier key reads name+hash+base64; copy the whole line")
        name, key_id, encoded = parts
        material = _decode_key(encoded)
        key = cls(name, material[1:], material[0])
        if not _KEY_ID.fullmatch(key_id) or key.key_id.hex() != key_id:
            raise MalformedKey(
                f"the hash of verifier key {name!r} is {key.key_id.hex()}, not {key_id!r}; "
                "a part of the line was changed"
            )
        return key

    def verify_raw(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` (64 bytes) is this key's Ed25519 signature of ``message``."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (CryptographyInvalidSignature, ValueError):
            return False
        return True

    def verify_text(self, text: str, signature: bytes) -> bool:
        """Whether ``signature`` is this key's note signature, of its type, over ``text``."""
        if self.algorithm == ED25519:
            return self.verify_raw(text.encode(), signature)
        if len(signature) != 72:
            return False
        time = int.from_bytes(signature[:8], "big")
        return time <= MAX_SIZE and self.verify_raw(cosigned_message(text, time), signature[8:])


class Signer(Protocol):
    """What signs as a key: the key itself, or a service that keeps it."""

    @property
    def name(self) -> str:
        """The key's name."""

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""

    def sign_raw(self, message: bytes) -> bytes:
        """The Ed25519 signature of ``message``, 64 bytes; a service raises
        :class:`proofs.errors.SignerFailed` where it has none to give."""


@dataclass(frozen=True)
class SignerKey:
    """A private key with a name and a signature type, written ``PRIVATE+KEY+name+hash+base64``.

    The seed never shows in ``repr``.
    """

    name: str
    seed: bytes = field(repr=False)
    algorithm: int = ED25519

    def __post_init__(self) -> None:
        if len(self.seed) != 32:
            raise MalformedKey(f"an Ed25519 private key has 32 bytes, not {len(self.seed)}")
        _check_name(self.name)

    @classmethod
    def generate(cls, name: str, algorithm: int = ED25519) -> SignerKey:
        """A fresh key from the operating system's randomness."""
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw(), algorithm)

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return VerifierKey(self.name, public, self.algorithm)

    def export(self) -> str:
        """The secret text form; keep it in a file that only its owner can read."""
        material = base64.b64encode(bytes([self.algorithm]) + self.seed).decode()
        return f"PRIVATE+KEY+{self.verifier.label}+{material}"

    @classmethod
    def parse(cls, text: str) -> SignerKey:
        """The key that :meth:`export` wrote; errors never repeat the text."""
        parts = text.split("+", 4)
        if len(parts) != 5 or parts[:2] != ["PRIVATE", "KEY"]:
            raise MalformedKey("a signer key reads PRIVATE+KEY+name+hash+base64")
        name, key_id, encoded = parts[2:]
        material = _decode_key(encoded)
        key = cls(name, material[1:], material[0])
        if key.verifier.key_id.hex() != key_id:
            raise MalformedKey(f"the hash of signer key {name!r} does not belong to its key")
        return key

    def sign_raw(self, message: bytes) -> bytes:
        """The Ed25519 signature of ``message``, 64 bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)


@dataclass(frozen=True)
class NoteSignature:
    """One signature line: the signer's name, its key id (4 bytes) and the signature's bytes."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """The line as it stands in a note, with its newline."""
        encoded = base64.b64encode(self.key_id + self.signature).decode()
        return f"{_SIGNATURE_PREFIX}{self.name} {encoded}\n"

    def is_by(self, key: VerifierKey) -> bool:
        """Whether name and key id are those of ``key``; it says nothing about validity."""
        return self.name == key.name and self.key_id == key.key_id

    @property
    def timestamp(self) -> int | None:
        """POSIX seconds of a cosignature; None when the bytes can't be one."""
        return int.from_bytes(self.signature[:8], "big") if len(self.signature) == 72 else None

    @classmethod
    def parse(cls, line: str) -> NoteSignature:
        """The signature of one line without its newline."""
        if not line.startswith(_SIGNATURE_PREFIX):
            raise MalformedNote(f"a signature line starts with an em dash and a space: {line!r}")
        name, separator, encoded = line[len(_SIGNATURE_PREFIX) :].partition(" ")
        if not separator or not _valid_name(name):
            raise MalformedNote(f"a signature line reads '\u2014 name base64', not {line!r}")
        try:
            data = decode_base64(encoded)
        except ValueError as error:
            raise MalformedNote(f"the signature of {name!r} is not plain base64") from error
        if len(data) < 5:
            raise MalformedNote(f"the signature of {name!r} has only {len(data)} bytes")
        return cls(name, data[:4], data[4:])


@dataclass(frozen=True)
class Note:
    """A text that ends in a newline, and the signatures below it."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(item.line() for item in self.signatures)

    def verified(self, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
        """The keys among ``keys`` that signed this note.

        A signature line of a known key that does not verify raises :class:`InvalidSignature`;
        lines of unknown keys are ignored, as the specification asks.
        """
        valid = []
        for key in keys:
            lines = [item for item in self.signatures if item.is_by(key)]
            for item in lines:
                if not key.verify_text(self.text, item.signature):
                    raise InvalidSignature(f"the signature of {key.label} does not fit the text")
            if lines:
                valid.append(key)
        return valid


def parse_note(data: str | bytes) -> Note:
    """Read a signed note, strictly; signatures are not checked here."""
    try:
        note = data.decode() if isinstance(data, bytes) else data
        note.encode()
    except UnicodeError as error:
        raise MalformedNote("a note is valid UTF-8 text") from error
    if any(character < " " and character != "\n" for character in note):
        raise MalformedNote("a note holds no control characters other than newlines")
    body, separator, block = note.rpartition("\n\n")
    if not separator or not block.endswith("\n"):
        raise MalformedNote("a note is a text, an empty line and signature lines, each ended")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise MalformedNote(f"a note has at most {MAX_SIGNATURES} signatures, not {len(lines)}")
    return Note(body + "\n", tuple(NoteSignature.parse(line) for line in lines))


def sign_note(text: str, signers: Sequence[Signer]) -> str:
    """The signed note of ``text`` (it ends in a newline) with one signature per signer."""
    if not text.endswith("\n"):
        raise MalformedNote("the text of a note ends in a newline")
    signatures = []
    for signer in signers:
        verifier = signer.verifier
        if verifier.algorithm != ED25519:
            raise MalformedKey(f"{verifier.label} is a witness key; it cosigns, see cosign()")
        signed = signer.sign_raw(text.encode())
        signatures.append(NoteSignature(verifier.name, verifier.key_id, signed))
    return str(parse_note(str(Note(text, tuple(signatures)))))


def cosigned_message(text: str, time: int) -> bytes:
    """What a witness signs: the header line, the time line and the note's text."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def decode_base64(text: str) -> bytes:
    """The bytes of standard base64 in its one canonical spelling; ``ValueError`` otherwise."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
    if base64.b64encode(data).decode() != text:
        raise ValueError("base64 with stray bits")
    return data


def _decode_key(encoded: str) -> bytes:
    try:
        material = decode_base64(encoded)
    except ValueError:
        raise MalformedKey("the last part of a key is plain base64; copy the whole line") from None
    if len(material) != 33:
        raise MalformedKey(f"a key is a type byte and 32 bytes, not {len(material)} bytes")
    return material


def _valid_name(name: str) -> bool:
    return bool(name) and not any(
        character == "+" or character.isspace() or character < " " for character in name
    )


def _check_name(name: str) -> None:
    if not _valid_name(name):
        raise MalformedKey(f"a key name has no spaces, no plus sign and is not empty: {name!r}")
