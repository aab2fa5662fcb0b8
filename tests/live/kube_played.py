"""A played Kubernetes for tests, where its programs are not installed: one server and no cluster.

Invariant: it answers as the published API does, for the few objects and requests that the platform
uses; its commands are processes on this machine. It does at once what controllers would do.
https://kubernetes.io/docs/reference/kubernetes-api/
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import secrets
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import RLock, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.live import kube_websocket
from tests.live.kube_authority import HOST, Authority
from tests.live.kube_server import kubeconfig

Object = dict[str, Any]
STRANGE = ("huge", "garbled", "silent", "other", "split")
REVISION = "deployment.kubernetes.io/revision"

_KINDS = {
    "namespaces": "Namespace",
    "deployments": "Deployment",
    "replicasets": "ReplicaSet",
    "statefulsets": "StatefulSet",
    "daemonsets": "DaemonSet",
    "jobs": "Job",
    "pods": "Pod",
    "serviceaccounts": "ServiceAccount",
    "clusterrolebindings": "ClusterRoleBinding",
}


class Refused(Exception):
    """An answer that is a status object."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.document = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": message,
            "code": code,
        }


class PlayedKube:
    """One server."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.token = secrets.token_hex(16)
        self.address = ""
        self.lock = RLock()
        self.users: dict[str, str] = {self.token: "root"}
        self.may: set[str] = {"root"}
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._numbers = itertools.count(1)
        self._server: ThreadingHTTPServer | None = None
        self.moved_to = ""
        """Where clients are sent instead of being answered."""
        self.asked: list[str] = []
        self.log = [f"line {number}\n" for number in range(1, 1001)]

    def start(self) -> PlayedKube:
        served = self.authority.pair("server")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(served.certificate, served.key)
        self._server = _Server((HOST, 0), _handler(self))
        # The handshake is the handler's, so that a client that stays silent holds up no other.
        self._server.socket = tls.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.address = f"https://{HOST}:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self, token: str) -> Object:
        return kubeconfig(self.address, self.authority.path, {"token": token})

    def ask(self, method: str, path: str, body: Any = None) -> Object:
        """Ask as an administrator."""
        return self.answered(method, path, {}, body, "root")

    def answered(
        self, method: str, path: str, query: dict[str, str], body: Any, user: str
    ) -> Object:
        """What the server answers. Raises :class:`Refused`."""
        kind, namespace, name, sub = _read(path)
        with self.lock:
            if user not in self.may:
                said = f'{kind} is forbidden: User "{user}" cannot {method.lower()} resource'
                raise Refused(403, f'{said} "{kind}" in API group ""')
            if sub == "token":
                token = secrets.token_hex(16)
                self.users[token] = f"system:serviceaccount:{namespace}:{name}"
                return {"status": {"token": token}}
            if method == "POST":
                return self._made(kind, namespace, body)
            if not name:
                return self._list(kind, namespace, query)
            found = self._objects.get((kind, namespace, name))
            if found is None:
                group = {"pods": ""}.get(kind, ".batch" if kind == "jobs" else ".apps")
                raise Refused(404, f'{kind}{group} "{name}" not found')
            if method == "PATCH":
                before = json.dumps(found["spec"])
                _merge(found, body)
                found["metadata"]["generation"] += before != json.dumps(found["spec"])
                self._control()
            elif method == "DELETE":
                del self._objects[kind, namespace, name]
                if kind == "serviceaccounts":
                    gone = f"system:serviceaccount:{namespace}:{name}"
                    self.users = {key: user for key, user in self.users.items() if user != gone}
                self._control()
            return copy.deepcopy(found)

    def _list(self, kind: str, namespace: str, query: dict[str, str]) -> Object:
        wanted = [rule.split("=") for rule in query.get("labelSelector", "").split(",") if rule]
        found = [
            copy.deepcopy(item)
            for (one, space, _), item in sorted(self._objects.items())
            if one == kind and (not namespace or space == namespace)
            if all(item["metadata"].get("labels", {}).get(key) == text for key, text in wanted)
        ]
        start, limit = int(query.get("continue", 0)), int(query.get("limit", 500))
        more = str(start + limit) if start + limit < len(found) else ""
        return {
            "kind": f"{_KINDS[kind]}List",
            "metadata": {"continue": more},
            "items": [
                {key: value for key, value in item.items() if key != "kind"}
                for item in found[start : start + limit]
            ],
        }

    def _made(self, kind: str, namespace: str, body: Any) -> Object:
        body = copy.deepcopy(body)
        number = next(self._numbers)
        body["kind"] = _KINDS[kind]
        body["metadata"] |= {
            "namespace": namespace,
            "uid": f"uid-{number}",
            "generation": 1,
            "creationTimestamp": f"2026-11-28T12:{number // 60 % 60:02}:{number % 60:02}Z",
        }
        self._objects[kind, namespace, body["metadata"]["name"]] = body
        if kind == "pods":
            _run(body)
        if kind == "jobs":
            labels = {"batch.kubernetes.io/controller-uid": body["metadata"]["uid"]}
            body["spec"]["selector"] = {"matchLabels": labels}
            body["spec"]["template"]["metadata"]["labels"] |= labels
        if kind == "clusterrolebindings":
            self.may |= {
                f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
                for subject in body["subjects"]
            }
        self._control()
        return copy.deepcopy(body)

    def _control(self) -> None:
        """Do what controllers do."""
        for kind in ("deployments", "replicasets", "statefulsets", "jobs"):
            for item in self._of(kind):
                if kind == "deployments":
                    self._roll(item)
                else:
                    self._scale(item)
        owners = {item["metadata"]["uid"] for item in self._objects.values()}
        for key, item in list(self._objects.items()):
            if not {owner["uid"] for owner in _owners(item)} <= owners:
                del self._objects[key]

    def _of(self, kind: str) -> list[Object]:
        return [item for (one, _, _), item in self._objects.items() if one == kind]

    def _roll(self, item: Object) -> None:
        metadata, spec = item["metadata"], item["spec"]
        digest = hashlib.sha256(json.dumps(spec["template"], sort_keys=True).encode()).hexdigest()
        name, revision = f"{metadata['name']}-{digest[:8]}", 1
        for other in self._of("replicasets"):
            if _owners(other) and _owners(other)[0]["uid"] == metadata["uid"]:
                revision += 1
                if other["metadata"]["name"] != name:
                    other["spec"]["replicas"] = 0
                    self._scale(other)
        found = self._objects.get(("replicasets", metadata["namespace"], name))
        if found is None:
            made = copy.deepcopy(spec)
            labels = {"pod-template-hash": digest[:8]}
            made["template"]["metadata"]["labels"] |= labels
            made["selector"] = {"matchLabels": spec["selector"]["matchLabels"] | labels}
            found = self._made(
                "replicasets",
                metadata["namespace"],
                {
                    "metadata": {
                        "name": name,
                        "labels": made["template"]["metadata"]["labels"],
                        "annotations": {REVISION: str(revision)},
                        "ownerReferences": [_owner(item)],
                    },
                    "spec": made,
                },
            )
            found = self._objects["replicasets", metadata["namespace"], name]
        found["spec"]["replicas"] = spec.get("replicas", 1)
        self._scale(found)
        item["status"] = found["status"] | {"observedGeneration": metadata["generation"]}

    def _scale(self, item: Object) -> None:
        metadata, spec = item["metadata"], item["spec"]
        wanted = spec.get("replicas", spec.get("parallelism", 1))
        pods = [
            pod["metadata"]["name"]
            for pod in self._of("pods")
            if _owners(pod) and _owners(pod)[0]["uid"] == metadata["uid"]
        ]
        for name in pods[wanted:]:
            del self._objects["pods", metadata["namespace"], name]
        for _ in range(wanted - len(pods)):
            self._made(
                "pods",
                metadata["namespace"],
                {
                    "metadata": {
                        "name": f"{metadata['name']}-{next(self._numbers):05}",
                        "labels": spec["template"]["metadata"]["labels"],
                        "ownerReferences": [_owner(item)],
                    },
                    "spec": spec["template"]["spec"],
                },
            )
        item["status"] = {
            "observedGeneration": metadata["generation"],
            **dict.fromkeys(
                ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), wanted
            ),
        }


def _run(pod: Object) -> None:
    pod["status"] = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {
                "name": container["name"],
                "containerID": f"containerd://{pod['metadata']['uid']}-{container['name']}",
                "state": {"running": {}},
            }
            for container in pod["spec"]["containers"]
        ],
    }


def _owners(item: Object) -> list[Object]:
    return list(item["metadata"].get("ownerReferences", []))


def _owner(item: Object) -> Object:
    return {"uid": item["metadata"]["uid"], "controller": True}


def _merge(into: Object, change: Object) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _read(path: str) -> tuple[str, str, str, str]:
    """Kind, namespace, name and subresource that a path names."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    kind, name, sub = (*parts, "", "")[:3]
    return kind, namespace, name, sub


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that a client cut is no news."""


def _handler(kube: PlayedKube) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            kube.asked.append(self.path)
            if kube.moved_to:
                self.send_response(307)
                self.send_header("Location", kube.moved_to + self.path)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            parts = urlsplit(self.path)
            query = parse_qsl(parts.query, keep_blank_values=True)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            try:
                user = kube.users.get((self.headers.get("Authorization") or "")[len("Bearer ") :])
                if user is None:
                    raise Refused(401, "Unauthorized")
                if parts.path.endswith("/exec"):
                    self._exec(parts.path, query, user)
                elif parts.path.endswith("/log"):
                    kube.answered("GET", parts.path[: -len("/log")], {}, None, user)
                    self._log(dict(query))
                else:
                    found = kube.answered(self.command, parts.path, dict(query), body, user)
                    self._send(200, json.dumps(found).encode())
            except Refused as refused:
                self._send(refused.code, json.dumps(refused.document).encode())

        do_GET = do_POST = do_PATCH = do_DELETE = _answer

        def _log(self, query: dict[str, str]) -> None:
            if query.get("previous"):
                raise Refused(400, "previous terminated container not found")
            text = "".join(kube.log[-int(query["tailLines"]) :]).encode()
            self._send(200, text[: int(query.get("limitBytes", len(text)))])

        def _exec(self, path: str, query: list[tuple[str, str]], user: str) -> None:
            kube.answered("GET", path[: -len("/exec")], {}, None, user)
            agreed = kube_websocket.accepted(dict(self.headers.items()))
            if agreed is None:
                raise Refused(403, "Forbidden")
            self.close_connection = True
            stream = kube_websocket.Socket(self.connection, self.rfile)
            stream.raw(agreed[1])
            asked = dict(query)
            container = asked["container"]
            if container in STRANGE:
                kube_websocket.strange(stream, container)
                return
            words = [value for key, value in query if key == "command"]
            kube_websocket.run(stream, words, stdin="stdin" in asked, bare=container == "bare")

        def _send(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Nothing is printed in tests."""

    return Handler
