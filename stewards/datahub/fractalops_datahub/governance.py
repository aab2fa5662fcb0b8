"""The ontology as a glossary, projects as domains, and principals as users.

Invariant: of a principal that the recipe maps to a user of DataHub nothing is said, and of persons
nothing at all: DataHub knows its people from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from datahub.ingestion.api.workunit import MetadataWorkUnit
from datahub.metadata.schema_classes import (
    CorpUserInfoClass,
    DomainPropertiesClass,
    GlossaryNodeInfoClass,
    GlossaryTermInfoClass,
)

from fractalops_datahub.catalog import Item
from fractalops_datahub.config import FractalOpsConfig
from fractalops_datahub.kept import Kept
from fractalops_datahub.names import NAMESPACE, PLATFORM, Names
from fractalops_datahub.proof import stamp, upsert

NODE = f"urn:li:glossaryNode:{PLATFORM}"
_PROGRAMS = frozenset(NAMESPACE + name for name in ("Agent", "ServiceAccount", "Steward"))


class Governance:
    """Makes the aspects of glossary terms, domains and users."""

    def __init__(self, config: FractalOpsConfig, names: Names, kept: Kept) -> None:
        self._mapped = config.principals
        self._names = names
        self._kept = kept

    def glossary(self) -> Iterator[MetadataWorkUnit]:
        """The node that holds the terms."""
        definition = "The ontology of FractalOps Semantics."
        yield upsert(NODE, GlossaryNodeInfoClass(definition, name="FractalOps"))

    def term(self, item: Item) -> Iterator[MetadataWorkUnit]:
        """A class of our own is a term; foreign ones are told by their own makers."""
        if not item["id"].startswith(NAMESPACE):
            return
        definition = " ".join(item["properties"].get("skos:definition", ())) or item["label"]
        notations = item["properties"].get("skos:notation", ())
        urn = self._names.term(item["id"])
        info = GlossaryTermInfoClass(
            definition=definition,
            termSource="EXTERNAL",
            name=item["label"],
            parentNode=NODE,
            sourceRef="FractalOps",
            sourceUrl=item["id"],
            customProperties={"notation": ", ".join(notations)} if notations else {},
        )
        yield upsert(urn, self._kept.term(urn, info))

    def project(self, item: Item) -> Iterator[MetadataWorkUnit]:
        """A project is a domain."""
        slug = item["id"].rpartition("/")[2]
        urn = self._names.domain(slug)
        properties = DomainPropertiesClass(
            name=item["label"] or slug, customProperties={"iri": item["id"]}, created=stamp(item)
        )
        yield upsert(urn, self._kept.domain(urn, properties))

    def principal(self, item: Item) -> Iterator[MetadataWorkUnit]:
        """A program that acts here is a user of DataHub, so that it can be an owner there."""
        slug = item["id"].rpartition("/")[2]
        if item["class"] not in _PROGRAMS or slug in self._mapped:
            return
        urn = self._names.owner(item["id"])
        yield upsert(
            urn, CorpUserInfoClass(active=True, displayName=item["label"] or slug, system=True)
        )
