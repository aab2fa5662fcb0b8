"""The keys that the stewards of one place sign with, in files that only their owner can read.

Invariant: a key is on disk, whole, before anything speaks of it, and no file is ever replaced or
removed here. Which key holds is said by the governance graph alone: one that it doesn't name yet is
the next to be enrolled, so that a crash between file and proposal leaves nothing to mend.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from proofs.checkpoint import SignerKey
from proofs.errors import MalformedKey
from runtime.data_folder import write_whole
from runtime.errors import FolderError

CUSTODY = "files (0600): whoever can read them can sign as these stewards"


class StewardKeys:
    """The stewards' keys in a folder called ``keys``, the data folder's or a worker's own; ``base``
    is the organisation's. Any thread may use it."""

    def __init__(self, folder: Path, base: str) -> None:
        self._folder = folder
        self._host = urlsplit(base).netloc
        self._making = threading.Lock()
        self._read: tuple[int, dict[str, list[SignerKey]]] = (-1, {})

    def held(self, steward: str) -> list[SignerKey]:
        """The keys of this steward that are here. Raises :class:`FolderError`."""
        return list(self._all().get(steward, ()))

    def _all(self) -> dict[str, list[SignerKey]]:
        """Every key by steward, read anew where files came or went."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        known, found = self._read
        if known != changed:
            found = {}
            for path in sorted(self._folder.glob("*.*.key")):
                found.setdefault(path.name.partition(".")[0], []).append(_key(path))
            self._read = (changed, found)
        return found

    def active(self, steward: str, named: Collection[str]) -> SignerKey | None:
        """The key here that is among those that hold (their labels); ``None`` where none is."""
        return next((key for key in self.held(steward) if key.verifier.label in named), None)

    def unnamed(self, steward: str, named: Collection[str]) -> SignerKey:
        """A key here that is not among these, made if there is none."""
        with self._making:
            for key in self.held(steward):
                if key.verifier.label not in named:
                    return key
            made = SignerKey.generate(f"{self._host}/{steward}")
            path = self._folder / f"{steward}.{made.verifier.key_id.hex()}.key"
            write_whole(path, made.export() + "\n", 0o600)
            # Two changes within one tick of the clock have one time.
            self._read = (-1, {})
            return made


def _key(path: Path) -> SignerKey:
    try:
        path.chmod(0o600)
        return SignerKey.parse(path.read_text().strip())
    except (OSError, UnicodeError, MalformedKey) as error:
        raise FolderError(
            f"the steward's key {path} cannot be read ({error}): put it back from a backup, or move"
            " it away and make another with 'fractalops stewards rotate-key'"
        ) from error
