"""Logs and spans of Sentry's clients: items of many, whose attributes name their types.

Invariant: what is no object among the many is skipped in its place.
Source: https://develop.sentry.dev/sdk/telemetry/logs/, https://develop.sentry.dev/sdk/telemetry/spans/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from ingest.events import Event, Skipped
from ingest.personal import impersonal, is_personal
from ingest.posthog_request import object_of, text_of
from ingest.sentry_event import (
    ERROR_LEVELS,
    SERVICE_KEYS,
    Sent,
    digest_of,
    event_of,
)
from ingest.sentry_issue import few_names
from ingest.sentry_spans import streamed

_MAX_ATTRIBUTES = 1_000
# Of users, requests, machines and the words of the message; and what has columns of its own.
_NO_LOG_ATTRIBUTES = re.compile(
    r"(?:user|user_agent|url|http|client|server|process|thread)\..*|sentry\.(?!origin$|sdk\.).*"
)


def logs(said: Mapping[str, Any], sent: Sent) -> Iterator[Event | Skipped]:
    items = said.get("items")
    for log in items if isinstance(items, list) else ():
        if not isinstance(log, dict):
            yield Skipped("not-an-object")
            continue
        values = _values_of(log.get("attributes"))
        level = text_of(log, "level")
        template = text_of(values, "sentry.message.template")
        own = {
            key: value if isinstance(value, str) else json.dumps(impersonal(value))
            for key, value in values.items()
            if value is not None and not _NO_LOG_ATTRIBUTES.fullmatch(key) and not is_personal(key)
        }
        yield event_of(
            _around(values, log),
            sent,
            kind="log",
            event_id=digest_of(log),
            # Without its template, a text is full of what it was put together from.
            name=few_names(template or text_of(values, "logger.name")) or "log",
            status="error" if level in ERROR_LEVELS else "",
            pairs={"level": level} | own,
        )


def spans(said: Mapping[str, Any], sent: Sent) -> Iterator[Event | Skipped]:
    """The spans of the newest clients, which send no transactions."""
    items = said.get("items")
    for span in items if isinstance(items, list) else (said,):
        if isinstance(span, dict):
            values = _values_of(span.get("attributes"))
            yield streamed(span, values, _around(values, span), sent)
        else:
            yield Skipped("not-an-object")


def _values_of(attributes: Any) -> dict[str, Any]:
    """The values of the attributes of a log or a span, which name their types as well."""
    return {
        key: object_of(value).get("value")
        for key, value in islice(object_of(attributes).items(), _MAX_ATTRIBUTES)
    }


def _around(values: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """What an event of its own would say around itself."""
    trace = {name: item.get(name) for name in ("trace_id", "span_id", "parent_span_id")}
    return {
        "timestamp": item.get("timestamp"),
        "contexts": {"trace": trace},
        "release": values.get("sentry.release"),
        "environment": values.get("sentry.environment"),
        "tags": {key: values[key] for key in SERVICE_KEYS if values.get(key)},
    }
