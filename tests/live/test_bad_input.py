"""Bad input to a running server: a clear answer, a count, and nothing lost.

What a damaged folder is told at its start is in ``test_bad_folders.py``.
"""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from ontology.vocab import Fo

if TYPE_CHECKING:
    from tests.live.conftest import MakeSpans, Platform, ServiceTurtle

pytestmark = pytest.mark.live

MEBIBYTE = 1024 * 1024
PROTOBUF = "application/x-protobuf"
PROPOSE = "/proposals?project=shop&graph=lineage/shop&rationale=bad"
ENDLESS = "SELECT (COUNT(*) AS ?n) { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i . ?j ?k ?l }"
GREEDY = "SELECT * { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i } ORDER BY ?c ?f ?i"


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The problem document of a refusal, which is complete."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    document: dict[str, Any] = answer.json()
    assert document["type"].endswith(f"/problems/{kind}"), document
    assert document["status"] == status
    assert document["title"]
    assert len(document["detail"]) > 10
    return document


@contextmanager
def counted(platform: Platform, kind: str, times: int = 1) -> Iterator[None]:
    """What happens within is counted as a problem of this type, and changes nothing."""
    server = platform.server
    before, head = server.problems(kind), server.head
    yield
    assert server.problems(kind) == before + times
    assert server.head == head


@pytest.mark.parametrize(
    ("content_type", "body", "line", "column"),
    [
        ("text/turtle", "<http://a/s> <http://a/p> 1 .\n<http://a/s> <http://a/p> oops .\n", 2, 27),
        ("application/n-triples", "<http://a/s> <http://a/p> .\n", 1, 27),
        ("application/ld+json", '{"@id": "http://a/s",\n "http://a/p": }', 2, 16),
        ("application/sparql-update", "INSERT DATA {\n <http://a/s> <http://a/p> }", 2, 28),
        ("text/turtle", "\n<http://exa mple/s> <http://a/p> 1 .", 2, 1),
        ("text/turtle", "\n<relative> <http://a/p> 1 .", 2, 1),
    ],
)
def test_unparsable_rdf_and_invalid_iris(
    platform: Platform, content_type: str, body: str, line: int, column: int
) -> None:
    with counted(platform, "unparsable-rdf"), platform.client("shop") as client:
        answer = client.post(PROPOSE, content=body, headers={"Content-Type": content_type})
    told = problem(answer, 400, "unparsable-rdf")
    assert told["line"] == line, told
    assert abs(told["column"] - column) <= 1, told


def test_wrong_content_types(platform: Platform) -> None:
    with counted(platform, "unsupported-media-type"), platform.client("shop") as client:
        answer = client.post(PROPOSE, content="<a>", headers={"Content-Type": "text/html"})
    assert "text/turtle" in problem(answer, 415, "unsupported-media-type")["detail"]
    with counted(platform, "content-type-unknown"), platform.client("analyst") as client:
        answer = client.post("/sparql", content="ASK {}", headers={"Content-Type": "text/html"})
    assert "application/sparql-query" in problem(answer, 415, "content-type-unknown")["detail"]
    with refused_export(platform, "content-type-unsupported"):
        answer = export(platform, b"{}", **{"Content-Type": "text/html"})
        assert answer.status_code == 415


@contextmanager
def refused_export(platform: Platform, outcome: str) -> Iterator[None]:
    """What happens within is counted by the receiver, and stores nothing."""
    server = platform.server

    def count() -> float:
        return server.metric(
            "fractalops_ingest_requests_total", signal="traces", outcome=outcome
        ) + server.metric("fractalops_ingest_requests_total", outcome=outcome, signal="traces")

    before, batches = count(), server.get("/status")["inbox"]["batches"]
    yield
    assert count() == before + 1
    assert server.get("/status")["inbox"]["batches"] == batches


def export(platform: Platform, body: bytes, **headers: str) -> httpx.Response:
    with platform.server.client(platform.keys["shop"]) as client:
        return client.post("/v1/traces", content=body, headers={"Content-Type": PROTOBUF} | headers)


def test_a_truncated_export(platform: Platform, make_spans: MakeSpans) -> None:
    body = make_spans("truncated", 3).SerializeToString()
    with refused_export(platform, "payload-undecodable"):
        answer = export(platform, body[:-7])
        assert answer.status_code == 400
        assert answer.headers["content-type"] == PROTOBUF
        assert b"send" in answer.content
    with refused_export(platform, "body-corrupt"):
        answer = export(platform, gzip.compress(body)[:-9], **{"Content-Encoding": "gzip"})
        assert answer.status_code == 400


def test_a_wrong_key(platform: Platform) -> None:
    for key in ("foi_" + "x" * 43, platform.tokens["operator"], ""):
        with refused_export(platform, "ingest-key-refused"):
            answer = httpx.post(
                f"{platform.server.url}/v1/traces",
                content=b"",
                headers={"Content-Type": PROTOBUF, "x-fractalops-key": key},
                trust_env=False,
            )
            assert answer.status_code == 401
            assert b"OTEL_EXPORTER_OTLP_HEADERS" in answer.content
            assert not key or key.encode() not in answer.content
    with counted(platform, "token-unknown"):
        with platform.server.client("fot_" + "x" * 43) as client:
            answer = client.get("/sparql", params={"query": "ASK {}"})
        assert "operator" in problem(answer, 401, "token-unknown")["detail"]


def test_an_unknown_project(platform: Platform) -> None:
    with counted(platform, "unknown-project"), platform.client("operator") as client:
        answer = client.post(
            "/proposals?project=nowhere&graph=lineage/shop&rationale=x",
            content="<http://a/s> <http://a/p> 1 .",
            headers={"Content-Type": "text/turtle"},
        )
    assert "projects create nowhere" in problem(answer, 404, "unknown-project")["detail"]


# --- too much


def bomb(plain: int) -> bytes:
    """A gzip body of so many zeros: members of 16 MiB, 16 KiB each."""
    return gzip.compress(bytes(16 * MEBIBYTE)) * (plain // (16 * MEBIBYTE))


def test_a_gzip_bomb(platform: Platform) -> None:
    body = bomb(2048 * MEBIBYTE)
    assert len(body) < 4 * MEBIBYTE
    before = platform.server.own_resident()
    with refused_export(platform, "body-too-large"):
        answer = export(platform, body, **{"Content-Encoding": "gzip"})
        assert answer.status_code == 413
    with counted(platform, "body-too-large"), platform.client("shop") as client:
        answer = client.post(
            PROPOSE,
            content=body,
            headers={"Content-Type": "text/turtle", "Content-Encoding": "gzip"},
        )
    assert "split it" in problem(answer, 413, "body-too-large")["detail"]
    assert platform.server.own_resident() - before < 150 * MEBIBYTE


@contextmanager
def connection(platform: Platform) -> Iterator[socket.socket]:
    place = urlsplit(platform.server.url)
    assert place.hostname is not None
    with socket.create_connection((place.hostname, place.port or 80), timeout=60) as connected:
        yield connected


def head_of(path: str, token: str, content_type: str, length: str) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: {content_type}\r\n{length}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize(
    ("path", "who", "content_type", "most"),
    [
        (PROPOSE, "shop", "text/turtle", 32),
        ("/v1/traces", "key", PROTOBUF, 20),
        ("/sparql", "analyst", "application/sparql-query", 1),
        ("/facts", "analyst", "application/sql", 1),
        ("/proposals/x/decisions", "operator", "application/json", 1),
        ("/tokens", "nobody", "application/json", 1),
    ],
    ids=lambda value: str(value).partition("?")[0],
)
def test_a_body_of_two_gigabytes(
    platform: Platform, path: str, who: str, content_type: str, most: int
) -> None:
    """Announced, it is refused at once; in chunks, when it passes the limit."""
    token = {**platform.tokens, "key": platform.keys["shop"], "nobody": "x"}[who]
    announced = head_of(path, token, content_type, f"Content-Length: {2048 * MEBIBYTE}")
    with connection(platform) as connected:
        connected.sendall(announced)
        assert b" 413 " in connected.recv(4096).partition(b"\r\n")[0]

    before, sent = platform.server.own_resident(), 0
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with connection(platform) as connected:
        connected.sendall(head_of(path, token, content_type, "Transfer-Encoding: chunked"))
        connected.settimeout(20)
        try:
            while sent < 2048 * MEBIBYTE:
                connected.sendall(chunk)
                sent += 65536
        except (BrokenPipeError, ConnectionResetError):
            # Refused, and hung up on: the rest is not read.
            assert sent > 0
    # What the sockets hold between them is not the server's.
    assert sent < (most + 32) * MEBIBYTE
    assert platform.server.own_resident() - before < 150 * MEBIBYTE


# --- clients that leave


def test_a_client_that_hangs_up(
    platform: Platform, turtle_of: ServiceTurtle, make_spans: MakeSpans
) -> None:
    """In the middle of its body nothing is stored; in the middle of an answer, others go on."""
    server = platform.server
    turtle = turtle_of(server.ids, "shop", "cut-off").encode()
    payload = make_spans("cut-off", 3).SerializeToString()
    batches = server.get("/status")["inbox"]["batches"]
    for path, token, content_type, body in (
        (PROPOSE, platform.tokens["shop"], "text/turtle", turtle),
        ("/v1/traces", platform.keys["shop"], PROTOBUF, payload),
    ):
        with counted_departure(platform, path), connection(platform) as connected:
            connected.sendall(head_of(path, token, content_type, f"Content-Length: {len(body)}"))
            connected.sendall(body[: len(body) // 2])
    assert server.get("/status")["inbox"]["batches"] == batches
    assert not server.select(f'SELECT ?s {{ ?s a <{Fo.Service}> ; ?p "cut-off" }}')

    with connection(platform) as connected:
        connected.sendall(
            head_of("/graphs?graph=all", platform.tokens["shop"], "", "").replace(b"POST", b"GET")
        )
        assert connected.recv(16).startswith(b"HTTP/1.1 200")
    with platform.client("shop") as client:
        answer = client.post(PROPOSE, content=turtle, headers={"Content-Type": "text/turtle"})
    assert answer.status_code == 201


@contextmanager
def counted_departure(platform: Platform, path: str) -> Iterator[None]:
    server = platform.server

    def count() -> float:
        if path == "/v1/traces":
            return server.metric(
                "fractalops_ingest_requests_total", outcome="client-gone", signal="traces"
            )
        return server.problems("client-gone")

    before, head = count(), server.head
    yield
    until(lambda: count() == before + 1)
    assert server.head == head


def until(condition: Any, seconds: float = 30) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_a_reader_that_hangs_up_frees_its_worker(platform: Platform) -> None:
    body = ENDLESS.encode()
    for _ in range(4):
        with connection(platform) as connected:
            connected.sendall(
                head_of(
                    "/sparql?timeout=6",
                    platform.tokens["analyst"],
                    "application/sparql-query",
                    f"Content-Length: {len(body)}",
                )
                + body
            )
            time.sleep(0.3)
    began = time.monotonic()
    with platform.client("analyst") as client:
        assert client.get("/sparql", params={"query": "ASK {}"}).is_success
    assert time.monotonic() - began < 5


# --- queries without end


def test_an_endless_query_harms_nobody(platform: Platform) -> None:
    """It ends at its limit, and meanwhile somebody else's queries are answered."""
    answers: list[httpx.Response] = []

    def ask() -> None:
        with platform.client("analyst") as client:
            answers.append(client.get("/sparql", params={"query": ENDLESS, "timeout": "4"}))

    thread = threading.Thread(target=ask)
    with counted(platform, "query-timeout"):
        thread.start()
        answered, slowest = 0, 0.0
        with platform.client("auditor") as client:
            while thread.is_alive():
                began = time.monotonic()
                assert client.get("/sparql", params={"query": "ASK {}"}).is_success
                slowest = max(slowest, time.monotonic() - began)
                answered += 1
        thread.join()
    told = problem(answers[0], 503, "query-timeout")
    assert "LIMIT" in told["detail"]
    assert answered >= 5
    assert slowest < 3


def test_a_hundred_endless_queries_leave_no_trace(platform: Platform) -> None:
    def ask(times: int) -> None:
        with platform.client("analyst") as client:
            for _ in range(times):
                answer = client.get("/sparql", params={"query": ENDLESS, "timeout": "0.05"})
                problem(answer, 503, "query-timeout")

    ask(5)
    before, everything = platform.server.own_resident(), platform.server.resident()
    with counted(platform, "query-timeout", 100):
        threads = [threading.Thread(target=ask, args=(50,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert platform.server.own_resident() - before < 16 * MEBIBYTE
    assert platform.server.resident() - everything < 100 * MEBIBYTE


def test_a_query_that_wants_all_memory(platform: Platform) -> None:
    before = platform.server.own_resident()
    with counted(platform, "query-memory"), platform.client("analyst") as client:
        answer = client.get("/sparql", params={"query": GREEDY, "timeout": "6"})
    assert "fewer rows" in problem(answer, 503, "query-memory")["detail"]
    assert platform.server.own_resident() - before < 32 * MEBIBYTE
    with platform.client("analyst") as client:
        assert client.get("/sparql", params={"query": "ASK {}"}).is_success


def test_facts_that_never_end(platform: Platform) -> None:
    sql = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1"
    with platform.client("analyst") as client:
        answer = client.get("/facts", params={"query": sql})
    assert answer.status_code in (403, 503), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
