"""Measures the platform, and prints each figure beside its baseline: ``python tests/bench``.

Invariant: every ratio is of two measurements of one run, taken in turns where they compete for the
machine. Nothing fails for being slow.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import bench_collector
import bench_datahub
import bench_facts
import bench_gate
import bench_memory
import bench_proofs
import bench_proposals
import bench_queries
import bench_spans
import bench_start
import bench_stewards
import bench_sweep
from bench_context import GRAPHS, TINY, TINY_GRAPHS, Context, GateOptions, Sizes, say
from bench_figures import Figure, show
from bench_wrk import generator
from rich.console import Console

BENCHMARKS: dict[str, Callable[[Context], list[Figure]]] = {
    # First: it needs no server, and the memory to itself.
    "gate": bench_gate.measure,
    "start": bench_start.measure,
    "queries": bench_queries.measure,
    "proposals": bench_proposals.measure,
    "spans": bench_spans.measure,
    "memory": bench_memory.measure,
    "facts": bench_facts.measure,
    "sweep": bench_sweep.measure,
    "stewards": bench_stewards.measure,
    "collector": bench_collector.measure,
    "datahub": bench_datahub.measure,
    # Last: it stops the server that the others share.
    "proofs": bench_proofs.measure,
}

PLOT = Path(__file__).resolve().parents[2] / "docs" / "images" / "gate.svg"


def _sizes(text: str) -> tuple[int, ...]:
    """Numbers of triples from text such as ``100k,1m``."""
    factors = {"k": 1_000, "m": 1_000_000}
    try:
        return tuple(
            round(float(part.rstrip("km")) * factors.get(part[-1:], 1))
            for part in text.lower().split(",")
        )
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list such as 100k,1m") from error


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests/bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help="all, if none is given")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--tiny", action="store_true", help="only see that everything runs")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="work below this folder: the disk to measure"
    )
    gate = parser.add_argument_group("the gate")
    gate.add_argument(
        "--sizes", type=_sizes, metavar="100k,1m,5m,20m", help="triples of its graphs"
    )
    gate.add_argument(
        "--cache", type=Path, metavar="DIR", help="keep its graphs there for the next run"
    )
    gate.add_argument(
        "--plot", type=Path, metavar="FILE", help="write its plot there (docs/images/gate.svg)"
    )
    given = parser.parse_args()
    names = [name for name in BENCHMARKS if not given.names or name in given.names]
    started = time.monotonic()
    figures: list[Figure] = []
    with ExitStack() as closing:
        folder = closing.enter_context(
            tempfile.TemporaryDirectory(prefix="fractalops-bench-", dir=given.folder)
        )
        sizes, graphs, plot = Sizes(), GRAPHS, PLOT
        if given.tiny:
            sizes, graphs, plot = TINY, TINY_GRAPHS, Path(folder) / "gate.svg"
        gate_options = GateOptions(given.sizes or graphs, given.plot or plot, given.cache)
        context = Context(Path(folder), sizes, gate_options, closing)
        load = os.getloadavg()[0]
        if load > 0.5:
            say(f"the machine is not quiet (load {load:.1f}): trust ratios, not figures")
        for name in names:
            figures += BENCHMARKS[name](context)
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(load, 2),
        "load_generator": generator(),
        "seconds": round(time.monotonic() - started),
    }
    width = None if os.isatty(1) else 150
    show(", ".join(f"{k} {v}" for k, v in machine.items()), figures, Console(width=width))
    if given.json is not None:
        found = {"machine": machine, "figures": [figure.to_dict() for figure in figures]}
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
