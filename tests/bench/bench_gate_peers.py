"""Who the gate is measured beside, and which changes each of them is given.

Invariant: a peer that is not measured, or not to the end, is in the notes with the reason.
"""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Sequence
from pathlib import Path

import bench_peer_rdf4j
from bench_changes import KINDS, Change
from bench_context import say
from bench_gate_report import Gate, size_name
from bench_peer_rdf4j import Unavailable
from bench_peers import Peer, python, run, write_data, write_shapes
from bench_stores import Built

NEAR = "pySHACL, neighbourhood"
WHOLE = "pySHACL, whole graph"
RUDOF = "pyrudof, whole graph"
WHOLE_BUDGET = 300.0
"""Seconds for engines that need up to a minute for each validation."""

Counts = tuple[tuple[int, int], ...]
"""How many of each kind, by size of change."""


class Beside:
    """The peers of one run. Stores that they build on disk go to ``kept``."""

    def __init__(
        self, gate: Gate, folder: Path, kept: Path, near: Counts, rdf4j: Counts, budget: float
    ) -> None:
        self._gate = gate
        self._folder = folder
        self._kept = kept
        self._near = near
        self._rdf4j = rdf4j
        self._budget = budget
        self._java = self._built()

    def measure(
        self,
        graph: int,
        built: Built,
        files: Path,
        changes: Sequence[Change],
        warming: Sequence[str],
        *,
        whole: bool,
    ) -> None:
        """Every peer on one graph; with ``whole`` those too that know nothing but whole graphs."""
        write_shapes(files)
        if whole or self._java:
            write_data(files, built)
        if self._java:
            self._beside_rdf4j(graph, built, files, changes, warming)
        say(f"{NEAR}, on {size_name(graph)} triples")
        given = _given(changes, self._near)
        command = python("bench_peer_pyshacl.py", "neighbourhood", str(files))
        self._take(graph, run(NEAR, command, _names(given), self._budget), given)
        if whole:
            self._beside_whole(graph, files, changes)
        (files / "data.nt").unlink(missing_ok=True)

    def _built(self) -> list[str] | None:
        if not self._rdf4j:
            self._gate.notes.append("RDF4J's ShaclSail: left out")
            return None
        say("building RDF4J's ShaclSail")
        folder = self._folder / "rdf4j"
        folder.mkdir()
        try:
            return bench_peer_rdf4j.build(folder)
        except Unavailable as error:
            self._gate.notes.append(str(error))
            return None

    def _beside_rdf4j(
        self,
        graph: int,
        built: Built,
        files: Path,
        changes: Sequence[Change],
        warming: Sequence[str],
    ) -> None:
        assert self._java is not None
        given = _given(changes, self._rdf4j)
        for kind, name in bench_peer_rdf4j.STORES.items():
            say(f"{name}, on {size_name(graph)} triples")
            place = self._kept / f"{kind}-{built.name}"
            names = [*warming, *_names(given)]
            peer = bench_peer_rdf4j.measure(self._java, kind, files, place, names, self._budget)
            self._take(graph, peer, given)
            self._tell_unvalidated(graph, peer, given)

    def _tell_unvalidated(self, graph: int, peer: Peer, given: Sequence[Change]) -> None:
        for size, _ in self._rdf4j:
            bare = [
                outcome.unvalidated
                for each in given
                if each.size == size and (outcome := peer.outcomes.get(each.name))
                if outcome.unvalidated is not None
            ]
            if bare:
                self._gate.notes.append(
                    f"{peer.name}, on {size_name(graph)}: of a change of {size:,},"
                    f" {1000 * statistics.median(bare):.2f} ms are the commit itself, without"
                    " validation"
                )

    def _beside_whole(self, graph: int, files: Path, changes: Sequence[Change]) -> None:
        """They look at the whole graph whatever the change is: the smallest are enough."""
        given = _given(changes, ((self._near[0][0], 1),))
        engines = {
            WHOLE: (
                python("bench_peer_pyshacl.py", "whole", str(files)),
                # One that conforms and one that doesn't.
                [next(each for each in given if each.sound is sound) for sound in (True, False)],
            )
        }
        if importlib.util.find_spec("pyrudof"):
            engines[RUDOF] = (python("bench_peer_pyrudof.py", str(files)), given)
        else:
            self._gate.notes.append("pyrudof: not measured, it is not installed")
        for name, (command, some) in engines.items():
            say(f"{name}, on {size_name(graph)} triples")
            peer = run(name, command, _names(some), WHOLE_BUDGET)
            self._tell(graph, peer, some)
            cell = self._gate.cell(graph, "whole", 0)
            cell.peers[name] = [outcome.seconds for outcome in peer.outcomes.values()]

    def _take(self, graph: int, peer: Peer, given: Sequence[Change]) -> None:
        self._tell(graph, peer, given)
        for each in given:
            outcome = peer.outcomes.get(each.name)
            if outcome is not None and each.sound:
                cell = self._gate.cell(graph, each.kind, each.size)
                cell.peers.setdefault(peer.name, []).append(outcome.seconds)

    def _tell(self, graph: int, peer: Peer, given: Sequence[Change]) -> None:
        if peer.note:
            self._gate.notes.append(f"{peer.name}, on {size_name(graph)}: {peer.note}")
        for each in given:
            outcome = peer.outcomes.get(each.name)
            if outcome is not None:
                self._gate.told(each.name, graph, peer.name, outcome.conforms, each.sound)


def _given(changes: Sequence[Change], counts: Counts) -> list[Change]:
    """The first so many sound changes of each kind and size, and the broken ones of these sizes.

    They come so that a peer that is cut off has seen some of each: few large ones, more small."""
    wanted = {(kind, size): count for size, count in counts for kind in KINDS}
    taken: dict[tuple[str, int, bool], int] = {}
    given = []
    for each in changes:
        place = taken.get((each.kind, each.size, each.sound), 0)
        count = wanted.get((each.kind, each.size), 0)
        if place < count or (count and not each.sound):
            taken[each.kind, each.size, each.sound] = place + 1
            given.append(((place + 1) * each.size, each))
    return [each for _, each in sorted(given, key=lambda pair: pair[0])]


def _names(changes: Sequence[Change]) -> list[str]:
    return [each.name for each in changes]
