"""The source ``fractalops`` of DataHub: pulls the catalog and says it in DataHub's terms.

Invariant: a run reads one head of the graph, a page at a time. What changed since the last run is
enough where nothing is gone; else everything is read again, so that DataHub's removal of stale
entities sees all that there still is. A run that fails removes nothing and keeps no head.
Source: https://docs.datahub.com/docs/metadata-ingestion/adding-source
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from datahub.ingestion.api.common import PipelineContext
from datahub.ingestion.api.decorators import (
    SupportStatus,
    capability,
    config_class,
    platform_name,
    support_status,
)
from datahub.ingestion.api.source import (
    CapabilityReport,
    SourceCapability,
    TestableSource,
    TestConnectionReport,
)
from datahub.ingestion.api.workunit import MetadataWorkUnit
from datahub.ingestion.source.state.stale_entity_removal_handler import (
    StaleEntityRemovalSourceReport,
)
from datahub.ingestion.source.state.stateful_ingestion_base import StatefulIngestionSourceBase
from pydantic import ValidationError

from fractalops_datahub.catalog import Catalog, CatalogError
from fractalops_datahub.config import FractalOpsConfig
from fractalops_datahub.kept import Kept
from fractalops_datahub.names import PLATFORM
from fractalops_datahub.proof import definitions
from fractalops_datahub.speaker import LARGE, SMALL, Speaker, recipe
from fractalops_datahub.state import Heads


@dataclass
class FractalOpsReport(StaleEntityRemovalSourceReport):
    """What a run did."""

    head: int = -1
    incremental: bool = False
    entities: int = 0
    filtered: int = 0


@platform_name("FractalOps Semantics", id=PLATFORM)
@config_class(FractalOpsConfig)
@support_status(SupportStatus.BETA)
@capability(SourceCapability.PLATFORM_INSTANCE, "By store, and for data flows")
@capability(SourceCapability.SCHEMA_METADATA, "The columns that take part in lineage")
@capability(SourceCapability.LINEAGE_COARSE, "From traces and from OpenLineage")
@capability(SourceCapability.LINEAGE_FINE, "From OpenLineage")
@capability(SourceCapability.OWNERSHIP, "The steward of the project")
@capability(SourceCapability.DOMAINS, "Projects")
@capability(SourceCapability.GLOSSARY_TERMS, "The ontology")
@capability(SourceCapability.DELETION_DETECTION, "By stateful ingestion")
@capability(SourceCapability.TEST_CONNECTION, "Reads one entity")
class FractalOpsSource(StatefulIngestionSourceBase, TestableSource):
    """Pulls datasets, topics, services, operations, jobs, error issues and the ontology."""

    platform = PLATFORM

    def __init__(self, config: FractalOpsConfig, ctx: PipelineContext) -> None:
        # The base is invariant in the class of its stateful configuration, as no source's is.
        super().__init__(config, ctx)  # type: ignore[arg-type]
        self.config = config
        self.report: FractalOpsReport = FractalOpsReport()
        self._heads = Heads(self.state_provider, config.stateful_ingestion, ctx, recipe(config))

    @classmethod
    def create(cls, config_dict: dict[str, Any], ctx: PipelineContext) -> FractalOpsSource:
        return cls(FractalOpsConfig.model_validate(config_dict), ctx)

    @staticmethod
    def test_connection(config_dict: dict[str, Any]) -> TestConnectionReport:
        report = TestConnectionReport()
        try:
            config = FractalOpsConfig.model_validate(config_dict)
            with _catalog(config) as catalog:
                catalog.first()
        except ValidationError as error:
            report.internal_failure = True
            report.internal_failure_reason = str(error)
        except CatalogError as error:
            report.basic_connectivity = CapabilityReport(capable=False, failure_reason=str(error))
        else:
            report.basic_connectivity = CapabilityReport(capable=True)
        return report

    def get_report(self) -> FractalOpsReport:
        return self.report

    def get_workunits_internal(self) -> Iterable[MetadataWorkUnit]:
        # Also where nothing changed: a run without any metadata counts as one that failed.
        yield from definitions()
        try:
            with _catalog(self.config) as catalog:
                yield from self._pull(catalog)
        except CatalogError as error:
            self.report.failure(title="The catalog can't be read", message=str(error), exc=error)

    def _pull(self, catalog: Catalog) -> Iterator[MetadataWorkUnit]:
        since = self._heads.last() if self.config.incremental else None
        first = catalog.first(LARGE, since=since)
        if since is not None and first.gone:
            first = catalog.first(LARGE)
            since = None
        incremental = since is not None and not first.complete
        self.report.head, self.report.incremental = first.head, incremental
        filtered: set[str] = set()
        if first.items or not incremental:
            few = catalog.all(SMALL, at=first.head)
            kept = Kept(None if self.config.overwrite else self.ctx.graph)
            speaker = Speaker(self.config, few, kept)
            if not incremental:
                yield from speaker.glossary()
                for item in speaker.small():
                    yield from speaker.say(item)
            for page in catalog.pages(first):
                for item in page.items:
                    if speaker.wants(item):
                        self.report.entities += 1
                        yield from speaker.say(item)
                    else:
                        self.report.filtered += 1
                        if incremental:
                            filtered.update(unit.get_urn() for unit in speaker.say(item))
        if incremental:
            self._heads.carry_over(but=filtered)
        self._heads.keep(first.head)


def _catalog(config: FractalOpsConfig) -> Catalog:
    return Catalog(
        config.server,
        config.token.get_secret_value(),
        page_size=config.page_size,
        timeout=config.timeout,
        restricted=config.restricted,
    )
