"""The data folder: its layout, its lock and its keys.

Invariant: one process serves a folder at a time; a folder that a newer version made, or that a
restore left half done, is not touched; secrets in it are readable by their owner alone.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runtime.errors import FolderError

FORMAT = 1


@dataclass(frozen=True)
class DataFolder:
    """Where everything is below one folder."""

    root: Path

    @property
    def journal(self) -> Path:
        return self.root / "journal.sqlite"

    @property
    def index(self) -> Path:
        return self.root / "index.sqlite"

    @property
    def graph(self) -> Path:
        return self.root / "graph"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def inbox(self) -> Path:
        return self.root / "inbox.sqlite"

    @property
    def facts(self) -> Path:
        return self.root / "facts"

    @property
    def stewards(self) -> Path:
        return self.root / "stewards.sqlite"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs.sqlite"

    @property
    def access(self) -> Path:
        return self.root / "access.sqlite"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def log_key(self) -> Path:
        return self.keys / "log.key"

    @property
    def log_verifier(self) -> Path:
        return self.keys / "log.pub"

    @property
    def former_verifiers(self) -> Path:
        return self.keys / "log.former.pub"

    @property
    def operator_token(self) -> Path:
        return self.root / "operator.token"

    @property
    def server(self) -> Path:
        return self.root / "server.json"

    @property
    def format(self) -> Path:
        return self.root / "format.json"

    def open(self) -> IO[bytes]:
        """Makes the folder if need be, checks it and takes its lock, held until the file closes.

        Raises :class:`FolderError`.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / "lock").open("a+b")
        except OSError as error:
            raise FolderError(f"the data folder {self.root} cannot be used: {error}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise FolderError(
                f"another server{self._who()} is using {self.root}: stop it, or give this one a"
                " folder of its own with --data"
            ) from error
        try:
            self._check()
        except FolderError:
            lock.close()
            raise
        return lock

    def _check(self) -> None:
        if (self.root / "restoring").exists():
            raise FolderError(
                f"a restore into {self.root} was cut off: run the same 'fractalops restore' again"
            )
        if not self.format.exists():
            if any(path.exists() for path in (self.journal, self.log_key)):
                return
            # A first start that was cut off early may have left these.
            ours = {"lock", "log", self.scratch.name, self.log_key.parent.name}
            strangers = sorted(p.name for p in self.root.iterdir() if p.name not in ours)
            if strangers:
                raise FolderError(
                    f"{self.root} holds other files ({strangers[0]}) and no journal: give an empty"
                    " folder, or one that 'fractalops up' made"
                )
            return
        try:
            found = json.loads(self.format.read_text())["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FolderError(
                f"{self.format} cannot be read ({error}): put it back from a backup, or delete it"
                " to have it written again"
            ) from error
        if not isinstance(found, int) or found > FORMAT:
            raise FolderError(
                f"{self.root} was made by a newer version (format {found}, known is {FORMAT}):"
                " install that version"
            )
        if not self.journal.exists():
            raise FolderError(
                f"{self.journal} is missing, and it is the truth: put it back, or restore a backup"
                " (fractalops restore). Going on would begin another history"
            )

    def _who(self) -> str:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return f" (process {json.loads(self.server.read_text())['pid']})"
        return ""

    def write_format(self, base: str) -> None:
        if not self.format.exists():
            write_whole(self.format, json.dumps({"format": FORMAT, "base": base}) + "\n", 0o644)

    def announce(self, url: str) -> None:
        """Tells the command line where this folder's server answers."""
        document = json.dumps({"url": url, "pid": os.getpid()})
        write_whole(self.server, document + "\n", 0o644)

    def retire(self) -> None:
        self.server.unlink(missing_ok=True)


def write_whole(path: Path, text: str, mode: int) -> None:
    """Writes a file so that it is there whole or not at all, with this mode from the start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent.name == "keys":
        path.parent.chmod(0o700)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
