"""OTLP metrics: one event for each data point, purely.

Invariant: the event of a point is a function of it, of what stands around it and of when it was
received; it holds no more buckets or quantiles than :data:`MAX_BUCKETS`, and then all or none.
Specification: https://opentelemetry.io/docs/specs/otel/metrics/data-model/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ingest.attributes import MAX_NAME, first, text
from ingest.events import LATEST_TIME, METRIC_SOURCE, Event, Skipped
from ingest.evidence import EvidenceBatch
from ingest.otlp_values import (
    ENVIRONMENT_KEYS,
    SESSION_KEYS,
    Origin,
    attributes_of,
    content_id,
    named,
    origin_of,
)
from ingest.personal import redacted

MAX_BUCKETS = 160
"""What an exponential histogram has by default."""

NO_VALUE = "no-recorded-value"

_TEMPORALITIES = ("", "delta", "cumulative")
_NO_RECORDED_VALUE = 1


def events_of(request: Any, batch: EvidenceBatch) -> Iterator[Event | Skipped]:
    """Every data point of a request with packed attributes, in the order sent; one that says that
    there is no value is skipped in its place."""
    for resource_metrics in request.resource_metrics:
        origin = origin_of(resource_metrics.resource, redacted)
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                yield from _points_of(metric, scope_metrics.scope.name, origin, batch)


def _points_of(
    metric: Any, scope: str, origin: Origin, batch: EvidenceBatch
) -> Iterator[Event | Skipped]:
    data = metric.WhichOneof("data")
    if data is None:
        return
    kind = data.replace("_", "-")
    held = getattr(metric, data)
    of_metric = {
        "unit": metric.unit,
        "temporality": named(_TEMPORALITIES, getattr(held, "aggregation_temporality", 0)),
        "monotonic": ("true" if held.is_monotonic else "false") if data == "sum" else "",
        "scope": scope,
    }
    around = (scope, metric.name, kind, *of_metric.values())
    for point in held.data_points:
        if point.flags & _NO_RECORDED_VALUE:
            yield Skipped(NO_VALUE)
        else:
            yield _event(
                metric.name,
                kind,
                point,
                {**_VALUES[data](point), **of_metric},
                around,
                origin,
                batch,
            )


def _event(
    name: str,
    kind: str,
    point: Any,
    said: Mapping[str, str],
    around: Sequence[str],
    origin: Origin,
    batch: EvidenceBatch,
) -> Event:
    own = attributes_of(point.attributes, said=said, redact=redacted)
    attributes = {**origin.attributes, **own}
    start, end = point.start_time_unix_nano, point.time_unix_nano
    return Event(
        project=batch.project,
        source=METRIC_SOURCE,
        event_id=content_id(point, origin.attributes, *around),
        time=min(end or start or batch.received_at, LATEST_TIME),
        duration_ns=max(0, end - start) if start else 0,
        name=redacted(text(name, MAX_NAME)),
        kind=kind,
        status="",
        service=origin.service,
        release=origin.release,
        environment=first(attributes, ENVIRONMENT_KEYS),
        session=first(attributes, SESSION_KEYS),
        trace_id="",
        span_id="",
        parent_span_id="",
        attributes=attributes,
        seq=batch.seq,
        batch=batch.digest,
    )


def _number(point: Any) -> dict[str, str]:
    which = point.WhichOneof("value")
    return {"value": repr(getattr(point, which)) if which else ""}


def _histogram(point: Any) -> dict[str, str]:
    return {
        **_summed(point),
        "bucket_counts": _few(point.bucket_counts),
        "explicit_bounds": _few(point.explicit_bounds),
    }


def _exponential_histogram(point: Any) -> dict[str, str]:
    return {
        **_summed(point),
        "scale": str(point.scale),
        "zero_count": str(point.zero_count),
        "positive.offset": str(point.positive.offset),
        "positive.bucket_counts": _few(point.positive.bucket_counts),
        "negative.offset": str(point.negative.offset),
        "negative.bucket_counts": _few(point.negative.bucket_counts),
    }


def _summary(point: Any) -> dict[str, str]:
    quantiles = point.quantile_values
    values = {repr(found.quantile): found.value for found in quantiles[:MAX_BUCKETS]}
    return {
        "count": str(point.count),
        "sum": repr(point.sum),
        "quantiles": json.dumps(values) if 0 < len(quantiles) <= MAX_BUCKETS else "",
    }


def _summed(point: Any) -> dict[str, str]:
    return {
        "count": str(point.count),
        "sum": repr(point.sum) if point.HasField("sum") else "",
        "min": repr(point.min) if point.HasField("min") else "",
        "max": repr(point.max) if point.HasField("max") else "",
    }


def _few(numbers: Sequence[float]) -> str:
    """Numbers as a JSON list, none where there are too many to be kept whole."""
    return json.dumps(list(numbers)) if 0 < len(numbers) <= MAX_BUCKETS else ""


_VALUES: Mapping[str, Callable[[Any], dict[str, str]]] = {
    "gauge": _number,
    "sum": _number,
    "histogram": _histogram,
    "exponential_histogram": _exponential_histogram,
    "summary": _summary,
}
