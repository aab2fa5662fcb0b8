"""Runs the SPARQL query, result format and update suites against the endpoint, over HTTP.

Invariant: a query is sent as it stands in its file, with one line before it: HTTP has no address
that a query was retrieved from, so the file's own is sent as its BASE. Updates and federated
queries are sent too: they must be refused, with the problem that says so.
Specification: https://www.w3.org/TR/sparql11-protocol/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
from pyoxigraph import NamedNode

from ontology.errors import IllTypedLiteral, UnsupportedTerm
from ontology.terms import canonical_quad
from tests.conformance.cases import (
    Case,
    Finding,
    Inapplicable,
    Mismatch,
    OnlyNormalised,
    judged,
)
from tests.conformance.manifest import RDFS, Entry, Suite, Term, entries, rdf_format
from tests.conformance.results import hold_against, media_types, read_expected
from tests.conformance.server import Graphs, Platform, Source

QT = "http://www.w3.org/2001/sw/DataAccess/tests/test-query#"
UT = "http://www.w3.org/2009/sparql/tests/test-update#"
SD = "http://www.w3.org/ns/sparql-service-description#"
MF = "http://www.w3.org/2001/sw/DataAccess/tests/test-manifest#"

_FROM = re.compile(r"\bFROM\s+(?:NAMED\s+)?<([^>]*)>", re.IGNORECASE)
_LONGEST_GET = 8000


class QuerySuite:
    """One generation of the SPARQL suite, such as ``sparql11``."""

    def __init__(self, suite: Suite, name: str, platform: Platform, client: httpx.Client) -> None:
        self._suite = suite
        self._name = name
        self._platform = platform
        self._client = client

    def run(self, leave_out: frozenset[str] = frozenset()) -> Iterator[Finding]:
        """The findings of every test but those of groups that somebody else runs."""
        folder = self._suite.folder / self._name
        # Where there are two, the usual one leaves some groups out.
        manifests = (folder / "manifest-all.ttl", folder / "manifest.ttl")
        manifest = next(path for path in manifests if path.is_file())
        for entry in entries(self._suite, manifest):
            group = entry.manifest.parent.relative_to(folder).as_posix()
            if group not in leave_out:
                case = Case(self._name, group, entry.iri, entry.name)
                yield judged(case, partial(self._test, entry))

    def _test(self, entry: Entry) -> None:
        (kind,) = entry.kinds()
        action = entry.value("action")
        if "Update" in kind:
            self._refused_update(self._update(entry, action))
        elif isinstance(action, NamedNode):
            path = self._suite.path(action)
            if path.suffix == ".ru":
                self._refused_update(path)
            else:
                self._syntax(path, valid=not kind.startswith("Negative"))
        elif entry.description.values(action, SD + "entailmentRegime"):
            raise Inapplicable("an entailment regime, which the service description does not name")
        else:
            self._evaluation(entry, action)

    def _update(self, entry: Entry, action: Term | None) -> Path:
        if isinstance(action, NamedNode):
            return self._suite.path(action)
        return self._suite.path(entry.description.value(action, UT + "request"))

    def _refused_update(self, path: Path) -> None:
        response = self._client.post(
            "/sparql",
            content=path.read_bytes(),
            headers={"Content-Type": "application/sparql-update"},
        )
        if problem(response) != (403, "updates-go-through-proposals"):
            raise Mismatch(f"an update was answered with {described(response)}")
        raise Inapplicable("the update was refused: 403 updates-go-through-proposals")

    def _syntax(self, path: Path, *, valid: bool) -> None:
        self._platform.lay(Graphs())
        response = self._ask(path, None)
        found = problem(response)
        if found == (400, "service-refused"):
            raise Inapplicable("SERVICE was refused: 400 service-refused")
        # Who is told that there is no such function has been understood.
        if valid and response.status_code != 200 and found != (400, "function-unknown"):
            raise Mismatch(f"a valid query was answered with {described(response)}")
        if not valid and found != (400, "query-syntax"):
            raise Mismatch(f"an invalid query was answered with {described(response)}")

    def _evaluation(self, entry: Entry, action: Term | None) -> None:
        path = self._suite.path(entry.description.value(action, QT + "query"))
        text = path.read_text(encoding="utf-8")
        self._platform.lay(self._graphs(entry, action, path, text))
        expected_path = self._suite.path(entry.value("result"))
        expected = read_expected(self._suite, expected_path, text)
        lax = entry.value("resultCardinality") == NamedNode(MF + "LaxCardinality")
        normalised: OnlyNormalised | None = None
        for media_type in media_types(expected, expected_path):
            response = self._ask(path, media_type)
            if problem(response) == (400, "service-refused"):
                raise Inapplicable("SERVICE was refused: 400 service-refused")
            if response.status_code != 200:
                raise Mismatch(f"it was answered with {described(response)}")
            content_type = response.headers["content-type"].partition(";")[0]
            if content_type != media_type:
                raise Mismatch(f"asked for {media_type}, it was answered in {content_type}")
            try:
                hold_against(expected, response.content, content_type, text, lax=lax)
            except OnlyNormalised as difference:
                normalised = difference
        if normalised is not None:
            raise normalised

    def _ask(self, path: Path, accept: str | None) -> httpx.Response:
        query = f"BASE <{self._suite.iri(path)}>\n{path.read_bytes().decode('utf-8')}"
        headers = {"Accept": accept} if accept else {}
        if len(query) < _LONGEST_GET:
            return self._client.get("/sparql", params={"query": query}, headers=headers)
        headers["Content-Type"] = "application/sparql-query"
        return self._client.post("/sparql", content=query.encode(), headers=headers)

    def _graphs(self, entry: Entry, action: Term | None, path: Path, text: str) -> Graphs:
        """The dataset of a test; the graphs that its FROM clauses name are laid out as named."""
        default = [self._suite.path(iri) for iri in entry.description.values(action, QT + "data")]
        named: dict[str, Path] = {}
        for graph in entry.description.values(action, QT + "graphData"):
            if isinstance(graph, NamedNode):
                named[graph.value] = self._suite.path(graph)
            else:  # a graph under another name than its file's
                name = entry.description.text(graph, RDFS + "label")
                assert name is not None
                file = entry.description.value(graph, QT + "graph")
                named[name] = self._suite.path(file)
        for relative in _FROM.findall(text):
            found = path.parent / relative
            if found.is_file():
                named[self._suite.iri(found)] = found
        self._refuse_what_the_gate_refuses((*default, *named.values()))
        return Graphs(
            tuple(self._source(file) for file in default),
            tuple((name, (self._source(file),)) for name, file in sorted(named.items())),
        )

    def _source(self, path: Path) -> Source:
        return Source(path.read_bytes(), rdf_format(path), self._suite.iri(path))

    def _refuse_what_the_gate_refuses(self, files: tuple[Path, ...]) -> None:
        """Raises :class:`Inapplicable` for data with terms of RDF 1.2: no graph here holds them."""
        for path in files:
            for quad in self._suite.quads(path):
                try:
                    canonical_quad(quad)
                except UnsupportedTerm as error:
                    raise Inapplicable(f"the gate refuses the data: {error}") from error
                except IllTypedLiteral:
                    continue  # the engine is asked about it all the same


def problem(response: httpx.Response) -> tuple[int, str] | None:
    """Status and kind of a problem document; ``None`` for another answer."""
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        return None
    return response.status_code, str(response.json()["type"]).rpartition("/")[2]


def described(response: httpx.Response) -> str:
    """An answer in a few words."""
    found = problem(response)
    if found is None:
        return f"{response.status_code} {response.headers.get('content-type', '')}"
    return f"{found[0]} {found[1]}: {response.json().get('detail', '')}"
