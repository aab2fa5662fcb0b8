"""Bodies in every packing, within limits."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.bodies import ENCODINGS, read_body, unpack
from ingest.errors import BodyCorrupt, BodyTooLarge, EncodingUnsupported

PLAIN = b"some telemetry " * 1_000


def _raw_deflate(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "GZIP in capitals": ("GZIP", gzip.compress),
    "gzip of two members": (
        "gzip",
        lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]),
    ),
    "gzip padded with zeros": ("gzip", lambda data: gzip.compress(data) + bytes(20)),
    "gzip that no header announces": ("", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate without its wrapper": ("deflate", _raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.compress),
    "zstd of two frames": (
        "zstd",
        lambda data: zstandard.compress(data[:100]) + zstandard.compress(data[100:]),
    ),
    "zstd without a content size": (
        "zstd",
        lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
    ),
    "identity": ("identity", bytes),
    "none": ("", bytes),
    "two layers": ("gzip, br", lambda data: brotli.compress(gzip.compress(data))),
}


def read(
    body: bytes, encoding: str = "", *, limit: int = 1 << 20, headers: dict[str, str] | None = None
) -> bytes:
    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1_000):
            yield body[start : start + 1_000]

    named = {"content-encoding": encoding} if encoding else {}
    return asyncio.run(read_body(stream(), named | (headers or {}), limit))


@pytest.mark.parametrize("name", PACKERS)
def test_every_packing(name: str) -> None:
    encoding, pack = PACKERS[name]
    assert read(pack(PLAIN), encoding) == PLAIN


def test_an_empty_body() -> None:
    assert read(b"") == b""
    assert read(b"", "gzip") == b""


@pytest.mark.parametrize("name", [n for n in PACKERS if PACKERS[n][0] and n != "identity"])
@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_truncated_body_is_refused(name: str, cut: int) -> None:
    encoding, pack = PACKERS[name]
    packed = pack(PLAIN).rstrip(b"\x00") if "padded" in name else pack(PLAIN)
    with pytest.raises(BodyCorrupt, match="send it again, whole"):
        read(packed[:-cut], encoding)


def test_gzip_that_no_header_announces_is_refused_when_truncated() -> None:
    with pytest.raises(BodyCorrupt):
        read(gzip.compress(PLAIN)[:-4])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_body_of_another_kind_is_refused(encoding: str) -> None:
    with pytest.raises(BodyCorrupt):
        read(b"this was never compressed", encoding)


@pytest.mark.parametrize("encoding", ["lzma", "gzip, snappy", "gzip, gzip, gzip"])
def test_an_unknown_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(EncodingUnsupported, match="gzip, deflate, br, zstd"):
        read(b"x", encoding)


@pytest.mark.parametrize("name", PACKERS)
def test_the_limit_is_exact(name: str) -> None:
    encoding, pack = PACKERS[name]
    assert read(pack(PLAIN), encoding, limit=len(PLAIN)) == PLAIN
    with pytest.raises(BodyTooLarge):
        read(pack(PLAIN), encoding, limit=len(PLAIN) - 1)


BOMB_SIZE = 200_000_000


# Zeros are packed as small at the fastest level.
BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "deflate": lambda data: zlib.compress(data, 1),
    "br": lambda data: brotli.compress(data, quality=3),
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_stops_at_the_limit(encoding: str) -> None:
    bomb = BOMBS[encoding](bytes(BOMB_SIZE))
    assert len(bomb) < 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge, match="1000000 bytes"):
            unpack(bomb, (encoding,), 1_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_a_window_of_gigabytes_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    engine = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = engine.compress(b"x" * 100) + engine.flush()
    with pytest.raises(BodyCorrupt):
        read(frame, "zstd")


def test_an_announced_length_is_refused_before_anything_is_read() -> None:
    class Untouched:
        def __aiter__(self) -> Untouched:
            return self

        async def __anext__(self) -> bytes:
            raise AssertionError("the body was read")

    with pytest.raises(BodyTooLarge):
        asyncio.run(read_body(Untouched(), {"content-length": "2147483648"}, 1_000))


@pytest.mark.parametrize("length", ["-1", "1e3", "²", "9" * 30, "nonsense"])
def test_a_nonsense_length_is_ignored(length: str) -> None:
    assert read(b"x", headers={"content-length": length}) == b"x"


def test_an_endless_body_is_read_up_to_the_limit_only() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1_000
            yield bytes(1_000)

    with pytest.raises(BodyTooLarge):
        asyncio.run(read_body(endless(), {}, 50_000))
    assert taken <= 52_000


def test_what_the_stream_raises_passes_through() -> None:
    async def hung_up() -> AsyncIterator[bytes]:
        yield b"x"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(read_body(hung_up(), {}, 100))


@given(st.binary(max_size=300), st.sampled_from(ENCODINGS))
@settings(max_examples=400, deadline=None)
def test_no_bytes_bring_down_the_unpackers(data: bytes, encoding: str) -> None:
    try:
        assert len(unpack(data, (encoding,), 10_000)) <= 10_000
    except (BodyCorrupt, BodyTooLarge):
        return


@given(st.binary(max_size=300), st.sampled_from(sorted(PACKERS)), st.data())
@settings(max_examples=300, deadline=None)
def test_flipped_bits_give_an_error_or_some_bytes(
    plain: bytes, name: str, data: st.DataObject
) -> None:
    encoding, pack = PACKERS[name]
    packed = bytearray(pack(plain))
    if packed:
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read(bytes(packed), encoding, limit=100_000)
    except (BodyCorrupt, BodyTooLarge):
        return
