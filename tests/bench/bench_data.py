"""Generated input of the benchmarks: an organisation's graph, proposals and telemetry.

Invariant: a pure function of the seed and the sizes, so that two runs, and both sides of one
comparison, see the same bytes.
"""

from __future__ import annotations

import gzip
import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ontology.ids import Ids
from ontology.vocab import FO, Fo, Rdf, Rdfs, Skos

SEED = 20261122
UNKNOWN = "https://example.org/terms#"
"""A vocabulary that no shape speaks of."""

OPERATIONS_EACH = 6
CALLS_EACH = 3
LINES_EACH = 4 + CALLS_EACH + OPERATIONS_EACH * 7 + 2
"""Triples that one service brings, on average."""

_METHODS = ("GET", "POST", "PUT", "DELETE")
_NOUNS = ("orders", "products", "customers", "invoices", "shipments", "payments", "carts", "stock")


@dataclass(frozen=True)
class Organisation:
    """The services of one project as N-Quads, in parts that end where a service ends.

    Every service calls ``CALLS_EACH`` others, so a path of three calls has 27 ends.
    """

    project: str
    parts: tuple[bytes, ...]
    services: tuple[str, ...]
    triples: int


class _Attributes(Protocol):
    def add(self) -> KeyValue: ...


def organisation(
    ids: Ids, project: str, triples: int, *, parts: int = 1, typed: bool, seed: int = SEED
) -> Organisation:
    """An organisation of about so many triples in the project's lineage graph.

    With ``typed`` its things are services and routes, which the shapes check; otherwise they are
    said in a vocabulary that no shape speaks of.
    """
    chosen = random.Random(seed)
    count = max(CALLS_EACH + 1, triples // LINES_EACH)
    names = [f"service-{number:05d}" for number in range(count)]
    services = [ids.service(project, name) for name in names]
    graph = ids.lineage_graph(project)
    cut = -(-count // parts)
    bodies = []
    total = 0
    for start in range(0, count, cut):
        lines = []
        for number in range(start, min(start + cut, count)):
            callees = chosen.sample(range(count), CALLS_EACH)
            for line in _service(ids, project, names[number], chosen):
                lines.append(f"{line} <{graph}> .\n")
            for callee in callees:
                lines.append(
                    f"<{services[number]}> <{Fo.calls}> <{services[callee]}> <{graph}> .\n"
                )
        total += len(lines)
        body = "".join(lines)
        bodies.append((body if typed else _untyped(body, ids, project)).encode())
    return Organisation(project, tuple(bodies), tuple(services), total)


def _untyped(lines: str, ids: Ids, project: str) -> str:
    """The same, with nothing in it that a shape speaks of: the project is such a thing."""
    return lines.replace(FO, UNKNOWN).replace(f"<{ids.project(project)}>", f"<{UNKNOWN}{project}>")


def _service(ids: Ids, project: str, name: str, chosen: random.Random) -> Iterator[str]:
    service = ids.service(project, name)
    yield f"<{service}> <{Rdf.type}> <{Fo.Service}>"
    yield f'<{service}> <{Rdfs.label}> "{name}"'
    yield f'<{service}> <{Skos.notation}> "{name}"'
    yield f"<{service}> <{Fo.inProject}> <{ids.project(project)}>"
    for number in range(OPERATIONS_EACH):
        method = chosen.choice(_METHODS)
        route = f"/{chosen.choice(_NOUNS)}/{number}/{{id}}"
        operation = ids.operation(project, name, "http", f"{method} {route}")
        yield f"<{service}> <{Fo.offers}> <{operation}>"
        yield f"<{operation}> <{Rdf.type}> <{Fo.HttpRoute}>"
        yield f'<{operation}> <{Rdfs.label}> "{method} {route}"'
        yield f'<{operation}> <{Skos.notation}> "{method} {route}"'
        yield f'<{operation}> <{Fo.httpMethod}> "{method}"'
        yield f'<{operation}> <{Fo.route}> "{route}"'
        yield f"<{operation}> <{Fo.inProject}> <{ids.project(project)}>"


def delta(ids: Ids, project: str, name: str, *, typed: bool) -> bytes:
    """Twenty quads about one service of this name and its two routes."""
    chosen = random.Random(name)
    service, graph = ids.service(project, name), ids.lineage_graph(project)
    lines = [
        *itertools.islice(_service(ids, project, name, chosen), 4 + 2 * 7),
        f"<{service}> <{Fo.calls}> <{service}>",
        f'<{service}> <{Skos.altLabel}> "the service {name}"',
    ]
    body = "".join(f"{line} <{graph}> .\n" for line in lines)
    return (body if typed else _untyped(body, ids, project)).encode()


def traces(number: int, spans: int, services: int = 6) -> bytes:
    """An OTLP request of about so many spans, gzipped: requests through two services, each with a
    query; every service calls ``CALLS_EACH`` others. ``number`` makes the spans' identifiers differ
    between requests, their services don't."""
    chosen = random.Random(SEED + number)
    request = ExportTraceServiceRequest()
    scopes = []
    for name in (f"{_NOUNS[place % len(_NOUNS)]}-{place}" for place in range(services)):
        resource = request.resource_spans.add()
        _set(resource.resource.attributes, {"service.name": name, "service.version": "1.4.2"})
        scopes.append(resource.scope_spans.add())
    for _ in range(max(1, spans // 4)):
        front = chosen.randrange(services)
        back = (front + 1 + chosen.randrange(CALLS_EACH)) % services
        noun, trace = chosen.choice(_NOUNS), chosen.randbytes(16)
        start = 1_800_000_000_000_000_000 + chosen.randrange(10**12)
        parent = b""
        for scope, kind, attributes in (
            (front, Span.SPAN_KIND_SERVER, _route(noun, chosen)),
            (front, Span.SPAN_KIND_CLIENT, _call(noun, chosen)),
            (back, Span.SPAN_KIND_SERVER, _route(noun, chosen)),
            (back, Span.SPAN_KIND_CLIENT, _query(noun, chosen)),
        ):
            span = scopes[scope].spans.add()
            span.trace_id, span.span_id, span.parent_span_id = trace, chosen.randbytes(8), parent
            span.name, span.kind = f"GET /{noun}/{{id}}", kind
            span.start_time_unix_nano = start
            span.end_time_unix_nano = start + chosen.randrange(10**8)
            _set(span.attributes, attributes)
            parent = span.span_id
    return gzip.compress(request.SerializeToString(), 6)


# Ten attributes each, of which one or two differ from span to span.
def _route(noun: str, chosen: random.Random) -> dict[str, str | int]:
    return {
        "http.request.method": "GET",
        "http.route": f"/{noun}/{{id}}",
        "url.path": f"/{noun}/42",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "server.address": "shop.internal",
        "network.protocol.version": "1.1",
        "user_agent.original": "python-requests/2.32",
        "network.peer.port": chosen.randrange(32_768, 61_000),
        "thread.id": chosen.randrange(40),
    }


def _call(noun: str, chosen: random.Random) -> dict[str, str | int]:
    return {
        "http.request.method": "GET",
        "url.full": f"http://shop.internal/{noun}/42",
        "server.address": "shop.internal",
        "server.port": 8080,
        "http.response.status_code": 200,
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "network.transport": "tcp",
        "thread.id": chosen.randrange(40),
        "thread.name": "worker",
    }


def _query(noun: str, chosen: random.Random) -> dict[str, str | int]:
    return {
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        "db.collection.name": noun,
        "db.operation.name": "SELECT",
        "db.query.text": f"SELECT * FROM {noun} WHERE id = $1",
        "server.address": "db.internal",
        "server.port": 5432,
        "db.response.returned_rows": chosen.randrange(500),
        "thread.id": chosen.randrange(40),
        "thread.name": "worker",
    }


def _set(pairs: _Attributes, values: Mapping[str, str | int]) -> None:
    for key, value in values.items():
        pair = pairs.add()
        pair.key = key
        if isinstance(value, int):
            pair.value.int_value = value
        else:
            pair.value.string_value = value
