"""Whether what the file of machines names is reached.

Invariant: nothing is changed over there: a host runs ``true``, a Proxmox VE lists its machines, a
cluster what kinds it has. One that isn't reached doesn't keep the others from being looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event
from typing import Final

from runtime.commands import Command, Kept
from runtime.errors import MachineUnreachable, RuntimeFloorError
from runtime.kubernetes_api import ClusterApi
from runtime.kubernetes_cluster import KubernetesCluster
from runtime.machines import ProxmoxCluster, Reach
from runtime.proxmox import last_line
from runtime.proxmox_adapter import way_to

_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at a host, a cluster or a node of a Proxmox VE showed; ``trouble`` is empty
    where it was reached."""

    name: str
    way: str
    trouble: str = ""


def look(reach: Reach, run: str) -> Iterator[Looked]:
    """Look at all of them, one after the other; ``run`` names the looks, and no others."""
    for name in sorted(reach.hosts):
        yield Looked(name, "ssh", _trouble_of_host(reach, name, run))
    for name, cluster in sorted(reach.proxmox.items()):
        # Over REST one address answers for all of its nodes.
        for node in sorted(cluster.nodes)[: 1 if cluster.transport == "rest" else None]:
            shown = name if cluster.transport == "rest" else f"{name}/{node}"
            trouble = _trouble_of_proxmox(reach, cluster, node, run)
            yield Looked(shown, f"Proxmox VE over {cluster.transport}", trouble)
    for name, kubernetes in sorted(reach.clusters.items()):
        yield Looked(name, "Kubernetes", _trouble_of_cluster(kubernetes))


def _trouble_of_host(reach: Reach, name: str, run: str) -> str:
    asked, kept = Command(run, ("true",), seconds=_SECONDS, output_bytes=4096), Kept()
    try:
        outcome = reach.transport(name).start(asked.argv, asked, {}, sink=kept, cancel=Event())
    except MachineUnreachable as error:
        return str(error)
    if outcome.succeeded:
        return ""
    said = kept.stderr.decode(errors="replace").strip() or f"it ended with {outcome.exit_code}"
    return f"it doesn't run `true`: {last_line(outcome.unknown or said)}"


def _trouble_of_proxmox(reach: Reach, cluster: ProxmoxCluster, node: str, run: str) -> str:
    try:
        with way_to(cluster, node, reach)() as asking:
            asking.guests(run)
    except RuntimeFloorError as error:
        return str(error)
    return ""


def _trouble_of_cluster(cluster: KubernetesCluster) -> str:
    try:
        with ClusterApi(cluster) as api:
            # It is told to whoever the cluster knows, and to nobody else.
            api.get("/apis/apps/v1")
    except RuntimeFloorError as error:
        return str(error)
    return ""
