"""Who is calling: bearer tokens to callers, with their role and what they may read.

Invariant: no token, no answer. A token names a principal, and the principal must hold the token's
role in the governance graph at this moment; what is taken from it there is taken at once.
Source: https://www.rfc-editor.org/rfc/rfc6750
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request

from graph_api.problems import Problem
from proofs.governance import Governance
from runtime.access import INGEST_ROLES, Access, Credential

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="fractalops"'}


@dataclass(frozen=True)
class Caller:
    """An authenticated caller. ``principal`` is an IRI, ``role`` one of analyst, steward, operator
    and auditor, ``project`` the slug of a steward's project."""

    principal: str
    name: str
    role: str
    project: str | None
    hidden_graphs: frozenset[str]

    def may_read(self, graph: str) -> bool:
        return graph not in self.hidden_graphs


class Authenticator:
    """Turns request headers into callers."""

    def __init__(self, access: Access, governance: Callable[[], Governance]) -> None:
        self._access = access
        self._governance = governance
        self._seen: tuple[Governance, dict[Credential, Caller]] = (governance(), {})

    def authenticate(self, headers: Mapping[str, str]) -> Caller:
        """The caller. Raises :class:`Problem` 401 without a valid token, 403 for a principal that
        does not hold the token's role."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Problem(
                401,
                "token-missing",
                "A token is needed",
                "Send 'Authorization: Bearer TOKEN'. An operator makes one with 'fractalops tokens"
                " create'; the first is in operator.token of the server's data folder.",
                headers=CHALLENGE,
            )
        credential = self._access.find(token)
        if credential is None or credential.role in INGEST_ROLES:
            raise Problem(
                401,
                "token-unknown",
                "The token is not known",
                "This token was never valid here, or it was revoked. Ask an operator for a new one."
                + (" An ingest key only sends telemetry." if credential else ""),
                headers={
                    "WWW-Authenticate": CHALLENGE["WWW-Authenticate"] + ', error="invalid_token"'
                },
            )
        governance = self._governance()
        held, callers = self._seen
        if held is not governance:
            callers = {}
            self._seen = (governance, callers)
        caller = callers.get(credential)
        if caller is None:
            caller = callers[credential] = _caller(credential, governance)
        return caller

    def require(self, *roles: str) -> Callable[[Request], Caller]:
        """A FastAPI dependency: the caller, who must have one of these roles (any, if none)."""

        def caller(request: Request) -> Caller:
            found = self.authenticate(request.headers)
            if roles and found.role not in roles:
                raise Problem(
                    403,
                    "role-needed",
                    "Your role does not allow this",
                    f"This takes the role {' or '.join(roles)}; your token has the role"
                    f" {found.role}.",
                )
            return found

        return caller


def _caller(credential: Credential, governance: Governance) -> Caller:
    if not governance.has_role(credential.principal, credential.role):
        raise Problem(
            403,
            "role-not-held",
            "The principal does not hold this role",
            f"<{credential.principal}> does not hold the role {credential.role}: the proposal that"
            " gives it may still await a decision, or it was taken back in graph/governance.",
        )
    return Caller(
        credential.principal,
        credential.name,
        credential.role,
        credential.project,
        governance.hidden_from(credential.principal),
    )
