"""Graph stores on disk that hold a generated organisation, built in bulk and kept for the next run.

Invariant: a store is what the platform itself would hold after genesis, the founding of every
project and the same lineage: named graphs, and their deduplicated merge in the default graph. A
store that was kept is used only if the same code made it.
Source: https://pyoxigraph.readthedocs.io/en/stable/store.html
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import bench_organisation
import pyoxigraph
from bench_context import say
from bench_organisation import Organisation, slug_of
from pyoxigraph import DefaultGraph, RdfFormat, Store

from ontology import ids as ontology_ids
from ontology import vocab
from ontology.ids import Ids
from ontology.library import ontology_turtle, rules_turtle
from ontology.store import GraphStore
from ontology.terms import to_nquads
from proofs import genesis
from proofs.genesis import genesis_delta, project_delta
from shapes.library import shapes_turtle

ORGANISATION = "bench"
_PIECE = 1 << 24


@dataclass(frozen=True)
class Built:
    """A store's folder, what it holds, and the seconds that building it took (``None``: it was
    there). ``code`` is a digest of what made it, ``triples`` counts the merge."""

    path: Path
    organisation: Organisation
    code: str
    triples: int
    quads: int
    seconds: float | None

    @property
    def name(self) -> str:
        """Different for stores that different code made."""
        return f"{self.path.name}-{self.code[:12]}"

    def open(self) -> GraphStore:
        """Opens it with its files in the page cache, as those of a platform at work are."""
        for file in self.path.iterdir():
            with file.open("rb", buffering=0) as opened:
                while opened.read(_PIECE):
                    pass
        return GraphStore(self.path, self.organisation.ids)


def build(ids: Ids, triples: int, folder: Path) -> Built:
    """The store of an organisation of about so many triples, in ``folder`` or made there."""
    organisation = Organisation.of_about(ids, triples)
    path, stamp = folder / f"store-{triples}", folder / f"store-{triples}.json"
    code = _code()
    if stamp.exists() and path.is_dir():
        found = json.loads(stamp.read_text(encoding="utf-8"))
        if found["code"] == code:
            return Built(path, organisation, code, found["triples"], found["quads"], None)
    stamp.unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    say(f"loading {triples:,} triples")
    started = time.perf_counter()
    store = Store(str(path))
    stream = io.BufferedReader(_Stream(_stored(organisation)), 1 << 20)
    store.bulk_load(stream, RdfFormat.N_QUADS)
    store.optimize()
    seconds = time.perf_counter() - started
    held = sum(1 for _ in store.quads_for_pattern(None, None, None, DefaultGraph()))
    built = Built(path, organisation, code, held, len(store), seconds)
    del store
    kept = {"code": code, "triples": built.triples, "quads": built.quads}
    stamp.write_text(json.dumps(kept), encoding="utf-8")
    return built


def merged(organisation: Organisation) -> Iterator[bytes]:
    """The merge as N-Triples; a few triples come twice."""
    for lines in _founding(organisation):
        for line in lines.splitlines():
            yield _triple(line)
    for subject, predicate, value, _ in organisation.quads():
        yield f"{subject} {predicate} {value} .\n".encode()


def _stored(organisation: Organisation) -> Iterator[bytes]:
    """N-Quads of what a store holds: every quad in its named graph, and in the merge."""
    for lines in _founding(organisation):
        for line in lines.splitlines():
            yield line + b"\n" + _triple(line)
    for subject, predicate, value, graph in organisation.quads():
        triple = f"{subject} {predicate} {value}"
        yield f"{triple} {graph} .\n{triple} .\n".encode()


def _triple(line: bytes) -> bytes:
    """A canonical line without its graph."""
    return line.rsplit(b" ", 2)[0] + b" .\n"


def _founding(organisation: Organisation) -> Iterator[bytes]:
    """Genesis and the founding of every project, as lines in named graphs."""
    ids = organisation.ids
    yield to_nquads(genesis_delta(ids, ORGANISATION, "operator", timedelta(0)).additions)
    owner = ids.organisation(ORGANISATION)
    for number in range(organisation.projects):
        slug = slug_of(number)
        yield to_nquads(project_delta(ids, owner, slug, slug).additions)


def _code() -> str:
    """A digest of whatever decides what is in a store."""
    digest = hashlib.sha256(pyoxigraph.__version__.encode())
    for module in (bench_organisation, genesis, ontology_ids, vocab, sys.modules[__name__]):
        assert module.__file__ is not None
        digest.update(Path(module.__file__).read_bytes())
    for documents in (ontology_turtle(), rules_turtle(), shapes_turtle()):
        for turtle in documents.values():
            digest.update(turtle)
    return digest.hexdigest()


class _Stream(io.RawIOBase):
    """Generated bytes as a file, so that no copy of a large graph is written first."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while len(self._rest) < len(buffer):
            more = b"".join(itertools.islice(self._parts, 500))
            if not more:
                break
            self._rest += more
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
