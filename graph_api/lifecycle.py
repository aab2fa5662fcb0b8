"""Log entries, sweeps and runs of jobs as rows of the table ``lifecycle``: one for each state that
was reached.

Invariant: the rows of an entry follow from the entry alone, and there is at least one, so that a
count of entries tells whether rows are missing. Texts that people wrote, such as reasons, stay in
the journal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime

from proofs.predicate import EvidenceDigest, Proof
from proofs.projections import Entry
from proofs.proposal import (
    APPLIED,
    APPROVED,
    AWAITING,
    DRAFT,
    EXECUTED,
    EXECUTING,
    REVERTED,
    SUBMITTED,
    SUPERSEDED,
)
from stewards.job_store import Run

PROPOSAL = "proposal"
DECISION = "decision"
SWEEP = "sweep"
JOB = "job"

NO_ENTRY = -1
LONGEST_DETAIL = 500
_SWEPT = frozenset({"decided", "unchanged", "proposed", "failed"})
"""What a sweep comes to, of which there is a row."""


@dataclass(frozen=True, slots=True)
class LifecycleRow:
    """One row; the members are the columns, which ``ingest/migrations`` describes."""

    kind: str
    subject: str
    project: str
    time: datetime
    entry: int
    step: int
    former: str
    state: str
    principal: str
    policy: str = ""
    single_person: bool = False
    graphs: tuple[str, ...] = ()
    quads: int = 0
    evidence: int = 0
    proposals: tuple[str, ...] = ()
    detail: str = ""

    def values(self) -> tuple[object, ...]:
        """The values in the order of :data:`COLUMNS`."""
        found = (getattr(self, name) for name in COLUMNS)
        return tuple(list(item) if isinstance(item, tuple) else item for item in found)


COLUMNS = tuple(item.name for item in fields(LifecycleRow))


def rows_of_entry(entry: Entry) -> list[LifecycleRow]:
    """The states that were reached with this entry, in order: those of its proposal, the decisions
    on it, and that of the proposal whose inverse it applied."""
    return [replace(row, step=step) for step, row in enumerate(_steps(entry))]


def row_of_sweep(run: Run, steward: str, principal: str, at: datetime) -> LifecycleRow | None:
    """A sweep that came to something, or failed. ``steward`` is its name, ``principal`` its IRI;
    what it came to is as :meth:`stewards.outcome.Outcome.to_json` tells it. Another process may
    have told it: of what is no outcome of a sweep there is no row."""
    came_to = run.outcome or {}
    state = str(came_to.get("state")) if run.state == "done" else "failed"
    if state not in _SWEPT:
        return None
    proposals = came_to.get("proposals")
    return LifecycleRow(
        kind=SWEEP,
        subject=steward,
        project=run.job.project or "",
        time=at,
        entry=NO_ENTRY,
        step=0,
        former="",
        state=state,
        principal=principal,
        quads=_count(came_to.get("quads")),
        evidence=_count(came_to.get("facts")),
        proposals=tuple(map(str, proposals)) if isinstance(proposals, list) else (),
        detail=str(came_to.get("said", run.error))[:LONGEST_DETAIL],
    )


def _count(value: object) -> int:
    """A number of an outcome, which another process told of."""
    return min(max(value, 0), 2**32 - 1) if isinstance(value, int) else 0


def row_of_run(run: Run, former: str, at: datetime) -> LifecycleRow:
    """A run of a job that has ended, or an attempt at it that failed, told of at this time."""
    return LifecycleRow(
        kind=JOB,
        subject=run.job.id,
        project=run.job.project or "",
        time=at,
        entry=NO_ENTRY,
        step=min(run.attempt, 65_535),
        former=former,
        state=run.state,
        principal=run.asked_by,
        detail=run.error[:LONGEST_DETAIL],
    )


def _steps(entry: Entry) -> Iterator[LifecycleRow]:
    proof = entry.proof
    reached = LifecycleRow(
        kind=PROPOSAL if proof.proposal else proof.kind,
        subject=proof.proposal or "",
        project=proof.project or "",
        time=datetime.fromisoformat(proof.time),
        entry=entry.index,
        step=0,
        former="",
        state=proof.kind,
        principal=proof.principal or "",
        graphs=tuple(entry.delta.graphs()),
        quads=proof.delta.additions.count + proof.delta.removals.count,
        evidence=_evidence(proof),
    )
    if not proof.transitions and not proof.proposal:
        yield reached
    former = DRAFT if SUBMITTED in proof.transitions else _former(proof)
    for state in proof.transitions:
        yield replace(reached, former=former, state=state)
        former = state
    for decision in proof.decisions:
        yield replace(
            reached,
            kind=DECISION,
            time=datetime.fromisoformat(decision.at),
            state=decision.outcome,
            principal=decision.by,
            policy=decision.policy or "",
            single_person=decision.single_person,
        )
    if proof.reverts and entry.applies:
        yield replace(reached, subject=proof.reverts, former=APPLIED, state=REVERTED)


def _former(proof: Proof) -> str:
    """The state that an entry after a proposal's first found it in."""
    if EXECUTED in proof.transitions:
        return EXECUTING
    begun = EXECUTING in proof.transitions
    # What changes a graph is superseded while it waits, an order once it was approved.
    return APPROVED if begun or (proof.order and SUPERSEDED in proof.transitions) else AWAITING


def _evidence(proof: Proof) -> int:
    found = proof.evidence
    return found.count if isinstance(found, EvidenceDigest) else len(found)
