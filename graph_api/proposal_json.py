"""Proposals as JSON, and gate errors as problems: the one place that knows both sides.

Invariant: a proposal looks the same wherever it is shown, and every refusal of the gate has one
status and one stable type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from graph_api.problems import Problem
from proofs import errors
from proofs.proposal import ProposalView

T = TypeVar("T")

_MOST_SHAPES = 5
"""Shapes that are counted one by one in a sentence."""

_STATUS: dict[str, int] = {
    "unsupported-media-type": 415,
    "too-large": 413,
    "unknown-graph": 404,
    "unknown-asset": 404,
    "unknown-head": 409,
    "too-many-waiting": 409,
    "update-not-data": 400,
}

_TITLES: dict[type[errors.GateError], tuple[int, str, str]] = {
    errors.SignatureRefused: (422, "signature-refused", "The signature is not taken"),
    errors.Forbidden: (403, "forbidden", "You may not do this"),
    errors.UnknownProject: (404, "unknown-project", "There is no such project"),
    errors.UnknownGraph: (404, "unknown-graph", "There is no such graph"),
    errors.UnknownProposal: (404, "unknown-proposal", "There is no such proposal"),
    errors.WrongState: (409, "wrong-state", "The proposal is past that point"),
    errors.SignerFailed: (503, "signer-failed", "The log's signer does not sign"),
    errors.WritingStopped: (503, "writing-stopped", "Changes are not taken at the moment"),
}


def proposal_json(view: ProposalView, published: int) -> dict[str, Any]:
    """The resource. ``published`` is how many log entries are published: an applied proposal whose
    entry is among them is proven."""
    state = view.state
    if state == "applied" and view.proof is not None and view.proof < published:
        state = "proven"
    return {
        "id": view.id,
        "iri": view.iri,
        "state": state,
        "head": view.head,
        "proof": view.proof,
        "report": view.report,
        "project": view.project,
        "graphs": list(view.graphs),
        "author": view.author,
        "signature": {"key": view.signed_with, "sha256": view.signature}
        if view.signature
        else None,
        "rationale": view.rationale,
        "hold": view.hold or None,
        "submitted_at": view.submitted_at,
        "additions": view.additions,
        "removals": view.removals,
        "evidence": list(view.evidence),
        "decisions": [
            {
                "by": item.by,
                "outcome": item.outcome,
                "reason": item.reason,
                "at": item.at,
                "single_person": item.single_person,
                "policy": item.policy,
            }
            for item in view.decisions
        ],
        "time_lock_until": view.time_lock_until,
        "order": view.order,
        "result": view.result,
        "reverts": view.reverts,
        "reverted_by": view.reverted_by,
        "transitions": [
            {"state": item.state, "at": item.at, "proof": item.proof} for item in view.transitions
        ],
    }


def nodes_told(report: Mapping[str, Any]) -> str:
    """How many nodes do not conform to which shapes, as the end of a sentence; "" if not known."""
    counts = sorted(report.get("nodes", {}).items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{number:,} of {shape}" for shape, number in counts[:_MOST_SHAPES]]
    if len(counts) > _MOST_SHAPES:
        parts.append(f"more of {len(counts) - _MOST_SHAPES} other shapes")
    return ", ".join(parts)


def answered(function: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """What a function of the gate gives; its refusals as :class:`Problem`."""
    try:
        return function(*arguments, **named)
    except errors.ProofError as error:
        raise problem_of(error) from error


def problem_of(error: errors.ProofError) -> Problem:
    """The answer to a refusal of the gate or the journal."""
    if isinstance(error, errors.BadSubmission):
        place = {name: getattr(error, name) for name in ("line", "column") if getattr(error, name)}
        return Problem(
            _STATUS.get(error.kind, 400),
            error.kind,
            "The submission cannot be taken",
            str(error),
            extra=place,
        )
    if isinstance(error, errors.Conflict):
        return Problem(
            409,
            "conflict",
            "What it is about has changed",
            str(error),
            extra={"theirs": error.theirs, "yours": error.yours},
        )
    if isinstance(error, errors.JournalFull):
        return Problem(
            507, "disk-full", "The disk is full", str(error), headers={"Retry-After": "60"}
        )
    for kind, (status, name, title) in _TITLES.items():
        if isinstance(error, kind):
            headers = {"Retry-After": "30"} if status == 503 else {}
            return Problem(status, name, title, str(error), headers=headers)
    if isinstance(error, errors.JournalMissing):
        return Problem(404, "not-in-the-log", "The log has no such entry", str(error))
    return Problem(500, "journal-damaged", "The journal cannot be used", str(error))
