"""Who is who, as the governance graph says it; odd statements do no harm."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pyoxigraph import NamedNode, Quad, RdfFormat, parse

from ontology.ids import Ids
from ontology.terms import canonical_quad, in_named_graph
from proofs.checkpoint import COSIGNATURE_V1, SignerKey
from proofs.genesis import genesis_delta, project_delta
from proofs.governance import (
    ANALYST,
    AUDITOR,
    DEFAULT_TIME_LOCK,
    MAX_TIME_LOCK,
    MIN_LIFETIME,
    OPERATOR,
    STEWARD,
    Governance,
    read_governance,
)

IDS = Ids()
GRAPH = NamedNode(IDS.graph("governance"))
PREFIXES = """
@prefix fo: <https://w3id.org/fractalops/ns#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
@prefix ex: <http://example.org/> .
"""


def quads(turtle: str) -> set[Quad]:
    found = parse((PREFIXES + turtle).encode(), format=RdfFormat.TURTLE)
    return {canonical_quad(in_named_graph(quad, GRAPH)) for quad in found}


def read(turtle: str) -> Governance:
    return read_governance(quads(turtle))


def test_an_empty_graph_gives_nobody_anything() -> None:
    view = read_governance(())
    assert view == Governance(organisation="")
    assert view.operators() == frozenset()
    assert view.single_operator
    assert view.grant("http://e/a", "http://e/g") is None


def test_what_genesis_and_a_project_state() -> None:
    organisation = IDS.organisation("acme")
    given = genesis_delta(IDS, "acme", "olga", timedelta(hours=6)).in_graph(GRAPH.value).additions
    given |= project_delta(IDS, organisation, "shop", "The shop").additions
    view = read_governance(given)
    olga, steward = IDS.principal("olga"), IDS.principal("steward-shop")
    assert view.organisation == organisation
    assert view.operators() == {olga}
    assert view.single_operator
    assert view.time_lock == timedelta(hours=6)
    project = view.projects["shop"]
    assert (project.iri, project.label, project.graph) == (
        IDS.project("shop"),
        "The shop",
        IDS.lineage_graph("shop"),
    )
    assert project.stewards == (steward,)
    assert not project.restricted
    assert view.has_role(steward, STEWARD)
    grant = view.grant(steward, project.graph)
    assert grant is not None
    assert (grant.project, grant.auto_apply_limit) == (project.iri, 20_000)
    assert view.grant(steward, IDS.graph("ontology")) is None
    assert view.project_of_graph(project.graph) == project
    assert view.project_of_graph(IDS.graph("ontology")) is None


def test_four_eyes_are_the_eyes_of_persons() -> None:
    view = read(
        "ex:ann a fo:Person ; fo:hasRole fo:OperatorRole ."
        "ex:bot a fo:Agent ; fo:hasRole fo:OperatorRole ."
        "ex:service a fo:ServiceAccount ; fo:hasRole fo:OperatorRole ."
        "ex:eve a fo:Person ; fo:hasRole fo:AnalystRole ."
    )
    assert view.operators() == {"http://example.org/ann"}
    assert view.single_operator
    assert view.has_role("http://example.org/bot", OPERATOR)
    assert not view.has_role("http://example.org/eve", OPERATOR)


def test_keys_are_of_whom_they_are_stated_to_be() -> None:
    """What is no Ed25519 key of a log's kind is nobody's, and does no harm."""
    first, second = (SignerKey("bot", bytes([n] * 32)).verifier for n in (1, 2))
    witness = SignerKey("bot", bytes([3] * 32), COSIGNATURE_V1).verifier
    view = read(
        f'ex:k1 a fo:SigningKey ; fo:keyHolder ex:bot ; fo:publicKey "{first}" .'
        f'ex:k2 a fo:SigningKey ; fo:keyHolder ex:bot ; fo:publicKey "{second}" ; fo:retired true .'
        f'ex:k3 a fo:SigningKey ; fo:keyHolder ex:bot ; fo:publicKey "{witness}" .'
        'ex:k4 a fo:SigningKey ; fo:keyHolder ex:bot ; fo:publicKey "nonsense" .'
        "ex:k5 a fo:SigningKey ; fo:keyHolder ex:bot ."
        f'ex:k6 fo:keyHolder ex:bot ; fo:publicKey "{first}" .'
    )
    assert [(key.verifier, key.retired) for key in view.keys_of("http://example.org/bot")] == [
        (first, False),
        (second, True),
    ]
    assert view.keys_of("http://example.org/ann") == ()


def test_the_widest_grant_counts() -> None:
    view = read(
        "ex:g1 a fo:Grant ; fo:grantee ex:a ; fo:onGraph ex:g ; fo:autoApplyLimit 5 ."
        "ex:g2 a fo:Grant ; fo:grantee ex:a ; fo:onGraph ex:g ; fo:autoApplyLimit 50 ."
        "ex:g3 a fo:Grant ; fo:grantee ex:a ; fo:onGraph ex:g ."
    )
    grant = view.grant("http://example.org/a", "http://example.org/g")
    assert grant is not None
    assert grant.auto_apply_limit == 50


@pytest.mark.parametrize("limit", ['"-5"^^xsd:integer', '"\u00b2"', '"many"', '"1.5"', "1e3"])
def test_a_limit_that_is_no_whole_number_is_none(limit: str) -> None:
    view = read(
        f"ex:g1 a fo:Grant ; fo:grantee ex:a ; fo:onGraph ex:g ; fo:autoApplyLimit {limit} ."
    )
    assert view.grants[0].auto_apply_limit in (0, 1000)
    assert (view.grants[0].auto_apply_limit == 1000) == (limit == "1e3")


RESTRICTED = """
ex:p a fo:Project ; fo:slug "p" ; fo:lineageGraph ex:hidden .
ex:hidden fo:restricted true .
ex:open fo:restricted false .
ex:olga a fo:Person ; fo:hasRole fo:OperatorRole .
ex:audrey a fo:Person ; fo:hasRole fo:AuditorRole .
ex:anna a fo:Person ; fo:hasRole fo:AnalystRole .
ex:bot a fo:Steward ; fo:hasRole fo:StewardRole ; fo:stewardOf ex:p .
ex:guest a fo:Person ; fo:hasRole fo:AnalystRole .
ex:other a fo:Steward ; fo:hasRole fo:StewardRole .
ex:grant a fo:Grant ; fo:grantee ex:guest ; fo:onGraph ex:hidden .
"""


@pytest.mark.parametrize(
    ("who", "hidden"),
    [
        ("olga", False),
        ("audrey", False),
        ("bot", False),
        ("guest", False),
        ("anna", True),
        ("other", True),
        ("nobody", True),
    ],
)
def test_who_may_read_a_restricted_graph(who: str, hidden: bool) -> None:
    view = read(RESTRICTED)
    assert view.restricted == {"http://example.org/hidden"}
    assert view.projects["p"].restricted
    expected = view.restricted if hidden else frozenset()
    assert view.hidden_from(f"http://example.org/{who}") == expected


def test_roles_are_read() -> None:
    view = read(RESTRICTED)
    for who, role in (("audrey", AUDITOR), ("anna", ANALYST), ("other", STEWARD)):
        assert view.has_role(f"http://example.org/{who}", role)
    assert not read("ex:a fo:hasRole ex:Emperor .").has_role("http://example.org/a", OPERATOR)


@pytest.mark.parametrize(
    ("stated", "span"),
    [
        ('"P1DT30M"^^xsd:dayTimeDuration', timedelta(days=1, minutes=30)),
        ('"PT90061.5S"^^xsd:duration', timedelta(days=1, hours=1, minutes=1, seconds=1)),
        ('"PT0S"^^xsd:duration', timedelta(0)),
        ('"P1Y"^^xsd:duration', DEFAULT_TIME_LOCK),
        ('"P1M"^^xsd:duration', DEFAULT_TIME_LOCK),
        ('"-P1D"^^xsd:duration', DEFAULT_TIME_LOCK),
        ('"P"', DEFAULT_TIME_LOCK),
        ('"PT"', DEFAULT_TIME_LOCK),
        ('""', DEFAULT_TIME_LOCK),
        ('"a day"', DEFAULT_TIME_LOCK),
        # No span makes the view, and with it every start, fail.
        ('"P999999999999999D"^^xsd:duration', MAX_TIME_LOCK),
        ('"P9999999999999999999999999999D"^^xsd:duration', DEFAULT_TIME_LOCK),
    ],
)
def test_the_time_lock(stated: str, span: timedelta) -> None:
    assert read(f"ex:acme a fo:Organisation ; fo:timeLock {stated} .").time_lock == span


def test_a_project_needs_slug_and_graph_to_be_one() -> None:
    view = read('ex:p a fo:Project ; fo:slug "p" . ex:q a fo:Project ; fo:lineageGraph ex:g .')
    assert view.projects == {}


@pytest.mark.parametrize(
    ("stated", "needed", "lifetime"),
    [
        ("", 1, None),
        ("fo:approvalsNeeded 3 ;", 3, None),
        ("fo:approvalsNeeded 0 ;", 1, None),
        ('fo:approvalsNeeded "many" ;', 1, None),
        ('fo:proposalLifetime "P30D"^^xsd:duration ;', 1, timedelta(days=30)),
        # What mends the policy has to live for a while itself.
        ('fo:proposalLifetime "PT0S"^^xsd:duration ;', 1, MIN_LIFETIME),
        ('fo:proposalLifetime "P1M"^^xsd:duration ;', 1, None),
    ],
)
def test_approvals_and_lifetimes(stated: str, needed: int, lifetime: timedelta | None) -> None:
    found = read(f"ex:acme {stated} a fo:Organisation .")
    assert (found.approvals_needed, found.lifetime) == (needed, lifetime)
