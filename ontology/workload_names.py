"""What keeps instances of a program running, under the name that lasts.

Invariant: a workload is known by where it is and by what its orchestrator calls it, never by its
instances, which come and go: replica sets, pods, containers and the single runs of jobs are none.
Where nobody names the cluster it is known within the project only, for other clusters may have the
same names.
Source: https://opentelemetry.io/docs/specs/semconv/resource/k8s/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ontology.ids import Ids

KINDS: Final = ("deployment", "statefulset", "daemonset", "cronjob")
"""Each has a name in the attribute ``k8s.KIND.name``."""

CLUSTER: Final = "k8s.cluster.name"
NAMESPACE: Final = "k8s.namespace.name"


@dataclass(frozen=True, order=True)
class Workload:
    """A workload; ``name`` has its kind, as ``deployment/web``. Cluster and namespace may be
    empty."""

    cluster: str
    namespace: str
    name: str

    @property
    def key(self) -> str:
        """What tells it from others, as telemetry says it."""
        return "/".join(filter(None, (self.cluster, self.namespace, self.name)))

    def iri(self, ids: Ids, project: str) -> str:
        """The workload, of this project where its cluster has no name."""
        return ids.workload(self.cluster or f"project:{project}", self.namespace, self.name)


def name_key(kind: str) -> str:
    """The attribute that holds the name of a workload of this kind."""
    return f"k8s.{kind}.name"
