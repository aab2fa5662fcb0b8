"""The keys that the stewards of one place sign with, in files that only their owner can read.

Invariant: a key is on disk, whole, before anything speaks of it, and no file is ever replaced or
removed here. Which key holds is said by the governance graph alone: one that it doesn't name yet is
the next to be enrolled, so that a crash between file and proposal leaves nothing to mend.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from proofs.checkpoint import SignerKey
from proofs.errors import MalformedKey
from runtime.data_folder import write_whole

LOGGER = logging.getLogger(__name__)

CUSTODY = "files (0600): whoever can read them can sign as these stewards"


class StewardKeys:
    """The stewards' keys in a folder called ``keys``, the data folder's or a worker's own; ``base``
    is the organisation's. Any thread may use it."""

    def __init__(self, folder: Path, base: str) -> None:
        self._folder = folder
        self._host = urlsplit(base).netloc
        self._making = threading.RLock()
        self._changed = -1
        self._read: dict[Path, SignerKey] = {}
        self._unreadable: dict[Path, str] = {}

    @property
    def unreadable(self) -> list[str]:
        """What is wrong with files that should hold keys, and what to do, in sentences."""
        self._look()
        return [text for _, text in sorted(self._unreadable.items())]

    def held(self, steward: str) -> list[SignerKey]:
        """The keys of this steward that are here and can be read."""
        return [key for path, key in self._look() if path.name.partition(".")[0] == steward]

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
            self._changed = -1
            return made

    def _look(self) -> list[tuple[Path, SignerKey]]:
        """Every key, by file; files are read once, and looked for anew where some came or went."""
        with self._making:
            try:
                changed = self._folder.stat().st_mtime_ns
            except FileNotFoundError:
                return []
            if changed != self._changed:
                known, self._read, self._unreadable = self._read, {}, {}
                for path in sorted(self._folder.glob("*.*.key")):
                    key = known.get(path) or self._key(path)
                    if key is not None:
                        self._read[path] = key
                self._changed = changed
            return list(self._read.items())

    def _key(self, path: Path) -> SignerKey | None:
        try:
            path.chmod(0o600)
            return SignerKey.parse(path.read_text().strip())
        except (OSError, UnicodeError, MalformedKey) as error:
            self._unreadable[path] = (
                f"the steward's key {self._folder.name}/{path.name} cannot be read"
                f" ({type(error).__name__}): put it back from a backup, or move it away and make"
                " another with 'fractalops stewards rotate-key'"
            )
            LOGGER.warning("%s", self._unreadable[path])
            return None
