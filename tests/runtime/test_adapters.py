"""A machine is opened from its kind and locators, or what is wrong with them is said."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from threading import Event

import pytest

from runtime.adapters import KINDS, machine
from runtime.assets import Locators
from runtime.commands import Command, Kept, Outcome, Output, Sink, Stream
from runtime.errors import AdapterError, CommandRefused
from runtime.lxc_container import LxcContainer
from runtime.machines import Host, Machine, Reach
from runtime.ssh_host import SshHost

HOST = Host(
    SshHost("lxc.example.org", Path("/keys/ours"), Path("/keys/theirs")),
    lxc_path=PurePosixPath("/srv/lxc"),
)
REACH = Reach(lambda: datetime(2026, 11, 28, tzinfo=UTC), {"far": HOST})

REFUSED: dict[str, tuple[Locators, str]] = {
    "nothing": (Locators(), "give one"),
    "a node alone": (Locators(node="far"), "give one"),
    "a name and a number": (Locators(container="a", vmid=101), "give one"),
    "a workload": (Locators(container="a", workload="deployment/a"), "no workload"),
    "what Kubernetes has": (Locators(cluster="m", namespace="n"), "no cluster and no namespace"),
    "an option": (Locators(container="-n"), "not the name of a container"),
    "a path for a name": (Locators(container="../a"), "not the name of a container"),
    "a line in a name": (Locators(container="a\n"), "not the name of a container"),
    "an unknown host": (Locators(container="a", node="other"), "no host 'other' is configured"),
    "an unknown node": (Locators(vmid=101, node="pve"), "no Proxmox VE with a node 'pve'"),
    "a number alone": (Locators(vmid=101), "no Proxmox VE with a node ''"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_locators_are_refused(case: str) -> None:
    locators, said = REFUSED[case]
    with pytest.raises(AdapterError, match=said):
        machine("lxc", locators, REACH)


@pytest.mark.parametrize("node", ["", "far"])
def test_a_container_is_opened_and_not_asked(node: str) -> None:
    found = machine("lxc", Locators(container="shop-1", node=node), REACH)
    assert isinstance(found, LxcContainer)


@pytest.mark.parametrize("path", ["lxc", "/lxc\0"])
def test_where_a_host_keeps_containers_is_an_absolute_path(path: str) -> None:
    with pytest.raises(AdapterError, match="not an absolute path"):
        Host(lxc_path=PurePosixPath(path))


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(AdapterError, match="no adapter reaches a 'vm'; there are: lxc"):
        machine("vm", Locators(), REACH)


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

    def opened(locators: Locators, reach: Reach) -> Machine:
        return Echo(reach.clock())

    kept = Kept()
    echo = machine("echo", Locators(), REACH, {**KINDS, "echo": opened})
    outcome = echo.run(Command("r1", ("hello", "there")), sink=kept, cancel=Event())
    assert (outcome.succeeded, kept.stdout) == (True, b"hello there")


def test_a_variable_that_is_not_permitted_is_named_before_anything_is_asked() -> None:
    container = machine("lxc", Locators(container="shop-1"), REACH)
    command = Command("r1", ("true",), environment={"LD_PRELOAD": "/x.so", "LANG": "C"})
    with pytest.raises(CommandRefused, match="may not set LD_PRELOAD; it may set LANG"):
        container.run(command, sink=Kept(), cancel=Event())
