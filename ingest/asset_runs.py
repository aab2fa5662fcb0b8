"""What was done on runtime assets and endpoints: records to evidence, and evidence to facts.

Invariant: what is kept of an output is redacted before it is sealed: by the rules that telemetry is
redacted by, and line by line of whatever else looks like a secret. Digests and sizes beside it are
of the bytes as they came. `events_of` is a function of the payload, one event for each record.
Source: :class:`runtime.run_record.RunRecord`
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from ingest.attributes import MAX_NAME, bounded, text
from ingest.errors import PayloadUndecodable
from ingest.events import LATEST_TIME, RUN_SOURCE, Event, Skipped
from ingest.evidence import EvidenceBatch
from proofs.secret_text import holds_secret
from runtime.run_record import RunRecord
from runtime.run_words import FAILED, SUCCEEDED

CONTENT_TYPE: Final = "application/vnd.fractalops.run+json"
REDACTED: Final = "[redacted]"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PIECE = 4_096
"""Characters that are redacted at a time: whole lines, and a longer one alone."""
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
)
_STATUS: Mapping[str, str] = {
    SUCCEEDED: "ok",
    FAILED: "error",
    "running": "ok",
    "ready": "ok",
    "unknown": "unset",
}
Redact = Callable[[str], str]


def payload_of(record: RunRecord, redact: Redact) -> bytes:
    """A record as it is kept; ``redact`` takes out of a text what the rules take out of any."""
    document = {
        "run": record.run,
        "kind": record.kind,
        "about": record.about,
        "subject": record.subject,
        "principal": record.principal,
        "environment": record.environment,
        "began": record.began.isoformat(),
        "ended": record.ended.isoformat(),
        "outcome": record.outcome,
        "effect": record.effect,
        "entry": record.entry,
        "action": redacted_text(_asked(record.action), redact),
        "result": record.document,
        "stdout": redacted_text(record.stdout.decode(errors="replace"), redact),
        "stderr": redacted_text(record.stderr.decode(errors="replace"), redact),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def output_of(payload: bytes) -> tuple[str, str]:
    """Standard output and error, redacted, of a payload. Raises :class:`PayloadUndecodable`."""
    said = _read(payload)
    return str(said.get("stdout", "")), str(said.get("stderr", ""))


def events_of(payload: bytes, batch: EvidenceBatch) -> Iterator[Event | Skipped]:
    """The one event of a record. Raises :class:`PayloadUndecodable`."""
    said = _read(payload)
    try:
        began, ended = (_nanoseconds(str(said[name])) for name in ("began", "ended"))
        kind, run = (text(str(said[name]), MAX_NAME) for name in ("kind", "run"))
    except (KeyError, ValueError) as error:
        raise PayloadUndecodable("it is no record of a run: it lacks times or an id") from error
    result = said.get("result")
    about = "endpoint.id" if kind == "endpoint-check" else "asset.id"
    outcome = str(said.get("outcome", ""))
    pairs = {
        about: said.get("about"),
        "run.id": run,
        "run.principal": said.get("principal"),
        "run.action": said.get("action"),
        "run.effect": said.get("effect"),
        "run.outcome": outcome,
        "run.entry": said.get("entry"),
        **dict(_flat("result", result if isinstance(result, dict) else {})),
    }
    yield Event(
        project=batch.project,
        source=RUN_SOURCE,
        event_id=f"{kind}-{run}",
        time=began,
        duration_ns=max(0, ended - began),
        name=kind,
        kind=kind,
        status=_STATUS.get(outcome, "error"),
        service="",
        release="",
        environment=text(str(said.get("environment", "")).rpartition("/")[2], MAX_NAME),
        session="",
        trace_id="",
        span_id="",
        parent_span_id="",
        attributes=bounded(
            (name, str(value)) for name, value in pairs.items() if value not in (None, "")
        ),
        seq=batch.seq,
        batch=batch.digest,
    )


def redacted_text(said: str, redact: Redact) -> str:
    """A text of any length without what the rules take out, and without lines that still look as if
    they held a secret."""
    said = _PRIVATE_KEY.sub(REDACTED, said)
    kept = "".join(redact(piece) for piece in _pieces(said))
    if not holds_secret(kept):
        return kept
    return "".join(
        REDACTED + "\n" * line.endswith("\n") if holds_secret(line) else line
        for line in kept.splitlines(keepends=True)
    )


def _pieces(said: str) -> Iterator[str]:
    """The text in parts of whole lines."""
    start = 0
    while len(said) - start > _PIECE:
        # The last end of a line within a piece, else the first one behind it.
        end = said.rfind("\n", start, start + _PIECE) + 1
        end = end or said.find("\n", start + _PIECE) + 1 or len(said)
        yield said[start:end]
        start = end
    yield said[start:]


def _asked(action: Mapping[str, Any]) -> str:
    if action.get("kind") == "request":
        return f"{action.get('method')} {action.get('path')}"
    argv = action.get("argv")
    return json.dumps(argv, ensure_ascii=False) if argv else ""


def _flat(prefix: str, said: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in said.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}.{name}", value)
        elif not isinstance(value, list):
            yield f"{prefix}.{name}", value


def _nanoseconds(moment: str) -> int:
    """Since 1970. Raises :class:`ValueError` for what is no moment, or none that facts can hold."""
    found = datetime.fromisoformat(moment)
    if found.tzinfo is None:
        raise ValueError("a moment says its offset")
    since = found.replace(microsecond=0) - _EPOCH
    nanoseconds = int(since.total_seconds()) * 10**9 + found.microsecond * 1000
    if not 0 <= nanoseconds <= LATEST_TIME:
        raise ValueError("no fact is of that time")
    return nanoseconds


def _read(payload: bytes) -> dict[str, Any]:
    try:
        said = json.loads(payload)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise PayloadUndecodable("it is no record of a run")
    return said
