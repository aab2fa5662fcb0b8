"""``fractalops`` with jobs that have little patience, which kills itself where it is told to.

``python hurried.py [-m graph_api.cli] ARGUMENTS``. Where the variable ``KILLED_AT`` names a step of
a steward's graph, the process kills itself after that step has done what it does, before anything
is known of it, once: the file ``KILLED_MARK`` says that it has.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from graph_api import cli
from stewards import graph, jobs
from stewards.datahub_push import Life
from stewards.jobs import Patience
from stewards.sweep import Sweep

HURRIED = Patience(first=0.3, longest=0.5, attempts=3, silence=3.0)


def hurry() -> None:
    if "worker" in sys.argv:
        from stewards import open_runs, worker

        open_runs.LOOK = worker.WAIT = 2.0
    jobs.KINDS = MappingProxyType(
        {
            name: replace(kind, patience=replace(HURRIED, attempts=min(kind.patience.attempts, 3)))
            for name, kind in jobs.KINDS.items()
        }
    )

    usual = Life.rest

    def rest(self: Life, seconds: float, details: Mapping[str, Any]) -> None:
        usual(self, seconds / 100, details)

    Life.rest = rest  # type: ignore[method-assign]


def kill_at(step: str, mark: Path) -> None:
    usual = graph.STEPS[step]

    def killing(sweep: Sweep, state: Any) -> Mapping[str, Any]:
        done = usual(sweep, state)
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    graph.STEPS[step] = killing


if __name__ == "__main__":
    hurry()
    if "KILLED_AT" in os.environ:
        kill_at(os.environ["KILLED_AT"], Path(os.environ["KILLED_MARK"]))
    given = sys.argv[1:]
    # What starts servers names the usual command after whatever prepares it.
    sys.exit(cli.main(given[given.index("graph_api.cli") + 1 :]))
