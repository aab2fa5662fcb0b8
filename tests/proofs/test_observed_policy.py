"""What applies at once as the status of assets, and what doesn't."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pyoxigraph import RdfFormat, parse

from ontology.ids import Ids
from ontology.terms import Delta, canonical_quad
from proofs.errors import Forbidden
from proofs.genesis import genesis_delta, principal_delta, project_delta
from proofs.governance import read_governance
from proofs.observed_policy import MOST_ASSETS, MOST_EVIDENCE, is_observation
from proofs.policy import AUTO, FOUR_EYES, ONE_OPERATOR, Policy

IDS = Ids()
ASSETS, GOVERNANCE = IDS.graph("assets"), IDS.graph("governance")
ACME = IDS.organisation("acme")
OLGA, ANNA, PLATFORM = (IDS.principal(name) for name in ("olga", "anna", "policy"))
SHOP_STEWARD, WATCHER = IDS.principal("steward-shop"), IDS.principal("watcher")
PREFIXES = f"""
@prefix fo: <https://w3id.org/fractalops/ns#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
@prefix asset: <{IDS.base}/id/runtime-asset/> .
@prefix evidence: <{IDS.base}/id/evidence/> .
@prefix principal: <{IDS.base}/id/principal/> .
@prefix grant: <{IDS.base}/id/grant/shop/> .
"""
GRANT = f"""grant:watcher a fo:Grant ; fo:grantee principal:watcher ; fo:onGraph <{ASSETS}> ;
    fo:autoApplyLimit 5 ."""
POLICY = Policy(IDS)


def delta(added: str, removed: str = "", graph: str = ASSETS) -> Delta:
    def quads(turtle: str) -> frozenset[object]:
        body = f"{PREFIXES} GRAPH <{graph}> {{ {turtle} }}"
        return frozenset(map(canonical_quad, parse(body.encode(), format=RdfFormat.TRIG)))

    return Delta(quads(added), quads(removed))  # type: ignore[arg-type]


VIEW = read_governance(
    genesis_delta(IDS, "acme", "olga", timedelta(hours=24)).in_graph(GOVERNANCE).additions
    | project_delta(IDS, ACME, "shop", "Shop").additions
    | principal_delta(IDS, ACME, "anna", "analyst").additions
    | delta(GRANT, graph=GOVERNANCE).additions
)
RUNNING = 'asset:box fo:assetStatus "running" ; fo:statusSince "2026-11-28T10:00:00Z"^^xsd:dateTime'
STOPPED = 'asset:box fo:assetStatus "stopped" ; fo:statusSince "2026-11-28T11:00:00Z"^^xsd:dateTime'
SHOWN = " ; fo:statusEvidence evidence:aa "


def many(count: int) -> str:
    return "".join(RUNNING.replace("asset:box", f"asset:box{n}") + " ." for n in range(count))


OBSERVATIONS = {
    "the first": delta(RUNNING + " ."),
    "a change": delta(STOPPED + SHOWN + ".", RUNNING + SHOWN + "."),
    "of several": delta(many(MOST_ASSETS)),
}
OTHERS = {
    "nothing": delta(""),
    "no time": delta('asset:box fo:assetStatus "running" .'),
    "no state": delta('asset:box fo:statusSince "2026-11-28T10:00:00Z"^^xsd:dateTime .'),
    "taken away": delta("", RUNNING + "."),
    "of another taken away": delta(RUNNING + ".", STOPPED.replace("asset:box", "asset:b") + "."),
    "two states": delta(RUNNING + ' ; fo:assetStatus "stopped" .'),
    "a role besides": delta(RUNNING + ' ; fo:assetRole "executor" .'),
    "a role taken besides": delta(RUNNING + ".", 'asset:box fo:assetRole "executor" .'),
    "a new asset": delta(RUNNING + " ; a fo:LxcAsset ."),
    "permission": delta(RUNNING + ". asset:box fo:permits asset:any ."),
    "too many": delta(many(MOST_ASSETS + 1)),
    "too much evidence": delta(
        RUNNING + "".join(f" ; fo:statusEvidence evidence:a{n}" for n in range(MOST_EVIDENCE + 1))
    ),
    "elsewhere": delta(RUNNING + ".", graph=IDS.lineage_graph("shop")),
    "there and elsewhere": Delta(
        delta(RUNNING + ".").additions | delta(RUNNING + ".", graph=GOVERNANCE).additions
    ),
}


@pytest.mark.parametrize("change", OBSERVATIONS.values(), ids=OBSERVATIONS)
def test_status_alone_is_an_observation(change: Delta) -> None:
    assert is_observation(change, ASSETS)
    for principal in (PLATFORM, OLGA):
        assert POLICY.judge(VIEW, principal, change, lambda iri: True).requires == AUTO


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_anything_besides_is_none(change: Delta) -> None:
    assert not is_observation(change, ASSETS)
    if change.graphs() == [ASSETS]:
        for principal in (PLATFORM, OLGA):
            verdict = POLICY.judge(VIEW, principal, change, lambda iri: True)
            assert verdict.requires == FOUR_EYES


def test_who_may_observe() -> None:
    for principal in (PLATFORM, OLGA, WATCHER):
        POLICY.authorise(VIEW, principal, None, [ASSETS])
    for principal in (ANNA, SHOP_STEWARD):
        with pytest.raises(Forbidden, match="holds no grant"):
            POLICY.authorise(VIEW, principal, None, [ASSETS])


def test_a_grant_observes_within_its_limit() -> None:
    change = OBSERVATIONS["the first"]
    assert POLICY.judge(VIEW, WATCHER, change, lambda iri: True).requires == AUTO
    wide = OBSERVATIONS["a change"]
    assert len(wide) > 5
    assert POLICY.judge(VIEW, WATCHER, wide, lambda iri: True).requires == FOUR_EYES


def test_doubtful_evidence_holds_an_observation() -> None:
    change = OBSERVATIONS["the first"]
    assert POLICY.judge(VIEW, PLATFORM, change, lambda iri: True, "why").requires == ONE_OPERATOR


@pytest.mark.parametrize("graph", ["governance", "ontology", "rules", "shapes"])
def test_the_platform_proposes_to_no_other_graph(graph: str) -> None:
    with pytest.raises(Forbidden):
        POLICY.authorise(VIEW, PLATFORM, None, [IDS.graph(graph)])
