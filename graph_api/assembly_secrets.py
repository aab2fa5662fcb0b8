"""Where the platform's secrets come from: OpenBao, or the environment and files.

Invariant: references are resolved at the start and what they mean is in memory alone. Nothing falls
back from OpenBao to a file by itself: who names an OpenBao gets it, or an error that says why not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import OpenBaoAway, OpenBaoSealed, RuntimeFloorError, SettingsError
from runtime.log_key import Transit
from runtime.openbao_login import SERVICE_ACCOUNT, AppRole, Login, TokenLogin, read_token
from runtime.secret_reference import SecretReference, is_reference
from runtime.settings import Settings
from stewards.errors import JobFailed, JobRefused

if TYPE_CHECKING:
    from runtime.openbao import OpenBao


def open_secrets(settings: Settings, closing: ExitStack) -> tuple[Settings, OpenBao | None]:
    """The settings with every secret in its place, and the session at OpenBao where there is one,
    which ``closing`` ends. Raises :class:`runtime.errors.RuntimeFloorError`."""
    refuse_files(settings)
    references = settings.references()
    if settings.openbao is None:
        for name, reference in references.items():
            raise SettingsError(
                f"{name.replace('_', '-')} refers to {reference}: set FRACTALOPS_OPENBAO to the"
                " address of that OpenBao, and FRACTALOPS_OPENBAO_ROLE"
            )
        return settings, None
    # Only those who have an OpenBao load its client.
    from runtime.openbao import OpenBao

    bao = OpenBao(
        settings.openbao.rstrip("/"),
        login_of(settings),
        namespace=settings.openbao_namespace,
        authority=settings.openbao_ca,
        seconds=settings.openbao_seconds,
    )
    closing.callback(bao.close)
    bao.open()
    return settings.resolved({name: bao.secret(found) for name, found in references.items()}), bao


def variables(
    bao: OpenBao | None, environ: Mapping[str, str] = os.environ
) -> Callable[[str], str | None]:
    """What variables that jobs name hold; a reference in one is resolved when it is asked for.

    That raises :class:`stewards.errors.JobFailed`."""

    def value(name: str) -> str | None:
        text = environ.get(name)
        if text is None or not is_reference(text):
            return text
        try:
            reference = SecretReference.parse(text)
            if bao is None:
                raise SettingsError(f"it refers to {reference}: set FRACTALOPS_OPENBAO")
            return bao.secret(reference)
        except (OpenBaoAway, OpenBaoSealed) as error:
            raise JobFailed(f"the variable {name}: {error}") from error
        except RuntimeFloorError as error:
            raise JobRefused(f"the variable {name}: {error}") from error

    return value


def transit_of(settings: Settings, bao: OpenBao | None) -> Transit | None:
    """The key of OpenBao's that is to sign the log; ``None`` where a file does."""
    if settings.openbao_log_key is None:
        return None
    if bao is None:
        raise SettingsError(
            "openbao-log-key (FRACTALOPS_OPENBAO_LOG_KEY): set FRACTALOPS_OPENBAO to the address of"
            " the OpenBao that has this key"
        )
    return Transit(bao, settings.openbao_transit, settings.openbao_log_key)


def refuse_files(settings: Settings) -> None:
    """Raises :class:`SettingsError` where production would have its log's key in a file."""
    if settings.profile != "production":
        return
    missing = [
        f"FRACTALOPS_{name.upper()}"
        for name in ("openbao", "openbao_role", "openbao_log_key")
        if getattr(settings, name) is None
    ]
    if missing:
        raise SettingsError(
            "profile (FRACTALOPS_PROFILE): in production the log's key is in OpenBao and never in a"
            f" file: set {' and '.join(missing)}, or take the profile 'development'"
        )


def login_of(settings: Settings) -> Login:
    """How to log in. Raises :class:`SettingsError` that names what lacks."""
    role, method, file = settings.openbao_role, settings.openbao_auth, settings.openbao_file
    if not role:
        raise SettingsError(
            "openbao-role (FRACTALOPS_OPENBAO_ROLE): set it to the role"
            f" {'id' if method == 'approle' else 'name'} that logs in by {method}"
        )
    mount = settings.openbao_auth_mount or method
    if method != "approle":
        if file is None and method == "jwt":
            raise SettingsError(
                "openbao-file (FRACTALOPS_OPENBAO_FILE): set it to the file with the token (JWT)"
            )
        return TokenLogin(method, role, file or SERVICE_ACCOUNT, mount)
    given = settings.openbao_secret_id
    if given is not None:
        secret = given.get_secret_value
    elif file is not None:
        secret = _reader(file)
    else:
        raise SettingsError(
            "openbao-secret-id (FRACTALOPS_OPENBAO_SECRET_ID): set it to the role's secret id, or"
            " FRACTALOPS_OPENBAO_FILE to a file that holds it"
        )
    return AppRole(role, secret, settings.openbao_wrapped, mount)


def _reader(file: Path) -> Callable[[], str]:
    return lambda: read_token(file)
