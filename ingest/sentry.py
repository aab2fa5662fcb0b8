"""What Sentry's clients report: bytes to events, purely.

Invariant: `events_of` is a function of the payload and of when it was received; it raises nothing
but `PayloadError` and `BodyError`, before the first event. An item that is no event here is
skipped in its place. Nothing of a user, a request or a variable's value leaves here: what is
kept of an item is named one by one, but for tags and attributes of logs, which are the program's
own.
Source: https://develop.sentry.dev/sdk/foundations/transport/envelopes/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ingest import sentry_spans, sentry_stream
from ingest.bounded_json import read_json
from ingest.errors import BodyError, PayloadError
from ingest.events import Event, Skipped
from ingest.evidence import EvidenceBatch
from ingest.posthog_request import object_of, text_of
from ingest.sentry_envelope import UNREADABLE, Item, parse
from ingest.sentry_event import (
    ERROR_LEVELS,
    Sent,
    digest_of,
    event_id_of,
    event_of,
    id_of,
    instant_of,
    seconds_of,
)
from ingest.sentry_issue import few_names, fingerprint_of, issue_of
from ingest.sentry_spans import called

_FAILED_CHECK_INS = frozenset({"error", "missed", "timeout"})
_FAILED_SESSIONS = frozenset({"crashed", "abnormal"})

_SKIPPED = {
    UNREADABLE: "unreadable-item-header",
    "trace_metric": "metric",
    "statsd": "metric",
    "client_report": "client-report",
    "attachment": "attachment",
    "feedback": "feedback",
    "user_report": "feedback",
    "profile": "profile",
    "profile_chunk": "profile",
    "replay_event": "session-replay",
    "replay_recording": "session-replay",
    "replay_video": "session-replay",
}
UNDECODABLE = "undecodable-item"


def refusal_of(item: Item) -> str:
    """Why items of this type are no events, in kebab case; empty where they may be."""
    return "" if item.type in _EVENTS else _SKIPPED.get(item.type, "unknown-item-type")


def events_of(payload: bytes, batch: EvidenceBatch) -> Iterator[Event | Skipped]:
    """Every item of a payload, in the order sent. Raises as :func:`parse` does."""
    envelope = parse(payload, batch.content_type)
    for number, item in enumerate(envelope.items):
        reason = refusal_of(item)
        if reason:
            yield Skipped(reason)
            continue
        try:
            said = read_json(item.payload)
        except (PayloadError, BodyError):
            yield Skipped(UNDECODABLE)
            continue
        if isinstance(said, dict):
            yield from _EVENTS[item.type](said, Sent(batch, envelope, not number))
        else:
            yield Skipped("not-an-object")


def _reported(said: Mapping[str, Any], sent: Sent) -> Iterator[Event | Skipped]:
    """An exception or a message."""
    if said.get("type") == "transaction":
        yield from sentry_spans.transaction(said, sent)
        return
    issue = issue_of(said)
    level = text_of(said, "level") or "error"
    fingerprint = fingerprint_of(said)
    pairs = {
        "level": level,
        "exception.type": issue.exception_type,
        "exception.module": issue.exception_module,
        "mechanism.type": issue.mechanism,
        "mechanism.handled": issue.handled,
        "error.issue": issue.key,
        "error.culprit": issue.culprit,
        "error.fingerprint": json.dumps(fingerprint, ensure_ascii=False) if fingerprint else "",
        "logger": text_of(said, "logger"),
    }
    yield event_of(
        said,
        sent,
        kind="error" if issue.is_exception else "message",
        event_id=event_id_of(said, sent),
        name=issue.name,
        status="error" if issue.is_exception or level in ERROR_LEVELS else "",
        pairs=pairs | called(said),
    )


def _check_in(said: Mapping[str, Any], sent: Sent) -> Iterator[Event | Skipped]:
    """One sign of life of a job that a monitor watches."""
    status, check_in = text_of(said, "status"), text_of(said, "check_in_id")
    yield event_of(
        said,
        sent,
        kind="check-in",
        # A job reports its beginning and its end under one id.
        event_id=f"{id_of(check_in)}-{status[:32]}" if check_in else digest_of(said),
        name=few_names(text_of(said, "monitor_slug")),
        status="error" if status in _FAILED_CHECK_INS else "ok" if status == "ok" else "",
        pairs={"check_in.status": status, "check_in.id": check_in},
        duration=seconds_of(said.get("duration")),
    )


def _session(said: Mapping[str, Any], sent: Sent) -> Iterator[Event | Skipped]:
    status = text_of(said, "status")
    yield event_of(
        {**object_of(said.get("attrs")), **said},
        sent,
        kind="session",
        event_id=digest_of(said),
        name="session",
        status="error" if status in _FAILED_SESSIONS else "",
        pairs={"session.status": status, "session.errors": text_of(said, "errors")},
        session=text_of(said, "sid"),
        duration=seconds_of(said.get("duration")),
    )


def _sessions(said: Mapping[str, Any], sent: Sent) -> Iterator[Event | Skipped]:
    """Numbers of sessions that began in the same minute."""
    aggregates = said.get("aggregates")
    for number, counts in enumerate(aggregates if isinstance(aggregates, list) else ()):
        if not isinstance(counts, dict):
            yield Skipped("not-an-object")
            continue
        names = ("exited", "errored", "crashed", "abnormal", "unhandled")
        pairs = {f"sessions.{name}": text_of(counts, name) for name in names}
        failed = any(pairs[f"sessions.{name}"] not in ("", "0") for name in ("crashed", "abnormal"))
        yield event_of(
            object_of(said.get("attrs")),
            sent,
            kind="sessions",
            # Two processes may count the same in the same minute.
            event_id=digest_of([number, counts, said.get("attrs"), sent.envelope.sent_at]),
            name="sessions",
            status="error" if failed else "",
            pairs=pairs,
            happened=instant_of(counts.get("started")),
        )


_EVENTS: Mapping[str, Callable[[Mapping[str, Any], Sent], Iterator[Event | Skipped]]] = {
    "event": _reported,
    "transaction": sentry_spans.transaction,
    "check_in": _check_in,
    "session": _session,
    "sessions": _sessions,
    "log": sentry_stream.logs,
    "span": sentry_stream.spans,
}
