"""SPARQL queries per second, and how long they take, over eight connections.

Baseline: the engine's own HTTP server (``oxigraph serve-read-only``, PyPI ``oxigraph``) on the very
files that our workers read, a copy of the newest snapshot, under the same load, in turns.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from bench_context import Context, say
from bench_data import SEED, UNKNOWN
from bench_figures import Baseline, Figure
from bench_server import free_port
from bench_wrk import get_load

from ontology.vocab import Rdfs

CONNECTIONS = 8
JSON = "application/sparql-results+json"
QUERIES = {
    "point lookup": "SELECT ?p ?o { <%s> ?p ?o }",
    "3-hop join": f"SELECT ?c ?l {{ <%s> <{UNKNOWN}calls> ?a . ?a <{UNKNOWN}calls> ?b ."
    f" ?b <{UNKNOWN}calls> ?c . ?c <{Rdfs.label}> ?l }}",
}
AIMS = {"point lookup": "0.5", "3-hop join": "0.9"}


def measure(context: Context) -> list[Figure]:
    server, sizes = context.server, context.sizes
    services = list(context.organisation.services)
    random.Random(SEED).shuffle(services)
    headers = {"Accept": JSON}
    ours: dict[str, list[float]] = {name: [] for name in QUERIES}
    theirs: dict[str, list[float]] = {name: [] for name in QUERIES}
    notes: dict[str, tuple[str, str]] = {}
    with _peer(context.folder, _newest(server.data / "snapshots")) as port:
        for number in range(sizes.rounds):
            for name, query in QUERIES.items():
                say(f"queries, {name}, round {number + 1}")
                asked = [f"query={quote(query % service)}" for service in services]
                mine = get_load(
                    context.folder,
                    server.port,
                    [f"/sparql?{query}" for query in asked],
                    {**headers, "Authorization": f"Bearer {server.token}"},
                    CONNECTIONS,
                    sizes.seconds,
                )
                peers = get_load(
                    context.folder,
                    port,
                    [f"/query?{query}" for query in asked],
                    headers,
                    CONNECTIONS,
                    sizes.seconds,
                )
                ours[name].append(mine.rate)
                theirs[name].append(peers.rate)
                notes[name] = (mine.times(), peers.times())
    return [
        Figure(
            f"queries, {name}",
            "/s",
            tuple(ours[name]),
            (Baseline("oxigraph serve-read-only", tuple(theirs[name]), note=notes[name][1]),),
            aim=f"aim: a ratio of {AIMS[name]} or more",
            note=notes[name][0],
        )
        for name in QUERIES
    ]


def _newest(snapshots: Path) -> Path:
    return max(
        (path for path in snapshots.iterdir() if path.name.isdigit()),
        key=lambda path: int(path.name),
    )


@contextmanager
def _peer(folder: Path, snapshot: Path) -> Iterator[int]:
    """The peer on a copy of a snapshot; gives its port."""
    copied = folder / "peer"
    shutil.copytree(snapshot, copied)
    program = shutil.which("oxigraph", path=sysconfig.get_path("scripts"))
    assert program is not None, "oxigraph is missing: install the extra 'bench'"
    port = free_port()
    with subprocess.Popen(
        [program, "serve-read-only", "--location", copied, "--bind", f"127.0.0.1:{port}"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            assert "Listening" in said, said
            yield port
        finally:
            process.terminate()
            process.wait()
