"""A Kubernetes cluster, and how it is got into: by a kubeconfig file, or as the pod we are.

Invariant: what is read names one server with a certificate that is checked, and one way to show who
we are; whatever else a file asks for (a program to run, a proxy, another user to be, no checks) is
refused and named. It is read each time, so that renewed credentials need no restart. No token and
no key is in a message or a representation, and keys stay where the operator keeps them.
https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
"""

from __future__ import annotations

import base64
import binascii
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runtime.errors import AdapterError, MachineUnreachable, TopologyError
from runtime.topology_text import MAX_BYTES, read_text

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token and the authority of its cluster."""

_CREDENTIAL_BYTES = 64 * 1024
_USER_KEYS = frozenset(
    {
        *("client-certificate", "client-certificate-data", "client-key", "client-key-data"),
        *("token", "tokenFile", "extensions"),
    }
)
_CLUSTER_KEYS = frozenset(
    {
        *("server", "certificate-authority", "certificate-authority-data", "tls-server-name"),
        *("insecure-skip-tls-verify", "disable-compression", "extensions"),
    }
)
_ADVICE = "give that user a token, a tokenFile or a client certificate"


@dataclass(frozen=True, slots=True)
class KubernetesCluster:
    """A cluster that locators may name. ``kubeconfig`` and ``context`` (the file's current one
    where it is empty) say how to get in; without a file we are a pod of it, and ``server`` is the
    address that its environment gives. Times are in seconds.

    Raises :class:`AdapterError` for what could not be reached.
    """

    name: str
    kubeconfig: Path | None = None
    context: str = ""
    server: str = ""
    service_account: Path = SERVICE_ACCOUNT
    connect_seconds: float = 10.0
    answer_seconds: float = 30.0

    def __post_init__(self) -> None:
        if (self.kubeconfig is None) == (not self.server):
            raise AdapterError(
                f"cluster {self.name!r} is reached by a kubeconfig or from inside, by one of both"
            )
        if self.kubeconfig is None and self.context:
            raise AdapterError(f"cluster {self.name!r} has a context and no kubeconfig")
        if min(self.connect_seconds, self.answer_seconds) <= 0:
            raise AdapterError(f"the time limits of cluster {self.name!r} are more than 0")


def inside(environment: Mapping[str, str]) -> str:
    """The address that the environment of a pod gives of its cluster's server.

    Raises :class:`AdapterError` when this is no pod.
    """
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT_HTTPS", "") or environment.get(
        "KUBERNETES_SERVICE_PORT", ""
    )
    if not host or not port.isdecimal():
        raise AdapterError("this is no pod: name the kubeconfig by which the cluster is reached")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


@dataclass(frozen=True, slots=True)
class Access:
    """Where the server is, and what is shown to it: ``token`` is empty for a certificate.
    ``server_name`` is what its certificate has to name."""

    server: str
    server_name: str
    tls: ssl.SSLContext
    token: str = field(default="", repr=False)


def access(cluster: KubernetesCluster) -> Access:
    """How the cluster is got into now. Raises :class:`MachineUnreachable` that says what to do."""
    try:
        if cluster.kubeconfig is None:
            return _Files(cluster.service_account).inside(cluster.server)
        return _kubeconfig(cluster.kubeconfig, cluster.context)
    except _Fault as fault:
        raise MachineUnreachable(f"cluster {cluster.name}: {fault}") from None


class _Fault(Exception):
    """What is wrong with a file, and what to do about it."""


@dataclass(frozen=True, slots=True)
class _Files:
    """The files that credentials are in; relative names start at ``folder``."""

    folder: Path

    def inside(self, server: str) -> Access:
        tls = _trusting((self.read("ca.crt")).decode("ascii", "replace"), "ca.crt")
        token = self.token("token")
        return Access(_server(server), _host(server), tls, token)

    def read(self, name: str) -> bytes:
        path = self.folder / name
        try:
            with path.open("rb") as file:
                found = file.read(_CREDENTIAL_BYTES + 1)
        except OSError as error:
            raise _Fault(f"{path} can't be read: {error.strerror}") from None
        if not found or len(found) > _CREDENTIAL_BYTES:
            raise _Fault(f"{path} is empty or longer than {_CREDENTIAL_BYTES} bytes")
        return found

    def token(self, name: str) -> str:
        return _token(self.read(name).decode("ascii", "replace"), str(self.folder / name))

    def of(self, section: Mapping[str, Any], key: str) -> bytes | None:
        """What a key or its ``-data`` says, which comes first; ``None`` where neither is there."""
        data = section.get(f"{key}-data")
        if data:
            try:
                return base64.b64decode(str(data), validate=True)
            except binascii.Error:
                raise _Fault(f"its {key}-data is no base64") from None
        name = section.get(key)
        return self.read(str(name)) if name else None


def _kubeconfig(path: Path, wanted: str) -> Access:
    try:
        with path.open("rb") as file:
            value = read_text(file.read(MAX_BYTES + 1), "kubectl config").value
    except OSError as error:
        raise _Fault(f"the kubeconfig {path} can't be read: {error.strerror}") from None
    except TopologyError as error:
        raise _Fault(f"the kubeconfig {path} can't be read: {error.faults[0]}") from None
    try:
        if not isinstance(value, dict):
            raise _Fault("it has no contexts")
        context = _named(value, "context", wanted or str(value.get("current-context") or ""))
        cluster = _named(value, "cluster", str(context.get("cluster") or ""))
        user = _named(value, "user", str(context.get("user") or ""))
        return _access(cluster, user, _Files(path.parent))
    except _Fault as fault:
        raise _Fault(f"the kubeconfig {path}: {fault}") from None


def _named(value: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    if not name:
        raise _Fault(f"no {kind} is named; name the context that is to be used")
    entries = value.get(f"{kind}s")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and str(entry.get("name")) == name:
            found = entry.get(kind)
            return found if isinstance(found, dict) else {}
    raise _Fault(f"it has no {kind} {name!r}")


def _access(cluster: Mapping[str, Any], user: Mapping[str, Any], files: _Files) -> Access:
    _only(cluster, _CLUSTER_KEYS, "its cluster", "name the server and its authority alone")
    if cluster.get("insecure-skip-tls-verify"):
        raise _Fault("its server's certificate is not to be checked; name certificate-authority")
    if "exec" in user or "auth-provider" in user:
        raise _Fault(f"its user's credentials come from a program, and none is run here; {_ADVICE}")
    _only(user, _USER_KEYS, "its user", _ADVICE)
    server = _server(str(cluster.get("server") or ""))
    authority = files.of(cluster, "certificate-authority")
    name = "certificate-authority"
    tls = _trusting(None if authority is None else authority.decode("ascii", "replace"), name)
    certificate, key = files.of(user, "client-certificate"), files.of(user, "client-key")
    if (certificate is None) != (key is None):
        raise _Fault("its user has a client certificate or its key, and needs both")
    if certificate is not None and key is not None:
        _show(tls, certificate, key)
    token = str(user.get("token") or "")
    token = files.token(str(user["tokenFile"])) if user.get("tokenFile") else token
    if token:
        token = _token(token, "its token")
    elif certificate is None:
        raise _Fault(f"its user has no credentials; {_ADVICE}")
    return Access(server, str(cluster.get("tls-server-name") or _host(server)), tls, token)


def _only(section: Mapping[str, Any], known: frozenset[str], what: str, advice: str) -> None:
    strange = sorted(key for key, given in section.items() if given and key not in known)
    if strange:
        raise _Fault(f"{what} has {', '.join(strange)[:100]}, which is not done here; {advice}")


def _server(address: str) -> str:
    # A port that is no number is a ValueError.
    with suppress(ValueError):
        parts = urlsplit(address)
        plain = not (parts.query or parts.fragment or parts.username is not None)
        if parts.scheme == "https" and parts.hostname and parts.port != 0 and plain:
            return address.rstrip("/")
    raise _Fault("its server is no https URL of a host")


def _host(server: str) -> str:
    return urlsplit(server).hostname or ""


def _trusting(authority: str | None, name: str) -> ssl.SSLContext:
    try:
        tls = ssl.create_default_context(cadata=authority)
    except (ssl.SSLError, ValueError):
        raise _Fault(f"its {name} is no PEM certificate; take the cluster's own") from None
    # Authorities of clusters lack extensions that newer Pythons ask for by default.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return tls


def _show(tls: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """TLS takes a key from a file alone: it is in one for the length of this call."""
    with tempfile.TemporaryDirectory(prefix="fractalops-tls-") as folder:
        chain = Path(folder) / "chain.pem"
        chain.touch(0o600)
        chain.write_bytes(certificate.rstrip() + b"\n" + key)
        try:
            # An answer to the question for a passphrase, which would be asked at a terminal.
            tls.load_cert_chain(chain, password="")
        except (ssl.SSLError, ValueError):
            raise _Fault("its client certificate and key are no PEM, or not of a pair") from None


def _token(text: str, what: str) -> str:
    token = text.strip()
    if not token or not all("!" <= character <= "~" for character in token):
        raise _Fault(f"{what} is no bearer token")
    return token
