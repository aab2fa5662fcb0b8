"""How what is declared differs from what is observed.

Invariant: pure, and says only what was looked at: that something isn't there is told of places that
answered alone; of one that didn't, that is what is told. Nothing here decides which of the two is
right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from runtime.asset_graph import AssetGraph
from runtime.asset_matching import Found, Meeting, number, same_place
from runtime.asset_sightings import Look, Place
from runtime.assets import Locators, RuntimeAsset

DriftKind = Literal[
    "not-found",
    "not-declared",
    "not-running",
    "hosted-elsewhere",
    "hosting-not-stated",
    "executor-unreachable",
    "unclear",
    "silent-place",
]
KINDS: Final[Mapping[DriftKind, str]] = {
    "not-found": "declared, and not where its locators say",
    "not-declared": "found, and no asset",
    "not-running": "declared to serve, and not running",
    "hosted-elsewhere": "a service seen on another asset than the one that is stated to host it",
    "hosting-not-stated": "a service seen on an asset, and stated on none",
    "executor-unreachable": "an executor URL that can't be reached",
    "unclear": "found, and could be several assets",
    "silent-place": "a host or cluster that didn't answer",
}


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference. ``asset_id`` is empty for what is no asset; ``locators`` say where it was
    found then; ``service`` is an IRI; ``detail`` says the rest in words."""

    kind: DriftKind
    asset_id: str = ""
    detail: str = ""
    service: str = ""
    locators: Locators = field(default_factory=Locators)


def drift(
    graph: AssetGraph, look: Look, meeting: Meeting, unreachable: Mapping[str, str]
) -> tuple[Drift, ...]:
    """Everything that differs, in the order of :data:`KINDS`, then of asset ids. ``unreachable``
    says of the assets whose executor URL was tried in vain why."""
    found = [
        *_not_found(graph.assets.values(), look, meeting),
        *(
            Drift("not-declared", "", f"{item.state or 'seen'}, {_called(item)}", "", item.locators)
            for item in meeting.new
        ),
        *_not_running(graph, meeting),
        *_hosting(graph, meeting),
        *(
            Drift("executor-unreachable", name, reason)
            for name, reason in sorted(unreachable.items())
        ),
        *(Drift("unclear", "", why, "", locators) for locators, why in meeting.unclear),
        *(
            Drift("silent-place", "", f"{place.kind} {place.name or 'here'}: {reason}")
            for place, reason in sorted(look.silent.items())
        ),
    ]
    order = list(KINDS)
    return tuple(sorted(found, key=lambda item: order.index(item.kind)))


def _not_found(assets: Iterable[RuntimeAsset], look: Look, meeting: Meeting) -> Iterator[Drift]:
    seen = {item.locators: item for item in meeting.new}
    for asset in assets:
        if asset.asset_id in meeting.known or not _was_looked_at(asset, look):
            continue
        if any(same_place(asset.kind, asset.locators, at) for at, _ in meeting.unclear):
            # Something is there; which of several it is, nobody knows.
            continue
        moved = [
            at.node
            for at in seen
            if asset.kind == "lxc"
            and number(at)
            and number(at) == number(asset.locators)
            and at.node != asset.locators.node
        ]
        where = f"a machine of its number is on {moved[0]!r}" if len(moved) == 1 else ""
        yield Drift("not-found", asset.asset_id, where)


def _was_looked_at(asset: RuntimeAsset, look: Look) -> bool:
    """Whether its place answered. A cluster that isn't named is looked at where there is one."""
    at = asset.locators
    if asset.kind == "kubernetes" and not at.cluster:
        clusters = [place for place in look.places if place.kind == "kubernetes"]
        return bool(clusters) and not any(p.kind == "kubernetes" for p in look.silent)
    name = at.cluster if asset.kind == "kubernetes" else at.node
    return Place(asset.kind, name) in look.places


def _not_running(graph: AssetGraph, meeting: Meeting) -> Iterator[Drift]:
    for name, found in sorted(meeting.known.items()):
        if found.state not in (None, "running") and _serves(graph.assets[name]):
            yield Drift("not-running", name, f"{found.state}, by {' and '.join(found.sources)}")


def _serves(asset: RuntimeAsset) -> bool:
    return bool(asset.declared_in or asset.roles or asset.executor or asset.hosts)


def _hosting(graph: AssetGraph, meeting: Meeting) -> Iterator[Drift]:
    stated: dict[str, list[str]] = {}
    for asset in graph.assets.values():
        for service in asset.hosts:
            stated.setdefault(service, []).append(asset.asset_id)
    for name, found in sorted(meeting.known.items()):
        for service in found.services:
            on = stated.get(service, [])
            if not on:
                yield Drift("hosting-not-stated", name, "", service)
            elif name not in on:
                yield Drift("hosted-elsewhere", name, f"stated on {', '.join(on)}", service)


def _called(found: Found) -> str:
    named = ", ".join(found.names[:3]) or "without a name"
    return f"{named}, by {' and '.join(found.sources)}"
