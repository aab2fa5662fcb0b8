"""Facts per second into the embedded engine, from classified events to rows on disk.

Baselines: the engine's own insert of the same Arrow batches into a table like it, as it does by
itself and with the setting that the platform inserts with; the second ratio is what making the
columns and the checksums costs. All are fsynced.
"""

from __future__ import annotations

import gc
import gzip
import time
from functools import partial

import pyarrow as pa
from bench_context import Context, say, timed
from bench_data import traces
from bench_figures import Baseline, Figure
from bench_spans import rules

from ingest.events import Event
from ingest.fact_columns import to_columns
from ingest.marks import Marks
from ingest.otlp import PROTOBUF
from ingest.otlp_spans import decode
from ingest.warehouse import Warehouse

CHUNK = 10_000
"""As the pump inserts."""


def measure(context: Context) -> list[Figure]:
    # As in the process that makes facts.
    usual = gc.get_threshold()
    gc.set_threshold(2_000_000)
    try:
        return _measure(context)
    finally:
        gc.set_threshold(*usual)


def _measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    classifier = rules(context.ids)
    marks = Marks(b"bench")
    rates: dict[str, list[float]] = {"ours": [], "engine": [], "alike": []}
    warehouse = Warehouse(context.folder / "bench facts")
    with warehouse._write() as client:
        for name in ("engine", "alike"):
            client.command(f"CREATE TABLE {name} AS events")
    for number in range(sizes.rounds):
        say(f"facts, round {number + 1}")
        first = number * sizes.payloads
        events = [
            classifier.classify(event)
            for place in range(sizes.payloads)
            for event in decode(
                gzip.decompress(traces(first + place, sizes.spans)), PROTOBUF, project="bench"
            )
        ]
        chunks = [events[at : at + CHUNK] for at in range(0, len(events), CHUNK)]
        batches = [_columns(chunk, marks) for chunk in chunks]
        work = {
            "ours": partial(_write, warehouse, chunks, marks),
            "engine": partial(_insert, warehouse, "engine", batches, {}),
            "alike": partial(_insert, warehouse, "alike", batches, {"optimize_on_insert": 0}),
        }
        # In turns: merging what the one wrote must not always be another's burden.
        names = list(work)
        for name in names[number % 3 :] + names[: number % 3]:
            rates[name].append(len(events) / timed(work[name]))
    warehouse.close()
    baselines = (
        Baseline("the engine's insert of the same Arrow batches", tuple(rates["engine"])),
        Baseline("the same with the platform's setting", tuple(rates["alike"])),
    )
    note = f"in chunks of {CHUNK:,}"
    return [Figure("facts written", "/s", tuple(rates["ours"]), baselines, note=note)]


def _columns(events: list[Event], marks: Marks) -> pa.Table:
    checksums = marks.checksums(events, marks.keys(events), "")
    return to_columns(events, [time.time_ns()] * len(events), "", checksums)


def _write(warehouse: Warehouse, chunks: list[list[Event]], marks: Marks) -> None:
    for chunk in chunks:
        warehouse.insert(chunk, None, "", marks)


def _insert(
    warehouse: Warehouse,
    table: str,
    batches: list[pa.Table],
    settings: dict[str, int],
) -> None:
    with warehouse._write() as client:
        for batch in batches:
            client.insert_arrow(table, batch, settings=settings)
