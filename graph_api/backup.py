"""Copies a data folder while its server runs: the truth and its secrets, nothing that is derived.

Invariant: everything that an entry of the copied journal refers to is in the copy. So the databases
are copied one after the other in the order of :data:`DATABASES`: what the journal rests on
(evidence, principals) after it, and what runs ahead of the journal (how far stewards have read)
before it. Newer evidence does no harm, and a steward that reads some facts twice proposes nothing
new. A copy appears under its name when it is whole, checked and on disk, or not at all.

Each database is copied by SQLite's own online backup in one step, a snapshot that neither waits for
the writer nor makes it wait: https://www.sqlite.org/backup.html
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from graph_api.cli_errors import BackupError
from proofs.checkpoint import Checkpoint, VerifierKey
from proofs.errors import ProofError
from proofs.log_keys import LogKeys
from proofs.merkle import Frontier, leaf_hash

FORMAT = 1
MANIFEST = "backup.json"
JOURNAL = "journal.sqlite"
DATABASES = ("stewards.sqlite", "jobs.sqlite", JOURNAL, "inbox.sqlite", "access.sqlite")
LOG_KEY = "keys/log.pub"
FILES = ("format.json", "operator.token")
KEYS = "keys"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Copied:
    """What a copy holds: the log it is of, and up to where."""

    keys: LogKeys
    checkpoint: Checkpoint
    note: str

    @property
    def key(self) -> VerifierKey:
        """The log's key at the end of the copy."""
        return self.keys.current

    @property
    def head(self) -> int:
        """The index of the newest entry."""
        return self.checkpoint.size - 1


def back_up(
    data: Path, destination: Path, *, progress: Progress, clock: Callable[[], datetime]
) -> Copied:
    """Copy a data folder to a new folder, or to a new tar file when the name ends in ``.tar``.

    Raises :class:`BackupError`; then there is nothing at ``destination``.
    """
    if not (data / JOURNAL).is_file():
        raise BackupError(
            f"{data} is not a data folder: it has no {JOURNAL}. Name one with --data."
        )
    if os.path.lexists(destination):
        raise BackupError(f"{destination} is there already; a backup never replaces anything")
    if not destination.parent.is_dir():
        raise BackupError(f"{destination.parent} is not a folder; make it first")
    work = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        copied = _copy_into(work, data, progress, clock)
        if destination.suffix == ".tar":
            _publish_tar(work, destination)
        else:
            # Fails when somebody made a folder with content there meanwhile.
            os.rename(work, destination)
        sync_folder(destination.parent)
    except sqlite3.Error as error:
        raise BackupError(f"{data} could not be copied: {error}") from error
    except OSError as error:
        raise BackupError(
            f"the backup could not be written: {error.strerror or error}; free some room, or name "
            "another place"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return copied


def inspect(folder: Path) -> Copied:
    """Check the journal and the key in a folder, from the leaves up to the signed checkpoint.

    Raises :class:`BackupError` that names what doesn't fit.
    """
    try:
        key = VerifierKey.parse((folder / LOG_KEY).read_text().strip())
    except (OSError, ProofError, ValueError) as error:
        raise BackupError(
            f"{folder / LOG_KEY}, the log's public key, cannot be read: {error}"
        ) from (error)
    try:
        with closing(open_read_only(folder / JOURNAL)) as journal:
            keys = LogKeys.read(key, rotations(journal))
            checkpoint, note = newest_checkpoint(journal, keys)
            root, count = _root(journal, checkpoint.size)
            newest = journal.execute("SELECT max(n) FROM entries").fetchone()[0]
    except (sqlite3.Error, ProofError) as error:
        raise BackupError(f"{folder / JOURNAL} cannot be trusted: {error}") from error
    if count != checkpoint.size or newest != checkpoint.size - 1 or root != checkpoint.root:
        raise BackupError(
            f"{folder / JOURNAL} cannot be trusted: its entries are not those that its newest "
            f"checkpoint ({checkpoint.size} entries) was signed over"
        )
    return Copied(keys, checkpoint, note)


def open_read_only(path: Path) -> sqlite3.Connection:
    """A database that is only read; a missing file is an error and isn't made."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)


def rotations(journal: sqlite3.Connection) -> list[tuple[int, bytes]]:
    """The entries that handed the log to another key, in order: index and leaf."""
    rows = journal.execute(
        "SELECT n, leaf FROM entries WHERE n IN"
        " (SELECT CAST(value AS INTEGER) FROM meta WHERE key GLOB 'rotation/*') ORDER BY n"
    )
    return [(int(n), bytes(leaf)) for n, leaf in rows]


def newest_checkpoint(journal: sqlite3.Connection, keys: LogKeys) -> tuple[Checkpoint, str]:
    """The newest checkpoint and its note, signed by the log's key."""
    row = journal.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
    if row is None:
        raise BackupError("the journal has no entry yet: start the server once with fractalops up")
    return keys.open_checkpoint(str(row[0])), str(row[0])


def root_at(journal: Path, size: int) -> bytes | None:
    """The root over the first ``size`` entries, or ``None`` when there are fewer."""
    with closing(open_read_only(journal)) as connection:
        root, count = _root(connection, size)
    return root if count == size else None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_file(source: Path, target: Path, mode: int = 0o600) -> None:
    """Copy a file durably; its content is never readable by others than ``mode`` says."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as out, source.open("rb") as file:
        shutil.copyfileobj(file, out)
        out.flush()
        os.fsync(out.fileno())


def _copy_into(work: Path, data: Path, progress: Progress, clock: Callable[[], datetime]) -> Copied:
    (work / KEYS).mkdir(mode=0o700)
    for name in DATABASES:
        if (data / name).is_file():
            progress(f"Copying {name}")
            _copy_database(data / name, work / name)
    for key in sorted((data / KEYS).glob("*")):
        if key.is_file():
            copy_file(key, work / KEYS / key.name)
    for name in FILES:
        if (data / name).is_file():
            copy_file(data / name, work / name)
    progress("Checking the copy")
    copied = inspect(work)
    _write(work / "checkpoint", copied.note.encode())
    files = sorted(path for path in work.rglob("*") if path.is_file())
    manifest = {
        "format": FORMAT,
        "created_at": clock().astimezone(UTC).isoformat(timespec="seconds"),
        "origin": copied.checkpoint.origin,
        "head": copied.head,
        "root": copied.checkpoint.root.hex(),
        "files": {str(path.relative_to(work)): digest(path) for path in files},
    }
    _write(work / MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n")
    sync_folder(work / KEYS)
    sync_folder(work)
    return copied


def _copy_database(source: Path, target: Path) -> None:
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(open_read_only(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        # One file, without the write-ahead log beside it.
        new.execute("PRAGMA journal_mode=DELETE")
        found = new.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise BackupError(
                f"{source} is damaged ({found}), so it was not copied. Keep the folder as it is "
                "and restore the newest backup."
            )
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _publish_tar(work: Path, destination: Path) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{destination.name}.", dir=destination.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                for path in sorted(work.rglob("*")):
                    archive.add(path, str(path.relative_to(work)), recursive=False)
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link never replaces what somebody put there meanwhile.
        os.link(name, destination)
    finally:
        os.unlink(name)


def _root(journal: sqlite3.Connection, size: int) -> tuple[bytes, int]:
    """The root over the first ``size`` leaves, taken from their bytes, and how many there were."""
    frontier, count = Frontier(), 0
    rows = journal.execute("SELECT n, leaf FROM entries WHERE n < ? ORDER BY n", (size,))
    for index, leaf in rows:
        if index != count:
            break
        frontier.append(leaf_hash(bytes(leaf)))
        count += 1
    return frontier.root(), count


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
