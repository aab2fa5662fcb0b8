"""Which server a command speaks to, as whom, and how it ends."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from runtime.process_exec import capture, spawn

STATUS = {
    "version": "1",
    "head": 3,
    "log_key": {"name": "log", "custody": "file"},
    "projects": ["shop"],
}


def own(folder: Path, url: str, token: str) -> Path:
    folder.mkdir()
    (folder / "server.json").write_text(json.dumps({"url": url, "pid": os.getpid()}))
    (folder / "operator.token").write_text(token)
    return folder


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def test_the_data_folder_names_server_and_operator(
    fake: Any, data: Path, run: Callable[..., Any]
) -> None:
    fake.says("GET /status", STATUS)
    shown = run("status", "--data", data)
    assert shown.code == 0
    assert (
        fake.last.headers["authorization"]
        == f"Bearer {(data / 'operator.token').read_text().strip()}"
    )
    assert "fot_" not in shown.out + shown.err
    assert "log key custody  file" in shown.out


@pytest.mark.parametrize("place", ["before", "after", "environment"])
def test_the_data_folder_may_stand_anywhere(
    fake: Any, data: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    fake.says("GET /status", STATUS)
    option = ["--data", data]
    if place == "environment":
        monkeypatch.setenv("FRACTALOPS_DATA", str(data))
    before = option if place == "before" else []
    after = option if place == "after" else []
    assert run(*before, "status", *after).code == 0
    assert "authorization" in fake.last.headers


def test_url_and_token_of_the_environment(
    fake: Any, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.says("GET /status", STATUS)
    monkeypatch.setenv("FRACTALOPS_URL", fake.url + "/")
    monkeypatch.setenv("FRACTALOPS_TOKEN", "fot_mine")
    shown = run("--output", "json", "status")
    assert json.loads(shown.out) == STATUS
    assert fake.last.headers["authorization"] == "Bearer fot_mine"


def test_the_token_of_the_environment_decides_who_calls(
    fake: Any, data: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.says("GET /status", STATUS)
    monkeypatch.setenv("FRACTALOPS_TOKEN", "fot_analyst")
    run("status", "--data", data)
    assert fake.last.headers["authorization"] == "Bearer fot_analyst"


def test_the_command_line_wins_over_the_environment(
    fake: Any, data: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.says("GET /status", STATUS)
    monkeypatch.setenv("FRACTALOPS_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("FRACTALOPS_OUTPUT", "csv")
    shown = run("status", "--data", data, "--output", "json")
    assert json.loads(shown.out) == STATUS


def test_a_folders_token_goes_to_no_other_machine(
    data: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    class Watched:
        def __init__(self, url: str, token: str | None, **_: object) -> None:
            seen.append(token)
            raise SystemExit(0)

    monkeypatch.setattr("graph_api.client.Client", Watched)
    run("--url", "https://elsewhere.example", "status", "--data", data)
    run("--url", "http://localhost:1", "status", "--data", data)
    run("--url", "http://127.0.0.1.evil.example", "status", "--data", data)
    assert seen == [None, (data / "operator.token").read_text().strip(), None]


def test_a_proxy_does_not_come_between_this_machine_and_itself(
    fake: Any, data: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    fake.says("GET /status", STATUS)
    assert run("status", "--data", data).code == 0


def test_no_server_says_how_to_start_one(run: Callable[..., Any], tmp_path: Path) -> None:
    shown = run("status", "--data", tmp_path / "none")
    assert shown.code == 1
    assert f"fractalops up --data {tmp_path / 'none'}" in shown.err
    assert shown.out == ""
    shown = run("--url", f"http://127.0.0.1:{free_port()}", "status")
    assert shown.code == 1
    assert "no server answers" in shown.err


def test_a_killed_servers_address_is_not_used(
    fake: Any, data: Path, run: Callable[..., Any]
) -> None:
    ended = spawn([sys.executable, "-c", ""])
    ended.wait(60)
    (data / "server.json").write_text(json.dumps({"url": fake.url, "pid": ended.pid}))
    shown = run("status", "--data", data)
    assert shown.code == 1
    assert "no server runs on" in shown.err
    assert fake.seen == []


def test_a_broken_address_file_is_named(data: Path, run: Callable[..., Any]) -> None:
    (data / "server.json").write_text("{")
    shown = run("status", "--data", data)
    assert shown.code == 1
    assert "server.json cannot be read" in shown.err


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            401,
            b'{"title": "No token", "detail": "Send one."}',
            "No token: Send one. FRACTALOPS_TOKEN",
        ),
        (403, b'{"title": "Wrong role", "detail": "Ask."}', "Wrong role: Ask."),
        (502, b"<html>bad gateway</html>", "Bad Gateway: <html>bad gateway</html>"),
        (500, b"", "Internal Server Error"),
        (422, b'{"detail": [{"msg": "field required"}]}', "field required"),
        (404, b"[1]", "Not Found: [1]"),
    ],
)
def test_a_refusal_is_said_and_never_a_traceback(
    fake: Any, data: Path, run: Callable[..., Any], status: int, body: bytes, expected: str
) -> None:
    fake.says("GET /status", body, status=status)
    shown = run("status", "--data", data)
    assert shown.code == 1
    assert f"error: {expected}" in shown.err or expected in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_an_answer_that_is_not_ours_is_said(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    fake.says("GET /status", b"<html>hello</html>", media_type="text/html")
    shown = run("status", "--data", data)
    assert shown.code == 1
    assert "not FractalOps's JSON" in shown.err


def test_a_redirect_is_not_followed(fake: Any, data: Path, run: Callable[..., Any]) -> None:
    elsewhere = {"location": "http://127.0.0.1:1/status"}
    fake.says("GET /status", b"", status=302, headers=elsewhere)
    shown = run("status", "--data", data)
    assert shown.code == 1
    assert len(fake.seen) == 1


def test_a_token_with_a_line_end_is_not_echoed(
    data: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRACTALOPS_TOKEN", "fot_secret\nx: y")
    shown = run("status", "--data", data)
    assert shown.code == 1
    assert "fot_secret" not in shown.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--bogus"],
        ["nonsense"],
        ["status", "extra"],
        ["status", "--output", "xml"],
        ["proposals", "show"],
        ["proofs", "show", "minus-one"],
        ["--url", "ftp://x", "status"],
        [],
    ],
)
def test_wrong_usage_is_2(run: Callable[..., Any], arguments: list[str]) -> None:
    shown = run(*arguments)
    assert shown.code == 2
    assert shown.out == "" or not arguments


def test_a_wrong_output_variable_is_usage(
    data: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRACTALOPS_OUTPUT", "xml")
    shown = run("status", "--data", data)
    assert shown.code == 2
    assert "table, json or csv" in shown.err


def test_the_version(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"1.2.3 of {name}")
    shown = run("--version")
    assert (shown.code, shown.out) == (0, "fractalops 1.2.3 of fractalops\n")


def test_no_version_without_an_installation(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    shown = run("--version")
    assert shown.code == 1
    assert "make setup" in shown.err


def test_help_imports_nothing_slow(checkout: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from graph_api.cli import main; code = main(['--help']);"
        "slow = {'httpx', 'rich', 'pyoxigraph', 'fastapi', 'starlette', 'uvicorn', 'owlready2',"
        "'cryptography', 'sqlite3', 'tarfile', 'pydantic', 'asyncio'} & set(sys.modules);"
        "print(slow, file=sys.stderr); sys.exit(code or bool(slow))"
    )
    ended = capture(
        [sys.executable, "-c", script],
        timeout=60,
        env={"PYTHONPATH": str(checkout)},
        cwd=tmp_path,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    assert b"proofs" in ended.stdout


def test_ctrl_c_ends_without_a_traceback(
    fake: Any, data: Path, checkout: Path, tmp_path: Path
) -> None:
    gone = threading.Event()

    def slow(_: Any) -> Any:
        gone.wait(30)
        return Response()

    fake.answers["GET /status"] = slow
    log = tmp_path / "log"
    command: list[str | Path] = [sys.executable, "-m", "graph_api.cli", "status", "--data", data]
    with spawn(command, env={"PYTHONPATH": str(checkout)}, log=log, cwd=tmp_path) as running:
        deadline = time.monotonic() + 30
        while not fake.seen and time.monotonic() < deadline:
            time.sleep(0.02)
        running.signal(signal.SIGINT)
        assert running.wait(30) == 130
        gone.set()
    assert "Traceback" not in log.read_text()
