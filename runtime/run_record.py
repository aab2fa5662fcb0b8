"""What came of a run, as it is recorded.

Invariant: an outcome is one of few words, and the only one that claims success says that the end
was seen. A result document holds digests, sizes, codes and reasons, and nothing of the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from runtime.commands import Outcome, Output
from runtime.control_request import Reply
from runtime.run_words import CANCELLED, FAILED, NOT_STARTED, SUCCEEDED, TIMED_OUT, UNKNOWN

LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run, request or check that has ended, for the facts and the evidence.

    ``kind`` is ``run``, ``request``, ``check`` or ``endpoint-check``; ``about`` is the asset id or
    endpoint id, ``subject`` its IRI; ``entry`` is the log entry of its intent, -1 for what has
    none. ``outcome`` is a word of :mod:`runtime.run_words`, of a check the state that was found.
    The output is raw here, and redacted by who keeps it.
    """

    run: str
    kind: str
    about: str
    subject: str
    principal: str
    project: str
    environment: str
    began: datetime
    ended: datetime
    outcome: str
    document: Mapping[str, Any]
    action: Mapping[str, Any] = field(default_factory=dict)
    effect: str = "reads"
    entry: int = -1
    stdout: bytes = b""
    stderr: bytes = b""


def outcome_document(outcome: Outcome) -> dict[str, Any]:
    """What came of a command, as the log commits to it."""
    return {
        "outcome": _word(outcome),
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "started": outcome.started.isoformat(),
        "ended": outcome.ended.isoformat(),
        "stdout": _output(outcome.stdout),
        "stderr": _output(outcome.stderr),
        "reason": short(outcome.unknown or ""),
    }


def reply_document(reply: Reply) -> dict[str, Any]:
    """What came of a request, as the log commits to it."""
    return {
        "outcome": reply.outcome,
        "status": reply.status,
        "started": reply.started.isoformat(),
        "ended": reply.ended.isoformat(),
        "content_type": reply.content_type,
        "redirected_to": reply.location,
        "body": None if reply.body is None else _output(reply.body),
        "reason": short(reply.reason),
    }


def not_started(reason: str, at: datetime) -> dict[str, Any]:
    """Nothing was started on the asset."""
    return _without_end(NOT_STARTED, reason, at)


def unknown(reason: str, at: datetime) -> dict[str, Any]:
    """It may have done all, part or nothing."""
    return _without_end(UNKNOWN, reason, at)


def short(reason: str) -> str:
    """On one line, and not too long."""
    return " ".join(reason.split())[:LONGEST_REASON]


def _word(outcome: Outcome) -> str:
    if outcome.unknown is not None:
        return UNKNOWN
    if outcome.cancelled:
        return CANCELLED
    if outcome.timed_out:
        return TIMED_OUT
    return SUCCEEDED if outcome.succeeded else FAILED


def _without_end(word: str, reason: str, at: datetime) -> dict[str, Any]:
    return {"outcome": word, "ended": at.isoformat(), "reason": short(reason)}


def _output(output: Output) -> dict[str, Any]:
    return {
        "digest": output.digest,
        "size": output.size,
        "passed": output.passed,
        "truncated": output.truncated,
        **({"cut": True} if output.cut else {}),
    }
