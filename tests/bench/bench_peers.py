"""Other SHACL engines, each run as a program of its own over the same files.

Invariant: every peer reads the same triples, shapes and changes, says how long its validation of
each change took and whether it conforms, and undoes it, so that all changes meet the same graph.
Reading files, parsing and undoing are never in the time. What runs here shares no heap with what is
measured beside it.

A folder for peers holds ``shapes.nt``, ``data.nt`` (the merge), and for each change
``NAME.add.nt``, ``NAME.remove.nt``, ``NAME.around.nt`` (a ready-made neighbourhood of the
post-state) and ``NAME.foci.txt`` (the nodes it was made for).
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench_changes import Change
from bench_stores import Built, merged
from pyoxigraph import NamedNode, Quad, RdfFormat, parse, serialize

from ontology.store import GraphStore
from ontology.terms import Delta
from ontology.vocab import Rdf, Rdfs
from shapes.library import shapes_turtle

_TYPE, _SUBCLASS = NamedNode(Rdf.type), NamedNode(Rdfs.subClassOf)


@dataclass(frozen=True)
class Outcome:
    """Seconds that one validation took, and its verdict. ``unvalidated`` is what the same took
    without validation, where the engine writes as it validates."""

    seconds: float
    conforms: bool
    unvalidated: float | None = None


@dataclass
class Peer:
    """What one engine made of the changes it came to, and what the reader should know of it."""

    name: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    loading: float | None = None
    note: str = ""


def write_shapes(folder: Path) -> None:
    triples = [
        quad.triple
        for turtle in shapes_turtle().values()
        for quad in parse(turtle, format=RdfFormat.TURTLE)
    ]
    serialize(triples, folder / "shapes.nt", RdfFormat.N_TRIPLES)


def write_data(folder: Path, built: Built) -> None:
    with (folder / "data.nt").open("wb") as file:
        file.writelines(merged(built.organisation))


def write_change(folder: Path, store: GraphStore, change: Change, *, around: bool) -> None:
    """The change's files; its neighbourhood only where somebody will ask for it."""
    _write(folder / f"{change.name}.add.nt", _lines(change.delta.additions))
    _write(folder / f"{change.name}.remove.nt", _lines(change.delta.removals))
    if around:
        foci, lines = neighbourhood(store, change.delta)
        _write(folder / f"{change.name}.around.nt", lines)
        _write(folder / f"{change.name}.foci.txt", (f"{focus}\n" for focus in foci))


def _lines(quads: Iterable[Quad]) -> set[str]:
    """Their triples."""
    return {f"{quad.subject} {quad.predicate} {quad.object} .\n" for quad in quads}


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(sorted(lines)), encoding="utf-8")


def neighbourhood(store: GraphStore, delta: Delta) -> tuple[set[NamedNode], set[str]]:
    """The nodes whose verdict can turn, and what shapes of paths of one step need to know of them.

    These are the delta's subjects and whoever refers to one whose type changes; needed are their
    own triples, their values' types, and the class hierarchy.
    """
    foci = {_named(quad.subject) for quad in delta.quads}
    for retyped in {_named(quad.subject) for quad in delta.quads if quad.predicate == _TYPE}:
        for quad in store.match(None, None, retyped):
            foci.add(_named(quad.subject))
    lines = _lines(store.match(None, _SUBCLASS))
    gone, come = _lines(delta.removals), _lines(delta.additions)
    values: set[NamedNode] = set()
    for focus in foci:
        known = list(store.match(focus))
        lines |= _lines(known)
        values |= {quad.object for quad in known if isinstance(quad.object, NamedNode)}
    values |= {quad.object for quad in delta.additions if isinstance(quad.object, NamedNode)}
    for value in values - foci:
        lines |= _lines(store.match(value, _TYPE))
    return foci, (lines - gone) | come


def _named(term: object) -> NamedNode:
    assert isinstance(term, NamedNode)
    return term


def run(name: str, command: Sequence[str], names: Sequence[str], budget: float) -> Peer:
    """Runs a peer over these changes until it is through, or ``budget`` seconds after it has loaded
    its data. Raises RuntimeError when it fails."""
    peer = Peer(name)
    process = subprocess.Popen(
        [*command, *names],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said: list[str] = []
    listening = threading.Thread(target=said.extend, args=(process.stderr,))
    listening.start()
    cut = threading.Event()

    def stop() -> None:
        cut.set()
        process.kill()

    clock = threading.Timer(budget, stop)
    try:
        for line in process.stdout:
            found = json.loads(line)
            if "loaded" in found:
                peer.loading = found["loaded"]
                clock.start()
            else:
                name_of_change = found.pop("name")
                peer.outcomes[name_of_change] = Outcome(**found)
    finally:
        clock.cancel()
        if not cut.is_set() and sys.exc_info()[0] is not None:
            process.kill()
        code = process.wait()
        listening.join()
        process.stdout.close()
        process.stderr.close()
    if cut.is_set():
        left = len(names) - len(peer.outcomes)
        peer.note = f"{left} of {len(names)} changes left out after {budget:.0f} s"
    elif code:
        raise RuntimeError(f"{name} failed with {code}: {''.join(said[-20:])}")
    return peer


def python(program: str, *arguments: str) -> list[str]:
    """The command of a peer that is written in Python."""
    return [sys.executable, str(Path(__file__).with_name(program)), *arguments]
