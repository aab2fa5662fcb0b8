"""A steward's sweep over a million new spans: from the facts to what the graph ought to hold.

Measured is all that grows with the facts: the questions to the warehouse, page by page as a steward
asks them, and the claims that are made of the answers. What the gate does with the few proposals
that come of them is measured elsewhere. Baseline: the engine reading every attribute of every one
of the same spans once, which no sweep could do with less of.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from bench_context import Context, say, timed
from bench_data import traces
from bench_figures import Baseline, Figure
from bench_spans import rules

from ingest.decoders import decoders
from ingest.events import SPAN_SOURCE
from ingest.evidence import EvidenceBatch
from ingest.fact_making import FactMaker, Given
from ingest.marks import UNKEYED
from ingest.otlp import PROTOBUF
from ingest.pseudonyms import Pseudonyms
from ingest.warehouse import Warehouse
from stewards.fact_queries import Page, batches
from stewards.pages import Pacing
from stewards.sources import claims

PROJECT = "bench"
SERVICES = 50
SPANS_EACH = 500
_TOGETHER = 100
_LOOKS = 20


def measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    requests = max(1, sizes.swept // SPANS_EACH)
    warehouse = Warehouse(context.folder / "swept facts")
    say(f"making {sizes.swept:,} spans into facts")
    for columns in _facts(context, requests):
        warehouse.insert_columns(columns)

    def ask(sql: str) -> tuple[tuple[Any, ...], ...]:
        return warehouse.query(f"{sql} LIMIT 10000").rows

    say("sweeping")
    swept, idle, read = [], [], []
    pages = 0
    for _ in range(sizes.rounds):
        pages, found = 0, 0
        started = time.perf_counter()
        each = max(1, Pacing().page_facts // SPANS_EACH)
        for after in range(0, requests, each):
            until = min(after + each, requests)
            page = Page(PROJECT, after, until, (until - after) * SPANS_EACH)
            found += len(claims(page, ask, context.ids).claims)
            pages += 1
        swept.append(time.perf_counter() - started)
        assert found
        started = time.perf_counter()
        for _ in range(_LOOKS):
            assert not warehouse.query(batches(PROJECT, requests, 1_000)).rows
        idle.append((time.perf_counter() - started) * 1_000 / _LOOKS)
        read.append(timed(ask, "SELECT sum(cityHash64(attributes)) FROM events"))
    warehouse.close()
    everything = Baseline("the engine reads all attributes once", tuple(read))
    note = f"{sizes.swept:,} spans of {SERVICES} services, {pages} pages"
    look = Baseline("the same, in ms", tuple(seconds * 1_000 for seconds in read))
    return [
        Figure("a steward's sweep", "s", tuple(swept), (everything,), note=note),
        Figure("a steward's look when nothing is new", "ms", tuple(idle), (look,)),
    ]


def _facts(context: Context, requests: int) -> Iterator[pa.Table]:
    maker, classifier = FactMaker(decoders(Pseudonyms(b"bench")), UNKEYED), rules(context.ids)
    for first in range(0, requests, _TOGETHER):
        given = []
        for number in range(first, min(first + _TOGETHER, requests)):
            payload = gzip.decompress(traces(number, SPANS_EACH, SERVICES))
            digest, now = f"sha256:{number:064x}", time.time_ns()
            batch = EvidenceBatch(
                number + 1, digest, PROJECT, SPAN_SOURCE, PROTOBUF, len(payload), now, None
            )
            given.append(Given(batch, payload))
        yield pa.concat_tables(facts.columns for facts in maker.make(classifier, given))
