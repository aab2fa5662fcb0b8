"""The source ``fractalops`` of DataHub: pulls the catalog and says it in DataHub's terms.

Invariant: a run reads one head of the graph, a page at a time. What changed since the last run is
enough where nothing is gone; else everything is read again, so that DataHub's removal of stale
entities sees all that there still is. A run that fails removes nothing and keeps no head.
Source: https://docs.datahub.com/docs/metadata-ingestion/adding-source
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
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

from fractalops_datahub.catalog import Catalog, CatalogError, Item
from fractalops_datahub.config import FractalOpsConfig
from fractalops_datahub.datasets import Datasets
from fractalops_datahub.flows import Flows
from fractalops_datahub.governance import Governance
from fractalops_datahub.kept import Kept
from fractalops_datahub.names import PLATFORM, Names
from fractalops_datahub.proof import Common, definitions
from fractalops_datahub.state import Heads

_SMALL = ("project", "principal", "term", "shape")
"""Kinds that are few, and that the others refer to."""

_LARGE = ("service", "dataset", "topic", "job", "operation", "error-issue")


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
        self._heads = Heads(self.state_provider, config.stateful_ingestion, ctx, _recipe(config))

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
        first = catalog.first(_LARGE, since=since)
        if since is not None and first.gone:
            first = catalog.first(_LARGE)
            since = None
        incremental = since is not None and not first.complete
        self.report.head, self.report.incremental = first.head, incremental
        filtered: set[str] = set()
        if first.items or not incremental:
            few = [
                item
                for page in catalog.pages(catalog.first(_SMALL, at=first.head))
                for item in page.items
            ]
            kept = Kept(None if self.config.overwrite else self.ctx.graph)
            speaker = _Speaker(self.config, few, kept)
            if not incremental:
                yield from speaker.small()
            for page in catalog.pages(first):
                for item in page.items:
                    if any(self.config.projects.allowed(it) for it in item["projects"]):
                        self.report.entities += 1
                        yield from speaker.say(item)
                    else:
                        self.report.filtered += 1
                        if incremental:
                            filtered.update(unit.get_urn() for unit in speaker.say(item))
        if incremental:
            self._heads.carry_over(but=filtered)
        self._heads.keep(first.head)


class _Speaker:
    """Says entities in DataHub's terms; holds the few that the others refer to."""

    def __init__(self, config: FractalOpsConfig, few: list[Item], kept: Kept) -> None:
        self._config = config
        self._few = few
        names = Names(config)
        common = Common(config, names, _stewards(self._few))
        self._governance = Governance(config, names, kept)
        datasets = Datasets(names, common, _shapes(self._few), assertions=config.assertions)
        flows = Flows(names, common, kept, config.env)
        self._by_kind: dict[str, Callable[[Item], Iterator[MetadataWorkUnit]]] = {
            "project": self._governance.project,
            "principal": self._governance.principal,
            "service": flows.service,
            "dataset": datasets.of,
            "topic": datasets.of,
            "job": flows.job,
            "operation": flows.operation,
        }
        if config.incidents:
            self._by_kind["error-issue"] = flows.issue
        if config.glossary:
            self._by_kind["term"] = self._governance.term

    def small(self) -> Iterator[MetadataWorkUnit]:
        """Glossary, domains and users."""
        if self._config.glossary:
            yield from self._governance.glossary()
        for item in self._few:
            slug = item["id"].rpartition("/")[2]
            if item["kind"] != "project" or self._config.projects.allowed(slug):
                yield from self.say(item)

    def say(self, item: Item) -> Iterator[MetadataWorkUnit]:
        """The metadata of one entity."""
        speak = self._by_kind.get(item["kind"])
        if speak is not None:
            yield from speak(item)


def _catalog(config: FractalOpsConfig) -> Catalog:
    return Catalog(
        config.server,
        config.token.get_secret_value(),
        page_size=config.page_size,
        timeout=config.timeout,
    )


def _recipe(config: FractalOpsConfig) -> str:
    """What tells one recipe from another, as far as what is emitted goes."""
    text = config.model_dump_json(exclude={"token", "stateful_ingestion", "page_size", "timeout"})
    return hashlib.sha256(text.encode()).hexdigest()


def _stewards(few: Iterable[Item]) -> dict[str, list[str]]:
    """The stewards of each project, by its slug."""
    found: dict[str, list[str]] = {}
    for item in few:
        for project in item["links"].get("stewardOf", ()):
            found.setdefault(project.rpartition("/")[2], []).append(item["id"])
    return found


def _shapes(few: Iterable[Item]) -> dict[str, list[str]]:
    """The shapes that hold for each class, for its own sake or for a wider class's."""
    few = list(few)
    wider = {item["id"]: item["links"].get("rdfs:subClassOf", []) for item in few}
    target: dict[str, list[str]] = {}
    for item in few:
        for name in item["links"].get("sh:targetClass", ()):
            target.setdefault(name, []).append(item["id"])
    found: dict[str, list[str]] = {}
    for name in wider:
        reached, waiting = {name}, [name]
        while waiting:
            for above in wider.get(waiting.pop(), ()):
                if above not in reached:
                    reached.add(above)
                    waiting.append(above)
        found[name] = sorted({shape for it in reached for shape in target.get(it, ())})
    return found
