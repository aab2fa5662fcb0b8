"""Datasets and topics: properties, schema, lineage of tables and of columns, results of shapes.

Invariant: of a dataset that another source brings, nothing but lineage and proof is said, and that
as patches; its schema, properties and life are the other source's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from datahub.emitter.mce_builder import (
    make_data_platform_urn,
    make_dataplatform_instance_urn,
    make_schema_field_urn,
)
from datahub.ingestion.api.workunit import MetadataWorkUnit
from datahub.metadata.schema_classes import (
    AssertionInfoClass,
    AssertionResultClass,
    AssertionResultTypeClass,
    AssertionRunEventClass,
    AssertionRunStatusClass,
    AssertionSourceClass,
    AssertionSourceTypeClass,
    AssertionTypeClass,
    CustomAssertionInfoClass,
    DataPlatformInstanceClass,
    DatasetLineageTypeClass,
    DatasetPropertiesClass,
    FineGrainedLineageClass,
    FineGrainedLineageDownstreamTypeClass,
    FineGrainedLineageUpstreamTypeClass,
    NullTypeClass,
    SchemaFieldClass,
    SchemaFieldDataTypeClass,
    SchemalessClass,
    SchemaMetadataClass,
    SubTypesClass,
    UpstreamClass,
    UpstreamLineageClass,
)
from datahub.specific.dataset import DatasetPatchBuilder

from fractalops_datahub.catalog import Item
from fractalops_datahub.names import Asset, Names
from fractalops_datahub.proof import Common, as_workunits, milliseconds, stamp, upsert


class Datasets:
    """Makes the aspects of data assets."""

    def __init__(
        self, names: Names, common: Common, shapes: Mapping[str, list[str]], *, assertions: bool
    ) -> None:
        """``shapes`` are the IRIs of the shapes that hold for a class, by the class's IRI."""
        self._names = names
        self._common = common
        self._shapes = shapes
        self._assertions = assertions

    def of(self, item: Item) -> Iterator[MetadataWorkUnit]:
        """Everything about one dataset or topic."""
        asset = self._names.asset(item["id"])
        upstreams, columns = self._lineage(asset, item)
        if asset.primary:
            yield from self._own(asset, item)
            if upstreams:
                lineage = UpstreamLineageClass(upstreams, fineGrainedLineages=columns or None)
                yield upsert(asset.urn, lineage)
        elif upstreams:
            builder = DatasetPatchBuilder(asset.urn)
            for upstream in upstreams:
                builder.add_upstream_lineage(upstream)
            for column in columns:
                builder.add_fine_grained_lineage(column)
            yield from as_workunits(builder.build(), primary=False)
        yield from self._common.carried(asset.urn, item, primary=asset.primary)
        if self._assertions:
            yield from self._checked(asset, item)

    def _own(self, asset: Asset, item: Item) -> Iterator[MetadataWorkUnit]:
        yield upsert(
            asset.urn,
            DatasetPropertiesClass(
                name=item["label"] or None,
                customProperties={**self._common.properties(item), **_conflicts(item)},
                externalUrl=self._common.link(item),
            ),
        )
        yield upsert(asset.urn, SubTypesClass(["Topic" if item["kind"] == "topic" else "Table"]))
        if asset.instance is not None:
            instance = make_dataplatform_instance_urn(asset.platform, asset.instance)
            platform = make_data_platform_urn(asset.platform)
            yield upsert(asset.urn, DataPlatformInstanceClass(platform, instance))
        if item["columns"]:
            yield upsert(asset.urn, self._schema(asset, item))

    def _schema(self, asset: Asset, item: Item) -> SchemaMetadataClass:
        """The columns that the graph knows, which are those with a part in lineage; it doesn't know
        their types."""
        names = sorted({self._names.column(column["id"])[1] for column in item["columns"]})
        return SchemaMetadataClass(
            schemaName=item["label"] or item["id"],
            platform=make_data_platform_urn(asset.platform),
            version=0,
            hash="",
            platformSchema=SchemalessClass(),  # type: ignore[no-untyped-call]
            fields=[
                SchemaFieldClass(
                    fieldPath=name,
                    type=SchemaFieldDataTypeClass(NullTypeClass()),  # type: ignore[no-untyped-call]
                    nativeDataType="unknown",
                    nullable=True,
                )
                for name in names
            ],
        )

    def _lineage(
        self, asset: Asset, item: Item
    ) -> tuple[list[UpstreamClass], list[FineGrainedLineageClass]]:
        sources = {self._names.asset(iri).urn for iri in item["links"].get("derivedFrom", ())}
        columns = []
        for column in item["columns"]:
            fields = []
            for iri in column["derivedFrom"]:
                holder, name = self._names.column(iri)
                urn = self._names.asset(holder).urn
                sources.add(urn)
                fields.append(make_schema_field_urn(urn, name))
            if fields:
                own = make_schema_field_urn(asset.urn, self._names.column(column["id"])[1])
                columns.append(
                    FineGrainedLineageClass(
                        upstreamType=FineGrainedLineageUpstreamTypeClass.FIELD_SET,
                        upstreams=sorted(fields),
                        downstreamType=FineGrainedLineageDownstreamTypeClass.FIELD,
                        downstreams=[own],
                    )
                )
        upstreams = [
            UpstreamClass(urn, DatasetLineageTypeClass.TRANSFORMED, auditStamp=stamp(item))
            for urn in sorted(sources)
        ]
        return upstreams, columns

    def _checked(self, asset: Asset, item: Item) -> Iterator[MetadataWorkUnit]:
        """The shapes that the proposal behind the entity was validated by, and what they said."""
        proof = item.get("proof")
        if proof is None or proof["conforms"] is None:
            return
        result = AssertionResultClass(
            AssertionResultTypeClass.SUCCESS
            if proof["conforms"]
            else AssertionResultTypeClass.FAILURE,
            nativeResults={"entry": str(proof["entry"]), "proposal": proof["proposal"]},
            externalUrl=self._common.link(item),
        )
        for shape in self._shapes.get(item["class"], ()):
            urn = self._names.assertion(asset.urn, shape)
            yield upsert(
                urn,
                AssertionInfoClass(
                    type=AssertionTypeClass.CUSTOM,
                    customAssertion=CustomAssertionInfoClass(
                        type="SHACL shape", entity=asset.urn, logic=shape
                    ),
                    source=AssertionSourceClass(
                        AssertionSourceTypeClass.EXTERNAL, created=stamp(item)
                    ),
                    description=f"Conforms to the shape {shape.rpartition('#')[2] or shape}",
                    externalUrl=self._common.link(item),
                ),
            )
            yield upsert(
                urn,
                AssertionRunEventClass(
                    timestampMillis=milliseconds(item),
                    runId=f"proof-{proof['entry']}",
                    asserteeUrn=asset.urn,
                    assertionUrn=urn,
                    status=AssertionRunStatusClass.COMPLETE,
                    result=result,
                ),
            )


def _conflicts(item: Item) -> dict[str, str]:
    """On what sources disagree. It is a property, which goes with the next telling once they agree;
    an incident would stay."""
    labels = [conflict["label"] or conflict["id"] for conflict in item.get("conflicts", ())]
    return {"conflicts": "\n".join(labels)} if labels else {}
