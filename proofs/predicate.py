"""The predicate of a log entry: what happened, who did it, and what it rests on.

Invariant: ``Proof`` and its JSON form map onto each other one to one; reading is strict, so that a
member this version doesn't know is an error and never silently dropped from what was signed.
The predicate type is ``https://w3id.org/fractalops/proof/v1``; ``docs/proofs.md`` describes it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proofs.delta import DeltaDigest, DeltaDigests
from proofs.errors import MalformedStatement

ROTATION = "rotation"
"""The kind of the entry that hands the log to another key."""

EXECUTING = "executing"
"""The kind of the entry by which an order is begun: written before anything starts."""
EXECUTED = "executed"
"""The kind of the entry with what came of an order."""

KINDS = frozenset(
    {
        "genesis",
        "submitted",
        "invalid",
        "approved",
        "applied",
        "rejected",
        "withdrawn",
        "superseded",
        "erasure",
        EXECUTING,
        EXECUTED,
        ROTATION,
    }
)
"""What an entry can be about."""

APPLYING_KINDS = frozenset({"genesis", "applied"})
"""Entries of these kinds make their delta true; in any other it is only what was asked for."""

MAX_LISTED_EVIDENCE = 64
"""With more evidence batches than this, the entry commits to the sorted list by its digest."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_EVIDENCE = re.compile(r"sha256:[0-9a-f]{64}")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
)


@dataclass(frozen=True)
class DecisionRecord:
    """One decision on a proposal; the reason stays in the journal, its digest stands here."""

    by: str
    outcome: str
    at: str
    reason_sha256: str | None
    single_person: bool
    policy: str | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "by": self.by,
            "outcome": self.outcome,
            "at": self.at,
            "reason_sha256": self.reason_sha256,
            "single_person": self.single_person,
            "policy": self.policy,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> DecisionRecord:
        names = {"by", "outcome", "at", "reason_sha256", "single_person", "policy"}
        members = Members(value, names, "a decision")
        return cls(
            by=members.text("by"),
            outcome=members.text("outcome"),
            at=members.time("at"),
            reason_sha256=members.optional_sha256("reason_sha256"),
            single_person=members.boolean("single_person"),
            policy=members.optional_text("policy"),
        )


@dataclass(frozen=True)
class ReportDigest:
    """The validation report that stands behind the entry."""

    sha256: str
    conforms: bool


@dataclass(frozen=True)
class EvidenceDigest:
    """A long list of evidence: SHA-256 over the sorted commitments, one per line, and how many."""

    sha256: str
    count: int


def commit_evidence(commitments: Sequence[str]) -> tuple[str, ...] | EvidenceDigest:
    """The evidence of an entry: the sorted ``sha256:...`` commitments, or their digest.

    The digest is over the commitments joined by newlines, without a final one.
    """
    ordered = tuple(sorted(set(commitments)))
    for item in ordered:
        if not _EVIDENCE.fullmatch(item):
            raise MalformedStatement(f"evidence reads sha256: and 64 digits, not {item!r}")
    if len(ordered) <= MAX_LISTED_EVIDENCE:
        return ordered
    return EvidenceDigest(hashlib.sha256("\n".join(ordered).encode()).hexdigest(), len(ordered))


@dataclass(frozen=True)
class KeyRotation:
    """The log's key before and after, each as its verifier key in one line."""

    before: str
    after: str


@dataclass(frozen=True)
class Proof:
    """Everything an entry states; digests are 64 hexadecimal digits, times RFC 3339.

    ``previous`` is the leaf hash of the entry before this one, ``state_before`` and
    ``state_after`` are graph state digests, ``reverts`` names the proposal whose inverse this is,
    ``submission`` is the digest of the proposal's document: rationale, evidence, and the digest
    of the bytes as they came; ``signature`` that of the envelope that its author signed, where it
    did. ``rotation`` are the keys in an entry of that kind, and in no other. ``order`` is the
    digest of what is to be carried out, in every entry about an order, ``result`` that of what came
    of it, in an entry of kind ``executed``.
    """

    kind: str
    index: int
    previous: str | None
    time: str
    proposal: str | None
    project: str | None
    principal: str | None
    delta: DeltaDigests
    state_before: str
    state_after: str
    reverts: str | None = None
    submission: str | None = None
    transitions: tuple[str, ...] = ()
    decisions: tuple[DecisionRecord, ...] = ()
    report: ReportDigest | None = None
    shapes: str | None = None
    ontology: str | None = None
    rules: str | None = None
    evidence: tuple[str, ...] | EvidenceDigest = ()
    signature: str | None = None
    rotation: KeyRotation | None = None
    order: str | None = None
    result: str | None = None

    @property
    def applies(self) -> bool:
        """Whether this entry changes the graph by its delta."""
        return self.kind in APPLYING_KINDS

    def to_dict(self) -> dict[str, Any]:
        """The predicate as JSON members; every member but ``signature``, ``rotation``, ``order``
        and ``result`` is always there."""
        evidence: Any
        if isinstance(self.evidence, EvidenceDigest):
            evidence = {"sha256": self.evidence.sha256, "count": self.evidence.count}
        else:
            evidence = list(self.evidence)
        report = self.report
        return {
            "kind": self.kind,
            "index": self.index,
            "previous": self.previous,
            "time": self.time,
            "proposal": self.proposal,
            "project": self.project,
            "principal": self.principal,
            "reverts": self.reverts,
            "submission": self.submission,
            "transitions": list(self.transitions),
            "decisions": [item.to_dict() for item in self.decisions],
            "report": report and {"sha256": report.sha256, "conforms": report.conforms},
            "shapes": self.shapes,
            "ontology": self.ontology,
            "rules": self.rules,
            "evidence": evidence,
            "delta": self.delta.to_dict(),
            "state_before": self.state_before,
            "state_after": self.state_after,
            # What is unsigned looks as it did before anything was signed.
            **({} if self.signature is None else {"signature": self.signature}),
            **(
                {}
                if self.rotation is None
                else {"rotation": {"before": self.rotation.before, "after": self.rotation.after}}
            ),
            **({} if self.order is None else {"order": self.order}),
            **({} if self.result is None else {"result": self.result}),
        }

    @classmethod
    def from_dict(cls, value: Any) -> Proof:
        """The proof of a predicate; :class:`MalformedStatement` names the member that is wrong."""
        found = value if isinstance(value, Mapping) else {}
        signed = "signature" in found
        rotates = found.get("kind") == ROTATION
        executed = found.get("kind") == EXECUTED
        orders = "order" in found or executed or found.get("kind") == EXECUTING
        more = {
            name
            for name, there in (
                ("signature", signed),
                (ROTATION, rotates),
                ("order", orders),
                ("result", executed),
            )
            if there
        }
        members = Members(value, _MEMBERS | more, "the predicate")
        kind = members.text("kind")
        if kind not in KINDS:
            raise MalformedStatement(f"the predicate is of kind {kind!r}, not of {sorted(KINDS)}")
        return cls(
            kind=kind,
            index=members.count("index"),
            previous=members.optional_sha256("previous"),
            time=members.time("time"),
            proposal=members.optional_text("proposal"),
            project=members.optional_text("project"),
            principal=members.optional_text("principal"),
            reverts=members.optional_text("reverts"),
            submission=members.optional_sha256("submission"),
            transitions=tuple(members.texts("transitions")),
            decisions=tuple(DecisionRecord.from_dict(d) for d in members.items("decisions")),
            report=_report(members.value["report"]),
            shapes=members.optional_sha256("shapes"),
            ontology=members.optional_sha256("ontology"),
            rules=members.optional_sha256("rules"),
            evidence=read_evidence(members.value["evidence"]),
            delta=read_delta(members.value["delta"]),
            state_before=members.sha256("state_before"),
            state_after=members.sha256("state_after"),
            signature=members.sha256("signature") if signed else None,
            rotation=_rotation(members.value[ROTATION]) if rotates else None,
            order=members.sha256("order") if orders else None,
            result=members.sha256("result") if executed else None,
        )


_MEMBERS = {
    *("kind", "index", "previous", "time", "proposal", "project", "principal", "reverts"),
    *(
        "submission",
        "transitions",
        "decisions",
        "report",
        "shapes",
        "ontology",
        "rules",
        "evidence",
        "delta",
    ),
    *("state_before", "state_after"),
}


class Members:
    """Strict reading of one JSON object: exactly these members, each of its type."""

    def __init__(self, value: Any, names: set[str], what: str) -> None:
        if not isinstance(value, Mapping) or set(value) != names:
            found = sorted(value) if isinstance(value, Mapping) else type(value).__name__
            raise MalformedStatement(f"{what} has the members {sorted(names)}, not {found}")
        self.value = value
        self._what = what

    def text(self, name: str) -> str:
        value = self.value[name]
        if not isinstance(value, str) or not value:
            raise self._wrong(name, "text")
        return value

    def any_text(self, name: str) -> str:
        value = self.value[name]
        if not isinstance(value, str):
            raise self._wrong(name, "text")
        return value

    def optional_text(self, name: str) -> str | None:
        return None if self.value[name] is None else self.text(name)

    def sha256(self, name: str) -> str:
        value = self.value[name]
        if not isinstance(value, str) or not _SHA256.fullmatch(value):
            raise self._wrong(name, "64 hexadecimal digits")
        return value

    def optional_sha256(self, name: str) -> str | None:
        return None if self.value[name] is None else self.sha256(name)

    def time(self, name: str) -> str:
        value = self.text(name)
        if not _TIME.fullmatch(value):
            raise self._wrong(name, "an RFC 3339 time")
        return value

    def boolean(self, name: str) -> bool:
        value = self.value[name]
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def count(self, name: str) -> int:
        value = self.value[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._wrong(name, "a whole number from 0")
        return value

    def items(self, name: str) -> list[Any]:
        value = self.value[name]
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        return value

    def texts(self, name: str) -> list[str]:
        value = self.items(name)
        if not all(isinstance(item, str) and item for item in value):
            raise self._wrong(name, "a list of texts")
        return value

    def _wrong(self, name: str, expected: str) -> MalformedStatement:
        return MalformedStatement(
            f"member {name!r} of {self._what} is {expected}, not {self.value[name]!r}"
        )


def _rotation(value: Any) -> KeyRotation:
    members = Members(value, {"before", "after"}, "the rotation")
    return KeyRotation(members.text("before"), members.text("after"))


def _report(value: Any) -> ReportDigest | None:
    if value is None:
        return None
    members = Members(value, {"sha256", "conforms"}, "the report")
    return ReportDigest(members.sha256("sha256"), members.boolean("conforms"))


def read_evidence(value: Any) -> tuple[str, ...] | EvidenceDigest:
    """Evidence from its JSON form: the commitments, or the digest of their list."""
    if isinstance(value, Mapping):
        members = Members(value, {"sha256", "count"}, "the evidence")
        return EvidenceDigest(members.sha256("sha256"), members.count("count"))
    if not isinstance(value, list) or len(value) > MAX_LISTED_EVIDENCE:
        raise MalformedStatement(
            f"the evidence is a list of at most {MAX_LISTED_EVIDENCE} commitments, or their digest"
        )
    for item in value:
        if not isinstance(item, str) or not _EVIDENCE.fullmatch(item):
            raise MalformedStatement(f"evidence reads sha256: and 64 digits, not {item!r}")
    return tuple(value)


def read_delta(value: Any) -> DeltaDigests:
    """The digests of both halves of a delta, from their JSON form."""
    members = Members(value, {"additions", "removals"}, "the delta")
    halves = []
    for name in ("additions", "removals"):
        half = Members(members.value[name], {"sha256", "count"}, f"the {name} of the delta")
        halves.append(DeltaDigest(half.sha256("sha256"), half.count("count")))
    return DeltaDigests(*halves)
