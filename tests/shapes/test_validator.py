"""The neighbourhood of a change is enough: it says what the whole graph says of the same nodes.

A property test holds the validator against pySHACL over everything, with shapes that look in every
way it calls local; the rest are the ways a change can reach a node it does not name.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyoxigraph import Literal, NamedNode, Quad, RdfFormat, parse, serialize

from ontology.ids import Ids
from ontology.store import GraphStore
from ontology.terms import Delta, canonical_quad, graph_of, in_named_graph, skolemise
from shapes.compile import compile_shapes
from shapes.errors import MalformedShapes
from shapes.overlay import Overlay, ntriples
from shapes.reference import ReferenceShapes, python_pattern
from shapes.report import Report
from shapes.validator import Validator, _Version

IDS = Ids()
SHAPES = NamedNode(IDS.graph("shapes"))
DATA = NamedNode(IDS.lineage_graph("shop"))
OTHER = NamedNode(IDS.lineage_graph("billing"))
INTEGER = NamedNode("http://www.w3.org/2001/XMLSchema#integer")
PREFIXES = """
@prefix ex: <http://e/> .
@prefix sh: <http://www.w3.org/ns/shacl#> .
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
"""


def quads(turtle: str, graph: NamedNode = DATA) -> frozenset[Quad]:
    found = parse((PREFIXES + turtle).encode(), format=RdfFormat.TURTLE)
    placed = {canonical_quad(in_named_graph(quad, graph)) for quad in found}
    return skolemise(placed, IDS.base, salt=graph.value)


class World:
    """A store with shapes and data, and its validator."""

    def __init__(self, shapes: str, data: str = "") -> None:
        self.store = GraphStore(None, IDS)
        self.shapes = quads(shapes, SHAPES)
        self.store.apply(Delta(self.shapes | quads(data)), Delta(), 0)
        self.validator = Validator(self.store)

    def delta(self, add: str = "", remove: str = "", graph: NamedNode = DATA) -> Delta:
        return self.store.effective(Delta(quads(add, graph), quads(remove, graph)))

    def validate(self, add: str = "", remove: str = "", graph: NamedNode = DATA) -> Report:
        return self.validator.validate(self.delta(add, remove, graph))

    def whole(self, delta: Delta) -> Report:
        """What pySHACL says of the whole post-state."""
        everything = Overlay(self.store, delta).everything()
        return ReferenceShapes(ntriples(self.shapes)).run(ntriples(everything))


def foci(report: Report) -> set[str]:
    return {result.focus.removeprefix("<http://e/").rstrip(">") for result in report.results}


# --- the neighbourhood against the whole

LOCAL_SHAPES = """
ex:A-shape a sh:NodeShape ; sh:targetClass ex:A ;
    sh:property ex:A-p , ex:A-back , ex:A-back-typed , ex:A-either ; sh:not ex:is-C .
ex:A-p a sh:PropertyShape ; sh:path ex:p ; sh:maxCount 2 ; sh:class ex:B .
ex:A-back a sh:PropertyShape ; sh:path [ sh:inversePath ex:q ] ; sh:maxCount 1 .
ex:A-back-typed a sh:PropertyShape ; sh:path [ sh:inversePath ex:r ] ; sh:class ex:B .
ex:A-either a sh:PropertyShape ; sh:path ex:r ; sh:or ( ex:is-A ex:is-B ) .
ex:is-A a sh:NodeShape ; sh:class ex:A .
ex:is-B a sh:NodeShape ; sh:class ex:B .
ex:is-C a sh:NodeShape ; sh:class ex:C .
ex:subjects a sh:NodeShape ; sh:targetSubjectsOf ex:q ; sh:class ex:A .
ex:objects a sh:NodeShape ; sh:targetObjectsOf ex:p ;
    sh:xone ( ex:is-A ex:is-B ) ; sh:property ex:needs-label .
ex:needs-label a sh:PropertyShape ; sh:path rdfs:label ; sh:minCount 1 ; sh:severity sh:Warning .
ex:literals a sh:NodeShape ; sh:targetObjectsOf ex:size ; sh:datatype xsd:integer .
ex:node a sh:NodeShape ; sh:targetNode ex:n1 ; sh:property ex:one-label .
ex:one-label a sh:PropertyShape ; sh:path rdfs:label ; sh:maxCount 1 .
ex:qualified a sh:NodeShape ; sh:targetClass ex:C ; sh:property ex:some-B .
ex:some-B a sh:PropertyShape ; sh:path ex:q ; sh:qualifiedValueShape ex:is-B ;
    sh:qualifiedMinCount 1 .
"""
HIERARCHY = "ex:Sub rdfs:subClassOf ex:B . ex:Deep rdfs:subClassOf ex:Sub ."

NODES = st.integers(0, 4).map(lambda n: f"ex:n{n}")
VALUES = st.one_of(NODES, st.sampled_from(["1", "'x'"]))
TRIPLES = st.one_of(
    st.builds("{} a {} .".format, NODES, st.sampled_from(["ex:A", "ex:B", "ex:C", "ex:Deep"])),
    st.builds("{} {} {} .".format, NODES, st.sampled_from(["ex:p", "ex:q", "ex:r"]), NODES),
    st.builds("{} rdfs:label {} .".format, NODES, st.sampled_from(["'x'", "'y'"])),
    st.builds("{} ex:size {} .".format, NODES, st.sampled_from(["1", "'x'"])),
)
TURTLE = st.lists(TRIPLES, max_size=14).map("\n".join)
CHANGE = st.lists(TRIPLES, max_size=4).map("\n".join)

REFERENCE = ReferenceShapes(ntriples(quads(LOCAL_SHAPES, SHAPES)))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(TURTLE, TURTLE, CHANGE, CHANGE)
def test_the_neighbourhood_says_what_the_whole_graph_says(
    data: str, elsewhere: str, add: str, remove: str
) -> None:
    world = World("", HIERARCHY + data)
    world.store.apply(Delta(quads(elsewhere, OTHER)), Delta(), 1)
    delta = world.delta(add, remove)
    if not delta:
        return
    validator = _validator_with(world.store)
    before = _run(world.store, Delta())
    after = _run(world.store, delta)
    found = keys(validator.validate(delta))
    # It says nothing that is not so, and misses nothing that the change brought about.
    assert found <= after
    assert after - before <= found


def _validator_with(store: GraphStore) -> Validator:
    validator = Validator(store)
    validator._held = _Version(compile_shapes(quads(LOCAL_SHAPES, SHAPES)), {})
    return validator


def _run(store: GraphStore, delta: Delta) -> set[tuple[str | None, ...]]:
    return keys(REFERENCE.run(ntriples(Overlay(store, delta).everything())))


def keys(report: Report) -> set[tuple[str | None, ...]]:
    return {result.key() for result in report.results}


# --- ways to reach a node that the change does not name

REACHES = {
    "the class of a value goes": (
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P ."
        "ex:P sh:path ex:p ; sh:class ex:B .",
        "ex:a a ex:A ; ex:p ex:b . ex:b a ex:B .",
        ("", "ex:b a ex:B ."),
    ),
    "the class of a value goes, asked for in an alternative": (
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P ."
        "ex:P sh:path ex:p ; sh:or ( ex:T1 ex:T2 ) ."
        "ex:T1 a sh:NodeShape ; sh:class ex:B . ex:T2 a sh:NodeShape ; sh:class ex:C .",
        "ex:a a ex:A ; ex:p ex:b . ex:b a ex:B .",
        ("", "ex:b a ex:B ."),
    ),
    "a value becomes what it must not be": (
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P ."
        "ex:P sh:path ex:p ; sh:not ex:T . ex:T a sh:NodeShape ; sh:class ex:C .",
        "ex:a a ex:A ; ex:p ex:b .",
        ("ex:b a ex:C .", ""),
    ),
    "the class of a value goes, asked for by sh:node": (
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P ."
        "ex:P sh:path ex:p ; sh:node ex:T . ex:T a sh:NodeShape ; sh:class ex:B .",
        "ex:a a ex:A ; ex:p ex:b . ex:b a ex:B .",
        ("", "ex:b a ex:B ."),
    ),
    "the last value of a kind goes": (
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P ."
        "ex:P sh:path ex:p ; sh:qualifiedValueShape ex:T ; sh:qualifiedMinCount 1 ."
        "ex:T a sh:NodeShape ; sh:class ex:B .",
        "ex:a a ex:A ; ex:p ex:b , ex:c . ex:b a ex:B .",
        ("", "ex:b a ex:B ."),
    ),
    "a node that refers to it is no longer of its kind": (
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P ."
        "ex:P sh:path [ sh:inversePath ex:p ] ; sh:class ex:B .",
        "ex:a a ex:A . ex:b a ex:B ; ex:p ex:a .",
        ("", "ex:b a ex:B ."),
    ),
    "a shape of its own, by way of another": (
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:node ex:T ."
        "ex:T a sh:NodeShape ; sh:property ex:P . ex:P sh:path ex:p ; sh:class ex:B .",
        "ex:a a ex:A ; ex:p ex:b . ex:b a ex:B .",
        ("", "ex:b a ex:B ."),
    ),
}


@pytest.mark.parametrize(("shapes", "data", "change"), REACHES.values(), ids=REACHES)
def test_a_type_that_changes_is_felt_where_it_counts(
    shapes: str, data: str, change: tuple[str, str]
) -> None:
    world = World(shapes, data)
    assert world.whole(Delta()).conforms
    assert foci(world.validate(*change)) == {"a"}


@pytest.mark.parametrize("kind", ["ex:Sub", "ex:Deep"])
def test_an_instance_of_a_subclass_is_an_instance(kind: str) -> None:
    world = World(
        "ex:S a sh:NodeShape ; sh:targetClass ex:B ; sh:property ex:P . ex:P sh:path ex:p ;"
        " sh:class ex:B ; sh:minCount 1 .",
        HIERARCHY,
    )
    assert foci(world.validate(f"ex:a a {kind} .")) == {"a"}
    assert world.validate(f"ex:a a {kind} ; ex:p ex:a .").conforms
    assert foci(world.validate(f"ex:a a {kind} ; ex:p ex:b . ex:b ex:q 1 .")) == {"a"}


def test_the_class_hierarchy_itself_changes() -> None:
    world = World(
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P . ex:P sh:path ex:p ;"
        " sh:class ex:B .",
        HIERARCHY + "ex:a a ex:A ; ex:p ex:b . ex:b a ex:Deep .",
    )
    assert foci(world.validate("", "ex:Sub rdfs:subClassOf ex:B .")) == {"a"}
    # A class above a target makes targets of what is there.
    world = World(
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:nodeKind sh:Literal .", "ex:b a ex:B ."
    )
    assert foci(world.validate("ex:B rdfs:subClassOf ex:A .")) == {"b"}


def test_counting_backwards() -> None:
    world = World(
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P ."
        "ex:P sh:path [ sh:inversePath ex:p ] ; sh:maxCount 1 ; sh:minCount 1 .",
        "ex:a a ex:A . ex:b ex:p ex:a .",
    )
    assert foci(world.validate("ex:c ex:p ex:a .")) == {"a"}
    assert foci(world.validate("", "ex:b ex:p ex:a .")) == {"a"}
    assert world.validate("ex:c ex:p ex:a .", "ex:b ex:p ex:a .").conforms


def test_literals_are_focus_nodes_too() -> None:
    world = World("ex:S a sh:NodeShape ; sh:targetObjectsOf ex:size ; sh:datatype xsd:integer .")
    report = world.validate("ex:a ex:size 'big' , 5 .")
    assert [result.focus for result in report.results] == ['"big"']


def test_a_triple_stated_elsewhere_too_is_still_there() -> None:
    world = World(
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P . ex:P sh:path ex:p ;"
        " sh:minCount 1 .",
        "ex:a a ex:A ; ex:p 1 .",
    )
    world.store.apply(Delta(quads("ex:a ex:p 1 .", OTHER)), Delta(), 1)
    assert world.validate("", "ex:a ex:p 1 .").conforms
    assert foci(world.validate("", "ex:a ex:p 1 .", OTHER)) == set()


def test_what_the_change_does_not_touch_is_not_looked_at() -> None:
    world = World(
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P . ex:P sh:path ex:p ;"
        " sh:minCount 1 .",
        "ex:broken a ex:A .",
    )
    assert world.validate("ex:fine a ex:A ; ex:p 1 .").conforms
    # Not even the same node, where the change cannot turn what is asked of it.
    assert world.validate("ex:broken ex:q 1 .").conforms
    assert foci(world.validate("ex:broken a ex:B .", "ex:broken a ex:A .")) == set()
    assert foci(world.validate("ex:other ex:p 1 ; a ex:A . ex:third a ex:A .")) == {"third"}


@pytest.mark.parametrize(
    "path",
    [
        "( ex:p ex:q )",
        "[ sh:alternativePath ( ex:p ex:q ) ]",
        "[ sh:zeroOrMorePath ex:p ]",
        "[ sh:oneOrMorePath ex:p ]",
        "[ sh:zeroOrOnePath ex:p ]",
        "[ sh:inversePath [ sh:zeroOrMorePath ex:p ] ]",
    ],
)
def test_longer_paths_are_walked_back(path: str) -> None:
    world = World(
        f"ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P . ex:P sh:path {path} ;"
        " sh:nodeKind sh:IRI .",
        "ex:a a ex:A ; ex:p ex:b . ex:b ex:p ex:a .",
    )
    delta = world.delta("ex:b ex:q 'text' ; ex:p 'text' .")
    report = world.validator.validate(delta)
    assert keys(report) == keys(world.whole(delta))
    near = any(kind in path for kind in ("inversePath", "alternativePath", "zeroOrOnePath"))
    assert report.conforms is near


@pytest.mark.parametrize(
    "inner",
    [
        "sh:property ex:Q . ex:Q sh:path ex:q ; sh:minCount 1 .",
        "sh:node ex:T . ex:T sh:property ex:Q . ex:Q sh:path ex:q ; sh:minCount 1 .",
        "sh:or ( ex:Q ) . ex:Q sh:path ex:q ; sh:minCount 1 .",
        "sh:not ex:Q . ex:Q sh:path ex:q ; sh:maxCount 0 .",
        "sh:qualifiedValueShape ex:Q ; sh:qualifiedMinCount 1 ."
        " ex:Q sh:path ex:q ; sh:minCount 1 .",
        "sh:node ex:T . ex:T sh:closed true ; sh:property ex:Q ."
        " ex:Q sh:path ex:q ; sh:minCount 1 .",
    ],
)
def test_shapes_that_look_two_steps_away(inner: str) -> None:
    world = World(
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P ."
        f" ex:P sh:path ex:p ; {inner}",
        "ex:a a ex:A ; ex:p ex:b . ex:b ex:q 1 .",
    )
    assert world.whole(Delta()).conforms
    # A property inside a property is asked of the value, and it is the value that is reported.
    reported = {"b"} if inner.startswith("sh:property") else {"a"}
    assert foci(world.validate("", "ex:b ex:q 1 .")) == reported


# --- the shapes change


def test_new_shapes_are_held_against_the_whole_graph() -> None:
    world = World("", "ex:a a ex:A . ex:b a ex:A ; ex:p 1 .")
    shape = (
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property [ sh:path ex:p ; sh:minCount 1 ] ."
    )
    delta = Delta(quads(shape, SHAPES))
    assert foci(world.validator.validate(delta)) == {"a"}
    # Beside a change that mends what they find, they pass.
    assert world.validator.validate(Delta(delta.additions | quads("ex:a ex:p 1 ."))).conforms
    # And until they are in the store, and the validator was told, the old ones hold.
    assert world.validate("ex:c a ex:A .").conforms
    world.store.apply(Delta(delta.additions | quads("ex:a ex:p 1 .")), Delta(), 1)
    assert world.validate("ex:c a ex:A .").conforms
    world.validator.forget()
    assert foci(world.validate("ex:c a ex:A .")) == {"c"}
    assert world.validator.validate(delta.inverse()).conforms


@pytest.mark.parametrize("kind", ["rdfs:Class", "<http://www.w3.org/2002/07/owl#Class>"])
def test_a_shape_that_is_a_class_targets_its_instances(kind: str) -> None:
    world = World(
        f"ex:A a sh:NodeShape , {kind} , rdfs:Class ;"
        " sh:property [ sh:path ex:p ; sh:minCount 1 ] ."
    )
    assert foci(world.validate("ex:a a ex:A .")) == {"a"}


REFUSED = {
    "ex:S a sh:NodeShape ; sh:sparql [ sh:select 'SELECT ?x { }' ] .": "does not project",
    "ex:S a sh:NodeShape ; sh:target [ a ex:Target ] .": "without sh:select",
    "ex:S a sh:NodeShape ; sh:js [ sh:jsFunctionName 'f' ] .": "JavaScript",
    "ex:S a sh:NodeShape ; sh:rule [ a sh:TripleRule ] .": "SHACL rules",
    "ex:S a sh:NodeShape ; sh:expression [ sh:path ex:p ] .": "expression",
    "ex:S sh:entailment <http://www.w3.org/ns/entailment/RDFS> .": "entailment",
    "ex:S a sh:ConstraintComponent ; sh:parameter [ sh:path ex:x ] .": "has no validator",
    "ex:S sh:path ex:p ; sh:datatype xsd:int .": "no value can have here.*XMLSchema#integer",
    "ex:S sh:path ex:p ; sh:datatype xsd:unsignedByte .": "no value can have here",
    "ex:S sh:path ex:p ; sh:datatype xsd:dateTimeStamp .": "XMLSchema#dateTime>",
    "ex:S sh:path ex:p ; sh:pattern '(' .": "no regular expression",
    "ex:S sh:path ex:p ; sh:pattern 'a' ; sh:flags 'z' .": "are taken",
    "ex:S a sh:NodeShape ; sh:node ex:S .": "refer to themselves",
    "ex:S a sh:PropertyShape ; sh:path ex:p ; sh:minCont 1 .": "mean sh:minCount",
    "ex:S a sh:NodeShape ; sh:not ex:T . ex:T a sh:NodeShape ; sh:node ex:S .": "<http://e/S> -> ",
    "ex:S a sh:NodeShape ; sh:or ( ex:T ) . ex:T sh:path ex:p ; sh:node ex:S .": "themselves",
    "ex:S a sh:PropertyShape ; sh:path ex:p ; sh:minCount 'one' .": "not well formed.*minCount",
    "ex:S a sh:PropertyShape ; sh:path 'text' ; sh:minCount 1 .": "not well formed",
    "ex:S a sh:PropertyShape ; sh:minCount 1 .": "not well formed",
    "ex:S a sh:NodeShape ; sh:in ex:no-list .": "not well formed",
    "ex:S a sh:NodeShape ; sh:nodeKind sh:Thing .": "not well formed",
    "ex:S a sh:NodeShape ; sh:or ex:l . ex:l rdf:first ex:T ; rdf:rest ex:l .": "not well formed",
}


@pytest.mark.parametrize(("shapes", "said"), REFUSED.items(), ids=range(len(REFUSED)))
def test_shapes_that_cannot_be_run_are_refused_by_name(shapes: str, said: str) -> None:
    world = World("", "ex:o ex:p 'x' .")
    with pytest.raises(MalformedShapes, match=said) as caught:
        world.validator.validate(Delta(quads(shapes, SHAPES)))
    assert "http://e/S" in str(caught.value) or "not well formed" in said


def test_shapes_nested_too_deep_are_refused() -> None:
    chain = "".join(f"ex:S{n} a sh:NodeShape ; sh:node ex:S{n + 1} .\n" for n in range(60))
    with pytest.raises(MalformedShapes, match="deep"):
        World("").validator.validate(Delta(quads(chain, SHAPES)))


def test_a_malformed_shape_is_found_through_what_leads_to_it() -> None:
    """The change is in a list, the shape that it spoils is another node."""
    world = World("ex:S a sh:NodeShape ; sh:in ex:l . ex:l rdf:first 1 ; rdf:rest rdf:nil .")
    gone = quads("ex:l rdf:rest rdf:nil .", SHAPES)
    with pytest.raises(MalformedShapes, match="http://e/S"):
        world.validator.validate(Delta(frozenset(), gone))


@pytest.mark.parametrize(
    ("pattern", "python"),
    [
        ("^[a-z]+$", r"^[a-z]+\Z"),
        (r"^a\$b", r"^a\$b"),
        ("[$]", "[$]"),
        ("a$|b$", r"a\Z|b\Z"),
        (r"\\$", r"\\\Z"),
        (r"[\]$]", r"[\]$]"),
    ],
)
def test_a_pattern_ends_where_the_value_ends(pattern: str, python: str) -> None:
    assert python_pattern(pattern) == python


def test_a_newline_at_the_end_does_not_pass_a_pattern() -> None:
    world = World(
        "ex:S a sh:NodeShape ; sh:targetSubjectsOf ex:slug ; sh:property ex:P ."
        "ex:P sh:path ex:slug ; sh:pattern '^[a-z]+$' ."
    )
    assert world.validate("ex:a ex:slug 'shop' .").conforms
    assert not world.validate("ex:a ex:slug 'shop\\n' .").conforms


# --- what a validation rests on


def meet(world: World, mine: Delta, theirs: Delta) -> bool:
    return world.validator.examine(mine).reads.meet(theirs)


def test_changes_of_two_values_of_one_node_meet() -> None:
    shapes = (
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P ."
        "ex:P sh:path ex:p ; sh:qualifiedValueShape ex:T ; sh:qualifiedMinCount 1 ."
        "ex:T a sh:NodeShape ; sh:class ex:B ."
    )
    world = World(shapes, "ex:a a ex:A ; ex:p ex:b , ex:c . ex:b a ex:B . ex:c a ex:B .")
    one, other = world.delta("", "ex:b a ex:B ."), world.delta("", "ex:c a ex:B .")
    assert world.validator.validate(one).conforms
    assert world.validator.validate(other).conforms
    assert not world.validator.validate(Delta(frozenset(), one.removals | other.removals)).conforms
    assert meet(world, one, other)


def test_changes_that_count_backwards_at_one_node_meet() -> None:
    world = World(
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P ."
        "ex:P sh:path [ sh:inversePath ex:p ] ; sh:maxCount 1 .",
        "ex:a a ex:A .",
    )
    one, other = world.delta("ex:b ex:p ex:a ."), world.delta("ex:c ex:p ex:a .")
    assert meet(world, one, other)
    assert not meet(world, world.delta("ex:b ex:q ex:a ."), world.delta("ex:c ex:q ex:a ."))


def test_two_of_a_kind_do_not_meet() -> None:
    world = World("ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:nodeKind sh:IRI .")
    shared = "a ex:A ; ex:in ex:project ."
    one = world.delta(f"ex:a {shared}")
    assert not meet(world, one, world.delta(f"ex:b {shared}"))
    assert not meet(world, one, world.delta("ex:project ex:q 1 ."))
    assert meet(world, one, world.delta("ex:a a ex:B ."))


def test_a_change_of_classes_meets_what_rests_on_them() -> None:
    world = World("ex:S a sh:NodeShape ; sh:targetClass ex:B ; sh:nodeKind sh:IRI .", HIERARCHY)
    one = world.delta("ex:a a ex:Deep .")
    # The second time, the hierarchy is known already.
    assert meet(world, one, world.delta("", "ex:Sub rdfs:subClassOf ex:B ."))
    assert meet(world, one, world.delta("", "ex:Sub rdfs:subClassOf ex:B ."))
    assert not meet(world, one, world.delta("ex:X rdfs:subClassOf ex:Y ."))


def test_a_shape_that_is_new_meets_everything() -> None:
    world = World("")
    shapes = Delta(quads("ex:S a sh:NodeShape ; sh:targetNode ex:n .", SHAPES))
    assert meet(world, shapes, world.delta("ex:a ex:p 1 ."))


# --- reports


def graph(report: Report) -> bytes:
    data = serialize(report.triples(), format=RdfFormat.N_TRIPLES)
    assert data is not None
    return data


def test_a_report_is_a_graph_whatever_its_values_are() -> None:
    world = World(
        "ex:S a sh:NodeShape ; sh:targetSubjectsOf ex:p ;"
        " sh:property [ sh:path ex:p ; sh:maxLength 1 ; sh:message 'short, please' ] ."
    )
    values = [
        '"two\\nlines"',
        '"say \\"x\\""',
        '"tag"@en',
        "555",
        "1.5e3",
        "true",
        "ex:long",
        r'"\\\\u"',
    ]
    report = world.validate(f"ex:a ex:p {', '.join(values)} .")
    assert len(report.results) == len(values)
    assert not report.conforms
    data = graph(report)
    found = list(parse(data, format=RdfFormat.N_TRIPLES))
    stated = {q.object for q in found if q.predicate.value.endswith("#value")}
    asked = {q.object for q in quads(f"ex:a ex:p {', '.join(values)} .")}
    assert stated == asked
    assert Report.from_dict(report.to_dict()) == report
    assert report.summary().startswith(f"{len(values)} results; the first: <http://e/a> short")


def test_values_are_compared_in_the_graphs_own_form_by_many_at_once() -> None:
    """pySHACL switches rdflib's rewriting of literals on and off for the whole process."""
    world = World(
        "ex:S a sh:NodeShape ; sh:targetSubjectsOf ex:p ; sh:property [ sh:path ex:p ;"
        " sh:in ( 1.5e3 2.50 '2026-01-01T00:00:00Z'^^xsd:dateTime 'x' 'y'@en ) ] ."
    )
    fine = "ex:p 1500e0 , 2.5 , '2026-01-01T00:00:00+00:00'^^xsd:dateTime , 'x' , 'y'@EN ."
    deltas = [world.delta(f"ex:a{number} {fine}") for number in range(12)]

    def validate(delta: Delta) -> Report:
        world.validator.forget()
        return world.validator.validate(delta)

    with ThreadPoolExecutor(6) as pool:
        assert all(report.conforms for report in pool.map(validate, deltas))
    assert len(world.validate("ex:b ex:p 1501e0 , 'x'@en .").results) == 2


def test_a_nameless_shape_is_told_by_the_name_the_graph_gave_it() -> None:
    world = World(
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property [ sh:path ex:p ; sh:minCount 1 ] ."
    )
    (result,) = world.validate("ex:a a ex:A .").results
    assert result.shape.startswith(f"<{IDS.base}/.well-known/genid/")


def test_warnings_are_told_and_do_not_refuse() -> None:
    world = World(
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property"
        " [ sh:path ex:p ; sh:minCount 1 ; sh:severity sh:Warning ] ,"
        " [ sh:path ex:q ; sh:minCount 1 ; sh:severity sh:Info ] ."
    )
    report = world.validate("ex:a a ex:A .")
    assert report.conforms
    assert {result.severity for result in report.results} == {"Warning", "Info"}
    assert b"Violation" not in graph(report)


def test_an_empty_report() -> None:
    assert Report().conforms
    assert Report().summary() == "the graph conforms to its shapes"
    assert Report.from_dict(Report().to_dict()) == Report()
    assert b'conforms> "true"' in graph(Report())


def test_the_report_of_a_nested_shape_is_one_result() -> None:
    world = World(
        "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P . ex:P sh:path ex:p ;"
        " sh:node ex:T . ex:T a sh:NodeShape ; sh:class ex:B ."
    )
    report = world.validate("ex:a a ex:A ; ex:p ex:b . ex:b ex:q 1 .")
    assert [result.focus for result in report.results] == ["<http://e/a>"]


def test_overlay_reads_what_would_be() -> None:
    world = World("", "ex:a ex:p 1 , 2 .")
    overlay = Overlay(world.store, world.delta("ex:a ex:p 3 .", "ex:a ex:p 1 ."))
    a = NamedNode("http://e/a")

    p, q = NamedNode("http://e/p"), NamedNode("http://e/q")
    two, three = (Literal(text, datatype=INTEGER) for text in "23")
    assert len(overlay.objects(a, p, 1)) == 1
    everything = {item.object for item in overlay.everything()}
    assert set(overlay.objects(a, p)) == set(overlay.outgoing(a)[p]) == everything == {two, three}
    assert overlay.objects(a, q) == ()
    assert overlay.subjects(p, two) == overlay.subjects(p, three) == (a,)
    assert overlay.subjects(p, Literal("1", datatype=INTEGER)) == ()
    assert {item.object for item in overlay.of_graph(DATA.value)} == everything
    assert overlay.objects(two, p) == ()
    assert overlay.outgoing(two) == {}
    assert {graph_of(item) for item in overlay.everything()} == {DATA.value}
