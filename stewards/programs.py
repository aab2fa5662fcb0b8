"""The services that product events and errors name, and their operations that joins arrive at.

Invariant: a service, its release or its operation is claimed as traces claim it, so that the two
are one thing in the graph.
"""

from __future__ import annotations

from stewards.evidence import Evidence, see
from stewards.names import MAX_NAME, is_named, shown
from stewards.observe import Observations, Operation, role


class Programs:
    """Collects what is seen of services."""

    def __init__(self) -> None:
        self._services: dict[str, Evidence] = {}
        self._environments: dict[tuple[str, str], Evidence] = {}
        self._releases: dict[tuple[str, str], Evidence] = {}
        self._operations: dict[Operation, Evidence] = {}

    def see(self, service: str, release: str, environment: str, evidence: Evidence) -> bool:
        """Note a service with its release and environment, either empty; whether it has a name."""
        if not is_named(service):
            return False
        see(self._services, service, evidence)
        for found, value in ((self._environments, environment), (self._releases, release)):
            if is_version(value):
                see(found, (service, value), evidence)
        return True

    def enter(
        self, service: str, subject: str, event_class: str, kind: str, evidence: Evidence
    ) -> None:
        """Note an operation of a service that was noted."""
        operation = Operation(service, subject, role(event_class, kind), event_class)
        see(self._operations, operation, evidence)

    def observations(self) -> Observations:
        return Observations(
            services=self._services,
            environments=self._environments,
            releases=self._releases,
            operations=self._operations,
        )


def is_version(release: str) -> bool:
    """Whether a release, or an environment, can be known by this name."""
    return len(release) <= MAX_NAME and bool(shown(release))
