"""Which claims of a proposal the stored facts bear out.

Invariant: *verified* is said only of what follows from facts of the evidence batches that the
proposal cites, by rules that are written down here; what cites evidence and doesn't follow is
*asserted* by its author, what cites none is *uncited*. A claim is never verified by its author's
word, and never by facts of another project.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from pyoxigraph import Literal, NamedNode, Quad

from ingest.warehouse import Warehouse, text
from ontology.ids import Ids
from ontology.vocab import Fo, Rdf, Rdfs

VERIFIED: Final = "verified"
ASSERTED: Final = "asserted"
UNCITED: Final = "uncited"

MOST_BATCHES = 64
MOST_KINDS = 10_000
"""Distinct kinds of facts that are looked at."""

_ENTRIES = frozenset({"server", "consumer"})
_Triple = tuple[str, str, str]


class Claims:
    """Marks the claims of one proposal; reading the facts raises the warehouse's errors."""

    def __init__(
        self,
        warehouse: Warehouse,
        ids: Ids,
        project: str,
        evidence: Sequence[str],
        hidden_projects: Collection[str] = (),
    ) -> None:
        self._cited = bool(evidence)
        self._known: set[_Triple] = set()
        if not evidence or not project:
            return
        result = warehouse.query(
            "SELECT DISTINCT subject, class, service, release, environment, kind FROM events"
            f" WHERE project = {text(project)} AND batch IN ({listed(evidence)})",
            max_rows=MOST_KINDS,
            hidden_projects=hidden_projects,
        )
        for row in result.rows:
            self._known |= _shown(ids, project, *map(str, row))

    def mark(self, quad: Quad) -> str:
        """``verified``, ``asserted`` or ``uncited``."""
        if not self._cited:
            return UNCITED
        return VERIFIED if _triple(quad) in self._known else ASSERTED


def listed(evidence: Sequence[str]) -> str:
    """The first batches as SQL; digests are checked where proposals are taken."""
    return ", ".join(text(item) for item in evidence[:MOST_BATCHES])


def _triple(quad: Quad) -> _Triple:
    assert isinstance(quad.subject, NamedNode)
    value = quad.object
    return (
        quad.subject.value,
        quad.predicate.value,
        value.value if isinstance(value, NamedNode | Literal) else str(value),
    )


def _shown(
    ids: Ids,
    project: str,
    subject: str,
    class_: str,
    service: str,
    release: str,
    environment: str,
    kind: str,
) -> set[_Triple]:
    """What one kind of fact shows of itself, without a look at any other."""
    found = set()
    if subject and class_:
        found |= {(subject, Rdf.type, class_), (subject, Fo.inProject, ids.project(project))}
    if not service:
        return found
    iri = ids.service(project, service)
    found |= {
        (iri, Rdf.type, Fo.Service),
        (iri, Rdfs.label, service),
        (iri, Fo.inProject, ids.project(project)),
    }
    if subject and kind:
        found.add((iri, Fo.offers if kind in _ENTRIES else Fo.performs, subject))
    if release:
        version = ids.release(service, release)
        found |= {
            (version, Rdf.type, Fo.Release),
            (version, Fo.version, release),
            (iri, Fo.hasRelease, version),
        }
    if environment:
        place = ids.environment(environment)
        found |= {
            (place, Rdf.type, Fo.DeploymentEnvironment),
            (place, Rdfs.label, environment),
            (iri, Fo.runsIn, place),
        }
    return found
