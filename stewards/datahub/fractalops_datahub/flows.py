"""Services and jobs: data flows, their data jobs, what these read and write, and error issues.

Invariant: a service is a data flow and each of its operations a data job of it; the jobs of one
namespace are the data jobs of one flow. Flows come before what they hold.
"""

from __future__ import annotations

from collections.abc import Iterator

from datahub.ingestion.api.workunit import MetadataWorkUnit
from datahub.metadata.schema_classes import (
    AuditStampClass,
    DataFlowInfoClass,
    DataJobInfoClass,
    DataJobInputOutputClass,
    IncidentInfoClass,
    IncidentSourceClass,
    IncidentSourceTypeClass,
    IncidentStateClass,
    IncidentStatusClass,
    IncidentTypeClass,
    SubTypesClass,
)

from fractalops_datahub.catalog import Item
from fractalops_datahub.kept import Kept
from fractalops_datahub.names import ACTOR, NAMESPACE, Names
from fractalops_datahub.proof import Common, millis, stamp, upsert


class Flows:
    """Makes the aspects of flows, jobs and incidents."""

    def __init__(self, names: Names, common: Common, kept: Kept, env: str) -> None:
        self._names = names
        self._common = common
        self._kept = kept
        self._env = env
        self._namespace = ""

    def begin(self) -> None:
        """No job has been told of, so the next one brings its flow."""
        self._namespace = ""

    def service(self, item: Item) -> Iterator[MetadataWorkUnit]:
        """A service is a flow."""
        urn = self._names.flow(item["id"])
        yield upsert(
            urn,
            DataFlowInfoClass(
                name=item["label"] or item["id"],
                customProperties=self._common.properties(item),
                externalUrl=self._common.link(item),
                project=", ".join(item["projects"]),
                env=self._env,
            ),
        )
        yield upsert(urn, SubTypesClass(["Service"]))
        yield from self._common.carried(urn, item)

    def job(self, item: Item) -> Iterator[MetadataWorkUnit]:
        """A job, and the flow of its namespace before the first one of it."""
        flow = self._names.flow(item["id"])
        # Jobs come by IRI, so those of one namespace come together.
        if flow != self._namespace:
            self._namespace = flow
            namespace = ", ".join(item["properties"].get("namespace", ())) or "jobs"
            yield upsert(
                flow,
                DataFlowInfoClass(
                    name=namespace, project=", ".join(item["projects"]), env=self._env
                ),
            )
            yield upsert(flow, SubTypesClass(["Job namespace"]))
        yield from self._data_job(item, flow, "Job")

    def operation(self, item: Item) -> Iterator[MetadataWorkUnit]:
        """An operation is a job of its service's flow."""
        kind = item["class"].removeprefix(NAMESPACE)
        flow = self._names.flow(item["services"][0]) if item["services"] else None
        yield from self._data_job(item, flow, kind)

    def _data_job(self, item: Item, flow: str | None, kind: str) -> Iterator[MetadataWorkUnit]:
        urn = self._names.job(item["id"])
        yield upsert(
            urn,
            DataJobInfoClass(
                name=item["label"] or item["id"],
                type="COMMAND",
                flowUrn=flow,
                customProperties=self._common.properties(item),
                externalUrl=self._common.link(item),
                env=self._env,
            ),
        )
        yield upsert(urn, SubTypesClass([kind]))
        links = item["links"]
        reads, writes = (
            sorted({self._names.asset(iri).urn for iri in links.get(name, ())})
            for name in ("reads", "writes")
        )
        if reads or writes:
            yield upsert(urn, DataJobInputOutputClass(inputDatasets=reads, outputDatasets=writes))
        yield from self._common.carried(urn, item)

    def issue(self, item: Item) -> Iterator[MetadataWorkUnit]:
        """An error issue is an incident on what it affects; resolved where it is dormant."""
        affected = (self._names.affected(iri) for iri in item["links"].get("affects", ()))
        entities = sorted({urn for urn in affected if urn is not None})
        if not entities:
            return
        properties = item["properties"]
        dormant = properties.get("dormantSince")
        status = IncidentStatusClass(IncidentStateClass.ACTIVE, stamp(item))
        if dormant:
            seen = AuditStampClass(time=millis(dormant[0]), actor=ACTOR)
            status = IncidentStatusClass(
                IncidentStateClass.RESOLVED, seen, message="Not seen for a while."
            )
        said = [*properties.get("errorType", ()), *properties.get("culprit", ())]
        urn = self._names.incident(item["id"])
        info = IncidentInfoClass(
            type=IncidentTypeClass.CUSTOM,
            customType="Error issue",
            title=item["label"] or item["id"],
            description="; ".join([*said, self._common.link(item)]),
            entities=entities,
            status=status,
            created=stamp(item),
            source=IncidentSourceClass(IncidentSourceTypeClass.MANUAL),
        )
        yield upsert(urn, self._kept.incident(urn, info))
