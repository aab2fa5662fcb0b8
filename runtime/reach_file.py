"""The file of machines: by which ways this process reaches hosts, and which clusters it may ask.

Invariant: a file is read whole or refused whole, each fault with its line and what to do; it holds
references to secrets and no secret. Keys and certificates that it names are there and kept from
others when it is read, so that the first command isn't what finds out. Nothing is connected to.
The form is described in docs/machines.md.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.errors import AdapterError, MachinesFileError, SettingsError, TopologyError
from runtime.execution import Clock
from runtime.kubernetes_cluster import KubernetesCluster, inside
from runtime.machines import Host, ProxmoxCluster, Reach
from runtime.secret_reference import SecretReference, is_reference
from runtime.ssh_host import SshHost
from runtime.topology_text import MAX_BYTES, Place, Text, read_text

VARIABLE_SCHEME: Final = "env:"
"""A token may be in a variable of the environment, as ``env:NAME``."""

_VARIABLE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]{0,99}")
_MOST = 1_000
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
_Name = Annotated[str, Field(pattern=_NAME)]
_Path = Annotated[str, Field(min_length=1, max_length=4096)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _LocalBody(_Body):
    lxc_path: _Path | None = None


class _HostBody(_LocalBody):
    address: str = Field(max_length=253)
    user: str = Field(default="root", max_length=32)
    port: int = 22
    identity: _Path
    known_hosts: _Path


class _NodeBody(_Body):
    host: str = Field(default="", max_length=128)


class _ProxmoxBody(_Body):
    transport: Literal["rest", "ssh"]
    url: str = Field(default="", max_length=500, pattern=r"^(https://[^/\s@?#]+/?)?$")
    token: str = Field(default="", max_length=512)
    ca: _Path | None = None
    nodes: dict[_Name, _NodeBody] = Field(min_length=1, max_length=_MOST)


class _ClusterBody(_Body):
    kubeconfig: _Path | None = None
    context: str = Field(default="", max_length=253)
    in_cluster: bool = False
    connect_seconds: int = Field(default=10, gt=0, le=300)
    answer_seconds: int = Field(default=30, gt=0, le=300)


class _MachinesBody(_Body):
    local: _LocalBody = _LocalBody()
    hosts: dict[_Name, _HostBody] = Field(default={}, max_length=_MOST)
    proxmox: dict[_Name, _ProxmoxBody] = Field(default={}, max_length=_MOST)
    clusters: dict[_Name, _ClusterBody] = Field(default={}, max_length=_MOST)


def read_reach(
    path: Path,
    clock: Clock,
    secret: Callable[[str], str],
    environment: Mapping[str, str] = os.environ,
) -> Reach:
    """What the file at ``path`` lets this process reach. ``secret`` gives what a reference of it
    means, when it is needed; ``environment`` says where the cluster is that we are a pod of.
    Relative paths in the file start where it is.

    Raises :class:`MachinesFileError`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = read_text(data, "examples/machines.yaml")
        body = _MachinesBody.model_validate(text.value)
    except OSError as error:
        raise MachinesFileError([f"{path}: it cannot be read: {error.strerror}"]) from error
    except TopologyError as error:
        raise MachinesFileError([f"{path}: {fault}" for fault in error.faults]) from None
    except ValidationError as error:
        raise MachinesFileError([f"{path}: {fault}" for fault in _faults(text, error)]) from None
    return _Maker(path, text, body, environment).made(clock, secret)


def secrets_from(
    environment: Mapping[str, str], bao: Callable[[SecretReference], str] | None
) -> Callable[[str], str]:
    """What references of the file mean: ``env:NAME`` in ``environment``, ``bao://`` by ``bao``,
    which is ``None`` where no OpenBao is configured. It raises a :class:`RuntimeFloorError`."""

    def secret(reference: str) -> str:
        if reference.startswith(VARIABLE_SCHEME):
            name = reference.removeprefix(VARIABLE_SCHEME)
            value = environment.get(name)
            if not value:
                raise AdapterError(f"the variable {name} is not set; the file of machines names it")
            return value
        found = SecretReference.parse(reference)
        if bao is None:
            raise AdapterError(f"the file of machines refers to {found}: set FRACTALOPS_OPENBAO")
        return bao(found)

    return secret


def _faults(text: Text, error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False):
        place: Place = tuple(step for step in fault["loc"] if step != "[key]")
        said = fault["msg"]
        if fault["type"] == "extra_forbidden":
            place, said = place[:-1], f"there is no key {str(place[-1])[:128]!r} here"
        yield text.at(place, said)


class _Maker:
    """Makes what can be reached of what was read, and notes what can't be."""

    def __init__(
        self, path: Path, text: Text, body: _MachinesBody, environment: Mapping[str, str]
    ) -> None:
        self._path = path
        self._text = text
        self._body = body
        self._environment = environment
        self._faults: list[str] = []

    def made(self, clock: Clock, secret: Callable[[str], str]) -> Reach:
        body = self._body
        local = self._host(None, body.local.lxc_path, ("local",))
        hosts = {name: self._far(name, host) for name, host in body.hosts.items()}
        proxmox = {name: self._proxmox(name, found) for name, found in body.proxmox.items()}
        clusters = {
            name: cluster
            for name, found in body.clusters.items()
            if (cluster := self._cluster(name, found)) is not None
        }
        self._own_nodes()
        if self._faults:
            raise MachinesFileError(self._faults)
        return Reach(
            clock,
            MappingProxyType(hosts),
            local=local,
            proxmox=MappingProxyType(proxmox),
            clusters=MappingProxyType(clusters),
            secret=secret,
        )

    def _far(self, name: str, body: _HostBody) -> Host:
        place: Place = ("hosts", name)
        identity = self._file(body.identity, (*place, "identity"), kept=True)
        known = self._file(body.known_hosts, (*place, "known_hosts"))
        try:
            ssh = SshHost(body.address, identity, known, user=body.user, port=body.port)
        except AdapterError as error:
            self._fault(place, str(error))
            return Host()
        return self._host(ssh, body.lxc_path, place)

    def _host(self, ssh: SshHost | None, lxc_path: str | None, place: Place) -> Host:
        try:
            return Host(ssh, None if lxc_path is None else PurePosixPath(lxc_path))
        except AdapterError as error:
            self._fault((*place, "lxc_path"), str(error))
            return Host(ssh)

    def _proxmox(self, name: str, body: _ProxmoxBody) -> ProxmoxCluster:
        place: Place = ("proxmox", name)
        ca = None if body.ca is None else self._file(body.ca, (*place, "ca"))
        if body.transport == "rest":
            for key, value in (("url", body.url), ("token", body.token), ("ca", body.ca)):
                if not value:
                    self._fault(place, f"its REST API needs {key}; or set transport: ssh")
        if body.token:
            self._reference(body.token, (*place, "token"))
        for node, found in body.nodes.items():
            if found.host and found.host not in self._body.hosts:
                self._fault((*place, "nodes", node, "host"), f"there is no host {found.host!r}")
            elif not found.host and body.transport == "ssh":
                self._fault((*place, "nodes", node), "name the host that it is, for ssh")
        return ProxmoxCluster(
            MappingProxyType({node: found.host for node, found in body.nodes.items()}),
            body.transport,
            body.url.rstrip("/"),
            body.token,
            ca,
        )

    def _cluster(self, name: str, body: _ClusterBody) -> KubernetesCluster | None:
        place: Place = ("clusters", name)
        if body.in_cluster == (body.kubeconfig is not None):
            self._fault(place, "name its kubeconfig, or set in_cluster: true; one of both")
            return None
        config = body.kubeconfig and self._file(body.kubeconfig, (*place, "kubeconfig"), kept=True)
        try:
            return KubernetesCluster(
                name,
                config or None,
                body.context,
                inside(self._environment) if body.in_cluster else "",
                connect_seconds=body.connect_seconds,
                answer_seconds=body.answer_seconds,
            )
        except AdapterError as error:
            self._fault(place, str(error))
            return None

    def _own_nodes(self) -> None:
        """A locator names a node alone, so no two Proxmox VEs may have one of the same name."""
        seen: dict[str, str] = {}
        for name, body in self._body.proxmox.items():
            for node in body.nodes:
                if node in seen:
                    place: Place = ("proxmox", name, "nodes", node)
                    self._fault(
                        place, f"{seen[node]!r} has a node {node!r} too; rename one of them"
                    )
                seen.setdefault(node, name)

    def _reference(self, token: str, place: Place) -> None:
        if _VARIABLE.fullmatch(token):
            return
        try:
            if not is_reference(token):
                # It may be the secret itself, so it is not repeated.
                raise SettingsError("")
            SecretReference.parse(token)
        except SettingsError:
            self._fault(place, "a token is referred to, as bao://MOUNT/PATH#FIELD or env:NAME")

    def _file(self, text: str, place: Place, *, kept: bool = False) -> Path:
        """A file that is there; one to be kept from others is read by its owner alone."""
        path = self._path.absolute().parent / text
        try:
            found = path.stat()
        except (OSError, ValueError) as error:
            self._fault(place, f"{text!r} cannot be read: {getattr(error, 'strerror', error)}")
            return path
        if not stat.S_ISREG(found.st_mode):
            self._fault(place, f"{text!r} is no file")
        elif not os.access(path, os.R_OK):
            self._fault(place, f"{text!r} cannot be read: let this user read it")
        elif kept and found.st_mode & 0o077:
            self._fault(place, f"others may read {text!r}: chmod 600 it")
        return path

    def _fault(self, place: Place, said: Any) -> None:
        self._faults.append(f"{self._path}: {self._text.at(place, str(said))}")
