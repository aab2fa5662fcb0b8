"""What a cluster says that it runs, for whoever compares it with what is declared.

Invariant: it only reads, page by page, a bounded number of workloads; of labels it takes the
recommended ones alone, which say what a thing is.
https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runtime.kubernetes_api import ClusterApi
from runtime.kubernetes_cluster import KubernetesCluster
from runtime.kubernetes_rollout import rollout_status

WORKLOADS_AT_MOST = 2000
LABELS = "app.kubernetes.io/"

_LISTS = {
    "deployment": ("/apis/apps/v1/deployments", "Deployment"),
    "statefulset": ("/apis/apps/v1/statefulsets", "StatefulSet"),
    "daemonset": ("/apis/apps/v1/daemonsets", "DaemonSet"),
}


@dataclass(frozen=True, slots=True)
class SeenWorkload:
    """One workload: ``workload`` is kind and name, as locators have it; ``ready`` and ``desired``
    are numbers of pods; ``labels`` are the recommended ones, without ``app.kubernetes.io/``."""

    namespace: str
    workload: str
    ready: int
    desired: int
    containers: tuple[str, ...]
    images: tuple[str, ...]
    labels: Mapping[str, str]


def workloads(cluster: KubernetesCluster) -> Iterator[SeenWorkload]:
    """The deployments, stateful sets and daemon sets of all namespaces; not what one of those made,
    nor jobs, which end. Raises :class:`MachineUnreachable`, also for lack of the right to list."""
    left = WORKLOADS_AT_MOST
    with ClusterApi(cluster) as api:
        for kind, (path, name) in _LISTS.items():
            for item in api.listed(path, left):
                left -= 1
                # The items of a list do not say their kind.
                yield _seen(kind, {**item, "kind": name})


def _seen(kind: str, item: Mapping[str, Any]) -> SeenWorkload:
    metadata = item["metadata"]
    containers = item["spec"]["template"]["spec"]["containers"]
    status = rollout_status(item)
    return SeenWorkload(
        namespace=str(metadata["namespace"]),
        workload=f"{kind}/{metadata['name']}",
        ready=status.ready,
        desired=status.desired,
        containers=tuple(str(container["name"]) for container in containers),
        images=tuple(str(container.get("image", "")) for container in containers),
        labels={
            key.removeprefix(LABELS): str(value)
            for key, value in sorted((metadata.get("labels") or {}).items())
            if key.startswith(LABELS)
        },
    )
