"""Programs that never end, fork away, print without end, and are ended all the same."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Timer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.commands import Command, Kept, Outcome, Sink, Stream
from runtime.errors import ProgramMissing
from runtime.execution import LEFT_BEHIND, execute

RUNS = itertools.count()
GIGABYTE = 1_000_000_000
WHEN = datetime(2026, 11, 28, tzinfo=UTC)

linux = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="no /proc, where a run is looked for"
)


def run(
    *argv: str,
    stdin: bytes = b"",
    seconds: float = 60,
    output_bytes: int = 1 << 20,
    sink: Sink | None = None,
    cancel: Event | None = None,
) -> tuple[Outcome, Kept]:
    kept = Kept()
    ticks = itertools.count()
    command = Command(
        f"t{os.getpid()}-{next(RUNS)}",
        argv,
        stdin=stdin,
        seconds=seconds,
        output_bytes=output_bytes,
    )
    outcome = execute(
        argv,
        command,
        {"PATH": os.environ["PATH"], "GIVEN": "yes"},
        sink=sink or kept,
        cancel=cancel or Event(),
        clock=lambda: WHEN + timedelta(seconds=next(ticks)),
    )
    return outcome, kept


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def lives(pid: int) -> bool:
    """Whether a process is there and has not ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int) -> bool:
    """Whether the process ends. One that was killed runs no more, and takes its time to be gone."""
    deadline = time.monotonic() + 30
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not lives(pid)


def test_the_end_the_times_and_the_digests_are_told() -> None:
    outcome, kept = run("sh", "-c", "printf out; printf err >&2; exit 3")
    assert (outcome.exit_code, outcome.signal, outcome.unknown) == (3, None, None)
    assert (outcome.started, outcome.ended) == (WHEN, WHEN + timedelta(seconds=1))
    assert (kept.stdout, kept.stderr) == (b"out", b"err")
    assert (outcome.stdout.digest, outcome.stderr.digest) == (digest(b"out"), digest(b"err"))


def test_a_signal_is_no_exit_code() -> None:
    killed, _ = run("sh", "-c", "kill -KILL $$")
    left, _ = run("sh", "-c", "exit 137")
    assert (killed.exit_code, killed.signal) == (None, signal.SIGKILL)
    assert (left.exit_code, left.signal) == (137, None)


def test_only_what_is_given_is_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "secret")
    _, kept = run("env")
    names = {line.partition(b"=")[0] for line in kept.stdout.splitlines()}
    # The first is Python's own; the others are Sentry's client's, once it has patched this process.
    theirs = {b"LC_CTYPE", b"SUBPROCESS_SENTRY_TRACE", b"SUBPROCESS_BAGGAGE"}
    assert names - theirs == {b"PATH", b"GIVEN", b"FRACTALOPS_RUN"}


@settings(max_examples=15, deadline=None)
@given(st.binary(max_size=300_000), st.integers(0, 300_000))
def test_bytes_pass_unchanged_up_to_the_limit(content: bytes, limit: int) -> None:
    outcome, kept = run("cat", stdin=content, output_bytes=limit)
    assert outcome.succeeded
    assert kept.stdout == content[:limit]
    assert (outcome.stdout.digest, outcome.stdout.size) == (digest(content), len(content))
    assert outcome.truncated == (len(content) > limit)


def test_a_program_that_reads_nothing_is_no_failure() -> None:
    assert run("true", stdin=bytes(1_000_000))[0].succeeded


def test_a_gigabyte_is_counted_and_not_kept() -> None:
    size = GIGABYTE // 10
    tracemalloc.start()
    try:
        outcome, kept = run("head", "-c", str(size), "/dev/zero", output_bytes=1000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outcome.succeeded
    assert (outcome.stdout.size, outcome.stdout.passed, len(kept.stdout)) == (size, 1000, 1000)
    assert most < 5_000_000


@pytest.mark.long
def test_a_whole_gigabyte_is_counted_and_not_kept() -> None:
    outcome, kept = run("head", "-c", str(GIGABYTE), "/dev/zero", output_bytes=1000)
    assert (outcome.stdout.size, len(kept.stdout)) == (GIGABYTE, 1000)


def test_output_comes_while_the_program_runs() -> None:
    asked = Event()
    heard: list[tuple[Stream, bytes]] = []

    def sink(stream: Stream, chunk: bytes) -> None:
        heard.append((stream, chunk))
        asked.set()

    outcome, _ = run("sh", "-c", "echo ready; exec sleep 600", sink=sink, cancel=asked)
    assert heard == [(Stream.STDOUT, b"ready\n")]
    assert outcome.cancelled


def test_a_program_that_never_ends_is_ended() -> None:
    outcome, kept = run("sh", "-c", "echo $$; while :; do :; done", seconds=0.5)
    assert (outcome.timed_out, outcome.cancelled, outcome.unknown) == (True, False, None)
    assert (outcome.exit_code, outcome.signal) == (None, signal.SIGKILL)
    assert gone(int(kept.stdout))


def test_a_program_that_prints_for_ever_is_ended() -> None:
    outcome, _ = run("yes", seconds=0.5, output_bytes=10)
    assert outcome.timed_out
    assert outcome.stdout.size > outcome.stdout.passed == 10


def test_a_cancelled_program_is_ended() -> None:
    cancel = Event()
    timer = Timer(0.2, cancel.set)
    timer.start()
    outcome, _ = run("sleep", "600", cancel=cancel)
    timer.join()
    assert (outcome.cancelled, outcome.timed_out, outcome.succeeded) == (True, False, False)


def test_what_was_cancelled_before_is_not_started(tmp_path: Path) -> None:
    cancel = Event()
    cancel.set()
    outcome, _ = run("touch", str(tmp_path / "ran"), cancel=cancel)
    assert (outcome.cancelled, outcome.exit_code, outcome.signal) == (True, None, None)
    assert not (tmp_path / "ran").exists()


def test_closed_pipes_are_no_end() -> None:
    outcome, _ = run("sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 4")
    assert outcome.exit_code == 4


STRAY = "echo $$; : >'{ready}'; exec sleep 600"
WAIT = "until [ -e '{ready}' ]; do sleep 0.01; done"
FORKS = {
    "into the background": 'sh -c "$0" &',
    "into a session": 'setsid sh -c "$0" &',
    "twice": '(setsid sh -c "$0" &);',
    "without its environment": 'env -i PATH="$PATH" sh -c "$0" &',
}
ESCAPES = 'env -i PATH="$PATH" setsid sh -c "$0" &'


def forking(how: str, folder: Path, then: str = "") -> tuple[str, ...]:
    """A program that starts a stray one, and goes on when that one has said its number."""
    ready = folder / "ready"
    script = f"{how} {WAIT.format(ready=ready)}; {then}"
    return ("sh", "-c", script, STRAY.format(ready=ready))


@linux
@pytest.mark.parametrize("how", FORKS)
def test_what_forked_away_is_ended_with_the_program(how: str, tmp_path: Path) -> None:
    outcome, kept = run(*forking(FORKS[how], tmp_path))
    assert outcome.succeeded
    assert gone(int(kept.stdout))


@linux
@pytest.mark.parametrize("how", FORKS)
def test_what_forked_away_is_ended_when_the_program_is(how: str, tmp_path: Path) -> None:
    heard = Event()
    said = bytearray()

    def sink(_: Stream, chunk: bytes) -> None:
        said.extend(chunk)
        heard.set()

    outcome, _ = run(*forking(FORKS[how], tmp_path, "sleep 600"), sink=sink, cancel=heard)
    assert (outcome.cancelled, outcome.unknown) == (True, None)
    assert gone(int(said))


@linux
def test_who_threw_its_environment_away_is_not_called_ended(tmp_path: Path) -> None:
    outcome, kept = run(*forking(ESCAPES, tmp_path))
    escaped = int(kept.stdout)
    try:
        assert lives(escaped)
        assert (outcome.exit_code, outcome.unknown) == (0, LEFT_BEHIND)
        assert not outcome.succeeded
    finally:
        os.kill(escaped, signal.SIGKILL)


def test_a_sink_that_waits_prolongs_nothing() -> None:
    ended: list[bool] = []

    def sink(_: Stream, chunk: bytes) -> None:
        ended.append(gone(int(chunk)))

    outcome, _ = run("sh", "-c", "echo $$; exec sleep 600", sink=sink, seconds=1)
    assert (outcome.timed_out, ended) == (True, [True])


def test_a_sink_that_fails_ends_the_program() -> None:
    pids: list[int] = []

    def sink(_: Stream, chunk: bytes) -> None:
        pids.append(int(chunk))
        raise ConnectionError("whoever listened is gone")

    with pytest.raises(ConnectionError):
        run("sh", "-c", "echo $$; exec sleep 600", sink=sink)
    assert gone(pids[0])


def test_a_missing_program_is_named() -> None:
    with pytest.raises(ProgramMissing, match="no-such-program"):
        run("no-such-program")
