"""What ought to be in the graph, quad by quad.

Invariant: a :class:`ClaimSet` holds each quad once, with the evidence that was complete first, and
gives its claims in one order, whatever the order in which they were made. A claim names the nodes
it can't do without, so that nothing is ever said of a thing that the graph won't hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pyoxigraph import Literal, NamedNode, Quad

from ontology.vocab import Rdf, Rdfs, Skos
from stewards.evidence import Evidence, earlier
from stewards.names import shown

# Things first, then what is said between them: a part of the claims, taken in this order, never
# speaks of a thing that a later part introduces.
PLACES, DATA, OPERATIONS, LINKS, DETAILS = range(5)


@dataclass(frozen=True)
class Claim:
    """One quad, its evidence, and how it hangs together with others.

    ``about`` is the node that it describes: claims of one rank about one node stay in one proposal,
    or out of it. ``needs`` are the nodes it makes no sense without.
    """

    quad: Quad
    evidence: Evidence
    rank: int
    about: str
    needs: frozenset[str] = frozenset()

    @property
    def introduces(self) -> str | None:
        """The thing that this claim brings into the graph, by giving it a class."""
        return self.about if self.quad.predicate.value == Rdf.type else None


@dataclass(frozen=True)
class Claims:
    """Every claim of a page, in order, and what was set aside, counted by reason."""

    claims: tuple[Claim, ...] = ()
    set_aside: Mapping[str, int] = field(default_factory=dict)


class ClaimSet:
    """Claims in the making, all of one named graph."""

    def __init__(self, graph: str) -> None:
        self._graph = NamedNode(graph)
        self._found: dict[Quad, Claim] = {}

    def ordered(self) -> tuple[Claim, ...]:
        """The claims by rank and by what they are about."""
        return tuple(
            sorted(
                self._found.values(), key=lambda claim: (claim.rank, claim.about, str(claim.quad))
            )
        )

    def add(self, claim: Claim) -> None:
        """Keep this claim, unless the same quad has earlier evidence."""
        known = self._found.get(claim.quad)
        if known is None or earlier(claim.evidence, known.evidence):
            self._found[claim.quad] = claim

    def link(self, subject: str, predicate: str, value: str, evidence: Evidence) -> None:
        """State a relation between two things."""
        self.node(subject, predicate, value, evidence, LINKS)

    def thing(
        self,
        subject: str,
        kind: str,
        name: str,
        evidence: Evidence,
        rank: int,
        notation: str | None = None,
        needs: frozenset[str] = frozenset(),
    ) -> None:
        """Introduce a thing; ``notation`` is its key in telemetry, by default its name."""
        self.claim(subject, Rdf.type, NamedNode(kind), evidence, rank, subject, needs)
        self.text(subject, Rdfs.label, name, evidence, rank)
        if notation is None or notation:
            self.text(subject, Skos.notation, notation or name, evidence, rank)

    def text(self, subject: str, predicate: str, text: str, evidence: Evidence, rank: int) -> None:
        value = shown(text)
        if value:
            self.claim(subject, predicate, Literal(value), evidence, rank, subject)

    def node(
        self,
        subject: str,
        predicate: str,
        value: str,
        evidence: Evidence,
        rank: int,
        about: str | None = None,
    ) -> None:
        self.claim(
            subject,
            predicate,
            NamedNode(value),
            evidence,
            rank,
            about or subject,
            frozenset({value}),
        )

    def claim(
        self,
        subject: str,
        predicate: str,
        value: NamedNode | Literal,
        evidence: Evidence,
        rank: int,
        about: str,
        needs: Iterable[str] = (),
    ) -> None:
        quad = Quad(NamedNode(subject), NamedNode(predicate), value, self._graph)
        self.add(Claim(quad, evidence, rank, about, frozenset({subject, about, *needs})))
