"""Reads a request body within limits, whatever it is packed in.

Invariant: no request makes the reader hold more than its limit of compressed bytes plus its limit
of plain ones: reading stops there, whatever a length header or a compression ratio promises.
Encodings: https://www.rfc-editor.org/rfc/rfc9110#name-content-encoding; official clients also send
gzip that no header announces, which its first two bytes give away.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterable, Mapping
from typing import Final

import brotli
import zstandard

from ingest.errors import BodyCorrupt, BodyTooLarge, EncodingUnsupported

MAX_BODY: Final = 20 * 1024 * 1024
ENCODINGS: Final = ("gzip", "deflate", "br", "zstd")

_GZIP_MAGIC = b"\x1f\x8b"
_MAX_LAYERS = 2
_STEP = 64 * 1024
# A frame may ask its reader for a window of gigabytes; RFC 8878 recommends to support 8 MiB.
_ZSTD_WINDOW = 8 * 1024 * 1024
_NAMES = {"x-gzip": "gzip"}


async def read_body(
    stream: AsyncIterable[bytes], headers: Mapping[str, str], limit: int = MAX_BODY
) -> bytes:
    """The plain bytes of a body, at most ``limit`` of them.

    ``headers`` has lower-case names or ignores case. Raises :class:`BodyTooLarge` as soon as a
    header or the bytes so far exceed the limit, :class:`BodyCorrupt` when the compressed data ends
    early or is damaged, :class:`EncodingUnsupported`; whatever the stream raises passes through.
    """
    return await plain_body(await packed_body(stream, headers, limit), headers, limit)


async def packed_body(
    stream: AsyncIterable[bytes], headers: Mapping[str, str], limit: int = MAX_BODY
) -> bytes:
    """The bytes of a body as they come. Raises as :func:`read_body` does."""
    # What can't be unpacked need not be read.
    _layers(headers.get("content-encoding", ""))
    if _announced(headers) > limit:
        raise _too_large(limit)
    packed = bytearray()
    async for chunk in stream:
        packed += chunk
        if len(packed) > limit:
            raise _too_large(limit)
    return bytes(packed)


async def plain_body(data: bytes, headers: Mapping[str, str], limit: int = MAX_BODY) -> bytes:
    """The bytes below what a body is packed in. Raises as :func:`read_body` does."""
    layers = _layers(headers.get("content-encoding", ""))
    if not layers and data.startswith(_GZIP_MAGIC):
        layers = ("gzip",)
    if not layers or not data:
        return data
    return await asyncio.to_thread(unpack, data, layers, limit)


def unpack(data: bytes, layers: tuple[str, ...], limit: int) -> bytes:
    """The bytes below these layers of compression, the innermost named first as in the header."""
    for name in reversed(layers):
        data = _UNPACKERS[name](data, limit)
    return data


def _layers(header: str) -> tuple[str, ...]:
    names = [name.strip().lower() for name in header.split(",")]
    layers = tuple(_NAMES.get(name, name) for name in names if name not in ("", "identity"))
    unknown = [name for name in layers if name not in ENCODINGS]
    if unknown or len(layers) > _MAX_LAYERS:
        raise EncodingUnsupported(
            f"send the body plain or with Content-Encoding {', '.join(ENCODINGS)}"
        )
    return layers


def _announced(headers: Mapping[str, str]) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"a body may have {limit} bytes, compressed or not; split it into smaller requests"
    )


def _corrupt(encoding: str) -> BodyCorrupt:
    return BodyCorrupt(f"the body ends early or is not valid {encoding}; send it again, whole")


def _gzip(data: bytes, limit: int) -> bytes:
    """One or more members, RFC 1952."""
    plain = bytearray()
    while data:
        plain_member, data = _inflate(data, 31, limit - len(plain), "gzip", limit)
        plain += plain_member
        # Some writers pad the last member with zeros.
        data = data.lstrip(b"\x00")
    return bytes(plain)


def _deflate(data: bytes, limit: int) -> bytes:
    """RFC 9110 means the zlib format; some clients send the raw one."""
    is_zlib = len(data) >= 2 and data[0] & 15 == 8 and int.from_bytes(data[:2]) % 31 == 0
    plain, rest = _inflate(data, 15 if is_zlib else -15, limit, "deflate", limit)
    if rest:
        raise _corrupt("deflate")
    return plain


def _inflate(data: bytes, window: int, room: int, name: str, limit: int) -> tuple[bytes, bytes]:
    engine = zlib.decompressobj(window)
    try:
        plain = engine.decompress(data, room + 1)
    except zlib.error as error:
        raise _corrupt(name) from error
    if len(plain) > room:
        raise _too_large(limit)
    if not engine.eof:
        raise _corrupt(name)
    return plain, engine.unused_data


def _brotli(data: bytes, limit: int) -> bytes:
    engine = brotli.Decompressor()
    plain = bytearray()
    try:
        plain += engine.process(data, output_buffer_limit=_STEP)
        while not engine.is_finished():
            more = engine.process(b"", output_buffer_limit=_STEP)
            if not more and engine.can_accept_more_data():
                raise _corrupt("br")
            plain += more
            if len(plain) > limit:
                raise _too_large(limit)
    except brotli.error as error:
        raise _corrupt("br") from error
    if len(plain) > limit:
        raise _too_large(limit)
    return bytes(plain)


def _zstd(data: bytes, limit: int) -> bytes:
    """One or more frames, RFC 8878."""
    plain = bytearray()
    while data:
        engine = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        position = 0
        try:
            while not engine.eof:
                if position >= len(data):
                    raise _corrupt("zstd")
                # A block of four bytes may hold 128 KiB: small bites keep the overshoot small.
                plain += engine.decompress(data[position : position + 256])
                position += 256
                if len(plain) > limit:
                    raise _too_large(limit)
        except zstandard.ZstdError as error:
            raise _corrupt("zstd") from error
        data = engine.unused_data + data[position:]
    return bytes(plain)


_UNPACKERS = {"gzip": _gzip, "deflate": _deflate, "br": _brotli, "zstd": _zstd}
