"""Sealing: what can be proved of a payload, and what is gone once its key is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest

from ingest.errors import EvidenceCorrupt
from ingest.evidence import commitment, seal, unseal

PAYLOAD = b"telemetry " * 100


def numbered() -> Callable[[int], bytes]:
    numbers = count()

    def random(size: int) -> bytes:
        return hashlib.shake_128(str(next(numbers)).encode()).digest(size)

    return random


def test_a_sealed_payload_opens_and_matches_its_commitment() -> None:
    sealed = seal(PAYLOAD, numbered())
    assert unseal(sealed.digest, sealed.ciphertext, sealed.secret) == PAYLOAD
    assert sealed.digest == "sha256:" + hashlib.sha256(sealed.secret.salt + PAYLOAD).hexdigest()
    assert sealed.secret.payload_sha256 == hashlib.sha256(PAYLOAD).hexdigest()
    assert sealed.size == len(PAYLOAD)
    assert PAYLOAD not in sealed.ciphertext


def test_equal_payloads_have_commitments_that_say_nothing() -> None:
    random = numbered()
    one, two = seal(PAYLOAD, random), seal(PAYLOAD, random)
    assert one.digest != two.digest
    assert one.ciphertext != two.ciphertext
    assert commitment(b"", PAYLOAD) not in (one.digest, two.digest)


def test_secrets_are_not_shown() -> None:
    sealed = seal(PAYLOAD, numbered())
    assert sealed.secret.key.hex() not in repr(sealed)
    assert repr(sealed.secret.key) not in repr(sealed)
    assert repr(sealed.secret.salt) not in repr(sealed)


def test_any_change_is_noticed() -> None:
    sealed = seal(PAYLOAD, numbered())
    secret = sealed.secret
    flipped = bytes([sealed.ciphertext[0] ^ 1]) + sealed.ciphertext[1:]
    other = "sha256:" + "0" * 64
    for digest, ciphertext, key in (
        (sealed.digest, flipped, secret),
        (sealed.digest, sealed.ciphertext[:-1], secret),
        (sealed.digest, b"", secret),
        (other, sealed.ciphertext, secret),
        (sealed.digest, sealed.ciphertext, replace(secret, key=bytes(32))),
        (sealed.digest, sealed.ciphertext, replace(secret, key=b"short")),
        (sealed.digest, sealed.ciphertext, replace(secret, salt=bytes(32))),
    ):
        with pytest.raises(EvidenceCorrupt, match="restore it from a backup"):
            unseal(digest, ciphertext, key)
