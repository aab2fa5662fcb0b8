"""Machines of a Proxmox VE, by node and number: containers by ``pct``, virtual machines by their
agents.

Invariant: before anything is started, the cluster is asked where the number is now and which kind
of machine it is. One that has moved is missed where it was, and the error says where it went; it is
not followed, since a locator is no identity and somebody has to say that it's still the one.
https://pve.proxmox.com/pve-docs/pct.1.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from threading import Event

from runtime.commands import MARK, RUN_LENGTH, Command, Outcome, Sink
from runtime.errors import (
    AdapterError,
    CommandRefused,
    MachineMissing,
    MachineStopped,
    MachineUnreachable,
    RuntimeFloorError,
)
from runtime.execution import Clock
from runtime.lxc_container import LxcContainer, refuse_variables
from runtime.machines import ProxmoxCluster, Reach
from runtime.proxmox import Asking, Guest, here
from runtime.proxmox_rest import rest
from runtime.proxmox_shell import ShellAsking
from runtime.proxmox_vm import PATH, VirtualMachine
from runtime.transports import Transport

Way = Callable[[], AbstractContextManager[Asking]]


class ProxmoxContainer(LxcContainer):
    """A container of a node, which is one of LXC's that has its number for a name."""

    def __init__(self, transport: Transport, vmid: int, variables: frozenset[str]) -> None:
        super().__init__(transport, str(vmid), None, variables)

    def _entry(self, command: Command) -> tuple[list[str], Mapping[str, str]]:
        # Whether `pct` keeps the environment differs by version, so it is cleared in there.
        if "=" in command.argv[0]:
            raise CommandRefused("a program with '=' in its name cannot be started in a container")
        given = {"PATH": PATH, "container": "lxc", MARK: command.run, **command.environment}
        words = [f"{name}={value}" for name, value in given.items()]
        return ["pct", "exec", self._name, "--", "env", "-i", *words], {}


class ProxmoxMachine:
    """The machine of a number; see :class:`runtime.machines.Machine`. ``container`` is how it gets
    commands where it is one; ``None`` where its node isn't reached over SSH."""

    def __init__(
        self,
        way: Way,
        node: str,
        vmid: int,
        container: ProxmoxContainer | None,
        variables: frozenset[str],
        clock: Clock,
    ) -> None:
        self._way = way
        self._node = node
        self._vmid = vmid
        self._container = container
        self._variables = variables
        self._clock = clock

    def check(self, run: str) -> None:
        with self._way() as asking:
            guest = here(asking.guests(run), self._node, self._vmid)
            if guest.kind == "qemu":
                self._vm(asking).check(run)
                return
        container = self._container_of(guest)
        try:
            container.check(run)
        except MachineMissing as error:
            # LXC knows it from its first start on.
            raise MachineStopped(f"container {self._vmid} was never started; start it") from error

    def run(self, command: Command, *, sink: Sink, cancel: Event) -> Outcome:
        refuse_variables(command, self._variables)
        with self._way() as asking:
            guest = here(asking.guests(command.run), self._node, self._vmid)
            if guest.kind == "qemu":
                return self._vm(asking).run(command, sink=sink, cancel=cancel)
        container = self._container_of(guest)
        try:
            return container.run(command, sink=sink, cancel=cancel)
        except MachineMissing as error:
            raise MachineStopped(f"container {self._vmid} was never started; start it") from error

    def end(self, run: str) -> bool:
        try:
            with self._way() as asking:
                looking = f"end-{run}"[:RUN_LENGTH]
                guest = here(asking.guests(looking), self._node, self._vmid)
                if guest.kind == "qemu":
                    return self._vm(asking).end(run)
            return self._container_of(guest).end(run)
        except RuntimeFloorError:
            return False

    def _vm(self, asking: Asking) -> VirtualMachine:
        return VirtualMachine(asking, self._node, self._vmid, self._clock)

    def _container_of(self, guest: Guest) -> ProxmoxContainer:
        if self._container is None:
            raise MachineUnreachable(
                f"machine {guest.vmid} is a container, in which the REST API of Proxmox VE runs no"
                f" commands: give node {self._node} a host in the file of machines, to use SSH"
            )
        return self._container


def opened(node: str, vmid: int, reach: Reach) -> ProxmoxMachine:
    """The machine of this number on the node; nothing is asked yet. Raises
    :class:`AdapterError`."""
    if not 100 <= vmid <= 999_999_999:
        raise AdapterError(f"{vmid} is no number of a machine in Proxmox VE; they begin at 100")
    cluster = reach.proxmox_of(node)
    host = cluster.nodes[node]
    container = ProxmoxContainer(reach.transport(host), vmid, reach.variables) if host else None
    return ProxmoxMachine(
        way_to(cluster, node, reach), node, vmid, container, reach.variables, reach.clock
    )


def way_to(cluster: ProxmoxCluster, node: str, reach: Reach) -> Way:
    """How the cluster is asked about machines of the node. Raises :class:`AdapterError`."""
    if cluster.transport == "rest":
        return lambda: rest(cluster, reach.secret)
    transport = reach.transport(cluster.nodes[node])
    return lambda: nullcontext(ShellAsking(transport))
