"""Turns claims into the proposals that are still to be made.

Invariant: :func:`drafts` is a pure function, the same for the same claims and the same graph, byte
for byte. A draft holds only what the graph doesn't hold and nobody has turned down, and every thing
it speaks of is in the graph or in the draft. Nothing is ever removed: that a thing wasn't seen
lately is no proof that it is gone (:mod:`stewards.dormant` marks it).

What people have written stays: a thing that has a class, a label or another single value in the
graph keeps it, whatever telemetry calls it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from pyoxigraph import NamedNode, Quad

from ontology.terms import to_nquads
from ontology.vocab import Fo, Rdf, Rdfs, Skos
from stewards.claim_set import Claim
from stewards.evidence import earlier
from stewards.identities import excess

SINGLE_VALUED = frozenset(
    {
        Rdf.type,
        Rdfs.label,
        Skos.notation,
        Fo.httpMethod,
        Fo.route,
        Fo.system,
        Fo.namespace,
        Fo.address,
        Fo.version,
        Fo.path,
        Fo.errorType,
        Fo.culprit,
    }
)
"""Properties that a thing has once; claimed only for a thing that has none yet."""

_NOUNS = {
    Fo.Service: ("service", "services"),
    Fo.HttpRoute: ("operation", "operations"),
    Fo.Dataset: ("dataset", "datasets"),
    Fo.Topic: ("topic", "topics"),
    Fo.DataStore: ("data store", "data stores"),
    Fo.Job: ("job", "jobs"),
    Fo.Column: ("column", "columns"),
    Fo.ColumnDerivation: ("column derivation", "column derivations"),
    Fo.Dependency: ("dependency", "dependencies"),
    Fo.DeploymentEnvironment: ("deployment environment", "deployment environments"),
    Fo.Workload: ("workload", "workloads"),
    Fo.Release: ("release", "releases"),
    Fo.Page: ("page", "pages"),
    Fo.ProductEventType: ("product event type", "product event types"),
    Fo.Feature: ("feature", "features"),
    Fo.ErrorIssue: ("error issue", "error issues"),
}


@dataclass(frozen=True)
class Limits:
    """Bounds on what a steward proposes.

    ``quads`` and ``evidence`` bound one proposal (the log lists up to 64 batches by name);
    ``operations`` bounds what the graph keeps of one service, ``things`` how many pages, event
    types, features and issues, of each, it keeps of a project, so that names which carry ids can't
    make it grow with traffic.
    """

    quads: int = 5_000
    evidence: int = 64
    operations: int = 1_000
    things: int = 1_000


@dataclass(frozen=True)
class Held:
    """What is already settled of some claims.

    ``quads`` are in the graph; ``described`` are the (subject, property) pairs that have a value
    there; ``withheld`` wait for a decision or were turned down; ``operations`` counts what the
    graph knows of each service that may get new operations, ``things`` what it knows of each class
    that is bounded for the project.
    """

    quads: frozenset[Quad] = frozenset()
    described: frozenset[tuple[str, str]] = frozenset()
    withheld: frozenset[Quad] = frozenset()
    operations: Mapping[str, int] = field(default_factory=dict)
    things: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """One proposal to be: canonical N-Quads to add and to remove, why, and the evidence."""

    quads: tuple[Quad, ...]
    rationale: str
    evidence: tuple[str, ...]
    removals: str = ""

    @property
    def additions(self) -> str:
        return to_nquads(self.quads).decode()

    @property
    def key(self) -> str:
        """The digest of what the draft changes: two that change the same have the same key."""
        return hashlib.sha256(f"{self.additions}\n{self.removals}".encode()).hexdigest()


@dataclass(frozen=True)
class Drafts:
    """The drafts in the order in which they must be submitted, and what was set aside."""

    drafts: tuple[Draft, ...] = ()
    set_aside: Mapping[str, int] = field(default_factory=dict)


def unsettled(claims: Iterable[Claim], held: Held) -> tuple[Claim, ...]:
    """The claims that the graph doesn't hold, in order. Of several values for what a thing has
    once, the one that was seen first is claimed."""
    left = [
        claim
        for claim in claims
        if claim.quad not in held.quads
        and not (_is_single(claim) and _described(claim) in held.described)
    ]
    first: dict[tuple[str, str], Claim] = {}
    for claim in filter(_is_single, left):
        known = first.setdefault(_described(claim), claim)
        if earlier(claim.evidence, known.evidence):
            first[_described(claim)] = claim
    return tuple(
        claim for claim in left if not _is_single(claim) or first[_described(claim)] is claim
    )


def _is_single(claim: Claim) -> bool:
    return claim.quad.predicate.value in SINGLE_VALUED


def _described(claim: Claim) -> tuple[str, str]:
    return _subject(claim), claim.quad.predicate.value


def drafts(claims: Iterable[Claim], held: Held, limits: Limits) -> Drafts:
    """What is left to propose of these claims (in their order), in parts within the limits."""
    open_claims = unsettled(claims, held)
    over = excess(open_claims, held.operations, held.things, (limits.operations, limits.things))
    introduced = {(claim.rank, claim.about) for claim in open_claims if claim.introduces}
    # A thing is proposed whole or not at all.
    missing = set().union(*over.values()) | {
        claim.about
        for claim in open_claims
        if claim.quad in held.withheld and (claim.rank, claim.about) in introduced
    }
    missing = _with_dependents(open_claims, missing)
    left = [
        claim
        for claim in open_claims
        if claim.quad not in held.withheld and not claim.needs & missing
    ]
    set_aside = {reason: len(things) for reason, things in over.items()}
    return Drafts(tuple(_draft(part) for part in _parts(left, limits)), set_aside)


def _with_dependents(claims: Sequence[Claim], missing: set[str]) -> set[str]:
    """The missing things, and those that can't be introduced without them."""
    while True:
        more = {
            claim.introduces
            for claim in claims
            if claim.introduces and claim.introduces not in missing and claim.needs & missing
        }
        if not more:
            return missing
        missing = missing | more


def _parts(claims: Sequence[Claim], limits: Limits) -> Iterator[list[Claim]]:
    """Claims in order, cut between things and never within one."""
    part: list[Claim] = []
    evidence: set[str] = set()
    for _, group in groupby(claims, key=lambda claim: (claim.rank, claim.about)):
        about_one = list(group)
        theirs = {digest for claim in about_one for _, digest in claim.evidence}
        if part and (
            len(part) + len(about_one) > limits.quads or len(evidence | theirs) > limits.evidence
        ):
            yield part
            part, evidence = [], set()
        part.extend(about_one)
        evidence |= theirs
    if part:
        yield part


def _draft(claims: Sequence[Claim]) -> Draft:
    batches = sorted({batch for claim in claims for batch in claim.evidence})
    return Draft(
        tuple(claim.quad for claim in claims),
        _rationale(claims, len(batches)),
        tuple(dict.fromkeys(digest for _, digest in batches)),
    )


def _rationale(claims: Sequence[Claim], batches: int) -> str:
    kinds: list[str] = []
    links = 0
    for claim in claims:
        if claim.introduces:
            kind = claim.quad.object
            assert isinstance(kind, NamedNode)
            kinds.append(kind.value)
        elif claim.quad.predicate.value not in SINGLE_VALUED | {Fo.inProject}:
            links += 1
    found = counted(kinds)
    if links:
        found.append(f"{links} {'link' if links == 1 else 'links'}")
    seen = ", ".join(found) or f"{len(claims)} further details of what is known"
    where = "1 evidence batch" if batches == 1 else f"{batches} evidence batches"
    return f"First seen in {where}: {seen}."


def counted(kinds: Iterable[str]) -> list[str]:
    """How many things of each class there are, in words."""
    counts = Counter(_NOUNS.get(kind, _NOUNS[Fo.HttpRoute]) for kind in kinds)
    return [f"{count} {one if count == 1 else many}" for (one, many), count in counts.items()]


def _subject(claim: Claim) -> str:
    subject = claim.quad.subject
    assert isinstance(subject, NamedNode)
    return subject.value
