"""What a command is wrapped in ends what it leaves, or doesn't claim to."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from runtime.commands import MARK
from runtime.far_script import end_words, run_words
from runtime.marked_processes import end_marked
from runtime.process_exec import capture

LEAVES = ("sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & exit 7")


def marked(run: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if f"{MARK}={run}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(entry.name)
        except OSError:
            continue
    return found


@pytest.fixture
def run() -> str:
    return f"far-script-{os.getpid()}"


def path_with(folder: Path, grep: str | None) -> dict[str, str]:
    """A PATH of all that the script needs, and this for ``grep``."""
    for name in ("sh", "env", "timeout", "sleep", "setsid", "printf"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    if grep is not None:
        (folder / "grep").write_text(f"#!/bin/sh\n{grep}\n")
        (folder / "grep").chmod(0o755)
    return {"PATH": str(folder)}


def test_what_a_command_leaves_is_ended_before_it_answers(run: str) -> None:
    environment = {"PATH": os.environ["PATH"]}
    done = capture(run_words(run, LEAVES, {"LANG": "C"}, 60), env=environment, timeout=60)
    assert done.returncode == 7
    assert marked(run) == []
    assert capture(end_words(run), env=environment, timeout=60).returncode == 0


@pytest.mark.parametrize("grep", [None, "echo 'grep: unknown option: z' >&2; exit 2"])
def test_a_host_that_cannot_look_claims_nothing(run: str, tmp_path: Path, grep: str | None) -> None:
    environment = path_with(tmp_path, grep)
    try:
        done = capture(run_words(run, LEAVES, {}, 60), env=environment, timeout=60)
        assert done.returncode == -signal.SIGKILL
        assert capture(end_words(run), env=environment, timeout=60).returncode != 0
        assert marked(run) != []
    finally:
        assert end_marked(run)


def test_a_command_ends_by_itself_when_nobody_ends_it(run: str) -> None:
    words = run_words(run, ("sleep", "600"), {}, 0.1, grace=0)
    done = capture(words, env={"PATH": os.environ["PATH"]}, timeout=60)
    assert done.returncode == 128 + signal.SIGKILL


def test_nothing_of_the_environment_goes_along_where_it_is_cleared(run: str) -> None:
    words = run_words(run, ("env",), {"PATH": os.environ["PATH"]}, 60, clear=True)
    done = capture(words, env={"PATH": os.environ["PATH"], "OURS": "secret"}, timeout=60)
    names = {line.partition("=")[0] for line in done.checked().stdout.decode().splitlines()}
    assert names == {"PATH", MARK}
