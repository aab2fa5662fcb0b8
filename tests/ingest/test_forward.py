"""What arrives is put to the product behind: in order, byte for byte, for as long as it takes."""

from __future__ import annotations

import asyncio
import gzip
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from starlette.requests import Request

from ingest.errors import UpstreamInvalid
from ingest.forward import Forwarder
from ingest.inbox import Inbox
from ingest.otlp import TRACES
from ingest.otlp_receiver import OtlpReceiver
from ingest.outbox import Outbox
from ingest.outbox_entry import Bounds
from ingest.outbox_tally import FORWARDED
from ingest.relay import Relay
from ingest.sender import Sender
from ingest.upstream import Arrival, Outgoing, Upstream, outgoing, upstream

SHOP = Sender("shop", "k1")
LANE = ("shop", "posthog")
LABELS = {"project": "shop", "product": "posthog"}
DAY = 24 * 3600 * 10**9


@dataclass
class Product:
    """A server that notes what it is sent, and answers what ``statuses`` say, then 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def bodies(self) -> list[bytes]:
        return [body for *_, body in self.seen]


@pytest.fixture
def product() -> Iterator[Product]:
    found = Product()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status = found.statuses.pop(0) if found.statuses else 200
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.seen.append((self.command, self.path, headers, body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if status == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def arrival(body: bytes, key: str = "phc_shop", **headers: str) -> Arrival:
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Arrival("POST", "/batch/?v=1", pairs, body, body, (key,))


def put(inbox: Inbox, outbox: Outbox, came: Arrival, sender: Sender = SHOP) -> str:
    write = outbox.writing(sender, "posthog", came)
    assert write is not None
    receipt = asyncio.run(inbox.submit(sender, "posthog.event", "json", came.plain, write))
    outbox.landed(write)
    return receipt.digest


def boxed(inbox: Inbox, url: str, **given: Any) -> Outbox:
    there = Upstream("posthog", url, "phc_shop", headers={"x-team": "shop"})
    found = {(project, "posthog"): there for project in ("shop", "blog")}
    return Outbox(
        inbox.file,
        lambda project, kind: found.get((project, kind)),
        lambda n: b"r" * n,
        **given,
    )


def outcome(name: str) -> float:
    return float(FORWARDED.labels(*LANE, name)._value.get())


def execute(sql: str, connection: sqlite3.Connection) -> None:
    connection.execute(sql)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def forwarding() -> Iterator[Callable[[Outbox], Forwarder]]:
    running: list[Forwarder] = []

    def start(outbox: Outbox) -> Forwarder:
        forwarder = Forwarder(outbox, first_pause=0.01)
        forwarder.start()
        running.append(forwarder)
        return forwarder

    yield start
    for forwarder in running:
        forwarder.stop()


Start = Callable[[Outbox], Forwarder]


def test_what_came_leaves_in_order_and_byte_for_byte(
    inbox: Inbox, product: Product, forwarding: Start
) -> None:
    outbox = boxed(inbox, product.url)
    packed = gzip.compress(b'{"api_key":"phc_shop"}')
    forwarder = forwarding(outbox)
    put(inbox, outbox, arrival(packed, content_encoding="gzip", cookie="sid=1", host="shop"))
    for number in range(20):
        put(inbox, outbox, arrival(b"%d" % number))
    wait_for(lambda: len(product.seen) == 21)
    assert product.bodies == [packed, *(b"%d" % number for number in range(20))]
    method, path, headers, _ = product.seen[0]
    assert (method, path) == ("POST", "/batch/?v=1")
    assert (headers["content-encoding"], headers["x-team"]) == ("gzip", "shop")
    assert "cookie" not in headers
    assert headers["host"] != "shop"
    wait_for(lambda: not outbox.waiting(LANE).requests)
    (lane,) = forwarder.status()
    assert (lane["delivered"], lane["refused"], lane["trouble"]) == (21, 0, "")


def test_a_product_that_is_away_is_waited_for_and_a_refusal_is_not(
    inbox: Inbox, product: Product, forwarding: Start
) -> None:
    product.statuses = [503, 429, 408, 200, 400, 200]
    outbox = boxed(inbox, product.url)
    for body in (b"one", b"two", b"three"):
        put(inbox, outbox, arrival(body))
    forwarder = forwarding(outbox)
    wait_for(lambda: len(product.seen) == 6)
    assert product.bodies == [b"one"] * 4 + [b"two", b"three"]
    wait_for(lambda: not outbox.waiting(LANE).requests)
    (lane,) = forwarder.status()
    assert (lane["delivered"], lane["refused"]) == (2, 1)
    assert lane["last_refusal"] == "POST /batch/ was answered 400"


def test_what_waits_outlives_the_process(
    tmp_path: Path, product: Product, forwarding: Start
) -> None:
    inbox = Inbox(tmp_path / "inbox.sqlite")
    put(inbox, boxed(inbox, "http://127.0.0.1:9"), arrival(b"one"))
    inbox.close()
    inbox = Inbox(tmp_path / "inbox.sqlite")
    forwarder = forwarding(boxed(inbox, product.url))
    wait_for(lambda: product.bodies == [b"one"])
    forwarder.stop()
    inbox.close()


def test_nothing_of_a_delivered_request_stays_on_disk(
    tmp_path: Path, product: Product, forwarding: Start
) -> None:
    inbox = Inbox(tmp_path / "inbox.sqlite")
    outbox = boxed(inbox, product.url)
    put(inbox, outbox, arrival(b"one"))
    ((ciphertext,),) = inbox.file.rows("SELECT ciphertext FROM outbox")
    forwarder = forwarding(outbox)
    wait_for(lambda: not outbox.waiting(LANE).requests)
    forwarder.stop()
    inbox.close()
    for file in tmp_path.iterdir():
        assert ciphertext not in file.read_bytes()


def test_an_erased_batch_is_not_forwarded(inbox: Inbox) -> None:
    outbox = boxed(inbox, "http://127.0.0.1:9")
    digest = put(inbox, outbox, arrival(b"one"))
    put(inbox, outbox, arrival(b"two"))
    inbox.erasures.erase((digest,), 7)
    assert outbox.waiting(LANE).requests == 1
    found = outbox.first(LANE)
    assert found is not None
    assert found[1].body == b"two"


def test_a_lane_that_grows_too_long_loses_its_oldest(inbox: Inbox) -> None:
    outbox = boxed(inbox, "http://127.0.0.1:9", bounds=Bounds(1_500, 10_000))
    before = outcome("dropped")
    for body in (b"1" * 500, b"2" * 500, b"3" * 500):
        put(inbox, outbox, arrival(body))
    assert [each[1].body for each in [outbox.first(LANE)] if each] == [b"2" * 500]
    (tally,) = outbox.tallies()
    assert (tally.waiting, tally.dropped) == (2, 1)
    assert tally.waiting_bytes <= 1_500
    assert outcome("dropped") == before + 1


def test_all_lanes_together_are_bounded_and_the_fullest_gives_way(inbox: Inbox) -> None:
    outbox = boxed(inbox, "http://127.0.0.1:9", bounds=Bounds(10_000, 2_000))
    for number in range(3):
        put(inbox, outbox, arrival(b"%d" % number * 500))
    put(inbox, outbox, arrival(b"3" * 500), Sender("blog", "k2"))
    blog, shop = outbox.tallies()
    assert (blog.waiting, blog.dropped, shop.waiting, shop.dropped) == (1, 0, 2, 1)
    assert blog.waiting_bytes + shop.waiting_bytes <= 2_000


def test_what_waits_for_too_long_is_given_up(inbox: Inbox, forwarding: Start) -> None:
    now = [10 * DAY]
    outbox = boxed(inbox, "http://127.0.0.1:9", clock=lambda: now[0], days=2)
    put(inbox, outbox, arrival(b"old"))
    now[0] += 2 * DAY
    put(inbox, outbox, arrival(b"new"))
    outbox.expire(LANE)
    assert outbox.waiting(LANE).requests == 2
    now[0] += 1
    before = outcome("given_up")
    forwarder = forwarding(outbox)
    wait_for(lambda: outcome("given_up") == before + 1)
    assert [each[1].body for each in [outbox.first(LANE)] if each] == [b"new"]
    (lane,) = forwarder.status()
    assert (lane["given_up"], lane["oldest_seconds"]) == (1, 0)
    now[0] += DAY
    assert forwarder.status()[0]["oldest_seconds"] == 24 * 3600
    warning = "and 1 given up that had waited for too long"
    assert any(warning in text for text in forwarder.warnings())
    forwarder.measure()
    assert REGISTRY.get_sample_value("fractalops_outbox_entries", LABELS) == 1
    assert REGISTRY.get_sample_value("fractalops_outbox_oldest_seconds", LABELS) == 24 * 3600


def test_without_a_limit_nothing_is_given_up(inbox: Inbox) -> None:
    now = [1]
    outbox = boxed(inbox, "http://127.0.0.1:9", clock=lambda: now[0], days=0)
    put(inbox, outbox, arrival(b"old"))
    now[0] += 100_000 * DAY
    outbox.expire(LANE)
    assert outbox.waiting(LANE).requests == 1


def test_the_counts_outlive_the_process_and_begin_with_the_upstream(
    tmp_path: Path, product: Product, forwarding: Start
) -> None:
    path = tmp_path / "inbox.sqlite"
    product.statuses = [200, 400, 200]
    inbox = Inbox(path)
    outbox = boxed(inbox, product.url)
    forwarder = forwarding(outbox)
    for body in (b"one", b"two", b"three"):
        put(inbox, outbox, arrival(body))
    wait_for(lambda: not outbox.waiting(LANE).requests)
    said, warned = forwarder.status(), forwarder.warnings()
    assert [(lane["delivered"], lane["refused"]) for lane in said] == [(2, 1)]
    assert "refused 1 requests (POST /batch/ was answered 400)" in warned[0]
    forwarder.stop()
    inbox.close()

    inbox = Inbox(path)
    again = forwarding(boxed(inbox, product.url))
    assert again.status() == said
    assert again.warnings() == warned
    again.begin(LANE)
    (lane,) = again.status()
    assert {lane["delivered"], lane["refused"], lane["dropped"], lane["given_up"]} == {0}
    assert (lane["last_refusal"], again.warnings()) == ("", [])
    again.stop()
    inbox.close()


def test_what_an_older_version_left_or_leaves_is_counted_and_dated(tmp_path: Path) -> None:
    path = tmp_path / "inbox.sqlite"
    inbox = Inbox(path, clock=lambda: 5 * DAY)
    outbox = boxed(inbox, "http://127.0.0.1:9")
    put(inbox, outbox, arrival(b"one"))
    asyncio.run(outbox.put(SHOP, "posthog", arrival(b"two")))
    inbox.close()
    older = sqlite3.connect(path)
    older.executescript(
        "DROP TRIGGER outbox_entered; DROP TRIGGER outbox_left;"
        " DROP TABLE outbox_tally; DROP TABLE outbox_time;"
    )
    older.close()
    inbox = Inbox(path)
    outbox = boxed(inbox, "http://127.0.0.1:9", clock=lambda: 6 * DAY)
    (tally,) = outbox.tallies()
    assert (tally.waiting, tally.oldest) == (2, 5 * DAY)
    size = tally.waiting_bytes
    assert size == sum(number for (number,) in inbox.file.rows("SELECT size FROM outbox"))
    # What it puts and removes is counted by the file itself.
    columns = "batch, project, kind, digest, size, ciphertext"
    insert = f"INSERT INTO outbox ({columns}) SELECT {columns} FROM outbox WHERE id = 1"
    inbox.file.write(partial(execute, insert))
    assert outbox.waiting(LANE).requests == 3
    for table in ("outbox_key", "outbox"):
        inbox.file.write(partial(execute, f"DELETE FROM {table} WHERE id < 3"))
    outbox = boxed(inbox, "http://127.0.0.1:9", clock=lambda: 6 * DAY)
    (tally,) = outbox.tallies()
    assert (tally.waiting, tally.oldest) == (1, 5 * DAY)
    assert inbox.file.rows("SELECT id FROM outbox_time") == [(3,)]
    inbox.close()


def test_a_lane_without_an_upstream_is_emptied(inbox: Inbox, forwarding: Start) -> None:
    put(inbox, boxed(inbox, "http://127.0.0.1:9"), arrival(b"one"))
    nobody = Outbox(inbox.file, lambda project, kind: None, lambda n: b"r" * n)
    assert nobody.writing(SHOP, "posthog", arrival(b"two")) is None
    forwarder = forwarding(nobody)
    wait_for(lambda: not nobody.waiting(LANE).requests)
    assert forwarder.status()[0]["dropped"] == 1
    # Somebody took the upstream away: what comes of it needs no warning.
    assert forwarder.warnings() == []


@pytest.mark.parametrize("named_in_body", [False, True])
def test_only_what_is_to_be_forwarded_is_held(inbox: Inbox, named_in_body: bool) -> None:
    there = {("shop", "otlp"): Upstream("otlp", "http://127.0.0.1:9")}
    packed = gzip.compress(b"body")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": packed, "more_body": False}

    async def came(project: str) -> tuple[Arrival | None, bool]:
        receiver = OtlpReceiver(TRACES, inbox, {"foi_1": Sender(project)}.get)
        receiver.outbox = Outbox(inbox.file, lambda *lane: there.get(lane), lambda n: b"r" * n)
        headers = [(b"content-encoding", b"gzip")]
        scope: dict[str, Any] = {"type": "http", "method": "POST", "headers": headers}
        scope |= {"path": "/v1/traces", "query_string": b"a=1", "server": ("here", 80)}
        request = Request(scope, receive)
        if not named_in_body:
            receiver.sender_of(request, "foi_1")
        assert await receiver.read(request) == b"body"
        held = hasattr(request.state, "bodies")
        receiver.sender_of(request, "foi_1")
        found = receiver.arrived(request)
        assert receiver.arrived(request) is found
        assert not getattr(request.state, "bodies", None)
        return found, held

    assert asyncio.run(came("blog")) == (None, named_in_body)
    found, _ = asyncio.run(came("shop"))
    assert found is not None
    assert (found.target, found.body, found.plain) == ("/v1/traces?a=1", packed, b"body")
    assert found.keys == ("foi_1",)


def test_a_key_of_ours_never_leaves() -> None:
    there = upstream("sentry", "https://abc@errors.example/base/42")
    assert (there.url, there.key, there.number) == ("https://errors.example/base", "abc", "42")
    plain = b'{"dsn":"http://foi_1@here/1"}\n{"type":"event"}\n{}\n'
    came = Arrival(
        "POST",
        "/api/1/envelope/?sentry_key=foi_1",
        (("x-sentry-auth", "Sentry sentry_key=foi_1"), ("content-encoding", "gzip")),
        gzip.compress(plain),
        plain,
        ("foi_0", "foi_1"),
    )
    sent = outgoing(came, there)
    assert sent is not None
    assert sent.target == "/api/42/envelope/?sentry_key=abc"
    assert sent.headers == {"x-sentry-auth": "Sentry sentry_key=abc"}
    assert sent.body == plain.replace(b"foi_1", b"abc")
    assert Outgoing.opened(sent.sealed()) == sent
    own = outgoing(Arrival(**{**came.__dict__, "keys": ("abc",)}), there)
    assert own is not None
    assert own.body == came.body
    # An item's length counts its bytes, and forms write a key in many ways.
    inside = Arrival(**{**came.__dict__, "plain": plain + b"foi_1"})
    assert outgoing(inside, there) is None
    form = Arrival("POST", "/e/", (), b"data=Zm9pXzE=", b"data=Zm9pXzE=", ("foi_1",))
    assert outgoing(form, Upstream("posthog", "http://a", "phc_1")) is None


@pytest.mark.parametrize("status", [302, 500])
def test_a_question_without_a_sound_answer_is_not_answered(product: Product, status: int) -> None:
    product.statuses = [200, status]
    there = Upstream("posthog", product.url, "phc_shop")

    async def ask(place: Upstream) -> int | None:
        async with Relay(seconds=5) as relay:
            answer = await relay.ask(place, Outgoing("POST", "/flags/", {}, b"{}"))
        return answer.status_code if answer else None

    assert [asyncio.run(ask(there)), asyncio.run(ask(there))] == [200, None]
    assert asyncio.run(ask(Upstream("posthog", "http://127.0.0.1:9", "phc_shop"))) is None


def test_of_otlp_the_headers_are_the_products() -> None:
    there = upstream("otlp", "http://collector:4318/", headers={"x-tenant": "shop"})
    came = Arrival(
        "POST", "/v1/traces", (("authorization", "Bearer foi_1"),), b"x", b"x", ("foi_1",)
    )
    assert outgoing(came, there) == Outgoing("POST", "/v1/traces", {"x-tenant": "shop"}, b"x")


@pytest.mark.parametrize(
    ("kind", "url", "key", "headers"),
    [
        ("datadog", "http://a", "", {}),
        ("posthog", "http://a", "", {}),
        ("posthog", "ftp://a", "phc_1", {}),
        ("posthog", "http://a?b=c", "phc_1", {}),
        ("posthog", "http://u:p@a", "phc_1", {}),
        ("posthog", "http://[::1", "phc_1", {}),
        ("sentry", "http://errors.example/1", "", {}),
        ("sentry", "http://key@errors.example/one", "", {}),
        ("otlp", "http://", "", {}),
        ("otlp", "http://a", "", {"x y": "1"}),
        ("otlp", "http://a", "", {"x": "1\r\ny: 2"}),
    ],
)
def test_an_upstream_says_what_is_missing(
    kind: str, url: str, key: str, headers: dict[str, str]
) -> None:
    with pytest.raises(UpstreamInvalid):
        upstream(kind, url, key, headers)


def test_an_upstream_is_kept_whole_and_shown_without_secrets() -> None:
    there = upstream("posthog", "https://eu.example:8443/x/", "phc_1", {"x-a": "secret"})
    assert Upstream.parse(there.document()) == there
    assert there.url == "https://eu.example:8443/x"
    assert "phc_1" not in repr(there)
    assert "secret" not in repr(there)
    assert json.loads(there.document())["key"] == "phc_1"
