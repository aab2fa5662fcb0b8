"""Which new things may enter the graph by themselves, and which wait for a person.

Invariant: this is the one place that says which claims bring new things of which kind, shown by
whom. Of each kind no more than the project's cap for an hour gets through, the earliest seen first;
what can't be said without a thing that waits, waits with it. Both functions are pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pyoxigraph import NamedNode, Quad

from ontology.vocab import Fo, Rdf
from stewards.claim_set import OPERATIONS, Claim

UNTRUSTED = "seen only by keys that stand in pages"
OVER_CAP = "more new things in an hour than the project may have"

_OPERATIONS = "operations"
_KINDS = {
    Fo.Service: "services",
    Fo.Release: "releases",
    Fo.Page: "pages",
    Fo.ProductEventType: "event types",
    Fo.Feature: "features",
    Fo.ErrorIssue: "error issues",
    Fo.Job: "jobs",
    Fo.Column: "columns",
    Fo.ColumnDerivation: "column derivations",
    Fo.Dataset: "datasets",
    Fo.Topic: "topics",
    Fo.DataStore: "data stores",
    Fo.Dependency: "dependencies",
    Fo.DeploymentEnvironment: "environments",
    Fo.Workload: "workloads",
}


@dataclass(frozen=True)
class HourlyCaps:
    """How many new things of each kind a project may get in an hour, whoever shows them."""

    services: int = 200
    releases: int = 200
    operations: int = 2_000
    pages: int = 500
    event_types: int = 500
    features: int = 200
    error_issues: int = 500
    others: int = 2_000

    def of(self, kind: str) -> int:
        """The cap of a kind, as :func:`kind_of` names it."""
        return int(getattr(self, kind.replace(" ", "_"), self.others))


def kind_of(claim: Claim) -> str:
    """What a claim brings into the graph, in the plural; empty where it brings no thing."""
    introduced = claim.quad.object if claim.introduces else None
    if not isinstance(introduced, NamedNode):
        return ""
    return _KINDS.get(introduced.value, _OPERATIONS if claim.rank == OPERATIONS else "things")


def kinds_in(quads: Iterable[Quad], claims: Iterable[Claim]) -> Counter[str]:
    """How many things of each kind these quads, which are some of the claims, bring."""
    chosen = {quad for quad in quads if quad.predicate.value == Rdf.type}
    return Counter(kind_of(claim) for claim in claims if claim.quad in chosen)


def over_cap(
    claims: Sequence[Claim],
    settled: Collection[Quad],
    used: Mapping[str, int],
    caps: HourlyCaps,
) -> tuple[Claim, ...]:
    """The claims that wait, because the hour has no room for the new things that they need.

    ``settled`` are the quads that need no room: the graph has them, or they are withheld; ``used``
    counts by kind what the hour brought already.
    """
    new: dict[str, set[tuple[int, str]]] = {}
    for claim in claims:
        kind = kind_of(claim)
        if kind and claim.quad not in settled:
            new.setdefault(kind, set()).add((claim.evidence[-1][0], claim.about))
    waiting = {
        about
        for kind, seen in new.items()
        for _, about in sorted(seen)[max(0, caps.of(kind) - used.get(kind, 0)) :]
    }
    return needing(claims, waiting) if waiting else ()


def needing(claims: Sequence[Claim], things: Collection[str]) -> tuple[Claim, ...]:
    """The claims that can't be made without one of these things, in order."""
    missing = set(things)
    while True:
        more = {
            claim.introduces
            for claim in claims
            if claim.introduces and claim.introduces not in missing and claim.needs & missing
        }
        if not more:
            return tuple(claim for claim in claims if claim.needs & missing)
        missing |= more
