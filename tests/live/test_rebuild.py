"""What is derived may be deleted: the next start makes it again, the same to the byte."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.live.conftest import Grown, Serve, Server

pytestmark = pytest.mark.live

QUESTIONS = (
    "SELECT (COUNT(*) AS ?n) { ?s ?p ?o }",
    "SELECT ?g (COUNT(*) AS ?n) { GRAPH ?g { ?s ?p ?o } } GROUP BY ?g",
    "SELECT ?s ?p ?o { GRAPH ?g { ?s ?p ?o } FILTER(CONTAINS(STR(?g), '/lineage/')) }",
    "SELECT ?s ?p ?o { GRAPH <http://fractalops.localhost/graph/proposals> { ?s ?p ?o } }",
)
FACTS = (
    "SELECT project, class, rule, subject, count() FROM events GROUP BY ALL ORDER BY ALL",
    "SELECT event_id, seq, batch, name, kind, time FROM events ORDER BY event_id",
    "SELECT * FROM proof_entries ORDER BY index",
)


@dataclass(frozen=True)
class Seen:
    """All that can be seen of a folder: its state, its answers, its published files."""

    head: int
    state_digest: str
    quads: int
    answers: tuple[list[tuple[str, ...]], ...]
    facts: tuple[list[list[Any]], ...]
    proposals: list[dict[str, Any]]
    files: dict[str, str]


def look(server: Server) -> Seen:
    server.settle()
    status = server.get("/status")
    return Seen(
        status["head"],
        status["state_digest"],
        status["quads"],
        tuple(server.select(query) for query in QUESTIONS),
        tuple(server.facts(sql) for sql in FACTS),
        server.get("/proposals", limit=500)["items"],
        files(server.data / "log"),
    )


def files(folder: Path) -> dict[str, str]:
    """Every file below a folder by the digest of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def delete(data: Path, name: str) -> None:
    path = data / name
    if path.is_dir():
        shutil.rmtree(path)
        return
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def before(grown: Grown, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    with grown.served(tmp_path_factory.mktemp("before")) as server:
        return look(server.start())


@pytest.mark.parametrize(
    "names",
    [
        ("graph",),
        ("log",),
        ("snapshots", "index.sqlite"),
        ("facts",),
        ("graph", "log", "snapshots", "index.sqlite", "facts"),
    ],
    ids=lambda names: "+".join(names),
)
def test_what_is_derived_comes_back(
    grown: Grown, before: Seen, serve: Serve, tmp_path: Path, names: tuple[str, ...]
) -> None:
    data = grown.copy(tmp_path / "data")
    for name in names:
        assert (data / name).exists()
        delete(data, name)
    server = serve(data).start()
    assert look(server) == before
    assert server.post("/proofs/audit")["ok"]
    assert server.stop() == 0
