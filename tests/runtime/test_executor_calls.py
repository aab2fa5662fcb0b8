"""Requests to real servers that answer well, badly, partly or not at all."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event

import pytest

from runtime.commands import Kept, Stream
from runtime.control_request import ControlRequest, Reply
from runtime.errors import RequestRefused
from runtime.executor_calls import ExecutorCalls
from runtime.http_client import HttpClient
from runtime.http_retries import ONCE
from runtime.urls import ExecutorUrl

HEAD = b"HTTP/1.1 %s\r\nConnection: close\r\n"
WELL = HEAD % b"200 OK" + b"Content-Length: 5\r\nContent-Type: text/plain\r\n\r\nwell\n"


@contextmanager
def answering(*parts: bytes, wait: Event | None = None) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers each connection with these bytes and hangs up; what it was asked."""
    asked: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.05)
    over = Event()

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(10)
                data = connection.recv(65_536)
                asked.append(data)
                for part in parts:
                    connection.sendall(part)
                if wait is not None:
                    wait.wait(20)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/", asked
    finally:
        over.set()
        if wait is not None:
            wait.set()
        thread.join()
        server.close()


@pytest.fixture
def calls() -> Iterator[ExecutorCalls]:
    with HttpClient("test", retries=ONCE, circuit=None) as client:
        yield ExecutorCalls(client, lambda: datetime.now(UTC))


def send(calls: ExecutorCalls, url: str, request: ControlRequest) -> tuple[Reply, bytes]:
    kept = Kept()
    reply = calls.send(ExecutorUrl.parse(url), request, kept, Event())
    return reply, kept.stdout


GET = ControlRequest("GET", "/health", seconds=5)


def test_an_answer_is_passed_on_counted_and_digested(calls: ExecutorCalls) -> None:
    with answering(WELL) as (url, asked):
        reply, heard = send(calls, f"{url}base/", ControlRequest("GET", "/a b", output_bytes=3))
    assert (reply.outcome, reply.status, reply.content_type) == ("succeeded", 200, "text/plain")
    assert heard == b"wel"
    assert reply.body is not None
    assert (reply.body.size, reply.body.passed) == (5, 3)
    assert reply.body.digest == f"sha256:{hashlib.sha256(b'well' + bytes([10])).hexdigest()}"
    assert asked[0].startswith(b"GET /base/a%20b HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("answer", "outcome", "status", "said"),
    [
        (HEAD % b"503 Busy" + b"Retry-After: 0\r\nContent-Length: 0\r\n\r\n", "failed", 503, ""),
        (HEAD % b"404 No" + b"Content-Length: 0\r\n\r\n", "failed", 404, ""),
        (
            HEAD % b"302 Found"
            + b"Location: http://169.254.169.254/latest?token=x\r\nContent-Length: 0\r\n\r\n",
            *("failed", 302, "redirects to http://169.254.169.254/latest, which is not followed"),
        ),
        (HEAD % b"200 OK" + b"Content-Length: 50\r\n\r\nshort", "unknown", 200, ""),
        (b"", "unknown", None, ""),
        (b"nonsense\r\n\r\n", "unknown", None, ""),
    ],
)
def test_it_is_sent_once_whatever_the_answer(
    calls: ExecutorCalls, answer: bytes, outcome: str, status: int | None, said: str
) -> None:
    with answering(answer) as (url, asked):
        reply, _ = send(calls, url, GET)
    assert (reply.outcome, reply.status) == (outcome, status)
    assert said in reply.reason
    assert "token" not in reply.reason + reply.location
    assert len(asked) == 1


def test_nothing_is_sent_where_nobody_listens_or_nothing_may_lead(calls: ExecutorCalls) -> None:
    with answering() as (url, _):
        pass
    assert send(calls, url, GET)[0].outcome == "not-started"
    for address in ("http://169.254.169.254/", "http://[fd00:ec2::254]/"):
        reply, _ = send(calls, address, GET)
        assert (reply.outcome, reply.status) == ("not-started", None)


def test_a_server_that_says_nothing_is_unknown(calls: ExecutorCalls) -> None:
    with answering(wait=Event()) as (url, asked):
        reply, _ = send(calls, url, ControlRequest("POST", "/x", b"{}", "text/json", seconds=0.3))
    assert reply.outcome == "unknown"
    assert len(asked) == 1


def test_one_that_is_cancelled_before_is_not_sent(calls: ExecutorCalls) -> None:
    cancel = Event()
    cancel.set()
    with answering(WELL) as (url, asked):
        reply = calls.send(ExecutorUrl.parse(url), GET, Kept(), cancel)
    assert (reply.outcome, asked) == ("cancelled", [])


def test_one_that_is_cancelled_while_it_is_answered_is_unknown(calls: ExecutorCalls) -> None:
    cancel, heard = Event(), Event()

    def sink(stream: Stream, chunk: bytes) -> None:
        cancel.set()
        heard.set()

    head = HEAD % b"200 OK" + b"Content-Length: 10\r\n\r\n"
    # The server hangs up once half of its answer was heard.
    with answering(head, b"12345", wait=heard) as (url, _):
        reply = calls.send(ExecutorUrl.parse(url), GET, sink, cancel)
    assert (reply.outcome, reply.status) == ("unknown", 200)


def test_a_probe_raises_nothing(calls: ExecutorCalls) -> None:
    with answering(WELL) as (url, asked):
        found = calls.probe(ExecutorUrl.parse(url), "GET", "/ready", {"Authorization": "Bearer t"})
    assert found.status == 200
    assert b"authorization: bearer t\r\n" in asked[0].lower()
    assert calls.probe(ExecutorUrl.parse(url), "HEAD", "", {}).status is None


@pytest.mark.parametrize(
    "made",
    [
        lambda: ControlRequest("GET", "/x", b"body"),
        lambda: ControlRequest("POST", "/x", b"x", "a\r\nb"),
        lambda: ControlRequest("GET", "/x", seconds=0),
        lambda: ControlRequest("GET", "/x", seconds=float("inf")),
        lambda: ControlRequest("GET", "/x", output_bytes=-1),
        lambda: ControlRequest.of({"kind": "request", "method": "GET"}),
        lambda: ControlRequest.of(
            {"method": "POST", "path": "/", "body_base64": "*", "seconds": 1}
        ),
    ],
)
def test_what_is_no_request_is_refused(made: Callable[[], ControlRequest]) -> None:
    with pytest.raises(RequestRefused):
        made()


@pytest.mark.parametrize("body", [b"", b'{"n": 1}', b"\xff\x00"])
def test_an_order_says_all_of_a_request(body: bytes) -> None:
    request = ControlRequest("POST", "/x", body, "a/b" if body else "", 2.5, 10)
    assert ControlRequest.of(request.action()) == request
