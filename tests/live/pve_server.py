"""A Proxmox VE, played from its published API description and manual pages.

It answers ``/api2/json`` over real HTTPS with API tokens, and through ``qm``, ``pvesh`` and ``pct``
in a folder to put on the PATH of a node. What a virtual machine's agent is given really runs, on
this machine; containers are real ones of LXC, where there are any. Parameters, answers and words of
errors are those of https://pve.proxmox.com/pve-docs/api-viewer/ and of the manual pages.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json
import os
import socketserver
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import IO, Any
from urllib.parse import parse_qsl, unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TOKEN = "ops@pve!fractalops=0d3c5f1e-5ecr-4e70-pve0-000000000001"
KEPT = 16 * 1024 * 1024
"""What the agent keeps of a stream."""


class Refused(Exception):
    """An answer that is an error: a status and its words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Process:
    """A command of an agent: its output is kept to a limit and read to the end."""

    def __init__(self, words: list[str], stdin: bytes, path: str) -> None:
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": path, "AGENT": "its own"},
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._kept = {"out": bytearray(), "err": bytearray()}
        self._cut: set[str] = set()
        assert self._process.stdin
        assert self._process.stdout
        assert self._process.stderr
        self._threads = [
            Thread(target=self._read, args=("out", self._process.stdout), daemon=True),
            Thread(target=self._read, args=("err", self._process.stderr), daemon=True),
            Thread(target=self._write, args=(self._process.stdin, stdin), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, name: str, pipe: IO[bytes]) -> None:
        with pipe:
            while chunk := pipe.read(65536):
                room = KEPT - len(self._kept[name])
                self._kept[name] += chunk[:room]
                if len(chunk) > room:
                    self._cut.add(name)

    def _write(self, pipe: IO[bytes], data: bytes) -> None:
        with contextlib.suppress(OSError), pipe:
            pipe.write(data)

    def status(self) -> dict[str, Any]:
        if self._process.poll() is None or any(t.is_alive() for t in self._threads[:2]):
            return {"exited": 0}
        code = self._process.returncode
        said: dict[str, Any] = {"exited": 1, "exitcode" if code >= 0 else "signal": abs(code)}
        for name, kept in self._kept.items():
            if kept:
                said[f"{name}-data"] = kept.decode("latin-1")
            if name in self._cut:
                said[f"{name}-truncated"] = 1
        return said

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(30)


@dataclass
class Guest:
    """A machine of the cluster."""

    vmid: int
    kind: str
    node: str
    name: str
    status: str = "running"
    qmpstatus: str = "running"
    agent: str = "running"  # or "not configured", "away"
    tags: str = ""
    processes: dict[int, Process] = field(default_factory=dict)
    forgotten: list[Process] = field(default_factory=list)

    def forget(self) -> None:
        """As an agent that was started again: it knows of no process any more."""
        self.forgotten += self.processes.values()
        self.processes.clear()

    def close(self) -> None:
        for process in (*self.processes.values(), *self.forgotten):
            process.kill()


class Cluster:
    """What both ways of asking lead to."""

    def __init__(self) -> None:
        self.guests: dict[int, Guest] = {}
        self.tokens = {TOKEN}
        self.denied: set[str] = set()
        self.started = 0
        self.lost_answers = 0
        """How many answers to an exec are still to be lost."""
        self.instead: bytes | None = None
        """What is answered whatever is asked."""
        self.lxc_path: Path | None = None
        self.guest_path = os.environ["PATH"]
        self._lock = Lock()

    def add(self, guest: Guest) -> Guest:
        self.guests[guest.vmid] = guest
        return guest

    def resources(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [
            {
                "id": f"{guest.kind}/{guest.vmid}",
                "type": guest.kind,
                "vmid": guest.vmid,
                "node": guest.node,
                "name": guest.name,
                "status": guest.status,
                "tags": guest.tags,
                "template": 0,
                "maxcpu": 2,
            }
            for guest in self.guests.values()
        ]
        return [*found, {"id": "qemu/900", "type": "qemu", "vmid": 900, "node": "a", "template": 1}]

    def guest(self, node: str, kind: str, vmid: str) -> Guest:
        guest = self.guests.get(int(vmid))
        folder = "qemu-server" if kind == "qemu" else "lxc"
        if guest is None or guest.node != node or guest.kind != kind:
            raise Refused(
                500, f"Configuration file 'nodes/{node}/{folder}/{vmid}.conf' does not exist"
            )
        return guest

    def _with_agent(self, node: str, vmid: str) -> Guest:
        guest = self.guest(node, "qemu", vmid)
        if guest.agent == "not configured":
            raise Refused(500, "No QEMU guest agent configured")
        if guest.status != "running":
            raise Refused(500, f"VM {vmid} is not running")
        if guest.agent == "away":
            raise Refused(500, "QEMU guest agent is not running")
        return guest

    def ping(self, node: str, vmid: str) -> dict[str, Any]:
        self._with_agent(node, vmid)
        return {"result": {}}

    def start(self, node: str, vmid: str, words: list[str], stdin: bytes) -> dict[str, int]:
        guest = self._with_agent(node, vmid)
        try:
            process = Process(words, stdin, self.guest_path)
        except OSError as error:
            raise Refused(
                500,
                "Agent error: Guest agent command failed, error was 'Failed to execute child"
                f" process “{words[0]}” ({error.strerror})'",
            ) from error
        with self._lock:
            self.started += 1
            guest.processes[process.pid] = process
        return {"pid": process.pid}

    def ended(self, node: str, vmid: str, pid: str) -> dict[str, Any]:
        guest = self._with_agent(node, vmid)
        process = guest.processes.get(int(pid))
        if process is None:
            raise Refused(500, "Agent error: Invalid parameter 'pid'")
        status = process.status()
        if status["exited"]:
            del guest.processes[int(pid)]
        return status

    def close(self) -> None:
        for guest in self.guests.values():
            guest.close()

    def api(self, method: str, path: str, fields: list[tuple[str, str]]) -> Any:
        """What the API answers to a request that may be asked."""
        given = dict(fields)
        steps = [unquote(step) for step in path.strip("/").split("/")]
        if (method, steps) == ("GET", ["cluster", "resources"]) and given == {"type": "vm"}:
            return self.resources()
        if len(steps) < 5 or steps[0] != "nodes":
            raise Refused(501, f"Method '{method} {path}' not implemented")
        _, node, kind, vmid, *rest = steps
        match (method, kind, rest):
            case ("GET", "qemu" | "lxc", ["status", "current"]):
                guest = self.guest(node, kind, vmid)
                return {"status": guest.status, "qmpstatus": guest.qmpstatus, "vmid": guest.vmid}
            case ("POST", "qemu", ["agent", "ping"]):
                return self.ping(node, vmid)
            case ("POST", "qemu", ["agent", "exec"]):
                if (
                    set(given) - {"command", "input-data"}
                    or len(given.get("input-data", "")) > 65536
                ):
                    raise Refused(400, "Parameter verification failed.")
                words = [value for name, value in fields if name == "command"]
                return self.start(node, vmid, words, given.get("input-data", "").encode("latin-1"))
            case ("GET", "qemu", ["agent", "exec-status"]):
                return self.ended(node, vmid, given["pid"])
        raise Refused(501, f"Method '{method} {path}' not implemented")

    def program(self, name: str, argv: list[str], stdin: bytes) -> Any:
        """What a program of node ``a`` answers."""
        match (name, argv):
            case (
                "pvesh",
                ["get", "/cluster/resources", "--type", "vm", "--output-format", "json"],
            ):
                return self.resources()
            case ("qm", ["status", vmid]):
                return f"status: {self.guest('a', 'qemu', vmid).qmpstatus}\n"
            case ("qm", ["guest", "cmd", vmid, "ping"]):
                self.ping("a", vmid)
                return ""
            case ("qm", ["guest", "exec", vmid, "--synchronous", "0", "--", *words]):
                return self.start("a", vmid, words, b"")
            case ("qm", ["guest", "exec", vmid, "--synchronous", "0", *passed]):
                assert passed[:3] == ["--pass-stdin", "1", "--"]
                words = passed[3:]
                return self.start("a", vmid, words, stdin)
            case ("qm", ["guest", "exec-status", vmid, pid]):
                return self.ended("a", vmid, pid)
            case ("pct", ["exec", vmid, "--", *words]):
                if self.guest("a", "lxc", vmid).status != "running":
                    raise Refused(255, f"container '{vmid}' not running!")
                path = ["-P", str(self.lxc_path)]
                return {"instead": ["lxc-attach", *path, "-n", vmid, "--keep-env", "--", *words]}
        raise Refused(255, "400 not enough arguments")


@dataclass(frozen=True)
class Pve:
    """A running one: ``url`` and ``authority`` of its API, ``programs`` for a node's PATH."""

    cluster: Cluster
    url: str
    authority: Path
    programs: Path


@contextmanager
def proxmox(folder: Path) -> Iterator[Pve]:
    """A cluster of the nodes ``a`` and ``b``."""
    cluster = Cluster()
    authority, chain = certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    with (
        tempfile.TemporaryDirectory(prefix="pve-") as short,
        ThreadingHTTPServer(("127.0.0.1", 0), _handler(cluster)) as api,
        _Programs(str(Path(short) / "socket"), cluster) as programs,
    ):
        api.socket = context.wrap_socket(api.socket, server_side=True)
        write_programs(folder / "programs", Path(short) / "socket")
        threads = [Thread(target=server.serve_forever) for server in (api, programs)]
        for thread in threads:
            thread.start()
        try:
            url = f"https://127.0.0.1:{api.server_port}"
            yield Pve(cluster, url, authority, folder / "programs")
        finally:
            api.shutdown()
            programs.shutdown()
            for thread in threads:
                thread.join(30)
            cluster.close()


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            return

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            self._answer("GET", path, parse_qsl(query, keep_blank_values=True))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fields = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body))
            self._answer("POST", self.path, fields)

        def _answer(self, method: str, path: str, fields: list[tuple[str, str]]) -> None:
            status, words, body = 200, "OK", {"data": None}
            try:
                token = self.headers.get("Authorization", "").removeprefix("PVEAPIToken=")
                if token not in cluster.tokens:
                    raise Refused(401, "invalid token value!" if token else "No ticket")
                if path.rpartition("/")[2] in cluster.denied:
                    raise Refused(403, "Permission check failed (/vms/101, VM.GuestAgent.Audit)")
                body = {"data": cluster.api(method, path.removeprefix("/api2/json"), fields)}
            except Refused as error:
                status, words = error.status, str(error)
            if path.endswith("/agent/exec") and cluster.lost_answers:
                cluster.lost_answers -= 1
                self.close_connection = True
                return
            content = cluster.instead or json.dumps(body).encode()
            self.send_response(status, words.encode("ascii", "replace").decode())
            self.send_header("Content-Type", "application/json;charset=UTF-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)

    return Handler


class _Programs(socketserver.ThreadingUnixStreamServer):
    """What the programs in a node's folder ask."""

    daemon_threads = True

    def __init__(self, path: str, cluster: Cluster) -> None:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                asked = json.loads(self.rfile.readline())
                stdin = base64.b64decode(asked["stdin"])
                said: dict[str, Any] = {"code": 0}
                try:
                    answer = cluster.program(asked["name"], asked["argv"], stdin)
                    said["out"] = answer if isinstance(answer, str) else json.dumps(answer)
                    if isinstance(answer, dict) and "instead" in answer:
                        said = answer
                except Refused as error:
                    said = {"code": 255, "err": f"{error}\n"}
                self.wfile.write(json.dumps(said).encode())

        super().__init__(path, Handler)


_PROGRAM = """#!{python} -ISE
import base64, json, os, socket, sys
name, argv = os.path.basename(sys.argv[0]), sys.argv[1:]
stdin = sys.stdin.buffer.read() if "--pass-stdin" in argv else b""
asked = {{"name": name, "argv": argv, "stdin": base64.b64encode(stdin).decode()}}
with socket.socket(socket.AF_UNIX) as server:
    server.connect({socket!r})
    server.sendall(json.dumps(asked).encode() + b"\\n")
    with server.makefile("rb") as answer:
        said = json.loads(answer.read())
if "instead" in said:
    os.execvp(said["instead"][0], said["instead"])
sys.stdout.write(said.get("out", ""))
sys.stderr.write(said.get("err", ""))
sys.exit(said["code"])
"""


def write_programs(folder: Path, socket: Path, lxc_path: Path | None = None) -> None:
    """Write the programs of a node."""
    folder.mkdir(exist_ok=True)
    text = _PROGRAM.format(python=os.path.realpath(sys.executable), socket=str(socket))
    for name in ("qm", "pvesh", "pct"):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def certificates(folder: Path) -> tuple[Path, Path]:
    """An authority's certificate, and a certificate of 127.0.0.1 with its key that it signed."""
    folder.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    theirs, ours = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Proxmox Virtual Environment")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pve")])

    def signed(
        name: x509.Name, key: ec.EllipticCurvePrivateKey, extensions: list[x509.ExtensionType]
    ) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(theirs.public_key()), False
            )
        )
        for extension in extensions:
            builder = builder.add_extension(
                extension, critical=isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            )
        return builder.sign(theirs, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    authority, chain = folder / "ca.pem", folder / "chain.pem"
    authority.write_bytes(signed(issuer, theirs, [x509.BasicConstraints(True, None), usage]))
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    private = ours.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    chain.write_bytes(private + signed(subject, ours, [here]))
    return authority, chain
