"""The whole graph: each focus node once, suspects alone, in processes, with examples and counts."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from pyoxigraph import Literal, NamedNode, Quad

from ontology.store import GraphStore
from ontology.terms import Delta
from ontology.vocab import Rdfs
from shapes import suspect_plan, suspects, tasks, whole, whole_store
from shapes.compile import Program, compile_shapes
from shapes.errors import MalformedShapes, ValidationFailed
from shapes.overlay import Overlay
from shapes.sparql_constraints import Queries
from shapes.validator import Validator
from shapes.view import TYPE, MemoryView, Node
from shapes.whole import Progress, Tally, focus_nodes, tally_overlay, validate_graph
from shapes.whole_store import tally_store
from tests.shapes.test_overlay import QUADS, SYSTEM
from tests.shapes.test_validator import DATA, IDS, OTHER, SHAPES, foci, quads

TARGETS = """
ex:S a sh:NodeShape ; sh:targetClass ex:A , ex:B ; sh:targetNode ex:n1 , ex:nowhere ;
    sh:targetSubjectsOf ex:p ; sh:targetObjectsOf ex:q ; sh:property ex:S-label .
ex:S-label sh:path rdfs:label ; sh:minCount 1 .
"""
HIERARCHY = "ex:B rdfs:subClassOf ex:A . ex:A rdfs:subClassOf ex:B . ex:C rdfs:subClassOf ex:A ."
STATED = """
ex:n1 a ex:A , ex:B ; ex:p 1 , 2 ; ex:q ex:n2 . ex:n2 a ex:C ; ex:q ex:n2 , 'text' .
ex:n3 ex:p ex:n1 ; ex:q ex:n1 . ex:n4 a ex:D . ex:n5 a ex:C , ex:A .
"""
EXPECTED = {f"<http://e/{name}>" for name in ("n1", "n2", "n3", "n5", "nowhere")} | {'"text"'}


@pytest.mark.parametrize("kind", ["memory", "disk", "triples"])
def test_each_focus_node_comes_once(kind: str, tmp_path: Path) -> None:
    program = compile_shapes(quads(TARGETS, SHAPES))
    (shape,) = program.targeted
    data = quads(HIERARCHY + STATED) | quads(STATED, OTHER)
    added = quads("ex:n1 ex:p 3 . ex:n5 a ex:B . ex:n2 ex:q ex:n1 .")
    view: MemoryView | Overlay
    if kind == "triples":
        view = MemoryView(data | added)
    else:
        store = GraphStore(tmp_path / "graph" if kind == "disk" else None, IDS)
        store.apply(Delta(data), Delta(), 0)
        view = Overlay(store, Delta(added))
    found = list(focus_nodes(shape, view, Queries(view)))
    assert {str(node) for node in found} == EXPECTED
    assert len(found) == len(EXPECTED)
    # None of them has a label, so each that is asked is told of, once.
    if isinstance(view, Overlay):
        told = tally_overlay(program, view, Queries(view), most=None).report()
        assert sorted(result.focus for result in told.results) == sorted(EXPECTED)
        assert told == validate_graph(program, view)


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(QUADS, QUADS, QUADS, QUADS)
def test_asking_suspects_finds_what_asking_everybody_finds(
    before: frozenset[Quad],
    added: frozenset[Quad],
    removed: frozenset[Quad],
    inferred: frozenset[Quad],
) -> None:
    with TemporaryDirectory() as folder:
        # The engine writes until its store is gone, which is when this returns.
        suspects_and_everybody(Path(folder), before, Delta(added - removed, removed), inferred)


def suspects_and_everybody(
    folder: Path, before: frozenset[Quad], delta: Delta, inferred: frozenset[Quad]
) -> None:
    store = GraphStore(folder / "graph", IDS)
    system = frozenset(Quad(q.subject, q.predicate, q.object, SYSTEM) for q in inferred)
    store.apply(Delta(before), Delta(system), 0)
    delta = store.effective(delta)
    shapes = quads(MANY_WAYS, SHAPES)
    program = compile_shapes(shapes)
    found = tally_store(program, list(shapes), store, delta, folder, most=None).report()
    assert found == everything(program, store, delta).report()
    after = MemoryView((before - delta.removals) | delta.additions)
    assert found == validate_graph(program, after)


MANY_WAYS = """
ex:S a sh:NodeShape ; sh:targetClass ex:C0 ; sh:property [ sh:path ex:p0 ; sh:minCount 1 ] .
ex:T a sh:NodeShape ; sh:targetSubjectsOf ex:p1 , ex:p0 ; sh:class ex:C1 .
ex:U a sh:NodeShape ; sh:targetObjectsOf ex:p2 ; sh:targetClass ex:C1 ; sh:nodeKind sh:Literal .
ex:V a sh:NodeShape ; sh:targetNode ex:n1 , "x" ; sh:targetSubjectsOf ex:p2 ; sh:maxLength 3 .
ex:W a sh:NodeShape ; sh:targetClass ex:C0 , ex:C1 ; sh:property ex:W-p0 , ex:W-p1 , ex:W-p2 .
ex:W-p0 sh:path ex:p0 ; sh:maxCount 1 ; sh:class ex:C1 .
ex:W-p1 sh:path ex:p1 ; sh:maxCount 2 ; sh:nodeKind sh:IRI .
ex:W-p2 sh:path ex:p2 ; sh:minCount 1 ; sh:or ( [ sh:class ex:C0 ] [ sh:datatype xsd:integer ] ) .
ex:X a sh:NodeShape ; sh:targetSubjectsOf ex:p1 ; sh:or ( [ sh:class ex:C0 ] [ sh:class ex:C1 ] ) .
"""


SHAPE = """
ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:S-label , ex:S-size .
ex:S-label sh:path rdfs:label ; sh:minCount 1 .
ex:S-size sh:path ex:size ; sh:datatype xsd:integer ; sh:severity sh:Warning .
ex:T a sh:NodeShape ; sh:targetSubjectsOf ex:size ; sh:class ex:A .
"""
NODES = 2_500
VALUES = 1
"""Sizes that are looked at."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> GraphStore:
    """Every fifth node has no label, every seventh a size that is no number."""
    store = GraphStore(tmp_path_factory.mktemp("whole") / "graph", IDS)
    kind, label, size = (NamedNode(iri) for iri in ("http://e/A", Rdfs.label, "http://e/size"))
    data: set[Quad] = set()
    for number in range(NODES):
        node = NamedNode(f"http://e/n{number}")
        data.add(Quad(node, TYPE, kind, DATA))
        if number % 5:
            data.add(Quad(node, label, Literal(f"node {number}"), DATA))
        if not number % 7:
            data.add(Quad(node, size, Literal("big"), OTHER))
    store.apply(Delta(frozenset(data) | quads(SHAPE, SHAPES)), Delta(), 0)
    return store


def program_of(store: GraphStore) -> tuple[Program, list[Quad]]:
    shapes = list(store.match(graph=SHAPES))
    return compile_shapes(shapes), shapes


def everything(program: Program, store: GraphStore, delta: Delta | None = None) -> Tally:
    overlay = Overlay(store, delta or Delta())
    return tally_overlay(program, overlay, Queries(overlay), most=None)


UNLABELLED, UNSIZED = -(-NODES // 5), -(-NODES // 7)


def test_few_are_suspects_and_all_that_are_wrong(
    large: GraphStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, shapes = program_of(large)
    expected = everything(program, large).report()
    assert len(expected.results) == len(set(expected.results)) == UNLABELLED + UNSIZED
    assert validate_graph(program, MemoryView(large.asserted())) == expected
    either = sum(1 for number in range(NODES) if not number % 5 or not number % 7)
    for most_suspects, asked in ((either, NODES + either), (either - 1, 2 * NODES)):
        monkeypatch.setattr(tasks, "MOST_SUSPECTS", most_suspects)
        heard: list[Progress] = []
        found = tally_store(program, shapes, large, Delta(), tmp_path, heard.append, most=None)
        assert found.report() == expected
        # All are counted and the suspects are asked; where these are too many, so are all.
        assert heard[-1].nodes - VALUES == asked


def test_examples_are_kept_and_all_are_counted(
    large: GraphStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "CHUNK", 100)
    monkeypatch.setattr(tasks, "CHUNK", 100)
    program, shapes = program_of(large)
    heard: list[Progress] = []
    overlay = Overlay(large, Delta())
    asking = tally_overlay(program, overlay, Queries(overlay), most=10, tell=heard.append)
    suspecting = tally_store(program, shapes, large, Delta(), tmp_path, heard.append, most=10)
    for report in (asking.report(), suspecting.report()):
        severities = Counter(result.severity for result in report.results)
        assert severities == {"Violation": 10, "Warning": 10}
        assert report.omitted == UNLABELLED + UNSIZED - 20
        either = sum(1 for number in range(NODES) if not number % 5 or not number % 7)
        assert dict(report.nodes) == {"<http://e/S>": either}
        assert not report.conforms
    assert heard[-1].found == UNLABELLED + UNSIZED
    assert all(1 <= progress.part <= progress.parts for progress in heard)
    begun = [progress.part for progress in heard].index(2)
    assert begun < len(heard) - 10


EQUAL = (
    "'0.0E0'^^xsd:double , '-0.0E0'^^xsd:double",
    "1 , 1.0 , 1.0E0",
    "'a' , 'a'@en",
    "'INF'^^xsd:double , 'INF'^^xsd:float",
    "'2024-01-01T00:00:00Z'^^xsd:dateTime , '2024-01-01T01:00:00+01:00'^^xsd:dateTime",
    "'NaN'^^xsd:double",
    "ex:n0",
    "255",
)


@pytest.mark.parametrize("graphs", [1, 2])
def test_values_that_are_equal_and_not_the_same_are_two(graphs: int, tmp_path: Path) -> None:
    shape = "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P ."
    shapes = quads(shape + "ex:P sh:path ex:p ; sh:maxCount 1 .", SHAPES)
    data = "".join(f"ex:n{n} a ex:A ; ex:p {values} .\n" for n, values in enumerate(EQUAL))
    store = GraphStore(tmp_path / "graph", IDS)
    stated = [quads(data, graph) for graph in (DATA, OTHER)[:graphs]]
    store.apply(Delta(frozenset().union(*stated) | shapes), Delta(), 0)
    program = compile_shapes(shapes)
    found = tally_store(program, list(shapes), store, Delta(), tmp_path).report()
    assert found == everything(program, store).report()
    assert len(found.results) == 5


@pytest.mark.parametrize("kept", ["0.0E0", "-0.0E0"])
def test_each_of_two_values_that_are_equal_is_looked_at(kept: str, tmp_path: Path) -> None:
    shape = "ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P ."
    shapes = quads(f"{shape} ex:P sh:path ex:p ; sh:in ( '{kept}'^^xsd:double ) .", SHAPES)
    data = "ex:a a ex:A ; ex:p '0.0E0'^^xsd:double . ex:b a ex:A ; ex:p '-0.0E0'^^xsd:double ."
    store = GraphStore(tmp_path / "graph", IDS)
    store.apply(Delta(quads(data) | shapes), Delta(), 0)
    found = tally_store(compile_shapes(shapes), list(shapes), store, Delta(), tmp_path).report()
    assert foci(found) == {"b" if kept == "0.0E0" else "a"}


# Shapes of which a type that passes alone may fail beside another.
EXCLUSIVE = """
ex:S a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:P , ex:Q ;
    sh:xone ( [ sh:class ex:A ] [ sh:class ex:D ] ) .
ex:P sh:path ex:p ; sh:xone ( [ sh:class ex:B ] [ sh:class ex:C ] ) .
ex:Q sh:path ex:q ; sh:or ( [ sh:not [ sh:class ex:B ] ] [ sh:class ex:C ] ) .
"""


def test_a_type_may_pass_alone_and_fail_beside_another(tmp_path: Path) -> None:
    data = """
    ex:one a ex:A ; ex:p ex:b ; ex:q ex:c . ex:two a ex:A ; ex:p ex:both ; ex:q ex:both .
    ex:three a ex:A ; ex:q ex:b . ex:four a ex:A , ex:D . ex:five a ex:A ; ex:p ex:e .
    ex:b a ex:B . ex:c a ex:C . ex:both a ex:B , ex:C . ex:e a ex:E .
    """
    store = GraphStore(tmp_path / "graph", IDS)
    shapes = quads(EXCLUSIVE, SHAPES)
    store.apply(Delta(quads(data) | shapes), Delta(), 0)
    program = compile_shapes(shapes)
    found = tally_store(program, list(shapes), store, Delta(), tmp_path).report()
    assert found == everything(program, store).report()
    assert foci(found) == {"two", "three", "four", "five"}


TWICE = """
ex:S a sh:NodeShape ; sh:targetSubjectsOf ex:p ; sh:or ( [ sh:class ex:B ] [ sh:class ex:C ] ) .
ex:T a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:Q .
ex:Q sh:path ex:q ; sh:or ( [ sh:class ex:B ] [ sh:class ex:C ] ) .
"""


@pytest.mark.parametrize("slice_", [1, 2, 20_000])
@pytest.mark.parametrize("types", ["ex:B , ex:C", "ex:B"])
def test_who_counts_twice_does_not_stand_for_another(
    slice_: int, types: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (suspect_plan, suspects):
        monkeypatch.setattr(module, "SLICE", slice_)
    twice = f"ex:twice a {types} ; ex:p 1 ."
    data = twice + "ex:other ex:p 1 . ex:a a ex:A ; ex:q ex:twice . ex:b a ex:A ; ex:q ex:other ."
    store = GraphStore(tmp_path / "graph", IDS)
    shapes = quads(TWICE, SHAPES)
    store.apply(Delta(quads(data) | quads(twice, OTHER) | shapes), Delta(), 0)
    found = tally_store(compile_shapes(shapes), list(shapes), store, Delta(), tmp_path).report()
    assert foci(found) == {"other", "b"}


@pytest.mark.parametrize("most_suspects", [2, 3])
def test_suspects_that_two_graphs_name_are_not_lost_sight_of(
    most_suspects: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (tasks, suspects):
        monkeypatch.setattr(module, "MOST_SUSPECTS", most_suspects)
    store = GraphStore(tmp_path / "graph", IDS)
    data = "ex:a a ex:A . ex:b a ex:A . ex:c a ex:A ."
    shapes = quads(SHAPE, SHAPES)
    store.apply(Delta(quads(data) | quads(data, OTHER) | shapes), Delta(), 0)
    found = tally_store(compile_shapes(shapes), list(shapes), store, Delta(), tmp_path).report()
    assert foci(found) == {"a", "b", "c"}


@pytest.fixture
def by_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_store, "ALONE", 0)
    monkeypatch.setattr(whole_store, "PROCESSES", 2)


def test_processes_find_what_one_alone_finds(
    large: GraphStore, by_processes: None, tmp_path: Path
) -> None:
    program, shapes = program_of(large)
    mended = Quad(NamedNode("http://e/n0"), NamedNode(Rdfs.label), Literal("n0"), DATA)
    gone = next(iter(large.asserted(NamedNode("http://e/n1"), NamedNode(Rdfs.label))))
    delta = Delta(frozenset({mended}), frozenset({gone}))
    heard: list[Progress] = []
    found = tally_store(program, shapes, large, delta, tmp_path, heard.append)
    alone = everything(program, large, delta)
    assert found.nodes == alone.nodes
    assert found.found == alone.found == UNLABELLED + UNSIZED
    assert {r.key() for r in found.violations} <= {r.key() for r in alone.violations}
    assert heard[-1].found == found.found
    assert list(tmp_path.iterdir()) == [], "the checkpoint is taken away"


def test_a_change_of_the_shapes_is_held_against_all_by_processes(
    large: GraphStore, by_processes: None, tmp_path: Path
) -> None:
    validator = Validator(large, tmp_path)
    shape = "ex:U a sh:NodeShape ; sh:targetClass ex:A ; sh:property ex:U-p ."
    stricter = quads(shape + "ex:U-p sh:path ex:size ; sh:minCount 1 .", SHAPES)
    report = validator.examine(Delta(stricter)).report
    assert dict(report.nodes)["<http://e/U>"] == NODES - UNSIZED
    assert not report.conforms
    assert dict(validator.examine_all().report.nodes).keys() == {"<http://e/S>"}
    with pytest.raises(MalformedShapes, match="http://e/U-p"):
        validator.examine(Delta(quads("ex:U-p sh:path ex:size ; sh:minCount 'one' .", SHAPES)))


def test_a_process_that_is_killed_is_told(
    large: GraphStore, by_processes: None, tmp_path: Path
) -> None:
    program, shapes = program_of(large)

    def kill(_progress: Progress) -> None:
        for process in multiprocessing.active_children():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)

    with pytest.raises(ValidationFailed, match=r"ended before it was done.*Try again"):
        tally_store(program, shapes, large, Delta(), tmp_path, kill)
    assert list(tmp_path.iterdir()) == []
    assert multiprocessing.active_children() == []


# --- very many


def test_thousands_of_shapes_are_compiled_and_asked(tmp_path: Path) -> None:
    shapes = "".join(
        f"ex:S{n} a sh:NodeShape ; sh:targetClass ex:C{n} ; sh:property ex:P{n} ."
        f" ex:P{n} sh:path ex:p{n % 50} ; sh:minCount 1 ; sh:nodeKind sh:IRI .\n"
        for n in range(3_000)
    )
    store = GraphStore(None, IDS)
    store.apply(Delta(quads(shapes, SHAPES)), Delta(), 0)
    validator = Validator(store)
    report = validator.validate(Delta(quads("ex:a a ex:C7 . ex:b a ex:C8 ; ex:p8 ex:a , 5 .")))
    assert {(r.focus, r.shape) for r in report.results} == {
        ("<http://e/a>", "<http://e/P7>"),
        ("<http://e/b>", "<http://e/P8>"),
    }


def test_a_change_of_a_hundred_thousand_quads(large: GraphStore) -> None:
    kind, label = NamedNode("http://e/A"), NamedNode(Rdfs.label)
    added: set[Quad] = set()
    for number in range(50_000):
        node: Node = NamedNode(f"http://e/more/{number}")
        assert isinstance(node, NamedNode)
        added |= {Quad(node, TYPE, kind, DATA), Quad(node, label, Literal("more"), DATA)}
    lost = {quad for quad in added if quad.subject == NamedNode("http://e/more/777")}
    fine = Validator(large).validate(Delta(frozenset(added)))
    assert fine.conforms
    unlabelled = {quad for quad in lost if quad.predicate == label}
    report = Validator(large).validate(Delta(frozenset(added - unlabelled)))
    assert [result.focus for result in report.results] == ["<http://e/more/777>"]
