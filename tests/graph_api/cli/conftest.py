"""A server that answers as a test says, and a way to run the command against it."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response

from graph_api.cli import main

TOKEN = "fot_" + "T" * 43


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Seen:
    """A request that reached the server."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class FakeServer:
    """Answers by method and path; a path without an answer is a problem of its own."""

    url: str = ""
    answers: dict[str, Response | Callable[[Seen], Response]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def says(
        self,
        request: str,
        body: object,
        *,
        status: int = 200,
        media_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer ``"GET /path"`` with this; bytes as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers[request] = Response(content, status, headers, media_type)

    def refuses(self, request: str, status: int, title: str, detail: str, **extra: object) -> None:
        """Answer with a problem document."""
        kind = title.lower().replace(" ", "-")
        problem = {
            "type": f"https://w3id.org/fractalops/problems/{kind}",
            "title": title,
            "status": status,
            "detail": detail,
            **extra,
        }
        self.says(request, problem, status=status, media_type="application/problem+json")

    @property
    def last(self) -> Seen:
        return self.seen[-1]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        raw_path = scope["raw_path"].decode()
        seen = Seen(
            request.method,
            raw_path,
            {name: request.query_params.getlist(name) for name in request.query_params},
            dict(request.headers),
            await request.body(),
        )
        self.seen.append(seen)
        answer = self.answers.get(f"{request.method} {raw_path}")
        if answer is None:
            answer = Response(f"nothing at {request.method} {raw_path}", 404)
        response = answer if isinstance(answer, Response) else answer(seen)
        await response(scope, receive, send)


@pytest.fixture
def fake(listening: FakeServer) -> FakeServer:
    """A server on loopback that has no answers yet and has seen nothing."""
    listening.answers.clear()
    listening.seen.clear()
    return listening


@pytest.fixture(scope="session")
def listening() -> Iterator[FakeServer]:
    """One server for all tests: starting and stopping one takes a while."""
    server = FakeServer()
    config = uvicorn.Config(server, host="127.0.0.1", port=0, log_level="error", lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not running.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{port}"
    yield server
    running.should_exit = True
    thread.join()


@pytest.fixture
def data(fake: FakeServer, tmp_path: Path) -> Path:
    """The data folder of the fake server, with the operator's token."""
    folder = tmp_path / "data folder"
    folder.mkdir()
    (folder / "server.json").write_text(json.dumps({"url": fake.url, "pid": os.getpid()}))
    (folder / "operator.token").write_text(TOKEN + "\n")
    return folder


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Result]:
    """Run the command in an environment that names nothing, in an empty folder."""
    for name in list(os.environ):
        if name.startswith("FRACTALOPS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: object, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return invoke


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, run: Callable[..., Result]) -> Callable[..., Result]:
    """Run the command as if stdout were a terminal."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def invoke(*arguments: object, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        return run(*arguments, stdin=stdin)

    return invoke


@pytest.fixture
def proposal() -> dict[str, Any]:
    """A proposal as the server shows one that was applied."""
    return {
        "id": "p1",
        "iri": "http://fractalops.localhost/id/proposal/p1",
        "state": "applied",
        "head": 7,
        "proof": 7,
        "report": {"conforms": True, "results": []},
        "project": "shop",
        "graphs": ["http://fractalops.localhost/graph/lineage/shop"],
        "author": "ann",
        "rationale": "because",
        "submitted_at": "2026-11-22T10:00:00Z",
        "additions": 2,
        "removals": 1,
        "evidence": ["sha256:" + "a" * 64],
        "decisions": [
            {
                "by": "policy",
                "outcome": "approve",
                "reason": "own graph",
                "at": "2026-11-22T10:00:01Z",
                "single_person": False,
            }
        ],
        "time_lock_until": None,
        "reverts": None,
        "transitions": [{"state": "applied", "at": "2026-11-22T10:00:01Z", "proof": 7}],
    }
