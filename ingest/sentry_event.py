"""The event of an item of a Sentry client: its columns, its time, its id.

Invariant: an event is a function of the item, of the envelope around it and of when that was
received. Times are corrected as Relay does it. The service is what the program calls itself, never
the machine it runs on.
Source: https://develop.sentry.dev/sdk/data-model/event-payloads/, https://github.com/getsentry/relay
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ingest.attributes import MAX_NAME, bounded, first, identifier, text, without_userinfo
from ingest.events import ERROR_SOURCE, LATEST_TIME, Event
from ingest.evidence import EvidenceBatch
from ingest.personal import is_personal, redacted
from ingest.posthog_request import instant, object_of, text_of
from ingest.sentry_envelope import Envelope

# Relay takes a smaller difference for the way of the request.
_MIN_DRIFT = 55 * 60 * 10**9
# An event from further ahead than this is a clock gone wrong: it happened when it came.
_AHEAD = 60 * 10**9
_MAX_TAGS = 1_000

ERROR_LEVELS = frozenset({"error", "fatal", "critical"})
_SOUND_STATUSES = frozenset({"", "ok", "cancelled", "unknown"})

SERVICE_KEYS = ("service.name", "service")
_SESSION_KEYS = ("session.id", "sessionId")
_HEXADECIMAL = re.compile("[0-9a-f]{1,64}")
# These have columns or attributes of their own, or name a machine.
_NO_TAGS = frozenset({"release", "environment", "level", "server_name", "dist", "transaction"})


@dataclass(frozen=True)
class Sent:
    """What an item's event takes from around it; ``is_first`` of its envelope's items."""

    batch: EvidenceBatch
    envelope: Envelope
    is_first: bool


def event_of(
    said: Mapping[str, Any],
    sent: Sent,
    *,
    kind: str,
    event_id: str,
    name: str,
    status: str,
    pairs: Mapping[str, str],
    happened: int | None = None,
    duration: int = 0,
    session: str = "",
    source: str = ERROR_SOURCE,
) -> Event:
    """The event of what an item says; what is empty among the pairs is left out."""
    contexts, tags = object_of(said.get("contexts")), tags_of(said.get("tags"))
    trace, app = object_of(contexts.get("trace")), object_of(contexts.get("app"))
    resource = object_of(object_of(contexts.get("otel")).get("resource"))
    package, _, version = without_userinfo(text_of(said, "release")).rpartition("@")
    sdk = object_of(said.get("sdk"))
    described = {
        "platform": text_of(said, "platform"),
        "sdk.name": text_of(sdk, "name"),
        "sdk.version": text_of(sdk, "version"),
        "release.package": package,
        "dist": text_of(said, "dist"),
    }
    own = {f"tags.{key}": value for key, value in tags.items()}
    attributes = bounded(
        ((redacted(key), value) for key, value in ({**pairs, **described, **own}).items() if value),
        redact=redacted,
    )
    trace_id = identifier(trace.get("trace_id"), 32)
    time = happened or instant_of(said.get("timestamp")) or instant_of(said.get("started"))
    return Event(
        project=sent.batch.project,
        source=source,
        event_id=event_id,
        time=_time(time, sent),
        duration_ns=min(duration, LATEST_TIME),
        name=name,
        kind=kind,
        status=status,
        service=_column(
            first(tags, SERVICE_KEYS)
            or text_of(resource, "service.name")
            or text_of(app, "app_name")
        ),
        release=_column(version),
        environment=_column(text_of(said, "environment")),
        session=_column(session or first(tags, _SESSION_KEYS)),
        trace_id=trace_id,
        span_id=identifier(trace.get("span_id"), 16) if trace_id else "",
        parent_span_id=identifier(trace.get("parent_span_id"), 16) if trace_id else "",
        attributes=attributes,
        seq=sent.batch.seq,
        batch=sent.batch.digest,
    )


def tags_of(tags: Any) -> dict[str, str]:
    """The program's own tags; clients send an object or a list of pairs."""
    if isinstance(tags, list):
        pairs = (pair for pair in tags if isinstance(pair, list) and len(pair) == 2)
        tags = {key: value for key, value in pairs if isinstance(key, str)}
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in islice(object_of(tags).items(), _MAX_TAGS)
        if isinstance(value, str | int | float) and key not in _NO_TAGS and not is_personal(key)
    }


def _column(value: str) -> str:
    return redacted(text(value, MAX_NAME))


def event_id_of(said: Mapping[str, Any], sent: Sent) -> str:
    """The event's own id; the envelope's, which is that of its first item; else a digest."""
    own = text_of(said, "event_id") or (sent.envelope.event_id if sent.is_first else "")
    return id_of(own) if own else digest_of(said)


def id_of(own: str) -> str:
    """An id, the same however it is written."""
    packed = own.replace("-", "").lower()
    # What is no UUID stays as it is written, so that the redaction rules can tell what it is.
    return packed if _HEXADECIMAL.fullmatch(packed) else text(redacted(own), MAX_NAME)


def digest_of(content: Any) -> str:
    said = json.dumps(content, sort_keys=True).encode()
    return f"content-{hashlib.sha256(said).hexdigest()}"


def instant_of(value: Any) -> int | None:
    """Nanoseconds since 1970-01-01 UTC of an ISO 8601 text, or of a number of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        # What is beyond microseconds is not in the number, but in how it is kept.
        return round(value * 10**6) * 1000 if 0 < value < 2**33 else None
    return instant(value)


def outcome_of(status: str) -> str:
    """``ok``, ``error`` or, where a span's status says neither, nothing."""
    return "ok" if status == "ok" else "" if status in _SOUND_STATUSES else "error"


def seconds_of(value: Any) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return round(value * 10**9) if is_number and 0 < value < 2**33 else 0


def _time(said: int | None, sent: Sent) -> int:
    """When it happened by our clock, where the sender's is far off."""
    received, sent_at = sent.batch.received_at, sent.envelope.sent_at
    if said is None:
        return received
    drift = received - sent_at if sent_at is not None else 0
    time = said + drift if abs(drift) >= _MIN_DRIFT else said
    return min(max(time if time <= received + _AHEAD else received, 0), LATEST_TIME)
