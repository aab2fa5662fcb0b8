"""Where the log's key is: in a file, in OpenBao, on its way from one to the other, or missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from proofs.checkpoint import SignerKey, VerifierKey
from proofs.errors import SignerFailed
from runtime.data_folder import DataFolder
from runtime.errors import FolderError, OpenBaoAway
from runtime.log_key import (
    CUSTODY,
    LogKey,
    Transit,
    forget_file_key,
    open_log_key,
    publish_keys,
)
from runtime.transit_key import TransitKey
from runtime.transit_signer import TransitSigner

BASE = "https://graph.example.org"
SEEDS = {1: bytes(range(32)), 2: bytes(range(1, 33))}


class Versions:
    """The transit engine's arithmetic, with keys that are known: the real one is in tests/live."""

    address = "https://bao.example.org"

    def __init__(self, latest: int = 1, oldest: int = 1) -> None:
        self.keys = {n: SignerKey("any", SEEDS[n]) for n in range(1, latest + 1)}
        self.latest, self.oldest = latest, oldest
        self.away = False
        self.signs_with: SignerKey | None = None

    def transit(self, mount: str, name: str) -> TransitKey:
        public = {n: key.verifier.public_key for n, key in self.keys.items()}
        return TransitKey(public, self.latest, self.oldest)

    def sign(self, mount: str, name: str, version: int, message: bytes) -> bytes:
        if self.away:
            raise OpenBaoAway("it is away")
        return (self.signs_with or self.keys[version]).sign_raw(message)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path)


def opened(
    folder: DataFolder,
    bao: Versions | None = None,
    *,
    founding: bool = False,
    current: VerifierKey | None = None,
) -> LogKey:
    transit = Transit(bao, "transit", "log") if bao else None
    return open_log_key(folder, BASE, "acme", transit, founding=founding, current=current)


def test_a_files_key_is_made_once(folder: DataFolder) -> None:
    made = opened(folder, founding=True)
    assert made.signer.name.startswith("graph.example.org/acme/")
    assert (made.custody, made.successor) == (CUSTODY, None)
    assert folder.log_key.stat().st_mode & 0o777 == 0o600
    assert opened(folder).signer == made.signer
    assert VerifierKey.parse(folder.log_verifier.read_text().strip()) == made.signer.verifier
    folder.log_key.unlink()
    with pytest.raises(FolderError, match="set FRACTALOPS_OPENBAO"):
        opened(folder)


def test_a_key_that_the_log_was_handed_on_from_signs_no_more(folder: DataFolder) -> None:
    made = opened(folder, founding=True)
    other = SignerKey(made.signer.name, SEEDS[1]).verifier
    with pytest.raises(FolderError, match="is missing"):
        opened(folder, current=other)
    assert not forget_file_key(folder, made.signer.verifier)
    assert folder.log_key.exists()
    assert forget_file_key(folder, other)
    assert not folder.log_key.exists()
    assert not forget_file_key(folder, other)


def test_a_log_that_is_founded_in_transit_keeps_its_name(folder: DataFolder) -> None:
    made = opened(folder, Versions(), founding=True)
    assert isinstance(made.signer, TransitSigner)
    assert made.signer.version == 1
    assert "transit/keys/log at https://bao.example.org" in made.custody
    # A crash before the first entry, then a start like any other.
    assert opened(folder, Versions(), founding=True).signer.verifier == made.signer.verifier
    assert opened(folder, Versions()).signer.verifier == made.signer.verifier
    folder.log_verifier.unlink()
    with pytest.raises(FolderError, match="the log's public key, is missing"):
        opened(folder, Versions())


def test_a_newer_version_is_the_successor_and_not_the_signer(folder: DataFolder) -> None:
    first = opened(folder, Versions(), founding=True).signer
    found = opened(folder, Versions(latest=2))
    assert found.signer.verifier == first.verifier
    assert isinstance(found.successor, TransitSigner)
    assert (found.successor.version, found.successor.name) == (2, first.name)
    after = opened(folder, Versions(latest=2), current=found.successor.verifier)
    assert after.signer.verifier == found.successor.verifier
    assert after.successor is None
    with pytest.raises(FolderError, match="min_encryption_version was raised"):
        opened(folder, Versions(latest=2, oldest=2))


def test_a_files_key_is_followed_by_transit(folder: DataFolder) -> None:
    made = opened(folder, founding=True)
    found = opened(folder, Versions(latest=2))
    assert found.signer == made.signer
    assert isinstance(found.successor, TransitSigner)
    assert found.successor.version == 2
    folder.log_key.unlink()
    with pytest.raises(FolderError, match="is no version of transit/keys/log"):
        opened(folder, Versions(latest=2))


def test_the_public_keys_are_where_people_find_them(folder: DataFolder) -> None:
    keys = [SignerKey("graph.example.org/x", bytes([n]) * 32).verifier for n in range(3)]
    publish_keys(folder, keys[:1])
    assert not folder.former_verifiers.exists()
    publish_keys(folder, keys)
    assert folder.log_verifier.read_text() == f"{keys[2]}\n"
    assert folder.former_verifiers.read_text() == f"{keys[0]}\n{keys[1]}\n"


def test_a_signature_that_does_not_verify_is_none(folder: DataFolder) -> None:
    bao = Versions()
    signer = opened(folder, bao, founding=True).signer
    assert signer.verifier.verify_raw(b"message", signer.sign_raw(b"message"))
    bao.signs_with = SignerKey("any", SEEDS[2])
    with pytest.raises(SignerFailed, match=r"is no\s+signature of"):
        signer.sign_raw(b"message")
    bao.away = True
    with pytest.raises(SignerFailed, match=r"nothing was changed.*it is away"):
        signer.sign_raw(b"message")
