"""What DataHub holds already, where people edit the very aspects that this source writes.

Invariant: a definition, a description or the course of an incident that somebody gave in DataHub
stays, unless the recipe says ``overwrite``. Nothing that is read here goes anywhere but back into
the aspect it came from. Without a DataHub to ask, as with the file sink, there is nothing to keep.
"""

from __future__ import annotations

from datahub.ingestion.graph.client import DataHubGraph
from datahub.metadata.schema_classes import (
    DomainPropertiesClass,
    GlossaryTermInfoClass,
    IncidentInfoClass,
)

from fractalops_datahub.names import ACTOR


class Kept:
    """Completes aspects with what is there. ``graph`` is ``None`` where nothing is to be kept."""

    def __init__(self, graph: DataHubGraph | None) -> None:
        self._graph = graph

    def term(self, urn: str, aspect: GlossaryTermInfoClass) -> GlossaryTermInfoClass:
        """Keeps the definition and where in the glossary the term was put."""
        there = self._graph.get_aspect(urn, GlossaryTermInfoClass) if self._graph else None
        if there is not None:
            aspect.definition = there.definition
            aspect.parentNode = there.parentNode
        return aspect

    def domain(self, urn: str, aspect: DomainPropertiesClass) -> DomainPropertiesClass:
        """Keeps name, description and parent."""
        there = self._graph.get_aspect(urn, DomainPropertiesClass) if self._graph else None
        if there is not None:
            aspect.name = there.name
            aspect.description = there.description
            aspect.parentDomain = there.parentDomain
        return aspect

    def incident(self, urn: str, aspect: IncidentInfoClass) -> IncidentInfoClass:
        """Keeps priority and assignees, and a state that somebody else set."""
        there = self._graph.get_aspect(urn, IncidentInfoClass) if self._graph else None
        if there is not None:
            aspect.priority, aspect.assignees = there.priority, there.assignees
            if there.status.lastUpdated.actor != ACTOR:
                aspect.status = there.status
                aspect.title, aspect.description = there.title, there.description
        return aspect
