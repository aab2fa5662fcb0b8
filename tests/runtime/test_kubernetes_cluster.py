"""How a cluster is got into is read of a kubeconfig or a pod's files, or what is wrong is said."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.errors import AdapterError, MachineUnreachable
from runtime.kubernetes_cluster import KubernetesCluster, access, inside
from tests.live.kube_authority import Authority

TOKEN = "s3cret-token"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kubeconfig")
    authority = Authority(folder)
    authority.pair("client")
    authority.pair("other")
    (folder / "ca.crt").write_bytes(authority.path.read_bytes())
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "empty").touch()
    (folder / "words").write_text("two words\n")
    return folder


CLUSTER = {"server": "https://kube.example.net:6443/", "certificate-authority": "ca.crt"}


def config(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "current-context": "production",
        "clusters": [{"name": "c", "cluster": {**CLUSTER, **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            {"name": "production", "context": {"cluster": "c", "user": "u"}},
            {"name": "broken", "context": {"cluster": "gone", "user": "u"}},
        ],
    }


def reached(folder: Path, value: object, context: str = "") -> KubernetesCluster:
    path = folder / "config"
    path.write_text(value if isinstance(value, str) else yaml.safe_dump(value))
    return KubernetesCluster("shop", path, context)


def data(folder: Path, name: str) -> str:
    return base64.b64encode((folder / name).read_bytes()).decode()


def test_a_token_and_a_certificate_are_read(folder: Path) -> None:
    for user in ({"token": TOKEN}, {"tokenFile": "token"}, {"tokenFile": str(folder / "token")}):
        found = access(reached(folder, config({}, user)))
        assert (found.server, found.server_name) == (
            "https://kube.example.net:6443",
            "kube.example.net",
        )
        assert found.token == TOKEN
        assert TOKEN not in repr(found)
        assert (found.tls.verify_mode, found.tls.check_hostname) == (ssl.CERT_REQUIRED, True)
    named = {"client-certificate": "client.pem", "client-key": "client.key"}
    given = {f"{key}-data": data(folder, name) for key, name in named.items()}
    for user in (named, given):
        assert access(reached(folder, config({}, user))).token == ""
    authority = {"certificate-authority-data": data(folder, "ca.crt"), "tls-server-name": "kube"}
    found = access(reached(folder, config(authority, {"token": TOKEN})))
    assert found.server_name == "kube"


def test_a_renewed_token_is_read_again(folder: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    cluster = reached(folder, config({}, {"tokenFile": str(token)}))
    assert access(cluster).token == "first"
    token.write_text("second")
    assert access(cluster).token == "second"


EXEC = {"command": "aws", "args": ["eks", "get-token"]}
PROXY = {"proxy-url": "http://proxy.example.net"}
REFUSED: dict[str, tuple[Any, Any, str]] = {
    "a program": ({}, {"exec": EXEC}, "come from a program, and none is run here; give that user"),
    "a provider": ({}, {"auth-provider": {"name": "oidc"}}, "come from a program"),
    "a password": ({}, {"username": "a", "password": "b"}, "has password, username, which is not"),
    "another user": ({}, {"token": TOKEN, "as": "root"}, "has as, which is not done here"),
    "nobody": ({}, {}, "its user has no credentials"),
    "half a pair": ({}, {"client-certificate": "client.pem"}, "needs both"),
    "a strange pair": (
        {},
        {"client-certificate": "client.pem", "client-key": "other.key"},
        "no PEM, or not of a pair",
    ),
    "no file": ({}, {"tokenFile": "nothing"}, "can't be read: No such file"),
    "an empty file": ({}, {"tokenFile": "empty"}, "is empty or longer than"),
    "no token": ({}, {"tokenFile": "words"}, "is no bearer token"),
    "lines in a token": ({}, {"token": "a\r\nHost: b"}, "its token is no bearer token"),
    "no base64": ({}, {"client-certificate-data": "%"}, "its client-certificate-data is no base64"),
    "no checks": ({"insecure-skip-tls-verify": True}, {"token": TOKEN}, "not to be checked"),
    "a proxy": (PROXY, {"token": TOKEN}, "its cluster has proxy-url"),
    "no TLS": ({"server": "http://kube"}, {"token": TOKEN}, "no https URL of a host"),
    "a user in the URL": ({"server": "https://a:b@kube"}, {"token": TOKEN}, "no https URL"),
    "a strange port": ({"server": "https://kube:x"}, {"token": TOKEN}, "no https URL"),
    "a bad certificate": (
        {"certificate-authority": "token"},
        {"token": TOKEN},
        "its certificate-authority is no PEM certificate; take the cluster's own",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_done_is_refused_and_named(folder: Path, case: str) -> None:
    cluster, user, said = REFUSED[case]
    with pytest.raises(
        MachineUnreachable, match=r"cluster shop: the kubeconfig .*config: "
    ) as told:
        access(reached(folder, config(cluster, user)))
    assert said in str(told.value)
    assert TOKEN not in str(told.value)


def test_a_file_that_is_none(folder: Path) -> None:
    for text, said in (
        ("", "the file is empty"),
        ("a: [", "no YAML"),
        ("a: &x b", "anchors and aliases"),
        ("[]", "it has no contexts"),
        ("{}", "no context is named; name the context"),
    ):
        with pytest.raises(MachineUnreachable, match=said):
            access(reached(folder, text))
    with pytest.raises(MachineUnreachable, match="it has no context 'other'"):
        access(reached(folder, config({}, {}), "other"))
    with pytest.raises(MachineUnreachable, match="it has no cluster 'gone'"):
        access(reached(folder, config({}, {}), "broken"))
    with pytest.raises(MachineUnreachable, match="can't be read: No such file"):
        access(KubernetesCluster("shop", folder / "nothing"))


def test_from_inside(folder: Path, tmp_path: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    assert inside(environment) == "https://10.0.0.1:443"
    server = inside({**environment, "KUBERNETES_SERVICE_HOST": "fd00::1"})
    assert server == "https://[fd00::1]:443"
    found = access(KubernetesCluster("own", server=server, service_account=folder))
    assert (found.server_name, found.token) == ("fd00::1", TOKEN)
    with pytest.raises(AdapterError, match="this is no pod: name the kubeconfig"):
        inside({})
    with pytest.raises(MachineUnreachable, match=r"ca\.crt can't be read"):
        access(KubernetesCluster("own", server=server, service_account=tmp_path))


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"kubeconfig": Path("a"), "server": "https://kube"},
        {"server": "https://kube", "context": "a"},
        {"kubeconfig": Path("a"), "answer_seconds": 0},
    ],
    ids=str,
)
def test_a_cluster_that_could_not_be_reached(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(AdapterError, match="'shop'"):
        KubernetesCluster("shop", **wrong)
