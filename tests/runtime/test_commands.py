"""A command is arguments that arrive as they are, or it is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.commands import (
    ARGUMENT_BYTES,
    MARK,
    STDIN_BYTES,
    Command,
    Kept,
    Outcome,
    Output,
    Stream,
)
from runtime.errors import CommandRefused

ARGUMENT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
NOTHING = Output("sha256:0", 0, 0)
DONE = Outcome(0, None, datetime.now(UTC), datetime.now(UTC), NOTHING, NOTHING)

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "text for arguments": ({"argv": "ls -l"}, "a tuple of arguments"),
    "a list": ({"argv": ["ls"]}, "a tuple of arguments"),
    "nothing": ({"argv": ()}, "a tuple of arguments"),
    "no program": ({"argv": ("", "x")}, "names no program"),
    "bytes": ({"argv": ("ls", b"x")}, "argument 1 is not text"),
    "NUL": ({"argv": ("ls", "a\0b")}, "argument 1 has a NUL"),
    "half a surrogate pair": ({"argv": ("ls", "\ud800")}, "half of a surrogate pair"),
    "too long": ({"argv": ("ls", "x" * ARGUMENT_BYTES)}, "longer than"),
    "too long in bytes": ({"argv": ("ls", "é" * (ARGUMENT_BYTES // 2))}, "longer than"),
    "a name of two": ({"environment": {"A=B": "x"}}, "not the name of a variable"),
    "an empty name": ({"environment": {"": "x"}}, "not the name of a variable"),
    "the mark": ({"environment": {MARK: "x"}}, "not the name of a variable"),
    "NUL in a value": ({"environment": {"LANG": "s3cret\0"}}, "the value of LANG has a NUL"),
    "long input": ({"stdin": bytes(STDIN_BYTES + 1)}, "standard input is longer"),
    "no time": ({"seconds": 0}, "time limit"),
    "all time": ({"seconds": float("inf")}, "time limit"),
    "no number": ({"seconds": float("nan")}, "time limit"),
    "less than nothing": ({"output_bytes": -1}, "output limit"),
    "a run with a line": ({"run": "a\n"}, "a run is named"),
    "a run with a dash before": ({"run": "-a"}, "a run is named"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_a_command_is_refused(case: str) -> None:
    given_, said = REFUSED[case]
    with pytest.raises(CommandRefused, match=said) as caught:
        Command(**{"run": "r1", "argv": ("ls",), **given_})
    assert "s3cret" not in str(caught.value)


@given(st.lists(ARGUMENT, max_size=8))
def test_arguments_are_kept_as_they_are(arguments: list[str]) -> None:
    assert Command("r1", ("printf", *arguments)).argv == ("printf", *arguments)


@pytest.mark.parametrize(
    "changes",
    [
        {"exit_code": 1},
        {"exit_code": None, "signal": 9},
        {"exit_code": None, "unknown": "the connection was lost"},
        {"unknown": "processes stayed behind"},
        {"timed_out": True},
        {"cancelled": True},
    ],
    ids=str,
)
def test_nothing_but_an_end_by_itself_with_0_is_a_success(changes: dict[str, Any]) -> None:
    assert DONE.succeeded
    assert not replace(DONE, **changes).succeeded


def test_what_was_not_passed_on_is_said() -> None:
    assert not DONE.truncated
    assert replace(DONE, stderr=Output("sha256:0", 11, 10)).truncated


def test_kept_output_is_apart() -> None:
    kept = Kept()
    for stream, chunk in ((Stream.STDOUT, b"a"), (Stream.STDERR, b"b"), (Stream.STDOUT, b"c")):
        kept(stream, chunk)
    assert (kept.stdout, kept.stderr) == (b"ac", b"b")
