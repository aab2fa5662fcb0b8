"""Settings of what comes in: how much of it, what is kept of it, and where its facts lie.

Invariant: a limit for one project changes nothing for another.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from runtime.serving_settings import MEBIBYTE

_QUOTA = re.compile(r"[a-z0-9][a-z0-9-]{0,62}=[0-9]{1,15}/[0-9]{1,15}")


class TelemetrySettings(BaseModel):
    """Telemetry and facts."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    otlp_bytes: int = Field(default=20 * MEBIBYTE, ge=1024)
    """size of a request of telemetry, after decompression, bytes"""
    project_items: int = Field(default=100_000, ge=0)
    """items (spans, events, ...) that each project may send in a second, in the long run; 0: no
    limit"""
    project_bytes: int = Field(default=100 * MEBIBYTE, ge=0)
    """the same for bytes"""
    project_quotas: tuple[str, ...] = ()
    """for some projects other limits, each as `SLUG=ITEMS/BYTES`"""
    evidence: Literal["keep", "discard"] = "keep"
    """whether payloads stay once they are facts"""
    evidence_days: int = Field(default=0, ge=0, le=36_500)
    """after how many days payloads are erased; 0: when somebody erases them"""
    outbox_days: int = Field(default=7, ge=0, le=36_500)
    """how many days a request waits for the product behind its project; 0: for as long as it
    takes"""
    facts: SecretStr | None = None
    """DSN of a ClickHouse server; without it facts lie in the data folder's own engine"""
    facts_days: int = Field(default=0, ge=0, le=36_500)
    """after how many days events are dropped; 0: never"""
    facts_by_month: bool = False
    """a partition for each month of receipt; it counts when the tables are made"""
    facts_seconds: float = Field(default=20.0, gt=0)
    """how long a question about facts may take"""
    glitchtip_url: str | None = Field(default=None, pattern=r"^https?://[^/@\s]+(?:/|$)")
    """address of the GlitchTip that gets a project for each project made here"""
    glitchtip_organisation: str | None = None
    """organisation there"""
    glitchtip_team: str | None = None
    """team there"""
    glitchtip_token: SecretStr | None = None
    """token there, with `project:write` and `project:read`"""

    @field_validator("project_quotas")
    @classmethod
    def _quotas_are_numbers(cls, quotas: tuple[str, ...]) -> tuple[str, ...]:
        for quota in quotas:
            if not _QUOTA.fullmatch(quota):
                raise ValueError(f"{quota!r} is not SLUG=ITEMS/BYTES, such as shop=50000/0")
        return quotas

    def quota_of(self) -> dict[str, tuple[int, int]]:
        """Items and bytes in a second for the projects that have limits of their own."""
        found = {}
        for quota in self.project_quotas:
            slug, _, numbers = quota.partition("=")
            items, _, size = numbers.partition("/")
            found[slug] = (int(items), int(size))
        return found
