"""What was seen of machines, before it is known which asset it is.

Invariant: a sighting says what one source saw at one moment and decides nothing. What stands in a
sighting was said by hosts, clusters and senders of telemetry: names of things, no values of
theirs, each of bounded length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from runtime.assets import Kind, Locators, State

Source = Literal["lxc", "proxmox", "kubernetes", "telemetry"]
MAX_NAME: Final = 253


@dataclass(frozen=True, slots=True)
class Sighting:
    """One machine as one source saw it.

    ``locators`` are where; ``names`` what people call it there, the one that says most first;
    ``services`` are the IRIs of what runs in it, ``projects`` the slugs of whose telemetry says so.
    A ``hint`` is of something that was only heard from, by a name that may be another thing's: it
    meets what is known and makes nothing. One without a ``state`` shows that something is there,
    and not how it is.
    """

    source: Source
    kind: Kind
    locators: Locators
    at: datetime
    state: State | None = None
    names: tuple[str, ...] = ()
    environment: str = ""
    projects: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    hint: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where it was looked: a host of Linux containers or node of a Proxmox VE (``""`` is the
    platform's own machine), or a Kubernetes cluster, by the name that locators have; or the
    facts."""

    kind: Kind | Literal["telemetry"]
    name: str


@dataclass(frozen=True, slots=True)
class Look:
    """What one look round found: sightings, the places that answered, and of the others why they
    didn't."""

    sightings: tuple[Sighting, ...] = ()
    places: frozenset[Place] = frozenset()
    silent: dict[Place, str] = field(default_factory=dict)
    left_out: int = 0
    """How much was there beyond what one look takes in."""
