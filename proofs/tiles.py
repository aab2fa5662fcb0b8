"""The folder of tiles: a log as static files that anybody can mirror and check.

Invariant: the folder is a pure function of the entries and the checkpoint. It holds exactly the
full tiles and bundles of the checkpoint's size, its partial ones, and the checkpoint itself; so a
folder rebuilt from nothing is byte-identical with one that grew entry by entry. A file is written
once (temporary file, fsync, rename, fsync of the folder) and never again with other bytes.

Partial tiles of earlier sizes are removed once the next checkpoint stands. The specification wants
them served, and they still are: a partial tile is a prefix of every wider one, so
:meth:`TileReader.read` cuts it from there.

When the process dies while the folder grows, the old checkpoint still stands and every file it
needs is there; files beyond it are what the next run writes again, byte for byte. When it dies
after the checkpoint, superseded partial tiles are left over, which the next run removes.

Specification: https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from proofs.checkpoint import Checkpoint, parse_note
from proofs.errors import FolderAhead, FormatError, TileConflict, TileMissing
from proofs.merkle import Frontier, leaf_hash, root_from_hashes
from proofs.tile import (
    ENTRIES,
    TILE_HEIGHT,
    TILE_WIDTH,
    EntryReader,
    Tile,
    TileReader,
    decode_bundle,
    encode_bundle,
    partial_tiles,
    tiles_of,
)

__all__ = [
    "CHECKPOINT_PATH",
    "ENTRIES",
    "TILE_WIDTH",
    "EntryReader",
    "Tile",
    "TileProblem",
    "TileReader",
    "TileWriter",
    "decode_bundle",
    "encode_bundle",
    "read_checkpoint",
    "verify_folder",
]

CHECKPOINT_PATH = "checkpoint"
TEMPORARY_PREFIX = ".writing-"

_REBUILD = "delete the folder to have it rebuilt from the journal"


class TileWriter:
    """Brings one folder from its present size to a new one; the only writer of that folder.

    The rightmost tile of every level stays in memory between calls, so growing by one entry reads
    one entry and writes the partial tiles that changed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened = False
        self._forget()

    def grow(self, size: int, entry: EntryReader, root: bytes, checkpoint: bytes) -> None:
        """Write what a tree of ``size`` leaves needs, then ``checkpoint``, then tidy up.

        ``root`` is the root hash that the checkpoint signs: tiles that don't lead to it raise
        :class:`TileConflict` before the checkpoint is touched, as does any file already there with
        other bytes; a folder that is ahead of ``size`` raises :class:`FolderAhead`. Tiles that were
        deleted are written again. Calling it again with the same size is harmless and may carry a
        checkpoint with more signatures. After an error the writer reads the folder again.
        """
        head = None if self._opened else self._resume()
        present = self._size if head is None else head.size
        if size < present:
            raise FolderAhead(
                f"{self._folder} already holds {present} entries and the log only {size}: the "
                "log was restored from an older state and must not sign a second history; restore "
                "the newer journal, or start a log with a new key"
            )
        superseded = partial_tiles(self._size) if self._opened else _leftovers(self._folder)
        self._opened = False
        if head is not None and self._size < head.size:
            self._extend(head.size, entry)
            self._check_root(head.root)
        self._extend(size, entry)
        self._check_root(root)
        self._write_edge()
        for folder in self._changed:
            _sync_folder(folder)
        self._changed.clear()
        self._write(CHECKPOINT_PATH, checkpoint, replace=True)
        _sync_folder(self._folder)
        for tile in set(superseded).difference(partial_tiles(size)):
            self._remove(tile)
        self._opened = True

    def _forget(self) -> None:
        self._size = 0
        self._edge: list[list[bytes]] = []
        self._bundle: list[bytes] = []
        self._changed: set[Path] = set()

    def _resume(self) -> Checkpoint | None:
        """Take the right edge from the folder's own checkpoint and tiles.

        Where the checkpoint or a tile is missing, the writer begins at the first entry; what is
        there is then compared, and what is not is written.
        """
        self._forget()
        self._folder.mkdir(parents=True, exist_ok=True)
        checkpoint = read_checkpoint(self._folder)
        if checkpoint is None:
            return None
        try:
            head = Checkpoint.parse(parse_note(checkpoint).text)
            if all((self._folder / tile.path).is_file() for tile in tiles_of(head.size)):
                self._load(head)
        except (FormatError, TileMissing) as error:
            raise TileConflict(f"{self._folder} is damaged: {error}; {_REBUILD}") from error
        return head

    def _load(self, head: Checkpoint) -> None:
        reader = TileReader(self._folder)
        level = 0
        while head.size >> TILE_HEIGHT * level:
            index, width = divmod(head.size >> TILE_HEIGHT * level, TILE_WIDTH)
            self._edge.append(reader.hashes(Tile(level, index, width)) if width else [])
            level += 1
        index, width = divmod(head.size, TILE_WIDTH)
        if width:
            bundle = Tile(ENTRIES, index, width)
            self._bundle = reader.entries(bundle)
            if [leaf_hash(item) for item in self._bundle] != self._edge[0]:
                raise TileConflict(
                    f"{bundle.path} in {self._folder} does not fit the hashes beside it; {_REBUILD}"
                )
        self._size = head.size
        self._check_root(head.root)

    def _check_root(self, root: bytes) -> None:
        found = self._root()
        if found != root:
            raise TileConflict(
                f"the tiles in {self._folder} lead to root {found.hex()} for {self._size} entries, "
                f"the checkpoint says {root.hex()}; verify the folder to find the file that differs"
            )

    def _root(self) -> bytes:
        """The root over the right edge: all that is left of a perfect subtree is one hash."""
        frontier: list[bytes] = []
        for hashes in reversed(self._edge):
            # Below this level the edge starts where the tiles above it end.
            frontier += Frontier.over(hashes).hashes
        return Frontier(self._size, frontier).root()

    def _extend(self, size: int, entry: EntryReader) -> None:
        for index in range(self._size, size):
            data = entry(index)
            self._bundle.append(data)
            if len(self._bundle) == TILE_WIDTH:
                bundle = encode_bundle(self._bundle)
                self._write(Tile(ENTRIES, index // TILE_WIDTH).path, bundle)
                self._bundle = []
            self._append(0, index, leaf_hash(data))
        self._size = size

    def _append(self, level: int, index: int, item: bytes) -> None:
        if level == len(self._edge):
            self._edge.append([])
        hashes = self._edge[level]
        hashes.append(item)
        if len(hashes) == TILE_WIDTH:
            self._write(Tile(level, index // TILE_WIDTH).path, b"".join(hashes))
            self._edge[level] = []
            self._append(level + 1, index // TILE_WIDTH, root_from_hashes(hashes))

    def _write_edge(self) -> None:
        for tile in partial_tiles(self._size):
            if tile.level == ENTRIES:
                self._write(tile.path, encode_bundle(self._bundle))
            else:
                self._write(tile.path, b"".join(self._edge[tile.level]))

    def _write(self, path: str, data: bytes, *, replace: bool = False) -> None:
        """Put ``data`` there; the folders whose entries changed are still to be synced."""
        target = self._folder / path
        try:
            present = target.read_bytes()
        except FileNotFoundError:
            pass
        else:
            if present == data:
                return
            if not replace:
                raise TileConflict(
                    f"{target} is written already and {_difference(present, data)}; a tile never "
                    f"changes: {_REBUILD}"
                )
        self._changed.add(target.parent)
        folder = target.parent
        while not folder.exists():
            self._changed.add(folder.parent)
            folder = folder.parent
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(TEMPORARY_PREFIX + target.name)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)

    def _remove(self, tile: Tile) -> None:
        target = self._folder / tile.path
        target.unlink(missing_ok=True)
        with suppress(OSError):
            # Another partial tile may still stand there.
            target.parent.rmdir()


@dataclass(frozen=True)
class TileProblem:
    """A file of the folder that is not what the log says, and how."""

    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


def verify_folder(
    folder: Path, entry: EntryReader, size: int, checkpoint: bytes | None = None
) -> list[TileProblem]:
    """Everything in ``folder`` that differs from what ``size`` entries make of it.

    Each tile and bundle is made again from the entries and compared to the byte; missing and extra
    files are named too. With ``checkpoint`` the checkpoint file must hold exactly these bytes.
    Memory is that of one tile per level.
    """
    problems: list[TileProblem] = []
    expected: set[str] = {CHECKPOINT_PATH}

    def check(path: str, data: bytes) -> None:
        expected.add(path)
        try:
            present = (folder / path).read_bytes()
        except OSError as error:
            reason = (
                "is missing" if isinstance(error, FileNotFoundError) else f"unreadable: {error}"
            )
            problems.append(TileProblem(path, reason))
            return
        if present != data:
            problems.append(TileProblem(path, _difference(present, data)))

    for tile, data in _made_again(entry, size):
        check(tile.path, data)
    if checkpoint is not None:
        check(CHECKPOINT_PATH, checkpoint)
    elif not (folder / CHECKPOINT_PATH).is_file():
        problems.append(TileProblem(CHECKPOINT_PATH, "is missing"))
    for found in sorted(folder.rglob("*")):
        path = found.relative_to(folder).as_posix()
        if found.is_symlink() or not found.is_dir():
            if path not in expected:
                problems.append(TileProblem(path, "does not belong to the log"))
            elif found.is_symlink():
                problems.append(TileProblem(path, "is a link, not a file"))
    return problems


def read_checkpoint(folder: Path) -> bytes | None:
    """The checkpoint file of a folder, or None where there is none yet."""
    try:
        return (folder / CHECKPOINT_PATH).read_bytes()
    except FileNotFoundError:
        return None


def _made_again(entry: EntryReader, size: int) -> Iterator[tuple[Tile, bytes]]:
    edge: list[list[bytes]] = []
    for start in range(0, size, TILE_WIDTH):
        entries = [entry(index) for index in range(start, min(start + TILE_WIDTH, size))]
        index = start // TILE_WIDTH
        yield Tile(ENTRIES, index, len(entries)), encode_bundle(entries)
        hashes = [leaf_hash(item) for item in entries]
        level = 0
        while True:
            if level == len(edge):
                edge.append([])
            edge[level] += hashes
            if len(edge[level]) < TILE_WIDTH:
                break
            yield Tile(level, index), b"".join(edge[level])
            hashes = [root_from_hashes(edge[level])]
            edge[level] = []
            index //= TILE_WIDTH
            level += 1
    for level, row in enumerate(edge):
        if row:
            yield Tile(level, size >> TILE_HEIGHT * (level + 1), len(row)), b"".join(row)


def _leftovers(folder: Path) -> list[Tile]:
    """The partial tiles that lie in the folder; temporary files of a run that died are removed."""
    found = []
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where) / name
            if name.startswith(TEMPORARY_PREFIX):
                path.unlink()
            elif where.endswith(".p"):
                with suppress(FormatError):
                    # What is no tile is left for verify_folder to name.
                    found.append(Tile.parse(path.relative_to(folder).as_posix()))
    return found


def _difference(present: bytes, expected: bytes) -> str:
    at = next(
        (i for i, (a, b) in enumerate(zip(present, expected, strict=False)) if a != b),
        min(len(present), len(expected)),
    )
    size = "" if len(present) == len(expected) else f" ({len(present)} bytes, not {len(expected)})"
    return f"differs from the log at byte {at}{size}"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
