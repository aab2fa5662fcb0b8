"""What every machine answers to, whatever its kind, and what this process reaches machines with.

Invariant: a machine runs a command at most once per call and never tries again by itself. What is
reached, and with which keys, is said by an operator's file and never by the graph: an asset's
locators choose among what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from threading import Event
from types import MappingProxyType
from typing import Literal, Protocol

from runtime.commands import PERMITTED_VARIABLES, Command, Outcome, Sink
from runtime.errors import AdapterError
from runtime.execution import Clock
from runtime.ssh_host import SshHost
from runtime.ssh_transport import SshTransport
from runtime.transports import LocalTransport, Transport


class Machine(Protocol):
    """One machine; any thread may use it, several at once too."""

    def check(self, run: str) -> None:
        """Return when it would run a command now; otherwise raises a :class:`MachineError`.

        ``run`` names this look at it, as :attr:`Command.run` names a command.
        """

    def run(self, command: Command, *, sink: Sink, cancel: Event) -> Outcome:
        """Run a command once; ``cancel`` ends it.

        Raises :class:`CommandRefused` and :class:`MachineError` when nothing was started.
        """

    def end(self, run: str) -> bool:
        """End what a run left there, such as one whose outcome is unknown; ``False`` when that
        isn't certain."""


@dataclass(frozen=True, slots=True)
class Host:
    """Where programs are started: another host by ``ssh``, this machine without. ``lxc_path`` is
    where it keeps containers, if not where LXC does."""

    ssh: SshHost | None = None
    lxc_path: PurePosixPath | None = None

    def __post_init__(self) -> None:
        if self.lxc_path is not None and (
            not self.lxc_path.is_absolute() or "\0" in str(self.lxc_path)
        ):
            raise AdapterError(f"{str(self.lxc_path)!r} is not an absolute path")


@dataclass(frozen=True, slots=True)
class ProxmoxCluster:
    """A Proxmox VE: ``nodes`` are its nodes, each with the name of the host by which it is reached
    over SSH, empty for one that isn't. ``url`` and ``token`` (a reference to a secret) are those of
    its REST API, which ``transport`` says whether to ask; ``authority`` is a file of the
    certificates that are trusted there, and none others are."""

    nodes: Mapping[str, str]
    transport: Literal["rest", "ssh"]
    url: str = ""
    token: str = field(default="", repr=False)
    authority: Path | None = None


def no_secret(reference: str) -> str:
    """Resolves no reference. Raises :class:`AdapterError`."""
    raise AdapterError("no secrets can be had here, and what is to be reached needs one")


@dataclass(frozen=True, slots=True)
class Reach:
    """``hosts`` are those that a locator may name, ``local`` is this machine, ``variables`` those
    that a command may set. ``secret`` gives what a reference means when it is needed; it raises a
    :class:`RuntimeFloorError`."""

    clock: Clock
    hosts: Mapping[str, Host] = field(default_factory=lambda: MappingProxyType({}))
    variables: frozenset[str] = PERMITTED_VARIABLES
    local: Host = field(default_factory=Host)
    proxmox: Mapping[str, ProxmoxCluster] = field(default_factory=lambda: MappingProxyType({}))
    secret: Callable[[str], str] = no_secret

    def host(self, name: str) -> Host:
        """The host of this name; this machine where it is empty. Raises :class:`AdapterError`."""
        if not name:
            return self.local
        found = self.hosts.get(name)
        if found is None:
            raise AdapterError(f"no host {name!r} is configured; name it in the file of machines")
        return found

    def transport(self, name: str) -> Transport:
        """How programs are started on the host of this name. Raises :class:`AdapterError`."""
        ssh = self.host(name).ssh
        return LocalTransport(self.clock) if ssh is None else SshTransport(ssh, self.clock)

    def proxmox_of(self, node: str) -> ProxmoxCluster:
        """The Proxmox VE that has the node. Raises :class:`AdapterError`."""
        for cluster in self.proxmox.values():
            if node in cluster.nodes:
                return cluster
        raise AdapterError(
            f"no Proxmox VE with a node {node!r} is configured; name it in the file of machines"
        )
