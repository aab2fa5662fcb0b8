"""From ``fractalops up`` to ready, and the memory it rests in.

Baseline: an interpreter that opens the embedded ClickHouse engine and does nothing else; the
platform can't be there sooner or smaller, since it runs that engine.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench_context import Context, say
from bench_figures import Baseline, Figure
from bench_server import Server, memory_of

_ENGINE = (
    "import sys; from pathlib import Path; from ingest.warehouse import Warehouse;"
    " warehouse = Warehouse(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
)


def measure(context: Context) -> list[Figure]:
    fresh, existing, engine = [], [], []
    rest: list[tuple[int, int]] = []
    engine_rest: list[tuple[int, int]] = []
    for number in range(context.sizes.rounds):
        say(f"starting, round {number + 1}")
        data = context.folder / f"start-{number}"
        with Server(data) as server:
            fresh.append(server.seconds)
        with Server(data) as server:
            existing.append(server.seconds)
            time.sleep(context.sizes.settled)
            rest.append(server.memory())
        seconds, held = _engine(context.folder / f"engine-{number}", context.sizes.settled)
        engine.append(seconds)
        engine_rest.append(held)
    alone = Baseline("chDB opened alone", tuple(engine))
    return [
        Figure("up to ready, fresh folder", "s", tuple(fresh), (alone,)),
        Figure("up to ready, existing folder", "s", tuple(existing), (alone,)),
        *(
            Figure(
                f"memory at rest, all processes, {what}",
                "MB",
                tuple(held[place] / 1e6 for held in rest),
                (Baseline("chDB opened alone", tuple(held[place] / 1e6 for held in engine_rest)),),
            )
            for place, what in enumerate(("RSS", "PSS"))
        ),
    ]


def _engine(path: Path, settled: float) -> tuple[float, tuple[int, int]]:
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", _ENGINE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        seconds = time.perf_counter() - started
        time.sleep(settled)
        held = memory_of(process.pid)
        process.stdin.close()
    return seconds, held
