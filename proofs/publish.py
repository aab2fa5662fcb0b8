"""Publishes the log: tiles and the signed checkpoint, into its folder and its mirrors.

Invariant: a follower of the journal. What is published never runs ahead of the journal and never
contradicts it; where it does at start, the journal is an old copy, and going on would sign a second
history under the same key, so the start is refused.
Source: https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from proofs.checkpoint import Checkpoint, parse_note
from proofs.errors import FormatError, JournalCorrupt, LogForked, ProofError
from proofs.journal import Journal
from proofs.log_keys import LogKeys
from proofs.tiles import CHECKPOINT_PATH, TileWriter, read_checkpoint

LOGGER = logging.getLogger(__name__)

PAUSE = 0.1
"""Seconds between two publications, so that a burst of commits is one of them."""


def refuse_fork(journal: Journal, folders: Sequence[Path], keys: LogKeys) -> None:
    """Compares what was published with the journal. Raises :class:`LogForked`."""
    head = journal.head()
    for folder in folders:
        note = read_checkpoint(folder)
        if note is None:
            continue
        place = folder / CHECKPOINT_PATH
        try:
            published = keys.open_checkpoint(note)
        except ProofError as error:
            if _origin(note) == keys.name:
                raise LogForked(
                    f"{place} is of this log and not signed with a key that the journal knows"
                    f" ({error}): either the journal is an older copy, from before the log was"
                    " handed to another key, or the file was damaged. Put the newer journal back;"
                    " if it is the newest there is, move that folder away: it is written again"
                ) from error
            raise LogForked(
                f"{place} is not a checkpoint of this log ({error}). If its key was replaced, or"
                " the file damaged, move that folder away: it is written again from the journal"
            ) from error
        if published.size > head + 1:
            raise LogForked(
                f"{place} shows {published.size} entries, the journal has {head + 1}: this journal"
                " is an older copy, and going on would fork the log under the same key. Put the"
                " newer journal back (fractalops restore refuses such a copy too)"
            )
        if published.size and _root(journal, published.size) != published.root:
            raise LogForked(
                f"{place} and the journal disagree about the first {published.size} entries:"
                " one of them was changed. Nothing is written; put back the journal, or the"
                " folder, that belongs to the other"
            )


def _origin(note: str | bytes) -> str:
    try:
        return Checkpoint.parse(parse_note(note).text).origin
    except ProofError:
        return ""


def _root(journal: Journal, size: int) -> bytes:
    try:
        return Checkpoint.parse(parse_note(journal.checkpoint(size)).text).root
    except FormatError as error:
        raise JournalCorrupt(
            f"checkpoint {size} of the journal cannot be read ({error}): keep the folder as it is"
            " and restore a backup (fractalops restore)"
        ) from error


@dataclass(frozen=True)
class Published:
    """What a folder shows: how many entries, and what is wrong with that, empty for nothing."""

    folder: Path
    size: int
    problem: str = ""


class Publisher:
    """Keeps the published folders at the journal's head, in a thread of its own.

    ``size`` is how many entries the first folder shows; ``problems`` say by folder what keeps it
    from following.
    """

    def __init__(
        self, journal: Journal, folders: Sequence[Path], published: Callable[[int], None]
    ) -> None:
        self._journal = journal
        self._first = folders[0]
        self._writers = {folder: TileWriter(folder) for folder in folders}
        self._published = published
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._reached = threading.Condition()
        self._publishing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self.size = 0
        self.problems: dict[str, str] = {}

    def start(self) -> None:
        """Publishes what is there, then follows."""
        self._publish()
        self._thread.start()

    def notify(self, _head: int) -> None:
        """Tells that the journal has grown, or a checkpoint was cosigned."""
        self._wake.set()

    def wait_for(self, size: int, timeout: float) -> bool:
        """Waits until the first folder shows this many entries; whether it does."""
        with self._reached:
            return self._reached.wait_for(lambda: self.size >= size, timeout)

    def compare(self, keys: LogKeys) -> list[Published]:
        """Complete every folder, then read back what each shows and hold it against the journal."""
        with self._publishing:
            # New writers look at what is there: a tile may have been deleted under the old ones.
            self._writers = {folder: TileWriter(folder) for folder in self._writers}
            self._bring_up_to_date()
            return [self._shown(folder, keys) for folder in self._writers]

    def _shown(self, folder: Path, keys: LogKeys) -> Published:
        problem = self.problems.get(str(folder)) or self.problems.get("journal", "")
        size = 0
        try:
            note = read_checkpoint(folder)
            if note is not None:
                shown = keys.open_checkpoint(note)
                size = shown.size
                refuse_fork(self._journal, [folder], keys)
        except (ProofError, OSError) as error:
            problem = problem or str(error)
        return Published(folder, size, problem or ("" if size else "nothing is published here"))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the folders as they are within the block; what is committed waits for its end."""
        with self._publishing:
            yield

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30)
        self._publish()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            if self._stopping.wait(PAUSE):
                return
            self._publish()

    def _publish(self) -> None:
        with self._publishing:
            self._bring_up_to_date()

    def _bring_up_to_date(self) -> None:
        try:
            size = self._journal.head() + 1
            if size == 0:
                return
            note = self._journal.checkpoint(size)
            root = _root(self._journal, size)
        except ProofError as error:
            self._fails("journal", error)
            return
        self.problems.pop("journal", None)
        for folder, writer in self._writers.items():
            try:
                writer.grow(size, self._journal.leaf, root, note.encode())
            except (ProofError, OSError) as error:
                self._fails(str(folder), error)
            else:
                self.problems.pop(str(folder), None)
        # The first folder is the one that is served; a mirror that is away holds nothing up.
        if str(self._first) not in self.problems:
            with self._reached:
                self.size = size
                self._reached.notify_all()
            self._published(size)

    def _fails(self, place: str, error: Exception) -> None:
        if self.problems.get(place) != str(error):
            LOGGER.error("the log is not published in %s: %s", place, error)
        self.problems[place] = str(error)
