"""Facts per second into the embedded engine, from classified events to rows on disk.

Baseline: the engine's own insert of the same Arrow batches into a table like it, so that the ratio
is what making the columns and the checksums costs. Both are fsynced.
"""

from __future__ import annotations

import gzip
import time

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
    sizes = context.sizes
    classifier = rules(context.ids)
    marks = Marks(b"bench")
    written, inserted = [], []
    warehouse = Warehouse(context.folder / "bench facts")
    with warehouse._write() as client:
        client.command("CREATE TABLE baseline AS events")
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
        # In turns: merging what the one wrote must not always be the other's burden.
        if number % 2:
            written.append(len(events) / timed(_write, warehouse, chunks, marks))
            inserted.append(len(events) / timed(_insert, warehouse, batches))
        else:
            inserted.append(len(events) / timed(_insert, warehouse, batches))
            written.append(len(events) / timed(_write, warehouse, chunks, marks))
    warehouse.close()
    baseline = Baseline("the engine's insert of the same Arrow batches", tuple(inserted))
    note = f"in chunks of {CHUNK:,}"
    return [Figure("facts written", "/s", tuple(written), (baseline,), note=note)]


def _columns(events: list[Event], marks: Marks) -> pa.Table:
    checksums = marks.checksums(events, marks.keys(events), "")
    return to_columns(events, [time.time_ns()] * len(events), "", checksums)


def _write(warehouse: Warehouse, chunks: list[list[Event]], marks: Marks) -> None:
    for chunk in chunks:
        warehouse.insert(chunk, None, "", marks)


def _insert(warehouse: Warehouse, batches: list[pa.Table]) -> None:
    with warehouse._write() as client:
        for batch in batches:
            client.insert_arrow("baseline", batch)
