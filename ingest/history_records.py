"""One record of what was exported elsewhere, and the request that brings it in.

Invariant: the kind of a record follows from what it says, never from the name of its file; what
becomes of it is a function of the record, so that bringing it in again is the same event.
Source: https://opentelemetry.io/docs/specs/otlp/, https://posthog.com/docs/cdp/batch-exports,
https://develop.sentry.dev/sdk/foundations/transport/envelopes/, https://openlineage.io/apidocs/openapi/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from ingest.bodies import MAX_BODY
from ingest.posthog import refusal_of
from ingest.posthog_export import captured

MAX_REQUEST: Final = 1024 * 1024
"""Bytes from which on no further record joins a request."""

MAX_RECORDS: Final = 1_000
MAX_RECORD: Final = MAX_BODY


class Kind(StrEnum):
    """What a record is, which says where it goes."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"
    PRODUCT_EVENT = "product-event"
    ENVELOPE = "envelope"
    ERROR = "error"
    LINEAGE = "lineage"
    TRACES_PROTO = "traces-proto"
    LOGS_PROTO = "logs-proto"
    METRICS_PROTO = "metrics-proto"


@dataclass(frozen=True, slots=True)
class Record:
    """``part`` is what it adds to a request, ``place`` the number of its line, row or document from
    1 on, ``end`` where reading goes on behind it."""

    kind: Kind
    part: bytes
    place: int
    end: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What stands where a record should, with the reason, a sentence."""

    reason: str
    place: int
    end: int


@dataclass(frozen=True, slots=True)
class Target:
    """Where records of a kind go. One that ``stands_alone`` shares no request."""

    path: str
    media_type: str = "application/json"
    opening: bytes = b""
    separator: bytes = b""
    closing: bytes = b""
    stands_alone: bool = False

    def body(self, parts: Iterable[bytes]) -> bytes:
        return self.opening + self.separator.join(filter(None, parts)) + self.closing


_PROTOBUF = "application/x-protobuf"
_LISTS = {
    Kind.TRACES: "resourceSpans",
    Kind.LOGS: "resourceLogs",
    Kind.METRICS: "resourceMetrics",
}

TARGETS: Mapping[Kind, Target] = {
    **{
        kind: Target(
            f"/v1/{kind}", opening=b'{"%s":[' % member.encode(), separator=b",", closing=b"]}"
        )
        for kind, member in _LISTS.items()
    },
    # Requests of protobuf one behind the other are one request that holds all.
    Kind.TRACES_PROTO: Target("/v1/traces", _PROTOBUF),
    Kind.LOGS_PROTO: Target("/v1/logs", _PROTOBUF),
    Kind.METRICS_PROTO: Target("/v1/metrics", _PROTOBUF),
    Kind.PRODUCT_EVENT: Target("/batch/", opening=b'{"batch":[', separator=b",", closing=b"]}"),
    Kind.ENVELOPE: Target("/api/1/envelope/", "application/x-sentry-envelope", stands_alone=True),
    Kind.ERROR: Target("/api/1/store/", stands_alone=True),
    Kind.LINEAGE: Target("/api/v1/lineage", stands_alone=True),
}

_OF_ERRORS = ("exception", "message", "logentry", "platform", "level", "transaction")
_OF_LINEAGE = ("run", "job", "dataset")


def kind_of(said: Any) -> Kind | None:
    """What a JSON value is, ``None`` for what is no record."""
    if not isinstance(said, dict):
        return None
    for kind, member in _LISTS.items():
        if isinstance(said.get(member), list):
            return kind
    if isinstance(said.get("event"), str) and any(
        name in said for name in ("distinct_id", "properties", "uuid")
    ):
        return Kind.PRODUCT_EVENT
    if "eventTime" in said and any(isinstance(said.get(name), dict) for name in _OF_LINEAGE):
        return Kind.LINEAGE
    if isinstance(said.get("event_id"), str) and any(name in said for name in _OF_ERRORS):
        return Kind.ERROR
    return None


def record_of(said: Any, kind: Kind | None, place: int, end: int) -> Record | Unreadable:
    """The record that a JSON value is; ``kind`` where it was said beforehand."""
    found = kind or kind_of(said)
    if found is None or not isinstance(said, dict):
        return Unreadable(
            "neither OTLP, nor an event of PostHog, Sentry or OpenLineage", place, end
        )
    if found is Kind.PRODUCT_EVENT:
        return product_event(said, place, end)
    member = _LISTS.get(found)
    if member is None:
        return Record(found, _dumped(said), place, end)
    held = said.get(member)
    if not isinstance(held, list):
        return Unreadable(f"there is no list {member} in it", place, end)
    return Record(found, _dumped(held)[1:-1], place, end)


def product_event(row: Mapping[str, Any], place: int, end: int) -> Record | Unreadable:
    """The record of a row that PostHog exported."""
    event = captured(row)
    reason = refusal_of(event)
    if reason:
        return Unreadable(f"it is no event here: {reason}", place, end)
    return Record(Kind.PRODUCT_EVENT, _dumped(event), place, end)


def requests_of(records: Iterable[Record | Unreadable]) -> Iterator[Sequence[Record | Unreadable]]:
    """Records in order, in groups of which each makes one request; what is unreadable goes along.

    An OTLP list without members adds nothing and is left out of its request.
    """
    group: list[Record | Unreadable] = []
    kind: Kind | None = None
    size = count = 0
    for record in records:
        if isinstance(record, Record):
            alone = TARGETS[record.kind].stands_alone
            if count and (
                record.kind is not kind
                or alone
                or count >= MAX_RECORDS
                or size + len(record.part) > MAX_REQUEST
            ):
                yield group
                group, size, count = [], 0, 0
            kind = record.kind
            size += len(record.part)
            count += 1
        elif len(group) >= MAX_RECORDS:
            yield group
            group, size, count = [], 0, 0
        group.append(record)
    if group:
        yield group


def _dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
