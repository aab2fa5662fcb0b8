"""The key that signs the log, in a file that only its owner can read.

Invariant: a log has one key from its genesis on. It is made once, for a folder without entries, and
never replaced silently: a new key would be a new log.
"""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from proofs.checkpoint import SignerKey
from runtime.data_folder import DataFolder, write_whole
from runtime.errors import FolderError

CUSTODY = "file (0600): whoever can read it can sign as this log"


def open_log_key(folder: DataFolder, base: str, organisation: str, *, founding: bool) -> SignerKey:
    """The folder's key; a new one when ``founding``. Raises :class:`FolderError` without it."""
    path = folder.log_key
    if path.exists():
        path.chmod(0o600)
        signer = SignerKey.parse(path.read_text().strip())
    elif founding:
        name = f"{urlsplit(base).netloc}/{organisation}/{secrets.token_hex(4)}"
        signer = SignerKey.generate(name)
        write_whole(path, signer.export() + "\n", 0o600)
    else:
        raise FolderError(
            f"the log's key {path} is missing: put it back from a backup. Without it the log cannot"
            " go on, since a new key would be a new log"
        )
    if not folder.log_verifier.exists():
        write_whole(folder.log_verifier, f"{signer.verifier}\n", 0o644)
    return signer
