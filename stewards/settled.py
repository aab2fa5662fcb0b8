"""Asks the platform what is settled of some claims already.

Invariant: the questions name exactly the claims, so the answers grow with the claims and not with
the graph; they are read by name from the project's own lineage graph, which works for a restricted
one too. What a person rejected, withdrew or reverted stays turned down: steady traffic would
otherwise overrule every such decision within seconds.
Source: https://www.w3.org/TR/sparql11-query/#inline-data
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from pyoxigraph import Literal, NamedNode, Quad

from ontology.ids import Ids
from ontology.terms import from_nquads
from ontology.vocab import Fo
from stewards.claim_set import OPERATIONS, Claim
from stewards.draft import SINGLE_VALUED, Held, unsettled
from stewards.errors import UnexpectedAnswer
from stewards.exchange import Json
from stewards.gate_client import GateClient
from stewards.identities import TOO_MANY, new_kind

MAX_QUERY = 60_000
"""Characters of inline data in one query."""

NEWEST_PROPOSALS = 500
"""Of each state, the proposals that are looked at."""

# What waits only because of who showed it, or was submitted anew, is nobody's no.
_OPEN_TO_OTHERS = ("awaiting decision", "withdrawn")
WITHHOLDING = ("awaiting decision", "rejected", "changes requested", "withdrawn", "reverted")


@dataclass(frozen=True)
class Change:
    """The quads that a proposal adds, and those that it removes."""

    additions: frozenset[Quad] = frozenset()
    removals: frozenset[Quad] = frozenset()


class Settled:
    """Looks claims up for one steward of one project."""

    def __init__(self, client: GateClient, ids: Ids, project: str, principal: str) -> None:
        self._client = client
        self._project = project
        self._principal = principal
        self._graph = NamedNode(ids.lineage_graph(project))
        # What a proposal changes never changes.
        self._changes: dict[str, Change] = {}

    def look_up(self, claims: Sequence[Claim], head: int) -> Held:
        """What the graph at ``head`` and the gate hold of these claims."""
        quads = self._in_graph([claim.quad for claim in claims], head)
        held = Held(quads=quads)
        left = unsettled(claims, held)
        if not left:
            # Steady traffic ends here, after one question.
            return held
        described = self._described(left, head)
        left = unsettled(left, Held(quads, described))
        return Held(
            quads,
            described,
            self.withheld().additions & {claim.quad for claim in left} if left else frozenset(),
            self._operation_counts(left, head),
            self._thing_counts(left, head),
        )

    def _in_graph(self, quads: Iterable[Quad], head: int) -> frozenset[Quad]:
        rows = (f"({quad.subject} {quad.predicate} {quad.object})" for quad in quads)
        found = set()
        for values in chunks(rows):
            for solution in self._client.query(
                f"SELECT ?s ?p ?o WHERE {{ VALUES (?s ?p ?o) {{ {values} }}"
                f" GRAPH {self._graph} {{ ?s ?p ?o }} }}",
                head,
            ):
                found.add(
                    Quad(
                        _node(solution.get("s")),
                        _node(solution.get("p")),
                        _value(solution.get("o")),
                        self._graph,
                    )
                )
        return frozenset(found)

    def _described(self, claims: Iterable[Claim], head: int) -> frozenset[tuple[str, str]]:
        pairs = sorted(
            {
                f"({claim.quad.subject} {claim.quad.predicate})"
                for claim in claims
                if claim.quad.predicate.value in SINGLE_VALUED
            }
        )
        found = set()
        for values in chunks(pairs):
            for solution in self._client.query(
                f"SELECT DISTINCT ?s ?p WHERE {{ VALUES (?s ?p) {{ {values} }}"
                f" GRAPH {self._graph} {{ ?s ?p ?value }} }}",
                head,
            ):
                found.add((_node(solution.get("s")).value, _node(solution.get("p")).value))
        return frozenset(found)

    def _operation_counts(self, claims: Iterable[Claim], head: int) -> dict[str, int]:
        services = sorted(
            {
                str(claim.quad.subject)
                for claim in claims
                if claim.rank == OPERATIONS
                and claim.quad.predicate.value in (Fo.offers, Fo.performs)
            }
        )
        counts = {}
        for values in chunks(services):
            for solution in self._client.query(
                "SELECT ?service (COUNT(DISTINCT ?operation) AS ?count) WHERE {"
                f" VALUES ?service {{ {values} }} GRAPH {self._graph} {{ ?service"
                f" <{Fo.offers}>|<{Fo.performs}> ?operation }} }} GROUP BY ?service",
                head,
            ):
                counts[_node(solution.get("service")).value] = int(
                    _value(solution.get("count")).value
                )
        return counts

    def _thing_counts(self, claims: Iterable[Claim], head: int) -> dict[str, int]:
        kinds = sorted({kind for claim in claims if (kind := new_kind(claim)) in TOO_MANY})
        counts = {}
        for values in chunks(f"<{kind}>" for kind in kinds):
            for solution in self._client.query(
                "SELECT ?kind (COUNT(DISTINCT ?thing) AS ?count) WHERE {"
                f" VALUES ?kind {{ {values} }} GRAPH {self._graph} {{ ?thing a ?kind }} }}"
                " GROUP BY ?kind",
                head,
            ):
                counts[_node(solution.get("kind")).value] = int(_value(solution.get("count")).value)
        return counts

    def withheld(self) -> Change:
        """What this steward proposed, and isn't to propose again."""
        withheld = Change()
        for state in WITHHOLDING:
            for proposal in self._own(state, NEWEST_PROPOSALS):
                if proposal.get("hold") and state in _OPEN_TO_OTHERS:
                    continue
                change = self._change(str(proposal.get("id")))
                withheld = Change(
                    withheld.additions | change.additions, withheld.removals | change.removals
                )
        return withheld

    def held(self) -> dict[str, frozenset[Quad]]:
        """What this steward's proposals add to the project's graph that it asked a person to decide
        on, by their ids."""
        return {
            str(proposal.get("id")): self._change(str(proposal.get("id"))).additions
            for proposal in self._own("awaiting decision", NEWEST_PROPOSALS)
            if proposal.get("hold") and self._graph.value in proposal.get("graphs", ())
        }

    def applied(self, known: Collection[str]) -> Iterator[tuple[str, Change]]:
        """The proposals of this steward that were applied and aren't known, with what they
        changed."""
        for proposal in self._own("applied"):
            identifier = str(proposal.get("id"))
            if identifier not in known:
                yield identifier, self._read(identifier)

    def _own(self, state: str, newest: int | None = None) -> Iterator[Json]:
        of_state = self._client.proposals(state=state, project=self._project)
        for proposal in islice(of_state, newest):
            if proposal.get("author") == self._principal:
                yield proposal

    def _change(self, proposal: str) -> Change:
        if proposal not in self._changes:
            self._changes[proposal] = self._read(proposal)
        return self._changes[proposal]

    def _read(self, proposal: str) -> Change:
        try:
            added, removed = (
                frozenset(from_nquads(text.encode())) for text in self._client.diff(proposal)
            )
        except SyntaxError as error:
            raise UnexpectedAnswer(
                f"the diff of proposal {proposal} is no N-Quads: {error}"
            ) from error
        return Change(added, removed)


def chunks(rows: Iterable[str]) -> Iterator[str]:
    """The rows joined by blanks, in texts of at most ``MAX_QUERY`` characters or one row."""
    chunk: list[str] = []
    size = 0
    for row in rows:
        if chunk and size + len(row) > MAX_QUERY:
            yield " ".join(chunk)
            chunk, size = [], 0
        chunk.append(row)
        size += len(row) + 1
    if chunk:
        yield " ".join(chunk)


def _node(term: object) -> NamedNode:
    if not isinstance(term, NamedNode):
        raise UnexpectedAnswer(f"/sparql gave {term} where only an IRI can be")
    return term


def _value(term: object) -> NamedNode | Literal:
    if not isinstance(term, NamedNode | Literal):
        raise UnexpectedAnswer(f"/sparql gave {term} where only an IRI or a literal can be")
    return term
