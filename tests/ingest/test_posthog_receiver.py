"""PostHog's endpoints behind a real server: what clients are answered, and hostile senders."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from ingest.errors import InboxFull
from ingest.inbox import Inbox
from ingest.posthog_receiver import EVENT_PATHS, FLAGS_PATHS, RESULTS_PATH
from ingest.receivers import DROPPED, ITEMS, KEY_HEADER, REQUESTS
from ingest.sender import Sender
from tests.ingest.receiver_server import Receivers, Server, receiving

KEYS = {"foi_shop": Sender("shop"), "foi_other": Sender("other")}
SOURCE = "posthog.event"
EVENT = {"event": "e", "api_key": "foi_shop"}
TWO_KEYS = b'[{"event":"e","api_key":"foi_shop"},{"event":"e","api_key":"foi_other"}]'
MANY_VALUES = b'{"api_key":"foi_shop","batch":[' + b"1," * 3_000_000 + b"1]}"
ORIGIN = {"origin": "https://shop.example"}


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    with receiving(KEYS) as found:
        yield found


@pytest.fixture
def server(receivers: Receivers, inbox: Inbox) -> Iterator[Server]:
    with receivers.over(inbox, ORIGIN) as found:
        yield found


def outcomes(outcome: str) -> float:
    return float(REQUESTS.labels("product-events", outcome)._value.get())


def dropped(reason: str) -> float:
    return float(DROPPED.labels(SOURCE, reason)._value.get())


@pytest.mark.parametrize("path", EVENT_PATHS)
@pytest.mark.parametrize("slash", ["/", ""])
def test_every_way_to_capture(server: Server, path: str, slash: str) -> None:
    accepted, taken = outcomes("accepted"), ITEMS.labels(SOURCE)._value.get()
    answer = server.post(path.rstrip("/") + slash, {"batch": [EVENT, EVENT]})
    assert (answer.status_code, answer.content) == (200, b'{"status":"Ok"}')
    assert answer.headers["access-control-allow-origin"] == "*"
    assert server.kept == [("shop", "e")] * 2
    assert outcomes("accepted") == accepted + 1
    assert ITEMS.labels(SOURCE)._value.get() == taken + 2
    # Another connection to the file sees it: it was committed.
    other = Inbox(server.inbox.file.path)
    assert other.last_seq == 1
    other.close()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gzip.compress(json.dumps(EVENT).encode()), {"content_type": "text/plain"}),
        (gzip.compress(json.dumps(EVENT).encode()), {"content_encoding": "gzip"}),
        (
            urlencode({"data": json.dumps(EVENT)}).encode(),
            {"content_type": "application/x-www-form-urlencoded"},
        ),
        (json.dumps(EVENT).encode(), {"content_type": "x" * 5_000}),
    ],
)
def test_every_packing(server: Server, body: bytes, headers: dict[str, str]) -> None:
    assert server.post("/e/", body, **headers).status_code == 200
    assert server.kept == [("shop", "e")]
    assert len(server.inbox.pending(0, 1)[0].content_type) < 600


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/e/", {"event": "e", "api_key": "foi_other"}, {}),
        ("/e/", {"event": "e", "token": "foi_other"}, {}),
        ("/e/", {"event": "e", "properties": {"token": "foi_other"}}, {}),
        ("/e/", [{"event": "e", "properties": {"token": "foi_other"}}], {}),
        ("/e/", {"event": "e"}, {"authorization": "Bearer foi_other"}),
        ("/e/", {"event": "e"}, {KEY_HEADER: "foi_other"}),
        ("/e/?api_key=foi_other", {"event": "e"}, {}),
        ("/e/?token=foi_other", {"event": "e"}, {}),
        # What the headers say comes first.
        ("/e/", {"event": "e", "api_key": "foi_shop"}, {"authorization": "Bearer foi_other"}),
        (RESULTS_PATH, {"batch": [{"event": "e"}]}, {"authorization": "Bearer foi_other"}),
    ],
)
def test_the_key_decides_the_project(
    server: Server, path: str, body: object, headers: dict[str, str]
) -> None:
    assert server.post(path, body, **headers).status_code == 200
    assert server.kept == [("other", "e")]


@pytest.mark.parametrize("path", [*EVENT_PATHS, *FLAGS_PATHS, "/s/", RESULTS_PATH])
@pytest.mark.parametrize("key", [None, "", "wrong", "foi_" + "x" * 300, ["foi_shop"]])
def test_a_wrong_key_is_refused(server: Server, path: str, key: object) -> None:
    refused, gone = outcomes("ingest-key-refused"), dropped("session-replay")
    answer = server.post(path, {"batch": [{"event": "e"}], "api_key": key})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "fractalops projects create" in answer.json()["detail"]
    assert "wrong" not in answer.text
    assert server.inbox.last_seq == 0
    assert outcomes("ingest-key-refused") == refused + 1
    assert dropped("session-replay") == gone


LARGE_EVENT = {"event": "e", "properties": {"token": "of a form", "text": "x" * 400_000}}


def test_a_large_body_without_a_key_is_not_parsed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.posthog_receiver.parse", pytest.fail)
    for body in (
        json.dumps([LARGE_EVENT, {"event": "e", "api_key": "wrong"}]).encode(),
        urlencode({"data": json.dumps(LARGE_EVENT)}).encode(),
        b"[" * 1_000_000,
        b'{"api_key":' * 100_000,
        json.dumps([{"api_key": str(number)} for number in range(100_000)]).encode(),
    ):
        assert server.post("/e/", body).status_code == 401
    assert server.post("/e/", b"\xff" * 1_000_000).status_code == 400


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/e/", {"batch": [LARGE_EVENT], "api_key": "foi_other"}, {}),
        ("/e/", [{"event": "e", "text": "x" * 400_000, "api_key": "foi_other"}], {}),
        ("/e/?token=foi_other", [{"event": "e", "text": "x" * 400_000}], {}),
        ("/e/", LARGE_EVENT, {"authorization": "Bearer foi_other"}),
        ("/e/", urlencode({"data": json.dumps(LARGE_EVENT | {"token": "foi_other"})}), {}),
    ],
)
def test_a_large_body_with_a_key(
    server: Server, path: str, body: object, headers: dict[str, str]
) -> None:
    sent = body.encode() if isinstance(body, str) else body
    answer = server.post(path, sent, **headers)
    assert answer.status_code == 200, answer.text
    assert {project for project, _ in server.kept} == {"other"}


def test_a_wrong_key_in_a_header_is_refused_before_the_body_is_read(server: Server) -> None:
    answer = server.post("/e/", b"{", authorization="Bearer wrong")
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("body", "headers", "status", "kind"),
    [
        (b"", {}, 400, "payload-undecodable"),
        (b"{", {}, 400, "payload-undecodable"),
        (b"[" * 100_000, {}, 400, "payload-undecodable"),
        (b'{"api_key":"foi_shop","a":' * 20_000, {}, 400, "payload-undecodable"),
        (b'{"api_key":"foi_shop","batch":[]}', {}, 400, "payload-undecodable"),
        (b'{"api_key":"foi_shop","batch":[7,{}]}', {}, 400, "payload-undecodable"),
        (TWO_KEYS, {}, 400, "payload-undecodable"),
        (b"not gzip", {"content_encoding": "gzip"}, 400, "body-corrupt"),
        (gzip.compress(b"x" * 99)[:-9], {}, 400, "body-corrupt"),
        (b"{}", {"content_encoding": "lzma"}, 415, "content-encoding-unsupported"),
        (bytes(20 * 2**20 + 1), {}, 413, "body-too-large"),
        (gzip.compress(bytes(50_000_000)), {}, 413, "body-too-large"),
        (gzip.compress(bytes(50_000_000)), {"content_encoding": "gzip"}, 413, "body-too-large"),
        (gzip.compress(MANY_VALUES), {}, 413, "body-too-large"),
    ],
)
def test_bad_requests_are_refused_and_counted(
    server: Server, body: bytes, headers: dict[str, str], status: int, kind: str
) -> None:
    before = outcomes(kind)
    answer = server.post("/batch/", body, **headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json()["type"].endswith(f"/{kind}")
    assert answer.json()["detail"]
    assert server.inbox.last_seq == 0
    assert outcomes(kind) == before + 1


@pytest.mark.parametrize("path", ["/batch/", RESULTS_PATH])
def test_a_full_disk_tells_the_client_when_to_try_again(
    server: Server, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.box.failure = InboxFull("no room")
    answer = server.post(path, {"api_key": "foi_shop", "batch": [EVENT]})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["access-control-expose-headers"] == "Retry-After"
    server.box.failure = None
    assert server.post(path, {"api_key": "foi_shop", "batch": [EVENT]}).status_code == 200


def test_bad_items_do_not_take_their_neighbours_with_them(server: Server) -> None:
    answer = server.post(
        "/batch/", {"api_key": "foi_shop", "batch": [7, {"event": "good"}, {}, None]}
    )
    assert answer.json() == {"status": "Ok"}
    assert server.kept == [("shop", "good")]


def test_results_are_told_event_by_event(server: Server) -> None:
    batch = [
        {"event": "good", "uuid": "u1"},
        {"event": "", "uuid": "u2"},
        {"event": "$snapshot", "uuid": "u3"},
        {"event": "without"},
        {"event": "odd", "uuid": 7},
        8,
    ]
    answer = server.post(RESULTS_PATH, {"batch": batch}, authorization="Bearer foi_shop")
    assert answer.json() == {
        "results": {
            "u1": {"result": "ok"},
            "u2": {"result": "drop", "details": "no-event-name"},
            "u3": {"result": "drop", "details": "session-replay"},
        }
    }
    assert server.kept == [("shop", "good"), ("shop", "without"), ("shop", "odd")]
    before = dropped("no-event-name")
    answer = server.post(RESULTS_PATH, {"batch": batch[1:2]}, authorization="Bearer foi_shop")
    assert answer.json()["results"]["u2"]["result"] == "drop"
    assert dropped("no-event-name") == before + 1
    assert server.inbox.last_seq == 1


@pytest.mark.parametrize("path", ["/s/", "/s", "/e/", "/batch/"])
def test_recordings_are_dropped_and_counted(server: Server, path: str) -> None:
    before = dropped("session-replay")
    recording = {"event": "$snapshot", "properties": {"token": "foi_shop", "$snapshot_data": [1]}}
    answer = server.post(path, [recording, recording])
    assert (answer.status_code, answer.json()) == (200, {"status": "Ok"})
    assert dropped("session-replay") == before + 2
    assert server.inbox.last_seq == 0


@pytest.mark.parametrize("path", ["/flags/?v=4", "/flags?v=2", "/decide/?v=3"])
def test_no_flags_are_known(server: Server, path: str) -> None:
    answer = server.post(path, {"token": "foi_shop", "distinct_id": "ann"})
    assert answer.status_code == 200
    found = answer.json()
    assert (found["flags"], found["featureFlags"]) == ({}, {})
    assert found["errorsWhileComputingFlags"] is True
    assert "no PostHog is configured" in found["detail"]
    assert server.inbox.last_seq == 0


def test_a_browser_is_configured_to_send_events_alone(server: Server) -> None:
    answer = server.client.get("/array/foi_shop/config", headers=ORIGIN)
    config = answer.json()
    assert config["analytics"]["endpoint"] in EVENT_PATHS
    assert not any(
        config[name]
        for name in ("sessionRecording", "hasFeatureFlags", "surveys", "heatmaps", "siteApps")
    )
    assert answer.headers["access-control-allow-origin"] == "*"


def test_the_script_holds_what_it_is_asked_with_safely(server: Server) -> None:
    for key in ("foi_shop", "%3C%2Fscript%3E%22]=alert(1)", "a%27%22%0A"):
        answer = server.client.get(f"/array/{key}/config.js")
        if answer.status_code == 404:
            # A slash makes another path of it.
            assert "%2F" in key
            continue
        assert answer.headers["content-type"].startswith("application/javascript")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "<" not in answer.text
        literal = answer.text.partition("all[")[2].partition("]={config:")[0]
        assert json.loads(literal)


@pytest.mark.parametrize("path", [*EVENT_PATHS, "/e", RESULTS_PATH, *FLAGS_PATHS, "/s/"])
def test_pages_of_any_origin_may_send(server: Server, path: str) -> None:
    wanted = "content-type,x-posthog-session-id, traceparent"
    asked = {
        "access-control-request-method": "POST",
        "access-control-request-headers": wanted,
    }
    answer = server.client.options(path, headers=ORIGIN | asked)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == wanted
    assert "POST" in answer.headers["access-control-allow-methods"]
    asked["access-control-request-headers"] = "not; a <list>"
    answer = server.client.options(path, headers=ORIGIN | asked)
    assert answer.headers["access-control-allow-headers"].startswith("authorization, ")
