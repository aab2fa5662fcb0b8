"""One cycle of a steward in a process of its own, which kills itself at a step of the graph.

``python killed_steward.py URL TOKEN FILE PROJECT STEP MOMENT``; the moment is ``before`` or
``after``: after what the step did and before anything is known of it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ontology.ids import Ids
from stewards import graph
from stewards.gate_client import GateClient
from stewards.loop import TelemetrySteward
from stewards.runs import Runs
from stewards.sweep import Sweep
from stewards.watermark import WatermarkStore


def main(url: str, token: str, file: str, project: str, step: str, moment: str) -> None:
    usual = graph.STEPS[step]

    def killing(sweep: Sweep, state: Any) -> Mapping[str, Any]:
        if moment == "after":
            usual(sweep, state)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("nobody is here any more")

    graph.STEPS[step] = killing
    store = WatermarkStore(Path(file))
    TelemetrySteward(
        Sweep(
            "shop-steward",
            project,
            GateClient.connect(url, token),
            Ids(),
            store,
            lambda: datetime(2026, 11, 22, 12, tzinfo=UTC),
        ),
        Runs(store),
    ).run_once()


if __name__ == "__main__":
    main(*sys.argv[1:])
