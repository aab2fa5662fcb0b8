"""Every benchmark runs and prints its figures; how large they are is nobody's business here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

FIGURES = {
    *(
        f"gate, {kind} of {size} on {graph}"
        for kind in ("new", "update")
        for size in (20, 200)
        for graph in ("16k", "24k")
    ),
    "gate, whole graph of 16k",
    "gate, whole graph of 24k",
    "up to ready, fresh folder",
    "up to ready, existing folder",
    "memory at rest, all processes, RSS",
    "memory at rest, all processes, PSS",
    "queries, point lookup",
    "queries, 3-hop join",
    "proposals of 20 untyped quads, 1 client",
    "proposals of 20 untyped quads, 8 clients",
    "proposals of 20 typed quads, 1 client",
    "proposals of 20 typed quads, 8 clients",
    "spans to durable 2xx",
    "spans to facts",
    "memory under load, all processes, PSS",
    "facts written",
    "a steward's sweep",
    "a steward's look when nothing is new",
    "a new fact to its proven proposal",
    "CPU at rest, 3 projects",
    "new facts of 3 projects, proven",
    "CPU for a million spans, to facts",
    "datahub ingest",
    "datahub ingest, memory",
    "datahub ingest with nothing new",
    "push to DataHub",
    "push to DataHub with nothing new",
    "bundles verified, one core",
    "audit",
    "rebuild of graph and index at start",
}


def test_every_figure_is_measured_beside_a_baseline(checkout: Path, tmp_path: Path) -> None:
    found, plot = tmp_path / "figures.json", tmp_path / "gate.svg"
    program = [sys.executable, str(checkout / "tests" / "bench"), "--tiny", "--json", str(found)]
    done = subprocess.run(
        [*program, "--folder", str(tmp_path), "--plot", str(plot)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(found.read_text(encoding="utf-8"))["figures"]
    assert {figure["name"] for figure in figures} == FIGURES
    for figure in figures:
        assert figure["name"] in done.stdout
        assert figure["median"] > 0
        assert figure["baselines"]
        assert all(each["ratio"] > 0 for each in figure["baselines"])
    # Sound changes and broken ones, by every engine that was there to be asked.
    assert "all verdicts agree" in done.stdout
    assert "pyrudof, whole graph" in done.stdout
    assert "<svg" in plot.read_text(encoding="utf-8")
