"""OTLP log records: messages to events, purely.

Invariant: the event of a record is a function of it, of what stands around it and of when it was
received. Its name is one of few, for it is never made of the body: what a program writes is full of
what it was put together from.
Specification: https://opentelemetry.io/docs/specs/otel/logs/data-model/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ingest.attributes import first
from ingest.events import LATEST_TIME, LOG_SOURCE, Event
from ingest.evidence import EvidenceBatch
from ingest.otlp_entities import entity_event
from ingest.otlp_values import (
    ENVIRONMENT_KEYS,
    SESSION_KEYS,
    Origin,
    attributes_of,
    content_id,
    identifier,
    origin_of,
    plain,
)
from ingest.personal import redacted
from ingest.sentry_issue import few_names

# Four numbers each, from 1.
SEVERITIES = ("trace", "debug", "info", "warn", "error", "fatal")
ERROR_NUMBER = 17
# Where an event's name stood before records had a field for it.
_EVENT_NAME_KEY = "event.name"
_NAMELESS = "log"


def events_of(request: Any, batch: EvidenceBatch) -> Iterator[Event]:
    """Every log record of a request with packed attributes, in the order sent."""
    for resource_logs in request.resource_logs:
        origin = origin_of(resource_logs.resource, redacted)
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                yield entity_event(record, origin, batch) or _event(
                    record, scope_logs.scope.name, origin, batch
                )


def _event(record: Any, logger: str, origin: Origin, batch: EvidenceBatch) -> Event:
    own = attributes_of(
        record.attributes,
        said={
            "severity": _severity(record),
            "logger": logger,
            "body": plain(record.body),
        },
        redact=redacted,
    )
    attributes = {**origin.attributes, **own}
    event_name = record.event_name or own.get(_EVENT_NAME_KEY, "")
    trace_id = identifier(record.trace_id, 16)
    time = record.time_unix_nano or record.observed_time_unix_nano or batch.received_at
    return Event(
        project=batch.project,
        source=LOG_SOURCE,
        event_id=content_id(record, origin.attributes, logger),
        time=min(time, LATEST_TIME),
        duration_ns=0,
        name=few_names(event_name or logger) or _NAMELESS,
        kind="event" if event_name else "log",
        status="error" if record.severity_number >= ERROR_NUMBER else "",
        service=origin.service,
        release=origin.release,
        environment=first(attributes, ENVIRONMENT_KEYS),
        session=first(attributes, SESSION_KEYS),
        trace_id=trace_id,
        span_id=identifier(record.span_id, 8) if trace_id else "",
        parent_span_id="",
        attributes=attributes,
        seq=batch.seq,
        batch=batch.digest,
    )


def _severity(record: Any) -> str:
    """The name of the number, which is the same for every language; else the sender's own."""
    number = record.severity_number
    if 0 < number <= 4 * len(SEVERITIES):
        return SEVERITIES[(number - 1) // 4]
    return str(record.severity_text).lower()
