"""PostHog's product events: bytes to events, purely.

Invariant: `events_of` is a function of the payload, of when it was received and of the pseudonyms'
key; it raises nothing but `PayloadError`, before the first event. An item that is no event is
skipped in its place; persons appear as pseudonyms only.
Source: https://posthog.com/docs/api/capture; times are corrected as PostHog itself does it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any
from uuid import UUID

from ingest.attributes import DROPPED, MAX_NAME, bounded, first, identifier, text
from ingest.events import LATEST_TIME, PRODUCT_SOURCE, Event, Skipped
from ingest.evidence import EvidenceBatch
from ingest.personal import impersonal, is_personal, redacted
from ingest.posthog_request import instant, object_of, parse, text_of
from ingest.pseudonyms import Pseudonyms

# Of more properties than this, the rest is not even looked at.
MAX_PROPERTIES = 10_000

PERSON = "fractalops.person"

# An event from further ahead than this is a clock gone wrong: it happened when it came.
_AHEAD = 23 * 3600 * 10**9

SESSION_REPLAY = "session-replay"
_REPLAY_EVENTS = frozenset({"$snapshot", "$snapshot_items", "$performance_event"})

SERVICE_KEYS = ("service.name", "service", "$app_name")
RELEASE_KEYS = ("service.version", "release", "$app_version")
ENVIRONMENT_KEYS = ("deployment.environment.name", "deployment.environment", "environment")
# Taken first, so that no flood of properties keeps them out.
_WANTED = (*SERVICE_KEYS, *RELEASE_KEYS, *ENVIRONMENT_KEYS, "$current_url", "$pathname")
# These have columns of their own.
_COLUMNS = frozenset({"$session_id", "$trace_id", "$span_id"})


def refusal_of(item: Any) -> str:
    """Why an item is no event, in kebab case; empty where it is one."""
    if not isinstance(item, dict):
        return "not-an-object"
    name = _name(item)
    if not name:
        return "no-event-name"
    return SESSION_REPLAY if name in _REPLAY_EVENTS else ""


def events_of(
    payload: bytes, batch: EvidenceBatch, pseudonyms: Pseudonyms
) -> Iterator[Event | Skipped]:
    """Every item of a payload, in the order sent. Raises as :func:`parse` does."""
    request = parse(payload)
    for item in request.items:
        reason = refusal_of(item)
        yield Skipped(reason) if reason else _event(item, request.sent_at, batch, pseudonyms)


def _event(
    item: Mapping[str, Any], sent_at: int | None, batch: EvidenceBatch, pseudonyms: Pseudonyms
) -> Event:
    properties = object_of(item.get("properties"))
    person = text_of(item, "distinct_id", "$distinct_id") or text_of(properties, "distinct_id")
    name = redacted(text(_name(item), MAX_NAME))
    attributes = bounded(_pairs(properties, pseudonyms.of(batch.project, person)), redact=redacted)
    unseen = len(properties) - MAX_PROPERTIES
    if unseen > 0:
        attributes[DROPPED] = str(int(attributes.get(DROPPED, "0")) + unseen)
    trace_id = identifier(properties.get("$trace_id"), 32)
    return Event(
        project=batch.project,
        source=PRODUCT_SOURCE,
        event_id=_event_id(item),
        time=_time(item, properties, sent_at, batch.received_at),
        duration_ns=0,
        name=name,
        kind="",
        status="error" if name == "$exception" else "",
        service=first(attributes, SERVICE_KEYS),
        release=first(attributes, RELEASE_KEYS),
        environment=first(attributes, ENVIRONMENT_KEYS),
        session=_session(item, properties),
        trace_id=trace_id,
        span_id=identifier(properties.get("$span_id"), 16) if trace_id else "",
        parent_span_id="",
        attributes=attributes,
        seq=batch.seq,
        batch=batch.digest,
    )


def _pairs(properties: Mapping[str, Any], person: str) -> Iterator[tuple[str, str]]:
    if person:
        yield PERSON, person
    exceptions = properties.get("$exception_list")
    if isinstance(exceptions, list) and exceptions:
        # The first one is the one that was raised last.
        kind = text_of(object_of(exceptions[0]), "type")
        if kind:
            yield "exception.type", kind
    wanted = {key: properties[key] for key in _WANTED if key in properties}
    for key, value in islice((wanted | dict(properties)).items(), MAX_PROPERTIES):
        if value is not None and key not in _COLUMNS and key != PERSON and not is_personal(key):
            yield redacted(key), _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        return json.dumps(impersonal(value), ensure_ascii=False)
    return json.dumps(value)


def _name(item: Mapping[str, Any]) -> str:
    name = item.get("event")
    if name is None and isinstance(item.get("$set"), dict):
        # What `/engage/` is sent has no name.
        return "$identify"
    return name.strip() if isinstance(name, str) else ""


def _event_id(item: Mapping[str, Any]) -> str:
    """The event's own id, the same however it is written; without one, a digest of the event."""
    uuid = item.get("uuid")
    try:
        return str(UUID(uuid if isinstance(uuid, str) else ""))
    except ValueError:
        # The offset grows with every attempt to send.
        content = {key: value for key, value in item.items() if key != "offset"}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        return f"content-{digest.hexdigest()}"


def _session(item: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    found = (
        text_of(properties, "$session_id")
        or text_of(item, "session_id", "$session_id")
        or text_of(object_of(item.get("$set")), "$session_id")
        or text_of(object_of(properties.get("$set")), "$session_id")
    )
    return redacted(text(found, MAX_NAME))


def _time(
    item: Mapping[str, Any], properties: Mapping[str, Any], sent_at: int | None, received: int
) -> int:
    """When it happened by our clock: the sender's two times tell how long before the sending."""
    said = instant(item.get("timestamp"))
    offset = item.get("offset")
    if said is not None:
        trusted = sent_at is None or properties.get("$ignore_sent_at") in (True, "true")
        time = said if trusted or sent_at is None else received + said - sent_at
    elif isinstance(offset, int | float) and 0 <= offset < 2**53:
        time = received - int(offset * 10**6)
    else:
        time = received
    return min(max(time if time <= received + _AHEAD else received, 0), LATEST_TIME)
