"""Tells which asset a sighting is of: everything that is seen of one machine is one thing.

Invariant: pure, and independent of the order of what it is given. What has the locators of an asset
is that asset; a sighting that could be of several is of none and is said to be unclear, so nothing
is ever stated of the wrong machine for want of a name. Two sources that see the same make one.

Locators agree where neither contradicts the other: a cluster that isn't named is any, the only one
that fits; a Linux container that is called by its number on a node of Proxmox VE is the one with
that vmid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from runtime.asset_sightings import Sighting, Source
from runtime.assets import Kind, Locators, RuntimeAsset, State

_Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """One machine, by everything that was seen of it. ``state`` is what its host or cluster says,
    else what telemetry shows, ``None`` where nothing does; ``at`` and ``evidence`` are of that.
    ``environment`` is empty where two were said."""

    kind: Kind
    locators: Locators
    state: State | None
    at: datetime
    evidence: tuple[str, ...]
    sources: tuple[Source, ...]
    names: tuple[str, ...]
    environment: str
    projects: tuple[str, ...]
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Meeting:
    """What a look found, told apart: ``known`` by asset id, ``new`` things in the order of their
    locators, and what is ``unclear``, with why. ``unmet`` counts hints that met nothing."""

    known: dict[str, Found]
    new: tuple[Found, ...]
    unclear: tuple[tuple[Locators, str], ...]
    unmet: int = 0


def meet(assets: Iterable[RuntimeAsset], sightings: Iterable[Sighting]) -> Meeting:
    """Which assets these sightings are of, and what they show that is none."""
    everything = sorted(set(sightings), key=_order)
    known = sorted(assets, key=lambda asset: asset.asset_id)
    projects = {asset.asset_id: asset.project.rpartition("/")[2] for asset in known}
    groups, unclear = _grouped([item for item in everything if not item.hint])
    unmet = _join_hints([item for item in everything if item.hint], groups, known)
    met: dict[str, list[list[Sighting]]] = {}
    new: list[Found] = []
    for group in groups:
        candidates = [asset for asset in known if _is_of(asset, group)]
        if not candidates:
            new.append(found_of(group))
        elif len(candidates) > 1 and not _tell_containers(candidates):
            names = ", ".join(asset.asset_id for asset in candidates)
            unclear.append((group[0].locators, f"it could be any of {names}"))
        else:
            for asset in candidates:
                met.setdefault(asset.asset_id, []).append(_of_container(group, asset, candidates))
    found: dict[str, Found] = {}
    for asset_id, groups_met in met.items():
        if len(groups_met) > 1:
            unclear.extend(
                (group[0].locators, f"{asset_id} could be this or another one")
                for group in groups_met
                if group
            )
        elif groups_met[0]:
            found[asset_id] = found_of([_believed(it, projects[asset_id]) for it in groups_met[0]])
    new.sort(key=lambda item: (item.kind, place_of(item.kind, item.locators)))
    unclear.sort(key=lambda item: (str(item[0]), item[1]))
    return Meeting(found, tuple(new), tuple(unclear), unmet)


def same_place(kind: Kind, one: Locators, other: Locators) -> bool:
    """Whether these locators can be of one machine of this kind."""
    if kind == "kubernetes":
        return (
            (one.namespace, one.workload) == (other.namespace, other.workload)
            and bool(one.workload)
            and (one.cluster == other.cluster or not one.cluster or not other.cluster)
        )
    if one.node != other.node:
        return False
    if number(one) and number(other):
        return number(one) == number(other)
    return bool(one.container) and one.container == other.container


def number(locators: Locators) -> int:
    """The number by which the node knows a container, 0 for none."""
    name = locators.container
    called = int(name) if name.isascii() and name.isdecimal() and len(name) < 10 else 0
    return locators.vmid or called


def place_of(kind: Kind, locators: Locators) -> _Key:
    """What tells a machine from others of its kind, for an order that lasts."""
    if kind == "kubernetes":
        return (locators.namespace, locators.workload, locators.cluster)
    return (locators.node, f"{number(locators):010d}", locators.container)


def found_of(group: Sequence[Sighting]) -> Found:
    """These sightings, which are of one machine, as one."""
    first = group[0]
    telling = [item for item in group if item.state is not None]
    asked = [item for item in telling if item.source != "telemetry"]
    shown = max(asked or telling or group, key=lambda item: (item.at, item.evidence))
    environments = {item.environment for item in group if item.environment}
    return Found(
        first.kind,
        # A hint names the machine that it was sent from, and what that is may be another one.
        _fullest([item.locators for item in group if not item.hint] or [first.locators]),
        shown.state,
        shown.at,
        shown.evidence,
        tuple(sorted({item.source for item in group})),
        _in_order(name for item in group for name in item.names),
        environments.pop() if len(environments) == 1 else "",
        tuple(sorted({slug for item in group for slug in item.projects})),
        tuple(sorted({iri for item in group for iri in item.services})),
    )


def _believed(item: Sighting, project: str) -> Sighting:
    """How a project's machine is, what others send doesn't tell: they may say what they like."""
    if item.source != "telemetry" or not project or project in item.projects:
        return item
    return replace(item, state=None)


def _grouped(
    sightings: Sequence[Sighting],
) -> tuple[list[list[Sighting]], list[tuple[Locators, str]]]:
    """Sightings of one machine together. One that names no cluster joins the only one that fits;
    where several do, it is unclear."""
    groups: dict[_Key, list[Sighting]] = {}
    of_workload: dict[_Key, set[_Key]] = {}
    open_: list[Sighting] = []
    for item in sightings:
        if item.kind == "kubernetes" and not item.locators.cluster:
            open_.append(item)
            continue
        key = (item.kind, *_identity(item))
        groups.setdefault(key, []).append(item)
        of_workload.setdefault(key[:3], set()).add(key)
    unclear = []
    for item in open_:
        key = (item.kind, *_identity(item))
        clusters = of_workload.get(key[:3], set())
        if len(clusters) > 1:
            unclear.append((item.locators, "several clusters have a workload of that name"))
        else:
            groups.setdefault(next(iter(clusters), key), []).append(item)
    return list(groups.values()), unclear


def _identity(item: Sighting) -> _Key:
    locators = item.locators
    if item.kind == "kubernetes":
        return (locators.namespace, locators.workload, locators.cluster)
    called = number(locators)
    return (locators.node, str(called) if called else locators.container)


def _join_hints(
    hints: Iterable[Sighting], groups: list[list[Sighting]], assets: Sequence[RuntimeAsset]
) -> int:
    """Puts each hint with the one machine that has its name; how many have none."""
    unmet = 0
    for hint in hints:
        names = {hint.locators.container, *hint.names} - {""}
        fits = [group for group in groups if names & _called(group, hint.kind)]
        if len(fits) > 1:
            fits = [group for group in fits if group[0].locators.node == hint.locators.node]
        meant = [a for a in assets if a.kind == hint.kind and a.locators.container in names]
        if len(meant) > 1:
            meant = [asset for asset in meant if asset.locators.node == hint.locators.node]
        if len(fits) == 1:
            fits[0].append(hint)
        elif not fits and len(meant) == 1:
            groups.append([replace(hint, locators=meant[0].locators)])
        else:
            unmet += 1
    return unmet


def _called(group: Sequence[Sighting], kind: Kind) -> set[str]:
    """By what names a machine of this kind is called."""
    return {
        name
        for item in group
        if item.kind == kind
        for name in (item.locators.container, *item.names)
        if name
    }


def _is_of(asset: RuntimeAsset, group: Sequence[Sighting]) -> bool:
    return asset.kind == group[0].kind and any(
        same_place(asset.kind, asset.locators, item.locators) for item in group
    )


def _tell_containers(assets: Sequence[RuntimeAsset]) -> bool:
    """Whether assets of one workload are told apart by their containers."""
    containers = [asset.locators.container for asset in assets]
    return assets[0].kind == "kubernetes" and len(set(containers)) == len(containers)


def _of_container(
    group: Sequence[Sighting], asset: RuntimeAsset, assets: Sequence[RuntimeAsset]
) -> list[Sighting]:
    """What of a workload's sightings is of this asset, one of those that it has."""
    if asset.kind != "kubernetes":
        return list(group)
    own = asset.locators.container
    others = {item.locators.container for item in assets} - {own, ""}
    found = []
    for item in group:
        container = item.locators.container
        if container in others or (own and container not in ("", own)):
            continue
        # Which of several containers a service runs in has to be said.
        untold = len(assets) > 1 and not container
        found.append(replace(item, services=(), projects=()) if untold else item)
    return found


def _fullest(locators: Iterable[Locators]) -> Locators:
    """What these say together; of a workload no container, since it has all of them."""
    node, vmid, container, cluster, namespace, workload = "", 0, "", "", "", ""
    for item in locators:
        node, vmid = node or item.node, vmid or item.vmid
        container = container or item.container
        cluster, namespace = cluster or item.cluster, namespace or item.namespace
        workload = workload or item.workload
    return Locators(node, vmid, "" if workload else container, cluster, namespace, workload)


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))


def _order(item: Sighting) -> tuple[object, ...]:
    return (
        item.source == "telemetry",
        item.kind,
        *place_of(item.kind, item.locators),
        item.locators.container,
        item.source,
        item.at,
        item.state or "",
        item.names,
        item.environment,
        item.projects,
        item.services,
        item.evidence,
        item.hint,
    )
