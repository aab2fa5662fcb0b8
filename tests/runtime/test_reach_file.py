"""The file of machines is read whole, or refused with everything that is wrong with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.errors import AdapterError, MachinesFileError, RuntimeFloorError, SettingsError
from runtime.kubernetes_cluster import KubernetesCluster
from runtime.machines import Host, ProxmoxCluster, Reach
from runtime.reach_file import read_reach, secrets_from
from runtime.secret_reference import SecretReference
from runtime.ssh_host import SshHost
from runtime.ssh_transport import SshTransport
from runtime.transports import LocalTransport

EXAMPLE = Path(__file__).parents[2] / "examples" / "machines.yaml"
WHOLE = EXAMPLE.read_text()


def clock() -> datetime:
    return datetime(2026, 11, 28, tzinfo=UTC)


def unasked(reference: str) -> str:
    raise AssertionError(f"{reference} was asked for")


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str | bytes], Path]:
    (tmp_path / "keys").mkdir()
    for name in ("fractalops", "known_hosts", "pve-root-ca.pem", "open", "production.kubeconfig"):
        (tmp_path / "keys" / name).touch(0o600)
    (tmp_path / "keys" / "open").chmod(0o640)

    def write(text: str | bytes) -> Path:
        path = tmp_path / "machines.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def read(path: Path) -> Reach:
    return read_reach(path, clock, unasked)


def test_the_example_is_read(written: Callable[[str], Path]) -> None:
    path = written(WHOLE)
    keys = path.parent / "keys"
    reach = read(path)
    assert reach.local == Host(lxc_path=PurePosixPath("/var/lib/lxc"))
    assert reach.hosts == {
        "pve-a": Host(SshHost("pve-a.example.net", keys / "fractalops", keys / "known_hosts")),
        "builder": Host(
            SshHost(
                "builder.example.net", keys / "fractalops", keys / "known_hosts", "root", port=2222
            ),
            PurePosixPath("/srv/lxc"),
        ),
    }
    lab = ProxmoxCluster(
        {"pve-a": "pve-a", "pve-b": ""},
        "rest",
        "https://pve.example.net:8006",
        "bao://kv/proxmox#token",
        keys / "pve-root-ca.pem",
    )
    assert reach.proxmox == {"lab": lab}
    assert reach.proxmox_of("pve-b") == lab
    assert reach.clusters == {
        "production": KubernetesCluster("production", keys / "production.kubeconfig", "fractalops")
    }
    assert isinstance(reach.transport(""), LocalTransport)
    assert isinstance(reach.transport("builder"), SshTransport)
    with pytest.raises(AdapterError, match="no host 'other' is configured"):
        reach.transport("other")


def test_the_cluster_that_we_are_in(written: Callable[[str], Path]) -> None:
    path = written("clusters:\n  own: {in_cluster: true, connect_seconds: 3}\n")
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    reach = read_reach(path, clock, unasked, environment)
    own = KubernetesCluster("own", server="https://10.0.0.1:443", connect_seconds=3)
    assert reach.clusters == {"own": own}


def test_a_file_may_say_nothing(written: Callable[[str], Path]) -> None:
    assert read(written("{}\n")).hosts == {}


HOST = "hosts:\n  a:\n    address: a.example.net\n    identity: keys/fractalops\n"
KNOWN = "    known_hosts: keys/known_hosts\n"
REST = "proxmox:\n  lab:\n    transport: rest\n    nodes: {a: {}}\n"
TLS = "    ca: keys/pve-root-ca.pem\n"
URL = "    url: https://pve.example.net:8006\n"

REFUSED = {
    "nothing": ("# nothing yet", "the file is empty; see examples/machines.yaml"),
    "no YAML": ("hosts: [", "line 2, column 1: no YAML"),
    "a tag": ("hosts: !!python/object:os.system {}", "line 1: tags are not read"),
    "an alias": ("a: &x {}\nb: *x", "line 1: anchors and aliases are not read"),
    "no mapping": ("- a", "line 1: Input should be"),
    "an unknown key": ("local:\n  path: /x\n", "line 2, local: there is no key 'path' here"),
    "a relative folder": (
        "local:\n  lxc_path: lxc\n",
        "line 2, local.lxc_path: 'lxc' is not an absolute path",
    ),
    "no known hosts": (HOST, "line 3, hosts.a.known_hosts: Field required"),
    "a strange address": (
        (HOST + KNOWN).replace("a.example.net", "-oProxyCommand=x"),
        "line 3, hosts.a: 'root' at '-oProxyCommand=x' is not a user of a host",
    ),
    "no such port": (HOST + KNOWN + "    port: 0\n", "hosts.a: 0 is not a port"),
    "a key that isn't there": (
        (HOST + KNOWN).replace("keys/fractalops", "keys/other"),
        "line 4, hosts.a.identity: 'keys/other' cannot be read: No such file",
    ),
    "a key that others may read": (
        (HOST + KNOWN).replace("keys/fractalops", "keys/open"),
        "line 4, hosts.a.identity: others may read 'keys/open': chmod 600 it",
    ),
    "a folder for a key": (
        (HOST + KNOWN).replace("keys/fractalops", "keys"),
        "line 4, hosts.a.identity: 'keys' is no file",
    ),
    "no certificate": (
        REST + URL + "    token: env:PVE\n",
        "line 3, proxmox.lab: its REST API needs ca; or set transport: ssh",
    ),
    "no TLS": (
        REST + TLS + "    url: http://pve.example.net\n    token: env:PVE\n",
        "line 6, proxmox.lab.url: String should match",
    ),
    "a user in the address": (
        REST + TLS + "    url: https://a:b@pve.example.net\n    token: env:PVE\n",
        "line 6, proxmox.lab.url: String should match",
    ),
    "a token itself": (
        REST + TLS + URL + "    token: root@pam!f=5ecret\n",
        "line 7, proxmox.lab.token: a token is referred to, as bao://MOUNT/PATH#FIELD or env:NAME",
    ),
    "a cluster by nothing": (
        "clusters:\n  shop: {context: a}\n",
        "line 2, clusters.shop: name its kubeconfig, or set in_cluster: true; one of both",
    ),
    "a cluster that we are in, elsewhere": (
        "clusters:\n  own: {in_cluster: true}\n",
        "line 2, clusters.own: this is no pod: name the kubeconfig",
    ),
    "a kubeconfig that others may read": (
        "clusters:\n  shop: {kubeconfig: keys/open}\n",
        "line 2, clusters.shop.kubeconfig: others may read 'keys/open': chmod 600 it",
    ),
    "a cluster that gets no time": (
        "clusters:\n  shop: {kubeconfig: keys/fractalops, answer_seconds: 0}\n",
        "line 2, clusters.shop.answer_seconds: Input should be greater than 0",
    ),
    "an unknown host of a node": (
        "proxmox:\n  lab:\n    transport: ssh\n    nodes:\n      a: {host: b}\n",
        "line 5, proxmox.lab.nodes.a.host: there is no host 'b'",
    ),
    "no host of a node": (
        "proxmox:\n  lab:\n    transport: ssh\n    nodes:\n      a: {}\n",
        "line 5, proxmox.lab.nodes.a: name the host that it is, for ssh",
    ),
    "two nodes of one name": (
        HOST + KNOWN + "proxmox:\n  one: {transport: ssh, nodes: {a: {host: a}}}\n"
        "  two: {transport: ssh, nodes: {a: {host: a}}}\n",
        "line 8, proxmox.two.nodes.a: 'one' has a node 'a' too; rename one of them",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_said_with_file_and_line(
    written: Callable[[str], Path], case: str
) -> None:
    text, said = REFUSED[case]
    path = written(text)
    with pytest.raises(MachinesFileError) as refused:
        read(path)
    assert len(refused.value.faults) == 1
    assert refused.value.faults[0].startswith(f"{path}: ")
    assert said in refused.value.faults[0]
    assert "5ecret" not in str(refused.value)


def test_every_fault_is_said(written: Callable[[str], Path]) -> None:
    both = (HOST + KNOWN + REST + URL).replace("keys/known_hosts", "keys/other")
    with pytest.raises(MachinesFileError) as refused:
        read(written(both))
    assert len(refused.value.faults) == 3


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MachinesFileError, match="it cannot be read: No such file"):
        read(tmp_path / "none.yaml")


def test_a_file_is_bounded(written: Callable[[str], Path]) -> None:
    with pytest.raises(MachinesFileError, match="1048576 are the most"):
        read(written("#" * (1 << 20) + "\n"))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_refused_or_read(written: Callable[[bytes], Path], data: bytes) -> None:
    with contextlib.suppress(MachinesFileError):
        assert read(written(data)).hosts == {}


def test_a_secret_is_had_when_it_is_needed() -> None:
    def bao(reference: SecretReference) -> str:
        return f"of {reference.path}"

    secret = secrets_from({"PVE": "5ecret", "EMPTY": ""}, bao)
    assert secret("env:PVE") == "5ecret"
    assert secret("bao://kv/proxmox#token") == "of proxmox"
    refused: list[tuple[str, type[RuntimeFloorError], str]] = [
        ("env:NONE", AdapterError, "the variable NONE is not set"),
        ("env:EMPTY", AdapterError, "the variable EMPTY is not set"),
        ("5ecret", SettingsError, "a reference to a secret reads"),
    ]
    for reference, kind, said in refused:
        with pytest.raises(kind, match=said) as error:
            secret(reference)
        assert "5ecret" not in str(error.value)
    with pytest.raises(AdapterError, match="set FRACTALOPS_OPENBAO"):
        secrets_from({}, None)("bao://kv/proxmox#token")
    with pytest.raises(AdapterError, match="no secrets can be had here"):
        Reach(clock).secret("env:PVE")
