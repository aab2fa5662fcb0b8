"""A body as it comes over the wire, unpacked within a limit.

Invariant: no more than :data:`PIECE` bytes are unpacked at once, whatever a few packed bytes would
become, and nothing beyond the limit. A body that ends before its end is no body.
Specification: https://www.rfc-editor.org/rfc/rfc9110#name-content-codings
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from runtime.errors import HttpTooLarge, HttpUnreadable

PIECE: Final = 64 * 1024

ACCEPTED: Final = "gzip"
"""What is asked for: the one coding that is unpacked here."""

_GZIP = 31


class Unpacking:
    """One body. ``encoding`` is what its headers say; ``where`` is told in messages; ``limit`` is
    in bytes, ``None`` for as many as come. Raises :class:`HttpUnreadable`."""

    def __init__(self, encoding: str, where: str, limit: int | None) -> None:
        named = [name.strip().lower() for name in encoding.split(",")]
        kinds = [name for name in named if name not in ("", "identity")]
        if kinds not in ([], ["gzip"], ["x-gzip"]):
            raise HttpUnreadable(f"{where} answers with a body that is packed as nobody asked for")
        self._where = where
        self._limit = limit
        self._packed = bool(kinds)
        self._gzip = zlib.decompressobj(_GZIP)
        self._begun = False
        self._raw = self._plain = 0

    def declared(self, length: str) -> None:
        """Check what the headers say of its length. Raises :class:`HttpTooLarge`."""
        if length.isascii() and length.isdigit():
            self._check(int(length[:20]))

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What bytes of the wire become. Raises :class:`HttpTooLarge` and
        :class:`HttpUnreadable`."""
        self._raw += len(data)
        self._check(self._raw)
        for piece in self._unpacked(data) if self._packed else (data,):
            self._plain += len(piece)
            self._check(self._plain)
            if piece:
                yield piece

    def end(self) -> None:
        """Nothing more comes. Raises :class:`HttpUnreadable` where something is missing."""
        if self._begun and not self._gzip.eof:
            raise HttpUnreadable(f"{self._where} answers with a body that is cut off")

    def _unpacked(self, data: bytes) -> Iterator[bytes]:
        while data or not self._gzip.eof:
            if self._gzip.eof:
                # Another member follows.
                self._gzip, self._begun = zlib.decompressobj(_GZIP), False
            self._begun = self._begun or bool(data)
            try:
                piece = self._gzip.decompress(data, PIECE)
            except zlib.error as error:
                raise HttpUnreadable(f"{self._where} answers with a damaged body") from error
            data = self._gzip.unused_data if self._gzip.eof else self._gzip.unconsumed_tail
            yield piece
            if not data and len(piece) < PIECE:
                return

    def _check(self, size: int) -> None:
        if self._limit is not None and size > self._limit:
            raise HttpTooLarge(
                f"{self._where} answers with more than {self._limit} bytes", self._limit
            )
