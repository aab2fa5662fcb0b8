"""Reads the manifests of the public suites, in place.

Invariant: a file's IRI is the suite's address followed by the file's path in it, so that relative
IRIs in manifests, data, queries and results mean the same thing.
Specification: https://www.w3.org/2001/sw/DataAccess/tests/README.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from pyoxigraph import BlankNode, Literal, NamedNode, Quad, RdfFormat, Triple, parse

MF = "http://www.w3.org/2001/sw/DataAccess/tests/test-manifest#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
RDFS = "http://www.w3.org/2000/01/rdf-schema#"

Term = NamedNode | BlankNode | Literal | Triple


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite on disk: its folder, and the address that its files have. Both say the same tree."""

    folder: Path
    base: str

    def iri(self, path: Path) -> str:
        """The address of a file."""
        return self.base + path.relative_to(self.folder).as_posix()

    def path(self, iri: Term | None) -> Path:
        """The file that has this address."""
        assert isinstance(iri, NamedNode), iri
        assert iri.value.startswith(self.base), iri
        return self.folder / unquote(iri.value.removeprefix(self.base))

    def quads(self, path: Path) -> list[Quad]:
        """What a file of RDF says; its blank nodes are the same ones each time."""
        return _parsed(self, path)

    def description(self, path: Path) -> Description:
        """A file of RDF, to be asked about its nodes."""
        return _described(self, path)


def rdf_format(path: Path) -> RdfFormat:
    """The RDF format of a file, by its name."""
    found = RdfFormat.from_extension(path.suffix.removeprefix("."))
    assert found is not None, path
    return found


class Description:
    """Triples, by subject and predicate."""

    def __init__(self, quads: list[Quad]) -> None:
        self._values: dict[tuple[Term, str], list[Term]] = {}
        self._subjects: dict[tuple[str, Term], list[Term]] = {}
        for quad in quads:
            self._values.setdefault((quad.subject, quad.predicate.value), []).append(quad.object)
            self._subjects.setdefault((quad.predicate.value, quad.object), []).append(quad.subject)

    def values(self, subject: Term | None, predicate: str) -> list[Term]:
        """Every value."""
        return [] if subject is None else self._values.get((subject, predicate), [])

    def value(self, subject: Term | None, predicate: str) -> Term | None:
        """The only value, if there is one."""
        found = self.values(subject, predicate)
        assert len(found) <= 1, (subject, predicate, found)
        return found[0] if found else None

    def text(self, subject: Term | None, predicate: str) -> str | None:
        """The only value as text: the characters of a literal, or an IRI."""
        value = self.value(subject, predicate)
        return value.value if isinstance(value, Literal | NamedNode) else None

    def subjects(self, predicate: str, value: Term) -> list[Term]:
        """Everything that has this value."""
        return self._subjects.get((predicate, value), [])

    def items(self, head: Term | None) -> Iterator[Term]:
        """The members of an RDF list."""
        while head is not None and head != NamedNode(RDF + "nil"):
            first = self.value(head, RDF + "first")
            assert first is not None
            yield first
            head = self.value(head, RDF + "rest")

    def kinds(self, subject: Term) -> set[str]:
        """The local names of its types."""
        return {
            kind.value.rpartition("#")[2]
            for kind in self.values(subject, RDF + "type")
            if isinstance(kind, NamedNode)
        }


@cache
def _parsed(suite: Suite, path: Path) -> list[Quad]:
    return list(parse(path.read_bytes(), format=rdf_format(path), base_iri=suite.iri(path)))


@cache
def _described(suite: Suite, path: Path) -> Description:
    return Description(suite.quads(path))


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a manifest: its node, in the description that has its properties."""

    manifest: Path
    node: Term
    description: Description

    @property
    def iri(self) -> str:
        assert isinstance(self.node, NamedNode), f"{self.manifest}: a test without an IRI"
        return self.node.value

    @property
    def name(self) -> str:
        found = self.description.text(self.node, MF + "name")
        return found or self.description.text(self.node, RDFS + "label") or self.iri

    def value(self, predicate: str) -> Term | None:
        return self.description.value(self.node, MF + predicate)

    def kinds(self) -> set[str]:
        return self.description.kinds(self.node)


def entries(suite: Suite, manifest: Path) -> Iterator[Entry]:
    """The tests of a manifest and of those it includes, in their order."""
    description = suite.description(manifest)
    (node,) = description.subjects(RDF + "type", NamedNode(MF + "Manifest"))
    for included in description.values(node, MF + "include"):
        # A list in some suites, a file for each value in others.
        several = isinstance(included, BlankNode)
        for one in description.items(included) if several else (included,):
            yield from entries(suite, suite.path(one))
    for head in description.values(node, MF + "entries"):
        for item in description.items(head):
            yield Entry(manifest, item, description)
