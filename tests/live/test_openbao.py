"""The session at a real OpenBao: logins, secrets, bad days, and that nothing secret is told."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests.utils
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from graph_api.assembly_secrets import variables
from runtime.errors import (
    OpenBaoAway,
    OpenBaoDenied,
    OpenBaoError,
    OpenBaoSealed,
    SecretMissing,
)
from runtime.openbao import OpenBao
from runtime.openbao_login import AppRole, Login, TokenLogin
from runtime.secret_reference import SecretReference
from stewards.errors import JobFailed, JobRefused
from tests.live.openbao_server import OpenBaoServer
from tests.seeded_secrets import OPENBAO_TOKEN as PASSWORD

pytestmark = pytest.mark.live

REFERENCE = SecretReference.parse("bao://secret/fractalops/glitchtip#token")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBaoServer]:
    server = OpenBaoServer(tmp_path_factory.mktemp("openbao"))
    try:
        server.start().keep("fractalops/glitchtip", token=PASSWORD, empty="")
        server.keep("others/theirs", token="x")
        yield server
    finally:
        server.stop()


@contextmanager
def session(server: OpenBaoServer, login: Login, **more: Any) -> Iterator[OpenBao]:
    bao = OpenBao(server.address, login, **more)
    try:
        bao.open()
        yield bao
    finally:
        bao.close()


def app_role(server: OpenBaoServer, name: str = "platform", **settings: Any) -> AppRole:
    role, secret = server.role(name, **settings)
    return AppRole(role, lambda: secret)


def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_a_secret_is_read_and_the_token_revoked_at_the_end(server: OpenBaoServer) -> None:
    with session(server, app_role(server)) as bao:
        assert bao.secret(REFERENCE) == PASSWORD
        token = bao._token
        server.ask("POST", "auth/token/lookup", token=token)
    with pytest.raises(httpx.HTTPStatusError):
        server.ask("POST", "auth/token/lookup", token=token)


@pytest.mark.parametrize(
    ("reference", "error", "said"),
    [
        ("bao://secret/fractalops/nothing#token", SecretMissing, "nothing is there"),
        ("bao://secret/fractalops/glitchtip#user", SecretMissing, "it has empty, token"),
        ("bao://secret/fractalops/glitchtip#empty", SecretMissing, "no text in the field empty"),
        ("bao://secret/others/theirs#token", OpenBaoDenied, "policies of this login lack it"),
        ("bao://nowhere/fractalops/x#token", OpenBaoDenied, "policies of this login lack it"),
    ],
)
def test_what_is_not_to_be_had(
    server: OpenBaoServer, reference: str, error: type[Exception], said: str
) -> None:
    with session(server, app_role(server)) as bao, pytest.raises(error, match=said) as raised:
        bao.secret(SecretReference.parse(reference))
    assert PASSWORD not in f"{raised.value!r} {raised.value.__cause__!r}"


def test_a_wrong_secret_id_and_a_wrong_role(server: OpenBaoServer) -> None:
    role, secret = server.role("platform")
    for login in (AppRole(role, lambda: "not-" + secret), AppRole("not-" + role, lambda: secret)):
        with pytest.raises(OpenBaoDenied, match="Check the role") as raised:
            OpenBao(server.address, login).open()
        assert secret not in f"{raised.value} {login!r}"


def test_a_wrapped_secret_id_unwraps_once(server: OpenBaoServer) -> None:
    role, _ = server.role("wrapped", token_ttl="1s", token_max_ttl="1s")
    wrapped = server.ask(
        "PUT", "auth/approle/role/wrapped/secret-id", headers={"X-Vault-Wrap-TTL": "60s"}
    )["wrap_info"]["token"]
    with session(server, AppRole(role, lambda: str(wrapped), wrapped=True)) as bao:
        first = bao._token
        # The login that follows takes no other secret id.
        until(lambda: bao._token != first)
        assert bao.secret(REFERENCE) == PASSWORD
    with pytest.raises(OpenBaoDenied, match="somebody has unwrapped it before") as raised:
        OpenBao(server.address, AppRole(role, lambda: str(wrapped), wrapped=True)).open()
    assert str(wrapped) not in str(raised.value)


def test_a_login_by_a_signed_token(server: OpenBaoServer, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    server.ask("POST", "sys/auth/jwt", type="jwt")
    server.ask(
        "POST",
        "auth/jwt/config",
        jwt_validation_pubkeys=[public.decode()],
        jwt_supported_algs=["EdDSA"],
    )
    server.ask(
        "POST",
        "auth/jwt/role/platform",
        role_type="jwt",
        user_claim="sub",
        bound_audiences=["openbao"],
        token_policies=["fractalops"],
    )
    file = tmp_path / "token"
    with pytest.raises(OpenBaoDenied, match="cannot be read"):
        OpenBao(server.address, TokenLogin("jwt", "platform", file, "jwt")).open()
    file.write_text(_jwt("EdDSA", key.sign, {"sub": "fractalops", "aud": "openbao"}))
    with session(server, TokenLogin("jwt", "platform", file, "jwt")) as bao:
        assert bao.secret(REFERENCE) == PASSWORD
    with pytest.raises(OpenBaoDenied, match="Check the role"):
        OpenBao(server.address, TokenLogin("jwt", "strangers", file, "jwt")).open()


class _Reviews(BaseHTTPRequestHandler):
    """What Kubernetes answers to whom it is asked about: the token of one service account.

    https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/"""

    token = ""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = asked["spec"]["token"] == self.token
        user = {"username": "system:serviceaccount:fractalops:platform", "uid": "u-1"}
        status = {"authenticated": known, **({"user": user} if known else {})}
        answer = json.dumps({**asked, "status": status}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        pass


def test_a_login_by_the_token_of_a_service_account(server: OpenBaoServer, tmp_path: Path) -> None:
    claims = {
        "iss": "kubernetes/serviceaccount",
        "sub": "system:serviceaccount:fractalops:platform",
        "kubernetes.io": {
            "namespace": "fractalops",
            "serviceaccount": {"name": "platform", "uid": "u-1"},
        },
    }
    key = rsa.generate_private_key(65537, 2048)

    def signed(claims: dict[str, Any]) -> str:
        return _jwt("RS256", lambda m: key.sign(m, padding.PKCS1v15(), hashes.SHA256()), claims)

    _Reviews.token = signed(claims)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Reviews) as reviews:
        threading.Thread(target=reviews.serve_forever, daemon=True).start()
        try:
            server.ask("POST", "sys/auth/cluster", type="kubernetes")
            server.ask(
                "POST",
                "auth/cluster/config",
                kubernetes_host=f"http://127.0.0.1:{reviews.server_port}",
                token_reviewer_jwt=signed({"sub": "reviewer"}),
                disable_local_ca_jwt=True,
                # It has to be given, and plain HTTP asks for none.
                kubernetes_ca_cert=Path(requests.utils.DEFAULT_CA_BUNDLE_PATH).read_text(),
            )
            server.ask(
                "POST",
                "auth/cluster/role/platform",
                bound_service_account_names=["platform"],
                bound_service_account_namespaces=["fractalops"],
                token_policies=["fractalops"],
            )
            file = tmp_path / "token"
            login = TokenLogin("kubernetes", "platform", file, "cluster")
            file.write_text(_Reviews.token)
            with session(server, login) as bao:
                assert bao.secret(REFERENCE) == PASSWORD
                # The kubelet replaces the file in time; the next login reads it anew.
                file.write_text(signed(claims | {"jti": "another"}))
                server.ask("POST", "auth/token/revoke", token=bao._token)
                with pytest.raises(OpenBaoDenied, match="Check the role"):
                    bao.secret(REFERENCE)
        finally:
            reviews.shutdown()


def _jwt(algorithm: str, sign: Callable[[bytes], bytes], claims: dict[str, Any]) -> str:
    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    parts = ({"alg": algorithm, "typ": "JWT"}, {**claims, "iat": 1700000000, "exp": 4102444800})
    signed = ".".join(part(json.dumps(item).encode()) for item in parts)
    return f"{signed}.{part(sign(signed.encode()))}"


def test_a_token_is_renewed_before_it_ends(server: OpenBaoServer) -> None:
    with session(server, app_role(server, "renewed", token_ttl="2s", token_max_ttl="1h")) as bao:
        token = bao._token

        def lookup() -> dict[str, Any]:
            return dict(server.ask("POST", "auth/token/lookup", token=token)["data"])

        until(lambda: "last_renewal" in lookup())
        assert bao._token == token
        assert bao.secret(REFERENCE) == PASSWORD


def test_a_token_that_ended_is_followed_by_another_login(server: OpenBaoServer) -> None:
    with session(server, app_role(server)) as bao:
        token = bao._token
        server.ask("POST", "auth/token/revoke", token=token)
        assert bao.secret(REFERENCE) == PASSWORD
        assert bao._token != token


def test_namespaces_are_worlds_of_their_own(server: OpenBaoServer) -> None:
    server.ask("POST", "sys/namespaces/team")
    inside = {"X-Vault-Namespace": "team"}
    server.ask("PUT", "sys/policies/acl/all", inside, policy='path "*" {capabilities=["read"]}')
    server.ask("POST", "sys/auth/approle", inside, type="approle")
    server.ask("POST", "sys/mounts/secret", inside, type="kv", options={"version": "2"})
    server.ask("POST", "secret/data/fractalops/glitchtip", inside, data={"token": "the team's"})
    server.ask("POST", "auth/approle/role/ours", inside, token_policies="all")
    role = server.ask("GET", "auth/approle/role/ours/role-id", inside)["data"]["role_id"]
    secret = server.ask("PUT", "auth/approle/role/ours/secret-id", inside)["data"]["secret_id"]
    login = AppRole(role, lambda: str(secret))
    with session(server, login, namespace="team") as bao:
        assert bao.secret(REFERENCE) == "the team's"
    with pytest.raises(OpenBaoDenied):
        OpenBao(server.address, login).open()


def test_transit_signs_with_the_version_that_is_asked_for(server: OpenBaoServer) -> None:
    with session(server, app_role(server)) as bao:
        key = bao.transit("transit", "log")
        signature = bao.sign("transit", "log", key.latest, b"a message")
        Ed25519PublicKey.from_public_bytes(key.versions[key.latest]).verify(signature, b"a message")
        with pytest.raises(OpenBaoError, match=r"version 99: .* cannot answer now"):
            bao.sign("transit", "log", 99, b"a message")
        with pytest.raises(OpenBaoDenied, match="read the transit key, and update its path 'sign'"):
            bao.transit("transit", "another")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"type": "aes256-gcm96"}, "signed with Ed25519"),
        ({"type": "ed25519", "exportable": True}, "may be exported"),
        ({"type": "ed25519", "allow_plaintext_backup": True}, "may be exported"),
        ({"type": "ed25519", "derived": True}, "derived"),
    ],
)
def test_keys_that_are_none_for_a_log(
    server: OpenBaoServer, settings: dict[str, Any], said: str, request: pytest.FixtureRequest
) -> None:
    mount = f"transit-{abs(hash(str(settings)))}"
    server.ask("POST", f"sys/mounts/{mount}", type="transit")
    server.ask("POST", f"{mount}/keys/log", **settings)
    server.ask(
        "PUT",
        "sys/policies/acl/wide",
        policy=f'path "{mount}/keys/log" {{ capabilities = ["read"] }}',
    )
    role, secret = server.role("wide")
    server.ask("POST", "auth/approle/role/wide", token_policies="wide")
    with (
        session(server, AppRole(role, lambda: secret)) as bao,
        pytest.raises(OpenBaoError, match=said),
    ):
        bao.transit(mount, "log")


def test_a_variable_of_a_job_is_resolved_when_it_runs(server: OpenBaoServer) -> None:
    held = {"GLITCHTIP_TOKEN": str(REFERENCE), "OTHER_KEY": "bao://secret/fractalops/no#x"}
    with session(server, app_role(server)) as bao:
        value = variables(bao, held)
        assert value("GLITCHTIP_TOKEN") == PASSWORD
        with pytest.raises(JobRefused, match="nothing is there"):
            value("OTHER_KEY")
        server.seal()
        try:
            with pytest.raises(JobFailed, match="is sealed") as raised:
                value("GLITCHTIP_TOKEN")
            assert not isinstance(raised.value, JobRefused)
        finally:
            server.unseal()


def test_sealed_then_unsealed(server: OpenBaoServer) -> None:
    with session(server, app_role(server)) as bao:
        server.seal()
        try:
            with pytest.raises(OpenBaoSealed, match="is sealed: have it unsealed"):
                bao.secret(REFERENCE)
        finally:
            server.unseal()
        assert bao.secret(REFERENCE) == PASSWORD


def test_away_then_back(server: OpenBaoServer) -> None:
    with session(server, app_role(server), seconds=0.5) as bao:
        server.hold()
        try:
            with pytest.raises(OpenBaoAway, match=r"did not answer within 0\.5 s"):
                bao.secret(REFERENCE)
        finally:
            server.go_on()
        assert bao.secret(REFERENCE) == PASSWORD


def test_nobody_there_and_no_tls(server: OpenBaoServer) -> None:
    login = app_role(server)
    with pytest.raises(OpenBaoAway, match="is not reached"):
        OpenBao("http://127.0.0.1:9", login).open()
    with pytest.raises(OpenBaoAway, match="or it speaks plain HTTP"):
        OpenBao(server.address.replace("http:", "https:"), login).open()


def test_what_is_logged_holds_no_secret(
    server: OpenBaoServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    role, secret = server.role("platform")
    with session(server, AppRole(role, lambda: secret)) as bao:
        token = bao._token
        bao.secret(REFERENCE)
        server.ask("POST", "auth/token/revoke", token=token)
        bao.secret(REFERENCE)
        shown = repr(bao) + repr(bao._login)
    for hidden in (PASSWORD, secret, token):
        assert hidden not in caplog.text
        assert hidden not in shown
