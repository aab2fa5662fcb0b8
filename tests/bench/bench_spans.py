"""Spans per second: from the HTTP request to the durable 2xx, and until they are facts.

Baselines, on one core, without network and disk: unpacking and decoding the same requests; making
rows of text of them; and decoding them and classifying every span. The second figure counts from
the first request to the moment when everything sent can be queried, receiving and the stewards'
work included.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterable, Sequence

import pyoxigraph
from bench_client import run_client, write_requests
from bench_context import Context, say, timed
from bench_data import traces
from bench_figures import Baseline, Figure
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from pyoxigraph import NamedNode, RdfFormat

from ingest.classify import Classifier, rules_from_quads
from ingest.otlp import PROTOBUF, TRACES, read
from ingest.otlp_spans import decode
from ontology.ids import Ids
from ontology.library import rules_turtle
from ontology.terms import in_named_graph

CLIENTS = 8
_DRAIN_SECONDS = 120.0


def measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    stored, facts, decoded, bare, classified = [], [], [], [], []
    note = ""
    classifier = rules(context.ids)
    for number in range(sizes.rounds):
        say(f"spans, round {number + 1}")
        first = number * sizes.payloads
        payloads = [traces(first + place, sizes.spans) for place in range(sizes.payloads)]
        spans = _decode(payloads)
        # The server first: it makes the key that the requests carry.
        port = context.server.port
        requests = context.folder / "requests"
        write_requests(requests, (otlp_request(context.key, payload) for payload in payloads))
        started = time.perf_counter()
        load = run_client(requests, port, CLIENTS).expect(200)
        stored.append(spans / load.seconds)
        note = load.times()
        drain(context)
        facts.append(spans / (time.perf_counter() - started))
        context.server.settle()
        decoded.append(spans / timed(_decode, payloads))
        bare.append(spans / timed(bare_rows, payloads))
        classified.append(spans / timed(_classify, classifier, payloads))
    baselines = (
        Baseline("gunzip and decode, one core", tuple(decoded)),
        Baseline("decode into rows, one core", tuple(bare)),
        Baseline("decode and classify, one core", tuple(classified)),
    )
    size = f"requests of {sizes.spans} spans, {CLIENTS} clients"
    return [
        Figure("spans to durable 2xx", "/s", tuple(stored), baselines, note=f"{size}, {note}"),
        Figure("spans to facts", "/s", tuple(facts), baselines, note=size),
    ]


def _decode(payloads: Sequence[bytes]) -> int:
    """Reads requests; gives how many spans they hold."""
    return sum(read(gzip.decompress(payload), PROTOBUF, TRACES).items for payload in payloads)


def _classify(classifier: Classifier, payloads: Sequence[bytes]) -> None:
    for payload in payloads:
        for event in decode(gzip.decompress(payload), PROTOBUF, project="bench"):
            classifier.classify(event)


def bare_rows(payloads: Sequence[bytes]) -> int:
    """Reads requests into rows that hold their attributes as text, and no more; gives how many."""
    count = 0
    for payload in payloads:
        request = ExportTraceServiceRequest.FromString(gzip.decompress(payload))
        rows = []
        for resource in request.resource_spans:
            shared = _texts(resource.resource.attributes)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    row = (
                        *(span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()),
                        *(span.name, span.kind, span.status.code),
                        *(span.start_time_unix_nano, span.end_time_unix_nano),
                        {**shared, **_texts(span.attributes)},
                    )
                    rows.append(row)
        count += len(rows)
    return count


def _texts(pairs: Iterable[KeyValue]) -> dict[str, str]:
    return {pair.key: pair.value.string_value or str(pair.value.int_value) for pair in pairs}


def rules(ids: Ids) -> Classifier:
    """The shipped rules, ready to classify."""
    graph = NamedNode(ids.graph("rules"))
    quads = [
        in_named_graph(quad, graph)
        for text in rules_turtle().values()
        for quad in pyoxigraph.parse(text, format=RdfFormat.TURTLE)
    ]
    return Classifier(rules_from_quads(quads), ids)


def otlp_request(key: str, payload: bytes) -> bytes:
    head = (
        f"POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: {PROTOBUF}\r\nContent-Encoding: gzip\r\n"
        f"Content-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


def drain(context: Context) -> None:
    until = time.monotonic() + _DRAIN_SECONDS
    with context.server.client() as client:
        while client.status()["inbox"]["pending"]:
            if time.monotonic() > until:
                raise TimeoutError(f"spans did not become facts within {_DRAIN_SECONDS:g} s")
            # Asking costs the server time that it is measured by.
            time.sleep(0.1)
