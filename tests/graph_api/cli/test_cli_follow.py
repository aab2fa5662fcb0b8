"""A run is followed to its end: every byte once, and an exit code that says how it ended."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from graph_api.cli_errors import Unreachable
from graph_api.cli_follow import exit_code, finished, follow

Json = dict[str, Any]


def ran(outcome: str | None, kind: str = "run", state: str = "executed", **result: Any) -> Json:
    return {
        "id": "r1",
        "state": state,
        "outcome": outcome,
        "action": {"kind": kind},
        "result": result,
        "decisions": [{"reason": "too early"}],
    }


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (ran("succeeded", exit_code=0), 0),
        (ran("failed", exit_code=7), 7),
        (ran("failed", exit_code=None, signal=9), 137),
        (ran("timed-out", signal=9), 124),
        (ran("cancelled", signal=9), 130),
        (ran("unknown"), 74),
        (ran("not-started"), 69),
        (ran("succeeded", "request", status=204), 0),
        (ran("failed", "request", status=302), 22),
        (ran("unknown", "request"), 74),
        (ran(None, state="awaiting decision"), 75),
        (ran(None, state="rejected"), 77),
        (ran(None, state="superseded"), 77),
        (ran("failed", exit_code=None), 74),
    ],
)
def test_the_exit_code_says_how_it_ended(run: Json, code: int) -> None:
    assert exit_code(run) == code


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (ran("unknown", reason="it died"), "is unknown: it died. It is not tried again by itself"),
        (ran("not-started", reason="stopped"), "nothing was started: stopped"),
        (ran("timed-out"), "out of time"),
        (ran("failed", "request", status=302, reason="moved"), "answered 302: moved"),
        (ran(None, state="rejected"), "was not begun, it is rejected: too early"),
        (
            ran("succeeded", stdout={"truncated": True, "passed": 3, "size": 9}),
            "stdout was cut: 3 of 9 bytes",
        ),
    ],
)
def test_what_a_code_does_not_say_is_said(
    run: Json, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(run)
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_a_good_end_needs_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    finished(ran("succeeded", exit_code=0))
    assert capsys.readouterr() == ("", "")


class Answers:
    """A server that tells its lines from the beginning each time, and breaks off where it is to."""

    def __init__(self, lines: list[Json], *breaks: tuple[int, BaseException]) -> None:
        self._lines = lines
        self._breaks = list(breaks)
        self.cancelled = 0

    def run_output(self, identifier: str) -> Iterator[Json]:
        at, error = self._breaks.pop(0) if self._breaks else (len(self._lines), None)
        yield from self._lines[:at]
        if error is not None:
            raise error

    def cancel_run(self, identifier: str) -> Json:
        self.cancelled += 1
        return {}


def line(data: bytes, stream: str = "stdout") -> Json:
    return {"stream": stream, "data": base64.b64encode(data).decode()}


RAW = bytes(range(256))
LINES = [line(RAW), line(b"bad", "stderr"), line(b"last"), {"run": ran("failed", exit_code=4)}]


def test_bytes_reach_their_own_stream_as_they_are(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    found = follow(Answers(LINES), {"id": "r1"}, quiet=False)  # type: ignore[arg-type]
    assert capfdbinary.readouterr() == (RAW + b"last", b"bad")
    assert exit_code(found.run) == 4


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_connection_that_breaks_repeats_no_byte(
    at: int, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph_api.cli_follow._PAUSE", 0.0)
    answers = Answers(LINES, (at, Unreachable("it broke")), (at, Unreachable("it broke")))
    follow(answers, {"id": "r1"}, quiet=False)  # type: ignore[arg-type]
    assert capfdbinary.readouterr() == (RAW + b"last", b"bad")


def test_a_server_that_lets_us_go_early_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph_api.cli_follow._PAUSE", 0.0)
    early = {"run": ran(None, state="executing")}
    answers = Answers([early])
    answers.run_output = iter_of([[line(b"a"), early], [line(b"a"), *LINES[1:]]])  # type: ignore[method-assign]
    found = follow(answers, {"id": "r1"}, quiet=True)  # type: ignore[arg-type]
    assert (found.stdout, found.stderr) == ("alast", "bad")


def test_ctrl_c_cancels_and_waits_for_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    ended = [*LINES[:2], {"run": ran("cancelled")}]
    answers = Answers(ended, (1, KeyboardInterrupt()))
    found = follow(answers, {"id": "r1"}, quiet=True)  # type: ignore[arg-type]
    assert (answers.cancelled, exit_code(found.run)) == (1, 130)
    assert "cancelling run r1" in capsys.readouterr().err


def test_a_second_ctrl_c_leaves_it_to_itself() -> None:
    answers = Answers(LINES, (1, KeyboardInterrupt()), (1, KeyboardInterrupt()))
    with pytest.raises(typer.Exit) as left:
        follow(answers, {"id": "r1"}, quiet=True)  # type: ignore[arg-type]
    assert (left.value.exit_code, answers.cancelled) == (130, 1)


def test_who_only_listens_cancels_nothing() -> None:
    answers = Answers(LINES, (1, KeyboardInterrupt()))
    with pytest.raises(typer.Exit) as left:
        follow(answers, {"id": "r1"}, quiet=True, ours=False)  # type: ignore[arg-type]
    assert (left.value.exit_code, answers.cancelled) == (130, 0)


def test_a_server_that_stays_away_is_told_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph_api.cli_follow._PAUSE", 0.0)
    answers = Answers(LINES, *[(0, Unreachable("gone"))] * 9)
    with pytest.raises(Unreachable):
        follow(answers, {"id": "r1"}, quiet=True)  # type: ignore[arg-type]
    assert "What becomes of the run: fractalops runtime-assets output r1" in capsys.readouterr().err


def iter_of(told: list[list[Json]]) -> Any:
    """What is told, one after the other."""
    rest = iter(json.loads(json.dumps(told)))
    return lambda identifier: iter(next(rest))
