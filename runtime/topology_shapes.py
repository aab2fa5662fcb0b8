"""What the shipped shapes say of a topology, before it is proposed.

Invariant: no rule is written twice: these are the shapes of ``graph/shapes`` as they ship. What the
topology refers to and doesn't declare (owners, projects, services) is taken to be there; the gate
asks the graph.
Specification: https://www.w3.org/TR/shacl/
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import cache

from pyoxigraph import NamedNode, RdfFormat, Triple, parse

from ontology.ids import Ids
from ontology.library import ontology_turtle
from ontology.vocab import Fo, Rdf, Rdfs
from runtime.asset_quads import Statements
from runtime.topology import Topology
from shapes.compile import Program, compile_shapes
from shapes.library import shapes_turtle
from shapes.report import Report
from shapes.view import MemoryView
from shapes.whole import validate_graph

_REFERS = {Fo.ownedBy: Fo.Organisation, Fo.inProject: Fo.Project, Fo.hosts: Fo.Service}


def statements(topology: Topology, ids: Ids) -> frozenset[Triple]:
    """Everything that a topology states."""
    stated = Statements(ids)
    for role in topology.roles:
        stated.role(role)
    for environment in topology.environments:
        stated.environment(environment)
    for asset in topology.assets:
        stated.asset(asset)
    for endpoint in topology.endpoints:
        stated.endpoint(endpoint)
    return frozenset(stated.triples)


def complaints(topology: Topology, ids: Ids) -> list[str]:
    """What the shapes refuse, each with its line, sorted by it."""
    stated = statements(topology, ids)
    places = dict(topology.places)
    ours = set()
    for triple in stated:
        assert isinstance(triple.subject, NamedNode)
        ours.add(f"<{triple.subject.value}>")
        if triple.predicate.value == Fo.permits and isinstance(triple.object, NamedNode):
            places[triple.object.value] = (*places[triple.subject.value], "permits")
    found = set()
    for result in report(stated).results:
        if result.focus in ours and result.severity == "Violation":
            place = places.get(result.focus[1:-1], ())
            told = f" ({result.value})" if result.value and result.value != result.focus else ""
            found.add((topology.text.lines[place], topology.text.at(place, result.message + told)))
    return [complaint for _, complaint in sorted(found)]


def report(stated: Collection[Triple]) -> Report:
    """What the shapes say of these statements, and of what they refer to."""
    return validate_graph(_program(), MemoryView((*_hierarchy(), *_referred(stated), *stated)))


def _referred(stated: Iterable[Triple]) -> Iterator[Triple]:
    for triple in stated:
        kind = _REFERS.get(triple.predicate.value)
        if kind is not None and isinstance(triple.object, NamedNode):
            yield Triple(triple.object, NamedNode(Rdf.type), NamedNode(kind))


@cache
def _program() -> Program:
    return compile_shapes(_quads(shapes_turtle().values()))


@cache
def _hierarchy() -> tuple[Triple, ...]:
    every = _quads(ontology_turtle().values())
    return tuple(triple for triple in every if triple.predicate.value == Rdfs.subClassOf)


def _quads(documents: Iterable[bytes]) -> list[Triple]:
    return [
        quad.triple
        for data in documents
        for quad in parse(data, format=RdfFormat.TURTLE, rename_blank_nodes=True)
    ]
