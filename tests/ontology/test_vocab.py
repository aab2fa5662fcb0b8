"""vocab.py and the Turtle say the same, and the Turtle says it properly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pyoxigraph import BlankNode, Literal, NamedNode, RdfFormat, Triple, parse

from ontology import vocab
from ontology.library import ontology_turtle, rules_turtle
from ontology.vocab import FO, FOS, ONTOLOGY, PREFIXES, Fo, Owl, Rdf, Rdfs, Skos, Xsd
from shapes.library import shapes_turtle

ROOT = Path(__file__).parents[2]
FILES = {**ontology_turtle(), **rules_turtle()}
RULES = {Fo.ClassificationRule, Fo.RedactionRule}
PROPERTY_KINDS = {Owl.ObjectProperty, Owl.DatatypeProperty, Owl.AnnotationProperty}
STORE_KEEPS = {Xsd.string, Xsd.integer, Xsd.boolean, Xsd.dateTime, Xsd.anyURI, Rdfs.Literal}


NOUNS = """
Organisation Project Principal Person Agent ServiceAccount Steward Grant
Service Operation HttpRoute RpcMethod DatabaseOperation MessageOperation Dependency
DeploymentEnvironment Release DataStore Dataset Topic Job Run
ProductEventType Feature Page ErrorIssue
RuntimeAsset LxcAsset KubernetesAsset PublicUrl ExecutorUrl InternalUrl
EvidenceBatch ClassificationRule RedactionRule Proposal Validation Decision Proof
"""


def triples_of(data: bytes) -> list[Triple]:
    parsed = parse(data, format=RdfFormat.TURTLE, rename_blank_nodes=True)
    return [quad.triple for quad in parsed]


TRIPLES = [triple for data in FILES.values() for triple in triples_of(data)]


def objects(subject: str, predicate: str) -> list[NamedNode | BlankNode | Literal | Triple]:
    return [
        t.object
        for t in TRIPLES
        if isinstance(t.subject, NamedNode)
        and t.subject.value == subject
        and t.predicate.value == predicate
    ]


def iris(subject: str, predicate: str) -> set[str]:
    return {o.value for o in objects(subject, predicate) if isinstance(o, NamedNode)}


def constants(namespace: type) -> dict[str, str]:
    return {name: v for name, v in vars(namespace).items() if not name.startswith("_")}


DECLARED = {
    t.subject.value
    for t in TRIPLES
    if isinstance(t.subject, NamedNode) and t.subject.value.startswith(FO)
}
CLASSES = {t for t in DECLARED if Owl.Class in iris(t, Rdf.type)}
PROPERTIES = {t for t in DECLARED if iris(t, Rdf.type) & PROPERTY_KINDS}


def test_every_term_of_the_turtle_is_in_vocab_and_the_reverse() -> None:
    assert set(constants(Fo).values()) == DECLARED


def test_a_constant_is_spelled_as_its_local_name() -> None:
    for name, iri in constants(Fo).items():
        assert iri == FO + name.replace("_", "-")


def test_no_iri_stands_twice() -> None:
    every = [
        iri
        for namespace in vars(vocab).values()
        if isinstance(namespace, type)
        for iri in constants(namespace).values()
    ]
    assert len(every) == len(set(every))


def test_prefixes_cover_every_namespace_of_the_turtle() -> None:
    for name, data in {**FILES, **shapes_turtle()}.items():
        for prefix, namespace in re.findall(rb"@prefix (\w+): <([^>]+)>", data):
            assert PREFIXES[prefix.decode()] == namespace.decode(), name


@pytest.mark.parametrize("term", sorted(DECLARED), ids=lambda iri: iri[len(FO) :])
def test_a_term_is_documented(term: str) -> None:
    labels, definitions = objects(term, Rdfs.label), objects(term, Skos.definition)
    assert len(labels) == 1
    assert len(definitions) == 1
    assert isinstance(definitions[0], Literal)
    assert definitions[0].value.endswith((".", "}"))
    kinds = iris(term, Rdf.type)
    assert kinds & RULES or iris(term, Rdfs.isDefinedBy) == {ONTOLOGY}


@pytest.mark.parametrize("term", sorted(PROPERTIES), ids=lambda iri: iri[len(FO) :])
def test_a_property_has_one_kind_a_domain_and_a_range(term: str) -> None:
    assert len(iris(term, Rdf.type) & PROPERTY_KINDS) == 1
    assert len(objects(term, Rdfs.domain)) == 1
    assert len(objects(term, Rdfs.range)) == 1
    ranges = iris(term, Rdfs.range)
    if Owl.DatatypeProperty in iris(term, Rdf.type):
        assert ranges <= STORE_KEEPS
    elif Owl.ObjectProperty in iris(term, Rdf.type):
        assert ranges <= CLASSES


def test_declared_terms_are_of_some_kind() -> None:
    individuals = DECLARED - CLASSES - PROPERTIES
    for term in individuals:
        assert iris(term, Rdf.type) & {Fo.Role, *RULES}, term


def used_terms(text: str) -> set[str]:
    without_strings = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    without_comments = re.sub(r"(?m)(^|\s)#.*$", "", without_strings)
    names = re.findall(r"\bfo:([A-Za-z][A-Za-z0-9-]*)", without_comments)
    return {FO + name for name in names}


def turtle_and_questions() -> dict[str, str]:
    found = {f"shapes/{name}": data.decode() for name, data in shapes_turtle().items()}
    found |= {f"ontology/{name}": data.decode() for name, data in FILES.items()}
    questions = sorted((ROOT / "docs" / "questions").glob("*.rq"))
    return found | {f"questions/{path.name}": path.read_text() for path in questions}


@pytest.mark.parametrize("name", sorted(turtle_and_questions()))
def test_every_term_in_use_is_declared(name: str) -> None:
    assert used_terms(turtle_and_questions()[name]) <= DECLARED


@pytest.mark.parametrize("name", sorted(shapes_turtle()))
def test_every_term_a_shape_names_is_declared(name: str) -> None:
    named = {
        term.value
        for t in triples_of(shapes_turtle()[name])
        for term in (t.subject, t.predicate, t.object)
        if isinstance(term, NamedNode)
    }
    assert {iri for iri in named if iri.startswith(FO)} <= DECLARED
    assert not {iri for iri in named if iri.startswith(FOS) and not iri[len(FOS) :]}


def test_the_header_names_its_version() -> None:
    assert objects(ONTOLOGY, Owl.versionInfo) == [Literal("1.0.0")]
    assert iris(ONTOLOGY, Owl.versionIRI) == {f"{ONTOLOGY}/1.0.0"}


def test_the_nouns_of_the_issue_are_classes() -> None:
    wanted = re.findall(r"\w+", NOUNS)
    assert {FO + name for name in wanted} <= CLASSES
