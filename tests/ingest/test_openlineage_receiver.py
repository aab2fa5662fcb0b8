"""OpenLineage's endpoints behind a real server: what clients are answered, and hostile senders."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import brotli
import httpx
import pytest

from ingest.errors import InboxFull
from ingest.inbox import Inbox
from ingest.openlineage_receiver import BATCH_PATH, LINEAGE_PATH
from ingest.receivers import DROPPED, ITEMS, REQUESTS
from ingest.sender import Sender
from tests.ingest.receiver_server import Box, Receivers, Server, receiving

SOURCE = "openlineage.event"
EVENT: dict[str, Any] = {
    "eventType": "START",
    "eventTime": "2026-11-22T12:00:00Z",
    "run": {"runId": "0197a000-0000-7000-8000-000000000001"},
    "job": {"namespace": "airflow", "name": "daily"},
}
BODY = json.dumps(EVENT).encode()
KEY = {"authorization": "Bearer foi_shop"}
PATHS = (LINEAGE_PATH, BATCH_PATH)


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    with receiving({"foi_shop": Sender("shop")}) as found:
        yield found


@pytest.fixture
def server(receivers: Receivers, inbox: Inbox) -> Iterator[Server]:
    with receivers.over(inbox) as found:
        found.client.headers.update(KEY)
        yield found


@pytest.fixture
def box(server: Server) -> Box:
    return server.box


@pytest.fixture
def client(server: Server) -> httpx.Client:
    return server.client


def dropped(reason: str) -> float:
    return float(DROPPED.labels(SOURCE, reason)._value.get())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("pack", "encoding"),
    [(bytes, ""), (gzip.compress, "gzip"), (brotli.compress, "br"), (gzip.compress, "")],
)
def test_every_way_to_send(
    client: httpx.Client, box: Box, path: str, pack: Callable[[bytes], bytes], encoding: str
) -> None:
    taken = ITEMS.labels(SOURCE)._value.get()
    headers = {"content-encoding": encoding} if encoding else {}
    answer = client.post(path, content=pack(BODY), headers=headers)
    assert answer.status_code == (201 if path == LINEAGE_PATH else 200)
    assert box.kept == [("shop", "daily")]
    assert ITEMS.labels(SOURCE)._value.get() == taken + 1


def test_a_single_event_is_answered_as_the_reference_backend_does(client: httpx.Client) -> None:
    answer = client.post(LINEAGE_PATH, content=BODY)
    assert (answer.status_code, answer.content) == (201, b"")


def test_a_batch_says_which_of_its_events_are_none(client: httpx.Client, box: Box) -> None:
    answer = client.post(BATCH_PATH, json=[EVENT, 17, {"job": {}}, EVENT])
    assert answer.status_code == 200
    document = answer.json()
    assert document["status"] == "partial_success"
    assert document["summary"] == {
        "received": 4,
        "successful": 2,
        "failed": 2,
        "retriable": 0,
        "non_retriable": 2,
    }
    assert [(failed["index"], failed["retriable"]) for failed in document["failed_events"]] == [
        (1, False),
        (2, False),
    ]
    assert [failed["reason"].partition(":")[0] for failed in document["failed_events"]] == [
        "not-an-object",
        "no-job-name",
    ]
    assert box.kept == [("shop", "daily")] * 2
    whole = client.post(BATCH_PATH, json=[EVENT]).json()
    assert (whole["status"], whole["failed_events"]) == ("success", [])


def test_a_batch_without_an_event_keeps_nothing(client: httpx.Client, box: Box) -> None:
    before = dropped("not-an-object")
    assert client.post(BATCH_PATH, json=[]).json()["summary"]["received"] == 0
    assert client.post(BATCH_PATH, json=[17]).json()["summary"]["failed"] == 1
    assert dropped("not-an-object") == before + 1
    assert box.inbox.last_seq == 0


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("authorization", ["", "Bearer foi_x", "Basic Zm9pX3Nob3A6"])
def test_a_wrong_key_is_told_where_the_right_one_goes(
    client: httpx.Client, box: Box, path: str, authorization: str
) -> None:
    answer = client.post(path, content=BODY, headers={"authorization": authorization})
    assert answer.status_code == 401
    assert "OPENLINEAGE_API_KEY" in answer.json()["detail"]
    assert box.inbox.last_seq == 0


def test_the_key_may_stand_in_our_own_header(client: httpx.Client, box: Box) -> None:
    headers = {"authorization": "", "x-fractalops-key": "foi_shop"}
    assert client.post(LINEAGE_PATH, content=BODY, headers=headers).status_code == 201
    assert box.kept == [("shop", "daily")]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "kind"),
    [
        (LINEAGE_PATH, b"", {}, 400, "payload-undecodable"),
        (LINEAGE_PATH, b"17", {}, 400, "payload-undecodable"),
        (LINEAGE_PATH, b"[]", {}, 400, "payload-undecodable"),
        (LINEAGE_PATH, b"{}", {}, 400, "payload-undecodable"),
        (LINEAGE_PATH, b'{"run":{},"job":{"name":"x"}}', {}, 400, "payload-undecodable"),
        (BATCH_PATH, b"[" * 200_000, {}, 400, "payload-undecodable"),
        (BATCH_PATH, b"[" + b"{}," * 10_000 + b"{}]", {}, 413, "body-too-large"),
        (LINEAGE_PATH, b"x", {"content-encoding": "gzip"}, 400, "body-corrupt"),
        (LINEAGE_PATH, BODY, {"content-encoding": "lzma"}, 415, "content-encoding-unsupported"),
        (LINEAGE_PATH, gzip.compress(bytes(50_000_000)), {}, 413, "body-too-large"),
    ],
)
def test_bad_requests_are_refused_and_counted(
    client: httpx.Client,
    box: Box,
    path: str,
    body: bytes,
    headers: dict[str, str],
    status: int,
    kind: str,
) -> None:
    counted = REQUESTS.labels("lineage", kind)._value
    before = counted.get()
    answer = client.post(path, content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"].endswith(f"/{kind}")
    assert counted.get() == before + 1
    assert box.inbox.last_seq == 0


@pytest.mark.parametrize("path", PATHS)
def test_a_full_disk_is_what_clients_try_again(client: httpx.Client, box: Box, path: str) -> None:
    box.failure = InboxFull("no room")
    answer = client.post(path, content=BODY)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
