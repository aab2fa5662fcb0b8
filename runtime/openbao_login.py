"""How this process shows OpenBao who it is: AppRole, Kubernetes or JWT.

Invariant: what a login takes is read when the login is made, so that a token file that is replaced
meanwhile is read anew; nothing of it shows in ``repr``.
Specifications: https://openbao.org/docs/auth/approle/, https://openbao.org/docs/auth/kubernetes/,
https://openbao.org/docs/auth/jwt/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from runtime.errors import OpenBaoDenied

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""Where Kubernetes puts a pod's own token:
https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/"""

_MAX_TOKEN = 64 * 1024


@dataclass(frozen=True, slots=True)
class AppRole:
    """A role and its secret id. With ``wrapped``, what ``secret`` gives is a wrapping token, which
    is good for one unwrapping: https://openbao.org/docs/concepts/response-wrapping/"""

    role: str
    secret: Callable[[], str] = field(repr=False)
    wrapped: bool = False
    mount: str = "approle"


@dataclass(frozen=True, slots=True)
class TokenLogin:
    """A role and a file with a signed token, of a Kubernetes service account (``kubernetes``) or
    of an issuer that OpenBao trusts (``jwt``)."""

    method: str
    role: str
    file: Path
    mount: str

    def token(self) -> str:
        """Raises :class:`OpenBaoDenied`."""
        return read_token(self.file)


Login = AppRole | TokenLogin


def read_token(file: Path) -> str:
    """The token in a file. Raises :class:`OpenBaoDenied`."""
    try:
        with file.open("rb") as opened:
            text = opened.read(_MAX_TOKEN).decode().strip()
    except (OSError, UnicodeError) as error:
        raise OpenBaoDenied(
            f"{file}, which the login at OpenBao needs, cannot be read ({type(error).__name__}):"
            " put it there, readable for this user"
        ) from error
    if not text:
        raise OpenBaoDenied(f"{file}, which the login at OpenBao needs, is empty")
    return text
