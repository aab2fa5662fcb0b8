"""New identities of every kind, counted: what keeps names from making the graph grow with traffic.

Invariant: of each kind no more than its limit is kept; of what is new, the earliest seen comes
first. This is the one place where the new identities of a kind are counted: operations for each
service, pages, event types, features and issues for the whole project.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pyoxigraph import NamedNode

from ontology.vocab import Fo
from stewards.claim_set import OPERATIONS, Claim

TOO_MANY_OPERATIONS = "operations above the limit for one service: name them without ids"
TOO_MANY = {
    Fo.Page: "pages above the limit for one project: name them without ids",
    Fo.ProductEventType: "event types above the limit for one project: name them without ids",
    Fo.Feature: "features above the limit for one project: name them without ids",
    Fo.ErrorIssue: "error issues above the limit for one project: group them by a fingerprint",
}
"""What is limited for a project as a whole, by class, and what is said of what is over."""

# Where something belongs: a service for operations, a class for what belongs to the project.
_Holder = str
_Seen = tuple[int, str]


def excess(
    claims: Sequence[Claim],
    operations: Mapping[str, int],
    things: Mapping[str, int],
    limits: tuple[int, int],
) -> dict[str, set[str]]:
    """The new things that there is no room for, by the reason to give.

    ``operations`` counts what the graph knows of each service, ``things`` what it knows of each
    class of :data:`TOO_MANY`; ``limits`` are those of one service and of one class.
    """
    introduced = {claim.introduces: claim for claim in claims if claim.introduces}
    of_service: dict[_Holder, set[_Seen]] = {}
    of_class: dict[_Holder, set[_Seen]] = {}
    for claim in claims:
        if claim.quad.predicate.value in (Fo.offers, Fo.performs):
            operation = introduced.get(claim.about)
            if operation is not None and operation.rank == OPERATIONS:
                seen = (operation.evidence[-1][0], claim.about)
                assert isinstance(claim.quad.subject, NamedNode)
                of_service.setdefault(claim.quad.subject.value, set()).add(seen)
        kind = new_kind(claim)
        if kind in TOO_MANY:
            of_class.setdefault(kind, set()).add((claim.evidence[-1][0], claim.about))
    found: dict[str, set[str]] = {}
    for service, seen_ones in of_service.items():
        over = _over(seen_ones, limits[0] - operations.get(service, 0))
        found.setdefault(TOO_MANY_OPERATIONS, set()).update(over)
    for kind, seen_ones in of_class.items():
        found[TOO_MANY[kind]] = _over(seen_ones, limits[1] - things.get(kind, 0))
    return {reason: over for reason, over in found.items() if over}


def new_kind(claim: Claim) -> str:
    """The class of the thing that a claim introduces; empty where it introduces none."""
    kind = claim.quad.object if claim.introduces else None
    return kind.value if isinstance(kind, NamedNode) else ""


def _over(seen: Iterable[_Seen], room: int) -> set[str]:
    return {name for _, name in sorted(seen)[max(0, room) :]}
