"""Memory while telemetry never stops: all processes of the server, minute after minute.

Eight clients send as fast as they are answered, and pause while more than a few seconds of it wait
to become facts, as a sender that heeds 429 would. Baseline: the same figure in the first third of
the run; a ratio of one means that nothing grows.
"""

from __future__ import annotations

import statistics
import time

from bench_client import run_client, write_requests
from bench_context import Context, say
from bench_data import traces
from bench_figures import Baseline, Figure
from bench_spans import CLIENTS, drain, otlp_request

_REQUESTS = 100
_SAMPLES = 40


def measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    port = context.server.port
    requests = context.folder / "requests"
    held: list[float] = []
    sent = number = 0
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < sizes.loaded:
        # Other spans each time: what is only sent again would be held only once.
        payloads = [traces(number + place, sizes.spans) for place in range(_REQUESTS)]
        number += _REQUESTS
        write_requests(requests, (otlp_request(context.key, payload) for payload in payloads))
        run_client(requests, port, CLIENTS).expect(200)
        sent += _REQUESTS * sizes.spans
        drain(context)
        if len(held) <= elapsed * _SAMPLES / sizes.loaded:
            held.append(context.server.memory()[1] / 1e6)
            say(f"after {elapsed:.0f} s and {sent:,} spans: {held[-1]:.0f} MB")
    third = -(-len(held) // 3)
    first, last = held[:third], held[-third:]
    note = (
        f"{sent:,} spans in {sizes.loaded / 60:.1f} minutes; least {min(held):.0f} MB, most"
        f" {max(held):.0f} MB"
    )
    baseline = Baseline("the same in the first third of that time", (statistics.median(first),))
    name = "memory under load, all processes, PSS"
    return [Figure(name, "MB", (statistics.median(last),), (baseline,), note=note)]
