"""What a recipe says to the source ``fractalops``.

Invariant: the token is a secret wherever it is shown, and a recipe that can't mean anything is
refused before a request is made.
Source: https://docs.datahub.com/docs/metadata-ingestion/recipe_overview
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from datahub.configuration.common import AllowDenyPattern, ConfigModel, TransparentSecretStr
from datahub.configuration.source_common import EnvConfigMixin
from datahub.ingestion.source.state.stale_entity_removal_handler import (
    StatefulStaleMetadataRemovalConfig,
)
from datahub.ingestion.source.state.stateful_ingestion_base import StatefulIngestionConfigBase
from pydantic import Field, field_validator


class StoreMapping(ConfigModel):
    """How DataHub names what is kept in some data stores."""

    system: str = Field(
        default="*", description="The store's system, such as postgresql; * for any."
    )
    address: str = Field(
        default="*",
        description="The store's host or host:port, with * for any part; project:SLUG for a"
        " store that is known within its project only.",
    )
    platform: str | None = Field(default=None, description="The platform's name in DataHub.")
    platform_instance: str | None = Field(
        default=None, description="The platform instance in DataHub."
    )
    env: str | None = Field(default=None, description="The environment in DataHub, such as PROD.")
    lowercase: bool | None = Field(default=None, description="Whether names are put in lower case.")
    primary: bool = Field(
        default=True,
        description="False where another source brings these datasets into DataHub: then only"
        " lineage and proofs are added to them, and they are never removed.",
    )

    def fits(self, system: str, address: str) -> bool:
        return fnmatchcase(system, self.system) and fnmatchcase(address, self.address)


class FractalOpsConfig(
    StatefulIngestionConfigBase[StatefulStaleMetadataRemovalConfig], EnvConfigMixin
):
    """A recipe's ``source.config``."""

    server: str = Field(description="The platform's address, such as https://fractalops.example.")
    token: TransparentSecretStr = Field(description="A token of it; an analyst's is enough.")
    public_url: str | None = Field(
        default=None,
        description="The address that people reach it by, for links; the server's if empty.",
    )
    projects: AllowDenyPattern = Field(
        default_factory=AllowDenyPattern.allow_all, description="Projects by slug."
    )
    restricted: bool = Field(
        default=True,
        description="Whether restricted projects come along, where the token may read them.",
    )
    stores: list[StoreMapping] = Field(
        default_factory=list, description="The first one that fits a data store holds for it."
    )
    platform_instance: str | None = Field(
        default=None, description="The platform instance of data flows and jobs."
    )
    principals: dict[str, str] = Field(
        default_factory=dict, description="Users of DataHub by the slugs of principals."
    )
    page_size: int = Field(default=2000, ge=1, le=5000, description="Entities asked for at a time.")
    timeout: float = Field(default=60.0, gt=0, description="Seconds that a page may take.")
    incremental: bool = Field(
        default=True,
        description="Ask only for what changed since the last run, where stateful ingestion is on.",
    )
    overwrite: bool = Field(
        default=False,
        description="True replaces owners, domains and structured properties in DataHub; else ours"
        " are added to what is there.",
    )
    assertions: bool = Field(
        default=True, description="Whether results of shapes become assertions."
    )
    incidents: bool = Field(default=True, description="Whether error issues become incidents.")
    glossary: bool = Field(default=True, description="Whether the ontology becomes a glossary.")

    @field_validator("server", "public_url")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("give an address that begins with http:// or https://")
        return None if value is None else value.rstrip("/")

    def store(self, system: str, address: str) -> StoreMapping:
        """The mapping that holds for a store."""
        return next((it for it in self.stores if it.fits(system, address)), StoreMapping())
