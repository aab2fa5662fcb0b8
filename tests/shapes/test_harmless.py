"""What a statement has to meet so that no shape can be broken by it, and what that saves."""

from __future__ import annotations

import pytest
from pyoxigraph import NamedNode

from ontology.terms import Delta
from ontology.vocab import Rdfs
from shapes.compile import compile_shapes
from shapes.harmless import Harmless
from shapes.view import TYPE
from tests.shapes.test_validator import OTHER, SHAPES, World, foci, quads

LABEL = NamedNode(Rdfs.label)


def of_labels(shape: str, *, coming: bool = True) -> Harmless | None:
    """What is asked of a label that comes (or goes), where this is asked of every thing."""
    program = compile_shapes(
        quads(f"ex:S a sh:NodeShape ; sh:targetClass ex:C ; {shape} .", SHAPES)
    )
    near = (program.coming if coming else program.going).near[LABEL]
    return near.harmless


TESTED = "sh:property [ sh:path rdfs:label ; sh:pattern 'x' ]"
COUNTED = "sh:property [ sh:path rdfs:label ; sh:minCount 1 ; sh:maxCount 2 ]"


@pytest.mark.parametrize(
    ("shape", "tests", "counts"),
    [
        (TESTED, 1, 0),
        (COUNTED, 0, 1),
        (f"sh:or ( [ {TESTED} ] [ {COUNTED} ] )", 1, 2),
        (f"sh:and ( [ {TESTED} ] [ sh:or ( [ {COUNTED} ] [ sh:class ex:D ] ) ] )", 1, 2),
        (f"{TESTED} ; sh:property [ sh:path ex:other ; sh:hasValue 1 ]", 1, 0),
    ],
)
def test_values_and_their_number_are_told_from_the_statement(
    shape: str, tests: int, counts: int
) -> None:
    found = of_labels(shape)
    assert found is not None
    assert (len(found.tests), len(found.counts)) == (tests, counts)
    assert not found.asks_types


@pytest.mark.parametrize(
    "shape",
    [
        f"sh:not [ {TESTED} ]",
        f"sh:xone ( [ {TESTED} ] [ {COUNTED} ] )",
        f"sh:or ( [ sh:not [ {COUNTED} ] ] [ {TESTED} ] )",
        "sh:property [ sh:path ( rdfs:label rdfs:label ) ; sh:minCount 1 ]",
        "sh:property [ sh:path rdfs:label ; sh:uniqueLang true ]",
        "sh:property [ sh:path ex:p ; sh:disjoint rdfs:label ]",
        "sh:closed true",
    ],
)
def test_what_else_depends_on_it_is_looked_at(shape: str) -> None:
    program = compile_shapes(
        quads(f"ex:S a sh:NodeShape ; sh:targetClass ex:C ; {shape} .", SHAPES)
    )
    near = [
        triggers.near[predicate]
        for triggers in (program.coming, program.going)
        for predicate in (LABEL, None)
        if predicate in triggers.near
    ]
    assert any(item.harmless is None for item in near)


def test_a_value_that_has_to_be_there_is_missed() -> None:
    assert of_labels("sh:property [ sh:path rdfs:label ; sh:hasValue 'x' ]", coming=False) is None


def types_read(world: World, delta: Delta) -> bool:
    return bool(world.validator.examine(delta).reads.objects.get(TYPE))


SHAPE = """
ex:S a sh:NodeShape ; sh:targetClass ex:C ;
    sh:property [ sh:path rdfs:label ; sh:minCount 1 ; sh:maxCount 1 ; sh:pattern 'x' ] .
"""
DATA = "ex:a a ex:C ; rdfs:label 'x1' . ex:b rdfs:label 'x1' , 'x2' ."


def test_a_new_name_reads_no_types() -> None:
    world = World(SHAPE, DATA)
    renamed = world.delta("ex:a rdfs:label 'x2' .", "ex:a rdfs:label 'x1' .")
    assert not types_read(world, renamed)
    assert world.validator.validate(renamed).conforms


@pytest.mark.parametrize(
    ("add", "remove"),
    [
        ("ex:a rdfs:label 'y' .", "ex:a rdfs:label 'x1' ."),
        ("ex:a rdfs:label 'x2' .", ""),
        ("", "ex:a rdfs:label 'x1' ."),
        ("ex:b a ex:C .", ""),
    ],
)
def test_what_is_not_harmless_is_found(add: str, remove: str) -> None:
    world = World(SHAPE, DATA)
    delta = world.delta(add, remove)
    assert types_read(world, delta)
    report = world.validator.validate(delta)
    assert not report.conforms
    assert foci(report) <= {"a", "b"}


def test_a_statement_of_two_graphs_does_not_count_as_gone() -> None:
    world = World(SHAPE, DATA)
    world.store.apply(Delta(quads("ex:a rdfs:label 'x1' .", graph=OTHER)), Delta(), 1)
    delta = world.delta("ex:a rdfs:label 'x2' .", "ex:a rdfs:label 'x1' .")
    assert foci(world.validator.validate(delta)) == {"a"}


def test_who_had_another_value_is_no_new_subject() -> None:
    world = World(
        "ex:S a sh:NodeShape ; sh:targetSubjectsOf ex:p ; sh:class ex:C .",
        "ex:a a ex:C ; ex:p 1 . ex:b ex:q 1 .",
    )
    assert not types_read(world, world.delta("ex:a ex:p 2 .", "ex:a ex:p 1 ."))
    assert foci(world.validate("ex:b ex:p 1 .")) == {"b"}
