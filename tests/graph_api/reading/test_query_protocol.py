"""The short way to the query endpoint: the same answers, and every other byte to the usual one."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from tests.graph_api.reading.conftest import Server

ASK = "ASK { ?s <http://e/rank> 3 }"
ALL = "SELECT * { ?s ?p ?o }"
FIELDS = "Host: h\r\nAuthorization: Bearer ada\r\nAccept: application/sparql-results+json\r\n"
STRANGER = FIELDS.replace("Bearer ada", "Basic YTpi")
_LENGTH = re.compile(rb"content-length: (\d+)")


class Wire:
    """A connection whose every byte is ours."""

    def __init__(self, server: Server) -> None:
        port = int(server.url.rpartition(":")[2])
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def send(self, *pieces: bytes) -> None:
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(0.05)
            self.socket.sendall(piece)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, header fields, body."""
        while b"\r\n\r\n" not in self._received:
            self._more()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        assert length is not None, head
        while len(self._received) < int(length[1]):
            self._more()
        body, self._received = (
            self._received[: int(length[1])],
            self._received[int(length[1]) :],
        )
        first, *lines = head.decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        return int(first.split()[1]), fields, body

    def closed(self) -> bool:
        """Whether nothing more comes."""
        return not self._received and not self.socket.recv(1)

    def silent(self, seconds: float) -> bool:
        """Whether nothing comes for a while."""
        self.socket.settimeout(seconds)
        try:
            return not self._received and self.socket.recv(1) is None
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(20)

    def _more(self) -> None:
        data = self.socket.recv(65536)
        assert data, "the connection was closed"
        self._received += data


def get(query: str = ASK, fields: str = FIELDS, extra: str = "") -> bytes:
    return f"GET /sparql?query={quote(query)}{extra} HTTP/1.1\r\n{fields}\r\n".encode()


def boolean(answer: tuple[int, dict[str, str], bytes]) -> bool:
    status, _, body = answer
    assert status == 200, body
    found: bool = json.loads(body)["boolean"]
    return found


def rows(answer: tuple[int, dict[str, str], bytes]) -> int:
    status, _, body = answer
    assert status == 200, body
    return len(json.loads(body)["results"]["bindings"])


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    wire = Wire(server)
    yield wire
    wire.socket.close()


@pytest.fixture
def taken(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the short way was gone, for each query that was offered to it."""
    assert server.endpoint is not None
    start, seen = server.endpoint.start, []

    def watched(*arguments: Any) -> Any:
        started = start(*arguments)
        seen.append(started is not None)
        return started

    monkeypatch.setattr(server.endpoint, "start", watched)
    return seen


def test_both_ways_answer_the_same(wire: Wire, taken: list[bool]) -> None:
    wire.send(get(), get(extra="&timeout=2"))
    (_, short, short_body), (_, usual, usual_body) = wire.answer(), wire.answer()
    assert taken == [True]
    assert short_body == usual_body
    assert list(short) == list(usual)
    assert {**short, "date": ""} == {**usual, "date": ""}


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(get(fields=FIELDS + "Content-Length: 2\r\n") + b"{}", id="a body"),
        pytest.param(get(fields=FIELDS + "Connection: close\r\n"), id="the last request"),
        pytest.param(get(fields=FIELDS + "If-None-Match: x\r\n"), id="a condition"),
        pytest.param(get(fields=FIELDS + "Expect: 100-continue\r\n"), id="an expectation"),
        pytest.param(get(fields=FIELDS + f"X: {'x' * 3000}\r\n"), id="long fields"),
        pytest.param(get(extra="&min_head=0"), id="another parameter"),
        pytest.param(get().replace(b"%7B", b"{"), id="a character that should be encoded"),
        pytest.param(get().replace(b"HTTP/1.1", b"HTTP/1.0"), id="HTTP 1.0"),
        pytest.param(get().replace(b"Host", b" Host", 1), id="a folded field"),
        pytest.param(get().replace(b"query=", b"quer%79="), id="an encoded name"),
    ],
)
def test_what_is_unusual_goes_the_usual_way(wire: Wire, taken: list[bool], request_: bytes) -> None:
    wire.send(request_)
    status, _, body = wire.answer()
    assert status in (200, 400), body
    assert taken == []


def test_a_stranger_gets_the_problem_the_usual_way(wire: Wire, taken: list[bool]) -> None:
    wire.send(get(ASK, STRANGER))
    assert wire.answer()[0] == 401
    assert taken == [False]


@pytest.mark.parametrize(
    ("query", "status"), [("ASK { ?s ", 400), ("DROP ALL", 403), (ALL, 422), (ASK, 200)]
)
def test_a_refused_query_is_a_problem_and_the_connection_goes_on(
    wire: Wire, taken: list[bool], query: str, status: int
) -> None:
    wire.send(get(query))
    answer = wire.answer()
    assert answer[0] == status
    if status != 200:
        assert answer[1]["content-type"] == "application/problem+json"
        assert json.loads(answer[2])["status"] == status
    wire.send(get())
    assert boolean(wire.answer())
    assert taken == [True, True]


def test_requests_that_come_together_are_answered_in_order(wire: Wire, taken: list[bool]) -> None:
    first, second, third = get(ALL + " LIMIT 1"), get(ALL + " LIMIT 2"), get(ALL + " LIMIT 3")
    wire.send(first + second, third)
    assert [rows(wire.answer()) for _ in range(3)] == [1, 2, 3]
    slow = get("SELECT (COUNT(*) AS ?n) { ?a ?b ?c . ?d <http://e/rank> ?f }")
    wire.socket.sendall(slow)
    wire.socket.sendall(second)
    wire.socket.sendall(third)
    assert [rows(wire.answer()) for _ in range(3)] == [1, 2, 3]
    assert any(taken)


def test_another_request_may_follow_before_the_answer(wire: Wire) -> None:
    wire.socket.sendall(get(ALL + " LIMIT 1"))
    wire.socket.sendall(b"GET /graphs HTTP/1.1\r\n" + FIELDS.encode() + b"\r\n")
    assert rows(wire.answer()) == 1
    assert wire.answer()[0] in (200, 406)


@pytest.mark.parametrize("cut", [1, 5, 12, 30, 60, -3, -1])
def test_a_request_may_come_in_pieces(wire: Wire, cut: int) -> None:
    whole = get()
    wire.send(whole[:cut], whole[cut:])
    assert boolean(wire.answer())
    wire.send(whole)
    assert boolean(wire.answer())


def test_a_body_that_looks_like_a_request_stays_a_body(wire: Wire, taken: list[bool]) -> None:
    hidden = get()
    head = f"POST /sparql HTTP/1.1\r\n{STRANGER}Content-Type: application/sparql-query\r\n"
    wire.send(f"{head}Content-Length: {len(hidden) + 5}\r\n\r\n".encode())
    # Refused, and answered, before the body came.
    assert wire.answer()[0] == 401
    wire.send(hidden, b"12345", get(ALL + " LIMIT 1"))
    assert rows(wire.answer()) == 1
    assert taken == [True]
    assert wire.silent(0.2)


def test_a_request_in_the_middle_of_another_is_none(wire: Wire, taken: list[bool]) -> None:
    wire.send(b"GET /graphs HTTP/1.1\r\nX: ", get())
    assert wire.answer()[0] == 406
    assert taken == []


def test_a_long_answer_is_whole_even_to_a_slow_reader(wire: Wire, taken: list[bool]) -> None:
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.send(get(ALL + " LIMIT 2500"), get())
    time.sleep(0.5)
    answer = wire.answer()
    assert len(answer[2]) > 300_000
    assert rows(answer) == 2500
    assert boolean(wire.answer())
    assert taken[0]


def test_a_caller_who_leaves_early_costs_no_worker(server: Server, taken: list[bool]) -> None:
    assert server.pool is not None
    before = sum(server.pool.status()["ended"].values())
    for _ in range(5):
        wire = Wire(server)
        wire.send(get())
        wire.socket.close()
        time.sleep(0.02)
    time.sleep(0.2)
    assert taken == [True] * 5
    assert sum(server.pool.status()["ended"].values()) == before


def test_a_long_answer_that_nobody_waits_for_leaves_no_file(server: Server) -> None:
    for _ in range(3):
        wire = Wire(server)
        wire.send(get(ALL + " LIMIT 2500"))
        wire.socket.close()
    give_up = time.monotonic() + 5
    while server.pool is None or server.pool.status()["busy"] or server.pool.status()["waiting"]:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    assert list((server.folder / "scratch").glob("worker-*-*-*")) == []


def test_a_caller_who_leaves_a_long_query_ends_it(server: Server) -> None:
    assert server.pool is not None
    before = server.pool.status()["ended"].get("abandoned", 0)
    wire = Wire(server)
    wire.send(get("SELECT (COUNT(*) AS ?n) { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i }"))
    time.sleep(0.2)
    wire.socket.close()
    give_up = time.monotonic() + 1.5
    while server.pool.status()["ended"].get("abandoned", 0) == before:
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_own_writes_are_waited_for(server: Server, taken: list[bool]) -> None:
    head = server.commit("GRAPH <http://e/g> { <http://e/new> <http://e/is> 1 }")
    server.committed["ada"] = head
    wire = Wire(server)
    wire.send(get("ASK { <http://e/new> <http://e/is> 1 }"))
    answer = wire.answer()
    assert boolean(answer)
    assert int(answer[1]["fractalops-head"]) >= head
    wire.socket.close()
    assert len(taken) == 1


def test_a_quiet_connection_is_closed_in_the_end(server: Server) -> None:
    wire = Wire(server)
    wire.send(get())
    assert boolean(wire.answer())
    started = time.monotonic()
    assert wire.closed()
    # uvicorn's own time for that.
    assert 3 < time.monotonic() - started < 10
    wire.socket.close()
