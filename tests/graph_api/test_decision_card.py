"""What somebody is shown who decides: on a real gate, with facts that real payloads became."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyoxigraph import RdfFormat, parse

from graph_api.auth import Caller
from graph_api.decision_card import MOST_SENTENCES, MOST_STATEMENTS, MOST_THINGS, DecisionCards
from graph_api.erasure import Told
from graph_api.evidence_trace import EvidenceTrace
from graph_api.harmless import MOST_CHARACTERS, harmless, harmless_json, harmless_rdf, visible
from graph_api.saved_queries import MEMORY, SAVED, Preview
from ingest.classify import Classifier, rules_from_quads
from ingest.decoders import decoders
from ingest.errors import WarehouseUnavailable
from ingest.inbox import Inbox
from ingest.otlp import PROTOBUF
from ingest.pseudonyms import Pseudonyms
from ingest.pump import Pump
from ingest.sender import Sender
from ingest.warehouse import Warehouse
from ontology.library import rules_turtle
from ontology.vocab import Fo
from proofs.orders import Result
from proofs.proposal import ProposalView
from shapes.sparql_process import Runner
from tests.ingest.conftest import Payload, inbox, payload, warehouse
from tests.proofs.conftest import (
    Gate,
    controlled,
    controlled_folder,
    founded,
    gate,
    order_on,
    signer,
)

__all__ = [  # fixtures
    "controlled",
    "controlled_folder",
    "founded",
    "gate",
    "inbox",
    "payload",
    "signer",
    "warehouse",
]

HOSTILE = 'cart" is harmless. "\u202edetneserp\x1b[2J<img src=x>[bold]`'


@dataclass
class Desk:
    """Cards on a gate, an inbox and a warehouse."""

    gate: Gate
    inbox: Inbox
    warehouse: Warehouse
    cards: DecisionCards

    def caller(self, role: str = "operator", hidden: frozenset[str] = frozenset()) -> Caller:
        who = self.gate.operator if role == "operator" else self.gate.ids.principal("ann")
        return Caller(who, "somebody", role, None, hidden)

    def wait(self, turtle: str, evidence: Sequence[str] = ()) -> ProposalView:
        """A proposal of the shop's steward that waits for a person."""
        asked = self.gate.request(turtle, evidence=evidence)
        request = replace(asked, hold="a person should look")
        view = self.gate.ledger.submit(self.gate.steward, request)
        assert view is not None
        return view

    def card(self, view: ProposalView, caller: Caller | None = None) -> dict[str, Any]:
        found = self.cards.card(view, caller or self.caller())
        assert json.loads(json.dumps(found)) == found
        return found

    def shown(self, body: bytes, *, project: str = "shop") -> str:
        """The commitment of a payload that has become facts."""
        receipt = self.inbox.submit_blocking(Sender(project), "otel.span", PROTOBUF, body)
        quads = [q for text in rules_turtle().values() for q in parse(text, RdfFormat.TURTLE)]
        classifier = Classifier(rules_from_quads(quads), self.gate.ids, "rules of the test")
        pump = Pump(self.inbox, self.warehouse, lambda: classifier, decoders(Pseudonyms(b"key")))
        pump.start()
        assert pump.wait_for(receipt.seq, 20)
        pump.stop()
        (batch,) = [b for b in self.inbox.evidence.batches(limit=9) if b.seq == receipt.seq]
        return batch.digest


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    runner = Runner(MEMORY)
    yield runner
    runner.close()


def nothing_is_erased(entry: int) -> Told:
    raise AssertionError(entry)


@pytest.fixture
def desk(gate: Gate, inbox: Inbox, warehouse: Warehouse, runner: Runner) -> Iterator[Desk]:
    yield from desk_on(gate, inbox, warehouse, runner)


@pytest.fixture
def control_desk(
    controlled: Gate, inbox: Inbox, warehouse: Warehouse, runner: Runner
) -> Iterator[Desk]:
    yield from desk_on(controlled, inbox, warehouse, runner)


def desk_on(gate: Gate, inbox: Inbox, warehouse: Warehouse, runner: Runner) -> Iterator[Desk]:
    scratch = gate.folder / "scratch"
    scratch.mkdir()
    preview = Preview(gate.store, scratch, gate.ledger.writer_lock, runner)
    cards = DecisionCards(
        ledger=gate.ledger,
        store=gate.store,
        ids=gate.ids,
        warehouse=warehouse,
        trace=EvidenceTrace(inbox, warehouse, nothing_is_erased),
        preview=preview,
    )
    yield Desk(gate, inbox, warehouse, cards)
    assert list(scratch.iterdir()) == []


def quarrel(graph: str, label: str) -> str:
    """A conflict on a dataset, as a project's lineage graph states it."""
    return f"""
        ex:table a fo:Dataset ; rdfs:label "table" .
        ex:load a fo:Job ; rdfs:label "load" ; fo:inProject project:{graph} .
        ex:one a fo:SourceClaim ; fo:source "otel.span" ; fo:claims "reads" .
        ex:two a fo:SourceClaim ; fo:source "openlineage.event" ; fo:claims "writes" ;
            fo:claimedBy ex:load .
        ex:quarrel a fo:Conflict ; rdfs:label "{label}" ; fo:inProject project:{graph} ;
            fo:conflictKind "access" ; fo:disputes ex:table ; fo:hasClaim ex:one , ex:two .
    """


@pytest.mark.parametrize("thing", ["ex:table fo:system 'x' .", "ex:load fo:namespace 'x' ."])
def test_conflicts_of_what_it_is_about_are_told(desk: Desk, thing: str) -> None:
    desk.gate.propose(quarrel("shop", "access: <b>load</b> reads"))
    card = desk.card(desk.wait(thing))
    [told] = card["conflicts"]
    assert told["id"].endswith("quarrel")
    assert told["label"].startswith("access: ")
    assert "<b>" not in told["label"]
    assert desk.card(desk.wait(desk.gate.service("cart")))["conflicts"] == []
    hidden = frozenset({desk.gate.ids.lineage_graph("shop")})
    assert (
        desk.card(desk.wait("ex:table fo:system 'y' ."), desk.caller(hidden=hidden))["conflicts"]
        == []
    )


def claims(card: dict[str, Any]) -> dict[str, str]:
    return {row["text"]: row["claim"] for row in card["changes"]["words"]}


def test_a_claim_is_verified_where_facts_say_it_and_asserted_where_the_author_does(
    desk: Desk, payload: Payload
) -> None:
    attributes = {"http.request.method": "GET", "http.route": "/cart"}
    evidence = desk.shown(payload(3, service="cart", attributes=attributes))
    ids = desk.gate.ids
    service = ids.service("shop", "cart")
    ((route,),) = desk.warehouse.query("SELECT DISTINCT subject FROM events").rows
    turtle = f"""
        <{service}> a fo:Service ; rdfs:label "cart" ; fo:inProject project:shop ;
            fo:offers <{route}> ; fo:calls ex:elsewhere .
        <{route}> a fo:HttpRoute ; rdfs:label "GET /cart" ; fo:inProject project:shop .
        ex:elsewhere a fo:Service ; rdfs:label "elsewhere" ; fo:inProject project:shop .
    """
    card = desk.card(desk.wait(turtle, evidence=[evidence]))
    marked = claims(card)
    assert {marked[text] for text in marked if text.startswith('"elsewhere"')} == {"asserted"}
    assert marked['"cart" is a Service'] == "verified"
    assert marked['"GET /cart" is a HttpRoute'] == "verified"
    assert marked['"cart": offers "GET /cart"'] == "verified"
    assert marked['"cart": calls "elsewhere"'] == "asserted"
    assert card["claims"] == {"verified": 6, "asserted": 5}
    found = card["evidence"]
    assert (found["cited"], found["unknown"], found["facts"], found["trusted"]) == (1, 0, 3, 3)
    (batch,) = found["batches"]
    assert batch["digest"] == evidence
    assert batch["payload_sha256"]
    assert {rule["class"] for rule in found["rules"]} == {Fo.HttpRoute}
    assert [sample["about_a_change"] for sample in found["samples"]] == [True] * 3
    assert found["samples"][0]["service"] == "cart"
    assert "attributes" not in found["samples"][0]


def test_forged_evidence_verifies_nothing(desk: Desk, payload: Payload) -> None:
    others = desk.shown(payload(1, service="cart"), project="billing")

    def said(name: str) -> str:
        service = desk.gate.ids.service("shop", name)
        return f'<{service}> a fo:Service ; rdfs:label "{name}" ; fo:inProject project:shop .'

    # Facts of another project, and a batch that never came. Each change is another one: of the same
    # change by the same author one waits.
    for name, evidence, unknown in (("cart", others, 0), ("till", "sha256:" + "a" * 64, 1)):
        card = desk.card(desk.wait(said(name), evidence=[evidence]))
        assert card["claims"] == {"asserted": 3}
        assert (card["evidence"]["facts"], card["evidence"]["unknown"]) == (0, unknown)
    assert desk.card(desk.wait(said("stock")))["claims"] == {"uncited": 3}


def test_what_a_project_may_not_read_of_others_is_not_known_to_it(
    desk: Desk, payload: Payload
) -> None:
    others = desk.shown(payload(1, service="cart"), project="billing")
    view = desk.wait(desk.gate.service("cart"), evidence=[others])
    (batch,) = desk.card(view)["evidence"]["batches"]
    assert batch["project"] == "billing"
    found = desk.card(view, desk.caller("analyst"))["evidence"]
    assert found["batches"] == [{"digest": others, "known": False}]


def test_the_words_the_patch_and_the_things_as_they_would_be(desk: Desk) -> None:
    desk.gate.propose(desk.gate.service("cart"))
    view = desk.wait("ex:cart fo:calls ex:stock .\n" + desk.gate.service("stock"))
    card = desk.card(view)
    assert '"cart": calls "stock"' in claims(card)
    assert {row["graph"] for row in card["changes"]["words"]} == {"lineage/shop"}
    assert card["changes"]["patch"] == desk.gate.ledger.delta_of(view).patch()
    things = {thing["name"]: thing for thing in card["after"]["things"]}
    assert things['"cart"']["new"] == ['"cart": calls "stock"']
    assert '"cart" is a Service' in things['"cart"']["stands"]
    assert things['"stock"']["stands"] == []


def test_saved_queries_answer_before_and_after(desk: Desk) -> None:
    desk.gate.propose(desk.gate.service("cart") + desk.gate.service("old"))
    desk.gate.propose("ex:cart fo:calls ex:old .")
    before = desk.gate.ledger.state_digest
    view = desk.wait("ex:cart fo:calls ex:stock .\n" + desk.gate.service("stock"))
    answers = {answer["name"]: answer for answer in desk.card(view)["queries"]["answers"]}
    assert set(answers) == {query.name for query in SAVED}
    calls = answers["who-calls-whom"]
    assert (calls["rows_before"], calls["rows_after"]) == (1, 2)
    assert (calls["gained"], calls["lost"]) == ([["cart", "stock"]], [])
    assert answers["what-is-there"]["gained"] == [["Service", "stock"]]
    assert answers["who-may-change-what"]["gained"] == []
    # Nothing of it happened.
    assert desk.gate.ledger.state_digest == before
    assert desk.gate.store.head() == desk.gate.ledger.head


def test_a_grant_shows_in_what_saved_queries_answer(desk: Desk) -> None:
    gate = desk.gate
    turtle = f"""
        ex:wide a fo:Grant ; rdfs:label "all of it" ; fo:grantee <{gate.steward}> ;
            fo:onProject project:shop ; fo:onGraph graph:lineage%2Fshop ;
            fo:autoApplyLimit 19999 .
    """.replace("graph:lineage%2Fshop", f"<{gate.ids.lineage_graph('shop')}>")
    view = gate.propose(turtle, "governance", by=gate.operator)
    card = desk.card(view)
    assert card["decision"]["needs"] == "four eyes"
    allowed = card["decision"]["you_may"]
    assert (allowed["approve"], allowed["reject"], allowed["withdraw"]) == (False, True, True)
    answers = {answer["name"]: answer for answer in card["queries"]["answers"]}
    assert [row[2] for row in answers["who-may-change-what"]["gained"]] == ["19999"]


def test_who_may_decide(desk: Desk) -> None:
    view = desk.wait(desk.gate.service("cart"))
    decision = desk.card(view)["decision"]
    assert (decision["needs"], decision["because"]) == ("operator decision", "a person should look")
    assert decision["you_may"] == {
        **{"approve": True, "reject": True, "request changes": True},
        "withdraw": False,
    }
    other = desk.card(view, desk.caller("analyst"))["decision"]
    assert set(other["you_may"].values()) == {False}
    assert other["others_who_may_approve"] == [desk.gate.operator]
    done = desk.gate.ledger.approve(desk.gate.operator, view.id, "")
    card = desk.card(done)
    assert set(card["decision"]["you_may"].values()) == {False}
    assert (card["queries"]["answers"], card["after"]["things"]) == ([], [])


def test_what_a_stranger_wrote_is_quoted_harmlessly(desk: Desk) -> None:
    label = json.dumps(HOSTILE)
    view = desk.wait(f"ex:evil a fo:Service ; rdfs:label {label} ; fo:inProject project:shop .")
    card = desk.card(replace(view, rationale=HOSTILE))
    patch = card["changes"].pop("patch")
    text = json.dumps(card, ensure_ascii=False)
    for sign in ("\u202e", "\\u001b", "<img", "[bold]", "`", 'cart\\"'):
        assert sign not in text, sign
    assert "\u202e" not in patch
    assert "\x1b" not in patch
    # Only escaped: it is the same change.
    rows = [line.removeprefix("A ") for line in patch.splitlines()]
    read = set(parse("\n".join(rows), RdfFormat.N_QUADS))
    assert read == desk.gate.ledger.delta_of(view).additions


def test_an_order_shows_what_would_be_carried_out(control_desk: Desk) -> None:
    gate = control_desk.gate
    order = order_on(
        gate.ids,
        "printf",
        HOSTILE,
        "",
        effect="changes",
        rule='["printf","..."] (changes)',
        person=HOSTILE,
    )
    view = gate.ledger.order(gate.steward, order, rationale=HOSTILE)
    card = control_desk.card(view)
    decision = card["decision"]
    assert (decision["needs"], decision["approvals_missing"]) == ("four eyes", 1)
    assert decision["you_may"]["approve"]
    shown = card["order"]
    assert (shown["asset"], shown["roles"], shown["effect"]) == ("web-1", ["web"], "changes")
    assert shown["rule"] == '["printf", "..."] (changes)'
    parts = {row["part"]: json.loads(row["text"]) for row in shown["action"]}
    assert parts == {
        **{"kind": "run", "program": "printf", "argument 1": HOSTILE, "argument 2": ""},
        "seconds": 60,
    }
    text = json.dumps(card, ensure_ascii=False)
    for sign in ("\u202e", "\\u001b[", "<img", "[bold]", "`"):
        assert sign not in text, sign
    assert card["changes"] == {"words": [], "omitted": 0, "patch": "", "things": 0}
    assert card["queries"] == {"answers": [], "unanswered": "an order changes no graph"}
    gate.ledger.approve(gate.operator, view.id, "")
    gate.ledger.begin(view.id)
    done = gate.ledger.finish(view.id, Result({"exit_code": 0, "signal": None}))
    rows = {row["part"]: row["text"] for row in control_desk.card(done)["order"]["result"]}
    assert rows == {"exit_code": "0", "signal": "null"}


def test_a_proposal_does_not_rename_what_it_talks_about(desk: Desk) -> None:
    desk.gate.propose(desk.gate.service("bank", label="the bank"))
    view = desk.wait(
        'ex:bank rdfs:label "a harmless test" ; fo:calls ex:x .' + desk.gate.service("x")
    )
    assert '"the bank": calls "x"' in claims(desk.card(view))


def test_a_large_change_makes_no_large_card(desk: Desk) -> None:
    turtle = "".join(desk.gate.service(f"s{number}", label="x" * 900) for number in range(400))
    turtle += "".join(f"ex:s0 fo:calls ex:s{number} .\n" for number in range(1, 400))
    card = desk.card(desk.wait(turtle))
    assert len(card["changes"]["words"]) == MOST_SENTENCES
    assert card["changes"]["omitted"] == 1599 - MOST_SENTENCES
    assert card["changes"]["patch"] is None
    assert card["changes"]["things"] == 400
    assert (len(card["after"]["things"]), card["after"]["omitted"]) == (MOST_THINGS, 380)
    assert all(len(thing["new"]) <= MOST_STATEMENTS for thing in card["after"]["things"])
    assert card["claims"] == {"uncited": 1599}
    assert len(json.dumps(card)) < 200_000


def test_without_the_facts_the_card_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise WarehouseUnavailable("the facts are away")

    view = desk.wait(desk.gate.service("cart"), evidence=["sha256:" + "a" * 64])
    monkeypatch.setattr(desk.warehouse, "query", away)
    card = desk.card(view)
    assert card["claims"] is None
    assert card["evidence"]["unread"] == "the facts are away"
    assert {row["claim"] for row in card["changes"]["words"]} == {None}


def test_a_comparison_that_takes_too_long_is_said_to(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph_api.saved_queries.SECONDS", 0.001)
    queries = desk.card(desk.wait(desk.gate.service("cart")))["queries"]
    assert queries["answers"] == []
    assert "came to no end" in queries["unanswered"]


@given(st.text(max_size=400))
def test_whatever_is_quoted_is_one_harmless_line(text: str) -> None:
    shown = harmless(text)
    assert visible(shown) == shown
    assert not set(shown) & set('<>&`"[]\n\r\t')
    if len(text) <= MOST_CHARACTERS and harmless(text) == text:
        assert shown == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
def test_json_that_is_made_harmless_says_the_same(value: Any) -> None:
    shown = harmless_json(value)
    assert json.loads(shown) == value
    assert shown.isascii()
    assert visible(shown) == shown
    assert not set(shown) & set("<>&`")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_rdf_that_is_made_visible_says_the_same(text: str) -> None:
    from pyoxigraph import Literal, NamedNode, Quad

    quad = Quad(NamedNode("http://x/s"), NamedNode("http://x/p"), Literal(text))
    (read,) = parse(harmless_rdf(f"{quad} .\n"), RdfFormat.N_QUADS)
    assert read.object == quad.object
