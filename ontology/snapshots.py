"""Keeps immutable copies of the graph, named by the head they hold.

Invariant: a folder named by a number holds the whole graph as of that head, and stays on disk while
anybody holds a lease on it. A copy is made under a name that starts with a dot and renamed when it
is complete, so a crash leaves nothing that looks like a snapshot.

After a commit the first copy is cut at once, and further ones at most every ``interval`` seconds.
Older ones are kept, least recently used out first, while what they alone pin on disk (they share
most files with the newest by hard links) stays below a budget; one that is gone is rebuilt when
asked for, from the nearest older one that is there.
Source: https://github.com/facebook/rocksdb/wiki/Checkpoints
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ontology.errors import OntologyError, SnapshotError, StoreError
from ontology.store import open_snapshot

INTERVAL = 0.25
"""Seconds between two copies while commits keep coming."""

MOST_RETAINED = 64
MOST_ADOPTED = 8
IDENTITY_FILE = "fractalops-history"
_RETRY = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The graph right after journal entry ``head``, in a folder to open read-only."""

    head: int
    path: Path


class Lease:
    """Keeps a snapshot on disk until it is released; a context manager that gives the snapshot."""

    def __init__(self, owner: Snapshots, snapshot: Snapshot) -> None:
        self._owner: Snapshots | None = owner
        self.snapshot = snapshot

    def release(self) -> None:
        """Gives the snapshot back; a second call does nothing."""
        owner, self._owner = self._owner, None
        if owner is not None:
            owner._release(self.snapshot.head)

    def moved(self, path: Path) -> Lease:
        """The same lease for what lies in the snapshot's folder at ``path``; this one is spent."""
        owner, self._owner = self._owner, None
        assert owner is not None
        return Lease(owner, Snapshot(self.snapshot.head, path))

    def __enter__(self) -> Snapshot:
        return self.snapshot

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


@dataclass(slots=True)
class _Retained:
    snapshot: Snapshot
    files: dict[int, int]  # inode -> bytes
    used: float
    leases: int = 0


class Snapshots:
    """The snapshots of one store. Every method may be called from any thread.

    ``cut(path)`` makes a copy of the live store at ``path`` and returns its head; ``rebuild(head,
    path, base)`` writes the graph as of an older head there, beginning with the snapshot ``base``
    of a still older one where there is one. ``identity(head)`` names the history a head
    belongs to (a root hash, say): a snapshot found at start is kept only when it still matches.
    """

    def __init__(
        self,
        folder: Path,
        cut: Callable[[Path], int],
        rebuild: Callable[[int, Path, Snapshot | None], None],
        budget_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        identity: Callable[[int], str] = str,
        interval: float = INTERVAL,
    ) -> None:
        self._folder = folder
        self._cut = cut
        self._rebuild = rebuild
        self._budget = budget_bytes
        self._clock = clock
        self._identity = identity
        self._interval = interval
        self._changed = threading.Condition()
        self._cutting = threading.Lock()
        self._rebuilding = threading.Lock()
        self._names = itertools.count()
        self._retained: dict[int, _Retained] = {}
        self._current: Snapshot | None = None
        self._wanted = -1
        self._awaited = -1
        self._closed = False
        self._listeners: list[Callable[[Snapshot], None]] = []
        self._thread: threading.Thread | None = None

    def start(self) -> Snapshot:
        """Takes over what an earlier run left, cuts the first snapshot and follows the head."""
        self._folder.mkdir(parents=True, exist_ok=True)
        snapshot = self.refresh()
        found = [path for path in self._folder.iterdir() if path != snapshot.path]
        # The newest by number; a name that is no number sorts last and is dropped.
        found.sort(key=lambda path: int(path.name) if path.name.isdigit() else -1, reverse=True)
        for place, path in enumerate(found):
            self._adopt(path, wanted=place < MOST_ADOPTED)
        self._trim()
        self._thread = threading.Thread(target=self._follow, name="snapshots", daemon=True)
        self._thread.start()
        return snapshot

    def close(self) -> None:
        """Stops following. The snapshots stay on disk."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def subscribe(self, listener: Callable[[Snapshot], None]) -> None:
        """Has ``listener`` called with each new snapshot, in the thread that cut it."""
        with self._changed:
            self._listeners.append(listener)

    def current(self) -> Snapshot:
        """The newest snapshot."""
        snapshot = self._current
        if snapshot is None:
            raise SnapshotError("there is no snapshot yet; wait until the server is ready")
        return snapshot

    def notify(self, head: int) -> None:
        """Says that the store moved to ``head``; returns at once."""
        with self._changed:
            if head > self._wanted:
                self._wanted = head
                self._changed.notify_all()

    def hurry(self, head: int) -> None:
        """Says that somebody waits for ``head``: its snapshot is cut without the usual pause."""
        with self._changed:
            if head > self._awaited:
                self._awaited = head
                self._changed.notify_all()

    def wait_for(self, head: int, timeout: float) -> Snapshot:
        """The newest snapshot as soon as it holds ``head``; raises after ``timeout`` seconds."""
        self.hurry(head)
        with self._changed:
            arrived = self._changed.wait_for(
                lambda: self._closed or (self._current is not None and self._current.head >= head),
                timeout,
            )
            if not arrived or self._closed or self._current is None:
                raise SnapshotError(f"head {head} was not there to read within {timeout:g} s")
            return self._current

    def refresh(self) -> Snapshot:
        """Cuts a snapshot of the store as it is now, and gives it, or the one of the same head."""
        with self._cutting:
            unfinished = self._unfinished()
            try:
                head = self._cut(unfinished)
                return self._settle(head, unfinished)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)

    def lease(self, head: int | None = None) -> Lease:
        """A lease on the newest snapshot, or on that of an older head, rebuilt where it is gone.

        Rebuilding may take long. Raises :class:`ontology.errors.SnapshotError` for a head that was
        not reached yet.
        """
        lease = self.try_lease(head)
        return lease if lease is not None else self._rebuilt(head if head is not None else 0)

    def try_lease(self, head: int | None = None) -> Lease | None:
        """As :meth:`lease`, but gives ``None`` at once where the snapshot has to be rebuilt."""
        with self._changed:
            newest = self.current().head
            wanted = newest if head is None else head
            retained = self._retained.get(wanted)
            if retained is not None:
                retained.leases += 1
                retained.used = self._clock()
                return Lease(self, retained.snapshot)
        if wanted < 0 or wanted > max(newest, self._wanted):
            raise SnapshotError(
                f"there is no head {wanted}; the newest is {max(newest, self._wanted)}"
            )
        return None

    def at(self, head: int) -> Snapshot:
        """The snapshot of this head, rebuilt where it is gone. Take a lease to keep it."""
        with self.lease(head) as snapshot:
            return snapshot

    def recount(self, head: int) -> None:
        """Notes what lies in a leased snapshot's folder now, and makes room for it."""
        with self._changed:
            retained = self._retained.get(head)
            if retained is not None:
                retained.files = _files(retained.snapshot.path)
        self._trim()

    def bytes_pinned(self) -> int:
        """Bytes on disk that only the older snapshots keep there."""
        with self._changed:
            return self._pinned()

    def retained(self) -> list[int]:
        """The heads that can be read without rebuilding, in order."""
        with self._changed:
            return sorted(self._retained)

    def _rebuilt(self, head: int) -> Lease:
        # One at a time: a rebuild may replay much of the journal, and the next one may be for the
        # same head.
        with self._rebuilding:
            lease = self.try_lease(head)
            if lease is not None:
                return lease
            unfinished = self._unfinished()
            older = self._older(head)
            try:
                self._rebuild(head, unfinished, None if older is None else older.snapshot)
                self._settle(head, unfinished, current=False)
            except OntologyError as error:
                raise SnapshotError(f"head {head} could not be rebuilt: {error}") from error
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
                if older is not None:
                    older.release()
            lease = self.try_lease(head)
            if lease is None:
                raise SnapshotError(f"the rebuilt head {head} was dropped at once; ask again")
            return lease

    def _older(self, head: int) -> Lease | None:
        """A lease on the newest snapshot of an older head."""
        with self._changed:
            nearest = max((known for known in self._retained if known < head), default=None)
        return None if nearest is None else self.try_lease(nearest)

    def _settle(self, head: int, unfinished: Path, *, current: bool = True) -> Snapshot:
        """Renames a complete copy to its head and makes it readable."""
        path = self._folder / str(head)
        with self._changed:
            known = self._retained.get(head)
            if known is None:
                if path.exists():
                    # Left by an earlier run, and not taken over: what was just made is the truth.
                    path.rename(self._folder / f"{unfinished.name}-old")
                (unfinished / IDENTITY_FILE).write_text(self._identity(head), encoding="utf-8")
                unfinished.rename(path)
                known = _Retained(Snapshot(head, path), _files(path), self._clock())
                self._retained[head] = known
            moved = current and (self._current is None or head > self._current.head)
            if moved:
                self._current = known.snapshot
            self._wanted = max(self._wanted, head) if current else self._wanted
            listeners = list(self._listeners) if moved else []
            known.leases += 1  # kept over the trimming below
            self._changed.notify_all()
        try:
            self._trim()
        finally:
            self._release(head)
        for listener in listeners:
            listener(known.snapshot)
        return known.snapshot

    def _follow(self) -> None:
        """Cuts at the first notice, then waits out the interval, so that a burst costs few."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._wanted > self.current().head)
                if self._closed:
                    return
            try:
                self.refresh()
                cut = True
            except (OntologyError, OSError):
                logger.exception("no snapshot could be cut; reading goes on with the last one")
                cut = False
            with self._changed:
                if cut:
                    self._changed.wait_for(self._cannot_pause, self._interval)
                else:
                    self._changed.wait_for(lambda: self._closed, _RETRY)

    def _cannot_pause(self) -> bool:
        # What is awaited but not committed yet can't be cut: no reason to hurry.
        return self._closed or self.current().head < min(self._awaited, self._wanted)

    def _release(self, head: int) -> None:
        with self._changed:
            retained = self._retained.get(head)
            if retained is not None:
                retained.leases -= 1
                retained.used = self._clock()

    def _adopt(self, path: Path, *, wanted: bool) -> None:
        """Takes over a snapshot of an earlier run when it is whole and of this history."""
        head = int(path.name) if path.name.isdigit() else -1
        try:
            whole = (
                wanted
                and path.name == str(head)
                and head < self.current().head
                and (path / IDENTITY_FILE).read_text(encoding="utf-8") == self._identity(head)
            )
            if whole:
                open_snapshot(path)
        except (LookupError, OSError, ValueError, StoreError) as error:
            logger.info("the snapshot folder %s is dropped: %s", path.name, error)
            whole = False
        if not whole:
            _remove(path)
            return
        self._retained[head] = _Retained(Snapshot(head, path), _files(path), self._clock())

    def _trim(self) -> None:
        """Drops the least recently used until the budget holds; never a leased one."""
        while True:
            with self._changed:
                if self._pinned() <= self._budget and len(self._retained) <= MOST_RETAINED:
                    return
                free = [
                    retained
                    for retained in self._retained.values()
                    if retained.leases == 0 and retained.snapshot is not self._current
                ]
                if not free:
                    return
                oldest = min(free, key=lambda retained: (retained.used, retained.snapshot.head))
            self._drop(oldest.snapshot.head)

    def _drop(self, head: int) -> None:
        with self._changed:
            retained = self._retained.get(head)
            if retained is None or retained.leases:
                return
            del self._retained[head]
            # Out of the way under the lock, so that a rebuild of the same head can take the name.
            doomed = self._unfinished()
            retained.snapshot.path.rename(doomed)
        _remove(doomed)

    def _pinned(self) -> int:
        shared = (
            self._retained[self._current.head].files
            if self._current is not None and self._current.head in self._retained
            else {}
        )
        older: dict[int, int] = {}
        for retained in self._retained.values():
            older |= retained.files
        return sum(size for inode, size in older.items() if inode not in shared)

    def _unfinished(self) -> Path:
        return self._folder / f".{os.getpid()}-{next(self._names)}"


def _files(path: Path) -> dict[int, int]:
    found: dict[int, int] = {}
    for folder, _, names in os.walk(path):
        for name in names:
            status = os.stat(os.path.join(folder, name), follow_symlinks=False)
            found[status.st_ino] = status.st_size
    return found


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
