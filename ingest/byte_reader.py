"""Reads a file of any size from its beginning to its end, plain or compressed.

Invariant: no more is held than the longest piece that was asked for and one step; `position` counts
the plain bytes that were taken, whatever the file is packed in, so that reading can be taken up
there again. Nothing is raised but :class:`HistoryUnreadable` and what the file system raises.
Encodings: https://www.rfc-editor.org/rfc/rfc1952, https://www.rfc-editor.org/rfc/rfc8878,
https://www.rfc-editor.org/rfc/rfc7932
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import BinaryIO, Final, cast

import brotli
import zstandard

from ingest.errors import HistoryUnreadable

GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"

_STEP = 256 * 1024
_BITE = 1024
# What `zstd --long` asks for without being told more.
_ZSTD_WINDOW = 128 * 1024 * 1024


class ByteReader:
    """The plain bytes behind ``read``, which gives at most so many bytes, none at the end."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._held = bytearray()
        self._ended = False
        self.position = 0

    def peek(self, size: int) -> bytes:
        """The next bytes, which stay; fewer only where the file ends."""
        while len(self._held) < size and self._fill():
            pass
        return bytes(self._held[:size])

    def take(self, size: int) -> bytes:
        """The next bytes; fewer only where the file ends."""
        found = self.peek(size)
        self._drop(len(found))
        return found

    def skip(self, size: int) -> None:
        """Take so many bytes, or as many as there are, and hold none of them."""
        while size:
            if not self._held and not self._fill():
                return
            step = min(size, len(self._held))
            self._drop(step)
            size -= step

    def line(self, limit: int) -> bytes | None:
        """The next line with its end, empty at the end of the file.

        ``None`` for a line of more than ``limit`` bytes, which is skipped.
        """
        searched = 0
        too_long = False
        while True:
            end = self._held.find(b"\n", searched)
            if end >= 0:
                break
            searched = len(self._held)
            if searched > limit:
                too_long = True
                self._drop(searched)
                searched = 0
            if not self._fill():
                end = len(self._held) - 1
                break
        if too_long or end >= limit:
            self._drop(end + 1)
            return None
        return self.take(end + 1)

    def _fill(self) -> bool:
        if self._ended:
            return False
        try:
            found = self._read(_STEP)
        except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError, brotli.error) as error:
            raise HistoryUnreadable(
                f"the compressed data is damaged or ends early, {self.position} plain bytes into it"
            ) from error
        self._held += found
        self._ended = not found
        return bool(found)

    def _drop(self, size: int) -> None:
        del self._held[:size]
        self.position += size


def unpacked(packed: ByteReader, name: str) -> ByteReader:
    """What is in a file as it lies there; ``name`` tells Brotli, which has no mark of its own."""
    head = packed.peek(4)
    if head.startswith(GZIP_MAGIC):
        return ByteReader(gzip.GzipFile(fileobj=cast("BinaryIO", _Stream(packed))).read)
    if head.startswith(ZSTD_MAGIC):
        return ByteReader(_Zstandard(packed).read)
    return ByteReader(_Brotli(packed).read) if name.endswith(".br") else packed


class _Stream:
    """As much of a file as decompression asks for."""

    def __init__(self, packed: ByteReader) -> None:
        self._packed = packed

    def read(self, size: int = _STEP) -> bytes:
        return self._packed.take(size if size >= 0 else _STEP)


class _Zstandard:
    """Frames one behind the other; the library's own stream takes a cut one for whole."""

    def __init__(self, packed: ByteReader) -> None:
        self._packed = packed
        self._engine = self._next()

    def read(self, size: int) -> bytes:
        while True:
            if self._engine.eof:
                rest = self._engine.unused_data
                if not rest and not self._packed.peek(1):
                    return b""
                self._engine = self._next()
            else:
                rest = b""
            # Four bytes may hold 128 KiB: small bites keep small what comes of one.
            bite = rest or self._packed.take(_BITE)
            if not bite:
                raise EOFError
            plain = self._engine.decompress(bite)
            if plain:
                return plain

    def _next(self) -> zstandard.ZstdDecompressionObj:
        return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()


class _Brotli:
    """Brotli's engine as something that is read from."""

    def __init__(self, packed: ByteReader) -> None:
        self._packed = packed
        self._engine = brotli.Decompressor()

    def read(self, size: int) -> bytes:
        while not self._engine.is_finished():
            packed = b""
            if self._engine.can_accept_more_data():
                packed = self._packed.take(_STEP)
                if not packed:
                    raise EOFError
            plain: bytes = self._engine.process(packed, output_buffer_limit=size)
            if plain:
                return plain
        return b""
