"""The client against real servers that are slow, gone, too large, and lead elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import (
    HttpAway,
    HttpCircuitOpen,
    HttpError,
    HttpRedirectRefused,
    HttpRefused,
    HttpTimeout,
    HttpTooLarge,
    HttpUnreadable,
)
from runtime.http_addresses import PeerUrl, Target
from runtime.http_async import AsyncHttpClient
from runtime.http_body import Unpacking
from runtime.http_circuit import Patience
from runtime.http_client import HttpClient
from runtime.http_messages import Ask, Limits
from runtime.http_retries import ONCE, Retries
from runtime.http_trace import CURRENT, Trace
from runtime.urls import ExecutorUrl, InternalUrl, PublicUrl
from tests.runtime.http_server import Handler, Misbehaving, misbehaving

NOW = datetime(2026, 11, 28, tzinfo=UTC)
SECRET = "s3cret-value"
HOSTS = {"public.example": "93.184.216.34", "metadata.example": "169.254.169.254"}
HEADERS = ("Authorization", "Cookie", "X-Api-Key", "PRIVATE-TOKEN", "tracestate")


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with misbehaving() as found:
        yield found


@dataclass
class Clock:
    """Time that passes when somebody sleeps."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def client(clock: Clock | None = None, **given: Any) -> HttpClient:
    clock = clock or Clock()
    found: dict[str, Any] = {
        "monotonic": clock,
        "clock": lambda: NOW,
        "sleep": clock.sleep,
        "random": Random(7),
        **given,
    }
    return HttpClient(**found)


def peer(server: Misbehaving) -> PeerUrl:
    return PeerUrl.parse(server.url)


def test_a_request_as_it_is_sent(server: Misbehaving) -> None:
    server.handle = lambda it: it.reply(201, b'{"a": 1}', Content_Type="application/json")
    ask = Ask(
        "POST",
        PeerUrl.parse(f"{server.url}/base/"),
        "/a%2Fb",
        query={"x": [1, 2], "y": "a b&c"},
        headers={"Authorization": f"Bearer {SECRET}", "Host": "elsewhere", "Content-Length": "9"},
        content=b"body",
        idempotency_key="k-1",
    )
    with client(agent="fractalops-test") as http:
        answer = http.send(ask)
    assert (answer.status, answer.json(), answer.is_success) == (201, {"a": 1}, True)
    assert answer.headers["content-type"] == "application/json"
    (asked,) = server.asked
    assert (asked.method, asked.target) == ("POST", "/base/a%2Fb?x=1&x=2&y=a+b%26c")
    assert asked.body == b"body"
    assert asked.headers["host"] == f"127.0.0.1:{server.port}"
    assert asked.headers["idempotency-key"] == '"k-1"'
    assert asked.headers["user-agent"].startswith("fractalops-test/")
    assert asked.headers["accept-encoding"] == "gzip"
    assert SECRET not in repr(ask)
    assert "body" not in repr(ask)


# --- where it may go


@pytest.mark.parametrize(
    "target",
    [
        PublicUrl("http://127.0.0.1/"),
        PeerUrl("http://169.254.169.254/latest/meta-data/"),
        ExecutorUrl("http://169.254.169.254/"),
        InternalUrl("http://[fd00:ec2::254]/"),
        ExecutorUrl("http://[::ffff:a9fe:a9fe]/"),
        PeerUrl("http://2852039166/"),
        PeerUrl("http://0xa9fea9fe/"),
        PublicUrl("http://0177.0.0.1/"),
        PublicUrl("http://127.1/"),
    ],
)
def test_what_leads_nowhere_is_refused_before_a_name_is_asked(target: Target) -> None:
    def never(host: str, port: int) -> list[str]:
        raise AssertionError(host)

    with client(resolve=never) as http, pytest.raises(HttpRefused) as refused:
        http.send(Ask("GET", target))
    assert not refused.value.sent


@pytest.mark.parametrize(
    ("target", "addresses"),
    [
        (PublicUrl("http://rebound.example/"), ["127.0.0.1"]),
        (PublicUrl("http://rebound.example/"), ["93.184.216.34", "10.0.0.1"]),
        (PublicUrl("https://rebound.example/"), ["::ffff:192.168.0.1"]),
        (ExecutorUrl("http://rebound.example/"), ["169.254.169.254"]),
        (PeerUrl("http://rebound.example/"), ["fd00:ec2::254"]),
        (InternalUrl("http://rebound.example/"), ["0.0.0.0"]),
    ],
)
def test_a_name_is_judged_by_where_it_leads(target: Target, addresses: list[str]) -> None:
    with (
        client(resolve=lambda host, port: addresses) as http,
        pytest.raises(HttpRefused, match=r"rebound\.example leads to"),
    ):
        http.send(Ask("GET", target))


def test_a_name_is_resolved_once_for_a_connection(server: Misbehaving) -> None:
    """What it resolves to a moment later changes nothing, and the server sees the name."""
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    target = ExecutorUrl.parse(f"http://runner.example:{server.port}")
    with client(resolve=rebinding, retries=ONCE) as http:
        assert http.send(Ask("GET", target)).status == 200
        # The connection is kept, and with it the address that was judged.
        assert http.send(Ask("GET", target)).status == 200
    with client(resolve=rebinding) as http, pytest.raises(HttpRefused):
        http.send(Ask("GET", target))
    assert asked == ["runner.example"] * 2
    assert {it.headers["host"] for it in server.asked} == {f"runner.example:{server.port}"}
    assert len(server.asked) == 2


def test_another_address_is_tried_where_one_does_not_answer(server: Misbehaving) -> None:
    target = InternalUrl.parse(f"http://two.example:{server.port}")
    with client(resolve=lambda host, port: ["::1", "127.0.0.1"]) as http:
        assert http.send(Ask("GET", target)).status == 200


@pytest.mark.parametrize(
    "path", ["a", "/../b", "/a/./b", "/a?b", "/a#b", "/a b", "/a\\b", "/a\nb", "/%2e%2E/b"]
)
def test_a_path_that_could_lead_elsewhere_is_refused(path: str) -> None:
    with client() as http, pytest.raises(HttpRefused):
        http.send(Ask("GET", ExecutorUrl.parse("http://127.0.0.1:9/"), path))


@pytest.mark.parametrize(
    "headers", [{"x": "a\r\nb: c"}, {"a b": "c"}, {"x": "\u20ac"}, {"x": "a\x00"}, {"": "x"}]
)
def test_a_header_that_is_none_is_refused(headers: dict[str, str]) -> None:
    target = PeerUrl.parse("http://127.0.0.1:9/")
    with client() as http, pytest.raises(HttpRefused, match="header"):
        http.send(Ask("GET", target, headers=headers))
    with client() as http, pytest.raises(HttpRefused, match="method"):
        http.send(Ask("GET / HTTP/1.1\r\n", target))


# --- redirects


def leading(location: str, status: int = 302) -> Any:
    """Leads there, and answers what it is asked at /end."""

    def handle(it: Handler) -> None:
        if it.path.startswith("/end"):
            it.reply(200, b"arrived")
        else:
            it.reply(status, Location=location)

    return handle


@pytest.mark.parametrize(
    "location",
    [
        f"http://169.254.169.254/latest?{SECRET}",
        "http://[fd00:ec2::254]/",
        "http://metadata.example/",
        "http://2852039166/",
        "//169.254.169.254/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        f"http://user:{SECRET}@127.0.0.1/",
        "http://[::1",
    ],
)
@pytest.mark.parametrize("kind", [InternalUrl, PeerUrl])
def test_no_redirect_leads_to_where_a_request_may_not_go(
    server: Misbehaving, location: str, kind: type[InternalUrl | PeerUrl]
) -> None:
    server.handle = leading(location)
    target = kind.parse(server.url)
    with client(resolve=lambda host, port: [HOSTS[host]]) as http:
        assert http.send(Ask("GET", target)).status == 302
        with pytest.raises(HttpError) as refused:
            http.send(Ask("GET", target, redirects=3))
    assert isinstance(refused.value, HttpRedirectRefused)
    assert refused.value.sent
    assert SECRET not in str(refused.value)
    assert len(server.asked) == 2


def test_a_public_url_leads_to_nothing_internal_by_redirect(server: Misbehaving) -> None:
    """A transport that takes the place of the network plays the public server."""

    def public(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "public.example"
        return httpx.Response(302, headers={"Location": f"{server.url}/inside"})

    with (
        client(transport=httpx.MockTransport(public)) as http,
        pytest.raises(HttpRedirectRefused, match="not of the public Internet"),
    ):
        http.send(Ask("GET", PublicUrl.parse("http://public.example/"), redirects=3))
    assert not server.asked


def test_redirects_are_followed_where_asked_for_and_no_further(server: Misbehaving) -> None:
    server.handle = leading("/end?a=b")
    with client() as http:
        answer = http.send(Ask("GET", peer(server), headers={"X-Key": SECRET}, redirects=1))
        assert answer.content == b"arrived"
        assert server.asked[-1].target == "/end?a=b"
        # The same origin: what was said is said again.
        assert server.asked[-1].headers["x-key"] == SECRET
        server.handle = leading("/round")
        with pytest.raises(HttpRedirectRefused, match="after 4 redirects"):
            http.send(Ask("GET", peer(server), redirects=4))
        # What changes something is not led on, and an executor leads nowhere.
        server.handle = leading("/end")
        assert http.send(Ask("POST", peer(server), redirects=4)).status == 302
        executor = ExecutorUrl.parse(server.url)
        assert http.send(Ask("GET", executor, redirects=4)).status == 302


def test_another_origin_learns_no_credential(server: Misbehaving) -> None:
    with misbehaving() as other:
        server.handle = leading(f"{other.url}/end")
        secret = dict.fromkeys(HEADERS, SECRET)
        with client() as http:
            ask = Ask("GET", peer(server), headers={**secret, "Accept": "text/x"}, redirects=2)
            assert http.send(ask).status == 200
    assert SECRET not in repr(other.asked)
    assert other.asked[0].headers["accept"] == "text/x"
    assert SECRET in repr(server.asked)


def test_from_https_nothing_leads_to_http() -> None:
    def secure(request: httpx.Request) -> httpx.Response:
        return httpx.Response(307, headers={"Location": "http://public.example/"})

    with (
        client(transport=httpx.MockTransport(secure)) as http,
        pytest.raises(HttpRedirectRefused, match="from https to http"),
    ):
        http.send(Ask("GET", PublicUrl.parse("https://public.example/"), redirects=3))


# --- time


def test_a_server_that_says_nothing_is_left_in_time(server: Misbehaving) -> None:
    server.handle = Handler.hang
    with HttpClient(retries=ONCE) as http, pytest.raises(HttpTimeout) as late:
        http.send(Ask("GET", peer(server), limits=Limits(quiet=0.05)))
    assert (late.value.sent, late.value.reached) == (True, True)


@pytest.mark.parametrize("where", ["head", "body"])
def test_a_server_that_drips_is_left_in_time(server: Misbehaving, where: str) -> None:
    """Each sign of life comes in time; the whole of it doesn't."""

    def drip(it: Handler) -> None:
        it.wfile.write(b"HTTP/1.1 200 OK\r\n")
        if where == "body":
            it.wfile.write(b"Content-Length: 1000000\r\n\r\n")
        while not it.mine.ending.wait(0.01):
            it.wfile.write(b"X: y\r\n" if where == "head" else b"x")

    server.handle = drip
    with HttpClient(retries=ONCE) as http, pytest.raises(HttpTimeout):
        http.send(Ask("GET", peer(server), limits=Limits(total=0.1)))


def test_name_servers_that_do_not_answer_are_left_in_time() -> None:
    over = threading.Event()

    def silent(host: str, port: int) -> list[str]:
        over.wait(30)
        return []

    target = InternalUrl.parse("http://slow.example/")
    try:
        with HttpClient(resolve=silent, retries=ONCE) as http, pytest.raises(HttpTimeout) as late:
            http.send(Ask("GET", target, limits=Limits(total=0.05)))
    finally:
        over.set()
    assert (late.value.sent, late.value.reached) == (False, False)


# --- what is certain


def test_nobody_there_is_certainly_nothing_sent() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        target = PeerUrl.parse(f"http://127.0.0.1:{closed.getsockname()[1]}")
        with client() as http, pytest.raises(HttpAway) as away:
            http.send(Ask("POST", target, query={"token": SECRET}))
    assert (away.value.sent, away.value.reached) == (False, False)
    assert SECRET not in str(away.value)


def test_a_name_that_leads_nowhere_is_nothing_sent() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with client(resolve=unknown) as http, pytest.raises(HttpAway) as away:
        http.send(Ask("GET", InternalUrl.parse("http://unknown.example/")))
    assert (away.value.sent, away.value.reached) == (False, False)


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", b"SSH-2.0-x\r\n\r\n"]
)
def test_a_connection_that_is_lost_leaves_it_unknown(server: Misbehaving, said: bytes) -> None:
    def cut(it: Handler) -> None:
        it.wfile.write(said)
        it.close_connection = True

    server.handle = cut
    with client() as http, pytest.raises(HttpAway) as away:
        http.send(Ask("POST", peer(server), content=b"do it"))
    assert (away.value.sent, away.value.reached) == (True, True)
    # It may have been carried out: nothing was sent again.
    assert len(server.asked) == 1


# --- repetitions


def test_what_may_be_repeated_is_and_what_may_not_is_not(server: Misbehaving) -> None:
    def flaky(it: Handler) -> None:
        if len(it.mine.asked) % 2:
            it.close_connection = True
        else:
            it.reply(200)

    server.handle = flaky
    with client() as http:
        for method, key in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "once-1")):
            assert http.send(Ask(method, peer(server), idempotency_key=key)).status == 200
            assert [it.method for it in server.asked[-2:]] == [method] * 2
        assert {it.headers["idempotency-key"] for it in server.asked[-2:]} == {'"once-1"'}
        with pytest.raises(HttpAway):
            http.send(Ask("POST", peer(server)))
    assert len(server.asked) == 9


@pytest.mark.parametrize(
    ("said", "least"),
    [("2", 2.0), ("Sat, 28 Nov 2026 00:00:03 GMT", 3.0), ("soon", 0.0), ("", 0.0)],
)
def test_retry_after_is_waited_for(server: Misbehaving, said: str, least: float) -> None:
    statuses = iter([503, 200])
    server.handle = lambda it: it.reply(next(statuses), Retry_After=said)
    clock = Clock()
    with client(clock) as http:
        assert http.send(Ask("GET", peer(server))).status == 200
    assert len(clock.slept) == 1
    assert least <= clock.slept[0] <= 10


@pytest.mark.parametrize("said", ["86400", "Sun, 29 Nov 2026 00:00:00 GMT"])
def test_a_longer_wait_is_for_the_caller(server: Misbehaving, said: str) -> None:
    server.handle = lambda it: it.reply(503, b"later", Retry_After=said)
    clock = Clock()
    with client(clock) as http:
        answer = http.send(Ask("GET", peer(server)))
    assert (answer.status, answer.content, clock.slept) == (503, b"later", [])


def test_repetitions_end_with_the_time_and_with_the_attempts(server: Misbehaving) -> None:
    server.handle = lambda it: it.reply(503, Retry_After="4")
    clock = Clock()
    with client(clock, circuit=None, retries=Retries(attempts=9)) as http:
        assert http.send(Ask("GET", peer(server), limits=Limits(total=10))).status == 503
    assert sum(clock.slept) < 10
    assert len(server.asked) == 2 or len(server.asked) == 3
    server.asked.clear()
    with client(circuit=None, retries=Retries(attempts=4)) as http:
        assert http.send(Ask("GET", peer(server))).status == 503
    assert len(server.asked) == 4


def test_repetitions_are_a_share_of_the_requests(server: Misbehaving) -> None:
    server.handle = lambda it: it.reply(503)
    retries = Retries(attempts=3, share=0.1, saved=5)
    with client(circuit=None, retries=retries) as http:
        for _ in range(100):
            http.send(Ask("GET", peer(server)))
    assert 105 <= len(server.asked) <= 115


# --- servers that fail


def test_a_server_that_fails_is_left_alone_and_tried_again() -> None:
    clock = Clock()
    state = {"asked": 0, "status": 503}

    def answer(request: httpx.Request) -> httpx.Response:
        state["asked"] += 1
        return httpx.Response(state["status"])

    patience = Patience(failures=3, first=5, longest=8)
    ask = Ask("GET", PeerUrl.parse("http://failing.example/"))
    with client(
        clock, retries=ONCE, circuit=patience, transport=httpx.MockTransport(answer)
    ) as http:
        for _ in range(3):
            assert http.send(ask).status == 503
        with pytest.raises(HttpCircuitOpen, match="3 times in a row") as opened:
            http.send(ask)
        assert (opened.value.seconds, opened.value.sent, state["asked"]) == (5, False, 3)
        # Another server is none of its business.
        assert http.send(Ask("GET", PeerUrl.parse("http://other.example/"))).status == 503
        clock.now += 5
        assert http.send(ask).status == 503
        with pytest.raises(HttpCircuitOpen) as longer:
            http.send(ask)
        assert longer.value.seconds == 8
        clock.now += 8
        state["status"] = 200
        assert http.send(ask).status == 200
        state["status"] = 404
        for _ in range(10):
            assert http.send(ask).status == 404


def test_only_one_request_tries_a_server_that_failed() -> None:
    clock = Clock()
    http: HttpClient
    ask = Ask("GET", PeerUrl.parse("http://failing.example/"))
    seen: list[type[Exception]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if clock.now > 1000:
            with pytest.raises(HttpCircuitOpen) as refused:
                http.send(ask)
            seen.append(type(refused.value))
            return httpx.Response(200)
        raise httpx.ConnectError("gone")

    http = client(
        clock,
        retries=ONCE,
        circuit=Patience(failures=1, first=5),
        transport=httpx.MockTransport(answer),
    )
    with http:
        with pytest.raises(HttpAway):
            http.send(ask)
        clock.now += 5
        assert http.send(ask).status == 200
    assert seen == [HttpCircuitOpen]


# --- size


def test_a_body_that_is_too_large_is_not_read(server: Misbehaving) -> None:
    def endless(it: Handler) -> None:
        it.send_response(200)
        it.send_header("Transfer-Encoding", "chunked")
        it.end_headers()
        while not it.mine.ending.is_set():
            it.wfile.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")

    limits = Limits(answer=100_000)
    with client() as http:
        server.handle = lambda it: it.reply(200, b"x", Content_Length="100001")
        with pytest.raises(HttpTooLarge, match="more than 100000 bytes"):
            http.send(Ask("GET", peer(server), limits=limits))
        assert http.send(Ask("HEAD", peer(server), limits=limits)).content == b""
        server.handle = endless
        with pytest.raises(HttpTooLarge):
            http.send(Ask("GET", peer(server), limits=limits))
        server.handle = lambda it: it.reply(200, b"x" * 100_000)
        assert len(http.send(Ask("GET", peer(server), limits=limits)).content) == 100_000


def test_a_bomb_is_not_unpacked(server: Misbehaving) -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    server.handle = lambda it: it.reply(200, bomb, Content_Encoding="gzip")
    with client() as http:
        with pytest.raises(HttpTooLarge):
            http.send(Ask("GET", peer(server), limits=Limits(answer=1_000_000)))
        with http.stream(Ask("GET", peer(server), limits=Limits(answer=1_000_000))) as answer:
            pieces: list[int] = []
            with pytest.raises(HttpTooLarge):
                pieces.extend(map(len, answer.chunks()))
    assert max(pieces) <= 64 * 1024
    assert sum(pieces) <= 1_000_000


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(b"whole")[:-3], "gzip"),
        (b"no gzip", "gzip"),
        (gzip.compress(b"whole") + b"more", "x-gzip"),
        (b"whatever", "br"),
        (gzip.compress(gzip.compress(b"twice")), "gzip, gzip"),
    ],
)
def test_a_body_that_is_damaged_is_none(server: Misbehaving, body: bytes, encoding: str) -> None:
    server.handle = lambda it: it.reply(200, body, Content_Encoding=encoding)
    with client() as http, pytest.raises(HttpUnreadable) as damaged:
        http.send(Ask("GET", peer(server)))
    assert damaged.value.sent


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_000_000])
def test_a_packed_body_comes_whole(server: Misbehaving, size: int) -> None:
    body = Random(size).randbytes(size // 2) + b"\0" * (size - size // 2)
    packed = gzip.compress(body[: size // 3]) + gzip.compress(body[size // 3 :])
    server.handle = lambda it: it.reply(200, packed, Content_Encoding="gzip")
    with client() as http:
        assert http.send(Ask("GET", peer(server))).content == body


def test_a_stream_is_read_as_it_comes(server: Misbehaving) -> None:
    second = threading.Event()

    def lines(it: Handler) -> None:
        it.send_response(200)
        it.send_header("Content-Length", "23")
        it.end_headers()
        it.wfile.write("f\u00fcrst\r\nsec".encode())
        second.wait(30)
        it.wfile.write(b"ond\n\nlast no")

    server.handle = lines
    with client() as http, http.stream(Ask("GET", peer(server))) as answer:
        found = answer.lines()
        assert next(found) == "f\u00fcrst"
        second.set()
        assert list(found) == ["second", "", "last no"]


# --- traces


def test_a_request_is_part_of_the_trace_at_hand(server: Misbehaving) -> None:
    trace = Trace("1" * 32, "2" * 16, 1, "vendor=a")
    with client() as http:
        http.send(Ask("GET", peer(server), trace=trace))
        token = CURRENT.set(Trace("3" * 32, "4" * 16))
        try:
            http.send(Ask("GET", peer(server)))
        finally:
            CURRENT.reset(token)
        http.send(Ask("GET", peer(server)))
        handed = {"traceparent": f"00-{'5' * 32}-{'6' * 16}-01", "tracestate": "other=b"}
        http.send(Ask("GET", peer(server), headers=handed))
        http.send(Ask("GET", peer(server), headers={"traceparent": "00-nonsense"}))
    found = [it.headers["traceparent"] for it in server.asked]
    assert all(Trace.read(said) is not None for said in found)
    assert found[0].startswith(f"00-{'1' * 32}-")
    assert found[0].endswith("-01")
    assert "2" * 16 not in found[0]
    assert found[1].startswith(f"00-{'3' * 32}-")
    assert found[2].split("-")[1] not in (found[0], found[1])
    assert found[2].endswith("-00")
    assert found[3] == handed["traceparent"]
    states = [it.headers.get("tracestate") for it in server.asked]
    assert states == ["vendor=a", None, None, "other=b", None]


@pytest.mark.parametrize(
    ("parent", "state", "kept"),
    [
        (f"00-{'a' * 32}-{'b' * 16}-03", "a=1,b=2", "a=1,b=2"),
        (f"00-{'a' * 32}-{'b' * 16}-01", "a=1, ,b=2 ", "a=1,b=2"),
        (f"00-{'a' * 32}-{'b' * 16}-01", "a=1,a=2", ""),
        (f"00-{'a' * 32}-{'b' * 16}-01", "A=1", ""),
        (f"00-{'a' * 32}-{'b' * 16}-01", ",".join(f"k{n}=v" for n in range(33)), ""),
        (f"cc-{'a' * 32}-{'b' * 16}-01-later", "", ""),
        (f"00-{'a' * 32}-{'b' * 16}-01-later", "", None),
        (f"ff-{'a' * 32}-{'b' * 16}-01", "", None),
        (f"00-{'0' * 32}-{'b' * 16}-01", "", None),
        (f"00-{'a' * 32}-{'0' * 16}-01", "", None),
        (f"00-{'A' * 32}-{'b' * 16}-01", "", None),
        ("", "a=1", None),
    ],
)
def test_a_trace_context_is_read_as_specified(parent: str, state: str, kept: str | None) -> None:
    found = Trace.read(parent, state)
    assert (None if found is None else found.state) == kept
    if found is not None:
        assert found.flags in (0, 1)
        assert Trace.read(**found.fields()) == found


# --- proxies and certificates


def test_proxies_of_the_environment_are_for_peers_of_who_asks_for_them(
    server: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://me:{SECRET}@127.0.0.1:{server.port}")
    there = PeerUrl.parse("http://inside.example/a")
    with client(proxies=True, circuit=None, resolve=lambda host, port: []) as http:
        assert http.send(Ask("GET", there, query="b=c")).status == 200
        assert server.asked[0].target == "http://inside.example/a?b=c"
        assert "proxy-authorization" in server.asked[0].headers
        for target in (ExecutorUrl(there.address), InternalUrl(there.address)):
            with pytest.raises(HttpAway):
                http.send(Ask("GET", target))
        with pytest.raises(HttpRefused):
            http.send(Ask("GET", PeerUrl("http://169.254.169.254/")))
        monkeypatch.setenv("no_proxy", "inside.example")
        with pytest.raises(HttpAway):
            http.send(Ask("GET", there))
    with client(resolve=lambda host, port: []) as http, pytest.raises(HttpAway):
        http.send(Ask("GET", there))
    assert len(server.asked) == 1
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    with client(proxies=True) as http, pytest.raises(HttpRefused, match="NO_PROXY"):
        http.send(Ask("GET", there))


def test_the_usual_certificates_are_not_read_for_plain_http(
    server: Misbehaving, tmp_path: Path
) -> None:
    with client(authority=tmp_path / "missing.pem") as http:
        assert http.send(Ask("GET", peer(server))).status == 200
        with pytest.raises(HttpRefused, match="certificates"):
            http.send(Ask("GET", PeerUrl.parse("https://127.0.0.1:1/")))


# --- in an event loop


def test_in_an_event_loop_the_same_holds(server: Misbehaving) -> None:
    def answer(it: Handler) -> None:
        match it.path:
            case "/gzip":
                it.reply(200, gzip.compress(b"whole"), Content_Encoding="gzip")
            case "/bomb":
                it.reply(200, gzip.compress(bytes(5_000_000)), Content_Encoding="gzip")
            case "/meta":
                it.reply(302, Location="http://169.254.169.254/")
            case "/hang":
                it.hang()
            case "/cut":
                it.close_connection = True
            case "/away":
                it.reply(503)
            case _:
                it.reply(200, it.headers["traceparent"].encode())

    server.handle = answer

    async def run() -> None:
        async with AsyncHttpClient(limits=Limits(answer=1_000_000)) as http:
            there = peer(server)
            assert (await http.send(Ask("GET", there, "/gzip"))).content == b"whole"
            assert Trace.read((await http.send(Ask("GET", there, "/trace"))).text) is not None
            with pytest.raises(HttpTooLarge):
                await http.send(Ask("GET", there, "/bomb"))
            with pytest.raises(HttpRedirectRefused):
                await http.send(Ask("GET", there, "/meta", redirects=2))
            with pytest.raises(HttpTimeout):
                await http.send(Ask("GET", there, "/hang", limits=Limits(total=0.05)))
            with pytest.raises(HttpTimeout):
                await http.send(Ask("GET", there, "/hang", limits=Limits(quiet=0.05)))
            with pytest.raises(HttpAway) as away:
                await http.send(Ask("GET", there, "/cut"))
            assert away.value.sent
            with pytest.raises(HttpRefused):
                await http.send(Ask("GET", PublicUrl(server.url + "/")))
        rebound = PublicUrl.parse("http://rebound.example/")
        async with AsyncHttpClient(resolve=lambda host, port: ["10.0.0.1"]) as http:
            with pytest.raises(HttpRefused, match="leads to"):
                await http.send(Ask("GET", rebound))
        async with AsyncHttpClient(resolve=lambda host, port: ["127.0.0.1"]) as http:
            named = ExecutorUrl.parse(f"http://runner.example:{server.port}/ok")
            assert (await http.send(Ask("GET", named))).status == 200
        async with AsyncHttpClient(circuit=Patience(failures=1)) as http:
            assert (await http.send(Ask("GET", there, "/away"))).status == 503
            with pytest.raises(HttpCircuitOpen):
                await http.send(Ask("GET", there, "/away"))
        async with AsyncHttpClient(circuit=Patience(failures=1)) as http:
            for error in (HttpTimeout, HttpCircuitOpen):
                with pytest.raises(error):
                    await http.send(Ask("GET", there, "/hang", limits=Limits(total=0.05)))

    asyncio.run(run())


@given(st.binary(max_size=3000), st.lists(st.integers(1, 500), max_size=30), st.booleans())
def test_however_it_comes_a_body_is_the_same(body: bytes, cuts: list[int], packed: bool) -> None:
    wire = gzip.compress(body) if packed else body
    unpacking = Unpacking("gzip" if packed else "", "http://a", len(wire) + len(body))
    found, place = b"", 0
    for size in [*cuts, len(wire)]:
        found += b"".join(unpacking.feed(wire[place : place + size]))
        place += size
    unpacking.end()
    assert found == body


@given(st.binary(max_size=300), st.integers(0, 200))
def test_whatever_is_unpacked_stays_within_the_limit(wire: bytes, limit: int) -> None:
    """Of nonsense, too, no more comes than may."""
    for encoding in ("", "gzip"):
        taken = b""
        with contextlib.suppress(HttpTooLarge, HttpUnreadable):
            for piece in Unpacking(encoding, "http://a", limit).feed(wire):
                taken += piece
        assert len(taken) <= limit


# --- TLS


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Misbehaving, Path]]:
    """A server whose certificate is that of runner.example, and the authority it comes from."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "runner.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("runner.example")]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority, private = folder / "authority.pem", folder / "key.pem"
    authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, private)
    with misbehaving(context) as found:
        yield found, authority


def test_a_certificate_is_that_of_the_name_wherever_it_leads(
    secure: tuple[Misbehaving, Path],
) -> None:
    server, authority = secure
    there = ExecutorUrl.parse(f"https://runner.example:{server.port}/")
    options: dict[str, Any] = {"authority": authority, "resolve": lambda host, port: ["127.0.0.1"]}
    with client(**options) as http:
        assert http.send(Ask("GET", there)).status == 200
        other = ExecutorUrl.parse(f"https://other.example:{server.port}/")
        with pytest.raises(HttpAway) as refused:
            http.send(Ask("POST", other, content=b"body"))
        assert (refused.value.sent, refused.value.reached) == (False, False)
        with pytest.raises(HttpAway):
            http.send(Ask("GET", ExecutorUrl.parse(f"https://127.0.0.1:{server.port}/")))
    with client(resolve=options["resolve"]) as http, pytest.raises(HttpAway):
        http.send(Ask("GET", there))

    async def run() -> int:
        async with AsyncHttpClient(**options) as out:
            return (await out.send(Ask("GET", there))).status

    assert asyncio.run(run()) == 200
    assert [it.headers["host"] for it in server.asked] == [f"runner.example:{server.port}"] * 2
