"""Which decoder reads which source: bytes of the inbox to events.

Invariant: a decoder is a function of the payload and of what the inbox noted when it came; reading
a batch again gives the same events. An item that can't be an event is yielded as :class:`Skipped`
in its place and never takes its neighbours with it; a payload of which nothing can be read raises
``PayloadError``.

A new source is a line here, a module that reads its bytes, and a receiver that takes them in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, repeat
from typing import Any

from google.protobuf.message import DecodeError

from ingest import (
    asset_runs,
    glitchtip_alert,
    openlineage,
    otlp,
    otlp_logs,
    otlp_metrics,
    otlp_spans,
    posthog,
    sentry,
)
from ingest.events import (
    ERROR_SOURCE,
    LINEAGE_SOURCE,
    LOG_SOURCE,
    METRIC_SOURCE,
    PRODUCT_SOURCE,
    RUN_SOURCE,
    SPAN_SOURCE,
    Event,
    Skipped,
)
from ingest.evidence import EvidenceBatch
from ingest.otlp_entities import entities_of
from ingest.otlp_packed import packed
from ingest.pseudonyms import Pseudonyms

log = logging.getLogger(__name__)

Decoder = Callable[[bytes, EvidenceBatch], Iterator[Event | Skipped]]


def decoders(pseudonyms: Pseudonyms) -> Mapping[str, Decoder]:
    """The decoder of each source. ``pseudonyms`` stand for the persons that a source names."""

    def product_events(payload: bytes, batch: EvidenceBatch) -> Iterator[Event | Skipped]:
        return posthog.events_of(payload, batch, pseudonyms)

    return {
        SPAN_SOURCE: _spans,
        LOG_SOURCE: _log_records,
        METRIC_SOURCE: _data_points,
        PRODUCT_SOURCE: product_events,
        ERROR_SOURCE: _errors,
        LINEAGE_SOURCE: openlineage.events_of,
        RUN_SOURCE: asset_runs.events_of,
    }


def _errors(payload: bytes, batch: EvidenceBatch) -> Iterator[Event | Skipped]:
    if batch.content_type == glitchtip_alert.ALERT:
        return glitchtip_alert.events_of(payload, batch)
    return sentry.events_of(payload, batch)


def _spans(payload: bytes, batch: EvidenceBatch) -> Iterator[Event | Skipped]:
    def items(request: Any) -> Iterator[Event]:
        yield from entities_of(request.resource_spans, batch)
        yield from otlp_spans.events_of(
            request, project=batch.project, seq=batch.seq, batch=batch.digest
        )

    return _of_signal(otlp.TRACES, items, payload, batch)


def _log_records(payload: bytes, batch: EvidenceBatch) -> Iterator[Event | Skipped]:
    def items(request: Any) -> Iterator[Event]:
        yield from entities_of(request.resource_logs, batch)
        yield from otlp_logs.events_of(request, batch)

    return _of_signal(otlp.LOGS, items, payload, batch)


def _data_points(payload: bytes, batch: EvidenceBatch) -> Iterator[Event | Skipped]:
    def items(request: Any) -> Iterator[Event | Skipped]:
        yield from entities_of(request.resource_metrics, batch)
        yield from otlp_metrics.events_of(request, batch)

    return _of_signal(otlp.METRICS, items, payload, batch)


def _of_signal(
    signal: otlp.Signal[Any],
    items: Callable[[Any], Iterator[Event | Skipped]],
    payload: bytes,
    batch: EvidenceBatch,
) -> Iterator[Event | Skipped]:
    """The items of a request with packed attributes, after as many skipped ones as were rejected
    when it came."""
    given = 0
    if batch.content_type == otlp.PROTOBUF:
        try:
            for item in items(packed(payload, signal)):
                yield item
                given += 1
            return
        except DecodeError:
            # An item can't be read: what comes after those before it is read without that one.
            log.debug("batch %d is read item by item", batch.seq)
    read = otlp.read(payload, batch.content_type, signal)
    yield from _left_out(read.rejected)
    yield from islice(items(packed(read.request.SerializeToString(), signal)), given, None)


def _left_out(rejected: int) -> Iterator[Skipped]:
    """What the sender was told of as rejected."""
    return repeat(Skipped("malformed-item"), rejected)
