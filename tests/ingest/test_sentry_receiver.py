"""Sentry's endpoints behind a real server: what clients are answered, and hostile senders."""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable, Iterator

import brotli
import pytest

from ingest.errors import InboxFull
from ingest.inbox import Inbox
from ingest.receivers import DROPPED, ITEMS, REQUESTS
from ingest.sender import Sender
from ingest.sentry_dsn import dsn, ingest_key, public_key
from ingest.sentry_envelope import dsn_key
from runtime.access import KEY_PREFIX
from tests.ingest.receiver_server import Receivers, Server, receiving

KEY = KEY_PREFIX + base64.urlsafe_b64encode(bytes([251, 255]) * 16).rstrip(b"=").decode()
KEYS = {"foi_shop": Sender("shop"), KEY: Sender("other")}
SOURCE = "sentry.event"
ID = "9ec79c33ec9942ab8353589fcb2e04dc"
EVENT = b'{"event_id":"%s","message":"m"}' % ID.encode()
ITEM = b'{"type":"event","length":%d}\n%s\n' % (len(EVENT), EVENT)
ENVELOPE = b'{"event_id":"%s"}\n' % ID.encode() + ITEM
WITH_DSN = b'{"dsn":"http://%s@h/7"}\n' + ITEM
AUTH = {"x-sentry-auth": "Sentry sentry_key=foi_shop, sentry_version=7, sentry_client=x/1"}
PATHS = ("/api/1/envelope/", "/api/1/envelope", "/api/1/store/", "/api/1/store")
TRACES = "/api/1/integration/otlp/v1/traces/"


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    with receiving(KEYS) as found:
        yield found


@pytest.fixture
def server(receivers: Receivers, inbox: Inbox) -> Iterator[Server]:
    with receivers.over(inbox, {"origin": "https://shop.example"}) as found:
        yield found


def outcomes(outcome: str) -> float:
    return float(REQUESTS.labels("errors", outcome)._value.get())


def dropped(reason: str) -> float:
    return float(DROPPED.labels(SOURCE, reason)._value.get())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, brotli.compress, zlib.compress])
def test_every_way_to_send(server: Server, path: str, pack: Callable[[bytes], bytes]) -> None:
    encodings = {gzip.compress: "gzip", brotli.compress: "br", zlib.compress: "deflate"}
    taken = ITEMS.labels(SOURCE)._value.get()
    body = pack(EVENT if "store" in path else ENVELOPE)
    encoding = encodings.get(pack)
    answer = server.post(path, body, AUTH | ({"content-encoding": encoding} if encoding else {}))
    assert (answer.status_code, answer.json()) == (200, {"id": ID})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert server.kept == [("shop", "m")]
    assert ITEMS.labels(SOURCE)._value.get() == taken + 1
    # Another connection to the file sees it: it was committed.
    other = Inbox(server.inbox.file.path)
    assert other.last_seq == 1
    other.close()


@pytest.mark.parametrize("key", [KEY, public_key(KEY)])
@pytest.mark.parametrize(
    ("query", "headers", "body"),
    [
        ("", {"x-sentry-auth": "Sentry sentry_version=7, sentry_key={}"}, ENVELOPE),
        ("", {"authorization": "Sentry sentry_key={},sentry_version=7"}, ENVELOPE),
        ("?sentry_version=7&sentry_key={}&sentry_client=x", {}, ENVELOPE),
        ("", {}, WITH_DSN),
        # What stands outside of the body comes first.
        ("?sentry_key={}", {}, WITH_DSN.replace(b"%s", b"foi_shop")),
    ],
)
def test_the_key_decides_the_project(
    server: Server, query: str, headers: dict[str, str], body: bytes, key: str
) -> None:
    named = {name: value.format(key) for name, value in headers.items()}
    body = body.replace(b"%s", key.encode())
    for number in ("1", "4711", "anything"):
        answer = server.post(f"/api/{number}/envelope/{query.format(key)}", body, named)
        assert answer.status_code == 200
    assert server.kept == [("other", "m")] * 3


def test_a_dsn_and_its_key() -> None:
    made = dsn("https://graph.example:8443/platform/", KEY)
    assert made.startswith(f"https://{KEY_PREFIX}")
    assert made.endswith("@graph.example:8443/platform/1")
    # What browsers' clients take for a key.
    assert dsn_key(made).replace("_", "").isalnum()
    assert "-" in KEY
    assert ingest_key(dsn_key(made)) == KEY


@pytest.mark.parametrize("path", [*PATHS, TRACES])
@pytest.mark.parametrize("key", ["", "wrong", "foi_" + "x" * 500, "foi_" + "0" * 64])
def test_a_wrong_key_is_refused(server: Server, path: str, key: str) -> None:
    body = b"" if path == TRACES else EVENT if "store" in path else ENVELOPE
    headers = {"content-type": "application/x-protobuf"}
    answer = server.post(path, body, headers | {"x-sentry-auth": f"Sentry sentry_key={key}"})
    assert answer.status_code == 403
    assert "fractalops projects create" in answer.text
    assert "wrong" not in answer.text
    assert server.inbox.last_seq == 0


def test_a_wrong_key_in_a_header_is_refused_before_the_body_is_read(server: Server) -> None:
    before = outcomes("ingest-key-refused")
    assert server.post("/api/1/envelope/?sentry_key=wrong", b"{").status_code == 403
    assert outcomes("ingest-key-refused") == before + 1


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "kind"),
    [
        (PATHS[0], b"", {}, 400, "payload-undecodable"),
        (PATHS[0], b"[", {}, 400, "payload-undecodable"),
        (PATHS[0], b"[" * 200_000, {}, 400, "payload-undecodable"),
        (PATHS[0], b"\xff\x00\n", {}, 400, "payload-undecodable"),
        (PATHS[2], b'{"a":' * 200_000, {}, 400, "payload-undecodable"),
        (PATHS[2], b"[]", {}, 400, "payload-undecodable"),
        (PATHS[0], b"x", {"content-encoding": "gzip"}, 400, "body-corrupt"),
        (PATHS[0], b"{}", {"content-encoding": "lzma"}, 415, "content-encoding-unsupported"),
        (PATHS[0], bytes(20 * 2**20 + 1), {}, 413, "body-too-large"),
        (PATHS[0], gzip.compress(bytes(50_000_000)), {}, 413, "body-too-large"),
        (PATHS[0], b"{}\n" + b'{"type":"x"}\n\n' * 200_000, {}, 413, "body-too-large"),
        (PATHS[2], base64.b64encode(zlib.compress(bytes(50_000_000))), {}, 413, "body-too-large"),
    ],
)
def test_bad_requests_are_refused_and_counted(
    server: Server, path: str, body: bytes, headers: dict[str, str], status: int, kind: str
) -> None:
    before = outcomes(kind)
    answer = server.post(path, body, AUTH | headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json()["type"].endswith(f"/{kind}")
    assert server.inbox.last_seq == 0
    assert outcomes(kind) == before + 1


def test_a_full_disk_tells_the_client_to_pause(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.box.failure = InboxFull("no room")
    answer = server.post(PATHS[0], ENVELOPE, AUTH)
    assert answer.status_code == 503
    seconds = answer.headers["retry-after"]
    assert int(seconds) > 0
    assert answer.headers["x-sentry-rate-limits"] == f"{seconds}::organization"
    assert "X-Sentry-Rate-Limits" in answer.headers["access-control-expose-headers"]
    server.box.failure = None
    answer = server.post(PATHS[0], ENVELOPE, AUTH)
    assert answer.status_code == 200
    assert "x-sentry-rate-limits" not in answer.headers


def test_what_is_no_event_is_counted_and_not_kept(server: Server) -> None:
    before = dropped("client-report")
    answer = server.post(PATHS[0], b'{}\n{"type":"client_report"}\n{}\n', AUTH)
    assert (answer.status_code, answer.json()) == (200, {})
    assert dropped("client-report") == before + 1
    assert server.post(PATHS[0], b"{}\n", AUTH).status_code == 200
    assert server.inbox.last_seq == 0
    assert server.post(PATHS[0], ENVELOPE + b'{"type":"client_report"}\n{}', AUTH).is_success
    assert server.kept == [("shop", "m")]


@pytest.mark.parametrize("path", [TRACES, TRACES.rstrip("/")])
def test_traces_come_in_by_dsn(server: Server, path: str, payload: Callable[..., bytes]) -> None:
    answer = server.post(path, payload(2), AUTH | {"content-type": "application/x-protobuf"})
    assert (answer.status_code, answer.content) == (200, b"")
    (batch,) = server.inbox.pending(0, 10)
    assert (batch.project, batch.source) == ("shop", "otel.span")


@pytest.mark.parametrize("path", [*PATHS, TRACES])
def test_pages_of_any_origin_may_send(server: Server, path: str) -> None:
    asked = {"access-control-request-method": "POST"}
    for wanted, given in (("content-type,x-sentry-auth", None), ("no; <list>", "x-sentry-auth")):
        answer = server.client.options(
            path, headers=asked | {"access-control-request-headers": wanted, "origin": "https://a"}
        )
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-headers"].startswith(given or wanted)
