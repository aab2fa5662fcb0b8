"""OpenBao: one login, kept alive, through which secrets are read and the log's entries are signed.

Invariant: this is the only module that imports hvac. No secret, token or body of a request is part
of an error, a log line or a ``repr``. The token is renewed before it ends, a token that ended is
followed by another login, and the last one is revoked at the end, with every lease that it took.
Redirects are not followed and proxies and tokens of the environment not used: a token goes to the
address that was configured and nowhere else.
Specification: https://openbao.org/api-docs/
"""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import hvac
import hvac.exceptions
import requests

from runtime.errors import (
    OpenBaoAway,
    OpenBaoDenied,
    OpenBaoError,
    OpenBaoSealed,
    SecretMissing,
)
from runtime.openbao_login import AppRole, Login
from runtime.secret_reference import SecretReference
from runtime.transit_key import TransitKey, transit_key

LOGGER = logging.getLogger(__name__)

T = TypeVar("T")

_RENEW_AT = 0.6
"""The part of a token's life after which it is renewed."""
_PAUSE: Final = 5.0
"""Seconds between two attempts to renew a token or to log in again."""
_ENDLESS: Final = 3600.0


class OpenBao:
    """A session at the OpenBao at ``address``; any thread may use it. ``seconds`` is how long one
    request may take, ``authority`` a file with the certificates that its own must come from."""

    def __init__(
        self,
        address: str,
        login: Login,
        *,
        namespace: str | None = None,
        authority: Path | None = None,
        seconds: float = 5.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = address
        self._login = login
        self._namespace = namespace
        self._verify = True if authority is None else str(authority)
        self._seconds = seconds
        self._monotonic = monotonic
        self._signing_in = threading.Lock()
        self._secret_id: str | None = None
        self._token = ""
        self._lease = _ENDLESS
        self._renew_at = 0.0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="openbao", daemon=True)
        self._away = ""
        self._unrenewed = ""

    def __repr__(self) -> str:
        return f"OpenBao({self.address!r})"

    @property
    def problem(self) -> str:
        """What keeps OpenBao from answering, or the login alive; empty while nothing does."""
        return self._away or self._unrenewed

    def open(self) -> None:
        """Logs in and keeps the login alive. Raises :class:`OpenBaoError`."""
        self._sign_in("")
        self._thread.start()

    def close(self) -> None:
        """Revokes the token and what was leased with it; where that fails they end in time."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(2 * self._seconds)
        token, self._token = self._token, ""
        if token:
            try:
                self._once("the revocation", token, lambda bao: bao.auth.token.revoke_self())
            except OpenBaoError as error:
                LOGGER.warning(
                    "the token of OpenBao was not revoked, and ends by itself: %s", error
                )

    # --- what it is asked for

    def secret(self, reference: SecretReference) -> str:
        """The secret that a reference means. Raises :class:`OpenBaoError`."""
        answer = self._ask(
            str(reference),
            lambda bao: bao.secrets.kv.v2.read_secret_version(
                reference.path, mount_point=reference.mount, raise_on_deleted_version=True
            ),
        )
        found = _member(_member(answer, "data"), "data")
        value = found.get(reference.field)
        if not isinstance(value, str) or not value:
            raise SecretMissing(
                f"{reference}: the secret has no text in the field {reference.field}; it has"
                f" {', '.join(sorted(found)[:20]) or 'no fields'}. Name one of these, or put it in"
            )
        return value

    def transit(self, mount: str, name: str) -> TransitKey:
        """The public halves of a transit key's versions. Raises :class:`OpenBaoError`."""
        what = f"the transit key {mount}/keys/{name}"
        answer = self._ask(what, lambda bao: bao.secrets.transit.read_key(name, mount_point=mount))
        return transit_key(what, _member(answer, "data"))

    def sign(self, mount: str, name: str, version: int, message: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature under one version of a transit key.

        Whether they are one is for the caller to check. Raises :class:`OpenBaoError`."""
        body = {"input": base64.b64encode(message).decode(), "key_version": version}
        what = f"a signature of {mount}/keys/{name}, version {version}"
        answer = self._ask(what, lambda bao: bao.write_data(f"{mount}/sign/{name}", data=body))
        text = _member(answer, "data").get("signature")
        kind, _, encoded = text.rpartition(":") if isinstance(text, str) else ("", "", "")
        try:
            signature = base64.b64decode(encoded, validate=True)
        except ValueError:
            signature = b""
        if kind != f"vault:v{version}" or len(signature) != 64:
            raise OpenBaoError(f"{what}: OpenBao answered with something else")
        return signature

    # --- the login

    def _ask(self, what: str, ask: Callable[[Any], T]) -> T:
        """Asks, and remembers whether it was there."""
        try:
            answer = self._ask_signed_in(what, ask)
        except (OpenBaoAway, OpenBaoSealed) as error:
            self._away = str(error)
            raise
        self._away = ""
        return answer

    def _ask_signed_in(self, what: str, ask: Callable[[Any], T]) -> T:
        """Asks; where the token ended meanwhile, once more after another login."""
        token = self._token
        try:
            return self._once(what, token, ask)
        except OpenBaoDenied as denied:
            if self._holds(token):
                raise OpenBaoDenied(
                    f"{denied}. The policies of this login lack it: let them read secrets, read"
                    " the transit key, and update its path 'sign'"
                ) from None
        self._sign_in(token)
        return self._once(what, self._token, ask)

    def _holds(self, token: str) -> bool:
        try:
            self._once("its own token", token, lambda bao: bao.auth.token.lookup_self())
        except OpenBaoDenied:
            return False
        return True

    def _sign_in(self, ended: str) -> None:
        """Logs in, unless another thread has since the token ``ended`` was seen to have ended."""
        with self._signing_in:
            if self._token != ended:
                return
            what = f"the login as {self._login.role} at auth/{self._login.mount}"
            credential = self._credential()
            try:
                answer = self._once(what, "", lambda bao: self._signed_in(bao, credential))
            except OpenBaoError as error:
                if isinstance(error, OpenBaoAway | OpenBaoSealed):
                    raise
                raise OpenBaoDenied(
                    f"{error}. Check the role, what it is shown (a secret id or token that was"
                    " revoked, used up, or is of another role) and the mount of the auth method"
                ) from None
            auth = _member(answer, "auth")
            self._token = str(auth.get("client_token") or "")
            self._hold(auth)

    def _signed_in(self, bao: Any, credential: str) -> Any:
        login = self._login
        if isinstance(login, AppRole):
            return bao.auth.approle.login(
                login.role, credential, use_token=False, mount_point=login.mount
            )
        if login.method == "kubernetes":
            return bao.auth.kubernetes.login(
                login.role, credential, use_token=False, mount_point=login.mount
            )
        return bao.auth.jwt.jwt_login(login.role, credential, use_token=False, path=login.mount)

    def _credential(self) -> str:
        login = self._login
        if not isinstance(login, AppRole):
            return login.token()
        if not login.wrapped:
            return login.secret()
        if self._secret_id is None:
            # It unwraps once; for another login it is kept, in memory alone.
            token = login.secret()
            try:
                answer = self._once("the wrapped secret id", token, lambda bao: bao.sys.unwrap())
            except OpenBaoError as error:
                if isinstance(error, OpenBaoAway | OpenBaoSealed):
                    raise
                raise OpenBaoDenied(
                    "the wrapped secret id does not unwrap: it is too old, or somebody has"
                    " unwrapped it before. If that wasn't you, destroy that secret id; then issue"
                    " and wrap a new one"
                ) from None
            self._secret_id = str(_member(answer, "data").get("secret_id") or "")
        return self._secret_id

    def _hold(self, auth: dict[str, Any]) -> None:
        lease = auth.get("lease_duration")
        seconds = float(lease) if isinstance(lease, int | float) and lease > 0 else _ENDLESS
        self._lease = seconds
        self._renew_at = self._monotonic() + seconds * _RENEW_AT
        self._away = self._unrenewed = ""

    def _keep(self) -> None:
        """Renews the token in time; what can't be renewed any further is replaced. While OpenBao is
        away it is looked for, so that nobody has to ask for something to see that it is back."""
        while not self._ending.wait(max(0.0, min(_PAUSE, self._renew_at - self._monotonic()))):
            if not self._away and self._monotonic() < self._renew_at:
                continue
            try:
                self._renew()
            except OpenBaoError as error:
                if not self._unrenewed:
                    LOGGER.warning("the login at OpenBao could not be renewed: %s", error)
                self._unrenewed = str(error)
                self._renew_at = self._monotonic() + min(_PAUSE, self._lease * _RENEW_AT)

    def _renew(self) -> None:
        token, asked = self._token, self._lease
        try:
            answer = self._once("the renewal", token, lambda bao: bao.auth.token.renew_self())
            auth = _member(answer, "auth")
            if (
                auth.get("renewable")
                and float(auth.get("lease_duration") or 0) >= asked * _RENEW_AT
            ):
                self._hold(auth)
                return
        except OpenBaoError as error:
            if isinstance(error, OpenBaoAway | OpenBaoSealed):
                raise
            LOGGER.info("the token of OpenBao has ended or is not renewable: another login follows")
        # It is near the longest life it may have.
        self._sign_in(token)

    # --- one request

    def _once(self, what: str, token: str, ask: Callable[[Any], T]) -> T:
        """One request with this token; what went wrong becomes one of our errors, and whatever the
        library knows of the request stays behind."""
        with requests.Session() as session:
            # Neither proxies, certificates nor passwords of the environment.
            session.trust_env = False
            session.verify = self._verify
            bao = hvac.Client(
                url=self.address,
                token=token,
                verify=self._verify,
                timeout=self._seconds,
                allow_redirects=False,
                session=session,
                namespace=self._namespace,
            )
            try:
                answer = ask(bao)
            except requests.Timeout:
                said: OpenBaoError = OpenBaoAway(
                    f"{what}: OpenBao at {self.address} did not answer within {self._seconds:g} s"
                )
            except requests.exceptions.SSLError:
                said = OpenBaoAway(
                    f"{what}: no TLS with {self.address}: its certificate is not trusted (name its"
                    " authority with FRACTALOPS_OPENBAO_CA), or it speaks plain HTTP"
                )
            except requests.RequestException as error:
                said = OpenBaoAway(
                    f"{what}: OpenBao at {self.address} is not reached ({type(error).__name__}):"
                    " start it, or mend FRACTALOPS_OPENBAO"
                )
            except hvac.exceptions.VaultError as error:
                said = self._error(what, error)
            except ValueError as error:
                said = OpenBaoError(
                    f"{what}: {self.address} does not answer as OpenBao does"
                    f" ({type(error).__name__}): mend FRACTALOPS_OPENBAO"
                )
            else:
                return answer
        raise said

    def _error(self, what: str, error: Any) -> OpenBaoError:
        kinds = hvac.exceptions
        told = " ".join(str(item) for item in error.errors or ())
        if isinstance(error, kinds.VaultDown) and "sealed" in told:
            return OpenBaoSealed(
                f"{what}: OpenBao at {self.address} is sealed: have it unsealed (bao operator"
                " unseal); this goes on by itself then"
            )
        if isinstance(error, kinds.Forbidden | kinds.Unauthorized):
            return OpenBaoDenied(f"{what}: OpenBao refuses it (403)")
        if isinstance(error, kinds.InvalidPath):
            return SecretMissing(
                f"{what}: nothing is there (404). Check mount, path and namespace; a version that"
                " was deleted is not there either"
            )
        if isinstance(error, kinds.InvalidRequest):
            return OpenBaoError(f"{what}: OpenBao calls the request wrong (400)")
        status = getattr(error, "status_code", None) or type(error).__name__
        return OpenBaoAway(f"{what}: OpenBao at {self.address} cannot answer now ({status})")


def _member(answer: Any, name: str) -> dict[str, Any]:
    """An object of an answer; empty where OpenBao, or what answers in its place, has none."""
    found = answer.get(name) if isinstance(answer, dict) else None
    return found if isinstance(found, dict) else {}
