"""Tells the observed status of runtime assets from every other change to ``graph/assets``.

Invariant: an observation states when and how an asset was found and takes back the statement before
it, and says nothing else of anything. It gives nobody a right and leads no command anywhere, so
policy lets it apply at once for those who may observe; whatever goes beyond it needs the person
that assets need. That the asset is there is for the shapes to say: a status of something else is
refused by them.
"""

from __future__ import annotations

from typing import Final

from pyoxigraph import NamedNode

from ontology.terms import Delta
from ontology.vocab import Fo
from proofs.governance import OPERATOR, Governance

STATUS: Final = frozenset({Fo.assetStatus, Fo.statusSince, Fo.statusEvidence})
MOST_ASSETS = 200
"""Assets whose status one observation may state."""
MOST_EVIDENCE = 16
"""Pieces of evidence that it may name of each."""


def is_observation(delta: Delta, graph: str) -> bool:
    """Whether this change to ``graph`` (an IRI) is the status of assets and nothing else: of each
    one state and one time are added, and none goes without another one taking its place."""
    if delta.graphs() != [graph]:
        return False
    added: dict[str, list[str]] = {}
    for quad in delta.quads:
        if quad.predicate.value not in STATUS or not isinstance(quad.subject, NamedNode):
            return False
        added.setdefault(quad.subject.value, [])
    for quad in delta.additions:
        assert isinstance(quad.subject, NamedNode)
        added[quad.subject.value].append(quad.predicate.value)
    return len(added) <= MOST_ASSETS and all(
        stated.count(Fo.assetStatus) == 1
        and stated.count(Fo.statusSince) == 1
        and stated.count(Fo.statusEvidence) <= MOST_EVIDENCE
        for stated in added.values()
    )


def may_observe(
    governance: Governance, principal: str, platform: str, graph: str, size: int
) -> bool:
    """Whether what this principal observes applies at once: the platform's own principal,
    operators, and whoever holds a grant on ``graph`` whose limit isn't below ``size``, the number
    of quads."""
    if principal == platform or governance.has_role(principal, OPERATOR):
        return True
    grant = governance.grant(principal, graph)
    return grant is not None and size <= grant.auto_apply_limit
