"""Which shapes mean something else after a change of the shapes graph, and what then is asked.

Invariant: in each case the changed part is the whole difference, wherever in the graph it lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyoxigraph import Literal, NamedNode, Quad

from ontology.store import GraphStore
from ontology.terms import Delta
from ontology.vocab import Rdfs
from shapes import whole_store
from shapes.compile import compile_shapes
from shapes.meaning import changed
from shapes.report import Report
from shapes.validator import Validator
from shapes.view import TYPE
from tests.shapes.test_validator import DATA, IDS, SHAPES, World, foci, quads

SOME = "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P . ex:P sh:path ex:p ."
OTHER = "ex:T a sh:NodeShape ; sh:targetClass ex:B ; sh:nodeKind sh:IRI . "
COMPONENT = """
ex:C a sh:ConstraintComponent ; sh:parameter ex:parameter ; sh:validator ex:V ; sh:labelTemplate 'x'
. ex:parameter sh:path ex:most . ex:V a sh:SPARQLAskValidator ; sh:prefixes ex:prefixes .
ex:S a sh:NodeShape ; sh:targetClass ex:A ; ex:most 5 . ex:prefixes sh:declare ex:declared .
ex:declared sh:prefix 'e' .
"""
ASKS = "ex:V sh:ask 'ASK { FILTER ($value != e:n && $most > 4) }' . "
DECLARED = "ex:declared sh:namespace 'http://e/'^^xsd:anyURI ."
SPARQL = """
ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:sparql ex:Q . ex:Q sh:prefixes ex:one .
ex:Q sh:select 'SELECT $this WHERE { $this e:p ?x }' . ex:one <http://www.w3.org/2002/07/owl#imports>
ex:two . ex:two sh:declare ex:d . ex:d sh:prefix 'e' .
"""
SIBLINGS = """
ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P , ex:P2 .
ex:P sh:path ex:p ; sh:qualifiedValueShape ex:X ; sh:qualifiedMinCount 1 ;
    sh:qualifiedValueShapesDisjoint true . ex:X sh:class ex:B . ex:P2 sh:path ex:q .
ex:U a sh:NodeShape ; sh:targetClass ex:D ; sh:property ex:P . ex:Y sh:class ex:D .
"""
CLASS = "ex:K a sh:NodeShape , ex:Meta ; sh:nodeKind sh:IRI . "
IN = "ex:P sh:in ex:l1 . ex:l1 rdf:first 1 ; rdf:rest ex:l2 . ex:l2 rdf:first 2 ; rdf:rest ex:l3 . "
IN += "ex:l3 rdf:first 3 ; rdf:rest ex:l4 . ex:l4 rdf:first 4 ; rdf:rest ex:l5 . "
IN += "ex:l5 rdf:first 5 ; rdf:rest ex:l6 . ex:l6 rdf:rest () ; rdf:first "
EITHER = "ex:P sh:path [ sh:alternativePath ( ex:p ex:q ) ] ."

# What stays, what is there before, what is there after, and the shapes that mean something else.
DIFFERENCES = {
    "a bound": (SOME, "ex:P sh:minCount 1 .", "ex:P sh:minCount 2 .", "S"),
    "the shape of a value": (
        SOME + "ex:P sh:node ex:N . ex:N a sh:NodeShape .",
        "ex:N sh:nodeKind sh:IRI .",
        "ex:N sh:nodeKind sh:Literal .",
        "S",
    ),
    "nothing but the order": (SOME, "ex:P sh:in ( 1 2 ) .", "ex:P sh:in ( 1 2 ) .", ""),
    "a member far down a list": (SOME, IN + "6 .", IN + "7 .", "S"),
    "a flag": (SOME + "ex:P sh:pattern 'a' .", "", "ex:P sh:flags 'i' .", "S"),
    "a language": (SOME, "ex:P sh:languageIn ('en') .", "ex:P sh:languageIn ('en' 'de') .", "S"),
    "two languages for one of two words": (
        SOME,
        "ex:P sh:languageIn ('en or de') .",
        "ex:P sh:languageIn ('en' 'de') .",
        "S",
    ),
    "a path": (SOME.replace("ex:P sh:path ex:p .", ""), "ex:P sh:path ex:p .", EITHER, "S"),
    "a target": (SOME, "", "ex:S sh:targetNode ex:n .", "S"),
    "a shape fewer": (SOME, OTHER, "", ""),
    "a shape more": (SOME, "", OTHER, "T"),
    "turned off": (SOME + OTHER, "ex:T sh:deactivated true .", "", "T"),
    "a part turned off": (SOME, "", "ex:P sh:deactivated true .", "S"),
    "a severity": (SOME, "", "ex:P sh:severity sh:Warning .", "S"),
    "words": (SOME, "ex:P sh:message 'one' .", "ex:P sh:message 'another' ; sh:name 'P' .", ""),
    "the query of a component": (
        OTHER + COMPONENT + DECLARED,
        ASKS,
        ASKS.replace("4", "3"),
        "S",
    ),
    "a prefix of a component": (
        OTHER + COMPONENT + ASKS,
        DECLARED,
        DECLARED.replace("//e", "//f"),
        "S",
    ),
    "what a component says": (
        COMPONENT + ASKS + DECLARED,
        "ex:V sh:message 'a' .",
        "ex:V sh:message 'b' .",
        "",
    ),
    "a parameter of a component": (
        OTHER + COMPONENT.replace("; ex:most 5", "") + ASKS + DECLARED,
        "ex:S ex:most 5 .",
        "ex:S ex:most 6 .",
        "S",
    ),
    "a prefix that is imported": (
        OTHER + SPARQL,
        "ex:d sh:namespace 'http://e/' .",
        "ex:d sh:namespace 'http://f/' .",
        "S",
    ),
    "a sibling": (
        SIBLINGS,
        "",
        "ex:P2 sh:qualifiedValueShape ex:Y ; sh:qualifiedMinCount 1 .",
        "S U",
    ),
    "a class of classes": (OTHER + CLASS, "", "ex:Meta rdfs:subClassOf rdfs:Class .", "K"),
    "no longer a class": (OTHER + CLASS, "ex:Meta rdfs:subClassOf rdfs:Class .", "", ""),
    "what a query reads of the shapes": (
        OTHER
        + "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:sparql [ sh:select"
        + " 'SELECT $this WHERE { GRAPH $shapesGraph { ?x <http://e/banned> $this } }' ] .",
        "",
        "ex:rule ex:banned ex:n .",
        "S",
    ),
}


@pytest.mark.parametrize(
    ("same", "before", "after", "expected"), DIFFERENCES.values(), ids=DIFFERENCES
)
def test_shapes_that_mean_something_else(same: str, before: str, after: str, expected: str) -> None:
    old, new = quads(same + before, SHAPES), quads(same + after, SHAPES)
    found = changed(compile_shapes(old), compile_shapes(new))
    names = {shape.node.value.removeprefix("http://e/") for shape in found}
    assert names == set(expected.split())
    # And the other way round nothing is taken for the same that is not.
    assert not changed(compile_shapes(new), compile_shapes(new))


# --- what is asked


def test_shapes_that_did_not_change_are_asked_what_the_change_can_turn() -> None:
    world = World(
        SOME + "ex:P sh:minCount 1 . " + OTHER, "ex:old a ex:A , ex:B . ex:fine a ex:A ; ex:p 1 ."
    )
    more = quads("ex:T sh:property ex:R . ex:R sh:path ex:r ; sh:minCount 1 .", SHAPES)
    report = world.validator.validate(Delta(more))
    # The violation of the other shape was there before.
    assert {(result.focus, result.shape) for result in report.results} == {
        ("<http://e/old>", "<http://e/R>")
    }
    broken = world.delta("ex:new a ex:A .", "ex:fine ex:p 1 .")
    report = world.validator.validate(Delta(more | broken.additions, broken.removals))
    assert foci(report) == {"old", "new", "fine"}
    assert all(result.cause for result in report.results if result.shape == "<http://e/P>")


def test_other_words_for_the_same_ask_nothing_of_anybody() -> None:
    world = World(SOME + "ex:P sh:minCount 1 .", "ex:old a ex:A .")
    found = world.validator.examine(Delta(quads("ex:P sh:message 'no p' .", SHAPES)))
    assert found.report == Report()
    assert not found.reads.meet(world.delta("ex:other a ex:A ."))


def test_shapes_that_could_not_be_read_are_mended() -> None:
    world = World(SOME + "ex:P sh:minCount 'one' .", "ex:old a ex:A .")
    mended = world.delta("ex:P sh:minCount 1 .", "ex:P sh:minCount 'one' .", SHAPES)
    assert foci(world.validator.validate(mended)) == {"old"}


class Counted(GraphStore):
    """Counts the rows that come out of any such store."""

    read = 0

    def rows(self, query: str) -> Iterator[Any]:
        for row in super().rows(query):
            Counted.read += 1
            yield row

    def match(self, *pattern: Any, **named: Any) -> Iterator[Quad]:
        for quad in super().match(*pattern, **named):
            Counted.read += 1
            yield quad


NODES = 3_000
FEW = 40


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Counted:
    """Many nodes of twenty classes and few of another, each class with its shape."""
    store = Counted(tmp_path_factory.mktemp("crowded") / "graph", IDS)
    data: set[Quad] = set()
    for number in range(NODES):
        node = NamedNode(f"http://e/n{number}")
        kind = "http://e/Rare" if number < FEW else f"http://e/C{number % 20}"
        data.add(Quad(node, TYPE, NamedNode(kind), DATA))
        data |= {Quad(node, NamedNode(Rdfs.label), Literal(f"{number} {n}"), DATA) for n in "ab"}
    shapes = "".join(_shape(f"C{number}") for number in range(20)) + _shape("Rare")
    store.apply(Delta(frozenset(data) | quads(shapes, SHAPES)), Delta(), 0)
    return store


def _shape(kind: str) -> str:
    return (
        f"ex:{kind}-shape a sh:NodeShape ; sh:targetClass ex:{kind} ; sh:property ex:{kind}-label ."
        f"ex:{kind}-label sh:path rdfs:label ; sh:minCount 1 ."
    )


@pytest.mark.parametrize("suspecting", [False, True])
def test_one_shape_of_many_reads_its_own_nodes(
    crowded: Counted, suspecting: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_store, "GraphStore", Counted)
    validator = Validator(crowded, tmp_path if suspecting else None)
    validator.validate(Delta(quads("ex:x a ex:Rare .")))
    shapes = len(list(crowded.match(graph=SHAPES)))
    Counted.read = 0
    report = validator.validate(Delta(quads("ex:Rare-label sh:maxCount 1 .", SHAPES)))
    assert dict(report.nodes) == {"<http://e/Rare-shape>": FEW}
    # The shapes are read, the few nodes with their labels, and the names of the classes.
    assert Counted.read < shapes + 6 * FEW
    Counted.read = 0
    same = Delta(quads("ex:Rare-label sh:name 'label' .", SHAPES))
    assert validator.validate(same).conforms
    assert Counted.read < shapes + 10
