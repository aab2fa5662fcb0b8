"""Runs the suites of the SPARQL Protocol and the Graph Store Protocol, request by request.

Invariant: every request of a test is sent as the manifest describes it; only the endpoint's path is
ours. A write must be refused with the problem that says where changes go; what it would have
written is then laid before the server by hand, so that the reads after it are tests all the same.
Specifications: https://www.w3.org/TR/sparql11-protocol/ and
https://www.w3.org/TR/sparql11-http-rdf-update/
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from functools import partial
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import httpx
from pyoxigraph import NamedNode, RdfFormat, parse

from tests.conformance.cases import Case, Finding, Inapplicable, Mismatch, Outcome, judged
from tests.conformance.manifest import MF, RDFS, Entry, Suite, Term, entries, rdf_format
from tests.conformance.queries import UT, described, problem
from tests.conformance.results import read_table
from tests.conformance.server import BASE, Graphs, Platform, Source
from tests.conformance.terms import same_graph

HT = "http://www.w3.org/2011/http#"
CNT = "http://www.w3.org/2011/content#"

_BOOLEAN = {"application/sparql-results+json": ".srj", "application/sparql-results+xml": ".srx"}
_TABLES = {**_BOOLEAN, "text/csv": ".csv", "text/tab-separated-values": ".tsv"}
_GRAPHS = ("text/turtle", "application/n-triples", "application/rdf+xml")
_EXPECTED = {"boolean": tuple(_BOOLEAN), "tabular": tuple(_TABLES), "RDF": _GRAPHS}
_LOCATION = "$LOCATION$"
_WRITES = frozenset({"PUT", "POST", "DELETE"})


@dataclass(frozen=True)
class Exchange:
    """A request of a test, and what its answer should be."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    text: str
    statuses: frozenset[str]
    boolean: bool | None
    format: str | None
    content_type: str | None
    expected_body: str | None
    location: str | None

    @property
    def success(self) -> bool:
        """Whether the request should do what it asks for."""
        return self.expects(HTTPStatus.OK) or self.expects(HTTPStatus.CREATED)

    def expects(self, status: int) -> bool:
        return any(_in_class(status, name) for name in self.statuses)


def _in_class(status: int, name: str) -> bool:
    """Whether a status is the one, or of the class, that the vocabulary has this name for."""
    if name.startswith("StatusCode"):
        return str(status // 100) == name.removeprefix("StatusCode")[0]
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()
    return HTTPStatus[words] == status


def exchanges(entry: Entry) -> Iterator[Exchange]:
    """The requests of a test, in order."""
    found = entry.description
    requests = found.value(entry.value("action"), HT + "requests")
    for request in found.items(requests):
        body = found.value(request, HT + "body")
        response = found.value(request, HT + "resp")
        text = found.text(body, CNT + "chars") or ""
        boolean = found.text(response, MF + "expectedBoolean")
        yield Exchange(
            found.text(request, HT + "methodName") or "GET",
            found.text(request, HT + "absolutePath") or "",
            dict(_headers(entry, request)),
            text.encode((found.text(body, CNT + "characterEncoding") or "UTF-8").lower()),
            text,
            frozenset(
                value.value.rpartition("#")[2]
                for value in found.values(response, MF + "expectedStatus")
                if isinstance(value, NamedNode)
            ),
            None if boolean is None else boolean == "true",
            found.text(response, MF + "expectedFormat"),
            dict(_headers(entry, response)).get("content-type"),
            found.text(found.value(response, HT + "body"), CNT + "chars"),
            found.text(response, MF + "expectedLocation"),
        )


def _headers(entry: Entry, message: Term | None) -> Iterator[tuple[str, str]]:
    found = entry.description
    for header in found.items(found.value(message, HT + "headers")):
        yield (
            (found.text(header, HT + "fieldName") or "").lower(),
            found.text(header, HT + "fieldValue") or "",
        )


def send(client: httpx.Client, exchange: Exchange, target: str) -> httpx.Response:
    """Sends a request with its target exactly as it is written."""
    return client.request(
        exchange.method,
        client.base_url,
        headers=exchange.headers,
        content=exchange.body or None,
        extensions={"target": target.encode()},
    )


class ProtocolSuite:
    """The suite of the SPARQL 1.1 Protocol."""

    def __init__(self, suite: Suite, platform: Platform, client: httpx.Client) -> None:
        self._suite = suite
        self._platform = platform
        self._client = client

    def run(self) -> Iterator[Finding]:
        manifest = self._suite.folder / "sparql11" / "protocol" / "manifest.ttl"
        for entry in entries(self._suite, manifest):
            group = "update" if "update" in entry.iri.rpartition("#")[2] else "query"
            case = Case("sparql11-protocol", group, entry.iri, entry.name)
            yield judged(case, partial(self._test, entry))

    def _test(self, entry: Entry) -> None:
        self._platform.lay(self._graphs(entry))
        for exchange in exchanges(entry):
            response = send(self._client, exchange, exchange.target.replace("/sparql/", "/sparql"))
            if exchange.success and _is_update(exchange):
                if problem(response) != (403, "updates-go-through-proposals"):
                    raise Mismatch(f"an update was answered with {described(response)}")
                raise Inapplicable("the update was refused: 403 updates-go-through-proposals")
            _hold(exchange, response)

    def _graphs(self, entry: Entry) -> Graphs:
        found = entry.description
        named = []
        for graph in found.values(entry.node, UT + "graphData"):
            path = self._suite.path(found.value(graph, UT + "graph"))
            name = found.text(graph, RDFS + "label")
            assert name is not None
            source = Source(path.read_bytes(), rdf_format(path), self._suite.iri(path))
            named.append((name, (source,)))
        return Graphs(named=tuple(named))


def _is_update(exchange: Exchange) -> bool:
    kind = exchange.headers.get("content-type", "")
    return kind.startswith("application/sparql-update") or (
        kind == "application/x-www-form-urlencoded" and "update" in parse_qs(exchange.text)
    )


def _hold(exchange: Exchange, response: httpx.Response) -> None:
    """Raises :class:`Mismatch` unless the answer is the expected one."""
    if not exchange.expects(response.status_code):
        raise Mismatch(f"{exchange.method} {exchange.target}: {described(response)}")
    content_type = response.headers.get("content-type", "")
    kind = content_type.partition(";")[0]
    if exchange.format is not None and kind not in _EXPECTED[exchange.format]:
        raise Mismatch(f"{kind} is no format for what is {exchange.format}")
    if exchange.content_type is not None and content_type != exchange.content_type:
        raise Mismatch(f"the content type {content_type}")
    if exchange.boolean is not None:
        found = read_table(response.content, _BOOLEAN[kind])
        if found is not exchange.boolean:
            raise Mismatch(f"{found} instead of {exchange.boolean}")
    if exchange.expected_body is not None:
        base = f"{BASE}/"
        expected = parse(exchange.expected_body, format=RdfFormat.TURTLE, base_iri=base)
        if not same_graph(expected, parse(response.content, format=RdfFormat.TURTLE)):
            raise Mismatch(f"another graph: {response.text[:200]}")


class GraphStoreSuite:
    """The suite of the SPARQL 1.1 Graph Store HTTP Protocol."""

    def __init__(self, suite: Suite, platform: Platform, client: httpx.Client) -> None:
        self._suite = suite
        self._platform = platform
        self._client = client
        self._numbers = itertools.count()

    def run(self) -> Iterator[Finding]:
        folder = self._suite.folder / "sparql11" / "graph-store-protocol"
        for entry in entries(self._suite, folder / "manifest.ttl"):
            group = f"{entry.manifest.stem.removeprefix('manifest-')} identification"
            case = Case("sparql11-graph-store", group, entry.iri, entry.name)
            yield judged(case, partial(self._test, entry))
        for entry in entries(self._suite, folder.parent / "http-rdf-update" / "manifest.ttl"):
            case = Case("sparql11-graph-store", "deprecated", entry.iri, entry.name)
            yield Finding(case, Outcome.UNTESTED, "the test is prose")

    def _test(self, entry: Entry) -> None:
        graphs: dict[str, tuple[Source, ...]] = {}
        location = ""
        refused = reads = 0
        for exchange in exchanges(entry):
            target = exchange.target.replace("/gsp", "/graphs", 1).replace(_LOCATION, location)
            self._platform.lay(_laid_out(graphs))
            response = send(self._client, exchange, target)
            if exchange.method in _WRITES:
                if problem(response) != (405, "changes-go-through-proposals"):
                    raise Mismatch(f"{exchange.method} was answered with {described(response)}")
                refused += 1
                graph = _graph_of(target)
                if exchange.location is not None:
                    graph = location = f"{BASE}/graph/new/{next(self._numbers)}"
                _write(graphs, graph, exchange)
            else:
                _hold(exchange, response)
                reads += 1
        if refused:
            raise Inapplicable(
                f"its writes were refused: 405 changes-go-through-proposals; its {reads} reads were"
                " answered as expected once the graphs were laid out by hand"
            )


def _laid_out(graphs: dict[str, tuple[Source, ...]]) -> Graphs:
    return Graphs(
        graphs.get("", ()), tuple((name, graphs[name]) for name in sorted(graphs) if name)
    )


def _graph_of(target: str) -> str:
    """The graph that a target names, empty for the default graph."""
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    if "graph" in query:
        return query["graph"][0]
    return f"{BASE}/graph{parts.path.removeprefix('/graphs')}" if "default" not in query else ""


def _write(graphs: dict[str, tuple[Source, ...]], graph: str, exchange: Exchange) -> None:
    """Does to the graphs what the request asks for."""
    if exchange.method == "DELETE":
        graphs.pop(graph, None)
        return
    kind = exchange.headers.get("content-type", "")
    bodies = [exchange.body]
    if kind.startswith("multipart/form-data"):
        message = message_from_bytes(
            f"Content-Type: {kind}\r\n\r\n".encode() + exchange.body, policy=policy.HTTP
        )
        bodies = [
            payload
            for part in message.iter_parts()
            if isinstance(payload := part.get_payload(decode=True), bytes)
        ]
    written = tuple(Source(body, RdfFormat.TURTLE, graph or f"{BASE}/") for body in bodies)
    graphs[graph] = written if exchange.method == "PUT" else graphs.get(graph, ()) + written
