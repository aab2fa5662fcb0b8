"""What stays unknown becomes proposals of rules: one for each kind, few at a time, each once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.language_models import FakeListChatModel
from pyoxigraph import NamedNode, Quad, RdfFormat, parse

from ingest.classify import rules_from_quads
from ingest.events import ERROR_SOURCE, PRODUCT_SOURCE, Event
from ontology.ids import Ids
from ontology.library import rules_turtle
from ontology.terms import canonical_quad
from ontology.vocab import Fo
from stewards.reflection import MAX_OPEN, NO_ROOM, PLAIN, QUIET
from stewards.reflection_clusters import MIN_FACTS, Row, fallbacks, gathered
from stewards.reflection_draft import place_of, plain_words, quads_of, rule_iri
from stewards.reflection_model import Budget, Wording
from stewards.reflection_terms import Term, closest, words

if TYPE_CHECKING:
    from tests.stewards.conftest import Clock, Hire, PlayedGate, Traffic

HOUR = timedelta(hours=1)
IDS = Ids()


def row(name: str, facts: int = MIN_FACTS, **more: Any) -> Row:
    values: dict[str, Any] = {
        "source": PRODUCT_SOURCE,
        "kind": "",
        "trusted": facts,
        "keys": ["carrier"],
        "batches": ["sha256:" + "0" * 64],
        "last": "2026-11-22T12:00:00Z",
        "least": '{"carrier":"dhl"}',
        "most": '{"carrier":"dhl"}',
        "examples": [[1, f"id of {name}", '{"carrier":"dhl"}']],
    }
    return Row(name=name, facts=facts, **values | more)


@pytest.mark.parametrize(
    ("names", "when_names"),
    [
        (["order shipped"], ["order shipped"]),
        (["order 4711 shipped", "order 4712 shipped"], ["order *"]),
        (["4711 shipped", "4712 shipped"], []),
        (["<b>order</b>"], []),
        (["order\u202e shipped"], []),
        (["any*"], []),
        (["n" * 121], []),
        (["AKIA" + "A" * 16], []),
    ],
)
def test_a_cluster_is_what_a_rule_can_name(names: list[str], when_names: list[str]) -> None:
    found = gathered([row(name) for name in names])
    assert [cluster.when_name for cluster in found.clusters] == when_names
    assert sum(found.set_aside.values()) == (0 if when_names else MIN_FACTS * len(names))


def test_names_that_differ_in_an_identifier_are_counted_together() -> None:
    rows = [row(f"order {n} shipped", 10, keys=["carrier", f"k{n}"]) for n in range(9)]
    [cluster] = gathered(rows).clusters
    assert (cluster.facts, cluster.name) == (90, "order {id} shipped")
    assert (cluster.keys, len(cluster.examples)) == (("carrier",), 3)
    assert gathered(rows[::-1]) == gathered(rows)
    assert gathered(rows[:4]).clusters == ()


@pytest.mark.parametrize(
    ("least", "most", "shared"),
    [
        ("dhl", "dhl", {"carrier": "dhl"}),
        ("true", "true", {"carrier": "true"}),
        ("1.4.2", "1.4.2", {"carrier": "1.4.2"}),
        ("dhl", "ups", {}),
        ("Ann Smith", "Ann Smith", {}),
        ("4915112345678", "4915112345678", {}),
        ("", "", {}),
    ],
)
def test_only_what_all_share_and_tells_nothing_is_shown(
    least: str, most: str, shared: dict[str, str]
) -> None:
    bounds: dict[str, Any] = {
        "least": f'{{"carrier":"{least}"}}',
        "most": f'{{"carrier":"{most}"}}',
    }
    [cluster] = gathered([row("order shipped", **bounds)]).clusters
    assert cluster.shared == shared


def test_what_trusted_senders_sent_comes_first() -> None:
    invented = row("invented", 9_000, trusted=0)
    assert [c.name for c in gathered([invented, row("real")]).clusters] == ["real", "invented"]


def test_the_closest_terms_are_told_by_their_words() -> None:
    terms = [
        Term("http://e/ProductEventType", "Product event type", "A kind of event of a product."),
        Term("http://e/Shipment", "Shipment", "An order that is shipped by a carrier."),
        Term("http://e/Job", "Job", "Work that is done again and again."),
    ]
    found = closest("order shipped", ["carrier"], terms)
    assert [(term.label, likeness) for term, likeness in found] == [("Shipment", 0.257)]
    assert closest("order shipped", ["carrier"], terms[::-1]) == found
    assert words("camelCase snake_case OrdersOf") == {"camel", "case", "snake", "order"}


def test_only_the_rule_for_any_product_event_says_nothing_of_what_it_fits() -> None:
    rules = rules_from_quads(
        quad
        for turtle in rules_turtle().values()
        for quad in parse(turtle, format=RdfFormat.TURTLE)
    )
    assert fallbacks(rules) == {Fo.rule_product_custom}


@pytest.mark.parametrize(
    ("source", "kind", "event_class"),
    [
        (PRODUCT_SOURCE, "", Fo.ProductEventType),
        (ERROR_SOURCE, "check-in", IDS.instance("class", "check-in")),
        (ERROR_SOURCE, "transaction", None),
        (ERROR_SOURCE, "message", None),
    ],
)
def test_what_the_rules_leave_out_on_purpose_is_left_out(
    source: str, kind: str, event_class: str | None
) -> None:
    [cluster] = gathered([row("x", source=source, kind=kind)]).clusters
    place = place_of(cluster, IDS)
    assert (place and place.event_class) == event_class


# --- the whole way, against facts and the shapes


@pytest.fixture
def rules(gate: PlayedGate, ids: Ids) -> Iterator[PlayedGate]:
    """The gate, with the shipped rules but the one for any product event."""
    graph = NamedNode(ids.graph("rules"))
    quads = [
        canonical_quad(Quad(quad.subject, quad.predicate, quad.object, graph))
        for turtle in rules_turtle().values()
        for quad in parse(turtle, format=RdfFormat.TURTLE)
        if not str(quad.subject).endswith("#rule-product-custom>")
    ]
    gate.add(quads)
    yield gate
    gate.remove(quads)


def send(traffic: Traffic, name: str, count: int = 100, **more: Any) -> None:
    send_each(traffic, [name] * count, **more)


def send_each(traffic: Traffic, names: list[str], **more: Any) -> None:
    """One batch with a fact of each of these names."""
    traffic.seq += 1
    traffic.warehouse.insert(
        [
            Event(
                traffic.project,
                more.get("source", PRODUCT_SOURCE),
                f"{name.split()[-1]}-{traffic.seq}-{number}",
                1_763_000_000_000_000_000 + number,
                0,
                name,
                more.get("kind", ""),
                *("", "web", "", "", "", "", "", ""),
                attributes={
                    "carrier": "dhl",
                    "fractalops.person": "p17",
                    "note": "For Ann Smith",
                    "parcels": str(number),
                },
                seq=traffic.seq,
                batch=f"sha256:{traffic.seq:064x}",
                event_class=Fo.ProductEventType if more.get("rule") else "",
                rule=more.get("rule", ""),
            )
            for number, name in enumerate(names)
        ]
    )


def test_a_hundred_unknown_events_are_one_proposal_with_what_it_takes_to_decide(
    rules: PlayedGate, traffic: Traffic, hire: Hire, clock: Clock
) -> None:
    rules.now = clock
    send(traffic, "order shipped")
    steward = hire(reflect_every=HOUR)
    steward.run_once()
    assert rules.made() == []
    clock.pass_by(HOUR)
    outcome = steward.run_once()
    assert (outcome.awaiting, len(outcome.proposals)) == (1, 1)
    [made] = rules.made()
    assert (made["state"], made["hold"]) == (
        "awaiting decision",
        "a steward's rule is decided by a person",
    )
    assert made["evidence"] == [f"sha256:{1:064x}"]
    assert made["rationale"].splitlines() == [
        "No rule of their own fits 100 facts named 'order shipped' (posthog.event) of project"
        f" {traffic.project}, 100 of them from trusted senders, the newest received"
        f" {made['rationale'].partition('received ')[2][:20]}. Proposed: a rule that gives such"
        " events the class fo:ProductEventType. A rule is for all projects.",
        "What would change: the next such events, and 100 stored facts of the project (100 now"
        " without a class) once 'fractalops classify rerun --project"
        f" {traffic.project}' is asked for.",
        *[line for line in made["rationale"].splitlines() if line.startswith("Closest")],
        "Attributes that all of them have: carrier, note, parcels.",
        *(
            f"Example shipped-1-{n} 'order shipped': carrier=dhl, note=a text, parcels=a number."
            for n in (0, 1, 10)
        ),
    ]
    assert "fo:" in made["rationale"].splitlines()[2]
    assert not [told for told in ("Ann", "p17", "fractalops.person") if told in str(made)]

    # It waits: a second one isn't made, neither soon nor later.
    clock.pass_by(HOUR)
    assert steward.run_once().proposals == ()
    # Applied, the rule fits what is stored, which waits for nothing but to be classified again.
    rules.decide(made["id"], "applied")
    clock.pass_by(HOUR)
    assert steward.run_once().proposals == ()
    rules.remove(rules.deltas[made["id"]].additions)


def test_what_only_the_rule_for_any_event_fits_gets_a_rule_of_its_own(
    rules: PlayedGate, traffic: Traffic, hire: Hire, clock: Clock, ids: Ids
) -> None:
    graph = NamedNode(ids.graph("rules"))
    general = [
        canonical_quad(Quad(quad.subject, quad.predicate, quad.object, graph))
        for turtle in rules_turtle().values()
        for quad in parse(turtle, format=RdfFormat.TURTLE)
        if quad.subject == NamedNode(Fo.rule_product_custom)
    ]
    rules.add(general)
    send(traffic, "order shipped", rule=Fo.rule_product_custom)
    send(traffic, "$pageview", rule=Fo.rule_product_page)
    steward = hire(reflect_every=HOUR)
    steward.run_once()
    clock.pass_by(HOUR)
    steward.run_once()
    rules.remove(general)
    [made] = [made for made in rules.made() if made["hold"]]
    assert "100 stored facts of the project (100 now fo:ProductEventType)" in made["rationale"]


def test_a_name_is_no_part_of_a_question(
    rules: PlayedGate, traffic: Traffic, hire: Hire, clock: Clock
) -> None:
    name = "order' OR project != '"
    send(traffic, name)
    steward = hire(reflect_every=HOUR)
    steward.run_once()
    clock.pass_by(HOUR)
    assert steward.run_once().awaiting == 1
    [made] = rules.made()
    assert "100 stored facts of the project (100 now without a class)" in made["rationale"]


def test_what_was_turned_down_is_left_alone_for_a_while(
    rules: PlayedGate, traffic: Traffic, hire: Hire, clock: Clock
) -> None:
    rules.now = clock
    send(traffic, "order shipped")
    steward = hire(reflect_every=HOUR)
    steward.run_once()
    clock.pass_by(HOUR)
    [first] = steward.run_once().proposals
    rules.decide(first, "rejected")
    clock.pass_by(QUIET - HOUR)
    assert steward.run_once().proposals == ()
    clock.pass_by(HOUR)
    assert len(steward.run_once().proposals) == 1


def test_few_wait_at_a_time(rules: PlayedGate, traffic: Traffic, hire: Hire, clock: Clock) -> None:
    for number in range(MAX_OPEN + 2):
        send(traffic, f"kind {'abcdefg'[number]}", 60 + number)
    steward = hire(reflect_every=HOUR)
    steward.run_once()
    clock.pass_by(HOUR)
    outcome = steward.run_once()
    assert (outcome.awaiting, dict(outcome.set_aside)) == (MAX_OPEN, {NO_ROOM: 2})
    clock.pass_by(HOUR)
    assert steward.run_once().proposals == ()


def test_ten_thousand_names_make_no_more_proposals_than_a_person_can_read(
    rules: PlayedGate, traffic: Traffic, hire: Hire, clock: Clock
) -> None:
    names = ["".join(letters) for letters in product("abcdefghijklmnopqrstuv", repeat=3)][:10_000]
    assert len(set(names)) == 10_000
    for place in range(0, len(names), 1_000):
        send_each(traffic, [f"seen {name}" for name in names[place : place + 1_000]])
    for name in names[: MAX_OPEN + 1]:
        send(traffic, f"often {name}", MIN_FACTS)
    steward = hire(reflect_every=HOUR)
    steward.run_once()
    for expected in (MAX_OPEN, 0, 0):
        clock.pass_by(HOUR)
        asked = len(rules.requests)
        outcome = steward.run_once()
        assert (len(outcome.proposals), dict(outcome.set_aside)) == (expected, {NO_ROOM: 1})
        # One question for the clusters and one for the effect of each rule, however many the names.
        assert rules.requests[asked:].count("POST /facts") <= 8
    assert len(rules.made()) == MAX_OPEN
    # Between two reflections the names cost nothing.
    assert not steward.run_once().set_aside


def test_a_model_that_exhausts_its_time_or_tokens_holds_nothing_up(
    rules: PlayedGate, traffic: Traffic, hire: Hire, clock: Clock
) -> None:
    held = threading.Event()

    class Endless(FakeListChatModel):
        def _call(self, *arguments: Any, **more: Any) -> str:
            held.wait(30)
            return ""

    send(traffic, "order shipped")
    send(traffic, "order packed")
    budget = Budget(seconds=0.05)
    steward = hire(reflect_every=HOUR, wording=Wording(Endless(responses=[""]), "endless", budget))
    steward.run_once()
    clock.pass_by(HOUR)
    outcome = steward.run_once()
    held.set()
    assert (outcome.awaiting, dict(outcome.set_aside)) == (2, {PLAIN: 2})
    assert "worded by" not in str([made["rationale"] for made in rules.made()])


def test_a_thing_without_a_class_comes_with_class_and_shape(
    rules: PlayedGate, traffic: Traffic, hire: Hire, clock: Clock, ids: Ids
) -> None:
    send(traffic, "nightly", source=ERROR_SOURCE, kind="check-in")
    steward = hire(reflect_every=HOUR)
    steward.run_once()
    clock.pass_by(HOUR)
    assert steward.run_once().awaiting == 1
    [made] = rules.made()
    assert made["graphs"] == sorted(map(ids.graph, ("ontology", "rules", "shapes")))
    assert "the new class" in made["rationale"]


def test_two_stewards_that_see_the_same_mint_the_same(ids: Ids) -> None:
    [one] = gathered([row("order shipped")]).clusters
    [other] = gathered([row("order shipped", 77, keys=[])]).clusters
    place = place_of(one, ids)
    assert place is not None
    quads = quads_of(one, place, plain_words(one), ids)
    assert quads == quads_of(other, place, plain_words(other), ids)
    assert rule_iri(one, ids) in str(quads[0].subject)
