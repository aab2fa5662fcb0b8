"""What a proposal is, and the states it may pass through.

Invariant: the table below is the only place that says which state may follow which; everything a
proposal shows is folded from journal entries, so it can be rebuilt from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from proofs.errors import WrongState

DRAFT = "draft"
SUBMITTED = "submitted"
INVALID = "invalid"
VALID = "valid"
AWAITING = "awaiting decision"
APPROVED = "approved"
REJECTED = "rejected"
EXECUTING = "executing"
EXECUTED = "executed"
APPLIED = "applied"
PROVEN = "proven"
CHANGES_REQUESTED = "changes requested"
EXPIRED = "expired"
WITHDRAWN = "withdrawn"
SUPERSEDED = "superseded"
REVERTED = "reverted"

TRANSITIONS: dict[str, frozenset[str]] = {
    DRAFT: frozenset({SUBMITTED}),
    SUBMITTED: frozenset({INVALID, VALID}),
    INVALID: frozenset(),
    VALID: frozenset({AWAITING, APPROVED, REJECTED}),
    AWAITING: frozenset(
        {APPROVED, REJECTED, CHANGES_REQUESTED, EXPIRED, WITHDRAWN, SUPERSEDED, INVALID}
    ),
    # A change is applied; an order is carried out, once, unless it was overtaken before it began.
    APPROVED: frozenset({APPLIED, EXECUTING, SUPERSEDED}),
    EXECUTING: frozenset({EXECUTED}),
    EXECUTED: frozenset(),
    REJECTED: frozenset(),
    CHANGES_REQUESTED: frozenset(),
    EXPIRED: frozenset(),
    APPLIED: frozenset({PROVEN, REVERTED}),
    PROVEN: frozenset({REVERTED}),
    WITHDRAWN: frozenset(),
    SUPERSEDED: frozenset(),
    REVERTED: frozenset(),
}


def advance(state: str, *path: str) -> str:
    """The last state of the path, if each step is allowed. Raises :class:`WrongState`."""
    for following in path:
        if following not in TRANSITIONS[state]:
            raise WrongState(f"a proposal that is {state} cannot become {following}")
        state = following
    return state


@dataclass(frozen=True)
class Submission:
    """The proposal's document, kept as a blob: what was asked, by whom, and why.

    Digests are SHA-256 in hexadecimal; ``additions`` and ``removals`` are those of the canonical
    N-Quads, ``source_sha256`` that of the bytes as they came, ``base`` the head it was drafted on;
    ``hold`` says why a person has to decide, where policy might have let it pass; ``signature`` is
    the digest of the envelope that the author signed, ``signed_with`` the IRI of the key; ``order``
    the digest of what is to be carried out, of a proposal that changes no graph.
    """

    id: str
    project: str | None
    principal: str
    rationale: str
    graphs: tuple[str, ...]
    additions: str
    additions_count: int
    removals: str
    removals_count: int
    evidence: tuple[str, ...]
    base: int | None
    media_type: str
    source_sha256: str
    reverts: str | None
    submitted_at: str
    hold: str = ""
    signature: str = ""
    signed_with: str = ""
    order: str = ""

    def to_bytes(self) -> bytes:
        value = asdict(self)
        for name in ("hold", "signature", "signed_with", "order"):
            if not value[name]:
                # A document without one looks as it did before there were any.
                del value[name]
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Submission:
        value = json.loads(data)
        value["graphs"] = tuple(value["graphs"])
        value["evidence"] = tuple(value["evidence"])
        return cls(**value)


@dataclass(frozen=True)
class DecisionView:
    """One decision on a proposal, as it is shown."""

    by: str
    outcome: str
    reason: str
    at: str
    single_person: bool
    policy: str | None = None


@dataclass(frozen=True)
class Transition:
    """A state that was reached, when, and by which log entry."""

    state: str
    at: str
    proof: int


@dataclass(frozen=True)
class ProposalView:
    """A proposal as it stands: folded from the entries about it.

    ``head`` is the index of the newest entry that changed it, ``proof`` that of the entry that
    applied it, ``report`` the validation report as JSON, ``time_lock_until`` the moment from which
    policy may apply it while the organisation has a single operator. Of an order, ``order`` is what
    is to be carried out and ``result`` what came of it, as their documents say; ``proof`` is then
    the entry with the outcome, ``evidence`` what is kept of it.
    """

    id: str
    iri: str
    state: str
    head: int
    proof: int | None
    project: str | None
    author: str
    rationale: str
    graphs: tuple[str, ...]
    additions: int
    removals: int
    evidence: tuple[str, ...]
    submitted_at: str
    reverts: str | None = None
    reverted_by: str | None = None
    report: dict[str, Any] | None = None
    decisions: tuple[DecisionView, ...] = ()
    transitions: tuple[Transition, ...] = ()
    time_lock_until: str | None = None
    restricted: bool = False
    hold: str = ""
    signature: str = ""
    signed_with: str = ""
    order: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    submission: str = field(default="", compare=False)

    @property
    def is_listed(self) -> bool:
        """Whether it stands among the proposals: an order that only reads, and on which nobody had
        to decide, does not."""
        return (
            self.order is None
            or self.order["effect"] == "changes"
            or any(step.state == AWAITING for step in self.transitions)
        )

    def reached(self, states: Iterable[str], at: str, proof: int) -> ProposalView:
        """The proposal after these states, reached in order by one entry."""
        path = tuple(states)
        return replace(
            self,
            state=advance(self.state, *path),
            head=proof,
            transitions=(*self.transitions, *(Transition(state, at, proof) for state in path)),
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ProposalView:
        value = json.loads(text)
        for name in ("graphs", "evidence"):
            value[name] = tuple(value[name])
        value["decisions"] = tuple(DecisionView(**item) for item in value["decisions"])
        value["transitions"] = tuple(Transition(**item) for item in value["transitions"])
        return cls(**value)
