"""PostHog's exported rows as the events that its clients captured.

Invariant: an event keeps its uuid, its name and its time, so that what was captured, exported or
pulled twice is one fact. Of a row nothing else is taken but the properties and who it was: columns
of persons stay where they are, and so do the keys of the project it came from.
Source: https://posthog.com/docs/cdp/batch-exports, https://posthog.com/docs/api/queries
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ingest.bounded_json import read_json
from ingest.errors import BodyError, PayloadError

# The key of the PostHog project, which would be taken for one of ours.
_KEYS = frozenset({"token", "api_key"})


def captured(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of an export or of a query in the form that clients send.

    Properties are an object in JSON exports and text that holds one in Parquet and in answers to
    queries; what is neither counts as none.
    """
    event = {
        "uuid": _uuid(row.get("uuid")),
        "event": row.get("event"),
        "distinct_id": row.get("distinct_id"),
        "timestamp": _time(row.get("timestamp")),
    }
    found = {key: value for key, value in event.items() if value is not None}
    properties = _properties(row.get("properties"))
    return found | {"properties": {k: v for k, v in properties.items() if k not in _KEYS}}


def _uuid(value: Any) -> str | None:
    if isinstance(value, bytes) and len(value) == 16:
        return str(UUID(bytes=value))
    return str(value) if value is not None else None


def _time(value: Any) -> Any:
    """Text without a zone is UTC, as the receiver takes it too."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    return value


def _properties(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str | bytes):
        try:
            value = read_json(value.encode(errors="replace") if isinstance(value, str) else value)
        except (PayloadError, BodyError):
            return {}
    return value if isinstance(value, dict) else {}
