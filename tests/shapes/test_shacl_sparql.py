"""SHACL-SPARQL: what queries of shapes may be, what they find, and what they may cost.

Property tests hold what is gathered around a focus node, and what a change is said to affect,
against the same queries over everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyoxigraph import NamedNode, Quad, RdfFormat, parse

from ontology.ids import Ids
from ontology.store import GraphStore
from ontology.terms import Delta, canonical_quad, in_named_graph, skolemise
from ontology.vocab import FO, FOS, Sh
from shapes import sparql_process, whole_store
from shapes.compile import Program, compile_shapes
from shapes.errors import MalformedShapes, QueryStopped
from shapes.evaluate import Run
from shapes.lasting_pool import LastingPool
from shapes.model import Combined, Nested, Query
from shapes.overlay import Overlay
from shapes.report import Report
from shapes.sparql_constraints import Limits, Queries
from shapes.sparql_process import RUNNER, Runner
from shapes.validator import Validator, _Version
from shapes.view import MemoryView
from shapes.whole import validate_graph

IDS = Ids()
SHAPES = NamedNode(IDS.graph("shapes"))
DATA = NamedNode(IDS.lineage_graph("shop"))
OTHER = NamedNode(IDS.lineage_graph("billing"))
PREFIXES = """
@prefix ex: <http://e/> .
@prefix sh: <http://www.w3.org/ns/shacl#> .
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
"""
EX = 'ex:names sh:declare [ sh:prefix "ex" ; sh:namespace "http://e/"^^xsd:anyURI ] .\n'


@pytest.fixture(scope="module", autouse=True)
def _one_process() -> Iterator[None]:
    yield
    RUNNER.close()


def quads(turtle: str, graph: NamedNode = DATA) -> frozenset[Quad]:
    found = parse((PREFIXES + turtle).encode(), format=RdfFormat.TURTLE)
    placed = {canonical_quad(in_named_graph(quad, graph)) for quad in found}
    return skolemise(placed, IDS.base, salt=graph.value)


def asking(query: str, shape: str = "sh:targetClass ex:A", more: str = "") -> str:
    """A shape with one query."""
    return (
        f"{EX}ex:S a sh:NodeShape ; {shape} ; sh:sparql ex:q ."
        f' ex:q sh:prefixes ex:names ; sh:select """{query}""" {more} .'
    )


class World:
    """A store with shapes and data, and its validator."""

    def __init__(self, shapes: str, data: str = "", path: Path | None = None) -> None:
        self.store = GraphStore(path, IDS)
        self.store.apply(Delta(quads(shapes, SHAPES) | quads(data)), Delta(), 0)
        self.validator = Validator(self.store, None if path is None else path.parent)

    def delta(self, add: str = "", remove: str = "", graph: NamedNode = DATA) -> Delta:
        return self.store.effective(Delta(quads(add, graph), quads(remove, graph)))

    def validate(self, add: str = "", remove: str = "", graph: NamedNode = DATA) -> Report:
        return self.validator.validate(self.delta(add, remove, graph))


def foci(report: Report) -> set[str]:
    return {result.focus.removeprefix("<http://e/").rstrip(">") for result in report.results}


def found(shapes: str, data: str) -> Report:
    return validate_graph(program(shapes), MemoryView(quads(data)))


def program(shapes: str) -> Program:
    return compile_shapes(quads(shapes, SHAPES), strict=True)


# --- a variable that is bound before has its value everywhere

BOUND = {
    "in a pattern": "{ $this ex:p 1 }",
    "in a filter": "{ ?x ex:p 1 FILTER($this = ?x) }",
    "in a group of its own": "{ { FILTER($this = ex:a) } }",
    "in a filter of an inner group": "{ { ?x ex:p 1 FILTER(?x = $this) } FILTER(bound($this)) }",
    "in one branch": "{ { FILTER(false) } UNION { FILTER($this = ex:a) } }",
    "in BIND": "{ BIND($this AS ?that) FILTER(?that = ex:a) }",
    "in EXISTS": "{ FILTER EXISTS { ?x ex:p 1 FILTER(?x = $this) } }",
    "in NOT EXISTS": "{ FILTER NOT EXISTS { $this ex:p 2 } }",
    "in a subquery": "{ { SELECT $this { FILTER($this = ex:a) } } }",
    "in a subquery that counts":
        "{ { SELECT $this (COUNT(?x) AS ?n) { $this ex:p ?x } GROUP BY $this } FILTER(?n = 1) "
        "FILTER EXISTS { $this ex:p 1 } }",
    "in OPTIONAL": "{ OPTIONAL { $this ex:p 2 BIND(1 AS ?two) } FILTER(!bound(?two)) }",
    "written with a question mark": "{ ?this ex:p 1 }",
    "not in a text": "{ $this ex:p 1 FILTER('$this' = CONCAT('$', 'this')) }",
    "not in a comment": "{ $this ex:p 1 # and not $this }\n }",
    "not in an IRI": "{ $this ex:p 1 FILTER(STRLEN(STR(<http://e/?this>)) = 14) }",
}  # fmt: skip


@pytest.mark.parametrize("pattern", BOUND.values(), ids=BOUND)
def test_this_has_its_value_everywhere(pattern: str) -> None:
    report = found(
        asking(f"SELECT $this {pattern}"), "ex:a a ex:A ; ex:p 1 . ex:b a ex:A ; ex:p 2 ."
    )
    assert foci(report) == {"a"}


@pytest.mark.parametrize(
    "ending", ["GROUP BY $this HAVING(COUNT(?x) > 1)", "GROUP BY ($this) HAVING(COUNT($this) > 1)"]
)
def test_this_in_the_clauses_after_the_pattern(ending: str) -> None:
    query = f"SELECT $this {{ $this ex:p ?x }} {ending} ORDER BY $this DESC($this) LIMIT 9"
    report = found(asking(query), "ex:a a ex:A ; ex:p 1 , 2 . ex:b a ex:A ; ex:p 2 .")
    assert foci(report) == {"a"}


REFUSED = {
    "SELECT $this { $this ex:p ?x MINUS { $this ex:q ?x } }": "MINUS",
    "SELECT $this { VALUES ?x { 1 } }": "VALUES",
    "SELECT $this { $this ex:p 1 } VALUES ?x { 1 }": "VALUES",
    "SELECT $this { SERVICE <http://x> { ?a ?b ?c } }": "SERVICE",
    "SELECT $this { BIND(1 AS $this) }": "another value",
    "SELECT $this (1 AS ?currentShape) { }": "another value",
    "SELECT $this { { SELECT ?x { ?x ex:p $this } } }": r"subquery that does not project \$this",
    "SELECT $this { { SELECT * { ?x ex:p $this } } }": r"subquery that does not project \$this",
    "SELECT ?x { $this ex:p ?x }": "does not project",
    "ASK { $this ex:p 1 }": "form ASK",
    "CONSTRUCT { $this ex:p 1 } WHERE { }": "form CONSTRUCT",
    "INSERT DATA { ex:a ex:p 1 }": "update",
    "SELECT $this FROM <http://g> { }": "FROM",
    "SELECT $this {\\n  $this ex:p ?x .\\n  FILTER(?x > ) }": "line 3, column 18",
    "SELECT $this { $this ux:p ?x }": "prefix that is not declared",
    "SELECT $this { $this ex:p ?x": "does not parse",
    "SELECT $this { $this $PATH ?x }": "has no sh:path",
    "SELECT $this { FILTER(?a<?b&&$this>?c) }": "two ways",
    "SELECT $this { FILTER(" + "(" * 200 + "1" + ")" * 200 + ") }": "brackets inside",
    "SELECT $this " + "{" * 200 + "}" * 200: "braces inside",
    "SELECT $this { $this ex:p ?x LATERAL { ?x ex:q ?y } }": "no SPARQL",
    "SELECT $this { ?x ex:p" + "/ex:p" * 600 + " ?y }": "the limit is 1000",
    "SELECT $this { } #" + "x" * 60_000: "characters: the limit",
}


@pytest.mark.parametrize(("query", "said"), REFUSED.items(), ids=range(len(REFUSED)))
def test_a_query_that_has_no_meaning_is_refused_by_name(query: str, said: str) -> None:
    with pytest.raises(MalformedShapes, match=said) as caught:
        program(asking(query))
    assert "<http://e/S> has a query, of <http://e/q>, that" in str(caught.value)


@pytest.mark.parametrize(
    "pattern",
    ["{ $this ex:p $PATH }", "{ $PATH ex:p ?x }", "{ ?x ex:p 1 FILTER($PATH = ?x) }"],
)  # fmt: skip
def test_a_path_stands_for_a_predicate_and_nothing_else(pattern: str) -> None:
    with pytest.raises(MalformedShapes, match="PATH elsewhere"):
        program(f"""{EX}ex:S sh:path ex:p ; sh:sparql [ sh:prefixes ex:names ;
            sh:select 'SELECT $this {pattern}' ] .""")


FAULTS = {
    "ex:S sh:targetNode ex:a ; sh:sparql [ sh:message 'x' ] .": "sh:sparql without sh:select",
    "ex:S sh:targetNode ex:a ; sh:sparql [ sh:select 1 , 2 ] .": "not one text",
    "ex:S sh:targetNode ex:a ; sh:sparql [ sh:select 'SELECT $this {}' ; sh:message ex:x ] .":
        "sh:message that is no text",
    "ex:S sh:targetNode ex:a ; sh:sparql [ sh:select 'SELECT $this {}' ; sh:prefixes ex:n ] ."
    "ex:n sh:declare [ sh:prefix 'x' ] .": "not well formed",
    "ex:S sh:targetNode ex:a ; sh:sparql [ sh:select 'SELECT $this {}' ; sh:prefixes ex:n ] ."
    "ex:n sh:declare [ sh:prefix 'x y' ; sh:namespace 'http://x' ] .": "'x y'",
    "ex:S sh:targetNode ex:a ; sh:sparql [ sh:select 'SELECT $this {}' ; sh:prefixes ex:n ] ."
    "ex:n sh:declare [ sh:prefix 'x' ; sh:namespace 'http://x' ] ,"
    " [ sh:prefix 'x' ; sh:namespace 'http://y' ] .": "two things",
    "ex:S sh:targetNode ex:a ; sh:target [ sh:select 'SELECT ?x {}' ] .": "does not project",
    "ex:S a sh:ConstraintComponent ; sh:parameter [ sh:path ex:x ; sh:optional true ] ;"
    " sh:validator [ sh:ask 'ASK {}' ] .": "no parameter that is not sh:optional",
    "ex:S a sh:ConstraintComponent ; sh:parameter [ sh:path ex:this ] ;"
    " sh:validator [ sh:ask 'ASK {}' ] .": "cannot be a variable",
    "ex:S a sh:ConstraintComponent ; sh:parameter [ sh:path <http://e/a.b> ] ;"
    " sh:validator [ sh:ask 'ASK {}' ] .": "cannot be a variable",
    "ex:S a sh:ConstraintComponent ; sh:parameter [ sh:path ex:x ] , [ sh:path <http://f/x> ] ;"
    " sh:validator [ sh:ask 'ASK {}' ] .": "same local name",
    "ex:S a sh:ConstraintComponent ; sh:parameter [ sh:path ex:x ] ; sh:validator ex:v .":
        "neither sh:ask nor sh:select",
    "ex:S a ex:SparqlFunction ; sh:parameter [ sh:path ex:x ] .": "no sh:ConstraintComponent",
}  # fmt: skip


@pytest.mark.parametrize(("shapes", "said"), FAULTS.items(), ids=range(len(FAULTS)))
def test_what_is_around_a_query_is_read_as_strictly(shapes: str, said: str) -> None:
    with pytest.raises(MalformedShapes, match=said) as caught:
        program(shapes)
    assert "<http://e/S> " in str(caught.value)


# --- what a solution says


def test_a_solution_is_a_result() -> None:
    query = """SELECT $this ?value (ex:q AS ?path) ?many
        { $this ex:p ?value . BIND(7 AS ?many) FILTER(?value > 1) }"""
    shapes = asking(query, more="; sh:message '{?value} at {$this} {?many} {?none}'@en")
    (result,) = found(shapes, "ex:a a ex:A ; ex:p 1 , 2 .").results
    assert result.focus == "<http://e/a>"
    assert result.value == '"2"^^<http://www.w3.org/2001/XMLSchema#integer>'
    assert result.path == "<http://e/q>"
    assert result.message == "2 at <http://e/a> 7 {?none}"
    assert result.messages == ('"2 at <http://e/a> 7 {?none}"@en',)
    assert result.component == f"<{Sh.SPARQLConstraintComponent}>"
    assert result.source == "<http://e/q>"


def test_what_a_query_does_not_say_is_taken_from_its_shape() -> None:
    shape = "sh:targetNode ex:a ; sh:severity sh:Warning ; sh:message 'of the shape'"
    (result,) = found(asking("SELECT $this { }", shape), "").results
    assert (result.value, result.path) == ("<http://e/a>", None)
    assert (result.severity, result.message) == ("Warning", "of the shape")
    shapes = (
        "ex:S a sh:PropertyShape ; sh:path ( ex:p [ sh:inversePath ex:q ] ) ; sh:targetNode ex:a ;"
        " sh:sparql [ sh:select 'SELECT $this (\"said\" AS ?message) { $this $PATH ?x }' ] ."
    )
    (result,) = found(shapes, "ex:a ex:p ex:m . ex:c ex:q ex:m .").results
    assert (result.value, result.path) == (None, "<http://e/p>/(^<http://e/q>)")
    assert (result.message, result.messages) == ("said", ('"said"',))


def test_each_query_of_a_shape_has_its_result() -> None:
    shapes = (
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:sparql [ sh:select 'SELECT $this {}' ] ,"
        " [ sh:select 'SELECT $this { $this ?p 1 }' ] ,"
        " [ sh:select 'SELECT $this {}' ; sh:deactivated true ] ."
    )
    world = World(shapes)
    assert len(world.validate("ex:a a ex:A ; ex:p 1 .").results) == 2
    assert len(world.validate("ex:a a ex:A ; ex:p 2 .").results) == 1


def test_a_query_that_says_that_it_failed_is_no_pass() -> None:
    with pytest.raises(QueryStopped, match=r"<http://e/S>.*failed"):
        found(asking("SELECT $this (true AS ?failure) { }"), "ex:a a ex:A .")


def test_prefixes_come_from_what_is_imported_too() -> None:
    shapes = (
        "ex:S sh:targetNode ex:a ; sh:sparql [ sh:prefixes ex:one ;"
        " sh:select 'PREFIX c: <http://e/> SELECT $this { a:a b:p c:b }' ] ."
        "ex:one owl:imports ex:two ; sh:declare [ sh:prefix 'a' ; sh:namespace 'http://e/' ] ."
        "ex:two owl:imports ex:one ; sh:declare [ sh:prefix 'b' ; sh:namespace 'http://e/' ] ."
    )
    assert foci(found(shapes, "ex:a ex:p ex:b .")) == {"a"}


def test_the_shapes_graph_can_be_read() -> None:
    query = "SELECT $this { GRAPH $shapesGraph { $currentShape ex:limit ?n } $this ex:p ?n }"
    shapes = asking(query, "sh:targetClass ex:A ; ex:limit 1")
    data = "ex:a a ex:A ; ex:p 1 . ex:b a ex:A ; ex:p 2 ; ex:limit 2 ."
    assert foci(found(shapes, data)) == {"a"}
    assert foci(World(shapes).validate(data)) == {"a"}


# --- components

BETWEEN = (
    EX + "ex:Between a sh:ConstraintComponent ; sh:labelTemplate 'At most {$most}' ;"
    " sh:parameter [ sh:path ex:most ] , [ sh:path ex:least ; sh:optional true ] ;"
    " sh:validator [ sh:ask 'ASK { FILTER($value <= $most &&"
    " (!bound($least) || $value >= $least)) }' ] ."
)


def test_a_component_is_asked_of_each_value() -> None:
    shapes = BETWEEN + "ex:S sh:targetClass ex:A ; sh:path ex:p ; ex:most 5 ."
    report = found(shapes, "ex:a a ex:A ; ex:p 1 , 5 , 6 , 7 .")
    assert sorted(result.value or "" for result in report.results) == [
        f'"{n}"^^<http://www.w3.org/2001/XMLSchema#integer>' for n in (6, 7)
    ]
    assert {result.component for result in report.results} == {"<http://e/Between>"}
    assert {result.message for result in report.results} == {"At most 5"}
    assert {result.path for result in report.results} == {"<http://e/p>"}
    assert {result.source for result in report.results} == {None}


def test_an_optional_parameter_counts_where_it_is_given() -> None:
    shapes = BETWEEN + "ex:S sh:targetClass ex:A ; sh:path ex:p ; ex:most 5 ; ex:least 3 ."
    assert len(found(shapes, "ex:a a ex:A ; ex:p 1 , 3 , 5 , 6 .").results) == 2
    without = BETWEEN + "ex:S sh:targetClass ex:A ; sh:path ex:p ; ex:least 3 ."
    assert found(without, "ex:a a ex:A ; ex:p 1 .").conforms
    twice = BETWEEN + "ex:S sh:targetClass ex:A ; sh:path ex:p ; ex:most 5 , 6 ."
    with pytest.raises(MalformedShapes, match="more than one value of most"):
        program(twice)


def test_each_value_of_a_single_parameter_is_a_constraint() -> None:
    shapes = (
        "ex:Not a sh:ConstraintComponent ; sh:parameter [ sh:path ex:not ] ; sh:validator ex:v ."
        " ex:v sh:ask 'ASK { FILTER($value != $not) }' ; sh:message 'not {$not}' ."
        " ex:S sh:targetClass ex:A ; sh:path ex:p ; ex:not 1 , 2 ."
    )
    report = found(shapes, "ex:a a ex:A ; ex:p 1 , 2 , 3 .")
    assert sorted(result.message for result in report.results) == ["not 1", "not 2"]


def test_the_validator_fits_the_shape() -> None:
    shapes = (
        EX + "ex:C a sh:ConstraintComponent ; sh:parameter [ sh:path ex:c ] ;"
        " sh:nodeValidator [ sh:message 'node' ; sh:select 'SELECT $this { $this ?p $c }' ] ;"
        " sh:propertyValidator"
        " [ sh:message 'property' ; sh:select 'SELECT $this ?value { $this $PATH ?value }' ] ."
        " ex:S sh:targetClass ex:A ; ex:c 1 . ex:T sh:targetClass ex:A ; sh:path ex:p ; ex:c 1 ."
    )
    report = found(shapes, "ex:a a ex:A ; ex:p 1 .")
    assert sorted(result.message for result in report.results) == ["node", "property"]


def test_a_value_that_cannot_stand_where_it_is_put_is_refused() -> None:
    shapes = (
        "ex:C a sh:ConstraintComponent ; sh:parameter [ sh:path ex:c ] ;"
        " sh:validator [ sh:ask 'ASK { $value $c ?x }' ] . ex:S sh:targetClass ex:A ; ex:c %s ."
    )
    assert not found(shapes % "ex:p", "ex:a a ex:A .").conforms
    assert found(shapes % "ex:p", "ex:a a ex:A ; ex:p 1 .").conforms
    with pytest.raises(MalformedShapes, match="cannot be run with its parameters"):
        program(shapes % "'text'")
    backwards = asking("SELECT $this { ?x $this ?y }", "sh:targetObjectsOf ex:p")
    assert foci(found(backwards, "ex:a ex:p ex:p , ex:q .")) == {"p"}
    with pytest.raises(QueryStopped, match="text"):
        found(backwards, "ex:a ex:p 'text' .")


# --- targets


def test_a_query_selects_the_focus_nodes() -> None:
    shapes = (
        EX + "ex:S a sh:NodeShape ; sh:targetNode ex:z , ex:a ;"
        " sh:target [ a sh:SPARQLTarget ; sh:prefixes ex:names ;"
        " sh:select 'SELECT ?this { ?this ex:p ?x FILTER NOT EXISTS { ?this ex:q ?y } }' ] ;"
        " sh:property [ sh:path ex:r ; sh:minCount 1 ] ."
    )
    data = "ex:a ex:p 1 . ex:b ex:p 1 ; ex:q 1 . ex:c ex:p 1 ; ex:r 1 . ex:z ex:r 1 ."
    report = found(shapes, data)
    assert foci(report) == {"a"}
    assert len(report.results) == 1
    world = World(shapes, data)
    assert foci(world.validator.examine_all().report) == {"a"}
    assert foci(world.validate("ex:d ex:p 1 .")) == {"a", "d"}
    assert foci(world.validate("", "ex:b ex:q 1 .")) == {"a", "b"}
    assert foci(world.validate("", "ex:c ex:r 1 .")) == {"a", "c"}
    assert world.validate("ex:e ex:other 1 .").conforms
    assert not world.validator.examine(world.delta("ex:e ex:other 1 .")).reads.everything


# --- what a query rests on

AROUND = {
    "{ $this ex:p ?x . ?x ex:q ?y }": 2,
    "{ ?y ex:q ?x . $this ex:p ?x }": 2,
    "{ $this ex:p/^ex:q ?x . ?x ex:r+ ?y }": 3,
    "{ $this ex:p ?x OPTIONAL { ?x ex:q ?y OPTIONAL { ?y ex:r ?z } } FILTER(!bound(?z)) }": 3,
    "{ $this ex:p ?x FILTER NOT EXISTS { ?x a ex:B . ?x ex:q/ex:r $this } }": 4,
    "{ { $this ex:p ?x } UNION { ?x ex:q $this } ?x ex:r ?y }": 3,
    "{ $this ex:p ?x { ?x ex:q ?y FILTER NOT EXISTS { ?y ex:r ?z } } }": 3,
    "{ $this ?p ?x . ?x ex:q $this }": 2,
    "{ $this ex:p [ ex:q ?x ; ex:r 1 ] }": 3,
    "{ { SELECT $this (COUNT(?x) AS ?n) { $this ex:p ?x } GROUP BY $this } FILTER(?n > 1) }": 1,
    "{ BIND(EXISTS { $this ex:p ?x } AS ?there) FILTER(?there) }": 1,
    "{ $this a/rdfs:subClassOf* ?x }": 2,
    "{ $this ex:p* ?x . ?x ex:q ?y }": 2,
    "{ FILTER(REGEX(STR($this), 'x')) }": 0,
}
UNBOUND = {
    "{ ?x ex:p ?y }": 1,
    "{ $this ex:p ?x . ?y ex:q ?z FILTER(?x = ?z) }": 2,
    "{ ?x ?p $this }": None,
    "{ $this !ex:p ?x }": None,
    "{ $this ex:p ?x . ?x ex:q* ?y }": None,
    "{ $this ex:p ?x . ?x ex:q* ex:n1 }": 2,
    "{ ex:a ex:p ?x FILTER($this = ?x) }": 1,
    "{ $this ex:p ?x OPTIONAL { ?y ex:q ?z } }": 2,
    "{ OPTIONAL { $this ex:p ?x } ?x ex:q ?y }": 2,
    "{ OPTIONAL { $this ex:p ?x } OPTIONAL { ?x ex:q ?y } }": 2,
    "{ OPTIONAL { $this ex:p ?x } FILTER NOT EXISTS { ?x ex:q ?y } }": 2,
    "{ OPTIONAL { ?x ex:q ?y } $this ex:p ?x }": 2,
    "{ $this ex:p ?x { SELECT $this ?x { ?x ex:q ?y } } }": 2,
    "{ $this ex:p ?x { FILTER NOT EXISTS { ?x ex:q ?y } } }": 2,
    "{ { $this ex:p ?x } UNION { $this ex:p ?z } ?x ex:r ?y }": 2,
    "{ GRAPH ?g { $this ex:p ?x } }": 1,
    "{ GRAPH ?g { } }": None,
    "{ BIND($this AS ?x) ?x ex:p ?y }": 1,
    "{ $this ex:p ( 1 2 ) }": None,
}


@pytest.mark.parametrize(("pattern", "edges"), AROUND.items(), ids=range(len(AROUND)))
def test_what_hangs_together_is_gathered_around_the_focus_node(pattern: str, edges: int) -> None:
    around = read(pattern).around
    assert around is not None
    assert len(around.edges) == edges


@pytest.mark.parametrize(("pattern", "named"), UNBOUND.items(), ids=range(len(UNBOUND)))
def test_what_does_not_hang_together_may_rest_on_anything(pattern: str, named: int | None) -> None:
    query = read(pattern)
    assert query.around is None
    assert (None if query.predicates is None else len(query.predicates)) == named


def read(pattern: str) -> Query:
    prologue = "PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#> "
    (shape,) = program(asking(f"{prologue}SELECT $this {pattern}")).targeted
    (query,) = shape.constraints
    assert isinstance(query, Query)
    return query


def test_the_example_of_the_manual_rests_on_a_neighbourhood() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "validation.md").read_text()
    (example,) = (part.split("```")[0] for part in manual.split("```turtle") if "sh:select" in part)
    names = f"@prefix fo: <{FO}> . @prefix fos: <{FOS}> ."
    compiled = program(names + example)
    (query,) = compiled.targeted[0].constraints
    assert isinstance(query, Query)
    assert query.around is not None
    data = names + "".join(
        f"ex:{name} a fo:Service ; rdfs:label 'web' ; fo:inProject ex:{project} .\n"
        for name, project in (("a", "one"), ("b", "one"), ("c", "two"))
    )
    report = validate_graph(compiled, MemoryView(quads(data)))
    assert sorted(result.message for result in report.results) == [
        f"<http://e/{name}> has the name web too, in the same project." for name in "ab"
    ]


# --- random graphs: the neighbourhood against everything, the change against the whole

NODES = st.integers(0, 4).map(lambda n: f"ex:n{n}")
TRIPLES = st.one_of(
    st.builds("{} a {} .".format, NODES, st.sampled_from(["ex:A", "ex:B"])),
    st.builds("{} {} {} .".format, NODES, st.sampled_from(["ex:p", "ex:q", "ex:r"]), NODES),
    st.builds("{} {} {} .".format, NODES, st.sampled_from(["ex:p", "ex:q"]), st.integers(0, 2)),
)
TURTLE = st.lists(TRIPLES, max_size=14).map("\n".join)
CHANGE = st.lists(TRIPLES, max_size=3).map("\n".join)
PATTERNS = [*AROUND, *(pattern for pattern in UNBOUND if "GRAPH" not in pattern)]


def _shapes(patterns: list[str]) -> str:
    parts = [EX, 'ex:names sh:declare [ sh:prefix "rdfs" ; sh:namespace "', RDFS, '" ] .\n']
    for number, pattern in enumerate(patterns):
        parts.append(
            f"ex:S{number} a sh:NodeShape ; sh:targetClass ex:A ; sh:sparql ex:q{number} ."
            f" ex:q{number} sh:prefixes ex:names ; sh:select '''SELECT $this {pattern}''' .\n"
        )
    # The same at the end of a path, where a shape asks another.
    parts.append(
        "ex:N a sh:NodeShape ; sh:targetClass ex:B ; sh:property ex:P . ex:P sh:path ex:p ;"
        " sh:not ex:S0 ; sh:or ( ex:S3 ex:S4 ) ."
        " ex:S0 sh:name 'x' . ex:O sh:targetObjectsOf ex:r ; sh:path ex:q ; sh:sparql ex:qp ."
        " ex:qp sh:prefixes ex:names ; sh:select '''SELECT $this ?value { $this $PATH ?value ."
        " FILTER NOT EXISTS { ?value ex:p ?x } }''' ."
        " ex:V sh:targetSubjectsOf ex:q ; sh:path ex:p ; ex:sees ex:r . ex:Sees a"
        " sh:ConstraintComponent ; sh:parameter [ sh:path ex:sees ] ; sh:validator"
        " [ sh:ask 'ASK { $value $sees ?x }' ] ."
    )
    return "".join(parts)


RDFS = "http://www.w3.org/2000/01/rdf-schema#"
COMPILED = program(_shapes(PATTERNS))
WHOLE = program(_shapes(PATTERNS))


def _unbound(compiled: Program) -> None:
    waiting = list(compiled.targeted)
    for shape in waiting:
        for number, constraint in enumerate(shape.constraints):
            if isinstance(constraint, Query):
                shape.constraints[number] = replace(constraint, around=None)
            if isinstance(constraint, Combined):
                waiting += constraint.shapes
            elif isinstance(constraint, Nested):
                waiting.append(constraint.shape)


_unbound(WHOLE)


def keys(report: Report) -> set[tuple[str | None, ...]]:
    return {result.key() for result in report.results}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(TURTLE, TURTLE, CHANGE, CHANGE)
def test_a_change_is_seen_wherever_a_query_rests_on_it(
    data: str, elsewhere: str, add: str, remove: str
) -> None:
    world = World("", data)
    world.store.apply(Delta(quads(elsewhere, OTHER)), Delta(), 1)
    world.validator._held = _Version(COMPILED, {})
    delta = world.delta(add, remove)
    after = keys(validate_graph(WHOLE, Overlay(world.store, delta)))
    assert keys(validate_graph(COMPILED, Overlay(world.store, delta))) == after
    if delta:
        before = keys(validate_graph(WHOLE, Overlay(world.store, Delta())))
        found = keys(world.validator.validate(delta))
        assert found <= after
        assert after - before <= found


def test_what_was_read_is_known() -> None:
    world = World(asking("SELECT $this { $this ex:p ?x . ?x ex:q ?y }"), "ex:b ex:q 1 .")
    mine = world.delta("ex:a a ex:A ; ex:p ex:b .")
    reads = world.validator.examine(mine).reads
    assert reads.meet(world.delta("", "ex:b ex:q 1 ."))
    assert not reads.meet(world.delta("ex:c ex:q 1 ."))
    world = World(asking("SELECT $this { ?x ex:q ?y }"))
    assert world.validator.examine(mine).reads.everything
    assert not world.validator.examine(world.delta("ex:a ex:p 1 .")).reads.everything


# --- on a copy of the graph

MERGED = "SELECT $this (COUNT(*) AS ?n) { ?x ex:p ?y } GROUP BY $this HAVING(COUNT(*) != 1)"


def test_a_copy_of_the_graph_is_the_asserted_graph(tmp_path: Path) -> None:
    """A triple that two graphs state is one; what the system wrote is none; restricted ones are."""
    world = World(asking(MERGED), "ex:a ex:p 1 .", tmp_path / "graph")
    restricted = OTHER.value
    world.store.apply(Delta(quads("ex:a ex:p 1 .", OTHER)), Delta(), 1, [restricted])
    system = NamedNode(IDS.graph("proofs"))
    world.store.apply(Delta(), Delta(quads("ex:s ex:p 2 .", system)), 2, [restricted])
    inferred = NamedNode(IDS.graph("inferred"))
    world.store.write_inferred(Delta(quads("ex:i ex:p 2 .", inferred)), [restricted])
    assert world.validate("ex:b a ex:A .").conforms
    assert foci(world.validate("ex:b a ex:A ; ex:p 1 .")) == {"b"}
    assert world.validate("ex:b a ex:A ; ex:p 1 .", "ex:a ex:p 1 .").results
    both = Delta(
        quads("ex:b a ex:A ; ex:p 1 ."), quads("ex:a ex:p 1 .") | quads("ex:a ex:p 1 .", OTHER)
    )
    assert world.validator.validate(both).conforms
    assert [path.name for path in tmp_path.iterdir()] == ["graph"]


def test_a_query_that_counts_nothing_needs_no_merge(tmp_path: Path) -> None:
    query = "SELECT $this ?value { ?value ex:p ?y FILTER NOT EXISTS { ?y ex:q ?z } }"
    world = World(asking(query), "ex:a ex:p ex:b .", tmp_path / "graph")
    world.store.apply(Delta(quads("ex:a ex:p ex:b .", OTHER)), Delta(), 1)
    world.store.apply(Delta(quads("ex:x a ex:A .", OTHER)), Delta(), 2)
    everything = world.validator.examine_all().report
    assert [result.value for result in everything.results] == ["<http://e/a>"]
    assert len(world.validate("ex:c ex:p 1 .").results) == 2
    assert world.validate("ex:b ex:q 1 .").conforms
    assert not world.validate("ex:b ex:other 1 .").results


@pytest.mark.live
def test_several_processes_ask_queries_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_store, "ALONE", 0)
    monkeypatch.setattr(whole_store, "PROCESSES", 2)
    (tmp_path / "scratch").mkdir()
    shapes = asking("SELECT $this { ?x ex:p ?y . $this ex:q ?y }")
    world = World(shapes, "", tmp_path / "graph")
    data = "".join(f"ex:n{n} a ex:A ; ex:q {n} .\n" for n in range(1200))
    world.store.apply(Delta(quads(data + "ex:x ex:p 7 , 1100 .")), Delta(), 1)
    validator = Validator(world.store, tmp_path / "scratch")
    assert foci(validator.examine_all().report) == {"n7", "n1100"}
    assert not list((tmp_path / "scratch").iterdir())
    new, old = quads(asking(HOSTILE), SHAPES), quads(shapes, SHAPES)
    hostile = Delta(new - old, old - new)
    slow = Validator(world.store, tmp_path / "scratch", Limits(0.5))
    with pytest.raises(QueryStopped, match="<http://e/S>"):
        slow.validate(hostile)


# --- bad queries

HOSTILE = (
    "SELECT $this { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i . ?j ?k ?l . ?m ?n ?o . ?p ?q ?r"
    " FILTER(CONCAT(STR(?c), STR(?f), STR(?i), STR(?l), STR(?o), STR(?r)) = 'no') }"
)
GREEDY = "SELECT $this { ?a ?b ?c . ?d ?e ?f . ?g ?h ?i . ?j ?k ?l } ORDER BY ?a ?d ?g ?j"
CROWD = "".join(f"ex:n{n} ex:p {n} .\n" for n in range(200))


def test_a_query_without_end_is_ended_and_others_go_on() -> None:
    shapes = asking(HOSTILE, "sh:targetNode ex:a") + (
        " ex:T a sh:NodeShape ; sh:targetSubjectsOf ex:t ;"
        " sh:sparql [ sh:select 'SELECT $this { $this ?p 1 }' ] ."
    )
    world = World(shapes, CROWD)
    validator = Validator(world.store, None, Limits(0.5))
    with pytest.raises(QueryStopped, match=r"<http://e/q> of <http://e/S>.*0\.5 s"):
        validator.validate(world.delta("ex:a ex:p 1 ."))
    mended = quads(asking("").replace('sh:select """"""', "sh:deactivated true"), SHAPES)
    assert mended
    world.store.apply(Delta(frozenset(), quads("ex:S sh:sparql ex:q .", SHAPES)), Delta(), 1)
    validator.forget()
    assert foci(validator.validate(world.delta("ex:b ex:t 1 ."))) == {"b"}


def test_around_a_focus_node_too() -> None:
    crowd = "ex:a " + " ; ".join(f"ex:p {n}" for n in range(200)) + " ."
    query = "SELECT $this { $this ex:p ?a , ?b , ?c , ?d , ?e FILTER(?a + ?b + ?c + ?d + ?e < 0) }"
    world = World(asking(query), crowd)
    with pytest.raises(QueryStopped, match=r"0\.5 s"):
        Validator(world.store, None, Limits(0.5)).validate(world.delta("ex:a a ex:A ."))


def test_all_queries_together_have_a_limit_too() -> None:
    world = World(asking("SELECT $this { }"))
    with pytest.raises(QueryStopped, match="together"):
        Validator(world.store, None, Limits(1.0, 0.0)).validate(world.delta("ex:a a ex:A ."))


def test_a_query_that_wants_all_memory_is_ended() -> None:
    runner = Runner(memory=400 * 1024**2)
    view = MemoryView(quads(CROWD))
    (shape,) = program(asking(GREEDY, "sh:targetNode ex:a")).targeted
    try:
        with (
            Queries(view, None, Limits(60.0), runner) as queries,
            pytest.raises(QueryStopped, match="GiB of memory"),
        ):
            list(Run(view, queries=queries).find(shape, NamedNode("http://e/a")))
    finally:
        runner.close()


def test_solutions_without_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparql_process, "MOST_ROWS", 1000)
    branch = "{ BIND(1 AS ?x%d) } UNION { BIND(2 AS ?x%d) }"
    cross = " ".join("{ " + branch % (n, n) + " }" for n in range(60))
    empty = sparql_process.Triples(b"")
    call = sparql_process.Call(empty, ("SELECT ?this { " + cross + " }",), ("this",))
    with pytest.raises(ValueError, match="more than 1000 solutions"):
        sparql_process.answer(call)


def test_reading_a_query_runs_nothing_of_it() -> None:
    branch = "{ BIND(1 AS ?x%d) } UNION { BIND(2 AS ?x%d) }"
    cross = " ".join("{ " + branch % (n, n) + " }" for n in range(40))
    compiled = program(asking(f"SELECT $this (COUNT(*) AS ?n) {{ {cross} }} GROUP BY $this"))
    assert compiled.count == 1


LONG = {
    "a sum": "{ FILTER(1" + "+1" * 450 + " > 0) }",
    "alternatives of a filter": "{ FILTER(?x" + "||1" * 450 + ") }",
    "branches": "{ {}" + "UNION{}" * 300 + " }",
    "a path": "{ ?s ex:p" + "/ex:p" * 450 + " ?o }",
    "nodes in nodes": "{ ?s ex:p " + "[ex:p " * 300 + "1" + "]" * 300 + " }",
    "patterns": "{ " + "".join(f"?a{n} ex:p ?a{n + 1} . " for n in range(230)) + " }",
    "groups": "{ " + "{?s ex:p ?o FILTER(?s)} " * 90 + " }",
}


@pytest.mark.parametrize("pattern", LONG.values(), ids=LONG)
def test_a_long_query_is_read_and_not_planned(pattern: str) -> None:
    """The engine's planner takes minutes for some of these, or all of the stack."""
    assert program(asking(f"SELECT $this {pattern}")).count == 1


def test_thousands_of_queries_are_read_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: LastingPool) -> None:
        raise AssertionError("a process was asked for")

    monkeypatch.setattr(LastingPool, "_alive", refuse)
    shapes = "".join(
        f"ex:S{n} a sh:NodeShape ; sh:targetClass ex:A ; sh:sparql [ sh:select"
        f" 'SELECT $this {{ $this <http://e/p{n}> ?x FILTER(?x > {n}) }}' ] .\n"
        for n in range(1500)
    )
    assert len(program(shapes).targeted) == 1500
