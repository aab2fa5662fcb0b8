"""Hostile queries: what they cost is their own worker, their author's time, and nobody else's."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from graph_api import query_queue, sandbox

if TYPE_CHECKING:
    from tests.graph_api.reading.conftest import Server

ENDLESS = "SELECT (COUNT(*) AS ?n) { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i }"
GREEDY = "SELECT * { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i } ORDER BY ?i"
QUICK = "SELECT * { <http://e/stock> ?p ?o }"


def ask(client: httpx.Client, query: str, **parameters: str) -> httpx.Response:
    return client.post("/sparql", data={"query": query, **parameters})


def kind(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition("/")[2]


def resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def settled(server: Server, seconds: float = 10.0) -> dict[str, object]:
    """The pool's numbers once nothing runs and every worker is back."""
    assert server.pool is not None
    give_up = time.monotonic() + seconds
    while True:
        status = server.pool.status()
        if (status["busy"], status["waiting"], status["workers"]) == (0, 0, 3):
            return status
        assert time.monotonic() < give_up, status
        time.sleep(0.02)


def test_an_endless_query_is_ended_at_its_limit(client: httpx.Client) -> None:
    started = time.monotonic()
    answer = ask(client, ENDLESS, timeout="0.5")
    assert 0.5 <= time.monotonic() - started < 3
    assert kind(answer) == (503, "query-timeout")
    assert "0.5 seconds" in answer.json()["detail"]
    assert "up to 4 seconds" in answer.json()["detail"]


def test_no_query_gets_more_time_than_the_server_gives(client: httpx.Client) -> None:
    answer = ask(client, ENDLESS, timeout="1e9")
    assert kind(answer) == (503, "query-timeout")
    assert answer.json()["seconds"] == 4.0
    assert "timeout=" not in answer.json()["detail"]


def test_others_are_answered_while_one_floods(server: Server) -> None:
    """Ten endless queries of one principal; another one's queries take no longer than usual."""
    with (
        server.client("flooder") as flooder,
        server.client("ada") as ada,
        ThreadPoolExecutor(10) as threads,
    ):
        ask(ada, QUICK)
        flood = [threads.submit(ask, flooder, ENDLESS, timeout="1") for _ in range(10)]
        time.sleep(0.3)
        slowest = 0.0
        for _ in range(20):
            started = time.monotonic()
            assert ask(ada, QUICK).status_code == 200
            slowest = max(slowest, time.monotonic() - started)
        assert not flood[-1].done()
        assert slowest < 1.5
        outcomes = {kind(future.result()) for future in flood}
    assert outcomes == {(503, "query-timeout")}
    settled(server)


def test_what_can_not_even_wait_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_queue, "MOST_WAITING_EACH", 4)
    with server.client("crowd", timeout=60) as crowd, ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: ask(crowd, ENDLESS, timeout="0.5"), range(20)))
    kinds = {kind(answer) for answer in answers}
    assert kinds == {(503, "query-timeout"), (503, "busy")}
    refused = next(answer for answer in answers if kind(answer)[1] == "busy")
    assert refused.headers["retry-after"] == "1"
    settled(server)


def test_a_query_that_wants_all_memory(server: Server, client: httpx.Client) -> None:
    answer = ask(client, GREEDY, timeout="4")
    assert kind(answer) == (503, "query-memory")
    assert "256 MiB" in answer.json()["detail"]
    assert ask(client, QUICK).status_code == 200
    settled(server)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * {" + "{" * 15_000 + "}" * 15_000 + "}",
        "SELECT * { FILTER(" + "!" * 30_000 + "1) }",
        "SELECT * { ?s " + "(" * 15_000 + "<x:y>" + ")" * 15_000 + " ?o }",
    ],
)
def test_a_query_that_is_nested_too_deeply(
    server: Server, client: httpx.Client, query: str
) -> None:
    answer = ask(client, query, timeout="4")
    # How far the engine gets with it is the engine's; that it is the author's fault is not.
    assert kind(answer) in {(400, "query-too-deep"), (400, "query-syntax"), (503, "query-timeout")}
    assert ask(client, QUICK).status_code == 200
    settled(server)


def test_a_result_that_is_too_large_is_refused_whole(client: httpx.Client) -> None:
    query = "SELECT * { GRAPH <http://fractalops.localhost/graph/big> { ?s ?p ?o } }"
    answer = ask(client, query)
    assert kind(answer) == (422, "result-too-large")
    assert answer.json()["limit"] == 1024 * 1024


def test_a_large_result_arrives_whole(server: Server, client: httpx.Client) -> None:
    query = "SELECT ?o { GRAPH <http://fractalops.localhost/graph/big> { ?s ?p ?o } } LIMIT 3500"
    answer = client.post("/sparql", data={"query": query}, headers={"Accept": "text/csv"})
    assert answer.status_code == 200
    assert len(answer.content) == int(answer.headers["content-length"]) > 256 * 1024
    assert len(answer.text.splitlines()) == 3501
    assert list((server.folder / "scratch").glob("worker-*-*-*")) == []


def test_a_caller_who_hangs_up_frees_the_worker(server: Server) -> None:
    assert server.pool is not None
    settled(server)
    with server.client("leaver") as client, contextlib.suppress(httpx.ReadTimeout):
        client.post("/sparql", data={"query": ENDLESS, "timeout": "4"}, timeout=0.5)
    started = time.monotonic()
    status = settled(server)
    assert time.monotonic() - started < 3
    ended = status["ended"]
    assert isinstance(ended, dict)
    assert ended["abandoned"] >= 1


def test_a_caller_who_hangs_up_while_waiting_is_forgotten(server: Server) -> None:
    assert server.pool is not None
    settled(server)
    with server.client("queue") as client, ThreadPoolExecutor(6) as threads:
        for _ in range(2):
            threads.submit(ask, client, ENDLESS, timeout="1.5")
        time.sleep(0.3)

        def leave() -> None:
            with contextlib.suppress(httpx.ReadTimeout):
                client.post("/sparql", data={"query": ENDLESS, "timeout": "4"}, timeout=0.4)

        for future in [threads.submit(leave) for _ in range(3)]:
            future.result()
        time.sleep(0.3)
        assert server.pool.status()["waiting"] == 0
    settled(server)


def test_a_hundred_ended_queries_leave_nothing_behind(server: Server) -> None:
    """The server's own process, once it has been through some, does not grow with a hundred."""
    own = Path(f"/proc/{os.getpid()}")

    def end(count: int) -> None:
        with server.client("hundred", timeout=60) as client, ThreadPoolExecutor(2) as threads:
            answers = threads.map(lambda _: ask(client, ENDLESS, timeout="0.02"), range(count))
            assert {kind(answer) for answer in answers} == {(503, "query-timeout")}
        settled(server)

    end(10)
    before, files = resident(os.getpid()), len(list((own / "fd").iterdir()))
    end(100)
    assert resident(os.getpid()) - before < 8 * 1024 * 1024
    assert len(list((own / "fd").iterdir())) <= files + 4
    assert not list((server.folder / "scratch").glob("worker-*-*-*"))


def test_killed_workers_leave_no_processes_behind(server: Server) -> None:
    settled(server)
    children = Path(f"/proc/{os.getpid()}/task")
    alive = {
        child
        for task in children.iterdir()
        for child in (task / "children").read_text().split()
        if "query_worker" in Path(f"/proc/{child}/cmdline").read_text()
    }
    assert len(alive) == 3


def test_the_status_says_what_the_workers_hold_to(server: Server) -> None:
    status = settled(server)
    assert status["network_denied"] is True
    assert status["memory_bytes"] == 256 * 1024 * 1024
    assert status["per_principal"] == 2


def test_commits_do_not_disturb_readers(server: Server) -> None:
    """New snapshots are cut and opened while queries run; each answer is of one head."""
    shop = "http://fractalops.localhost/graph/lineage/shop"
    stop = threading.Event()
    query = (
        "SELECT (COUNT(?a) AS ?n) (COUNT(?b) AS ?m)"
        " { { ?a <http://e/pair> 1 } UNION { ?b <http://e/pair> 2 } }"
    )

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            server.commit(f"GRAPH <{shop}> {{ <http://e/pair/{number}> <http://e/pair> 1, 2 }}")
            time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with server.client() as client:
            heads = []
            for _ in range(100):
                answer = ask(client, query)
                assert answer.status_code == 200, answer.text
                row = answer.json()["results"]["bindings"][0]
                assert row["n"]["value"] == row["m"]["value"]
                heads.append(int(answer.headers["fractalops-head"]))
    finally:
        stop.set()
        writer.join()
    assert heads == sorted(heads)
    assert heads[-1] > heads[0]


def in_child(action: str) -> int:
    """The exit code of a forked process that enters the sandbox and then acts."""
    pid = os.fork()
    if pid == 0:
        sandbox.enter()
        if action == "socket":
            socket.socket()
        elif action == "unix":
            socket.socket(socket.AF_UNIX)
        elif action == "program":
            os.execv("/bin/true", ["true"])
        elif action == "thread":
            opener = threading.Thread(target=socket.socket)
            opener.start()
            opener.join()
        elif action == "memory":
            held = sandbox.held()
            assert held is not None
            sandbox.limit_memory(held + 50 * 1024 * 1024)
            try:
                bytearray(100 * 1024 * 1024)
            except MemoryError:
                os._exit(7)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("nothing", 0),
        ("socket", -31),
        ("unix", -31),
        ("program", -31),
        ("thread", -31),
        ("memory", 7),
    ],
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_the_sandbox_holds(action: str, expected: int) -> None:
    if not sandbox.supported():
        pytest.skip("this kernel or processor has no seccomp filter that is known here")
    assert in_child(action) == expected
