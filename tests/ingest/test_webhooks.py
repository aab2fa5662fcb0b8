"""PostHog's and GlitchTip's webhooks: the calls as documented, behind the routes and decoded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pyoxigraph import RdfFormat, parse

from graph_api import telemetry
from ingest.classify import Classifier, rules_from_quads
from ingest.decoders import decoders
from ingest.errors import BodyError, PayloadError
from ingest.events import Event
from ingest.evidence import EvidenceBatch
from ingest.glitchtip_alert import ALERT, events_of
from ingest.inbox import Inbox
from ingest.pseudonyms import Pseudonyms
from ingest.sender import Sender
from ingest.sentry_issue import issue_of
from ontology.ids import Ids
from ontology.vocab import Fo

KEY = "foi_" + "K" * 43
ANN = "ann@example.org"
MINUTE = 60 * 10**9

CALL = {
    "event": {
        "uuid": "01890000-0000-7000-8000-000000000001",
        "event": "order placed",
        "distinct_id": ANN,
        "properties": {"service": "shop-web", "token": "phc_theirs", "$session_id": "s1"},
        "elements_chain": f"button:text='{ANN}'",
        "timestamp": "2026-01-01T10:00:00Z",
        "url": f"https://eu.posthog.com/events/{ANN}",
    },
    "person": {"id": "p1", "name": ANN, "properties": {"email": ANN}},
}


def alert(title: str, text: str, link: str, **fields: str) -> dict[str, Any]:
    """An attachment as GlitchTip spells it."""
    return {
        "title": title,
        "title_link": link,
        "text": text,
        "image_url": None,
        "color": "#e52b50",
        "fields": [{"title": t, "value": v, "short": True} for t, v in fields.items()],
        "mrkdown_in": ["text"],
    }


def message(*attachments: Any) -> dict[str, Any]:
    return {
        "alias": "GlitchTip",
        "text": "GlitchTip Alert",
        "attachments": list(attachments),
        "sections": [
            {"activityTitle": ANN, "activitySubtitle": "[View Issue](https://gt.example)"}
        ],
    }


EXCEPTION = alert(
    f"LookupError: no order of {ANN}",
    "shop.orders in place",
    f"https://gt.example/acme/issues/123?mail={ANN}",
    Project="shop",
    Environment="staging",
    Release="shop-web@1.4.2",
)
MESSAGE = alert("Payment: declined 4711", "/orders/17", "https://gt.example/acme/issues/124")
DOWN = alert(
    "shop.example", "The monitored site has gone down.", "https://gt.example/acme/uptime-monitors/5"
)
UP = alert(
    "shop.example", "The monitored site is back up.", "https://gt.example/acme/uptime-monitors/5"
)

Post = Callable[..., httpx.Response]


@pytest.fixture
def post(inbox: Inbox) -> Post:
    """Calls the routes; ``document`` is JSON or bytes."""
    app = FastAPI()
    senders = {KEY: Sender("shop", "k1")}
    telemetry.add_routes(app, inbox, senders.get, otlp_bytes=1024)

    async def call(path: str, document: Any, headers: dict[str, str]) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            return await client.post(path, content=body, headers=headers)

    return lambda path, document, **headers: asyncio.run(
        call(path, document, {name.replace("_", "-"): value for name, value in headers.items()})
    )


def kept(inbox: Inbox) -> list[Event]:
    """The events of everything in the inbox, as the pump decodes them."""
    known = decoders(Pseudonyms(b"k" * 32))
    return [
        item
        for batch in inbox.pending(0, 1000)
        for item in known[batch.source](inbox.payload(batch.seq), batch)
        if isinstance(item, Event)
    ]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/webhooks/posthog", {"x_fractalops_key": KEY}),
        ("/webhooks/posthog", {"authorization": f"Bearer {KEY}"}),
        (f"/webhooks/posthog?key={KEY}", {}),
        (f"/webhooks/posthog/{KEY}", {}),
    ],
)
def test_posthog_calls_with_the_key_anywhere(
    post: Post, inbox: Inbox, path: str, headers: dict[str, str]
) -> None:
    assert post(path, CALL, **headers).json() == {"status": "Ok"}
    (event,) = kept(inbox)
    assert (event.project, event.source, event.event_id) == (
        "shop",
        "posthog.event",
        "01890000-0000-7000-8000-000000000001",
    )
    assert (event.name, event.service, event.session) == ("order placed", "shop-web", "s1")
    assert event.time == 1_767_261_600 * 10**9
    assert ANN not in repr(event)
    # What the client itself sends is the same event.
    own = {**CALL["event"], "api_key": KEY}
    assert post("/e/", own, authorization=f"Bearer {KEY}").status_code == 200
    assert {event.event_id for event in kept(inbox)} == {event.event_id}


@pytest.mark.parametrize(
    ("path", "document", "status", "said"),
    [
        ("/webhooks/posthog", CALL, 401, "x-fractalops-key"),
        ("/webhooks/posthog/foi_other", CALL, 401, "x-fractalops-key"),
        ("/webhooks/glitchtip", message(EXCEPTION), 401, "/webhooks/glitchtip/KEY"),
        (f"/webhooks/posthog/{KEY}", {"event": {}}, 400, "PostHog's webhook"),
        (f"/webhooks/posthog/{KEY}", b"{", 400, "not JSON"),
        (f"/webhooks/glitchtip/{KEY}", b"text", 400, "`attachments`"),
        (f"/webhooks/glitchtip/{KEY}", {"text": "hello"}, 400, "`attachments`"),
        (f"/webhooks/glitchtip/{KEY}", message(), 400, "`attachments`"),
        (f"/webhooks/glitchtip/{KEY}", message({"text": "a"}, 7), 400, "`attachments`"),
        (f"/webhooks/glitchtip/{KEY}", message(*[EXCEPTION] * 1001), 413, "1000 alerts"),
    ],
)
def test_what_is_refused_is_told_and_not_kept(
    post: Post, inbox: Inbox, path: str, document: Any, status: int, said: str
) -> None:
    answer = post(path, document)
    assert answer.status_code == status
    assert said in answer.json()["detail"]
    assert KEY not in answer.text
    assert inbox.counts().batches == 0


def test_an_alert_about_an_exception_is_about_its_issue(post: Post, inbox: Inbox) -> None:
    path = f"/webhooks/glitchtip/{KEY}"
    assert post(path, message(EXCEPTION, "no alert", MESSAGE)).status_code == 200
    first, second = kept(inbox)
    assert (first.source, first.kind, first.name) == ("sentry.event", "alert", "LookupError")
    assert (first.status, first.release, first.environment) == ("error", "1.4.2", "staging")
    reported = {
        "exception": {"values": [{"type": "LookupError", "value": f"no order of {ANN}"}]},
        "transaction": "shop.orders in place",
    }
    assert dict(first.attributes) == {
        "alert.about": "issue",
        "alert.id": "123",
        "alert.link": "https://gt.example/acme/issues/123",
        "alert.organisation": "acme",
        "alert.project": "shop",
        "release.package": "shop-web",
        "error.issue": issue_of(reported).key,
        "error.culprit": "shop.orders in place",
        "exception.type": "LookupError",
    }
    assert (second.name, second.attributes["error.culprit"]) == (
        "Payment: declined {id}",
        "/orders/{id}",
    )
    assert "error.issue" not in second.attributes
    turtle = (files("ontology") / "rules.ttl").read_bytes()
    rules = rules_from_quads(parse(turtle, RdfFormat.TURTLE))
    classified = [Classifier(rules, Ids()).classify(event) for event in (first, second)]
    assert [event.event_class for event in classified] == [Fo.ErrorIssue, ""]


def test_a_monitor_is_told_by_its_link(post: Post, inbox: Inbox) -> None:
    post(f"/webhooks/glitchtip/{KEY}", message(DOWN, UP))
    down, up = kept(inbox)
    assert (down.status, up.status) == ("error", "ok")
    assert down.attributes["alert.about"] == "monitor"
    assert (down.attributes["alert.id"], up.name) == ("5", "shop.example")
    assert "error.issue" not in down.attributes


def test_an_alert_is_known_by_what_it_says_and_its_minute(post: Post, inbox: Inbox) -> None:
    post(f"/webhooks/glitchtip/{KEY}", message(EXCEPTION))
    (batch,) = inbox.pending(0, 1)
    payload = inbox.payload(batch.seq)
    identifiers = []
    for later in (0, MINUTE - 1, MINUTE):
        moved = replace(batch, received_at=30 * MINUTE + later)
        (event,) = events_of(payload, moved)
        assert isinstance(event, Event)
        identifiers.append(event.event_id)
    assert identifiers[0] == identifiers[1] != identifiers[2]
    assert batch.content_type == ALERT


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["attachments", "title", "title_link", "text", "fields", "value"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_no_payload_breaks_the_decoder(document: Any) -> None:
    batch = EvidenceBatch(1, "sha256:0", "shop", "sentry.event", ALERT, 1, MINUTE, "0" * 64)
    for said in (document, message(document, {"title": "a", "fields": document})):
        try:
            found = list(events_of(json.dumps(said).encode(), batch))
        except (PayloadError, BodyError):
            continue
        assert found
