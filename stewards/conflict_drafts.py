"""Turns conflicts into the proposals that state them, and take them back.

Invariant: :func:`drafts` is a pure function. A conflict is stated whole, and taken back whole once
the sources agree; where one of them says something else, only that claim changes. What people
turned down isn't proposed again, what they want to stay stays, and conflicts that somebody else
stated are left alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pyoxigraph import Literal, NamedNode, Quad

from ontology.ids import Ids
from ontology.terms import canonical_quad, to_nquads
from ontology.vocab import Fo, Rdf, Rdfs
from stewards.conflicts import Claim, Conflict
from stewards.draft import Draft, Limits

MAX_TOLD = 10
"""Conflicts that the reason of a proposal tells in words."""


@dataclass(frozen=True)
class Statements:
    """What the graph holds of a conflict: quads by the node that they are about."""

    of_node: Mapping[str, frozenset[Quad]]


@dataclass(frozen=True)
class _Change:
    """What becomes of one conflict."""

    additions: frozenset[Quad]
    removals: frozenset[Quad]
    evidence: frozenset[str]
    told: str
    is_over: bool


def quads_of(conflict: Conflict, ids: Ids, project: str) -> dict[str, frozenset[Quad]]:
    """A conflict as the graph states it, by the node that the quads are about."""
    graph = NamedNode(ids.lineage_graph(project))
    found: dict[str, set[Quad]] = defaultdict(set)

    def say(subject: str, predicate: str, value: NamedNode | Literal) -> None:
        quad = Quad(NamedNode(subject), NamedNode(predicate), value, graph)
        found[subject].add(canonical_quad(quad))

    say(conflict.iri, Rdf.type, NamedNode(Fo.Conflict))
    say(conflict.iri, Rdfs.label, Literal(conflict.label))
    say(conflict.iri, Fo.inProject, NamedNode(ids.project(project)))
    say(conflict.iri, Fo.conflictKind, Literal(conflict.kind))
    for asset in conflict.assets:
        say(conflict.iri, Fo.disputes, NamedNode(asset))
    for claim in conflict.claims:
        node = _node(conflict, claim, ids)
        say(conflict.iri, Fo.hasClaim, NamedNode(node))
        say(node, Rdf.type, NamedNode(Fo.SourceClaim))
        say(node, Rdfs.label, Literal(f"{claim.teller}: {claim.says}"))
        say(node, Fo.source, Literal(claim.source))
        say(node, Fo.claims, Literal(claim.says))
        if claim.party:
            say(node, Fo.claimedBy, NamedNode(claim.party))
        if claim.batch:
            say(node, Fo.shownBy, NamedNode(ids.evidence(claim.batch.removeprefix("sha256:"))))
    return {node: frozenset(quads) for node, quads in found.items()}


def drafts(
    wanted: Sequence[Conflict],
    stated: Mapping[str, Statements],
    refused: Collection[Quad],
    kept: Collection[Quad],
    ids: Ids,
    project: str,
    limits: Limits,
) -> tuple[Draft, ...]:
    """What is to be proposed, so that the graph states the wanted conflicts. ``refused`` are quads
    that nobody is to propose again, ``kept`` those that are to stay."""
    changes = []
    for conflict in wanted:
        said = quads_of(conflict, ids, project)
        before = stated.get(conflict.iri)
        if before is not None:
            change = _mended(conflict, said, before, ids)
        else:
            change = _Change(
                frozenset().union(*said.values()),
                frozenset(),
                frozenset(claim.batch for claim in conflict.claims if claim.batch),
                conflict.label,
                False,
            )
        changes.append(change)
    for iri in sorted(stated.keys() - {conflict.iri for conflict in wanted}):
        gone = frozenset().union(*stated[iri].of_node.values())
        changes.append(_Change(frozenset(), gone, frozenset(), _label(gone, iri), True))
    left = [
        change
        for change in changes
        if (change.additions or change.removals)
        and not change.additions & frozenset(refused)
        and not change.removals & frozenset(kept)
    ]
    return tuple(_draft(part) for part in _parts(left, limits))


def _mended(
    conflict: Conflict, said: Mapping[str, frozenset[Quad]], before: Statements, ids: Ids
) -> _Change:
    """A claim that stands keeps the batch that showed it first."""
    additions: set[Quad] = set()
    removals: set[Quad] = set()
    evidence = set()
    for claim in conflict.claims:
        node = _node(conflict, claim, ids)
        if node not in before.of_node:
            additions |= said[node]
            evidence |= {claim.batch} - {""}
    for node, quads in before.of_node.items():
        if node == conflict.iri:
            additions |= said[node] - quads
            removals |= quads - said[node]
        elif node not in said:
            removals |= quads
    return _Change(
        frozenset(additions), frozenset(removals), frozenset(evidence), conflict.label, False
    )


def _node(conflict: Conflict, claim: Claim, ids: Ids) -> str:
    return ids.source_claim(conflict.iri, f"{claim.source} {claim.party}", claim.says)


def _label(quads: Iterable[Quad], iri: str) -> str:
    return next(
        (
            quad.object.value
            for quad in sorted(quads, key=str)
            if quad.predicate.value == Rdfs.label
            and quad.subject == NamedNode(iri)
            and isinstance(quad.object, Literal)
        ),
        iri,
    )


def _parts(changes: Sequence[_Change], limits: Limits) -> Iterable[list[_Change]]:
    part: list[_Change] = []
    quads, evidence = 0, set[str]()
    for change in changes:
        size = len(change.additions) + len(change.removals)
        more = evidence | change.evidence
        if part and (quads + size > limits.quads or len(more) > limits.evidence):
            yield part
            part, quads, more = [], 0, set(change.evidence)
        part.append(change)
        quads, evidence = quads + size, more
    if part:
        yield part


def _draft(changes: Sequence[_Change]) -> Draft:
    over = [change for change in changes if change.is_over]
    mended = [change for change in changes if not change.is_over and change.removals]
    new = [change for change in changes if not change.is_over and not change.removals]
    said = []
    for title, some in (
        ("Sources disagree", new),
        ("Sources disagree otherwise", mended),
        ("Sources agree again", over),
    ):
        if some:
            told = " | ".join(change.told for change in some[:MAX_TOLD])
            more = f" | and {len(some) - MAX_TOLD} more" if len(some) > MAX_TOLD else ""
            said.append(f"{title} ({len(some)}): {told}{more}.")
    additions = frozenset().union(*(change.additions for change in changes))
    removals = frozenset().union(*(change.removals for change in changes))
    evidence = sorted(frozenset().union(*(change.evidence for change in changes)))
    return Draft(
        tuple(sorted(additions - removals, key=str)),
        " ".join(said)[:3_600],
        tuple(evidence),
        to_nquads(removals - additions).decode(),
    )
