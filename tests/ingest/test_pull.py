"""History out of PostHog and GlitchTip: stand-ins that answer as their documentation says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from ingest import pull_glitchtip, pull_posthog
from ingest.delivery import deliver
from ingest.errors import AnswerTooLarge, HistoryUnreadable, PeerRefused, PeerUnavailable
from ingest.events import Event
from ingest.evidence import EvidenceBatch
from ingest.history_records import Kind, Record, Unreadable
from ingest.patience import Peer
from ingest.pull_glitchtip import Place, place_of
from ingest.pull_posthog import Mark, mark_of
from ingest.sentry import events_of
from tests.ingest.stand_in import Asked, Said, StandIn, standing_in

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SINCE = datetime(2025, 1, 1, tzinfo=UTC)
START = Mark(int(SINCE.timestamp()) * 10**6)


@dataclass
class Waited:
    """A peer, how long it slept and what it said meanwhile."""

    peer: Peer
    seconds: list[float] = field(default_factory=list)


@pytest.fixture
def waited(stand_in: StandIn) -> Iterator[Waited]:
    seconds: list[float] = []
    with Peer(
        stand_in.url,
        "phx_theirs",
        sleep=seconds.append,
        clock=lambda: NOW,
        patience=100,
        max_answer=20_000,
        proxies=False,
    ) as peer:
        yield Waited(peer, seconds)


def event_row(number: int) -> list[Any]:
    """A row as HogQL answers it: of every three, the time is the same."""
    return [
        f"01890000-0000-7000-8000-{number:012x}",
        "order placed",
        f"2025-03-01T10:00:00.{number // 3:06d}Z",
        "ann@example.org",
        json.dumps({"service": "shop-web", "token": "phc_theirs", "n": number}),
    ]


def posthog(rows: list[list[Any]]) -> Callable[[Asked], Said]:
    """PostHog's query API, as far as the query goes."""

    def answer(asked: Asked) -> Said:
        assert (asked.method, asked.path) == ("POST", "/api/projects/17/query/")
        assert asked.headers["authorization"] == "Bearer phx_theirs"
        text = json.loads(asked.body)["query"]["query"]
        assert text.endswith(f"ORDER BY timestamp, toString(uuid) LIMIT {text.split()[-1]}")
        limit = int(text.split()[-1])
        behind = re.search(r"timestamp = toDateTime64\('([^']+)'.*?> '([0-9a-f-]+)'", text)
        after = (behind[1].replace(" ", "T") + "Z", behind[2]) if behind else ("", "")
        found = [row for row in rows if (row[2], row[0]) > after][:limit]
        return Said(document={"results": found, "columns": list(pull_posthog.COLUMNS)})

    return answer


def test_posthog_is_read_page_by_page(stand_in: StandIn, waited: Waited) -> None:
    rows = [event_row(number) for number in range(23)]
    stand_in.answer = posthog(rows)
    pages = list(pull_posthog.pages(waited.peer, "17", START, NOW, 5))
    assert [len(page.records) for page in pages] == [5, 5, 5, 5, 3]
    events = [json.loads(r.part) for page in pages for r in page.records if isinstance(r, Record)]
    assert [event["uuid"] for event in events] == [row[0] for row in rows]
    assert events[4] == {
        "uuid": rows[4][0],
        "event": "order placed",
        "distinct_id": "ann@example.org",
        "timestamp": rows[4][2],
        "properties": {"service": "shop-web", "n": 4},
    }
    # Killed behind the third page, another run goes on there.
    mark = mark_of(json.loads(json.dumps(pages[2].mark.document())))
    assert mark == pages[2].mark
    rest = list(pull_posthog.pages(waited.peer, "17", mark, NOW, 5))
    assert rest[0].records[0] == Record(
        Kind.PRODUCT_EVENT, json.dumps(events[15], separators=(",", ":")).encode(), 1, 1
    )
    assert sum(len(page.records) for page in rest) == 8


def test_a_page_that_is_too_large_is_asked_for_in_parts(stand_in: StandIn, waited: Waited) -> None:
    stand_in.answer = posthog([event_row(number) for number in range(300)])
    pages = list(pull_posthog.pages(waited.peer, "17", START, NOW, 200))
    assert sum(len(page.records) for page in pages) == 300
    assert max(len(page.records) for page in pages) == 100
    stand_in.answer = lambda asked: Said(document="a" * 30_000)
    with pytest.raises(AnswerTooLarge):
        list(pull_posthog.pages(waited.peer, "17", START, NOW, 200))


@pytest.mark.parametrize(
    "document",
    [
        {"detail": "no"},
        {"results": [["a"]]},
        {"results": [["no uuid", "a", "2025-01-01T00:00:00Z", "p", "{}"]]},
        {"results": [event_row(7), event_row(3)]},
        "not an object",
    ],
)
def test_what_posthog_never_answers_ends_the_pull(
    stand_in: StandIn, waited: Waited, document: object
) -> None:
    stand_in.answer = lambda asked: Said(document=document)
    with pytest.raises(HistoryUnreadable):
        list(pull_posthog.pages(waited.peer, "17", START, NOW))


def test_limits_errors_and_cut_connections_are_waited_out(
    stand_in: StandIn, waited: Waited
) -> None:
    sound = posthog([event_row(1)])
    troubles = [
        Said(429, {"detail": "slow down"}, {"Retry-After": "7"}),
        Said(503, {}, {"Retry-After": "Fri, 02 Jan 2026 00:00:09 GMT"}),
        Said(502, None, {"Retry-After": "soon"}),
        Said(200, {"results": []}, cut=True),
    ]
    stand_in.answer = lambda asked: troubles.pop(0) if troubles else sound(asked)
    (page,) = pull_posthog.pages(waited.peer, "17", START, NOW)
    assert len(page.records) == 1
    assert waited.seconds[:3] == [7.0, 9.0, 2.0]
    assert len(waited.seconds) == 4


def test_patience_ends_and_a_refusal_is_final(stand_in: StandIn, waited: Waited) -> None:
    stand_in.answer = lambda asked: Said(500)
    with pytest.raises(PeerUnavailable, match="run the same command again"):
        list(pull_posthog.pages(waited.peer, "17", START, NOW))
    assert sum(waited.seconds) <= 100
    stand_in.answer = lambda asked: Said(403, {"detail": "the key lacks query:read"})
    with pytest.raises(PeerRefused, match="lacks query:read"):
        list(pull_posthog.pages(waited.peer, "17", START, NOW))
    # A redirect would take the token elsewhere.
    stand_in.answer = lambda asked: Said(302, None, {"Location": "http://127.0.0.1:1/"})
    with pytest.raises(PeerRefused, match="302"):
        list(pull_posthog.pages(waited.peer, "17", START, NOW))


def test_an_address_where_nobody_is_is_not_waited_for() -> None:
    with standing_in() as gone:
        url = gone.url
    with (
        Peer(
            url,
            "phx_theirs",
            sleep=lambda _: pytest.fail("waited"),
            clock=lambda: NOW,
            proxies=False,
        ) as peer,
        pytest.raises(PeerUnavailable, match="check the address"),
    ):
        peer.send("GET", "/")


def error_event(number: int, **more: Any) -> dict[str, Any]:
    """An event as GlitchTip's API shows it."""
    return {
        "id": f"{number:032x}",
        "eventID": f"{number:032x}",
        "groupID": "1",
        "dateCreated": f"2025-03-{number % 28 + 1:02d}T10:00:00Z",
        "title": "LookupError: no order",
        "culprit": "shop.orders in place",
        "platform": "python",
        "type": "error",
        "user": {"email": "ann@example.org"},
        "tags": [
            {"key": "service", "value": "shop-web"},
            {"key": "release", "value": "shop@1.4.2"},
            {"key": "level", "value": "error"},
        ],
        "contexts": {
            "trace": {"trace_id": "a" * 32, "span_id": "b" * 16},
            "device": {"name": "Ann's"},
        },
        "entries": [
            {"type": "request", "data": {"url": "https://shop.example/?email=ann@example.org"}},
            {
                "type": "exception",
                "data": {
                    "values": [
                        {
                            "type": "LookupError",
                            "value": "no order",
                            "stacktrace": {
                                "frames": [
                                    {
                                        "module": "shop.orders",
                                        "function": "place",
                                        "inApp": True,
                                        "vars": {"email": "ann@example.org"},
                                    }
                                ]
                            },
                        }
                    ]
                },
            },
        ],
        **more,
    }


def glitchtip(issues: dict[str, list[dict[str, Any]]]) -> Callable[[Asked], Said]:
    """GlitchTip's API with two to a page; its links name another server."""

    def answer(asked: Asked) -> Said:
        assert asked.method == "GET"
        assert asked.headers["authorization"] == "Bearer phx_theirs"
        if asked.path == "/api/0/organizations/acme/issues/":
            assert (asked.query["query"], asked.query["project"]) == ("", "3")
            found: list[Any] = [
                {"id": issue, "lastSeen": max(e["dateCreated"] for e in events)}
                for issue, events in issues.items()
            ]
        else:
            match = re.fullmatch(r"/api/0/issues/(\d+)/events/", asked.path)
            assert match
            found = list(issues[match[1]])
        start = int(asked.query.get("cursor", "0"))
        link = (
            f'<http://127.0.0.1:1{asked.path}?cursor=0>; rel="previous"; results="false"; '
            'cursor="0", '
            f'<http://127.0.0.1:1{asked.path}?x=1&cursor={start + 2}>; rel="next"; '
            f'results="{str(start + 2 < len(found)).lower()}"; cursor="{start + 2}"'
        )
        return Said(document=found[start : start + 2], headers={"Link": link})

    return answer


def test_glitchtip_is_read_issue_by_issue(stand_in: StandIn, waited: Waited) -> None:
    issues = {str(n): [error_event(n * 100 + e) for e in range(n)] for n in (5, 3, 1, 2)}
    old = [error_event(1, dateCreated="2024-12-31T10:00:00Z")]
    stand_in.answer = glitchtip({**issues, "9": [*issues["2"][:1], *old], "7": old})
    pages = list(pull_glitchtip.pages(waited.peer, "acme", Place(), SINCE, "3"))
    found = [
        json.loads(r.part)["event_id"] for p in pages for r in p.records if isinstance(r, Record)
    ]
    expected = [event["eventID"] for events in issues.values() for event in events]
    assert found == [*expected, issues["2"][0]["eventID"]]
    # Killed behind any page, another run goes on there.
    for number, page in enumerate(pages[:-1], 1):
        place = place_of(json.loads(json.dumps(page.place.document())))
        rest = list(pull_glitchtip.pages(waited.peer, "acme", place, SINCE, "3"))
        again = [[r.part for r in p.records if isinstance(r, Record)] for p in rest]
        assert again == [
            [r.part for r in p.records if isinstance(r, Record)] for p in pages[number:]
        ], number


def test_an_event_of_the_api_is_the_event_of_the_client(stand_in: StandIn, waited: Waited) -> None:
    stand_in.answer = glitchtip({"1": [error_event(1)]})
    (page,) = pull_glitchtip.pages(waited.peer, "acme", Place(), SINCE, "3")
    (record,) = page.records
    assert isinstance(record, Record)
    assert b"ann@example.org" not in record.part
    batch = EvidenceBatch(
        1, "sha256:0", "shop", "sentry.event", "application/json", 1, 10**18 * 2, "0" * 64
    )
    (event,) = events_of(record.part, batch)
    assert isinstance(event, Event)
    assert (event.event_id, event.kind, event.name) == (f"{1:032x}", "error", "LookupError")
    assert (event.service, event.release, event.trace_id) == ("shop-web", "1.4.2", "a" * 32)
    assert event.attributes["error.culprit"] == "shop.orders in place"
    assert event.time == int(datetime(2025, 3, 2, 10, tzinfo=UTC).timestamp()) * 10**9


def test_the_record_to_blame_is_found_and_the_others_delivered(
    stand_in: StandIn, waited: Waited
) -> None:
    taken: list[int] = []

    def answer(asked: Asked) -> Said:
        numbers = [event["n"] for event in json.loads(asked.body)["batch"]]
        if 3 in numbers or 6 in numbers:
            return Said(400, {"detail": "not this one"})
        taken.extend(numbers)
        return Said(document={"status": "Ok"})

    stand_in.answer = answer
    group = [Record(Kind.PRODUCT_EVENT, b'{"n":%d}' % n, n, n) for n in range(9)]
    result = deliver(waited.peer, [*group, Unreadable("no JSON", 5, 5)])
    assert result.records == 7
    assert [(item.place, item.reason) for item in result.refused] == [
        (3, "the server refuses it: not this one"),
        (5, "no JSON"),
        (6, "the server refuses it: not this one"),
    ]
    assert taken == [0, 1, 2, 4, 5, 7, 8]
    for status, what in ((401, "FRACTALOPS_INGEST_KEY"), (404, "no receiver for product-event")):
        stand_in.answer = lambda asked, status=status: Said(status)  # type: ignore[misc]
        with pytest.raises(PeerRefused, match=what):
            deliver(waited.peer, group)
