"""Settings of the commands: the server they speak to, and who they speak as.

Invariant: they count for commands alone; no server reads them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class ClientSettings(BaseModel):
    """Commands."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    url: str | None = Field(default=None, pattern=r"^https?://[^/@\s]+(?:/|$)")
    """address of the server; without it the one that runs on the data folder"""
    token: SecretStr | None = None
    """who speaks; without it the operator whose token is in the data folder"""
    output: Literal["table", "json", "csv"] = "table"
    """how rows are printed"""
    ingest_key: SecretStr | None = None
    """ingest key that `ingest` and `pull` send with"""
    log_key: tuple[str, ...] = ()
    """verifier keys that proofs are checked with, or files that hold them"""
