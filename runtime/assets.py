"""Runtime assets and integration endpoints, as the code sees them.

Invariant: what chooses an asset is its asset id or a role. Locators serve the adapter that reaches
it and are no key of anything; the three kinds of URL are three types. An integration endpoint has a
URL to call, how callers authenticate and where readiness shows, and nothing for machine control.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from runtime.permitted_actions import PermittedAction
from runtime.urls import ExecutorUrl, InternalUrl, PublicUrl

Kind = Literal["lxc", "kubernetes"]
KINDS: Final[tuple[Kind, ...]] = ("lxc", "kubernetes")
State = Literal["running", "stopped", "unreachable", "unknown"]
Scheme = Literal["none", "bearer", "basic", "header"]


@dataclass(frozen=True, slots=True)
class Locators:
    """Where the adapter of a kind finds an asset; ``vmid`` is a number, 0 for none, the others
    texts, empty for none. ``workload`` is kind and name, as ``deployment/web``."""

    node: str = ""
    vmid: int = 0
    container: str = ""
    cluster: str = ""
    namespace: str = ""
    workload: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """How an asset was last found, since when (``xsd:dateTime``), and the IRIs of the evidence."""

    state: State
    since: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AssetRole:
    """What is known of a role; an exclusive one is held once in an environment."""

    name: str
    exclusive: bool = False
    declared_in: str = ""


@dataclass(frozen=True, slots=True)
class RuntimeAsset:
    """A machine surface. ``owner``, ``project``, ``environment`` and ``hosts`` are IRIs, empty
    where nothing is said; ``declared_in`` names the topology that declares it."""

    asset_id: str
    kind: Kind
    owner: str
    locators: Locators
    label: str = ""
    roles: tuple[str, ...] = ()
    project: str = ""
    environment: str = ""
    capabilities: tuple[str, ...] = ()
    permits: tuple[PermittedAction, ...] = ()
    public: tuple[PublicUrl, ...] = ()
    executor: ExecutorUrl | None = None
    internal: tuple[InternalUrl, ...] = ()
    hosts: tuple[str, ...] = ()
    status: Status | None = None
    declared_in: str = ""
    iri: str = field(default="", compare=False)
    """As the graph has it; empty where it isn't read from there."""

    @property
    def urls(self) -> tuple[PublicUrl | ExecutorUrl | InternalUrl, ...]:
        executor = () if self.executor is None else (self.executor,)
        return (*self.public, *executor, *self.internal)


@dataclass(frozen=True, slots=True)
class Authentication:
    """How callers show who they are; ``reference`` says where OpenBao keeps what they show, and is
    empty for the scheme ``none`` alone."""

    scheme: Scheme = "none"
    reference: str = ""


@dataclass(frozen=True, slots=True)
class IntegrationEndpoint:
    """A system that is called and never controlled; IRIs as in :class:`RuntimeAsset`."""

    endpoint_id: str
    owner: str
    readiness_path: str
    authentication: Authentication = field(default_factory=Authentication)
    label: str = ""
    product: str = ""
    project: str = ""
    environment: str = ""
    public: tuple[PublicUrl, ...] = ()
    internal: tuple[InternalUrl, ...] = ()
    declared_in: str = ""
    iri: str = field(default="", compare=False)

    @property
    def urls(self) -> tuple[PublicUrl | InternalUrl, ...]:
        """What services call comes first: an internal URL where there is one."""
        return (*self.internal, *self.public)
