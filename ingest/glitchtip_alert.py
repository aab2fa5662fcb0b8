"""What GlitchTip's alerts say: bytes to events, purely.

Invariant: `events_of` is a function of the payload and of when it was received; it raises nothing
but `PayloadError` and `BodyError`, before the first event. An alert has neither an id nor a time:
its event is known by what it says and by the minute it came in, so that one that is delivered again
at once is one event, and one about the same issue later is another.

A payload is a message as chat programs take it, an attachment for each issue or monitor: the title
is the issue's, the text its culprit, and which issue it is stands in the link alone.
Source: https://gitlab.com/glitchtip/glitchtip-backend (apps/alerts/webhooks.py)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ingest.attributes import MAX_NAME, bounded, text
from ingest.bounded_json import read_json
from ingest.errors import BodyTooLarge, PayloadUndecodable
from ingest.events import ERROR_SOURCE, Event, Skipped
from ingest.evidence import EvidenceBatch
from ingest.personal import redacted
from ingest.posthog_request import object_of, text_of
from ingest.sentry_issue import few_names, issue_of

ALERT: Final = "application/vnd.glitchtip.alert+json"
"""The type under which the inbox keeps alerts, to tell them from what clients send."""

KIND: Final = "alert"
MAX_ALERTS: Final = 1_000

_MINUTE = 60 * 10**9
_LINK = re.compile(r"/([\w-]{1,100})/(?:[\w-]{1,100}/)?(issues|uptime-monitors)/(\d{1,20})/?")
# A title of a message may have a colon too; only what is called like one is an exception's.
_EXCEPTION = re.compile(
    r"((?:[A-Za-z_]\w*\.)*[A-Z_]\w*(?:Error|Exception|Exit|Interrupt|Warning|Fault)|"
    r"(?:[A-Za-z_]\w*\.)+[A-Z]\w*)(?:: (.*))?",
    re.DOTALL,
)
_SOUND = re.compile(r"\bback up\b", re.IGNORECASE)
_EXPECTED = (
    "the body is not an alert of GlitchTip: a JSON object whose `attachments` are objects with"
    " `title`, `title_link` and `text`; choose General Slack-compatible webhook in GlitchTip"
)


def parse(payload: bytes) -> tuple[Mapping[str, Any], ...]:
    """The alerts in a body.

    Raises :class:`PayloadUndecodable` for a body without any, :class:`BodyTooLarge` for more than
    :data:`MAX_ALERTS`.
    """
    try:
        document = read_json(payload)
    except PayloadUndecodable as error:
        raise PayloadUndecodable(_EXPECTED) from error
    found = object_of(document).get("attachments")
    if not isinstance(found, list) or not any(map(is_alert, found)):
        raise PayloadUndecodable(_EXPECTED)
    if len(found) > MAX_ALERTS:
        raise BodyTooLarge(f"one request may carry {MAX_ALERTS} alerts; send several")
    return tuple(found)


def is_alert(attachment: Any) -> bool:
    """Whether an attachment says what it is about."""
    return bool(text_of(object_of(attachment), "title"))


def events_of(payload: bytes, batch: EvidenceBatch) -> Iterator[Event | Skipped]:
    """Every alert of a payload, in the order sent. Raises as :func:`parse` does."""
    for attachment in parse(payload):
        yield _event(attachment, batch) if is_alert(attachment) else Skipped("no-alert")


def _event(said: Mapping[str, Any], batch: EvidenceBatch) -> Event:
    title, place = text_of(said, "title"), text_of(said, "text")
    organisation, about, number = _about(text_of(said, "title_link"))
    fields = _fields(said.get("fields"))
    package, _, release = fields.get("release", "").rpartition("@")
    monitored = about == "uptime-monitors"
    pairs = {
        "alert.about": "monitor" if monitored else "issue",
        "alert.id": number,
        "alert.link": text_of(said, "title_link"),
        "alert.organisation": organisation,
        "alert.project": fields.get("project", ""),
        "alert.text": text_of(said, "text") if monitored else "",
        "release.package": package,
    }
    name = few_names(title)
    exception = None if monitored else _EXCEPTION.fullmatch(title)
    if exception:
        # As the receiver of errors groups them, so that alert and errors are about one issue.
        value = {"type": exception[1], "value": exception[2] or ""}
        issue = issue_of({"exception": {"values": [value]}, "culprit": place})
        name = issue.name
        pairs |= {
            "error.issue": issue.key,
            "error.culprit": issue.culprit,
            "exception.type": issue.exception_type,
        }
    elif not monitored:
        pairs["error.culprit"] = few_names(place)
    return Event(
        project=batch.project,
        source=ERROR_SOURCE,
        event_id=_event_id(said, batch.received_at),
        time=batch.received_at,
        duration_ns=0,
        name=name,
        kind=KIND,
        status="ok" if monitored and _SOUND.search(place) else "error",
        service="",
        release=_column(release),
        environment=_column(fields.get("environment", "")),
        session="",
        trace_id="",
        span_id="",
        parent_span_id="",
        attributes=bounded(
            ((key, value) for key, value in pairs.items() if value), redact=redacted
        ),
        seq=batch.seq,
        batch=batch.digest,
    )


def _about(link: str) -> tuple[str, str, str]:
    """Organisation, what and number of what a link leads to, empty where it doesn't say."""
    try:
        found = _LINK.search(urlsplit(link).path)
    except ValueError:
        return "", "", ""
    return (found[1], found[2], found[3]) if found else ("", "", "")


def _fields(fields: Any) -> dict[str, str]:
    """The fields beside an alert, by their title in lower case."""
    found = (object_of(field) for field in (fields if isinstance(fields, list) else ()))
    return {text_of(field, "title").lower(): text_of(field, "value") for field in found}


def _event_id(said: Mapping[str, Any], received: int) -> str:
    content = json.dumps([said, received // _MINUTE], sort_keys=True).encode()
    return f"alert-{hashlib.sha256(content).hexdigest()}"


def _column(value: str) -> str:
    return redacted(text(value, MAX_NAME))
