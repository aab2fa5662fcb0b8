"""SPARQL queries per second, and how long they take, over eight connections.

Baseline: the engine's own HTTP server (``oxigraph serve-read-only``, PyPI ``oxigraph``) under the
same load, in turns: on a copy of the very files that our workers read, the newest snapshot, and on
one that was compacted first, as after a bulk load.
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

from bench_client import Load
from bench_context import Context, say
from bench_data import SEED, UNKNOWN
from bench_figures import Baseline, Figure
from bench_server import free_port
from bench_wrk import get_load

from ontology.vocab import Rdfs

CONNECTIONS = 8
OURS, SAME, COMPACTED = "ours", "oxigraph serve-read-only", "the same, its files compacted"
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
    newest = _newest(server.data / "snapshots")
    loads: dict[tuple[str, str], list[Load]] = {}
    with (
        _peer(context.folder / "peer", newest, compacted=False) as same,
        _peer(context.folder / "compacted", newest, compacted=True) as compacted,
    ):
        sides = {
            OURS: (server.port, "/sparql", {**headers, "Authorization": f"Bearer {server.token}"}),
            SAME: (same, "/query", headers),
            COMPACTED: (compacted, "/query", headers),
        }
        for number in range(sizes.rounds):
            for name, query in QUERIES.items():
                say(f"queries, {name}, round {number + 1}")
                asked = [f"?query={quote(query % service)}" for service in services]
                for side, (port, path, fields) in sides.items():
                    paths = [path + question for question in asked]
                    load = get_load(context.folder, port, paths, fields, CONNECTIONS, sizes.seconds)
                    loads.setdefault((name, side), []).append(load)
    return [
        Figure(
            f"queries, {name}",
            "/s",
            tuple(load.rate for load in loads[name, OURS]),
            tuple(
                Baseline(
                    side,
                    tuple(load.rate for load in loads[name, side]),
                    note=loads[name, side][-1].times(),
                )
                for side in (SAME, COMPACTED)
            ),
            aim=f"aim: a ratio of {AIMS[name]} or more",
            note=loads[name, OURS][-1].times(),
        )
        for name in QUERIES
    ]


def _newest(snapshots: Path) -> Path:
    return max(
        (path for path in snapshots.iterdir() if path.name.isdigit()),
        key=lambda path: int(path.name),
    )


@contextmanager
def _peer(copied: Path, snapshot: Path, *, compacted: bool) -> Iterator[int]:
    """The peer on a copy of a snapshot; gives its port."""
    shutil.copytree(snapshot, copied)
    program = shutil.which("oxigraph", path=sysconfig.get_path("scripts"))
    assert program is not None, "oxigraph is missing: install the extra 'bench'"
    if compacted:
        subprocess.run([program, "optimize", "--location", copied], check=True)
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
