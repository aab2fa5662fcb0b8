"""What the benchmarks share: their sizes, one folder, and one server with a loaded graph.

Invariant: the server is started when the first benchmark needs it, holds one project's organisation
that came in through the gate, and is stopped at the end.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ParamSpec

from bench_data import Organisation, organisation
from bench_server import Server

from ontology.ids import Ids

P = ParamSpec("P")

PROJECT = "bench"
PART = 20_000
"""Triples that go into one proposal while the graph is loaded."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured. Counts are per round; ``seconds`` is the length of one load,
    ``settled`` of the rest before memory is looked at, ``swept`` the spans of a steward's sweep,
    ``loaded`` how long memory is watched under load, ``entities`` those of a catalog; ``projects``
    is how many there are, ``facts`` how many new ones are waited for one by one, ``rested`` the
    seconds of rest in which CPU is counted."""

    triples: int = 100_000
    rounds: int = 3
    seconds: float = 3.0
    settled: float = 3.0
    untyped: int = 150
    typed: int = 24
    payloads: int = 240
    spans: int = 500
    swept: int = 1_000_000
    loaded: float = 600.0
    verifications: int = 300
    entities: int = 50_000
    projects: int = 200
    facts: int = 5
    rested: float = 30.0
    tiny: bool = False


TINY = Sizes(
    triples=500,
    rounds=1,
    seconds=0.3,
    settled=0.2,
    untyped=8,
    typed=8,
    payloads=8,
    spans=20,
    swept=2_000,
    loaded=2.0,
    verifications=3,
    entities=50,
    projects=3,
    facts=1,
    rested=0.5,
    tiny=True,
)
GRAPHS: tuple[int, ...] = (100_000, 1_000_000)
TINY_GRAPHS: tuple[int, ...] = (16_000, 24_000)


@dataclass(frozen=True)
class GateOptions:
    """What the gate is measured on: graphs of about so many triples, whose stores are kept in
    ``cache`` if there is one, and where its plot goes."""

    graphs: tuple[int, ...]
    plot: Path
    cache: Path | None = None


class Context:
    """One run of benchmarks in ``folder``, which should be on the disk that is of interest."""

    def __init__(self, folder: Path, sizes: Sizes, gate: GateOptions, closing: ExitStack) -> None:
        self.folder = folder
        self.sizes = sizes
        self.gate = gate
        self.ids = Ids()
        self.key = ""
        """The project's ingest key, once the server runs."""
        self._running = closing.enter_context(ExitStack())

    @cached_property
    def organisation(self) -> Organisation:
        triples = self.sizes.triples
        parts = -(-triples // PART)
        return organisation(self.ids, PROJECT, triples, parts=parts, typed=False)

    @cached_property
    def server(self) -> Server:
        """The server, its project and the organisation in its graph."""
        server = self._running.enter_context(Server(self.folder / "platform"))
        with server.client() as client:
            self.key = client.create_project(PROJECT, label=None, restricted=False)["ingest_key"]
            for number, part in enumerate(self.organisation.parts, 1):
                say(f"loading the graph, {number} of {len(self.organisation.parts)}")
                answer = client.submit(part, "application/n-quads", {"project": PROJECT})
                assert answer["state"] == "applied", answer
        server.settle()
        return server

    def stop_server(self) -> None:
        """Stops the server; its folder stays as it is."""
        self._running.close()


def say(what: str) -> None:
    """Tells who waits what is being done."""
    print(f"... {what}", file=sys.stderr, flush=True)


def timed(work: Callable[P, object], *arguments: P.args, **named: P.kwargs) -> float:
    """Seconds that some work took."""
    started = time.perf_counter()
    work(*arguments, **named)
    return time.perf_counter() - started
