"""PostHog's own client on its default settings, against a real server."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import posthog
import pytest
from posthog import Posthog

from ontology.vocab import FO, Fo, Rdfs

if TYPE_CHECKING:
    from tests.live.conftest import Serve, Server

pytestmark = pytest.mark.live

ANN = "ann@example.org"
SECRETS = (ANN, "Ann Smith", "198.51.100.7", "4111111111111111", "sid=opened", "acme-gmbh")
SUPER = {"service": "shop-web", "release": "1.4.2", "environment": "staging"}


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve(None, "--steward-seconds", "0.2").start()


@pytest.fixture
def settings(server: Server) -> dict[str, str]:
    """What creating a project says of PostHog."""
    found: dict[str, str] = server.post("/projects", {"slug": "shop"})["posthog"]
    assert found["POSTHOG_HOST"] == server.url
    return found


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What the client logs as a warning or worse; there must be none at the end."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener = Listener(logging.WARNING)
    logging.getLogger("posthog").addHandler(listener)
    yield said
    logging.getLogger("posthog").removeHandler(listener)
    assert said == []


def product(client: Posthog) -> None:
    """One visit to the shop, with a person's data in every place where it may be."""
    client.set(distinct_id=ANN, properties={"email": ANN, "name": "Ann Smith"})
    client.alias("visitor-17", ANN)
    client.group_identify("company", "acme-gmbh", {"name": "acme-gmbh", "email": ANN})
    client.capture(
        "$pageview",
        distinct_id=ANN,
        properties={
            "$current_url": f"https://ann:secret@shop.example/orders/17?mail={ANN}&sid=opened#top",
            "$ip": "198.51.100.7",
        },
    )
    client.capture(
        "order placed",
        distinct_id=ANN,
        properties={
            "total": 12.5,
            "paid": True,
            "lines": [{"sku": "tea", "customer_name": "Ann Smith"}],
            "note": f"for {ANN}",
            "cardNumber": "4111111111111111",
            "$set": {"email": ANN},
        },
    )
    with posthog.new_context(client=client):
        posthog.identify_context(ANN)
        posthog.set_context_session("session-1")
        client.capture("order 4711 shipped")
        try:
            raise LookupError(f"no order of {ANN}")
        except LookupError as error:
            client.capture_exception(error)


@pytest.mark.parametrize("mode", ["v0", "v1"])
def test_the_official_client(
    server: Server, settings: dict[str, str], complaints: list[str], mode: str
) -> None:
    # The second way is what the client is about to change to; the first one is its default.
    chosen: dict[str, Any] = {} if mode == "v0" else {"capture_mode": mode}
    client = Posthog(
        settings["POSTHOG_PROJECT_API_KEY"],
        host=settings["POSTHOG_HOST"],
        super_properties=SUPER,
        on_error=lambda error, items: complaints.append(str(error)),
        **chosen,
    )
    product(client)
    assert client.get_all_flags(ANN) == {}
    client.shutdown()
    server.settle()

    rows = server.facts(
        "SELECT name, class, rule, subject, session, status FROM events"
        " WHERE source = 'posthog.event' ORDER BY name"
    )
    kinds = {row[0]: tuple(row[1:4]) for row in rows}
    event_type = Fo.ProductEventType
    minted = server.ids.product_event_type
    assert kinds == {
        "$create_alias": (
            event_type,
            Fo.rule_product_identity,
            minted("shop", "$create_alias"),
        ),
        "$exception": (event_type, Fo.rule_product_exception, minted("shop", "$exception")),
        "$groupidentify": (
            event_type,
            Fo.rule_product_identity,
            minted("shop", "$groupidentify"),
        ),
        "$pageview": (Fo.Page, Fo.rule_product_page, server.ids.page("shop", "/orders/{id}")),
        "$set": (event_type, Fo.rule_product_identity, minted("shop", "$set")),
        "order 4711 shipped": (
            event_type,
            Fo.rule_product_custom,
            minted("shop", "order {id} shipped"),
        ),
        "order placed": (event_type, Fo.rule_product_custom, minted("shop", "order placed")),
    }
    assert {row[0] for row in rows if row[4] == "session-1"} == {"$exception", "order 4711 shipped"}
    assert [row[0] for row in rows if row[5] == "error"] == ["$exception"]
    assert server.facts(
        "SELECT DISTINCT project, source, service, release, environment, kind FROM events"
    ) == [["shop", "posthog.event", "shop-web", "1.4.2", "staging", ""]]
    assert server.facts(
        "SELECT attributes['total'], attributes['paid'], attributes['lines'], attributes['note']"
        " FROM events WHERE name = 'order placed'"
    ) == [["12.5", "true", '[{"sku": "tea"}]', "for [redacted]"]]
    assert server.facts(
        "SELECT attributes['$current_url'] FROM events WHERE name = '$pageview'"
    ) == [["https://shop.example/orders/17"]]
    assert server.facts(
        "SELECT attributes['exception.type'] FROM events WHERE name = '$exception'"
    ) == [["LookupError"]]
    # One person, called by one pseudonym, wherever she was named.
    assert server.facts(
        "SELECT uniqExact(attributes['fractalops.person']) FROM events"
        " WHERE name NOT IN ('$create_alias', '$groupidentify')"
    ) == [[1]]
    said = str(server.facts("SELECT * FROM events"))
    assert [secret for secret in SECRETS if secret in said] == []
    # The client's clock is this machine's.
    assert server.facts("SELECT max(abs(dateDiff('second', time, now()))) < 300 FROM events") == [
        [1]
    ]
    assert server.metric("fractalops_ingest_items_total", source="posthog.event") == len(rows)


def test_no_person_is_on_the_disk_in_plain(
    server: Server, settings: dict[str, str], complaints: list[str]
) -> None:
    client = Posthog(settings["POSTHOG_PROJECT_API_KEY"], host=server.url)
    product(client)
    client.shutdown()
    server.settle()
    server.stop()
    found = [
        (str(path.relative_to(server.data)), secret)
        for path in sorted(Path(server.data).rglob("*"))
        if path.is_file()
        for secret in SECRETS
        if secret.encode() in path.read_bytes()
    ]
    assert found == []


def test_a_resend_counts_once(
    server: Server, settings: dict[str, str], complaints: list[str]
) -> None:
    client = Posthog(settings["POSTHOG_PROJECT_API_KEY"], host=server.url)
    uuid = str(uuid4())
    for _ in range(3):
        client.capture("order placed", distinct_id=ANN, uuid=uuid)
        client.flush()
    client.shutdown()
    server.settle()
    assert server.get("/status")["inbox"]["batches"] == 3
    assert server.facts("SELECT event_id FROM events") == [[uuid]]


def test_steady_product_events_are_knowledge_once(
    server: Server, settings: dict[str, str], complaints: list[str]
) -> None:
    head = server.head
    client = Posthog(settings["POSTHOG_PROJECT_API_KEY"], host=server.url, super_properties=SUPER)
    heads = []
    for _ in range(3):
        product(client)
        client.flush()
        server.settle()
        heads.append(server.head)
    client.shutdown()
    assert head < heads[0] == heads[1] == heads[2]
    labels = f"SELECT ?label {{ ?type a <{Fo.ProductEventType}> ; <{Rdfs.label}> ?label }}"
    assert ("order placed",) in server.select(labels)
    paths = f"SELECT ?path {{ ?page a <{Fo.Page}> ; <{Fo.path}> ?path }}"
    assert ("/orders/{id}",) in server.select(paths)
    (steward,) = server.get("/stewards")["items"]
    assert not steward.get("problem"), steward


def test_a_wrong_key_is_told_and_keeps_nothing(server: Server, settings: dict[str, str]) -> None:
    errors: list[Any] = []
    client = Posthog(
        "foi_wrong", host=server.url, on_error=lambda error, items: errors.append(error)
    )
    client.capture("order placed", distinct_id=ANN)
    client.shutdown()
    assert [error.status for error in errors] == [401]
    assert "fractalops projects create" in str(errors[0])
    assert server.get("/status")["inbox"]["batches"] == 0
    assert server.problems("ingest-key-refused") == 1


def test_a_browser_may_send(server: Server, settings: dict[str, str]) -> None:
    key = settings["POSTHOG_PROJECT_API_KEY"]
    origin = {"Origin": "https://shop.example"}
    with server.client(anonymous=True) as client:
        asked = client.options(
            "/e/",
            headers=origin
            | {
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "content-type, x-posthog-session-id",
            },
        )
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == "*"
        assert "x-posthog-session-id" in asked.headers["access-control-allow-headers"]
        config = client.get(f"/array/{key}/config", headers=origin)
        assert config.json()["sessionRecording"] is False
        script = client.get(f"/array/{key}/config.js", headers=origin)
        assert script.headers["content-type"].startswith("application/javascript")
        event = {
            "event": "$pageview",
            "uuid": str(uuid4()),
            "properties": {"distinct_id": "v1", "token": key, "$session_id": "s"},
        }
        sent = client.post("/e/", json=[event], headers=origin)
        recording = client.post("/s/", json={"api_key": key, "event": "$snapshot"}, headers=origin)
    for answer in (config, script, sent, recording):
        assert answer.headers["access-control-allow-origin"] == "*"
    assert [(a.status_code, a.json()) for a in (sent, recording)] == [(200, {"status": "Ok"})] * 2
    server.settle()
    # A page view that says of no page is an event like others.
    assert server.facts("SELECT class, rule, session FROM events") == [
        [Fo.ProductEventType, f"{FO}rule-product-standard", "s"]
    ]
    dropped = server.metric(
        "fractalops_ingest_dropped_total", reason="session-replay", source="posthog.event"
    )
    assert dropped == 1


def test_a_path_without_its_last_slash(server: Server, settings: dict[str, str]) -> None:
    body = {"api_key": settings["POSTHOG_PROJECT_API_KEY"], "event": "e"}
    answer = httpx.post(f"{server.url}/i/v0/e", json=body, trust_env=False)
    assert answer.json() == {"status": "Ok"}
