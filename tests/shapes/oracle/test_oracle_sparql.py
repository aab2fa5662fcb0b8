"""SHACL-SPARQL against pySHACL: random shapes that ask by queries, and what was found by them.

Invariant: as in :mod:`test_oracle` and :mod:`test_oracle_named`.
Specification: https://www.w3.org/TR/shacl/#sparql-constraints
"""

from __future__ import annotations

import os
import sys
from random import Random

import pytest

from tests.shapes.oracle.oracle_check import Tally, check_changes
from tests.shapes.oracle.oracle_named import Named, expecting, told_by_pyshacl, told_by_us
from tests.shapes.oracle.oracle_sparql import sparql_case
from tests.shapes.oracle.oracle_sparql_corrections import SPARQL_CORRECTIONS

COUNT = int(os.environ.get("FRACTALOPS_ORACLE_COUNT", "20000")) // 20

CASES = {
    # 5.2: $PATH stands for a SPARQL path, in which a path within a path takes brackets.
    "a path within a path in a query": Named(
        "ex:P a sh:PropertyShape ; sh:targetNode ex:n0 ;"
        " sh:path [ sh:zeroOrMorePath [ sh:inversePath [ sh:oneOrMorePath ex:p ] ] ] ;"
        " sh:sparql [ sh:select 'SELECT $this ?value WHERE { $this $PATH ?value }' ] .",
        "ex:n1 ex:p ex:n0 .",
        expecting("ex:n0 SPARQL ex:n0", "ex:n0 SPARQL ex:n1"),
        "path-texts",
    ),
    # 5.3.1: $this is pre-bound whatever it is; and nothing starts from a literal.
    "a path from a literal": Named(
        "ex:S a sh:NodeShape ; sh:targetNode false ;"
        " sh:sparql [ sh:select 'SELECT $this WHERE { $this <http://e/p>+ ?x }' ] .",
        "ex:n1 ex:p ex:n0 .",
        expecting(),
        "path-starts",
    ),
    # 5.3.2: without a binding for value, "the value node".
    "the value an ASK query refuses": Named(
        "ex:C a sh:ConstraintComponent ; sh:parameter [ sh:path ex:most ] ;"
        " sh:validator [ a sh:SPARQLAskValidator ;"
        " sh:ask 'ASK { FILTER (sameTerm($value, $most)) }' ] ."
        " ex:P a sh:PropertyShape ; sh:targetNode ex:n0 ; sh:path ex:p ; ex:most 1 .",
        "ex:n0 ex:p 0 , 1 .",
        expecting('ex:n0 http://e/C "0"^^xsd:integer'),
        "ask-validators",
    ),
    # 6.3: a SELECT-based validator is run for the focus node, whatever values it has.
    "a SELECT query where there is no value": Named(
        "ex:C a sh:ConstraintComponent ; sh:parameter [ sh:path ex:wanted ] ;"
        " sh:propertyValidator [ a sh:SPARQLSelectValidator ; sh:select"
        " 'SELECT $this WHERE { FILTER NOT EXISTS { $this $PATH $wanted } }' ] ."
        " ex:P a sh:PropertyShape ; sh:targetNode ex:n0 ; sh:path ex:p ; ex:wanted 1 .",
        "ex:n0 ex:q 0 .",
        expecting("ex:n0 http://e/C"),
        "select-validators",
    ),
    # 6.2.3: "If no suitable validator can be found, a SHACL-SPARQL processor ignores" it.
    "a component for properties on a node shape": Named(
        "ex:C a sh:ConstraintComponent ; sh:parameter [ sh:path ex:wanted ] ;"
        " sh:propertyValidator [ a sh:SPARQLSelectValidator ;"
        " sh:select 'SELECT $this ?value WHERE { $this $PATH ?value }' ] ."
        " ex:S a sh:NodeShape ; sh:targetNode ex:n0 ; ex:wanted 1 .",
        "ex:n0 ex:p 0 .",
        expecting(),
        "unsuitable-validators",
    ),
    # SPARQL 1.1 9.3, zero-length paths: a term is connected with itself, wherever else it is.
    "nothing follows, and the path may be empty": Named(
        "ex:P a sh:PropertyShape ; sh:targetObjectsOf ex:r ;"
        " sh:path [ sh:zeroOrMorePath ex:q ] ;"
        " sh:sparql [ sh:select 'SELECT $this ?value WHERE { $this $PATH ?value }' ] .",
        "ex:n0 ex:r ex:n1 , 1 .",
        expecting(
            "ex:n1 SPARQL ex:n1",
            '"1"^^xsd:integer SPARQL "1"^^xsd:integer',
        ),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_we_say_what_the_specification_says(case: Named) -> None:
    assert told_by_us(case) == case.expected


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_pyshacl_says_so_once_its_error_is_mended(case: Named) -> None:
    names = () if case.correction is None else (case.correction,)
    if names:
        assert told_by_pyshacl(case) != case.expected, f"it is right by now: drop {names[0]}"
    assert told_by_pyshacl(case, *names) == case.expected


def test_every_correction_has_its_case() -> None:
    assert {case.correction for case in CASES.values()} - {None} == set(SPARQL_CORRECTIONS)


def test_fixed_seeds() -> None:
    tally = Tally()
    for seed in range(12):
        check_changes(sparql_case(Random(seed)), tally)
        assert not tally.disagreements, f"seed {seed}: {tally.disagreements[0]}"
    assert tally.results > 40
    assert tally.incremental > 5


@pytest.mark.long
def test_many_cases(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    seed = 1_000_000
    while tally.cases < COUNT:
        check_changes(sparql_case(Random(seed)), tally)
        assert not tally.disagreements, f"seed {seed}: {tally.disagreements[0]}"
        seed += 1
    with capsys.disabled():
        sys.stdout.write(f"\n{tally.summary()}\n")
    assert tally.cases >= COUNT
