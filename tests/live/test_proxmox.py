"""Commands on machines of a Proxmox VE, over its REST API and over SSH to a node.

The Proxmox VE is one that is played from its published API description (:mod:`pve_server`): this
shows what our side does, and not that a release of theirs answers so. Its containers are real.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from threading import Event, Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.adapters import machine
from runtime.assets import Locators
from runtime.commands import MARK, Command, Kept, Outcome, Sink, Stream
from runtime.errors import (
    AdapterError,
    CommandRefused,
    MachineError,
    MachineFrozen,
    MachineMissing,
    MachineStopped,
    MachineUnreachable,
)
from runtime.found_containers import containers, nodes
from runtime.machines import Host, Machine, ProxmoxCluster, Reach
from runtime.machines_check import look
from tests.live.conftest import wait_until
from tests.live.containers import container, why_not
from tests.live.pve_server import KEPT, TOKEN, Guest, Pve, certificates, proxmox
from tests.live.run_processes import left_of
from tests.live.ssh_server import no_ssh, ssh_server

pytestmark = pytest.mark.live

RUNS = itertools.count()
HOSTILE = ("a b", "it's", '"', "a\nb", "-x", "--", "", "$HOME", "`id`", "*", "\\", "é", "x=y", "&;")
SLEEPS = ("sh", "-c", "echo; setsid sleep 600 & exec sleep 600")


def run_id() -> str:
    return f"pve-test-{os.getpid()}-{next(RUNS)}"


def clock() -> datetime:
    return datetime.now(UTC)


@dataclass
class Lab:
    """A cluster with three machines of node ``a``, and the ways to it."""

    pve: Pve
    reach: Reach
    secrets: dict[str, str] = field(default_factory=lambda: {"env:PVE": TOKEN})

    def opened(self, vmid: int, node: str = "a", reach: Reach | None = None) -> Machine:
        return machine("lxc", Locators(node=node, vmid=vmid), reach or self.reach)

    def over_rest(self, **changed: object) -> Reach:
        lab = ProxmoxCluster(
            {"a": "", "b": ""}, "rest", self.pve.url, "env:PVE", self.pve.authority
        )
        proxmox = {"lab": replace(lab, **changed)}  # type: ignore[arg-type]
        return replace(self.reach, proxmox=proxmox)

    @property
    def vm(self) -> Guest:
        return self.pve.cluster.guests[101]


@pytest.fixture(scope="module")
def whole_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with ExitStack() as closing:
        pve = closing.enter_context(proxmox(tmp_path_factory.mktemp("pve")))
        lab = Lab(pve, Reach(clock))
        pve.cluster.add(Guest(101, "qemu", "a", "shop", tags="prod;web"))
        if no_ssh() is None:
            path = f"{pve.programs}:{os.environ['PATH']}"
            folder = tmp_path_factory.mktemp("sshd")
            sshd = closing.enter_context(ssh_server(folder, {"PATH": path}))
            nodes_of = {"a": "node-a", "b": "node-a"}
            lab.reach = Reach(
                clock,
                {"node-a": Host(sshd.host)},
                proxmox={"lab": ProxmoxCluster(nodes_of, "ssh")},
            )
        if no_ssh() is None and why_not() is None:
            lxc_path = tmp_path_factory.mktemp("lxc")
            closing.enter_context(container(lxc_path, "102"))
            pve.cluster.lxc_path = lxc_path
            pve.cluster.add(Guest(102, "lxc", "a", "bench"))
            info = pve.programs / "lxc-info"
            info.write_text(f'#!/bin/sh\nexec /usr/bin/lxc-info -P "{lxc_path}" "$@"\n')
            info.chmod(0o755)
        lab.reach = replace(lab.reach, secret=lambda reference: lab.secrets[reference])
        yield lab


@pytest.fixture
def lab(whole_lab: Lab) -> Iterator[Lab]:
    cluster = whole_lab.pve.cluster
    before = {vmid: replace(guest) for vmid, guest in cluster.guests.items()}
    yield whole_lab
    cluster.guests.update(before)
    for vmid in set(cluster.guests) - set(before):
        del cluster.guests[vmid]
    cluster.tokens, cluster.denied = {TOKEN}, set()
    cluster.lost_answers, cluster.instead = 0, None


@pytest.fixture(params=["a VM over REST", "a VM over SSH", "a container over SSH"])
def shop(request: pytest.FixtureRequest, lab: Lab) -> Machine:
    if request.param == "a VM over REST":
        return lab.opened(101, reach=lab.over_rest())
    reason = no_ssh() or (why_not() if "container" in request.param else None)
    if reason is not None:
        pytest.skip(reason)
    return lab.opened(102 if "container" in request.param else 101)


@pytest.fixture(params=["rest", "programs"])
def vm(request: pytest.FixtureRequest, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A virtual machine over REST, or by the programs of a node that is this machine."""
    if request.param == "rest":
        return lab.opened(101, reach=lab.over_rest())
    monkeypatch.setenv("PATH", f"{lab.pve.programs}:{os.environ['PATH']}")
    here = ProxmoxCluster({"a": "here", "b": "here"}, "ssh")
    return lab.opened(101, reach=replace(lab.reach, hosts={"here": Host()}, proxmox={"lab": here}))


def ask(
    asked: Machine,
    *argv: str,
    stdin: bytes = b"",
    seconds: float = 60,
    output_bytes: int = 1 << 20,
    sink: Sink | None = None,
    cancel: Event | None = None,
) -> tuple[Outcome, Kept]:
    kept = Kept()
    run = run_id()
    command = Command(run, argv, {"LANG": "a b"}, stdin, seconds, output_bytes)
    outcome = asked.run(command, sink=sink or kept, cancel=cancel or Event())
    assert left_of(run) == []
    return outcome, kept


def test_arguments_and_bytes_arrive_as_they_are(shop: Machine) -> None:
    shop.check(run_id())
    script = 'printf "%s\\n--\\n" "$@"; cat; echo "$LANG" >&2; exit 7'
    binary = bytes(range(256)) * 20
    outcome, kept = ask(shop, "sh", "-c", script, "sh", *HOSTILE, stdin=binary)
    arguments = "".join(f"{argument}\n--\n" for argument in HOSTILE)
    assert kept.stdout == arguments.encode() + binary
    assert kept.stderr == b"a b\n"
    assert (outcome.exit_code, outcome.signal, outcome.unknown) == (7, None, None)
    assert (outcome.stdout.size, outcome.truncated) == (len(kept.stdout), False)


@settings(
    max_examples=15,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_any_arguments_arrive(lab: Lab, arguments: list[str]) -> None:
    asked = lab.opened(101, reach=lab.over_rest())
    outcome, kept = ask(asked, "printf", r"%s\0", "-first", *arguments)
    assert outcome.succeeded
    assert kept.stdout == b"".join(a.encode() + b"\0" for a in ["-first", *arguments])


def test_the_environment_is_what_was_permitted(shop: Machine) -> None:
    _, kept = ask(shop, "env")
    names = {line.partition("=")[0] for line in kept.stdout.decode().splitlines()}
    assert names - {"container"} == {"PATH", "LANG", MARK}
    command = Command(run_id(), ("true",), {"LD_PRELOAD": "/x.so"})
    with pytest.raises(CommandRefused, match="may not set LD_PRELOAD"):
        shop.run(command, sink=Kept(), cancel=Event())


def test_exit_codes_are_the_commands_own(shop: Machine) -> None:
    for code in (1, 255):
        outcome, _ = ask(shop, "sh", "-c", f"exit {code}")
        assert (outcome.exit_code, outcome.unknown) == (code, None)
    assert ask(shop, "no-such-program")[0].exit_code == 127


def test_what_never_ends_or_forks_away_is_ended(shop: Machine) -> None:
    outcome, _ = ask(shop, *SLEEPS, seconds=1)
    assert (outcome.timed_out, outcome.exit_code, outcome.unknown) == (True, None, None)
    outcome, kept = ask(shop, "sh", "-c", "setsid sleep 600 & echo started")
    assert (outcome.succeeded, kept.stdout) == (True, b"started\n")


def test_a_cancelled_command_is_ended(shop: Machine) -> None:
    cancel, run = Event(), run_id()
    outcomes: list[Outcome] = []
    command = Command(run, SLEEPS)
    thread = Thread(target=lambda: outcomes.append(shop.run(command, sink=Kept(), cancel=cancel)))
    thread.start()
    wait_until(lambda: len(left_of(run)) > 1, "the start of the command")
    cancel.set()
    thread.join(60)
    assert (outcomes[0].cancelled, outcomes[0].exit_code, outcomes[0].unknown) == (True, None, None)
    assert left_of(run) == []
    outcome, _ = ask(shop, "true", cancel=cancel)
    assert (outcome.cancelled, outcome.exit_code) == (True, None)


def test_what_is_left_of_a_run_is_ended_by_its_name(shop: Machine) -> None:
    run = run_id()
    outcomes: list[Outcome] = []
    command = Command(run, SLEEPS)
    thread = Thread(target=lambda: outcomes.append(shop.run(command, sink=Kept(), cancel=Event())))
    thread.start()
    wait_until(lambda: len(left_of(run)) > 1, "the start of the command")
    assert shop.end(run)
    thread.join(60)
    assert left_of(run) == []
    assert not outcomes[0].succeeded


def test_output_is_bounded(lab: Lab) -> None:
    asked = lab.opened(101, reach=lab.over_rest())
    said: list[int] = []

    def sink(_: Stream, chunk: bytes) -> None:
        said.append(len(chunk))

    flood = "yes | head -c 1000000000"
    outcome, _ = ask(asked, "sh", "-c", flood, output_bytes=1000, sink=sink)
    assert (outcome.exit_code, outcome.unknown) == (0, None)
    assert (outcome.stdout.size, outcome.stdout.passed) == (KEPT, 1000)
    assert (outcome.stdout.cut, outcome.stderr.cut, outcome.truncated) == (True, False, True)
    assert sum(said) == 1000


def test_what_was_printed_before_the_end_is_told(lab: Lab) -> None:
    outcome, kept = ask(lab.opened(101, reach=lab.over_rest()), *SLEEPS, seconds=3)
    assert (outcome.timed_out, outcome.exit_code, outcome.unknown) == (True, None, None)
    assert kept.stdout == b"\n"
    assert outcome.stdout.size == 1


def test_a_container_streams(lab: Lab) -> None:
    if 102 not in lab.pve.cluster.guests:
        pytest.skip(no_ssh() or why_not() or "")
    cancel = Event()
    outcome, _ = ask(
        lab.opened(102),
        *("sh", "-c", "echo; exec sleep 600"),
        sink=lambda *_: cancel.set(),
        cancel=cancel,
    )
    assert outcome.cancelled


AWAY: dict[str, tuple[dict[str, str], type[MachineError], str]] = {
    "stopped": ({"qmpstatus": "stopped", "status": "stopped"}, MachineStopped, "start it first"),
    "paused": (
        {"qmpstatus": "paused", "agent": "away"},
        MachineFrozen,
        "101 is paused; resume it first",
    ),
    "no agent": ({"agent": "not configured"}, MachineUnreachable, "No QEMU guest agent configured"),
    "agent away": ({"agent": "away"}, MachineUnreachable, "QEMU guest agent is not running"),
    "moved": ({"node": "b"}, MachineMissing, "101 is on node b now and not on a: correct"),
}


@pytest.mark.parametrize("case", AWAY)
def test_nothing_is_started_where_it_cannot_be(lab: Lab, vm: Machine, case: str) -> None:
    changed, kind, said = AWAY[case]
    lab.pve.cluster.guests[101] = replace(lab.vm, **changed)  # type: ignore[arg-type]
    before = lab.pve.cluster.started
    with pytest.raises(kind, match=said):
        vm.check(run_id())
    with pytest.raises(kind, match=said):
        ask(vm, "true")
    assert not vm.end(run_id())
    assert lab.pve.cluster.started == before


def test_what_is_not_there(lab: Lab, vm: Machine) -> None:
    del lab.pve.cluster.guests[101]
    with pytest.raises(MachineMissing, match="shows no machine 101"):
        vm.check(run_id())
    for vmid in (99, 1_000_000_000):
        with pytest.raises(AdapterError, match="no number of a machine"):
            lab.opened(vmid)


def test_a_guest_without_a_shell(
    lab: Lab, vm: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lab.pve.cluster, "guest_path", str(tmp_path))
    with pytest.raises(MachineUnreachable, match="Failed to execute child process"):
        ask(vm, "true")


def test_a_container_needs_ssh(lab: Lab) -> None:
    lab.pve.cluster.add(Guest(103, "lxc", "a", "other"))
    asked = lab.opened(103, reach=lab.over_rest())
    with pytest.raises(MachineUnreachable, match="give node a a host in the file of machines"):
        asked.check(run_id())
    with pytest.raises(MachineUnreachable, match="runs no commands"):
        ask(asked, "true")
    assert not asked.end(run_id())


def test_a_container_that_was_never_started(lab: Lab) -> None:
    if 102 not in lab.pve.cluster.guests:
        pytest.skip(no_ssh() or why_not() or "")
    lab.pve.cluster.add(Guest(103, "lxc", "a", "other", status="stopped"))
    asked = lab.opened(103)
    with pytest.raises(MachineStopped, match="103 was never started"):
        asked.check(run_id())
    with pytest.raises(MachineStopped, match="103 was never started"):
        ask(asked, "true")


def test_a_token_that_is_refused(lab: Lab) -> None:
    asked = lab.opened(101, reach=lab.over_rest())
    lab.pve.cluster.denied = {"ping"}
    with pytest.raises(MachineUnreachable, match=r"lacks a privilege; grant it: 403 .*GuestAgent"):
        asked.check(run_id())
    lab.pve.cluster.tokens = set()
    with pytest.raises(MachineUnreachable, match="renew it: 401 invalid token value!") as error:
        ask(asked, "true")
    assert "5ecr" not in str(error.value)


@pytest.mark.parametrize("token", ["5ecret", "ops@pve!x=a\nb", ""])
def test_a_token_that_is_none(lab: Lab, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lab.secrets, "env:PVE", token)
    with pytest.raises(MachineUnreachable, match="is not USER@REALM!TOKENID=SECRET") as error:
        lab.opened(101, reach=lab.over_rest()).check(run_id())
    assert "5ecr" not in str(error.value)


def test_a_token_that_cannot_be_had(lab: Lab) -> None:
    reach = replace(lab.over_rest(), secret=Reach(clock).secret)
    with pytest.raises(MachineUnreachable, match="the API token cannot be had: no secrets"):
        lab.opened(101, reach=reach).check(run_id())


def test_another_authority_gets_nothing(lab: Lab, tmp_path: Path) -> None:
    other, _ = certificates(tmp_path / "other")
    asked = lab.opened(101, reach=lab.over_rest(authority=other))
    with pytest.raises(MachineUnreachable, match="its certificate is not trusted"):
        asked.check(run_id())
    empty = tmp_path / "empty"
    empty.touch()
    asked = lab.opened(101, reach=lab.over_rest(authority=empty))
    with pytest.raises(MachineUnreachable, match=r"certificates .* can't be read"):
        asked.check(run_id())


def test_an_api_that_is_not_there(lab: Lab) -> None:
    asked = lab.opened(101, reach=lab.over_rest(url="https://127.0.0.1:1"))
    with pytest.raises(MachineUnreachable, match="could not be connected to"):
        ask(asked, "true")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": 5}', b"[" * 100_000])
def test_an_answer_that_is_none(lab: Lab, body: bytes) -> None:
    lab.pve.cluster.instead = body
    with pytest.raises(MachineUnreachable, match="answers as no Proxmox VE does"):
        lab.opened(101, reach=lab.over_rest()).check(run_id())


def test_more_than_a_request_holds_is_refused(lab: Lab) -> None:
    asked = lab.opened(101, reach=lab.over_rest())
    before = lab.pve.cluster.started
    with pytest.raises(CommandRefused, match="set transport: ssh"):
        ask(asked, "cat", stdin=b"x" * 70_000)
    assert lab.pve.cluster.started == before


def test_a_lost_answer_leaves_the_outcome_unknown(lab: Lab) -> None:
    asked = lab.opened(101, reach=lab.over_rest())
    lab.pve.cluster.lost_answers = 1
    before, run = lab.pve.cluster.started, run_id()
    outcome = asked.run(Command(run, SLEEPS), sink=Kept(), cancel=Event())
    assert lab.pve.cluster.started == before + 1
    assert (outcome.exit_code, outcome.succeeded) == (None, False)
    assert outcome.unknown is not None
    assert "it isn't known whether the command was started" in outcome.unknown
    wait_until(lambda: left_of(run) != [], "the start of the command")
    assert asked.end(run)
    assert left_of(run) == []


def meanwhile(lab: Lab, asked: Machine, change: Callable[[], object]) -> Outcome:
    """What comes of a command while something is changed."""
    run = run_id()
    outcomes: list[Outcome] = []
    command = Command(run, ("sleep", "600"), seconds=120)
    thread = Thread(target=lambda: outcomes.append(asked.run(command, sink=Kept(), cancel=Event())))
    thread.start()
    wait_until(lambda: left_of(run) != [], "the start of the command")
    change()
    thread.join(60)
    lab.pve.cluster.tokens = {TOKEN}
    assert asked.end(run)
    assert left_of(run) == []
    assert (outcomes[0].exit_code, outcomes[0].succeeded) == (None, False)
    return outcomes[0]


def test_a_token_that_expires_meanwhile(lab: Lab) -> None:
    asked = lab.opened(101, reach=lab.over_rest())
    outcome = meanwhile(lab, asked, lab.pve.cluster.tokens.clear)
    assert outcome.unknown is not None
    assert "will not say how it ended: 401" in outcome.unknown


def test_a_machine_that_is_started_again_meanwhile(lab: Lab, vm: Machine) -> None:
    outcome = meanwhile(lab, vm, lab.vm.forget)
    assert outcome.unknown is not None
    assert "Invalid parameter 'pid'" in outcome.unknown


def test_an_agent_that_is_away_for_a_while(lab: Lab, vm: Machine) -> None:
    run = run_id()
    outcomes: list[Outcome] = []
    command = Command(run, ("sleep", "1.5"))
    thread = Thread(target=lambda: outcomes.append(vm.run(command, sink=Kept(), cancel=Event())))
    thread.start()
    wait_until(lambda: left_of(run) != [], "the start of the command")
    guest = lab.vm
    guest.agent = "away"
    wait_until(lambda: left_of(run) == [], "the end of the command")
    guest.agent = "running"
    thread.join(60)
    assert outcomes[0].succeeded


def test_what_a_node_has(lab: Lab) -> None:
    lab.pve.cluster.add(Guest(104, "qemu", "b", "there", "stopped"))
    found = list(containers(lab.over_rest(), "a", run_id()))
    assert found[0].locators == Locators(node="a", vmid=101)
    assert (found[0].name, found[0].state, found[0].virtual) == ("shop", "running", True)
    assert found[0].tags == ("prod", "web")
    there = list(containers(lab.over_rest(), "b", run_id()))
    assert [(one.locators.vmid, one.state) for one in there] == [(104, "stopped")]
    far = {"far": Host(), "node-a": Host()}
    assert nodes(replace(lab.over_rest(), hosts=far)) == ("", "a", "b", "far", "node-a")
    assert nodes(replace(lab.over_rest(nodes={"a": "node-a"}), hosts=far)) == ("", "a", "far")
    if no_ssh() is None:
        assert list(containers(lab.reach, "a", run_id())) == found
    with pytest.raises(AdapterError, match="no host 'c'"):
        containers(lab.reach, "c", run_id())


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_what_this_machine_has(tmp_path: Path) -> None:
    with container(tmp_path, "shop-1") as first, container(tmp_path, "shop-2"):
        first.lxc("freeze")
        reach = Reach(clock, local=Host(lxc_path=PurePosixPath(tmp_path)))
        found = {one.name: one for one in containers(reach, "", run_id())}
        first.lxc("unfreeze")
    assert set(found) == {"shop-1", "shop-2"}
    assert (found["shop-1"].state, found["shop-1"].said) == ("stopped", "frozen")
    assert (found["shop-2"].state, found["shop-2"].virtual) == ("running", False)
    assert found["shop-2"].locators == Locators(container="shop-2")


def test_what_a_file_names_is_looked_at(lab: Lab) -> None:
    rest = lab.over_rest().proxmox["lab"]
    proxmox = {**lab.reach.proxmox, "rest": rest, "wrong": replace(rest, url="https://127.0.0.1:1")}
    looked = {one.name: one for one in look(replace(lab.reach, proxmox=proxmox), run_id())}
    assert looked["rest"].trouble == ""
    assert "could not be connected to" in looked["wrong"].trouble
    if no_ssh() is None:
        assert [looked[name].trouble for name in ("node-a", "lab/a", "lab/b")] == ["", "", ""]
