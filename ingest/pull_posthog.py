"""Product events out of a PostHog project, page by page, through its query API.

Invariant: events come in the order of time and uuid, each page behind the last one's end, so that
nothing is skipped and nothing is asked for twice; each keeps its uuid, so that what a client also
sent here is one fact. No page is larger than what is held.
Source: https://posthog.com/docs/api/queries (at most 50,000 rows an answer; 240 queries a minute,
beyond which PostHog answers 429 with Retry-After, which :class:`Peer` heeds)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from ingest.errors import AnswerTooLarge, HistoryUnreadable
from ingest.history_records import Record, Unreadable, product_event
from ingest.patience import Peer, checked
from ingest.posthog_request import instant

PAGE: Final = 5_000
"""Rows of a page; an answer of more than :data:`ingest.patience.MAX_ANSWER` halves it."""

COLUMNS: Final = ("uuid", "event", "timestamp", "distinct_id", "properties")


@dataclass(frozen=True)
class Mark:
    """The last event that was taken in: its time in microseconds since 1970-01-01 UTC and uuid."""

    time: int
    uuid: str = ""

    def document(self) -> dict[str, Any]:
        return {"time": self.time, "uuid": self.uuid}


@dataclass(frozen=True)
class Page:
    """Records in order, and where the next page begins."""

    records: tuple[Record | Unreadable, ...]
    mark: Mark


def mark_of(document: Mapping[str, Any] | None) -> Mark | None:
    """The mark that a bookmark holds."""
    if document is None or not isinstance(document.get("time"), int):
        return None
    return Mark(document["time"], str(document.get("uuid", "")))


def pages(
    peer: Peer, project: str, mark: Mark, until: datetime, page: int = PAGE
) -> Iterator[Page]:
    """The pages of events behind ``mark`` and before ``until``, of a project's number in PostHog.

    Raises :class:`PeerRefused`, :class:`PeerUnavailable` and :class:`HistoryUnreadable`.
    """
    place = 0
    while True:
        try:
            rows = _asked(peer, project, query(mark, until, page))
        except AnswerTooLarge:
            if page == 1:
                raise
            page //= 2
            continue
        found = []
        for row in rows:
            place += 1
            record = product_event(row, place, place)
            mark = _behind(mark, row)
            found.append(record)
        if found:
            yield Page(tuple(found), mark)
        if len(rows) < page:
            return


def query(mark: Mark, until: datetime, page: int) -> str:
    """HogQL for the next rows. What stands in it was made here: no text of a stranger's."""
    since = f"toDateTime64('{_moment(mark.time)}', 6, 'UTC')"
    end = f"toDateTime64('{until.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}', 6, 'UTC')"
    behind = (
        f"(timestamp > {since} OR (timestamp = {since} AND toString(uuid) > '{mark.uuid}'))"
        if mark.uuid
        else f"timestamp >= {since}"
    )
    return (
        f"SELECT {', '.join(COLUMNS)} FROM events WHERE {behind} AND timestamp < {end}"
        f" ORDER BY timestamp, toString(uuid) LIMIT {page}"
    )


def _asked(peer: Peer, project: str, text: str) -> list[Mapping[str, Any]]:
    body = json.dumps({"query": {"kind": "HogQLQuery", "query": text}}).encode()
    answer = peer.send("POST", f"/api/projects/{project}/query/", content=body)
    document = checked(answer, "PostHog's query API")
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list):
        raise HistoryUnreadable("PostHog's answer has no results; is this PostHog's address?")
    for row in results:
        if not isinstance(row, list) or len(row) != len(COLUMNS):
            raise HistoryUnreadable("PostHog's answer has other columns than were asked for")
    return [dict(zip(COLUMNS, row, strict=True)) for row in results]


def _behind(mark: Mark, row: Mapping[str, Any]) -> Mark:
    time = instant(row["timestamp"])
    try:
        uuid = str(UUID(str(row["uuid"])))
    except ValueError:
        uuid = ""
    if time is None or not uuid:
        raise HistoryUnreadable(
            "PostHog's answer has a row without uuid or time, behind which nothing can be asked for"
        )
    after = Mark(time // 1000, uuid)
    if (after.time, after.uuid) <= (mark.time, mark.uuid):
        # Or the same page would be asked for without an end.
        raise HistoryUnreadable("PostHog's answer is not in the order that was asked for")
    return after


def _moment(microseconds: int) -> str:
    moment = datetime.fromtimestamp(microseconds // 10**6, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{microseconds % 10**6:06d}"
