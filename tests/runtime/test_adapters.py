"""A machine is opened from its kind and locators, or what is wrong with them is said."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest

from runtime.adapters import KINDS, machine
from runtime.commands import Command, Kept, Outcome, Output, Sink, Stream
from runtime.errors import AdapterError, CommandRefused
from runtime.lxc_adapter import LxcContainer
from runtime.machines import Machine, Reach
from runtime.ssh_host import SshHost

HOST = SshHost("pve.example.org", Path("/keys/ours"), Path("/keys/theirs"))
REACH = Reach(lambda: datetime(2026, 11, 28, tzinfo=UTC), {"pve": HOST})

REFUSED: dict[str, tuple[Mapping[str, str], str]] = {
    "no name": ({}, "has a name"),
    "a strange locator": ({"name": "a", "vmid": "101"}, "'vmid'"),
    "an option": ({"name": "-n"}, "not the name of a container"),
    "a path for a name": ({"name": "../a"}, "not the name of a container"),
    "a line in a name": ({"name": "a\n"}, "not the name of a container"),
    "a relative path": ({"name": "a", "path": "lxc"}, "not an absolute path"),
    "a NUL in a path": ({"name": "a", "path": "/lxc\0"}, "not an absolute path"),
    "an unknown host": ({"name": "a", "host": "other"}, "no host 'other' is configured"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_locators_are_refused(case: str) -> None:
    locators, said = REFUSED[case]
    with pytest.raises(AdapterError, match=said):
        machine("lxc", locators, REACH)


@pytest.mark.parametrize("extra", [{}, {"path": "/srv/lxc"}, {"host": "pve"}], ids=str)
def test_a_container_is_opened_and_not_asked(extra: Mapping[str, str]) -> None:
    assert isinstance(machine("lxc", {"name": "shop-1", **extra}, REACH), LxcContainer)


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(AdapterError, match="no adapter reaches a 'vm'; there are: lxc"):
        machine("vm", {}, REACH)


def test_a_kind_is_one_registration() -> None:
    class Echo:
        """A machine that says its command."""

        def __init__(self, clock: datetime) -> None:
            self._now = clock

        def check(self, run: str) -> None:
            return

        def run(self, command: Command, *, sink: Sink, cancel: Event) -> Outcome:
            said = " ".join(command.argv).encode()
            sink(Stream.STDOUT, said)
            output = Output("sha256:0", len(said), len(said))
            return Outcome(0, None, self._now, self._now, output, Output("sha256:0", 0, 0))

        def end(self, run: str) -> bool:
            return True

    def opened(locators: Mapping[str, str], reach: Reach) -> Machine:
        return Echo(reach.clock())

    kept = Kept()
    echo = machine("echo", {}, REACH, {**KINDS, "echo": opened})
    outcome = echo.run(Command("r1", ("hello", "there")), sink=kept, cancel=Event())
    assert (outcome.succeeded, kept.stdout) == (True, b"hello there")


def test_a_variable_that_is_not_permitted_is_named_before_anything_is_asked() -> None:
    container = machine("lxc", {"name": "shop-1"}, REACH)
    command = Command("r1", ("true",), environment={"LD_PRELOAD": "/x.so", "LANG": "C"})
    with pytest.raises(CommandRefused, match="may not set LD_PRELOAD; it may set LANG"):
        container.run(command, sink=Kept(), cancel=Event())
