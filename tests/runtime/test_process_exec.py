"""Programs are captured, spawned, timed out and never left behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from runtime.errors import ProcessFailed, ProcessTimeout, ProgramMissing
from runtime.process_exec import capture, environment, spawn

PYTHON = sys.executable

# Starts a child that would sleep for a minute, writes the child's pid and sleeps as well.
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def gone(pid: int) -> bool:
    """Whether the process ended; a zombie that its new parent has not reaped yet has ended too."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_capture_keeps_output_errors_and_status_apart() -> None:
    script = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    result = capture([PYTHON, "-c", script], timeout=20)
    assert (result.returncode, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    with pytest.raises(ProcessFailed, match="ended with 3: err"):
        result.checked()


def test_capture_feeds_standard_input() -> None:
    script = "import sys; sys.stdout.write(sys.stdin.read().upper())"
    result = capture([PYTHON, "-c", script], timeout=20, stdin=b"hello").checked()
    assert result.text == "HELLO"


def test_arguments_never_meet_a_shell() -> None:
    script = "import sys; print(sys.argv[1])"
    hostile = "$(touch /nonexistent); `id` | cat"
    assert capture([PYTHON, "-c", script, hostile], timeout=20).checked().text.strip() == hostile


def test_environment_is_laid_over_ours_or_replaces_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("TAKEN", "1")
    changed = environment({"TAKEN": None, "ADDED": "2"})
    assert (changed["KEPT"], changed["ADDED"]) == ("1", "2")
    assert "TAKEN" not in changed
    assert environment({"ADDED": "2", "TAKEN": None}, inherit=False) == {"ADDED": "2"}


def test_a_timeout_ends_the_whole_group_and_keeps_what_was_said() -> None:
    with pytest.raises(ProcessTimeout) as caught:
        capture([PYTHON, "-c", FAMILY], timeout=1.5)
    assert gone(int(caught.value.stdout))


def test_a_missing_program_is_named() -> None:
    with pytest.raises(ProgramMissing, match="no-such-program could not be started"):
        capture(["no-such-program"], timeout=1)
    with pytest.raises(ProgramMissing, match="/no/such/folder"):
        capture([PYTHON, "-V"], timeout=1, cwd=Path("/no/such/folder"))


def test_leaving_the_block_ends_the_group_and_the_log_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "family log.txt"
    with spawn([PYTHON, "-c", FAMILY], log=log) as running:
        assert running.poll() is None
        deadline = time.monotonic() + 20
        while not log.read_text().endswith("\n") and time.monotonic() < deadline:
            time.sleep(0.02)
        assert running.pid == os.getpgid(running.pid)
    assert gone(running.pid)
    assert gone(int(log.read_text()))


def test_stop_uses_force_on_a_program_that_ignores_the_request() -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('ready', flush=True); time.sleep(60)"
    )
    running = spawn([PYTHON, "-c", script], pipe=True)
    assert running.stdout is not None
    assert running.stdout.readline() == b"ready\n"
    assert running.stop(grace=0.2) == -signal.SIGKILL
    assert running.stop() == -signal.SIGKILL


def test_a_program_may_end_well_when_asked() -> None:
    script = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0));"
        "print('ready', flush=True); time.sleep(60)"
    )
    running = spawn([PYTHON, "-c", script], pipe=True)
    assert running.stdout is not None
    assert running.stdout.readline() == b"ready\n"
    with pytest.raises(ProcessTimeout):
        running.wait(0.05)
    assert running.stop(grace=20) == 0


def test_a_log_and_a_pipe_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not to both"):
        spawn([PYTHON, "-V"], log=tmp_path / "log", pipe=True)
