"""A real Kubernetes for tests: an API server on etcd, its controllers, and nodes that are played.

Invariant: its programs have ports that the system picked and a folder of the test, and are gone
when the test that asked for them is. What becomes of a pod says kwok; its commands are processes on
this machine, started by the kubelet in cluster/kubelet: nothing is isolated, and nothing is pulled.
How to have the programs: docs/decisions/kubernetes.md.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.live.kube_authority import HOST, Authority

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kwok", "kubelet")
FOLDER = "FRACTALOPS_TEST_KUBE_BIN"
START_SECONDS = 120.0
NODE = "played"

_CONTROLLERS = "deployment-controller,replicaset-controller,statefulset-controller,job-controller"


def programs() -> dict[str, str] | None:
    """Where the programs are, if all of them are here."""
    where = os.environ.get(FOLDER)
    found = {name: shutil.which(name, path=where) for name in PROGRAMS}
    return {name: path for name, path in found.items() if path} if all(found.values()) else None


class KubeServer:
    """One cluster."""

    def __init__(self, folder: Path, found: dict[str, str]) -> None:
        self._folder = folder
        self._found = found
        self._running: list[subprocess.Popen[bytes]] = []
        self.authority = Authority(folder)
        self.token = secrets.token_hex(16)
        self.address = ""
        self.http = httpx.Client()
        self.log = folder / "container.log"

    def start(self) -> KubeServer:
        folder = self._folder
        store, peers, port, controllers, node, states = _ports(6)
        self._run(
            "etcd",
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls=http://{HOST}:{store}",
            f"--advertise-client-urls=http://{HOST}:{store}",
            f"--listen-peer-urls=http://{HOST}:{peers}",
            "--unsafe-no-fsync",
        )
        served = self.authority.pair("server")
        accounts = self.authority.pair("accounts")
        (folder / "tokens.csv").write_text(f'{self.token},root,root,"system:masters"\n')
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://{HOST}:{store}",
            f"--bind-address={HOST}",
            f"--advertise-address={HOST}",
            f"--secure-port={port}",
            f"--tls-cert-file={served.certificate}",
            f"--tls-private-key-file={served.key}",
            f"--client-ca-file={self.authority.path}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            f"--cert-dir={folder / 'certificates'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://accounts.test",
            f"--service-account-key-file={accounts.key}",
            f"--service-account-signing-key-file={accounts.key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
            "--kubelet-preferred-address-types=InternalIP",
        )
        self.address = f"https://{HOST}:{port}"
        self.http = httpx.Client(
            base_url=self.address,
            headers={"Authorization": f"Bearer {self.token}"},
            verify=ssl.create_default_context(cafile=self.authority.path),
            trust_env=False,
            timeout=30,
        )
        self._until(self._answers)
        config = folder / "root.json"
        config.write_text(json.dumps(self.kubeconfig(self.token)))
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={config}",
            f"--controllers={_CONTROLLERS}",
            "--leader-elect=false",
            f"--bind-address={HOST}",
            f"--secure-port={controllers}",
            f"--cert-dir={folder / 'certificates'}",
        )
        self.log.write_text("".join(f"line {number}\n" for number in range(1, 1001)))
        self._run("kubelet", f"-address={HOST}:{node}", f"-log={self.log}")
        self._until(lambda: _listens(node))
        self._run(
            "kwok",
            f"--kubeconfig={config}",
            "--manage-all-nodes",
            f"--node-ip={HOST}",
            f"--node-port={node}",
            f"--server-address={HOST}:{states}",
        )
        self.ask("POST", "/api/v1/nodes", {"kind": "Node", "metadata": {"name": NODE}})
        self._until(lambda: "daemonEndpoints" in self.ask("GET", f"/api/v1/nodes/{NODE}")["status"])
        return self

    def stop(self) -> None:
        self.http.close()
        for process in reversed(self._running):
            process.kill()
            process.wait()

    def kubeconfig(self, token: str) -> dict[str, Any]:
        return kubeconfig(self.address, self.authority.path, {"token": token})

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Ask as an administrator; what was refused fails the test."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = self.http.request(
            method,
            path,
            content=None if body is None else json.dumps(body),
            headers={"Content-Type": kind},
        )
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return dict(answer.json())

    def _run(self, program: str, *options: str) -> None:
        with (self._folder / f"{program}.txt").open("wb") as output:
            self._running.append(
                subprocess.Popen(
                    [self._found[program], *options],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={"PATH": os.environ["PATH"], "HOME": str(self._folder)},
                )
            )

    def _answers(self) -> bool:
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _until(self, condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + START_SECONDS
        while not condition():
            for process in self._running:
                assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
            assert time.monotonic() < give_up, "the cluster did not start"
            time.sleep(0.05)


def kubeconfig(server: str, authority: Path, user: dict[str, Any]) -> dict[str, Any]:
    """A kubeconfig; JSON is YAML."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [
            {
                "name": "here",
                "cluster": {"server": server, "certificate-authority": str(authority)},
            }
        ],
        "users": [{"name": "us", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "here", "user": "us"}}],
    }


def _ports(number: int) -> Sequence[int]:
    opened = [socket.create_server((HOST, 0)) for _ in range(number)]
    ports = [listening.getsockname()[1] for listening in opened]
    for listening in opened:
        listening.close()
    return ports


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port)).close()
    except ConnectionRefusedError:
        return False
    return True
