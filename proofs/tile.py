"""Tiles and entry bundles of a log: their paths, their bytes, and reading them back.

Invariant: a tile has one path and a path one tile; a partial tile is a prefix of every wider tile
at the same place, so whatever was served once can be cut from what the folder holds now.
Specification: https://c2sp.org/tlog-tiles
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from proofs.errors import FormatError, LeafTooLarge, TileMissing
from proofs.merkle import HASH_SIZE, NodeReader, root_from_hashes

TILE_WIDTH = 256
TILE_HEIGHT = 8
ENTRIES = -1
"""The level of entry bundles, spelled ``entries`` in a path."""
MAX_LEVEL = 63
MAX_ENTRY = 65535
"""Bytes of the largest entry: its length stands before it as a uint16."""

EntryReader = Callable[[int], bytes]
"""``entry(n)``: the exact bytes of log entry ``n``."""

_READ_ATTEMPTS = 3

_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<parents>(?:x[0-9]{3}/)*)(?P<last>[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, order=True)
class Tile:
    """One tile or entry bundle: its level (or ``ENTRIES``), its index there, and its width."""

    level: int
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if not ENTRIES <= self.level <= MAX_LEVEL:
            raise FormatError(f"a tile's level lies between 0 and 63, not {self.level}")
        if self.index < 0 or not 1 <= self.width <= TILE_WIDTH:
            raise FormatError(f"no tile has index {self.index} and width {self.width}")

    @property
    def full(self) -> bool:
        """Whether the tile can never grow again."""
        return self.width == TILE_WIDTH

    @property
    def path(self) -> str:
        """The path below the log's prefix, such as ``tile/0/x001/067.p/8``."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        number = "/".join([*("x" + group for group in groups[:-1]), groups[-1]])
        return f"tile/{level}/{number}" + ("" if self.full else f".p/{self.width}")

    @classmethod
    def parse(cls, path: str) -> Tile:
        """The tile at a path; :class:`FormatError` for anything but its one spelling."""
        match = _PATH.fullmatch(path)
        if match is None:
            raise FormatError(f"a tile's path reads tile/<L>/<N>[.p/<W>], not {path[:200]!r}")
        level = ENTRIES if match["level"] == "entries" else int(match["level"])
        index = int(match["parents"].replace("x", "").replace("/", "") + match["last"])
        width = int(match["width"] or TILE_WIDTH)
        if match["width"] and width == TILE_WIDTH:
            raise FormatError("a full tile's path has no width")
        tile = cls(level, index, width)
        if tile.path != path:
            raise FormatError(f"this tile's path is {tile.path}, not {path[:200]!r}")
        return tile


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """The bytes of an entry bundle: each entry after its length as a big-endian uint16."""
    parts = []
    for entry in entries:
        if len(entry) > MAX_ENTRY:
            raise LeafTooLarge(f"an entry of {len(entry)} bytes is above {MAX_ENTRY}")
        parts += [len(entry).to_bytes(2, "big"), entry]
    return b"".join(parts)


def decode_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle; :class:`FormatError` when the bytes don't add up."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if at + 2 > len(data) or end > len(data):
            raise FormatError(f"entry {len(entries)} of the bundle, at byte {at}, is cut short")
        entries.append(data[at + 2 : end])
        at = end
    return entries


def partial_tiles(size: int) -> list[Tile]:
    """The partial tiles of a tree of ``size`` leaves: at most one per level."""
    found = []
    for level in range(ENTRIES, MAX_LEVEL + 1):
        count = size >> TILE_HEIGHT * max(level, 0)
        if not count:
            break
        if count % TILE_WIDTH:
            found.append(Tile(level, count // TILE_WIDTH, count % TILE_WIDTH))
    return found


def tiles_of(size: int) -> Iterator[Tile]:
    """Every tile and bundle of a tree of ``size`` leaves, full and partial."""
    for level in range(ENTRIES, MAX_LEVEL + 1):
        for index in range(size >> TILE_HEIGHT * (max(level, 0) + 1)):
            yield Tile(level, index)
    yield from partial_tiles(size)


class TileReader:
    """Reads tiles and entries of one folder, and the hashes that proofs are made of.

    Full tiles never change and are cached. A partial tile that was superseded is cut from a wider
    one, so every tile of every earlier checkpoint can be read.
    """

    def __init__(self, folder: Path, cached_tiles: int = 256) -> None:
        self._folder = folder
        self._full_tile = lru_cache(cached_tiles)(self._read_hashes)

    def read(self, tile: Tile) -> bytes:
        """The bytes of a tile or bundle; :class:`TileMissing` when the log doesn't reach it."""
        data = self._stored(tile)
        if tile.level == ENTRIES:
            return encode_bundle(_cut(decode_bundle(data), tile))
        if len(data) < tile.width * HASH_SIZE:
            raise TileMissing(f"{tile.path} has only {len(data)} bytes; rebuild the folder")
        return data[: tile.width * HASH_SIZE]

    def hashes(self, tile: Tile) -> list[bytes]:
        """The hashes of a tile, from left to right."""
        return self._full_tile(tile) if tile.full else self._read_hashes(tile)

    def entries(self, tile: Tile) -> list[bytes]:
        """The entries of a bundle."""
        return decode_bundle(self.read(tile))

    def entry(self, index: int, size: int) -> bytes:
        """Entry ``index`` of a tree of ``size`` leaves."""
        tile = tile_at(ENTRIES, index, size)
        return self.entries(tile)[index % TILE_WIDTH]

    def nodes(self, size: int) -> NodeReader:
        """The stored hashes of a tree of ``size`` leaves, for the proofs of ``proofs.merkle``."""

        def node(level: int, index: int) -> bytes:
            tile_level, height = divmod(level, TILE_HEIGHT)
            first = index << height
            hashes = self.hashes(tile_at(tile_level, first, size >> TILE_HEIGHT * tile_level))
            start = first % TILE_WIDTH
            row = hashes[start : start + (1 << height)]
            if len(row) != 1 << height:
                raise TileMissing(
                    f"node {index} at level {level} is not in a tree of {size} leaves"
                )
            return root_from_hashes(row)

        return node

    def _read_hashes(self, tile: Tile) -> list[bytes]:
        data = self.read(tile)
        return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]

    def _stored(self, tile: Tile) -> bytes:
        full = self._folder / Tile(tile.level, tile.index).path
        partial = full.with_name(full.name + ".p")
        for _ in range(_READ_ATTEMPTS):
            # The writer puts the wider tile there before it removes the narrower one; a listing
            # that was overtaken finds the wider one when it is taken again.
            candidates = [self._folder / tile.path]
            if not tile.full:
                widths = sorted(int(item.name) for item in partial.glob("*") if _is_width(item))
                candidates += [partial / str(width) for width in widths if width > tile.width]
                candidates.append(full)
            for candidate in candidates:
                try:
                    return candidate.read_bytes()
                except FileNotFoundError:
                    continue
        raise TileMissing(f"there is no {tile.path} in {self._folder}; the log may be shorter")


def tile_at(level: int, index: int, count: int) -> Tile:
    """The tile that holds item ``index`` of the ``count`` items at its level."""
    if not 0 <= index < count:
        raise TileMissing(f"there is no item {index} among {count}; the log may be shorter")
    number = index // TILE_WIDTH
    return Tile(level, number, min(TILE_WIDTH, count - number * TILE_WIDTH))


def _cut(entries: list[bytes], tile: Tile) -> list[bytes]:
    if len(entries) < tile.width:
        raise TileMissing(f"{tile.path} has only {len(entries)} entries; rebuild the folder")
    return entries[: tile.width]


def _is_width(item: Path) -> bool:
    return item.name.isascii() and item.name.isdigit()
