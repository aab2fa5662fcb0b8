"""Seals a payload: what is kept of it, and what can be proved and erased later.

Invariant: the commitment of a batch is SHA-256 over a secret random salt and the payload, so that
it can stand in the public log for good without letting anybody guess what it commits to; with the
batch's own key and salt destroyed, the commitment stays valid and the payload is gone.
Encryption: AES-256-GCM, one random key for each batch
(https://nvlpubs.nist.gov/nistpubs/Legacy/SP/nistspecialpublication800-38d.pdf).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ingest.errors import EvidenceCorrupt

# A key seals one batch only, so its nonce may stay the same (SP 800-38D, 8.2: unique for each key).
_NONCE = bytes(12)
_KEY_BYTES = 32
_SALT_BYTES = 32
_COMPRESSION_LEVEL = 1
_MAX_PLAIN = 1 << 31


@dataclass(frozen=True)
class Secret:
    """What opens a sealed batch, and what erasing destroys."""

    key: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    payload_sha256: str


@dataclass(frozen=True)
class Sealed:
    """A payload as it lies on disk: ``digest`` is the commitment, ``size`` the plain length."""

    digest: str
    size: int
    ciphertext: bytes = field(repr=False)
    secret: Secret


@dataclass(frozen=True)
class EvidenceBatch:
    """What is known of a batch without opening it.

    ``received_at`` is in nanoseconds since 1970-01-01 UTC; ``payload_sha256`` (64 hexadecimal
    digits, of the payload after Content-Encoding was undone) is ``None`` once it was erased;
    ``key`` and ``trusted`` are those of the :class:`ingest.sender.Sender`.
    """

    seq: int
    digest: str
    project: str
    source: str
    content_type: str
    size: int
    received_at: int
    payload_sha256: str | None
    key: str = ""
    trusted: bool = True


def seal(payload: bytes, random: Callable[[int], bytes]) -> Sealed:
    """Commit to a payload, compress and encrypt it. ``random(n)`` gives n secret random bytes."""
    key, salt = random(_KEY_BYTES), random(_SALT_BYTES)
    digest = commitment(salt, payload)
    packed = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL).compress(payload)
    return Sealed(
        digest=digest,
        size=len(payload),
        ciphertext=AESGCM(key).encrypt(_NONCE, packed, digest.encode()),
        secret=Secret(key=key, salt=salt, payload_sha256=hashlib.sha256(payload).hexdigest()),
    )


def unseal(digest: str, ciphertext: bytes, secret: Secret) -> bytes:
    """The payload of a batch, checked against its commitment; :class:`EvidenceCorrupt` if not."""
    try:
        packed = AESGCM(secret.key).decrypt(_NONCE, ciphertext, digest.encode())
        payload = zstandard.ZstdDecompressor().decompress(packed, max_output_size=_MAX_PLAIN)
    except (InvalidTag, ValueError, zstandard.ZstdError) as error:
        raise _damaged(digest) from error
    if not hmac.compare_digest(commitment(secret.salt, payload), digest):
        raise _damaged(digest)
    return payload


def commitment(salt: bytes, payload: bytes) -> str:
    """``sha256:`` and 64 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(salt + payload).hexdigest()


def _damaged(digest: str) -> EvidenceCorrupt:
    return EvidenceCorrupt(
        f"evidence batch {digest} does not match its commitment: the inbox was damaged or altered;"
        " restore it from a backup"
    )
