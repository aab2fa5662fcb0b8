"""The key that signs the log: in a file that only its owner can read, or in OpenBao.

Invariant: a log has one key at a time, from its genesis on, and another only by an entry that both
have signed. Nothing is made where a key is to be: a missing one is an error, since a new key would
be a new log. A file's key that the log was handed on from is deleted once that is on disk.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from proofs.checkpoint import Signer, SignerKey, VerifierKey
from runtime.data_folder import DataFolder, write_whole
from runtime.errors import FolderError
from runtime.transit_key import TransitKey
from runtime.transit_signer import Signing, TransitSigner

CUSTODY = "file (0600): whoever can read it can sign as this log"


class Bao(Signing, Protocol):
    """A session at OpenBao, as far as the log's key is concerned."""

    address: str

    def transit(self, mount: str, name: str) -> TransitKey:
        """Raises :class:`runtime.errors.OpenBaoError`."""


@dataclass(frozen=True, slots=True)
class Transit:
    """The key of OpenBao's transit engine that is to sign the log."""

    bao: Bao
    mount: str
    name: str


@dataclass(frozen=True, slots=True)
class LogKey:
    """What signs as the log's key now; ``successor`` is what the log is to be handed to, and
    ``custody`` says where the key is once it was."""

    signer: Signer
    successor: Signer | None
    custody: str


def open_log_key(
    folder: DataFolder,
    base: str,
    organisation: str,
    transit: Transit | None,
    *,
    founding: bool,
    current: VerifierKey | None = None,
) -> LogKey:
    """The log's key; a new log's when ``founding``. ``current`` is the key that the log was handed
    to last, if it ever was.

    Raises :class:`FolderError` without it, and :class:`runtime.errors.OpenBaoError`.
    """
    name = f"{urlsplit(base).netloc}/{organisation}/{secrets.token_hex(4)}"
    if transit is not None:
        return _in_transit(folder, transit, current, name if founding else None)
    if not folder.log_key.exists() and founding:
        made = SignerKey.generate(name)
        write_whole(folder.log_key, made.export() + "\n", 0o600)
    signer = _in_file(folder)
    if signer is None or current not in (None, signer.verifier):
        raise FolderError(
            f"the log's key {folder.log_key} is missing: put it back from a backup, or set"
            " FRACTALOPS_OPENBAO and FRACTALOPS_OPENBAO_LOG_KEY if it is in OpenBao. Without it the"
            " log cannot go on, since a new key would be a new log"
        )
    if not folder.log_verifier.exists():
        publish_keys(folder, [signer.verifier])
    return LogKey(signer, None, CUSTODY)


def publish_keys(folder: DataFolder, keys: Sequence[VerifierKey]) -> None:
    """Writes the log's public keys where people find them: the present one (the last) in
    ``log.pub``, those before it in ``log.former.pub``, one a line."""
    *former, current = keys
    texts = [(folder.former_verifiers, former), (folder.log_verifier, [current])]
    for path, several in texts:
        text = "".join(f"{key}\n" for key in several)
        if text and (not path.exists() or path.read_text() != text):
            write_whole(path, text, 0o644)


def forget_file_key(folder: DataFolder, current: VerifierKey) -> bool:
    """Deletes the file's key where the log's is another one by now; whether there was one."""
    signer = _in_file(folder)
    if signer is None or signer.verifier == current:
        return False
    folder.log_key.unlink()
    return True


def _in_file(folder: DataFolder) -> SignerKey | None:
    path = folder.log_key
    if not path.exists():
        return None
    path.chmod(0o600)
    return SignerKey.parse(path.read_text().strip())


def _in_transit(
    folder: DataFolder, transit: Transit, current: VerifierKey | None, founded: str | None
) -> LogKey:
    key = transit.bao.transit(transit.mount, transit.name)
    place = f"{transit.mount}/keys/{transit.name} at {transit.bao.address}"

    def signer(version: int, name: str) -> TransitSigner:
        verifier = VerifierKey(name, key.versions[version])
        return TransitSigner(transit.bao, transit.mount, transit.name, version, verifier)

    custody = f"OpenBao transit ({place}): the private key never leaves it"
    in_file = _in_file(folder)
    if current is None and folder.log_verifier.exists():
        current = VerifierKey.parse(folder.log_verifier.read_text().strip())
    if current is None and in_file is not None:
        current = in_file.verifier
    if current is None:
        if founded is None:
            raise FolderError(
                f"{folder.log_verifier}, the log's public key, is missing: put it back from a"
                " backup. Without it nobody knows which version of a key is the log's"
            )
        opened = signer(key.latest, founded)
        # Before the first entry: its name is found again after a crash.
        publish_keys(folder, [opened.verifier])
        return LogKey(opened, None, custody)
    version = key.version_of(current.public_key)
    newest = signer(key.latest, current.name)
    if version is not None:
        if version < key.oldest:
            raise FolderError(
                f"the log's key is version {version} of {place}, which signs nothing since"
                " min_encryption_version was raised: lower it, start once so that the log is handed"
                " to the newest version, and raise it again"
            )
        now = signer(version, current.name)
        return LogKey(now, newest if version != key.latest else None, custody)
    if in_file is not None and in_file.verifier == current:
        return LogKey(in_file, newest, custody)
    raise FolderError(
        f"the log's key {current.label} is no version of {place}, nor is it in {folder.log_key}:"
        " name the OpenBao, the transit engine and the key that the log is signed with. Without it"
        " the log cannot go on, since a new key would be a new log"
    )
