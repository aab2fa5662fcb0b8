"""Clashes are named with the way that leads to them, and nothing sound is called a clash."""

from __future__ import annotations

import pytest
from pyoxigraph import RdfFormat, parse

from ontology.clashes import Clash, find_clashes
from ontology.library import ontology_turtle, rules_turtle
from ontology.vocab import PREFIXES

HEADER = "".join(f"@prefix {p}: <{n}> .\n" for p, n in PREFIXES.items())
HEADER += "@prefix ex: <http://example.org/> .\n"
SHIPPED = [*ontology_turtle().values(), *rules_turtle().values()]


def clashes_with(turtle: str) -> list[Clash]:
    documents = [*SHIPPED, (HEADER + turtle).encode()]
    return find_clashes(
        quad.triple
        for data in documents
        for quad in parse(data, format=RdfFormat.TURTLE, rename_blank_nodes=True)
    )


def test_the_shipped_ontology_has_none() -> None:
    assert clashes_with("") == []


@pytest.mark.parametrize(
    ("turtle", "subject", "words"),
    [
        ("ex:x a fo:Person , fo:Agent .", "x", ["fo:Person (stated)", "fo:Agent (stated)"]),
        (
            "ex:x a fo:Steward ; fo:autoApplyLimit 3 .",
            "x",
            ["fo:Grant (the domain of fo:autoApplyLimit)", "fo:Steward is a fo:Agent"],
        ),
        (
            "ex:s a fo:Service . ex:p a fo:Proposal ; fo:author ex:s .",
            "s",
            ["fo:Principal (the range of fo:author)", "fo:Service (stated)"],
        ),
        (
            "ex:a fo:publicUrl ex:u . ex:b fo:executorUrl ex:u .",
            "u",
            ["fo:ExecutorUrl (the range of fo:executorUrl)", "fo:PublicUrl"],
        ),
        # Through an inverse: a data store that stores a service.
        ("ex:d fo:stores ex:s . ex:s a fo:Service .", "s", ["fo:DataAsset", "fo:Service"]),
        # Through a superproperty: prov:wasAssociatedWith starts at an activity.
        (
            "ex:d fo:decidedBy ex:x . ex:d a prov:Entity .",
            "d",
            ["prov:Activity", "prov:Entity (stated)"],
        ),
        (
            "ex:C a owl:Class ; rdfs:subClassOf fo:Dataset , fo:Topic .",
            "C",
            ["<http://example.org/C> falls under both", "fo:Dataset", "fo:Topic"],
        ),
        ("ex:C owl:equivalentClass fo:LxcAsset . ex:x a ex:C , fo:KubernetesAsset .", "x", []),
    ],
)
def test_a_clash_is_named(turtle: str, subject: str, words: list[str]) -> None:
    found = [c for c in clashes_with(turtle) if c.subject == f"http://example.org/{subject}"]
    assert found
    assert any(all(word in clash.sentence for word in words) for clash in found), found


@pytest.mark.parametrize(
    "turtle",
    [
        "ex:s a fo:Service ; fo:inProject ex:p ; fo:calls ex:s .",
        # A union in a domain is an or: neither member follows.
        "ex:x fo:slug 'x' . ex:y fo:inProject ex:p .",
        "ex:x a fo:Steward , fo:Agent , fo:Principal .",
        "ex:C a owl:Class ; rdfs:subClassOf fo:Service . ex:x a ex:C .",
        "ex:a rdfs:subClassOf ex:b . ex:b rdfs:subClassOf ex:a . ex:x a ex:a .",
        "ex:l owl:members ex:n . ex:n rdf:first ex:a ; rdf:rest ex:n .",
    ],
)
def test_what_is_sound_is_left_alone(turtle: str) -> None:
    assert clashes_with(turtle) == []
