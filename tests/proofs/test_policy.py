"""What needs a second person, and what nobody may do at all."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pyoxigraph import Literal, NamedNode, Quad, RdfFormat, parse

from ontology.ids import Ids
from ontology.terms import Delta, canonical_quad
from proofs.errors import Forbidden, UnknownGraph, UnknownProject
from proofs.genesis import genesis_delta, principal_delta, project_delta
from proofs.governance import Governance, read_governance
from proofs.policy import AUTO, FOUR_EYES, MAX_ROUTINE, ONE_OPERATOR, OPERATOR_LIMIT, Policy

IDS = Ids()
GOVERNANCE = IDS.graph("governance")
ACME = IDS.organisation("acme")
OLGA, ANNA = IDS.principal("olga"), IDS.principal("anna")
SHOP_STEWARD, BILLING_STEWARD = IDS.principal("steward-shop"), IDS.principal("steward-billing")
SHOP, BILLING = IDS.lineage_graph("shop"), IDS.lineage_graph("billing")
PREFIXES = f"""
@prefix fo: <https://w3id.org/fractalops/ns#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix principal: <{IDS.base}/id/principal/> .
@prefix project: <{IDS.base}/id/project/> .
@prefix grant: <{IDS.base}/id/grant/> .
@prefix graph: <{IDS.base}/graph/> .
@prefix lineage: <{IDS.base}/graph/lineage/> .
@prefix organisation: <{IDS.base}/id/organisation/> .
@prefix ex: <http://example.org/> .
"""

FACTS = (
    genesis_delta(IDS, "acme", "olga", timedelta(hours=24)).in_graph(GOVERNANCE).additions
    | project_delta(IDS, ACME, "shop", "Shop").additions
    | project_delta(IDS, ACME, "billing", "Billing").additions
    | principal_delta(IDS, ACME, "anna", "analyst").additions
)
VIEW: Governance = read_governance(FACTS)
KNOWN = {quad.subject for quad in FACTS}
POLICY = Policy(IDS)


def known(iri: str) -> bool:
    return NamedNode(iri) in KNOWN


def governance_delta(turtle: str) -> Delta:
    body = f"{PREFIXES} GRAPH <{GOVERNANCE}> {{ {turtle} }}"
    return Delta(frozenset(map(canonical_quad, parse(body.encode(), format=RdfFormat.TRIG))))


def lineage(count: int, graph: str = SHOP) -> Delta:
    return Delta(
        frozenset(
            Quad(
                NamedNode(f"http://e/{n}"), NamedNode("http://e/p"), Literal("x"), NamedNode(graph)
            )
            for n in range(count)
        )
    )


# --- who may propose where


@pytest.mark.parametrize(
    ("who", "project", "graph"),
    [
        (SHOP_STEWARD, "shop", SHOP),
        (OLGA, "shop", SHOP),
        (OLGA, None, IDS.graph("ontology")),
        (OLGA, "shop", IDS.graph("governance")),
        (OLGA, None, IDS.graph("assets")),
    ],
)
def test_who_may(who: str, project: str | None, graph: str) -> None:
    POLICY.authorise(VIEW, who, project, [graph])


@pytest.mark.parametrize(
    ("who", "project", "graph", "error", "said"),
    [
        (BILLING_STEWARD, "shop", SHOP, Forbidden, "holds no grant"),
        (BILLING_STEWARD, "billing", SHOP, Forbidden, "belongs to project 'shop'"),
        (OLGA, "billing", SHOP, Forbidden, "belongs to project 'shop'"),
        (ANNA, "shop", SHOP, Forbidden, "holds no grant"),
        ("http://e/stranger", "shop", SHOP, Forbidden, "holds no grant"),
        (SHOP_STEWARD, None, SHOP, UnknownProject, r"\?project=shop"),
        (SHOP_STEWARD, "shop", IDS.graph("assets"), Forbidden, "holds no grant"),
        (SHOP_STEWARD, "shop", IDS.graph("governance"), Forbidden, "holds no grant"),
        (OLGA, None, IDS.graph("proofs"), Forbidden, "by the system alone"),
        (OLGA, None, IDS.graph("proposals"), Forbidden, "by the system alone"),
        (OLGA, None, IDS.graph("proposals/restricted"), Forbidden, "by the system alone"),
        (OLGA, None, IDS.graph("inferred"), Forbidden, "by the system alone"),
        (OLGA, None, IDS.graph("lineage/none"), UnknownGraph, "comes with its project"),
        (OLGA, "shop", "http://elsewhere/graph", UnknownGraph, "no other graph"),
        (OLGA, "none", SHOP, UnknownProject, "projects create none"),
    ],
)
def test_who_may_not(
    who: str, project: str | None, graph: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        POLICY.authorise(VIEW, who, project, [graph])


def test_one_graph_too_many_refuses_the_whole() -> None:
    with pytest.raises(Forbidden):
        POLICY.authorise(VIEW, SHOP_STEWARD, "shop", [SHOP, IDS.graph("governance")])
    with pytest.raises(Forbidden):
        POLICY.authorise(VIEW, OLGA, "shop", [SHOP, BILLING])


# --- what needs a decision


def verdict(who: str, delta: Delta, view: Governance = VIEW) -> str:
    return POLICY.judge(view, who, delta, known).requires


def test_a_lineage_change_applies_at_once_within_the_limit() -> None:
    assert verdict(SHOP_STEWARD, lineage(20_000)) == AUTO
    assert verdict(SHOP_STEWARD, lineage(20_001)) == ONE_OPERATOR
    assert verdict(SHOP_STEWARD, lineage(10).inverse()) == AUTO
    assert verdict(OLGA, lineage(20_001)) == AUTO
    assert OPERATOR_LIMIT == 100_000


@pytest.mark.parametrize(
    ("statement", "stewards"),
    [
        ("ex:A rdfs:subClassOf ex:B .", ONE_OPERATOR),
        ("ex:p rdfs:subPropertyOf ex:q .", ONE_OPERATOR),
        ("ex:p a <http://www.w3.org/2002/07/owl#SymmetricProperty> .", ONE_OPERATOR),
        ("ex:a a ex:A .", AUTO),
        ("ex:me <https://w3id.org/fractalops/ns#hasRole> ex:Emperor .", ONE_OPERATOR),
        ("ex:me a <https://w3id.org/fractalops/ns#Person> .", AUTO),
        ("ex:g <https://w3id.org/fractalops/ns#autoApplyLimit> 9 .", ONE_OPERATOR),
        ("ex:r a <https://w3id.org/fractalops/ns#ClassificationRule> .", ONE_OPERATOR),
        ("ex:s a <http://www.w3.org/ns/shacl#NodeShape> .", ONE_OPERATOR),
        ("ex:m a <https://w3id.org/fractalops/ns#LxcAsset> .", ONE_OPERATOR),
        ('ex:m <https://w3id.org/fractalops/ns#assetId> "db-1" .', ONE_OPERATOR),
        ('ex:m <https://w3id.org/fractalops/ns#assetStatus> "stopped" .', ONE_OPERATOR),
        ("ex:m <https://w3id.org/fractalops/ns#permits> ex:anything .", ONE_OPERATOR),
    ],
)
def test_a_steward_does_not_change_what_classes_mean_to_others(
    statement: str, stewards: str
) -> None:
    found = parse((PREFIXES + statement).encode(), format=RdfFormat.TURTLE)
    quads = {Quad(q.subject, q.predicate, q.object, NamedNode(SHOP)) for q in found}
    for delta in (Delta(frozenset(quads)), Delta(frozenset(), frozenset(quads))):
        assert verdict(SHOP_STEWARD, delta) == stewards
        assert verdict(OLGA, delta) == AUTO


def test_a_grant_without_a_limit_applies_nothing_at_once() -> None:
    limits = {quad for quad in FACTS if quad.predicate.value.endswith("autoApplyLimit")}
    view = read_governance(FACTS - limits)
    assert verdict(SHOP_STEWARD, lineage(1), view) == ONE_OPERATOR


@pytest.mark.parametrize(
    ("graph", "requires"), [(SHOP, ONE_OPERATOR), (IDS.graph("ontology"), FOUR_EYES)]
)
def test_what_is_held_needs_a_person_and_never_less_than_it_did(graph: str, requires: str) -> None:
    found = POLICY.judge(VIEW, OLGA, lineage(1, graph), known, "who knows who sent it")
    assert found.requires == requires


@pytest.mark.parametrize("graph", ["ontology", "shapes", "rules", "assets", "governance"])
def test_what_belongs_to_all_needs_two_people(graph: str) -> None:
    found = POLICY.judge(VIEW, OLGA, lineage(1, IDS.graph(graph)), known)
    assert found.requires == FOUR_EYES
    assert graph in found.reason


def test_founding_a_project_is_routine() -> None:
    for restricted in (False, True):
        delta = project_delta(IDS, ACME, "new", "New", restricted=restricted)
        assert verdict(OLGA, delta) == AUTO
        # Not for others, not again, and not the other way about.
        assert verdict(SHOP_STEWARD, delta) == FOUR_EYES
        assert verdict(OLGA, delta.inverse()) == FOUR_EYES
    assert verdict(OLGA, project_delta(IDS, ACME, "shop", "Shop")) == FOUR_EYES


@pytest.mark.parametrize(
    ("role", "requires"),
    [("analyst", AUTO), ("auditor", AUTO), ("operator", FOUR_EYES), ("steward", FOUR_EYES)],
)
def test_naming_a_reader_is_routine_and_naming_anyone_else_is_not(role: str, requires: str) -> None:
    assert verdict(OLGA, principal_delta(IDS, ACME, "new", role)) == requires


# Each of these would give a right that the operator lacks, were it taken for routine.
SMUGGLED = {
    "a project that is an operator too": (
        'project:evil a fo:Project , fo:Person ; fo:slug "evil" ; fo:lineageGraph lineage:evil ;'
        " fo:hasRole fo:OperatorRole . lineage:evil a fo:NamedGraph ."
    ),
    "a project with a role": (
        'project:evil a fo:Project ; fo:slug "evil" ; fo:lineageGraph lineage:evil ;'
        " fo:hasRole fo:OperatorRole . lineage:evil a fo:NamedGraph ."
    ),
    "a project that is the organisation": (
        'project:evil a fo:Project , fo:Organisation ; fo:slug "evil" ; fo:timeLock "PT0S" ;'
        " fo:lineageGraph lineage:evil . lineage:evil a fo:NamedGraph ."
    ),
    "a graph with a role": (
        'project:evil a fo:Project ; fo:slug "evil" ; fo:lineageGraph lineage:evil .'
        " lineage:evil a fo:NamedGraph ; fo:hasRole fo:OperatorRole ."
    ),
    "a project over another one's slug": (
        'ex:evil a fo:Project ; fo:slug "shop" ; fo:lineageGraph lineage:evil .'
        " lineage:evil a fo:NamedGraph ."
    ),
    "a project over another one's graph": (
        'project:evil a fo:Project ; fo:slug "evil" ; fo:lineageGraph lineage:shop .'
    ),
    "a project whose graph is the ontology": (
        'project:evil a fo:Project ; fo:slug "evil" ; fo:lineageGraph graph:ontology .'
    ),
    "a graph of nobody": "lineage:evil a fo:NamedGraph .",
    "a steward of a project that exists": (
        'principal:evil a fo:Steward ; fo:slug "evil" ; fo:hasRole fo:StewardRole ;'
        " fo:stewardOf project:shop ."
    ),
    "a steward who is an operator": (
        'principal:evil a fo:Steward ; fo:slug "evil" ; fo:hasRole fo:OperatorRole .'
    ),
    "a reader with two roles": (
        'principal:evil a fo:Person ; fo:slug "evil" ; fo:hasRole fo:AnalystRole ;'
        " fo:hasRole fo:OperatorRole ."
    ),
    "a reader who is a steward": (
        'principal:evil a fo:Person , fo:Steward ; fo:slug "evil" ; fo:hasRole fo:AnalystRole .'
    ),
    "a reader with a grant of its own": (
        'principal:evil a fo:Person ; fo:slug "evil" ; fo:hasRole fo:AnalystRole .'
        " grant:evil a fo:Grant ; fo:grantee principal:evil ; fo:onGraph graph:ontology ."
    ),
    "a reader under another name": (
        'ex:evil a fo:Person ; fo:slug "evil" ; fo:hasRole fo:AnalystRole .'
    ),
    "a role for somebody who is there": "principal:anna fo:hasRole fo:OperatorRole .",
    "a role by itself": "principal:evil fo:hasRole fo:OperatorRole .",
    "another organisation": 'ex:evil a fo:Organisation ; fo:slug "a" ; fo:timeLock "PT0S" .',
    "a shorter time lock": 'organisation:acme fo:timeLock "PT0S" .',
    "a class": "ex:Evil rdfs:subClassOf fo:Operator .",
    "a slug that is none": (
        'project:a\\/b a fo:Project ; fo:slug "a/b" ; fo:lineageGraph lineage:a\\/b .'
        " lineage:a\\/b a fo:NamedGraph ."
    ),
}


@pytest.mark.parametrize("turtle", SMUGGLED.values(), ids=SMUGGLED)
def test_nothing_is_smuggled_in_as_routine(turtle: str) -> None:
    assert verdict(OLGA, governance_delta(turtle)) == FOUR_EYES
    # Nor in the company of what is routine.
    company = project_delta(IDS, ACME, "new", "New").additions
    assert verdict(OLGA, Delta(company | governance_delta(turtle).additions)) == FOUR_EYES


@pytest.mark.parametrize(
    ("limit", "requires"),
    [("20000", AUTO), ("20001", FOUR_EYES), ('"\u00b2"', FOUR_EYES), ("-1", FOUR_EYES)],
)
def test_a_new_steward_gets_no_wider_grant_than_usual(limit: str, requires: str) -> None:
    turtle = (
        'project:new a fo:Project ; fo:slug "new" ; fo:lineageGraph lineage:new .'
        " lineage:new a fo:NamedGraph ."
        ' principal:steward-new a fo:Steward ; fo:slug "steward-new" ; fo:stewardOf project:new .'
        " grant:new a fo:Grant ; fo:grantee principal:steward-new ; fo:onGraph lineage:new ;"
        f" fo:onProject project:new ; fo:autoApplyLimit {limit} ."
    )
    assert verdict(OLGA, governance_delta(turtle)) == requires


def test_a_grant_is_for_the_new_steward_and_the_new_graph() -> None:
    start = (
        'project:new a fo:Project ; fo:slug "new" ; fo:lineageGraph lineage:new .'
        " lineage:new a fo:NamedGraph . grant:new a fo:Grant ; "
    )
    for rest in (
        "fo:grantee principal:anna ; fo:onGraph lineage:new .",
        "fo:grantee principal:steward-shop ; fo:onGraph lineage:new .",
        "fo:grantee principal:new ; fo:onGraph lineage:shop .",
        "fo:grantee principal:new ; fo:onGraph graph:ontology .",
        "fo:grantee principal:new ; fo:onProject project:shop .",
    ):
        assert verdict(OLGA, governance_delta(start + rest)) == FOUR_EYES


def test_many_at_once_are_no_routine() -> None:
    many = [
        principal_delta(IDS, ACME, f"r{n}", "analyst").additions for n in range(MAX_ROUTINE + 1)
    ]
    assert verdict(OLGA, Delta(frozenset().union(*many[1:]))) == AUTO
    assert verdict(OLGA, Delta(frozenset().union(*many))) == FOUR_EYES


def test_routine_with_a_change_of_another_graph_is_none() -> None:
    delta = project_delta(IDS, ACME, "new", "New")
    both = Delta(delta.additions | lineage(1, IDS.graph("ontology")).additions)
    assert verdict(OLGA, both) == FOUR_EYES


# --- restriction


def test_a_graph_is_restricted_while_it_is_empty() -> None:
    for delta in (
        governance_delta("lineage:shop fo:restricted true ."),
        governance_delta("lineage:shop fo:restricted true .").inverse(),
        governance_delta("graph:ontology fo:restricted false ."),
    ):
        POLICY.refuse_restriction_change(delta, lambda graph: False)
        with pytest.raises(Forbidden, match="settled when its project is created"):
            POLICY.refuse_restriction_change(delta, lambda graph: True)


def test_saying_restricted_elsewhere_restricts_nothing() -> None:
    quad = next(iter(governance_delta("lineage:shop fo:restricted true .").additions))
    moved = Quad(quad.subject, quad.predicate, quad.object, NamedNode(SHOP))
    POLICY.refuse_restriction_change(Delta(frozenset({moved})), lambda graph: True)


# --- what a steward learned


RULE = "<{base}/id/classification-rule/x> a fo:ClassificationRule ."


def learned(graph: str, body: str = RULE) -> Delta:
    text = f"{PREFIXES} GRAPH <{IDS.graph(graph)}> {{ {body.replace('{base}', IDS.base)} }}"
    return Delta(frozenset(map(canonical_quad, parse(text.encode(), format=RdfFormat.TRIG))))


@pytest.mark.parametrize(
    ("graph", "kind"),
    [
        ("rules", "https://w3id.org/fractalops/ns#ClassificationRule"),
        ("ontology", "http://www.w3.org/2002/07/owl#Class"),
        ("shapes", "http://www.w3.org/ns/shacl#NodeShape"),
    ],
)
def test_a_steward_may_ask_for_what_it_learned_and_a_person_decides(graph: str, kind: str) -> None:
    delta = learned(graph, f'<{{base}}/id/learned/x> a <{kind}> ; rdfs:label "x" .')
    POLICY.authorise(VIEW, SHOP_STEWARD, "shop", delta.graphs())
    POLICY.refuse_rewriting(VIEW, SHOP_STEWARD, delta, lambda graph, iri: False)
    assert verdict(SHOP_STEWARD, delta) == FOUR_EYES


@pytest.mark.parametrize("graph", ["governance", "assets"])
def test_a_steward_asks_for_no_rights_and_no_assets(graph: str) -> None:
    with pytest.raises(Forbidden, match="holds no grant"):
        POLICY.authorise(VIEW, SHOP_STEWARD, "shop", [IDS.graph(graph)])
    with pytest.raises(Forbidden, match="holds no grant"):
        POLICY.authorise(VIEW, SHOP_STEWARD, "shop", [IDS.graph("rules"), IDS.graph(graph)])


@pytest.mark.parametrize(
    ("who", "project"), [(SHOP_STEWARD, "billing"), (SHOP_STEWARD, None), (ANNA, "shop")]
)
def test_it_learns_for_its_own_project_alone(who: str, project: str | None) -> None:
    with pytest.raises(Forbidden, match="holds no grant"):
        POLICY.authorise(VIEW, who, project, [IDS.graph("rules")])


def test_a_steward_takes_no_rule_away_and_changes_none() -> None:
    added = learned("rules")
    removed = Delta(removals=added.additions)
    with pytest.raises(Forbidden, match="takes none away"):
        POLICY.refuse_rewriting(VIEW, SHOP_STEWARD, removed, lambda graph, iri: False)
    with pytest.raises(Forbidden, match="speaks of"):
        POLICY.refuse_rewriting(VIEW, SHOP_STEWARD, added, lambda graph, iri: True)
    for delta in (removed, added):
        POLICY.refuse_rewriting(VIEW, OLGA, delta, lambda graph, iri: True)


@pytest.mark.parametrize("subject", ["fo:Grant", "<https://w3id.org/fractalops/shapes#Grant>"])
def test_a_steward_says_nothing_of_terms_that_are_not_its_organisations(subject: str) -> None:
    delta = learned("shapes", f"{subject} a fo:ClassificationRule .")
    with pytest.raises(Forbidden, match="no terms but"):
        POLICY.refuse_rewriting(VIEW, SHOP_STEWARD, delta, lambda graph, iri: False)
