"""What a steward learned goes through the gate like everything else, and a person decides on it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from ontology.vocab import Fo
from proofs.errors import Forbidden, WrongState
from proofs.submission import Request, read_submission
from tests.proofs.conftest import BASE, PREFIXES

if TYPE_CHECKING:
    from tests.proofs.conftest import Gate

RULE = """
<{base}/id/classification-rule/check-in> a fo:ClassificationRule ; rdfs:label "nightly" ;
    fo:source "sentry.event" ; fo:priority 50 ; fo:whenName "nightly" ; fo:whenKind "check-in" ;
    fo:classifiesAs {target} ; fo:operationKind "check-in" ; fo:nameTemplate "{{event.name}}" .
"""
OWN = f"<{BASE}/id/class/check-in>"
CLASS = f'{OWN} a owl:Class ; rdfs:label "Check-in" ; rdfs:subClassOf fo:InternalOperation .'
SHAPE = f"""
<{BASE}/id/shape/check-in> a sh:NodeShape ; sh:targetClass {OWN} ;
    sh:property <https://w3id.org/fractalops/shapes#label> .
"""


def asked(gate: Gate, rationale: str = "learned", **graphs: str) -> Request:
    body = PREFIXES + "".join(
        f"GRAPH graph:{name} {{ {turtle} }}\n" for name, turtle in graphs.items()
    )
    return read_submission(
        body.encode(), "application/trig", gate.ids, project="shop", rationale=rationale
    )


def rule(target: str = OWN) -> str:
    return RULE.format(base=BASE, target=target)


def test_a_rule_waits_for_a_person_and_no_time_lock_releases_it(gate: Gate) -> None:
    view = gate.ledger.submit(gate.steward, asked(gate, rules=rule(), ontology=CLASS))
    assert view is not None
    assert (view.state, view.time_lock_until) == ("awaiting decision", None)
    gate.clock.now += timedelta(days=400)
    assert gate.ledger.tick() == 0
    with pytest.raises(Forbidden, match="decided by operators"):
        gate.ledger.approve(gate.steward, view.id, "")
    assert gate.ledger.approve(gate.operator, view.id, "").state == "applied"
    gate.sound()


def test_a_new_class_comes_with_its_shape_and_the_rule_that_gives_it(gate: Gate) -> None:
    view = gate.ledger.submit(gate.steward, asked(gate, rules=rule(), ontology=CLASS, shapes=SHAPE))
    assert view is not None
    assert view.state == "awaiting decision"
    assert gate.ledger.approve(gate.operator, view.id, "").state == "applied"
    gate.sound()
    # Nor is what it learned its own to change, once it is there.
    with pytest.raises(Forbidden, match="speaks of"):
        gate.ledger.submit(gate.steward, asked(gate, ontology=f'{OWN} rdfs:label "Else" .'))
    # What was decided once isn't decided again: an old approval is of no use.
    with pytest.raises(WrongState):
        gate.ledger.approve(gate.operator, view.id, "")


@pytest.mark.parametrize(
    ("graphs", "said"),
    [
        ({"governance": f"principal:steward-shop fo:hasRole <{Fo.OperatorRole}> ."}, "no grant"),
        (
            {
                "rules": rule(),
                "governance": f"principal:steward-shop fo:hasRole <{Fo.OperatorRole}> .",
            },
            "no grant",
        ),
        ({"rules": f"principal:steward-shop fo:hasRole <{Fo.OperatorRole}> ."}, "nothing else"),
        ({"ontology": rule(f"<{Fo.Service}>")}, "nothing else"),
        (
            {
                "rules": f"<{BASE}/id/redaction-rule/all> a fo:RedactionRule ; fo:priority 900 ;"
                ' fo:valuePattern ".+" ; fo:replacement "x" .'
            },
            "nothing else",
        ),
        ({"ontology": f"{CLASS} {OWN} a fo:Service ."}, "nothing else"),
        (
            {"shapes": "<https://w3id.org/fractalops/shapes#Grant> sh:deactivated true ."},
            "no terms",
        ),
        ({"rules": "fo:rule-http-server fo:priority 1 ."}, "no terms"),
        ({"ontology": "fo:Grant rdfs:subClassOf fo:Service ."}, "no terms"),
    ],
)
def test_nothing_else_gets_through(gate: Gate, graphs: dict[str, str], said: str) -> None:
    head = gate.ledger.head
    with pytest.raises(Forbidden, match=said):
        gate.ledger.submit(gate.steward, asked(gate, **graphs))
    assert gate.ledger.head == head


def test_shapes_are_not_taken_away(gate: Gate) -> None:
    added = asked(gate, shapes=SHAPE)
    taken = Request(frozenset(), added.additions, project="shop", rationale="away")
    with pytest.raises(Forbidden, match="takes none away"):
        gate.ledger.submit(gate.steward, taken)
