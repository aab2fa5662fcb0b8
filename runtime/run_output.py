"""The output of a run while it runs and shortly afterwards, for whoever follows it.

Invariant: what a run writes is never held up by who reads it, nor by nobody reading it. Readers get
all that was passed on, in the order in which it came, each at its own pace. The size is bounded by
the run's output limit; nothing of it has a name in the file system.
"""

from __future__ import annotations

import struct
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from runtime.commands import Stream

_HEAD = struct.Struct(">BI")
_STREAMS = tuple(Stream)
_LONGEST = 64 * 1024
_AT_A_TIME = 1024 * 1024


class RunOutput:
    """A sink that remembers. One thread writes, any number read; ``folder`` is where its file
    lies."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115 - see close()
        self._lock = threading.Lock()
        self._size = 0
        self._closed = False

    def __call__(self, stream: Stream, chunk: bytes) -> None:
        """Raises :class:`OSError` where there is no room for it."""
        pieces = bytearray()
        for start in range(0, len(chunk), _LONGEST):
            piece = chunk[start : start + _LONGEST]
            pieces += _HEAD.pack(_STREAMS.index(stream), len(piece)) + piece
        with self._lock:
            if self._closed:
                return
            self._file.seek(self._size)
            written = 0
            while written < len(pieces):
                written += self._file.write(memoryview(pieces)[written:])
            self._size += len(pieces)

    def after(self, place: int) -> tuple[list[tuple[Stream, bytes]], int]:
        """Some chunks that follow this place, 0 for the beginning, and the place behind them."""
        with self._lock:
            if self._closed or place >= self._size:
                return [], place
            self._file.seek(place)
            data = self._file.read(min(self._size - place, _AT_A_TIME + _LONGEST + _HEAD.size))
        found = []
        at = 0
        while at + _HEAD.size <= len(data):
            stream, length = _HEAD.unpack_from(data, at)
            end = at + _HEAD.size + length
            if end > len(data):
                break
            found.append((_STREAMS[stream], data[at + _HEAD.size : end]))
            at = end
        return found, place + at

    def of(self, stream: Stream) -> bytes:
        """All of one stream."""
        return b"".join(chunk for each, chunk in self._all() if each is stream)

    def close(self) -> None:
        """Forgets all of it; what is written afterwards is let fall."""
        with self._lock:
            self._closed = True
            self._file.close()

    def _all(self) -> Iterator[tuple[Stream, bytes]]:
        place = 0
        while True:
            chunks, place = self.after(place)
            if not chunks:
                return
            yield from chunks
