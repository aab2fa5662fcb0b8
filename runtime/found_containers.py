"""Which containers and virtual machines a node has, whoever knows of them.

Invariant: what is found is read from the node alone and bounded; a name that couldn't be a locator
is left out. Nothing here says which asset something is: that is for whoever compares.
https://linuxcontainers.org/lxc/manpages/man1/lxc-ls.1.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import Final

from runtime.assets import Locators, State
from runtime.commands import Command, Kept
from runtime.errors import MachineUnreachable
from runtime.lxc_adapter import CONTAINER_NAME
from runtime.machines import Reach
from runtime.proxmox import last_line
from runtime.proxmox_adapter import way_to

MOST: Final = 10_000

_SECONDS = 60.0
_BYTES = 4 * 1024 * 1024
_STATES: dict[str, State] = {"running": "running", "stopped": "stopped", "frozen": "stopped"}


@dataclass(frozen=True, slots=True)
class FoundContainer:
    """What was found at ``locators``. ``name`` is what people called it, ``said`` the word for its
    state that it was found with; ``virtual`` tells a virtual machine."""

    locators: Locators
    name: str
    state: State
    said: str
    tags: tuple[str, ...] = ()
    virtual: bool = False


def nodes(reach: Reach) -> tuple[str, ...]:
    """All nodes that can be looked at, this machine first, as an empty name. A host that is a node
    of a Proxmox VE is looked at as that alone: its containers have one number each and no name."""
    of_proxmox = {node for cluster in reach.proxmox.values() for node in cluster.nodes}
    as_hosts = {host for cluster in reach.proxmox.values() for host in cluster.nodes.values()}
    return ("", *sorted((reach.hosts.keys() - as_hosts) | of_proxmox))


def containers(reach: Reach, node: str, run: str) -> Iterable[FoundContainer]:
    """The containers of a node, by name or number; ``run`` names this look at it, and no other.

    Raises :class:`MachineUnreachable` and :class:`AdapterError`.
    """
    for cluster in reach.proxmox.values():
        if node in cluster.nodes:
            with way_to(cluster, node, reach)() as asking:
                guests = asking.guests(run)
            return [
                FoundContainer(
                    Locators(node=node, vmid=guest.vmid),
                    guest.name,
                    _STATES.get(guest.status, "unknown"),
                    guest.status,
                    guest.tags,
                    guest.kind == "qemu",
                )
                for guest in guests
                if guest.node == node
            ][:MOST]
    return list(_of_lxc(reach, node, run))[:MOST]


def _of_lxc(reach: Reach, node: str, run: str) -> Iterator[FoundContainer]:
    path = reach.host(node).lxc_path
    where = () if path is None else ("-P", str(path))
    words = ("lxc-ls", *where, "--fancy", "--fancy-format", "NAME,STATE")
    asked = Command(run, words, seconds=_SECONDS, output_bytes=_BYTES)
    kept = Kept()
    outcome = reach.transport(node).start(words, asked, {}, sink=kept, cancel=Event())
    if not outcome.succeeded:
        words_of_it = outcome.unknown or kept.stderr.decode(errors="replace")
        raise MachineUnreachable(
            f"the containers of {node or 'this machine'} could not be listed:"
            f" {last_line(words_of_it or f'lxc-ls gave {outcome.exit_code}')}"
        )
    for line in kept.stdout.decode(errors="replace").splitlines()[1:]:
        name, _, said = line.strip().partition(" ")
        said = said.strip().lower()
        if CONTAINER_NAME.fullmatch(name) and said:
            yield FoundContainer(
                Locators(node=node, container=name), name, _STATES.get(said, "unknown"), said
            )
