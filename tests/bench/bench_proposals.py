"""Proposals committed per second: one at a time, and from eight clients at once.

Baselines: the same quads, parsed and written straight into an embedded store on the same disk, one
atomic write for each delta, without the gate and without fsync; and how often that disk completes
an append with fdatasync, which every commit needs at least once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bench_client import run_client, write_requests
from bench_context import PROJECT, Context, say, timed
from bench_data import delta
from bench_figures import Baseline, Figure
from pyoxigraph import RdfFormat, Store, parse

CLIENTS = 8
_FSYNCS = 300
_BLOCK = bytes(4096)


def measure(context: Context) -> list[Figure]:
    found: dict[tuple[bool, int], list[float]] = {}
    notes: dict[tuple[bool, int], str] = {}
    written: dict[bool, list[float]] = {False: [], True: []}
    synced = []
    sizes = context.sizes
    for number in range(sizes.rounds):
        for typed, count in ((False, sizes.untyped), (True, sizes.typed)):
            for clients in (1, CLIENTS):
                say(f"proposals, {clients} clients, typed {typed}, round {number + 1}")
                names = [f"d{number}-{clients}-{place}" for place in range(count)]
                bodies = [delta(context.ids, PROJECT, name, typed=typed) for name in names]
                requests = context.folder / "requests"
                write_requests(requests, map(_request(context), bodies))
                load = run_client(requests, context.server.port, clients).expect(201)
                found.setdefault((typed, clients), []).append(load.rate)
                notes[typed, clients] = load.times()
                if clients == 1:
                    path = context.folder / f"store-{number}-{typed}"
                    written[typed].append(count / _write(path, bodies))
        synced.append(_FSYNCS / _sync(context.folder / "appended"))
    sync = Baseline("append + fdatasync", tuple(synced))
    return [
        Figure(
            f"proposals of 20 {'typed' if typed else 'untyped'} quads, {_clients(clients)}",
            "/s",
            tuple(rates),
            (Baseline("straight to pyoxigraph", tuple(written[typed])), sync),
            note=notes[typed, clients],
        )
        for (typed, clients), rates in found.items()
    ]


def _clients(count: int) -> str:
    return "1 client" if count == 1 else f"{count} clients"


class _request:
    """A proposal as bytes on the wire."""

    def __init__(self, context: Context) -> None:
        self._token = context.server.token

    def __call__(self, body: bytes) -> bytes:
        head = (
            f"POST /proposals?project={PROJECT} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Type: application/n-quads\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def _write(path: Path, bodies: Sequence[bytes]) -> float:
    store = Store(str(path))

    def write() -> None:
        for body in bodies:
            store.extend(parse(body, format=RdfFormat.N_QUADS))

    return timed(write)


def _sync(path: Path) -> float:
    with path.open("ab", buffering=0) as file:

        def append() -> None:
            for _ in range(_FSYNCS):
                file.write(_BLOCK)
                os.fdatasync(file.fileno())

        return timed(append)
