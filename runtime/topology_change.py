"""From what the graph states to what a topology declares: additions and removals.

Invariant: a topology speaks of what it declares and of what it declared before, and of nothing
else: what was found and what other topologies declare stays as it is. Of what it declares it
governs every statement that a file can make; the status, which is observed, the services and
capabilities of an asset of which it says nothing, and what anybody states in other words are left
alone. A node that only removed statements led to goes with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyoxigraph import Literal, NamedNode, Triple

from ontology.ids import Ids
from ontology.vocab import Fo, Rdf, Rdfs
from runtime.asset_quads import LOCATORS
from runtime.errors import TopologyError
from runtime.topology import Topology
from runtime.topology_shapes import statements

_LEADS = {Fo.permits, Fo.publicUrl, Fo.executorUrl, Fo.internalUrl}
_GOVERNED = {
    *(Rdf.type, Rdfs.label, Fo.declaredIn, Fo.ownedBy, Fo.inProject, Fo.inEnvironment),
    *(Fo.assetId, Fo.assetRole, Fo.capability, Fo.hosts, *LOCATORS.values(), *_LEADS),
    *(Fo.endpointId, Fo.product, Fo.authScheme, Fo.authReference, Fo.readinessPath),
    *(Fo.roleName, Fo.exclusive),
}


@dataclass(frozen=True, slots=True)
class Change:
    """Statements to add to ``graph/assets`` and to remove from it, and the things, by IRI, that
    appear, change and go."""

    additions: frozenset[Triple]
    removals: frozenset[Triple]
    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


def change(topology: Topology, ids: Ids, current: Iterable[Triple]) -> Change:
    """What makes the graph say what the topology declares. Raises :class:`TopologyError` where
    another topology declares the same thing."""
    stated = frozenset(t for t in current if isinstance(t.subject, NamedNode))
    wanted = statements(topology, ids)
    declares = {iri for iri in topology.places if (ids.url("x")[:-1]) not in iri}
    declared: dict[str, str] = {}
    for triple in stated:
        if triple.predicate.value == Fo.declaredIn and isinstance(triple.object, Literal):
            declared[_subject(triple)] = triple.object.value
    _refuse_others(topology, declares, declared)
    before = {iri for iri, name in declared.items() if name == topology.name}
    gone = before - declares
    removals = {
        triple
        for triple in stated - wanted
        if _subject(triple) in gone
        or (_subject(triple) in declares and _is_governed(triple, topology))
    }
    removals |= _led_to(removals, stated, wanted)
    additions = wanted - stated
    known = {_subject(triple) for triple in stated}
    touched = {_subject(triple) for triple in (*additions, *removals)}
    touched |= {
        _subject(triple)
        for triple in (*wanted, *stated)
        if triple.predicate.value in _LEADS
        and isinstance(triple.object, NamedNode)
        and triple.object.value in touched
    }
    return Change(
        frozenset(additions),
        frozenset(removals),
        tuple(sorted(declares - known)),
        tuple(sorted(declares & known & touched)),
        tuple(sorted(gone)),
    )


def _is_governed(triple: Triple, topology: Topology) -> bool:
    term = triple.predicate.value
    return term in _GOVERNED and (_subject(triple), term) not in topology.silent


def _refuse_others(topology: Topology, declares: set[str], declared: dict[str, str]) -> None:
    faults = [
        topology.text.at(topology.places[iri], f"the topology {declared[iri]!r} declares it too")
        for iri in sorted(declares & declared.keys())
        if declared[iri] != topology.name
    ]
    if faults:
        raise TopologyError(faults)


def _led_to(
    removals: set[Triple], stated: frozenset[Triple], wanted: frozenset[Triple]
) -> set[Triple]:
    """The statements about nodes that nothing leads to any more."""
    left = {
        triple.object for triple in (stated - removals) | wanted if triple.predicate.value in _LEADS
    }
    nodes = {
        triple.object
        for triple in removals
        if triple.predicate.value in _LEADS and triple.object not in left
    }
    return {triple for triple in stated - wanted if triple.subject in nodes}


def _subject(triple: Triple) -> str:
    assert isinstance(triple.subject, NamedNode)
    return triple.subject.value
