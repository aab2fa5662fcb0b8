"""`fractalops ingest` and `fractalops pull` against a server that answers as a test says."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import JSONResponse, Response

from runtime.process_exec import spawn

if TYPE_CHECKING:
    from tests.graph_api.cli.conftest import FakeServer, Result, Seen

Run = Callable[..., "Result"]

KEY = "foi_" + "K" * 43
SOURCE = "POST /api/projects/17/query/"


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where bookmarks go, which is nobody's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "fractalops" / "ingest"


@pytest.fixture
def taken(fake: FakeServer) -> list[str]:
    """The uuids that the receiver of product events acknowledged."""
    found: list[str] = []

    def batch(seen: Seen) -> Response:
        assert seen.headers["authorization"] == f"Bearer {KEY}"
        found.extend(event["uuid"] for event in seen.json["batch"])
        return JSONResponse({"status": "Ok"})

    fake.answers["POST /batch/"] = batch
    fake.says("POST /projects/shop/keys", {"ingest_key": KEY, "log": "log+1"}, status=201)
    return found


def row(number: int) -> dict[str, Any]:
    return {"uuid": f"u{number}", "event": "a", "properties": {}, "distinct_id": "p"}


def write(file: Path, *numbers: int) -> None:
    file.write_text("".join(json.dumps(row(number)) + "\n" for number in numbers))


def test_a_key_is_borrowed_or_given(
    run: Run, fake: FakeServer, data: Path, taken: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "events.jsonl"
    write(file, 1, 2)
    assert run("ingest", file, "--project", "shop", "--data", data).code == 0
    assert fake.seen[0].query == {"lent": ["true"]}
    fake.seen.clear()
    assert run("ingest", file, "--key", KEY, "--data", data).code == 0
    assert [seen.path for seen in fake.seen] == ["/batch/"]
    assert taken == ["u1", "u2"] * 2
    assert run("ingest", file, "--data", data).code == 2


def test_a_file_that_was_changed_is_read_from_its_start(
    run: Run, data: Path, taken: list[str], tmp_path: Path, state: Path
) -> None:
    file = tmp_path / "events.jsonl"
    write(file, 1, 2)
    arguments = ("ingest", file, "--project", "shop", "--data", data, "--output", "json")
    run(*arguments)
    write(file, 1, 2, 3)
    assert json.loads(run(*arguments).out)[0]["before"] == 2
    write(file, 4, 5, 6)
    changed = run(*arguments)
    assert "was changed" in changed.err
    assert taken == ["u1", "u2", "u3", "u4", "u5", "u6"]
    (bookmark,) = state.iterdir()
    assert bookmark.stat().st_mode & 0o777 == 0o600
    bookmark.write_text("{")
    damaged = run(*arguments)
    assert damaged.code == 1
    assert "--restart" in damaged.err
    assert run(*arguments, "--restart").code == 0


def test_what_was_acknowledged_is_not_sent_again_after_a_refusal(
    run: Run, fake: FakeServer, data: Path, taken: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "events.jsonl"
    write(file, *range(1500))
    accept = fake.answers["POST /batch/"]
    assert not isinstance(accept, Response)
    answers: list[Callable[[Seen], Response]] = [
        accept,
        lambda seen: JSONResponse({"detail": "revoked"}, 401),
    ]
    fake.answers["POST /batch/"] = lambda seen: answers.pop(0)(seen)
    arguments = ("ingest", file, "--project", "shop", "--data", data)
    stopped = run(*arguments)
    assert stopped.code == 1
    assert "revoked" in stopped.err
    assert "FRACTALOPS_INGEST_KEY" in stopped.err
    fake.answers["POST /batch/"] = accept
    assert run(*arguments).code == 0
    assert taken == [f"u{number}" for number in range(1500)]


def test_killed_between_two_requests_it_goes_on_behind_the_first(
    run: Run, fake: FakeServer, data: Path, taken: list[str], tmp_path: Path, state: Path
) -> None:
    file = tmp_path / "events.jsonl"
    write(file, *range(2500))
    accept = fake.answers["POST /batch/"]
    assert not isinstance(accept, Response)

    def kill(seen: Seen) -> Response:
        if len(taken) == 1000:
            running.signal(signal.SIGKILL)
        return accept(seen)

    fake.answers["POST /batch/"] = kill
    arguments = ("ingest", file, "--project", "shop", "--data", data)
    with spawn(
        [sys.executable, "-m", "graph_api.cli", *map(str, arguments)],
        env={"XDG_STATE_HOME": str(state.parents[1])},
        cwd=Path(__file__).parents[3],
        log=tmp_path / "log",
    ) as running:
        assert running.wait(60) == -signal.SIGKILL
    # The request that was under way may have been acknowledged to nobody.
    assert len(taken) == 2000
    assert run(*arguments).code == 0
    assert taken[:1000] + taken[2000:] == [f"u{number}" for number in range(2500)]


def test_what_can_not_be_read_is_said(
    run: Run, data: Path, taken: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "table.csv"
    file.write_text("a,b\n")
    refused = run("ingest", file, "--project", "shop", "--data", data)
    assert refused.code == 1
    assert "table.csv" in refused.err
    assert "--format" in refused.err
    assert run("ingest", tmp_path / "none", "--project", "shop", "--data", data).code == 1
    write(file, 1)
    file.write_text(file.read_text() + "{}\n" * 30)
    some = run("ingest", file, "--project", "shop", "--data", data)
    assert some.code == 1
    assert some.err.count(f"{file}:") == 21
    assert "10 more could not be taken in" in some.err
    assert taken == ["u1"]


def test_a_pull_goes_on_behind_the_last_page(
    run: Run,
    fake: FakeServer,
    data: Path,
    taken: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [
        [f"01890000-0000-7000-8000-{n:012x}", "a", f"2025-03-01T10:00:00.{n:06d}Z", "p", "{}"]
        for n in range(1, 13)
    ]
    monkeypatch.setattr("ingest.pull_posthog.pages.__defaults__", (5,))
    queries: list[str] = []

    def query(seen: Seen) -> Response:
        assert seen.headers["authorization"] == "Bearer phx_theirs"
        queries.append(seen.json["query"]["query"])
        if len(queries) == 2:
            return JSONResponse({"detail": "no more today"}, 403)
        start = next((n for n, row in enumerate(rows, 1) if row[0] in queries[-1]), 0)
        return JSONResponse({"results": rows[start : start + 5]})

    fake.answers[SOURCE] = query
    arguments = ("pull", "posthog", "17", "--project", "shop", "--url", fake.url, "--data", data)
    assert run(*arguments, "--since", "2025-01-01").code == 2
    monkeypatch.setenv("POSTHOG_PERSONAL_API_KEY", "phx_theirs")
    assert run(*arguments).code == 2
    stopped = run(*arguments, "--since", "2025-01-01")
    assert (stopped.code, len(taken)) == (1, 5)
    assert "no more today" in stopped.err
    done = run(*arguments, "--output", "json")
    assert json.loads(done.out) == {"source": "PostHog", "taken_in": 7, "not_taken_in": 0}
    assert taken == [row[0] for row in rows]
    assert "timestamp >= toDateTime64('2025-01-01 00:00:00.000000', 6, 'UTC')" in queries[0]


def test_errors_are_pulled_and_a_later_pull_begins_where_the_last_did(
    run: Run, fake: FakeServer, data: Path, taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    event = {"eventID": "e" * 32, "dateCreated": "2025-03-01T10:00:00Z", "message": "m"}
    issue = {"id": "7", "lastSeen": event["dateCreated"]}
    fake.says("GET /api/0/organizations/acme/issues/", [issue])
    fake.says("GET /api/0/issues/7/events/", [event])
    fake.says("POST /api/1/store/", {"id": "e" * 32})
    monkeypatch.setenv("THEIRS", "token")
    arguments = ("pull", "glitchtip", "acme", "--project", "shop", "--url", fake.url)
    more = ("--token-env", "THEIRS", "--data", data, "--output", "json")
    first = run(*arguments, "--since", "2025-01-01", *more)
    assert json.loads(first.out)["taken_in"] == 1
    assert fake.last.path == "/api/1/store/"
    assert fake.last.json["event_id"] == "e" * 32
    # Since then nothing was seen.
    assert json.loads(run(*arguments, *more).out)["taken_in"] == 0
