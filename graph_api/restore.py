"""Puts a backup back, and never forks a log.

Invariant: after a restore, the log goes on from a head that no published or kept checkpoint under
the same key is ahead of or in contradiction with. So every checkpoint within reach (the folder's
journal, its public ``log/``, what an earlier restore set aside, a mirror) is compared first, and
the restore is refused when one is newer or differs. What is derived (graph, index, snapshots,
facts) is taken away and made again by the next ``up``.

Crash windows: before the marker ``restoring`` stands, nothing was changed. While it stands, ``up``
refuses the folder and the same restore may be run again; it goes when all is on disk.
Split views of a log: https://www.rfc-editor.org/rfc/rfc9162#section-11.2
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from graph_api.backup import (
    DATABASES,
    FILES,
    FORMAT,
    JOURNAL,
    KEYS,
    MANIFEST,
    Copied,
    Progress,
    copy_file,
    digest,
    inspect,
    newest_checkpoint,
    open_read_only,
    root_at,
    sync_folder,
)
from graph_api.cli_errors import BackupError
from proofs.checkpoint import Checkpoint
from proofs.errors import InvalidSignature, ProofError

MARKER = "restoring"
SET_ASIDE = "replaced-"
DERIVED = ("graph", "index.sqlite", "snapshots", "scratch", "facts", "server.json")
LOCK = "lock"


def restore(
    source: Path,
    data: Path,
    *,
    mirror: Path | None,
    progress: Progress,
    clock: Callable[[], datetime],
) -> tuple[Copied, Path | None]:
    """Restore a backup into a new or empty folder, or over an older copy of the same log.

    Gives what was restored, and the folder in which what was replaced is kept. Raises
    :class:`BackupError`; unless the message says otherwise, ``data`` is as it was before.
    """
    try:
        fresh = not data.exists()
        data.mkdir(parents=True, exist_ok=True)
        _refuse_strangers(data)
        with _locked(data):
            work = Path(tempfile.mkdtemp(prefix=".restore-", dir=data))
            try:
                progress("Reading the backup")
                _unpack(source, work)
                progress("Checking the backup")
                copied = inspect(work)
                refuse_fork(copied, work / JOURNAL, data, mirror)
                progress("Putting it in place")
                aside = _put_in_place(work, data, clock)
            finally:
                shutil.rmtree(work, ignore_errors=True)
                if fresh and not (data / JOURNAL).exists() and not (data / MARKER).exists():
                    shutil.rmtree(data, ignore_errors=True)
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        raise BackupError(f"the restore failed: {named}{error.strerror or error}") from error
    return copied, aside


def interrupted(data: Path) -> bool:
    """Whether a restore into this folder was cut short, so that no server may start on it."""
    return (data / MARKER).exists()


def refuse_fork(copied: Copied, journal: Path, data: Path, mirror: Path | None) -> None:
    """Raise :class:`BackupError` when going on from this copy would fork its log."""
    for place, found in known_checkpoints(copied, data, mirror):
        size = copied.checkpoint.size
        if found.size > size:
            raise BackupError(
                f"{place} shows {found.size} entries of log {found.origin}, the backup has {size}. "
                "Going on from the backup would fork the log: other entries would follow under the "
                "same key, and who saw the newer ones could prove it. Restore a newer backup; if "
                "there is none, start a new log in a new folder and propose the content there."
            )
        if root_at(journal, found.size) != found.root:
            raise BackupError(
                f"{place} and the backup hold different entries among the first {found.size} of "
                f"log {found.origin}: the log is forked already. Keep both, and find out which "
                "one is right before any of them goes on."
            )


def known_checkpoints(
    copied: Copied, data: Path, mirror: Path | None
) -> Iterator[tuple[str, Checkpoint]]:
    """Every checkpoint of the copy's log that is kept or published within reach.

    Raises :class:`BackupError` for one of another log, and for one that can't be read.
    """
    journals = [data / JOURNAL, *sorted(data.glob(f"{SET_ASIDE}*/{JOURNAL}"))]
    for path in journals:
        if path.is_file():
            try:
                with closing(open_read_only(path)) as connection:
                    yield str(path), newest_checkpoint(connection, copied.keys)[0]
            except InvalidSignature as error:
                raise _another_log(path, copied, error) from error
            except (sqlite3.Error, ProofError, BackupError) as error:
                # A damaged journal may be why this restore is made: the public log has its head.
                if not (data / "log" / "checkpoint").is_file() and mirror is None:
                    raise BackupError(
                        f"{path} cannot be read ({error}), and no published checkpoint says how "
                        "far the log had come. Name the mirror with --mirror, or restore into a "
                        "new folder."
                    ) from error
    published = [data / "log" / "checkpoint"]
    if mirror is not None:
        published.append(mirror / "checkpoint" if mirror.is_dir() else mirror)
        if not published[-1].is_file():
            raise BackupError(f"the mirror {mirror} has no checkpoint: name its folder or file")
    for path in published:
        if path.is_file():
            try:
                yield str(path), copied.keys.open_checkpoint(path.read_bytes())
            except InvalidSignature as error:
                raise _another_log(path, copied, error) from error
            except (ProofError, UnicodeDecodeError) as error:
                raise BackupError(f"{path} is damaged: {error}. Restore into a new folder.") from (
                    error
                )


def _another_log(path: Path, copied: Copied, error: Exception) -> BackupError:
    return BackupError(
        f"{path} is not of log {copied.key.label}, which the backup is of ({error}), or that log"
        " has gone on under a key that the backup is too old to know. Restore a newer backup; if"
        " it is another log, restore into a new folder."
    )


def _refuse_strangers(data: Path) -> None:
    """A folder with other things in it is somebody's own, and no place for a data folder."""
    signs = (JOURNAL, MARKER, f"{KEYS}/log.pub", "log/checkpoint")
    if any((data / sign).exists() for sign in signs) or any(data.glob(f"{SET_ASIDE}*")):
        return
    others = sorted({path.name for path in data.iterdir()} - {LOCK, "lost+found"})
    if others:
        raise BackupError(
            f"{data} is neither empty nor a data folder (it has {others[0]}): name a new folder"
        )


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Hold the folder's lock, which a server holds while it runs."""
    descriptor = os.open(data / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(
                f"a server runs on {data}: stop it (Ctrl-C in its terminal), then restore"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _unpack(source: Path, work: Path) -> None:
    """Bring the backup's files, each as its list says, into a folder of ours."""
    if source.is_dir():
        _copy_listed(work, lambda name: source / name)
        return
    if not source.is_file():
        raise BackupError(f"{source} is neither a backup folder nor a tar file")
    unpacked = work / ".unpacked"
    unpacked.mkdir(mode=0o700)
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                # Only plain files, only where a backup has some: an archive may name any path.
                if member.isreg() and _allowed(member.name):
                    target = unpacked / member.name
                    target.parent.mkdir(mode=0o700, exist_ok=True)
                    content = archive.extractfile(member)
                    if content is not None:
                        with content, target.open("xb") as out:
                            shutil.copyfileobj(content, out)
    except (tarfile.TarError, EOFError, FileExistsError) as error:
        raise BackupError(f"{source} is no tar file of a backup: {error}") from error
    _copy_listed(work, lambda name: unpacked / name)
    shutil.rmtree(unpacked)


def _copy_listed(work: Path, place: Callable[[str], Path]) -> None:
    try:
        manifest = json.loads(place(MANIFEST).read_bytes())
        version, listed = int(manifest["format"]), dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"this is no backup: its {MANIFEST} cannot be read ({error})") from error
    if version > FORMAT:
        raise BackupError(
            f"the backup has format {version}, this version reads {FORMAT}: use the version that "
            "made it"
        )
    (work / KEYS).mkdir(mode=0o700)
    for name, expected in sorted(listed.items()):
        if not _allowed(name):
            raise BackupError(f"the backup lists {name!r}, which is no file of a backup")
        if name == "checkpoint":
            continue
        if not place(name).is_file():
            raise BackupError(f"the backup is incomplete: {name} is missing")
        copy_file(place(name), work / name)
        if digest(work / name) != expected:
            raise BackupError(f"the backup is damaged: {name} is not what was copied")
    if JOURNAL not in listed:
        raise BackupError(f"the backup is incomplete: {JOURNAL} is missing")


def _allowed(name: str) -> bool:
    path = PurePosixPath(name)
    if len(path.parts) == 1:
        return name in (*DATABASES, *FILES, MANIFEST, "checkpoint")
    return len(path.parts) == 2 and path.parts[0] == KEYS and path.parts[1] not in (".", "..")


def _put_in_place(work: Path, data: Path, clock: Callable[[], datetime]) -> Path | None:
    marker = os.open(data / MARKER, os.O_WRONLY | os.O_CREAT, 0o600)
    os.fsync(marker)
    os.close(marker)
    sync_folder(data)
    aside = _set_aside(data, clock)
    for name in DERIVED:
        path = data / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    (data / KEYS).mkdir(mode=0o700, exist_ok=True)
    for path in sorted(work.rglob("*")):
        if path.is_file():
            os.replace(path, data / path.relative_to(work))
    sync_folder(data / KEYS)
    sync_folder(data)
    (data / MARKER).unlink()
    sync_folder(data)
    return aside


def _set_aside(data: Path, clock: Callable[[], datetime]) -> Path | None:
    """Move what the backup replaces into a folder of its own: nothing is lost by a mistake."""
    names = [*FILES, KEYS]
    for database in DATABASES:
        # With its write-ahead log, which must never meet another database of the same name.
        names += [database, f"{database}-wal", f"{database}-shm"]
    there = [name for name in names if (data / name).exists()]
    if not there:
        return None
    stamp = clock().astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = Path(tempfile.mkdtemp(prefix=f"{SET_ASIDE}{stamp}-", dir=data))
    for name in there:
        os.replace(data / name, aside / name)
    sync_folder(aside)
    return aside
