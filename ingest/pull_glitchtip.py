"""Error events out of GlitchTip, issue by issue, through the API that it shares with Sentry.

Invariant: each event keeps its id, so that what a client also sent here is one fact; of a person it
carries nothing: what is taken of an event is named one by one. Pages are followed by their cursor
alone, on the address that was given: a link in an answer sends the token nowhere.
Source: https://glitchtip.com/documentation/api, https://docs.sentry.io/api/pagination/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

from ingest.errors import HistoryUnreadable
from ingest.history_records import Kind, Record, Unreadable
from ingest.patience import Peer, checked
from ingest.posthog_request import instant, object_of, text_of
from runtime.http_messages import Answer

_LINK: Final = re.compile(r"<([^<>]*)>((?:;[^,<>;]*)*)")
_ID = re.compile(r"[0-9]{1,20}")
_MAX_CURSOR = 500
_MAX_EVENT = 20 * 1024 * 1024
_KEPT = ("platform", "culprit", "logger", "dist", "sdk", "fingerprint")
_CONTEXTS = ("trace", "app", "otel")
_OF_TAGS = ("level", "release", "environment", "transaction")


@dataclass(frozen=True)
class Place:
    """Where a pull stands: the cursor of the page of issues, the issue whose events come next, the
    cursor of its page of events. Empty is the beginning of each."""

    issues: str = ""
    issue: str = ""
    events: str = ""

    def document(self) -> dict[str, Any]:
        return {"issues": self.issues, "issue": self.issue, "events": self.events}


@dataclass(frozen=True)
class Page:
    """A page of one issue's events, and where to go on once they are taken in."""

    records: tuple[Record | Unreadable, ...]
    place: Place


def place_of(document: Mapping[str, Any] | None) -> Place:
    """The place that a bookmark holds."""
    found = document or {}
    return Place(*(text_of(found, name) for name in ("issues", "issue", "events")))


def pages(
    peer: Peer, organisation: str, place: Place, since: datetime, project: str | None = None
) -> Iterator[Page]:
    """The events since then of all issues seen since then, those seen last first.

    ``project`` is a project's number in GlitchTip, all of them without. Raises
    :class:`PeerRefused`, :class:`PeerUnavailable` and :class:`HistoryUnreadable`.
    """
    issues = f"/api/0/organizations/{quote(organisation, safe='')}/issues/"
    asked = {"sort": "-last_seen", "query": ""} | ({"project": project} if project else {})
    cursor, resumed, number = place.issues, place.issue, 0
    while True:
        found, following = _listed(peer, issues, asked, cursor)
        identifiers = [_id(issue) for issue in found if _is_since(issue.get("lastSeen"), since)]
        # An issue that was seen meanwhile has moved to the front, and comes with the next pull.
        start = identifiers.index(resumed) if resumed in identifiers else 0
        for position in range(start, len(identifiers)):
            issue = identifiers[position]
            after = identifiers[position + 1] if position + 1 < len(identifiers) else ""
            events = place.events if issue == resumed else ""
            while True:
                said, more = _listed(
                    peer, f"/api/0/issues/{issue}/events/", {"full": "true"}, events
                )
                recent = [event for event in said if _is_since(event.get("dateCreated"), since)]
                if not recent:
                    more = ""
                records = []
                for event in recent:
                    number += 1
                    records.append(_record(event, number))
                onward = (
                    Place(cursor, issue, more)
                    if more
                    else Place(cursor if after else following, after)
                )
                yield Page(tuple(records), onward)
                if not more:
                    break
                events = more
        resumed = ""
        if not following or len(identifiers) < len(found):
            return
        cursor = following


def stored(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event of the API in the form in which clients send it, without persons.

    Of its interfaces the exception and the template of the message are kept, of its contexts those
    that join it with traces and services.
    """
    tags = _tags(event.get("tags"))
    contexts = object_of(event.get("contexts"))
    found: dict[str, Any] = {
        "event_id": text_of(event, "eventID", "id"),
        "timestamp": event.get("dateCreated"),
        "contexts": {name: contexts[name] for name in _CONTEXTS if name in contexts},
        "tags": [[key, value] for key, value in tags.items() if key not in _OF_TAGS],
        **{name: event[name] for name in _KEPT if event.get(name)},
        **{name: tags[name] for name in _OF_TAGS if name in tags},
    }
    if text_of(event, "type") == "transaction":
        found["type"] = "transaction"
    for entry in _objects(event.get("entries")):
        data = object_of(entry.get("data"))
        if entry.get("type") == "exception":
            found["exception"] = {"values": [_exception(v) for v in _objects(data.get("values"))]}
        elif entry.get("type") == "message":
            found["logentry"] = {"message": text_of(data, "message", "formatted")}
    if "exception" not in found and "logentry" not in found:
        found["message"] = text_of(event, "message", "title")
    return found


def _record(event: Mapping[str, Any], number: int) -> Record | Unreadable:
    body = stored(event)
    if not body["event_id"]:
        return Unreadable("an event without an id", number, number)
    part = json.dumps(body).encode()
    if len(part) > _MAX_EVENT:
        return Unreadable("an event that is larger than a receiver takes", number, number)
    return Record(Kind.ERROR, part, number, number)


def _exception(value: Mapping[str, Any]) -> dict[str, Any]:
    frames = _objects(object_of(value.get("stacktrace")).get("frames"))
    kept = {
        name: value[name] for name in ("type", "value", "module", "mechanism") if value.get(name)
    }
    return kept | {
        "stacktrace": {
            "frames": [
                {
                    "module": frame.get("module"),
                    "filename": frame.get("filename"),
                    "function": frame.get("function"),
                    "in_app": frame.get("inApp", frame.get("in_app")),
                }
                for frame in frames
            ]
        }
    }


def _listed(
    peer: Peer, path: str, asked: Mapping[str, str], cursor: str
) -> tuple[list[Mapping[str, Any]], str]:
    """A page's objects, and the cursor of the next page, empty behind the last one."""
    answer = peer.send("GET", path, parameters={**asked, **({"cursor": cursor} if cursor else {})})
    found = checked(answer, f"GlitchTip's {path}")
    if not isinstance(found, list):
        raise HistoryUnreadable(f"GlitchTip's {path} is no list; is this GlitchTip's address?")
    following = _next(answer)
    if following and following == cursor:
        raise HistoryUnreadable(f"GlitchTip's {path} names the same page as its next one")
    return _objects(found), following


def _next(answer: Answer) -> str:
    """The cursor behind ``rel="next"``, where there are results."""
    for url, parameters in _LINK.findall(answer.headers.get("link", "")):
        said = parameters.replace(" ", "")
        if 'rel="next"' in said and 'results="false"' not in said:
            try:
                cursors = parse_qs(urlsplit(url).query).get("cursor", [""])
            except ValueError:
                continue
            return cursors[0] if len(cursors[0]) <= _MAX_CURSOR else ""
    return ""


def _id(issue: Mapping[str, Any]) -> str:
    found = text_of(issue, "id")
    if not _ID.fullmatch(found):
        raise HistoryUnreadable("GlitchTip lists an issue without a number as its id")
    return found


def _is_since(value: Any, since: datetime) -> bool:
    time = instant(value)
    return time is None or time >= int(since.astimezone(UTC).timestamp()) * 10**9


def _tags(tags: Any) -> dict[str, str]:
    return {
        text_of(tag, "key"): text_of(tag, "value") for tag in _objects(tags) if text_of(tag, "key")
    }


def _objects(values: Any) -> list[Mapping[str, Any]]:
    return [item for item in values if isinstance(item, dict)] if isinstance(values, list) else []
