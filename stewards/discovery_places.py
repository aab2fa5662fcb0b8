"""The places where machines are looked for: hosts of containers, Proxmox VEs, Kubernetes clusters.

Invariant: only what an operator's file names is asked, and this machine where it has LXC; places
are asked several at a time, each bounded by its adapter. One that doesn't answer is told of with
its own words and takes no other with it.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final

from runtime.asset_graph import AssetGraph
from runtime.asset_sightings import Look, Place, Sighting
from runtime.assets import Locators, RuntimeAsset
from runtime.errors import RuntimeFloorError
from runtime.found_containers import containers, nodes
from runtime.machines import Reach
from runtime.urls import ExecutorUrl

LOGGER = logging.getLogger(__name__)

AT_ONCE: Final = 8
MOST_PROBED: Final = 200
_LONGEST_REASON: Final = 300
_LXC_LS: Final = "lxc-ls"

Found = Callable[[], Iterable[Sighting]]


def look_at(places: Mapping[Place, Found]) -> Look:
    """What is to be seen at these places, asked together."""
    if not places:
        return Look()
    order = sorted(places)
    with ThreadPoolExecutor(min(AT_ONCE, len(order)), "discovery") as pool:
        answers = list(pool.map(lambda place: _asked(place, places[place]), order))
    sightings: list[Sighting] = []
    silent = {}
    for place, answer in zip(order, answers, strict=True):
        if isinstance(answer, str):
            silent[place] = answer
        else:
            sightings += answer
    return Look(tuple(sightings), frozenset(places.keys() - silent.keys()), silent)


def container_places(
    reach: Reach,
    clock: Callable[[], datetime],
    new_id: Callable[[], str],
    *,
    has_lxc: Callable[[], bool] = lambda: shutil.which(_LXC_LS) is not None,
) -> dict[Place, Found]:
    """Every node that ``reach`` names; this machine where it has LXC. ``new_id`` names a look."""
    found: dict[Place, Found] = {}
    for node in nodes(reach):
        if node or has_lxc():
            found[Place("lxc", node)] = lambda node=node: _containers(reach, node, clock, new_id)  # type: ignore[misc]
    return found


def _containers(
    reach: Reach, node: str, clock: Callable[[], datetime], new_id: Callable[[], str]
) -> Iterator[Sighting]:
    for item in containers(reach, node, new_id()):
        yield Sighting(
            "proxmox" if item.locators.vmid else "lxc",
            "lxc",
            item.locators,
            clock(),
            None if item.state == "unknown" else item.state,
            (item.name,),
        )


def cluster_places(reach: Reach, clock: Callable[[], datetime]) -> dict[Place, Found]:
    """Every Kubernetes cluster that ``reach`` names."""
    return {
        Place("kubernetes", name): lambda name=name: _workloads(reach, name, clock)  # type: ignore[misc]
        for name in reach.clusters
    }


def _workloads(reach: Reach, name: str, clock: Callable[[], datetime]) -> Iterator[Sighting]:
    # Its client takes as long to import as the rest of this floor.
    from runtime.kubernetes_discovery import workloads

    for item in workloads(reach.clusters[name]):
        labels = item.labels
        called = (item.workload.partition("/")[2], labels.get("name", ""))
        part = [labels[key] for key in ("instance", "component") if labels.get(key)]
        yield Sighting(
            "kubernetes",
            "kubernetes",
            Locators(cluster=name, namespace=item.namespace, workload=item.workload),
            clock(),
            "running" if item.ready else "stopped",
            tuple(filter(None, (*called, "-".join(part)))),
        )


def _asked(place: Place, found: Found) -> list[Sighting] | str:
    try:
        return list(found())
    except RuntimeFloorError as error:
        return " ".join(str(error).split())[:_LONGEST_REASON]
    except Exception as error:
        LOGGER.exception("looking at %s met a fault", place)
        return f"a fault, which the log describes: {type(error).__name__}"


def unreachable(graph: AssetGraph, probe: Callable[[ExecutorUrl], str]) -> dict[str, str]:
    """Of the assets with an executor URL, those that ``probe`` gives a reason for; a bounded number
    of them is tried, several at a time."""
    tried = [asset for asset in graph.assets.values() if asset.executor is not None]
    tried = sorted(tried, key=lambda asset: asset.asset_id)[:MOST_PROBED]
    if not tried:
        return {}
    with ThreadPoolExecutor(min(AT_ONCE, len(tried)), "discovery") as pool:
        reasons = list(pool.map(lambda asset: _probed(asset, probe), tried))
    return {asset.asset_id: why for asset, why in zip(tried, reasons, strict=True) if why}


def _probed(asset: RuntimeAsset, probe: Callable[[ExecutorUrl], str]) -> str:
    assert asset.executor is not None
    return probe(asset.executor)
