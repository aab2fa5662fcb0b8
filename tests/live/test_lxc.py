"""Commands in real containers: what they are given, how they end, and what is left of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from threading import Event

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.adapters import machine
from runtime.assets import Locators
from runtime.commands import MARK, Command, Kept, Outcome, Sink
from runtime.errors import MachineFrozen, MachineMissing, MachineStopped
from runtime.lxc_container import LxcContainer
from runtime.machines import Host, Machine, Reach
from runtime.transports import LocalTransport
from tests.live.asked import Asked, ask, run_id
from tests.live.conftest import wait_until
from tests.live.containers import Container, container, why_not
from tests.live.run_processes import left_of

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

HOSTILE = ("a b", "it's", '"', "a\nb", "-x", "--", "", "$HOME", "`id`", "*", "\\", "é")


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Container, Container]]:
    path = tmp_path_factory.mktemp("lxc")
    with container(path, "shop-1") as first, container(path, "shop-2") as second:
        yield first, second


def opened(one: Container) -> Machine:
    reach = Reach(lambda: datetime.now(UTC), local=Host(lxc_path=PurePosixPath(one.path)))
    return machine("lxc", Locators(container=one.name), reach)


@pytest.fixture
def shop(containers: tuple[Container, Container]) -> Machine:
    return opened(containers[0])


def test_each_command_runs_in_its_own_container(containers: tuple[Container, Container]) -> None:
    for one in containers:
        asked = opened(one)
        asked.check(run_id())
        outcome, kept = ask(asked, "hostname")
        assert (outcome.succeeded, kept.stdout) == (True, f"{one.name}\n".encode())


def test_arguments_and_bytes_arrive_as_they_are(shop: Machine) -> None:
    _, kept = ask(shop, "printf", r"%s\n--\n", *HOSTILE)
    assert kept.stdout.decode() == "".join(f"{argument}\n--\n" for argument in HOSTILE)
    binary = bytes(range(256)) * 300
    outcome, kept = ask(shop, "cat", stdin=binary)
    assert (outcome.succeeded, kept.stdout) == (True, binary)


@settings(
    max_examples=20,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_any_arguments_arrive(shop: Machine, arguments: list[str]) -> None:
    kept = Kept()
    argv = ("printf", r"%s\0", "-first", *arguments)
    assert shop.run(Command(run_id(), argv), sink=kept, cancel=Event()).succeeded
    assert kept.stdout == b"".join(a.encode() + b"\0" for a in ["-first", *arguments])


def test_exit_codes_are_the_commands_own(shop: Machine) -> None:
    for code in (0, 1, 2, 126, 255):
        outcome, _ = ask(shop, "sh", "-c", f"exit {code}")
        assert (outcome.exit_code, outcome.unknown) == (code, None)
    # LXC has one number for both.
    assert ask(shop, "sh", "-c", "kill -KILL $$")[0].exit_code == 137
    outcome, kept = ask(shop, "no-such-program")
    assert outcome.exit_code == 127
    assert b"no-such-program" in kept.stderr


def test_the_environment_is_what_was_permitted(
    shop: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "secret")
    kept = Kept()
    command = Command(run_id(), ("env",), environment={"LANG": "de DE"})
    shop.run(command, sink=kept, cancel=Event())
    said = dict(line.split("=", 1) for line in kept.stdout.decode().splitlines())
    assert said.pop("PATH")
    assert said == {"container": "lxc", "LANG": "de DE", MARK: command.run}


def test_no_value_of_a_variable_is_in_a_process_list(shop: Machine) -> None:
    command = Command(
        run_id(), ("sh", "-c", "echo; exec sleep 600"), environment={"LANG": "s3cret"}
    )
    with Asked(shop, command) as asked:
        lists = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left_of(command.run)]
        asked.cancel.set()
    assert len(lists) == 2
    assert b"s3cret" not in b"".join(lists)


def test_a_command_that_never_ends_or_forks_away_is_ended(shop: Machine) -> None:
    outcome, _ = ask(shop, "sleep", "600", seconds=0.5)
    assert (outcome.timed_out, outcome.unknown) == (True, None)
    outcome, kept = ask(shop, "sh", "-c", "setsid sleep 600 & echo started")
    assert (outcome.succeeded, kept.stdout) == (True, b"started\n")


def test_a_cancelled_command_is_ended(shop: Machine) -> None:
    command = Command(run_id(), ("sh", "-c", "echo; setsid sleep 600 & exec sleep 600"))
    with Asked(shop, command) as asked:
        asked.cancel.set()
        outcome = asked.ended()
    assert (outcome.cancelled, outcome.unknown) == (True, None)
    assert left_of(command.run) == []


def test_a_container_that_dies_mid_command(containers: tuple[Container, Container]) -> None:
    second = containers[1]
    asked = opened(second)
    with Asked(asked, Command(run_id(), ("sh", "-c", "echo; exec sleep 600"))) as running:
        second.lxc("stop", "-k")
        outcome = running.ended()
    assert (outcome.exit_code, outcome.signal, outcome.succeeded) == (None, None, False)
    assert outcome.unknown is not None
    assert "may have ended while the command ran" in outcome.unknown
    with pytest.raises(MachineStopped, match="shop-2 is stopped; start it first"):
        ask(asked, "true")
    second.lxc("start")
    assert ask(asked, "true")[0].succeeded


def test_a_container_that_was_started_again_meanwhile(
    containers: tuple[Container, Container],
) -> None:
    second = containers[1]

    class Restarting(LocalTransport):
        """Starts the container again before anybody can look at it after the command."""

        def start(
            self,
            arguments: Sequence[str],
            command: Command,
            variables: Mapping[str, str],
            *,
            sink: Sink,
            cancel: Event,
        ) -> Outcome:
            outcome = super().start(arguments, command, variables, sink=sink, cancel=cancel)
            if arguments[0] == "lxc-attach":
                second.lxc("stop", "-k")
                second.lxc("start")
            return outcome

    transport = Restarting(lambda: datetime.now(UTC))
    asked = LxcContainer(transport, second.name, PurePosixPath(second.path), frozenset())
    outcome, _ = ask(asked, "sh", "-c", "exit 1")
    assert (outcome.exit_code, outcome.succeeded) == (None, False)
    assert outcome.unknown == "the container was started again while the command ran"
    assert ask(asked, "true")[0].exit_code == 0


def test_a_frozen_container(containers: tuple[Container, Container]) -> None:
    second = containers[1]
    asked = opened(second)
    command = Command(run_id(), ("sh", "-c", "echo; exec sleep 600"))
    with Asked(asked, command) as running:
        second.lxc("freeze")
        try:
            with pytest.raises(MachineFrozen, match="thaw it first"):
                ask(asked, "true")
            running.cancel.set()
            outcome = running.ended()
        finally:
            second.lxc("unfreeze")
    # Whether a frozen process can be ended is the kernel's: version 1 of control groups waits.
    assert (outcome.cancelled, outcome.succeeded) == (True, False)
    assert outcome.unknown is None or "may still be there" in outcome.unknown
    wait_until(lambda: left_of(command.run) == [], "the end of what was thawed")


def test_a_container_that_is_not_there(containers: tuple[Container, Container]) -> None:
    asked = opened(replace(containers[0], name="shop-3"))
    with pytest.raises(MachineMissing, match="no container shop-3"):
        asked.check(run_id())
    with pytest.raises(MachineMissing):
        ask(asked, "true")


def test_what_a_lost_run_left_is_ended_by_its_name(shop: Machine) -> None:
    command = Command(run_id(), ("sh", "-c", "echo; exec sleep 600"))
    with Asked(shop, command) as running:
        assert shop.end(command.run)
        outcome = running.ended()
    assert not outcome.succeeded
    assert left_of(command.run) == []


def test_what_a_killed_server_left_is_ended_by_its_name(
    containers: tuple[Container, Container], shop: Machine
) -> None:
    run = run_id()
    script = (
        "import sys; from datetime import UTC, datetime; from threading import Event;"
        "from runtime.adapters import machine; from runtime.commands import Command;"
        "from runtime.machines import Host, Reach; from runtime.assets import Locators;"
        "from pathlib import PurePosixPath;"
        "local = Host(lxc_path=PurePosixPath(sys.argv[2]));"
        "shop = machine('lxc', Locators(container=sys.argv[1]),"
        " Reach(lambda: datetime.now(UTC), local=local));"
        "command = Command(sys.argv[3], ('sh', '-c', 'echo; setsid sleep 600 & exec sleep 600'));"
        "shop.run(command, sink=lambda *_: print('runs', flush=True), cancel=Event())"
    )
    one = containers[0]
    with subprocess.Popen(
        [sys.executable, "-c", script, one.name, str(one.path), run], stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"runs\n"
        server.kill()
    assert left_of(run) != []
    assert shop.end(run)
    assert left_of(run) == []
