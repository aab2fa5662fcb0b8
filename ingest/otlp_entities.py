"""OpenTelemetry's entities as facts: what a resource says that it is, and what entity events say.

Invariant: a fact of an entity is known by what it says, so that an entity that says the same of
itself with every request is one fact; its time is when it was last heard of. An entity without a
type or an identity is none.
Specification: https://opentelemetry.io/docs/specs/otel/entities/data-model/,
https://opentelemetry.io/docs/specs/otel/entities/entity-events/ and, for the older spelling,
https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/internal/coreinternal
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from ingest.attributes import MAX_NAME, bounded, first, text
from ingest.events import ENTITY_SOURCE, LATEST_TIME, Event
from ingest.evidence import EvidenceBatch
from ingest.otlp_values import ENVIRONMENT_KEYS, Origin, origin_of, plain, unpacked
from ingest.personal import redacted
from ontology.workload_names import CLUSTER, NAMESPACE

MAX_REFERENCES = 64
"""Entities that one resource may refer to; the rest is left out."""

STATE, DELETE = "state", "delete"
# Each with the event's name, or the attribute that stood for it before events had names.
_KINDS = {
    "entity.state": STATE,
    "entity.delete": DELETE,
    "entity_state": STATE,
    "entity_delete": DELETE,
}
_OLDER_KIND = "otel.entity.event.type"
_TYPE_KEYS = ("entity.type", "otel.entity.type")
_ID_KEYS = ("entity.id", "otel.entity.id")
_DESCRIPTION_KEYS = ("entity.description", "otel.entity.attributes")
_RELATIONSHIP_KEYS = ("entity.relationships", "otel.entity.relationships")
_INTERVAL_KEYS = ("report.interval", "entity.interval", "otel.entity.interval")


def entities_of(parts: Iterable[Any], batch: EvidenceBatch) -> Iterator[Event]:
    """The entities that the resources of a request with packed attributes refer to; ``parts`` are
    what its signal calls the items of one resource."""
    for part in parts:
        references = part.resource.entity_refs
        if not references:
            continue
        origin = origin_of(part.resource, redacted)
        pairs = map(unpacked, part.resource.attributes)
        values = {pair.key: plain(pair.value) for pair in pairs}
        for reference in references[:MAX_REFERENCES]:
            identity = {key: values[key] for key in reference.id_keys if values.get(key)}
            keys = [*reference.description_keys]
            if reference.type.startswith("k8s."):
                # What a workload is called, it is called within these.
                keys += [key for key in (CLUSTER, NAMESPACE) if key not in identity]
            described = {key: values[key] for key in keys if key in values}
            if reference.type and identity:
                yield _event(
                    batch, origin, STATE, reference.type, identity, described, batch.received_at
                )


def entity_event(record: Any, origin: Origin, batch: EvidenceBatch) -> Event | None:
    """The entity that a log record tells of, ``None`` where it is an ordinary record."""
    if record.event_name not in _KINDS and not _older(record.attributes):
        return None
    said = {pair.key: pair.value for pair in map(unpacked, record.attributes)}
    kind = _KINDS.get(record.event_name or said.get(_OLDER_KIND, AnyValue()).string_value)
    if kind is None:
        return None
    name = _first(said, _TYPE_KEYS).string_value
    identity = _members(_first(said, _ID_KEYS))
    if not name or not identity:
        return None
    others = {
        "relationships": plain(_first(said, _RELATIONSHIP_KEYS)),
        "interval": plain(_first(said, _INTERVAL_KEYS)),
    }
    time = record.time_unix_nano or record.observed_time_unix_nano or batch.received_at
    described = _members(_first(said, _DESCRIPTION_KEYS))
    return _event(batch, origin, kind, name, identity, described, time, others)


def _event(
    batch: EvidenceBatch,
    origin: Origin,
    kind: str,
    name: str,
    identity: Mapping[str, str],
    described: Mapping[str, str],
    time: int,
    others: Mapping[str, str] | None = None,
) -> Event:
    pairs = (
        *((f"id.{key}", value) for key, value in sorted(identity.items())),
        *((f"description.{key}", value) for key, value in sorted(described.items())),
        *((key, value) for key, value in (others or {}).items() if value),
    )
    attributes = bounded(pairs, redact=redacted)
    content: list[object] = [kind, name, sorted(attributes.items())]
    if kind == DELETE:
        # It may be there again, and end again.
        content.append(time)
    return Event(
        project=batch.project,
        source=ENTITY_SOURCE,
        event_id=f"content-{hashlib.sha256(json.dumps(content).encode()).hexdigest()}",
        time=min(time, LATEST_TIME),
        duration_ns=0,
        name=redacted(text(name, MAX_NAME)),
        kind=kind,
        status="",
        service=origin.service if "service.name" in origin.attributes else "",
        release=origin.release,
        environment=first(origin.attributes, ENVIRONMENT_KEYS),
        session="",
        trace_id="",
        span_id="",
        parent_span_id="",
        attributes=attributes,
        seq=batch.seq,
        batch=batch.digest,
    )


def _older(attributes: Iterable[bytes]) -> bool:
    """Whether a record may be an entity's event from before those had names."""
    return any(_OLDER_KIND.encode() in packed for packed in attributes)


def _first(said: Mapping[str, AnyValue], keys: Iterable[str]) -> AnyValue:
    return next((said[key] for key in keys if key in said), AnyValue())


def _members(value: AnyValue) -> dict[str, str]:
    return {pair.key: plain(pair.value) for pair in value.kvlist_value.values if pair.key}
