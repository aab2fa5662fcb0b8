"""One normalised event: the row that every source ends up as.

Invariant: an event is a pure function of the payload it came from and of when that was received,
and (project, source, event_id) is its key, so that decoding a payload again or taking in a retried
one never counts twice.
Times are integers in nanoseconds since 1970-01-01 UTC, within what the warehouse can hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

SPAN_SOURCE = "otel.span"
LOG_SOURCE = "otel.log"
METRIC_SOURCE = "otel.metric"
ENTITY_SOURCE = "otel.entity"
PRODUCT_SOURCE = "posthog.event"
ERROR_SOURCE = "sentry.event"
LINEAGE_SOURCE = "openlineage.event"
RUN_SOURCE = "fractalops.run"

# DateTime64(9) ends here (2262-04-11); the wire format's unsigned 64 bits reach further.
LATEST_TIME = 2**63 - 1

UNKNOWN_SERVICE = "unknown_service"


class Event(NamedTuple):
    """One thing that happened; a tuple, because there are a great many.

    ``event_class``, ``rule`` and ``subject`` are IRIs chosen by the classifier, empty until then
    and for good where no rule fits. ``seq`` and ``batch`` name the evidence batch it came in;
    ``trusted`` is that batch's.
    """

    project: str
    source: str
    event_id: str
    time: int
    duration_ns: int
    name: str
    kind: str
    status: str
    service: str
    release: str
    environment: str
    session: str
    trace_id: str
    span_id: str
    parent_span_id: str
    attributes: Mapping[str, str] = {}
    seq: int = 0
    batch: str = ""
    event_class: str = ""
    rule: str = ""
    subject: str = ""
    trusted: bool = True

    def with_attributes(self, attributes: Mapping[str, str]) -> Event:
        """This event with other attributes."""
        return self._with(attributes, self.event_class, self.rule, self.subject)

    def classified(self, event_class: str, rule: str, subject: str) -> Event:
        """This event with what the classifier found."""
        return self._with(self.attributes, event_class, rule, subject)

    def _with(
        self, attributes: Mapping[str, str], event_class: str, rule: str, subject: str
    ) -> Event:
        # Spelled out: _replace takes several times as long, for every event.
        return Event(
            self.project,
            self.source,
            self.event_id,
            self.time,
            self.duration_ns,
            self.name,
            self.kind,
            self.status,
            self.service,
            self.release,
            self.environment,
            self.session,
            self.trace_id,
            self.span_id,
            self.parent_span_id,
            attributes,
            self.seq,
            self.batch,
            event_class,
            rule,
            subject,
            self.trusted,
        )


@dataclass(frozen=True, slots=True)
class Skipped:
    """An item of a payload that is no event here; ``reason`` is one of few, in kebab case."""

    reason: str
