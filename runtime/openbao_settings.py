"""Settings of OpenBao: where it is, how to log in, and which key of its signs the log.

Invariant: with an address here nothing falls back to a file by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class OpenBaoSettings(BaseModel):
    """OpenBao."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    openbao: str | None = Field(default=None, pattern=r"^https?://[^/\s@?#]+/?$")
    """address of the OpenBao whose secrets other settings may refer to"""
    openbao_namespace: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._/-]{1,255}$")
    """namespace of all that is asked for"""
    openbao_ca: Path | None = None
    """file with the certificates that OpenBao's must come from"""
    openbao_auth: Literal["approle", "kubernetes", "jwt"] = "approle"
    """how to log in"""
    openbao_auth_mount: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._/-]{1,128}$")
    """where the auth method is mounted; without it the method's name"""
    openbao_role: str | None = None
    """role id (AppRole) or name of the role"""
    openbao_secret_id: SecretStr | None = None
    """secret id of the AppRole; better in a file"""
    openbao_file: Path | None = None
    """file with the secret id, or with the token that `kubernetes` and `jwt` log in by"""
    openbao_wrapped: bool = False
    """what is given is a wrapping token, which is unwrapped once"""
    openbao_seconds: float = Field(default=5.0, gt=0, le=60)
    """how long one request may take"""
    openbao_transit: str = Field(default="transit", pattern=r"^[A-Za-z0-9._/-]{1,128}$")
    """mount of the transit engine"""
    openbao_log_key: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    """key there that signs the log; without it a file does"""
