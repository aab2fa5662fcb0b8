"""Where a workload is in a cluster: its namespace, kind, name and container.

Invariant: what is made of a place is a path of the server's, and no text in it can lead elsewhere:
every part is a name by the rules of Kubernetes.
https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from runtime.assets import Locators
from runtime.errors import AdapterError

KINDS: Mapping[str, str] = {
    "deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "statefulset": "/apis/apps/v1/namespaces/{}/statefulsets",
    "daemonset": "/apis/apps/v1/namespaces/{}/daemonsets",
    "job": "/apis/batch/v1/namespaces/{}/jobs",
    "pod": "/api/v1/namespaces/{}/pods",
}
"""Where the server keeps the objects of a kind in a namespace."""

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a workload is: ``container`` is empty for the one that a pod names as its default, or
    its first. Raises :class:`AdapterError` for what is no name there."""

    namespace: str
    kind: str
    name: str
    container: str = ""

    def __post_init__(self) -> None:
        if not _LABEL.fullmatch(self.namespace):
            raise AdapterError(f"{self.namespace!r} is not the name of a namespace")
        if self.kind not in KINDS or not _NAME.fullmatch(self.name):
            raise AdapterError(
                f"{f'{self.kind}/{self.name}'!r} is not a workload; it is one of"
                f" {', '.join(f'{kind}/NAME' for kind in KINDS)}"
            )
        if self.container and not _LABEL.fullmatch(self.container):
            raise AdapterError(f"{self.container!r} is not the name of a container")

    def __str__(self) -> str:
        return f"{self.kind}/{self.name} in {self.namespace}"

    @property
    def path(self) -> str:
        return f"{KINDS[self.kind].format(self.namespace)}/{self.name}"


def place_of(locators: Locators) -> Place:
    """Where the locators say; ``workload`` is kind and name. Raises :class:`AdapterError`."""
    kind, _, name = locators.workload.partition("/")
    return Place(locators.namespace, kind.lower(), name, locators.container)
