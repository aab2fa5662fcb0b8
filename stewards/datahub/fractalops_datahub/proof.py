"""What every entity carries besides its own aspects: its proof, its domain and its owners.

Invariant: what people edit in DataHub is added to, never replaced, unless the recipe says
``overwrite``: additions go as patches, which DataHub merges by key.
Source: https://docs.datahub.com/docs/advanced/patch
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache

from datahub.emitter.mcp import MetadataChangeProposalWrapper
from datahub.ingestion.api.workunit import MetadataWorkUnit
from datahub.metadata.schema_classes import (
    AuditStampClass,
    DomainAssociationClass,
    DomainsClass,
    MetadataChangeProposalClass,
    OwnerClass,
    OwnershipClass,
    OwnershipTypeClass,
    PropertyCardinalityClass,
    StructuredPropertiesClass,
    StructuredPropertyDefinitionClass,
    StructuredPropertyValueAssignmentClass,
    _Aspect,
)
from datahub.specific.aspect_helpers.domains import HasDomainsPatch
from datahub.specific.aspect_helpers.ownership import HasOwnershipPatch
from datahub.specific.aspect_helpers.structured_properties import HasStructuredPropertiesPatch
from datahub.utilities.urns.urn import guess_entity_type

from fractalops_datahub.catalog import Item
from fractalops_datahub.config import FractalOpsConfig
from fractalops_datahub.names import ACTOR, PLATFORM, Names

_PREFIX = "io.fractalops."
ENTRY, HEAD, EVIDENCE, CHAIN = (
    _PREFIX + name for name in ("proofEntry", "proofHead", "evidence", "proofChain")
)
_DEFINITIONS = (
    (ENTRY, "Proof entry", "number", "The entry of the proof log that stated the entity."),
    (HEAD, "Proof head", "string", "The hash of that entry's leaf: the log's head right after it."),
    (EVIDENCE, "Evidence", "string", "Commitments to evidence that the entry rests on."),
    (CHAIN, "Proof chain", "string", "Where the chain from evidence to this entity is told."),
)
_OF = ("dataset", "dataFlow", "dataJob")


class Additions(HasDomainsPatch, HasOwnershipPatch, HasStructuredPropertiesPatch):
    """Patches of one entity."""


def upsert(urn: str, aspect: _Aspect, *, primary: bool = True) -> MetadataWorkUnit:
    """A whole aspect."""
    return MetadataChangeProposalWrapper(entityUrn=urn, aspect=aspect).as_workunit(
        is_primary_source=primary
    )


def as_workunits(
    proposals: Iterable[MetadataChangeProposalClass], *, primary: bool = True
) -> Iterator[MetadataWorkUnit]:
    """Patches, as they go through a run."""
    for proposal in proposals:
        yield MetadataWorkUnit(
            id=MetadataWorkUnit.generate_workunit_id(proposal),
            mcp_raw=proposal,
            is_primary_source=primary,
        )


def replaced(proposal: MetadataChangeProposalClass, urn: str) -> MetadataChangeProposalClass:
    """The same patch of another entity."""
    return MetadataChangeProposalClass(
        entityUrn=urn,
        entityType=guess_entity_type(urn),
        changeType=proposal.changeType,
        aspectName=proposal.aspectName,
        aspect=proposal.aspect,
    )


def definitions() -> Iterator[MetadataWorkUnit]:
    """The structured properties themselves. Other sources' entities may carry them for ever, so
    they are never stale."""
    for name, shown, kind, description in _DEFINITIONS:
        aspect = StructuredPropertyDefinitionClass(
            qualifiedName=name,
            displayName=shown,
            valueType=f"urn:li:dataType:datahub.{kind}",
            entityTypes=[f"urn:li:entityType:datahub.{of}" for of in _OF],
            cardinality=(
                PropertyCardinalityClass.MULTIPLE
                if name == EVIDENCE
                else PropertyCardinalityClass.SINGLE
            ),
            description=description,
        )
        yield upsert(f"urn:li:structuredProperty:{name}", aspect, primary=False)


def stamp(item: Item) -> AuditStampClass:
    """When the entity was stated; the same in every run."""
    return AuditStampClass(time=milliseconds(item), actor=ACTOR)


def milliseconds(item: Item) -> int:
    """When the entity was stated, in milliseconds since 1970; 0 where no entry says."""
    proof = item.get("proof")
    return 0 if proof is None else millis(proof["time"])


def millis(text: str) -> int:
    """An RFC 3339 time in milliseconds since 1970."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


class Common:
    """Adds to entities what all kinds of them carry."""

    def __init__(
        self, config: FractalOpsConfig, names: Names, stewards: Mapping[str, list[str]]
    ) -> None:
        """``stewards`` are the IRIs of principals by their project's slug."""
        self._config = config
        self._names = names
        self._url = config.public_url or config.server
        # Making a patch is most of the work of an entity, and these are the same over and over.
        self._shared = lru_cache(maxsize=1024)(self._patches)
        self._owners = {
            project: [
                OwnerClass(owner=names.owner(iri), type=OwnershipTypeClass.DATA_STEWARD)
                for iri in principals
            ]
            for project, principals in stewards.items()
        }

    def link(self, item: Item) -> str:
        """Where the entity's proof chain is told, or else the entity itself."""
        proof = item.get("proof")
        if proof is not None:
            return self._url + str(proof["explain"])
        return str(item["id"])

    def properties(self, item: Item) -> dict[str, str]:
        """What the graph says that DataHub has no field for."""
        said = {name: ", ".join(values) for name, values in item["properties"].items()}
        return {**said, "iri": item["id"], "projects": ", ".join(item["projects"])}

    def carried(self, urn: str, item: Item, *, primary: bool = True) -> Iterator[MetadataWorkUnit]:
        """Proof, domain and owners."""
        assigned = self._assigned(item)
        if not self._config.overwrite or not primary:
            additions = Additions(urn)
            for assignment in assigned:
                additions.set_structured_property(assignment.propertyUrn, assignment.values)
            proposals = additions.build()
            shared = self._shared(tuple(item["projects"]))
            proposals += [replaced(proposal, urn) for proposal in shared]
            yield from as_workunits(proposals, primary=primary)
            return
        domain, owners = self._domain_and_owners(tuple(item["projects"]))
        if assigned:
            yield upsert(urn, StructuredPropertiesClass(properties=assigned))
        if domain is not None:
            yield upsert(urn, DomainsClass(domains=[domain]))
        if owners:
            yield upsert(urn, OwnershipClass(owners=owners, lastModified=stamp(item)))

    def _domain_and_owners(self, projects: tuple[str, ...]) -> tuple[str | None, list[OwnerClass]]:
        """DataHub has one domain of an entity, so what projects share has none."""
        domain = self._names.domain(projects[0]) if len(projects) == 1 else None
        return domain, [owner for slug in projects for owner in self._owners.get(slug, ())]

    def _patches(self, projects: tuple[str, ...]) -> list[MetadataChangeProposalClass]:
        """The patches that all entities of these projects have in common, of one of them."""
        domain, owners = self._domain_and_owners(projects)
        additions = Additions(f"urn:li:domain:{PLATFORM}")
        if domain is not None:
            additions.add_domain(DomainAssociationClass(domain=domain))
        for owner in owners:
            additions.add_owner(owner)
        return additions.build()

    def _assigned(self, item: Item) -> list[StructuredPropertyValueAssignmentClass]:
        proof = item.get("proof")
        if proof is None:
            return []
        values: dict[str, list[str | float]] = {
            ENTRY: [float(proof["entry"])],
            HEAD: [proof["leaf_hash"]],
            EVIDENCE: list(proof["evidence"]),
            CHAIN: [self.link(item)],
        }
        return [
            StructuredPropertyValueAssignmentClass(f"urn:li:structuredProperty:{name}", given)
            for name, given in values.items()
            if given
        ]
