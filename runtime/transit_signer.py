"""The log's key in OpenBao's transit engine: it signs there, and never comes here.

Invariant: a signer signs with one version of the transit key, whatever OpenBao has rotated
meanwhile: another version is another key of the log, which an entry must name first. Each signature
is verified before it is used, so that no answer of a stranger gets into the log.
Specification: https://openbao.org/api-docs/secret/transit/#sign-data
"""

from __future__ import annotations

from typing import Protocol

from proofs.checkpoint import VerifierKey
from proofs.errors import SignerFailed
from runtime.errors import OpenBaoError


class Signing(Protocol):
    """What a session at OpenBao does for a signer."""

    def sign(self, mount: str, name: str, version: int, message: bytes) -> bytes:
        """Raises :class:`OpenBaoError`."""


class TransitSigner:
    """Signs as ``verifier``, the public half of ``version`` of the transit key ``mount/name``."""

    def __init__(
        self, bao: Signing, mount: str, name: str, version: int, verifier: VerifierKey
    ) -> None:
        self._bao = bao
        self._mount = mount
        self._key = name
        self.version = version
        self.verifier = verifier

    def __repr__(self) -> str:
        return f"TransitSigner({self.verifier.label!r}, {self._mount!r}, version {self.version})"

    @property
    def name(self) -> str:
        return self.verifier.name

    def sign_raw(self, message: bytes) -> bytes:
        """The Ed25519 signature of ``message``, 64 bytes. Raises :class:`SignerFailed`."""
        try:
            signature = self._bao.sign(self._mount, self._key, self.version, message)
        except OpenBaoError as error:
            raise SignerFailed(f"nothing was changed, for the log cannot be signed: {error}") from (
                error
            )
        if not self.verifier.verify_raw(message, signature):
            raise SignerFailed(
                "nothing was changed, for the log cannot be signed: what OpenBao answered is no"
                f" signature of {self.verifier.label}. Is FRACTALOPS_OPENBAO another one now?"
            )
        return signature
