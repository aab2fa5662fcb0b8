"""Deltas, and the canonical form of the quads in them.

Invariant: two quads mean the same exactly when their canonical lines are the same bytes. A
canonical line is the quad's RDFC-1.0 N-Quads line, with its literal in the canonical form of
:mod:`ontology.literals`; the graph and the journal hold canonical quads without blank nodes and
nothing else.
Specification: https://www.w3.org/TR/rdf-canon/#canonical-quads
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from pyoxigraph import (
    BlankNode,
    CanonicalizationAlgorithm,
    Dataset,
    DefaultGraph,
    Literal,
    NamedNode,
    Quad,
    RdfFormat,
    Triple,
    parse,
    serialize,
)

from ontology.errors import LimitExceeded, UnsupportedTerm
from ontology.literals import canonical_literal

MAX_IRI = 4096
MAX_LITERAL = 65536

Canonicalise = Callable[[bytes], bytes]
"""RDFC-1.0 over N-Quads bytes: the same quads with canonical blank node labels."""


def canonical_quad(quad: Quad) -> Quad:
    """The quad in canonical form; blank nodes are left as they are.

    Raises :class:`ontology.errors.UnsupportedTerm` for triple terms,
    :class:`ontology.errors.IllTypedLiteral` and :class:`ontology.errors.LimitExceeded`.
    """
    subject, predicate, value = quad.subject, quad.predicate, quad.object
    if isinstance(subject, Triple) or isinstance(value, Triple):
        raise UnsupportedTerm(f"{quad}: triple terms of RDF 1.2 are not supported yet")
    for term in (subject, predicate, value, quad.graph_name):
        if isinstance(term, NamedNode) and len(term.value) > MAX_IRI:
            raise LimitExceeded(f"an IRI of {len(term.value)} characters: the limit is {MAX_IRI}")
    if isinstance(value, Literal):
        if len(value.value) > MAX_LITERAL:
            raise LimitExceeded(
                f"a literal of {len(value.value)} characters at {predicate}: the limit is"
                f" {MAX_LITERAL}; keep long texts outside the graph and link to them"
            )
        canonical = canonical_literal(value)
        if canonical != value:
            return Quad(subject, predicate, canonical, quad.graph_name)
    return quad


def line(quad: Quad) -> bytes:
    """The canonical N-Quads line of a canonical quad, with its newline."""
    # What serialize() prints is the canonical N-Quads form; str() is the same without the end.
    return f"{quad} .\n".encode()


def to_nquads(quads: Iterable[Quad]) -> bytes:
    """Sorted canonical lines: the RDFC-1.0 form of quads without blank nodes."""
    return b"".join(sorted(line(quad) for quad in quads))


def from_nquads(data: bytes) -> Iterator[Quad]:
    """The quads of canonical N-Quads bytes."""
    return iter(parse(data, format=RdfFormat.N_QUADS))


def sha256(data: bytes) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class Delta:
    """A change: canonical quads to add and to remove, disjoint, every one in a named graph."""

    additions: frozenset[Quad] = frozenset()
    removals: frozenset[Quad] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.additions or self.removals)

    def __len__(self) -> int:
        return len(self.additions) + len(self.removals)

    @property
    def quads(self) -> frozenset[Quad]:
        return self.additions | self.removals

    def inverse(self) -> Delta:
        return Delta(self.removals, self.additions)

    def graphs(self) -> list[str]:
        """IRIs of the named graphs it changes, sorted."""
        return sorted({graph_of(quad) for quad in self.quads})

    def in_graph(self, graph: str) -> Delta:
        return Delta(
            frozenset(quad for quad in self.additions if graph_of(quad) == graph),
            frozenset(quad for quad in self.removals if graph_of(quad) == graph),
        )

    def without_graphs(self, graphs: Collection[str]) -> Delta:
        """The change as somebody sees it who may not read these graphs."""
        return Delta(
            frozenset(quad for quad in self.additions if graph_of(quad) not in graphs),
            frozenset(quad for quad in self.removals if graph_of(quad) not in graphs),
        )

    def patch(self) -> str:
        """RDF Patch rows, sorted: removals first, then additions."""
        rows = [f"D {quad} ." for quad in self.removals] + [
            f"A {quad} ." for quad in self.additions
        ]
        return "".join(row + "\n" for row in sorted(rows, key=lambda row: (row[0] == "A", row)))


def graph_of(quad: Quad) -> str:
    """The IRI of the quad's named graph."""
    graph = quad.graph_name
    if not isinstance(graph, NamedNode):
        raise UnsupportedTerm(f"{quad}: a quad must be in a named graph that has an IRI")
    return graph.value


def has_blank_nodes(quads: Iterable[Quad]) -> bool:
    return any(isinstance(q.subject, BlankNode) or isinstance(q.object, BlankNode) for q in quads)


def rdfc10(
    data: bytes, algorithm: CanonicalizationAlgorithm = CanonicalizationAlgorithm.RDFC_1_0
) -> bytes:
    """RDFC-1.0 over N-Quads, with SHA-256 unless the algorithm says SHA-384.

    A poison graph may keep it busy for ever: run it where it can be killed when the quads are a
    stranger's."""
    dataset = Dataset(parse(data, format=RdfFormat.N_QUADS))
    dataset.canonicalize(algorithm)
    return b"".join(sorted(line(quad) for quad in dataset))


def skolem_prefix(base: str) -> str:
    """What the IRIs of former blank nodes begin with."""
    return f"{base}/.well-known/genid/"


def skolemise(
    quads: Iterable[Quad], base: str, salt: str = "", canonicalise: Canonicalise = rdfc10
) -> frozenset[Quad]:
    """The quads with each blank node replaced by an IRI below ``base``.

    The IRI is a digest of the salt, the whole canonical set and the node's RDFC-1.0 label: the same
    submission gives the same IRIs, and nodes of different submissions never meet.
    Source: https://www.w3.org/TR/rdf11-concepts/#section-skolemization
    """
    given = frozenset(quads)
    if not has_blank_nodes(given):
        return given
    serialised = serialize(given, format=RdfFormat.N_QUADS)
    assert serialised is not None
    canonical = canonicalise(serialised)
    seed = hashlib.sha256(salt.encode() + b"\x00" + canonical).digest()

    def named(term: NamedNode | BlankNode | Literal | Triple) -> NamedNode | Literal:
        if isinstance(term, BlankNode):
            digest = hashlib.sha256(seed + term.value.encode()).hexdigest()[:40]
            return NamedNode(skolem_prefix(base) + digest)
        assert isinstance(term, NamedNode | Literal)
        return term

    out = set()
    for quad in from_nquads(canonical):
        subject = named(quad.subject)
        assert isinstance(subject, NamedNode)
        out.add(Quad(subject, quad.predicate, named(quad.object), quad.graph_name))
    return frozenset(out)


def in_named_graph(quad: Quad, graph: NamedNode) -> Quad:
    """The quad, moved from the default graph into this one; a quad in a named graph stays."""
    if isinstance(quad.graph_name, DefaultGraph):
        return Quad(quad.subject, quad.predicate, quad.object, graph)
    return quad
