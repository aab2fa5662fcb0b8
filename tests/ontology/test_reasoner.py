"""HermiT's verdicts on the shipped ontology and on planted contradictions."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from pyoxigraph import NamedNode, Quad, RdfFormat, parse, serialize

from ontology.errors import JavaMissing, ReasonerError, ReasonerInputError
from ontology.library import ontology_turtle, rules_turtle
from ontology.reasoner import check
from ontology.terms import skolemise
from ontology.vocab import PREFIXES, Fo

HEADER = "".join(f"@prefix {p}: <{n}> .\n" for p, n in PREFIXES.items())
HEADER += "@prefix ex: <http://example.org/> .\n"
EX = "http://example.org/"
SHIPPED = [*ontology_turtle().values(), *rules_turtle().values()]
TINY = """
ex:A a owl:Class ; owl:disjointWith ex:B . ex:B a owl:Class .
ex:n a owl:DatatypeProperty , owl:FunctionalProperty .
"""

needs_java = pytest.mark.skipif(
    shutil.which("java") is None, reason="HermiT needs Java and there is none on this machine"
)


def turtle(text: str) -> bytes:
    return (HEADER + text).encode()


@needs_java
def test_the_shipped_ontology_is_consistent_and_every_class_can_have_members(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = check(SHIPPED)
    assert report.ok
    assert report.consistent
    assert report.unsatisfiable == ()
    assert report.classes > 50
    assert report.properties > 90
    assert report.seconds > 0
    # owlready2 talks to standard error when something puzzles it; nothing of ours does.
    assert capsys.readouterr() == ("", "")


@needs_java
def test_each_class_of_ours_has_a_member_in_some_model() -> None:
    members = "".join(
        f"ex:of-{name} a fo:{name} .\n"
        for name in vars(Fo)
        if name[0].isupper() and not name.endswith("Role")
    )
    assert check([*SHIPPED, turtle(members)]).consistent


@needs_java
def test_a_thing_of_two_disjoint_classes_is_named() -> None:
    report = check([*SHIPPED, turtle("ex:mallory a fo:Person , fo:Agent .")])
    assert not report.consistent
    assert not report.ok
    assert report.culprits == (f"{EX}mallory",)
    assert "fo:Person" in report.explanation[0]
    assert "fo:Agent" in report.explanation[0]


@needs_java
def test_a_class_below_two_disjoint_classes_is_named() -> None:
    planted = "ex:Stream a owl:Class ; rdfs:subClassOf fo:Dataset , fo:Topic ."
    report = check([*SHIPPED, turtle(planted)])
    assert report.consistent
    assert not report.ok
    assert report.unsatisfiable == (f"{EX}Stream",)
    assert "fo:Dataset" in report.explanation[0]


@needs_java
def test_an_empty_class_without_a_simple_reason_is_named() -> None:
    planted = """
    ex:p a owl:ObjectProperty ; rdfs:range ex:A .
    ex:C a owl:Class ; rdfs:subClassOf
        [ a owl:Restriction ; owl:onProperty ex:p ; owl:someValuesFrom ex:B ] .
    """
    report = check([turtle(TINY + planted)])
    assert report.unsatisfiable == (f"{EX}C",)
    assert f"<{EX}C> can have no member" in report.explanation[0]


@needs_java
def test_a_contradiction_beyond_disjointness_is_narrowed_to_its_subject() -> None:
    things = "".join(f"ex:x{i} a ex:A ; ex:n {i} .\n" for i in range(4))
    before = set(Path(tempfile.gettempdir()).iterdir())
    report = check([turtle(TINY + things + "ex:x3 ex:n 33 .")])
    assert not report.consistent
    assert report.culprits == (f"{EX}x3",)
    assert report.minimal
    # owlready2 would leave one file for each run that said no.
    left = set(Path(tempfile.gettempdir()).iterdir()) - before
    assert not [path for path in left if path.is_file() and b"example.org/x3" in path.read_bytes()]


@needs_java
def test_a_cut_short_search_says_so() -> None:
    things = "".join(f"ex:x{i} a ex:A ; ex:n {i} .\n" for i in range(4))
    report = check([turtle(TINY + things + "ex:x3 ex:n 33 .")], narrowing_runs=1)
    assert not report.consistent
    assert not report.minimal
    assert f"{EX}x3" in report.culprits
    assert "stopped after 1 runs" in report.explanation[0]


@needs_java
def test_a_contradiction_of_the_schema_is_narrowed_to_its_term() -> None:
    report = check([turtle(TINY + "owl:Thing rdfs:subClassOf owl:Nothing .")])
    assert not report.consistent
    assert report.culprits == ("http://www.w3.org/2002/07/owl#Thing",)


@needs_java
def test_datatypes_that_owl_lacks_do_not_stop_the_check() -> None:
    planted = "ex:o a fo:Organisation ; fo:timeLock 'PT24H'^^xsd:duration ."
    assert check([*SHIPPED, turtle(planted)]).ok


@needs_java
def test_the_graph_with_its_skolem_names_reads_like_the_files() -> None:
    graph = NamedNode("http://fractalops.localhost/graph/ontology")
    quads = [
        Quad(q.subject, q.predicate, q.object, graph)
        for data in SHIPPED
        for q in parse(data, format=RdfFormat.TURTLE, rename_blank_nodes=True)
    ]
    skolemised = skolemise(quads, "http://fractalops.localhost")
    data = serialize([quad.triple for quad in skolemised], format=RdfFormat.N_TRIPLES)
    assert data is not None
    assert b"_:" not in data
    assert check([data]).ok
    # Needs the list inside the axiom that all top classes are disjoint.
    report = check([data, turtle("ex:x a fo:Service , fo:Release .")])
    assert report.culprits == (f"{EX}x",)


@needs_java
def test_a_name_used_as_property_and_as_thing_is_no_contradiction() -> None:
    planted = "fo:calls a ex:A . ex:x a ex:B ; fo:calls ex:x ."
    assert check([*SHIPPED, turtle(TINY + planted)]).consistent
    assert not check([turtle(TINY + "ex:n a ex:A , ex:B .")]).consistent


@needs_java
def test_axioms_beyond_owl_dl_are_refused_with_a_reason() -> None:
    planted = """
    ex:p a owl:ObjectProperty , owl:TransitiveProperty , owl:IrreflexiveProperty .
    ex:x ex:p ex:y .
    """
    with pytest.raises(ReasonerError, match="HermiT refused the axioms"):
        check([turtle(planted)])


@needs_java
def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.ttl"
    path.write_bytes(turtle(TINY + "ex:x a ex:A , ex:B ."))
    assert check([path]).culprits == (f"{EX}x",)


@needs_java
def test_what_is_not_rdf_is_refused() -> None:
    with pytest.raises(ReasonerInputError, match=r"document 2 is not Turtle.*Nothing was checked"):
        check([turtle(TINY), b"<a> <b>"])


def test_without_java_the_error_says_that_nothing_was_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JavaMissing, match=r"needs Java 11 or newer.*install.*Nothing was checked"):
        check(SHIPPED)


def test_no_other_module_imports_owlready2() -> None:
    root = Path(__file__).parents[2]
    folders = ["ontology", "shapes", "proofs", "runtime", "ingest", "stewards", "graph_api"]
    importers = [
        path.relative_to(root).as_posix()
        for folder in folders
        for path in (root / folder).rglob("*.py")
        if "import owlready2" in path.read_text()
    ]
    assert importers == ["ontology/reasoner.py"]
