"""A namespace with workloads in a cluster of a test, which is a played one or a real one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runtime.adapters import machine
from runtime.assets import Locators
from runtime.kubernetes_cluster import KubernetesCluster
from runtime.machines import Machine, Reach
from tests.live import kube_server
from tests.live.conftest import wait_until
from tests.live.kube_played import PlayedKube
from tests.live.kube_server import NODE, KubeServer

APPS = "/apis/apps/v1/namespaces/shop"
CORE = "/api/v1/namespaces/shop"
RBAC = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
PROGRAMS = kube_server.programs()
Kube = PlayedKube | KubeServer
FILES = itertools.count()

CLUSTERS = [
    "played",
    pytest.param(
        "real",
        marks=pytest.mark.skipif(
            PROGRAMS is None,
            reason=(
                f"{', '.join(kube_server.PROGRAMS)} are not all on PATH or in"
                f" {kube_server.FOLDER}: the API server is a played one alone"
            ),
        ),
    ),
]
"""The parameters of a fixture."""


def clock() -> datetime:
    return datetime.now(UTC)


def template(name: str, *containers: str) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {
            "nodeName": NODE,
            "automountServiceAccountToken": False,
            "containers": [{"name": one, "image": f"{one}:1"} for one in containers],
        },
    }


def deployment(name: str, replicas: int, *containers: str) -> dict[str, Any]:
    recommended = {"app.kubernetes.io/name": name, "team": "shop"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": recommended},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, *containers),
        },
    }


@dataclass
class Shop:
    """A namespace with workloads, and ways to reach them."""

    kube: Kube
    folder: Path

    def cluster(self, token: str = "", **changes: Any) -> KubernetesCluster:
        config = self.kube.kubeconfig(token or self.kube.token)
        config["clusters"][0]["cluster"] |= changes
        path = self.folder / f"config-{next(FILES)}.yaml"
        path.write_text(json.dumps(config))
        return KubernetesCluster("here", path, connect_seconds=5, answer_seconds=10)

    def workload(
        self,
        workload: str = "deployment/web",
        container: str = "",
        cluster: KubernetesCluster | None = None,
    ) -> Machine:
        reach = Reach(clock, clusters={"here": cluster or self.cluster()})
        return machine("kubernetes", Locators("", 0, container, "here", "shop", workload), reach)

    def deploy(self, name: str, replicas: int, *containers: str) -> None:
        self.kube.ask("POST", f"{APPS}/deployments", deployment(name, replicas, *containers))
        path = f"{APPS}/deployments/{name}"
        wait_until(
            lambda: (
                self.kube.ask("GET", path).get("status", {}).get("readyReplicas", 0) == replicas
            ),
            f"the rollout of {name}",
        )

    def pods(self, name: str) -> list[str]:
        found = self.kube.ask("GET", f"{CORE}/pods")["items"]
        return [
            pod["metadata"]["name"]
            for pod in found
            if pod["metadata"]["name"].startswith(f"{name}-")
            and "deletionTimestamp" not in pod["metadata"]
        ]

    def account(self, name: str, *, role: str = "") -> str:
        """A token of a new account."""
        accounts = f"{CORE}/serviceaccounts"
        self.kube.ask("POST", accounts, {"metadata": {"name": name}})
        if role:
            subject = {"kind": "ServiceAccount", "name": name, "namespace": "shop"}
            ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
            body = {"metadata": {"name": name}, "subjects": [subject], "roleRef": ref}
            self.kube.ask("POST", RBAC, body)
        answer = self.kube.ask("POST", f"{accounts}/{name}/token", {"spec": {}})
        return str(answer["status"]["token"])


@contextmanager
def cluster(which: str, folder: Path) -> Iterator[Shop]:
    """A cluster of one of :data:`CLUSTERS`, with the deployment ``web`` of two pods."""
    kube: Kube
    if which == "played":
        kube = PlayedKube(folder)
    else:
        assert PROGRAMS is not None
        kube = KubeServer(folder, PROGRAMS)
    try:
        kube.start()
        kube.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
        made = Shop(kube, folder)
        made.deploy("web", 2, "main", "bare")
        yield made
    finally:
        kube.stop()
