"""``datahub ingest`` of a large graph: entities per second, memory, and a run with nothing new.

Baseline: DataHub's own file source emitting the very metadata that ours emitted, from a file, into
the same sink that drops it; in turns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench_push
from bench_context import PART, Context, say
from bench_figures import Baseline, Figure
from bench_server import Server

from ontology.ids import Ids
from ontology.vocab import Fo, Rdf, Rdfs

PROJECT = "catalog"
EACH = 12
"""Operations of a service, and datasets that they write: one service is 25 entities."""

PLUGIN = Path(__file__).resolve().parents[2] / "stewards" / "datahub"
RUNNER = Path(__file__).with_name("bench_datahub_run.py")
SOURCE = "fractalops_datahub.source.FractalOpsSource"
MEBIBYTE = 1024 * 1024


def measure(context: Context) -> list[Figure]:
    entities, folder = context.sizes.entities, context.folder / "datahub"
    folder.mkdir()
    with Server(context.folder / "catalog") as server:
        with server.client() as client:
            client.create_project(PROJECT, label=None, restricted=False)
            for part in _parts(context.ids, entities):
                say(f"loading the catalog, {len(part):,} triples")
                body = "".join(part).encode()
                answer = client.submit(body, "application/n-quads", {"project": PROJECT})
                assert answer["state"] == "applied", answer
        server.settle()
        source = _ours(server, folder / "first.json")
        metadata = folder / "metadata.json"
        _run(folder, source, {"type": "file", "config": {"filename": str(metadata)}})
        theirs = {"type": "file", "config": {"path": str(metadata)}}
        ours_done, theirs_done, idle = [], [], []
        for number in range(context.sizes.rounds):
            say(f"datahub, round {number + 1}")
            source = _ours(server, folder / f"state-{number}.json")
            ours_done.append(_run(folder, source))
            theirs_done.append(_run(folder, theirs))
            idle.append(_run(folder, source)["seconds"])
        url, rounds = f"http://127.0.0.1:{server.port}", context.sizes.rounds
        pushes = bench_push.measure(url, server.token, metadata, folder, entities, rounds)
    records = ours_done[-1]["records"]
    return [
        Figure(
            "datahub ingest",
            "entities/s",
            tuple(entities / done["seconds"] for done in ours_done),
            (
                Baseline(
                    "DataHub's file source",
                    tuple(entities / done["seconds"] for done in theirs_done),
                    note="the same metadata",
                ),
            ),
            aim="aim: a ratio of 1 or more",
            note=f"{entities:,} entities, {records:,} records",
        ),
        Figure(
            "datahub ingest, memory",
            "MiB",
            tuple(done["memory"] / MEBIBYTE for done in ours_done),
            (
                Baseline(
                    "DataHub's file source",
                    tuple(done["memory"] / MEBIBYTE for done in theirs_done),
                ),
            ),
        ),
        Figure(
            "datahub ingest with nothing new",
            "s",
            tuple(idle),
            (Baseline("the first run", tuple(done["seconds"] for done in ours_done)),),
            aim="aim: seconds",
        ),
        *pushes,
    ]


def _ours(server: Server, state: Path) -> dict[str, Any]:
    provider = {"type": "file", "config": {"filename": str(state)}}
    config = {
        "server": f"http://127.0.0.1:{server.port}",
        "token": server.token,
        "stateful_ingestion": {"enabled": True, "state_provider": provider},
    }
    return {"type": SOURCE, "config": config}


def _run(
    folder: Path, source: dict[str, Any], sink: dict[str, Any] | None = None
) -> dict[str, float]:
    """What the run of one recipe came to."""
    recipe = {"pipeline_name": "bench", "source": source, "sink": sink or {"type": "blackhole"}}
    path = folder / "recipe.json"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, RUNNER, path],
        env=os.environ | {"DATAHUB_TELEMETRY_ENABLED": "false", "PYTHONPATH": str(PLUGIN)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _parts(ids: Ids, entities: int) -> Iterator[list[str]]:
    """Canonical lines of services with their operations and datasets, a proposal's worth at a
    time."""
    part: list[str] = []
    for number in range(entities // (2 * EACH + 1)):
        part += _service(ids, number)
        if len(part) >= PART:
            yield part
            part = []
    if part:
        yield part


def _service(ids: Ids, number: int) -> Iterator[str]:
    graph = ids.lineage_graph(PROJECT)
    name = f"service-{number:05d}"

    def line(subject: str, predicate: str, value: str) -> str:
        return f"<{subject}> <{predicate}> {value} <{graph}> .\n"

    service, before = ids.service(PROJECT, name), ""
    yield line(service, Rdf.type, f"<{Fo.Service}>")
    yield line(service, Rdfs.label, f'"{name}"')
    yield line(service, Fo.inProject, f"<{ids.project(PROJECT)}>")
    for index in range(EACH):
        table = f"table_{number:05d}_{index:02d}"
        dataset = ids.dataset("postgresql", "db.example", "main", table)
        operation = ids.operation(PROJECT, name, "database", f"INSERT {table}")
        yield line(dataset, Rdf.type, f"<{Fo.Dataset}>")
        yield line(dataset, Rdfs.label, f'"{table}"')
        yield line(dataset, Fo.system, '"postgresql"')
        if before:
            yield line(dataset, Fo.derivedFrom, f"<{before}>")
        yield line(operation, Rdf.type, f"<{Fo.DatabaseOperation}>")
        yield line(operation, Rdfs.label, f'"INSERT {table}"')
        yield line(operation, Fo.writes, f"<{dataset}>")
        yield line(service, Fo.performs, f"<{operation}>")
        before = dataset
