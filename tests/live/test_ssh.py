"""Commands on another host, which is a real OpenSSH server on loopback."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from threading import Event, Thread

import pytest

from runtime.adapters import machine
from runtime.assets import Locators
from runtime.commands import MARK, Command, Kept, Outcome, Sink, Stream
from runtime.errors import MachineMissing, MachineUnreachable
from runtime.machines import Host, Reach
from runtime.ssh_host import SshHost
from runtime.ssh_transport import SshTransport
from tests.live.conftest import wait_until
from tests.live.containers import container, why_not
from tests.live.run_processes import left_of
from tests.live.ssh_server import Sshd, key, no_ssh, ssh_server

pytestmark = pytest.mark.live

RUNS = itertools.count()
HOSTILE = ("a b", "it's", '"', "a\nb", "-x", "--", "", "$HOME", "`id`", "*", "\\", "é", "x=y", "!")


def clock() -> datetime:
    return datetime.now(UTC)


def run_id() -> str:
    return f"ssh-test-{os.getpid()}-{next(RUNS)}"


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    reason = no_ssh()
    if reason is not None:
        pytest.skip(reason)
    with ssh_server(tmp_path_factory.mktemp("ssh d")) as running:
        yield running


def ask(
    host: SshHost,
    *argv: str,
    run: str | None = None,
    stdin: bytes = b"",
    seconds: float = 120,
    sink: Sink | None = None,
    cancel: Event | None = None,
) -> tuple[Outcome, Kept]:
    kept = Kept()
    command = Command(run or run_id(), argv, stdin=stdin, seconds=seconds)
    outcome = SshTransport(host, clock).start(
        argv, command, {"LANG": "a b"}, sink=sink or kept, cancel=cancel or Event()
    )
    return outcome, kept


def test_arguments_and_bytes_arrive_as_they_are(sshd: Sshd) -> None:
    script = 'printf "%s\\n--\\n" "$@"; cat; echo "$LANG" >&2; exit 7'
    binary = bytes(range(256)) * 300
    outcome, kept = ask(sshd.host, "sh", "-c", script, "sh", *HOSTILE, stdin=binary)
    arguments = "".join(f"{argument}\n--\n" for argument in HOSTILE)
    assert kept.stdout == arguments.encode() + binary
    assert kept.stderr == b"a b\n"
    assert (outcome.exit_code, outcome.signal, outcome.unknown) == (7, None, None)


def test_255_is_the_commands_own_when_the_host_says_so(sshd: Sshd) -> None:
    outcome, _ = ask(sshd.host, "sh", "-c", "exit 255")
    assert (outcome.exit_code, outcome.unknown) == (255, None)


def test_a_connection_that_is_lost_leaves_the_outcome_unknown(sshd: Sshd) -> None:
    run = run_id()
    severed: list[Thread] = []

    def sink(_: Stream, chunk: bytes) -> None:
        if not severed:
            severed.append(Thread(target=sshd.sever, args=(run,)))
            severed[0].start()

    # As if it were the end of it, as the host's client would say it.
    forged = "\nclient_input_channel_req() rtype exit-status "
    script = "echo; exec sleep 600"
    command = Command(run, ("sh", "-c", script, forged), seconds=5)
    transport = SshTransport(sshd.host, clock, grace_seconds=0)
    outcome = transport.start(command.argv, command, {}, sink=sink, cancel=Event())
    severed[0].join()
    assert (outcome.exit_code, outcome.signal, outcome.succeeded) == (None, None, False)
    assert outcome.unknown is not None
    assert "the connection was lost" in outcome.unknown
    assert not outcome.timed_out
    # Nobody is there to end it, so it ends by its own limit.
    wait_until(lambda: left_of(run) == [], "the end of what was left alone")


def test_what_a_lost_run_left_is_ended_by_its_name(sshd: Sshd) -> None:
    run = run_id()
    heard = Event()
    outcomes: list[Outcome] = []

    def asked() -> None:
        script = "echo; setsid sleep 600 & exec sleep 600"
        outcomes.append(ask(sshd.host, "sh", "-c", script, run=run, sink=lambda *_: heard.set())[0])

    thread = Thread(target=asked)
    thread.start()
    assert heard.wait(60)
    assert SshTransport(sshd.host, clock).end(run)
    thread.join(60)
    assert left_of(run) == []
    assert not outcomes[0].succeeded


def test_what_never_ends_or_forks_away_is_ended_there(sshd: Sshd) -> None:
    run = run_id()
    outcome, _ = ask(sshd.host, "sh", "-c", "setsid sleep 600 & sleep 600", run=run, seconds=3)
    assert (outcome.timed_out, outcome.exit_code, outcome.unknown) == (True, None, None)
    assert left_of(run) == []
    run = run_id()
    outcome, kept = ask(sshd.host, "sh", "-c", "setsid sleep 600 & echo started", run=run)
    assert (outcome.succeeded, kept.stdout) == (True, b"started\n")
    assert left_of(run) == []


def test_a_cancelled_command_is_ended_there(sshd: Sshd) -> None:
    run, cancel = run_id(), Event()
    outcome, _ = ask(
        sshd.host,
        *("sh", "-c", "echo; exec sleep 600"),
        run=run,
        sink=lambda *_: cancel.set(),
        cancel=cancel,
    )
    assert (outcome.cancelled, outcome.exit_code, outcome.unknown) == (True, None, None)
    assert left_of(run) == []


def test_what_was_cancelled_before_is_not_sent(sshd: Sshd) -> None:
    cancel = Event()
    cancel.set()
    outcome, _ = ask(replace(sshd.host, port=1), "true", cancel=cancel)
    assert (outcome.cancelled, outcome.exit_code, outcome.unknown) == (True, None, None)


def test_a_host_with_another_key_gets_nothing(sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{sshd.host.port} {key(tmp_path / 'other')}")
    marker = tmp_path / "ran"
    with pytest.raises(MachineUnreachable, match="Host key verification failed"):
        ask(replace(sshd.host, known_hosts=known), "touch", str(marker))
    assert not marker.exists()


def test_a_host_that_does_not_know_us_runs_nothing(sshd: Sshd, tmp_path: Path) -> None:
    key(tmp_path / "stranger")
    with pytest.raises(MachineUnreachable, match="Permission denied"):
        ask(replace(sshd.host, identity=tmp_path / "stranger"), "true")


def test_a_host_that_is_not_there_is_named(sshd: Sshd) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        gone = replace(sshd.host, port=taken.getsockname()[1])
        with pytest.raises(MachineUnreachable, match=r"127\.0\.0\.1 did not let us in.*refused"):
            ask(gone, "true")
        assert not SshTransport(gone, clock).end("some-run")


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_a_container_of_another_host(sshd: Sshd, tmp_path: Path) -> None:
    reach = Reach(clock, {"far": Host(sshd.host, PurePosixPath(tmp_path))})
    with container(tmp_path, "far-1"):
        far = machine("lxc", Locators(container="far-1", node="far"), reach)
        kept = Kept()
        command = Command(run_id(), ("printf", r"%s\n", *HOSTILE), environment={"LANG": "a b"})
        outcome = far.run(command, sink=kept, cancel=Event())
        assert outcome.succeeded
        assert kept.stdout.decode() == "".join(f"{argument}\n" for argument in HOSTILE)
        kept = Kept()
        command = Command(run_id(), ("env",), environment={"LANG": "a b"})
        far.run(command, sink=kept, cancel=Event())
        names = {line.partition("=")[0] for line in kept.stdout.decode().splitlines()}
        assert names == {"PATH", "container", "LANG", MARK}
        command = Command(run_id(), ("sh", "-c", "setsid sleep 600 & sleep 600"), seconds=3)
        outcome = far.run(command, sink=kept, cancel=Event())
        assert (outcome.timed_out, outcome.unknown) == (True, None)
        assert left_of(command.run) == []
        missing = machine("lxc", Locators(container="far-2", node="far"), reach)
        with pytest.raises(MachineMissing, match="no container far-2"):
            missing.check(run_id())


@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed")
def test_the_client_is_recent_enough() -> None:
    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr
    found = re.match(r"OpenSSH_(\d+)\.(\d+)", said)
    assert found is not None
    assert (int(found[1]), int(found[2])) >= (8, 5)
