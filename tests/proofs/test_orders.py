"""Orders: what waits, that each is begun once whatever happens, and what is kept of it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph_api.lifecycle import rows_of_entry
from ontology.ids import Ids
from ontology.vocab import Fo
from proofs.bundle import body_digest
from proofs.checkpoint import SignerKey
from proofs.errors import (
    BadSubmission,
    Forbidden,
    Invalid,
    UnknownProject,
    WrongState,
)
from proofs.genesis import control_grant_delta, steward_slug
from proofs.orders import LEFT_OUT, MAX_ORDER, MAX_RESULT, Order, Result
from proofs.projections import load_entry
from proofs.proposal import ProposalView
from proofs.statement import canonical_json, parse_envelope
from proofs.submission import Request
from proofs.verify import Status, verify_bundle
from tests.proofs.conftest import BASE, Gate, asset_turtle, order_on

if TYPE_CHECKING:
    from collections.abc import Callable

IDS = Ids(BASE)
SHOP, BILLING = (IDS.principal(steward_slug(slug)) for slug in ("shop", "billing"))
READS = order_on(IDS, "uptime")
CHANGES = order_on(IDS, "reboot", effect="changes", rule='["reboot"]')
OUTPUT = "sha256:" + "ab" * 32
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
DONE = Result({"outcome": "ended", "exit_code": 3, "stdout": {"bytes": 5}}, (OUTPUT,))


def paul(gate: Gate) -> str:
    """A second operator."""
    return gate.name("paul", "operator")


def kinds(gate: Gate, view: ProposalView) -> list[str]:
    rows = [gate.index.entry(step.proof) for step in gate.ledger.proposal(view.id).transitions]
    found = {row.index: row.kind for row in rows if row is not None}
    return [found[index] for index in sorted(found)]


def states(gate: Gate, view: ProposalView) -> list[str]:
    return [step.state for step in gate.ledger.proposal(view.id).transitions]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(TEXT, max_size=4), TEXT, st.dictionaries(TEXT, JSON, max_size=3))
def test_an_order_has_one_spelling(arguments: list[str], rule: str, more: dict[str, Any]) -> None:
    action = more | {"kind": "run", "argv": ["a", *arguments]}
    order = order_on(IDS, action=action, rule=rule)
    read = Order.from_bytes(order.to_bytes())
    assert read == order
    assert read.to_bytes() == order.to_bytes()
    turned = dict(reversed(action.items()))
    assert order_on(IDS, action=turned, rule=rule).to_bytes() == order.to_bytes()


class TestItsLife:
    def test_what_reads_takes_two_entries(self, controlled: Gate) -> None:
        head = controlled.ledger.head
        begun = controlled.ledger.order(SHOP, READS, begin=True, rationale="a look")
        assert begun.state == "executing"
        assert controlled.ledger.head == head + 1
        done = controlled.ledger.finish(begun.id, DONE)
        assert kinds(controlled, done) == ["executing", "executed"]
        assert states(controlled, done) == [
            *("submitted", "valid", "approved", "executing", "executed")
        ]
        assert [(item.by, item.outcome) for item in done.decisions] == [
            (IDS.principal("policy"), "approve")
        ]
        assert (done.proof, done.head, done.evidence) == (head + 2, head + 2, (OUTPUT,))
        assert controlled.ledger.result_of(done) == DONE
        assert controlled.ledger.order_of(done).roles == ("web",)
        assert done.project is None
        assert done.rationale == "a look"
        controlled.sound()

    def test_so_many_wait_and_no_more(
        self, controlled: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("proofs.order_book.MAX_WAITING", 2)
        ledger = controlled.ledger
        first, _ = (
            ledger.order(SHOP, order_on(IDS, "reboot", name, effect="changes")) for name in "ab"
        )
        head = ledger.head
        third = order_on(IDS, "reboot", "c", effect="changes")
        with pytest.raises(BadSubmission, match=r"2 orders of .* wait") as found:
            ledger.order(SHOP, third)
        assert (found.value.kind, ledger.head) == ("too-many-waiting", head)
        assert ledger.order(SHOP, READS, begin=True).state == "executing"
        assert ledger.order(controlled.operator, third).state == "awaiting decision"
        ledger.withdraw(SHOP, first.id, "")
        assert ledger.order(SHOP, third).state == "awaiting decision"

    def test_what_changes_waits_for_another_person(self, controlled: Gate) -> None:
        gate, second = controlled, paul(controlled)
        view = gate.ledger.order(SHOP, CHANGES, project="shop")
        assert view.state == "awaiting decision"
        assert gate.ledger.verdict(view).requires == "four eyes"
        assert gate.ledger.approvals(view) == ([], 1)
        with pytest.raises(WrongState, match="awaiting decision, and not approved"):
            gate.ledger.begin(view.id)
        with pytest.raises(Forbidden, match="decided by operators"):
            gate.ledger.approve(BILLING, view.id, "")
        approved = gate.ledger.approve(second, view.id, "it is due")
        assert approved.state == "approved"
        assert approved.decisions[0].reason == "it is due"
        assert gate.ledger.begin(view.id).state == "executing"
        assert gate.ledger.finish(view.id, DONE).state == "executed"
        assert kinds(gate, view) == ["submitted", "approved", "executing", "executed"]
        with pytest.raises(WrongState):
            gate.ledger.approve(second, view.id, "")
        with pytest.raises(WrongState, match="only an applied proposal can be reverted"):
            gate.ledger.revert(second, view.id, "")
        gate.sound()

    def test_an_operator_does_not_approve_an_order_of_its_own(self, controlled: Gate) -> None:
        gate, second = controlled, paul(controlled)
        view = gate.ledger.order(second, CHANGES)
        with pytest.raises(Forbidden, match="other than its author"):
            gate.ledger.approve(second, view.id, "")
        assert gate.ledger.approve(gate.operator, view.id, "").state == "approved"

    def test_a_grant_has_changes_go_at_once(self, controlled: Gate) -> None:
        view = controlled.ledger.order(BILLING, CHANGES)
        assert (view.state, kinds(controlled, view)) == ("approved", ["approved"])
        assert controlled.ledger.begin(view.id).state == "executing"

    def test_a_person_decides_where_the_order_says_why(self, controlled: Gate) -> None:
        asked = order_on(IDS, "sh", "-c", "true", person="sh does what it is told")
        view = controlled.ledger.order(BILLING, asked, begin=True)
        assert view.state == "awaiting decision"
        assert controlled.ledger.verdict(view).reason == "sh does what it is told"

    def test_who_asks_twice_asks_once_while_it_waits(self, controlled: Gate) -> None:
        gate = controlled
        first = gate.ledger.order(SHOP, CHANGES)
        head = gate.ledger.head
        assert gate.ledger.order(SHOP, CHANGES).id == first.id
        assert gate.ledger.head == head
        other = order_on(IDS, "reboot", "-f", effect="changes", rule='["reboot","..."]')
        assert gate.ledger.order(SHOP, other).id != first.id
        assert gate.ledger.order(gate.operator, CHANGES).id != first.id
        gate.ledger.withdraw(SHOP, first.id, "")
        assert gate.ledger.order(SHOP, CHANGES).id != first.id
        assert gate.ledger.order(SHOP, READS).id != gate.ledger.order(SHOP, READS).id

    @pytest.mark.parametrize("end", ["reject", "request_changes", "withdraw"])
    def test_what_is_not_approved_is_not_begun(self, controlled: Gate, end: str) -> None:
        gate = controlled
        view = gate.ledger.order(SHOP, CHANGES)
        by = SHOP if end == "withdraw" else gate.operator
        ended = getattr(gate.ledger, end)(by, view.id, "not now")
        for function in (gate.ledger.begin, lambda i: gate.ledger.abandon(i, "")):
            with pytest.raises(WrongState, match=f"this order is {ended.state}"):
                function(view.id)
        gate.sound()

    def test_a_single_operator_waits_for_the_time_lock(self, controlled: Gate) -> None:
        gate = controlled
        view = gate.ledger.order(gate.operator, CHANGES)
        assert view.time_lock_until
        assert gate.ledger.tick() == 0
        gate.clock.move(hours=25)
        assert gate.ledger.tick() == 1
        released = gate.ledger.proposal(view.id)
        assert released.state == "approved"
        assert [item.single_person for item in released.decisions] == [True]

    def test_what_nobody_decides_expires(self, controlled: Gate) -> None:
        gate = controlled
        organisation = (
            f'<{IDS.organisation("acme")}> fo:proposalLifetime "PT2H"^^xsd:dayTimeDuration .'
        )
        gate.propose(organisation, "governance", by=gate.operator)
        gate.clock.move(hours=25)
        assert gate.ledger.tick() == 1
        view = gate.ledger.order(SHOP, CHANGES)
        gate.clock.move(hours=3)
        gate.ledger.tick()
        assert gate.state(view) == "expired"

    def test_several_approvals_where_the_organisation_wants_them(self, controlled: Gate) -> None:
        gate, second = controlled, paul(controlled)
        organisation = f"<{IDS.organisation('acme')}> fo:approvalsNeeded 2 ."
        asked = gate.propose(organisation, "governance", by=gate.operator)
        gate.ledger.approve(second, asked.id, "")
        view = gate.ledger.order(SHOP, CHANGES)
        assert gate.ledger.approve(second, view.id, "").state == "awaiting decision"
        assert gate.ledger.approvals(view) == ([], 2)
        assert gate.ledger.approvals(gate.ledger.proposal(view.id)) == ([second], 1)
        assert gate.ledger.approve(gate.operator, view.id, "").state == "approved"

    def test_an_approved_order_may_be_overtaken(self, controlled: Gate) -> None:
        gate = controlled
        view = gate.ledger.order(BILLING, CHANGES)
        ended = gate.ledger.abandon(view.id, "the asset permits it no longer")
        assert ended.state == "superseded"
        last = ended.decisions[-1]
        assert (last.outcome, last.reason) == ("abandon", "the asset permits it no longer")
        assert last.by == IDS.principal("policy")
        cancelled = gate.ledger.order(BILLING, CHANGES)
        ended = gate.ledger.abandon(cancelled.id, "never mind", by=BILLING)
        assert ended.decisions[-1].by == BILLING
        with pytest.raises(WrongState):
            gate.ledger.begin(view.id)
        gate.sound()

    def test_only_orders_are_carried_out(self, controlled: Gate) -> None:
        gate = controlled
        view = gate.propose(gate.service("cart"))
        functions: list[Callable[[str], object]] = [
            gate.ledger.begin,
            lambda identifier: gate.ledger.finish(identifier, DONE),
            lambda identifier: gate.ledger.abandon(identifier, ""),
        ]
        for function in functions:
            with pytest.raises(WrongState, match="nothing to be carried out"):
                function(view.id)
        assert gate.ledger.result_of(view) is None


class TestWhatChangesMeanwhile:
    def withdraw_grant(self, gate: Gate, of: str, **on: Any) -> None:
        delta = control_grant_delta(IDS, of, **on).inverse()
        asked = Request(frozenset(), delta.removals, rationale="no more")
        assert gate.ledger.submit(gate.operator, asked) is not None
        gate.clock.move(hours=25)
        assert gate.ledger.tick() == 1

    def test_an_order_whose_author_lost_its_grant_is_not_approved(self, controlled: Gate) -> None:
        gate = controlled
        view = gate.ledger.order(SHOP, CHANGES)
        self.withdraw_grant(gate, steward_slug("shop"), role="web")
        with pytest.raises(Invalid, match=r"no longer valid: .* holds no control grant"):
            gate.ledger.approve(gate.operator, view.id, "")
        assert gate.state(view) == "invalid"
        gate.sound()

    def test_nor_is_it_begun(self, controlled: Gate) -> None:
        gate = controlled
        view = gate.ledger.order(BILLING, CHANGES)
        self.withdraw_grant(gate, steward_slug("billing"), asset_id="web-1", auto_approve=True)
        with pytest.raises(Forbidden, match="holds no control grant"):
            gate.ledger.begin(view.id)
        assert gate.state(view) == "approved"

    def test_an_asset_that_is_gone(self, controlled: Gate) -> None:
        gate = controlled
        self.withdraw_grant(gate, steward_slug("billing"), asset_id="web-1", auto_approve=True)
        view = gate.ledger.order(SHOP, CHANGES)
        gate.take_back(asset_turtle(IDS, "web-1"), "assets", by=gate.operator)
        gate.clock.move(hours=25)
        assert gate.ledger.tick() == 1
        assert gate.ledger.verdict(view).requires == "four eyes"
        with pytest.raises(Invalid, match="knows no runtime asset 'web-1'"):
            gate.ledger.approve(gate.operator, view.id, "")

    def test_an_asset_does_not_go_from_under_its_grants(self, controlled: Gate) -> None:
        with pytest.raises(Invalid, match="goes after them"):
            controlled.take_back(asset_turtle(IDS, "web-1"), "assets", by=controlled.operator)


@pytest.mark.parametrize(
    ("order", "kind"),
    [
        (order_on(IDS, "uptime", asset_id="web-9"), "unknown-asset"),
        (order_on(IDS, "uptime", asset="web 1"), "unknown-asset"),
        (order_on(IDS, "curl", "https://olga:hunter2@shop.example/"), "secret"),
        (order_on(IDS, "login", "AKIA" + "B" * 16), "secret"),
        (order_on(IDS, "echo", "-----BEGIN", "RSA", "PRIVATE KEY-----"), "secret"),
        (order_on(IDS, "echo", "x" * MAX_ORDER), "too-large"),
        (order_on(IDS, "echo", "\ud800"), "bad-order"),
        (order_on(IDS, "echo", action={"kind": "run", "argv": []}), "bad-order"),
        (order_on(IDS, "echo", action={"kind": "run", "argv": "echo"}), "bad-order"),
        (order_on(IDS, "echo", action={"kind": "run", "argv": ["echo", 5]}), "bad-order"),
        (order_on(IDS, "echo", action={"kind": "request", "method": "GET"}), "bad-order"),
        (order_on(IDS, "echo", action={"kind": "dance"}), "bad-order"),
        (order_on(IDS, "echo", effect="breaks"), "bad-order"),
    ],
)
def test_what_is_refused_leaves_no_record(controlled: Gate, order: Order, kind: str) -> None:
    head = controlled.ledger.head
    with pytest.raises(BadSubmission) as refused:
        controlled.ledger.order(controlled.operator, order)
    assert refused.value.kind == kind
    assert "hunter2" not in str(refused.value)
    assert controlled.ledger.head == head


def test_who_may_not_order_is_told_what_is_missing(controlled: Gate) -> None:
    with pytest.raises(Forbidden, match="runtime-assets grant --asset-id web-1"):
        controlled.ledger.order(IDS.principal("anna"), READS, begin=True)
    with pytest.raises(UnknownProject):
        controlled.ledger.order(SHOP, READS, project="nowhere")


def test_an_argument_may_be_anything_that_is_text(controlled: Gate) -> None:
    strange = ["printf", "", " ", "-", "a\nb", "\x00", "\u202e", '"', "'", "ä", "\U0001f40c"]
    view = controlled.ledger.order(controlled.operator, order_on(IDS, *strange), begin=True)
    assert controlled.ledger.order_of(view).action["argv"] == strange
    controlled.sound()


class TestOutcomes:
    def test_it_is_never_lost_over_its_wording(self, controlled: Gate) -> None:
        view = controlled.ledger.order(SHOP, READS, begin=True)
        told = {"outcome": "not started", "why": ["no route to ssh://a:b3@host", {"n": 1.5}]}
        done = controlled.ledger.finish(view.id, Result(told))
        assert done.result == {"outcome": "not started", "why": [LEFT_OUT, {"n": 1.5}]}
        assert done.evidence == ()

    @pytest.mark.parametrize(
        "result",
        [
            Result({"stdout": "x" * MAX_RESULT}),
            Result({"stdout": float("nan")}),
            Result({}, tuple(f"sha256:{n:064x}" for n in range(65))),
            Result({}, ("sha256:1",)),
        ],
    )
    def test_one_that_cannot_be_kept_is_refused(self, controlled: Gate, result: Result) -> None:
        view = controlled.ledger.order(SHOP, READS, begin=True)
        with pytest.raises(BadSubmission):
            controlled.ledger.finish(view.id, result)
        assert controlled.state(view) == "executing"

    def test_there_is_one(self, controlled: Gate) -> None:
        view = controlled.ledger.order(SHOP, READS, begin=True)
        controlled.ledger.finish(view.id, DONE)
        with pytest.raises(WrongState, match="executed, and not executing"):
            controlled.ledger.finish(view.id, Result({"outcome": "unknown"}))


class TestOnce:
    def test_however_many_begin_it_one_does(self, controlled: Gate) -> None:
        views = [controlled.ledger.order(BILLING, CHANGES) for _ in range(5)]
        together = threading.Barrier(8)

        def begin(number: int) -> list[str]:
            together.wait(30)
            won = []
            for view in views[number % 5 :] + views[: number % 5]:
                try:
                    won.append(controlled.ledger.begin(view.id).id)
                except WrongState:
                    continue
            return won

        with ThreadPoolExecutor(8) as pool:
            won = [identifier for some in pool.map(begin, range(8)) for identifier in some]
        assert sorted(won) == sorted(view.id for view in views)
        controlled.sound()

    @pytest.mark.parametrize("at_once", [True, False])
    def test_what_was_begun_when_the_process_was_killed_is_not_begun_again(
        self, controlled: Gate, at_once: bool
    ) -> None:
        gate = controlled
        approved = gate.ledger.order(BILLING, CHANGES)
        gate.close()
        process = multiprocessing.get_context("spawn").Process(
            target=begin_and_die, args=(gate.folder, gate.key, None if at_once else approved.id)
        )
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        process.close()
        gate.open()
        (_, found), *_ = gate.index.orders(states=["executing"])
        assert (found.id != approved.id) is at_once
        with pytest.raises(WrongState, match="executing, and not approved"):
            gate.ledger.begin(found.id)
        assert gate.ledger.finish(found.id, Result({"outcome": "unknown"})).state == "executed"
        gate.sound()


def begin_and_die(folder: Path, key: SignerKey, approved: str | None) -> None:
    gate = Gate(folder, key)
    if approved is None:
        gate.ledger.order(SHOP, READS, begin=True)
    else:
        gate.ledger.begin(approved)
    os.kill(os.getpid(), signal.SIGKILL)


def some_of_each(gate: Gate) -> list[ProposalView]:
    """A read, a change that was carried out, one that waits, one that was overtaken."""
    second = paul(gate)
    read = gate.ledger.order(SHOP, READS, begin=True)
    gate.ledger.finish(read.id, DONE)
    change = gate.ledger.order(SHOP, CHANGES, project="shop")
    gate.ledger.approve(second, change.id, "due")
    gate.ledger.begin(change.id)
    gate.ledger.finish(change.id, Result({"outcome": "unknown"}))
    overtaken = gate.ledger.order(BILLING, CHANGES)
    gate.ledger.abandon(overtaken.id, "gone")
    waiting = gate.ledger.order(gate.operator, CHANGES)
    return [gate.ledger.proposal(view.id) for view in (read, change, overtaken, waiting)]


class TestWhatFollowsFromTheJournal:
    def test_lists(self, controlled: Gate) -> None:
        gate = controlled
        read, change, overtaken, waiting = some_of_each(gate)

        def ids(**asked: Any) -> list[str]:
            return [view.id for _, view in gate.index.orders(**asked)]

        assert ids() == [waiting.id, overtaken.id, change.id, read.id]
        assert ids(limit=2) == ids()[:2]
        (number, _), *_ = gate.index.orders()
        assert ids(before=number) == ids()[1:]
        assert ids(states=["executed"]) == [change.id, read.id]
        assert ids(principal=SHOP) == [change.id, read.id]
        assert ids(asset=IDS.runtime_asset("web-1")) == ids()
        assert ids(asset=IDS.runtime_asset("web-2")) == []
        listed = {view.id for _, view in gate.index.proposals(limit=100)}
        assert listed >= {change.id, overtaken.id, waiting.id}
        assert read.id not in listed
        assert read.id in {view.id for _, view in gate.index.proposals(limit=100, unlisted=True)}

    def test_what_is_ordered_for_a_restricted_project_is_its_own(self, controlled: Gate) -> None:
        gate = controlled
        gate.found_project("secret", restricted=True)
        view = gate.ledger.order(gate.operator, CHANGES, project="secret")
        plain = gate.ledger.order(gate.operator, CHANGES)
        assert (view.restricted, plain.restricted) == (True, False)
        for readable, seen in ((["shop"], False), (["shop", "secret"], True), (None, True)):
            for found in (gate.index.orders, gate.index.proposals):
                listed = {item.id for _, item in found(readable=readable)}
                assert (view.id in listed, plain.id in listed) == (seen, True)
        own = gate.index.orders(readable=["shop"], reader=gate.operator)
        assert view.id in {item.id for _, item in own}
        assert all(view.iri not in str(quad) for quad in gate.asserted("proposals"))
        gate.sound()

    def test_the_graph_knows_orders_that_somebody_could_decide_on(self, controlled: Gate) -> None:
        gate = controlled
        read, change, *_ = some_of_each(gate)
        asserted = gate.asserted("proposals")
        about = {
            quad.predicate.value: str(quad.object)
            for quad in asserted
            if str(quad.subject) == f"<{change.iri}>"
        }
        assert about[Fo.concernsAsset] == f"<{IDS.runtime_asset('web-1')}>"
        assert about[Fo.state] == '"executed"'
        assert about[Fo.logIndex].startswith(f'"{change.proof}"')
        assert Fo.targetGraph not in about
        assert all(read.iri not in str(quad) for quad in asserted | gate.asserted("proofs"))

    def test_it_is_all_made_again(self, controlled: Gate) -> None:
        gate = controlled
        views, derived = some_of_each(gate), gate.derived()
        gate.close()
        for path in gate.folder.glob("index.sqlite*"):
            path.unlink()
        gate.open()
        assert [gate.ledger.proposal(view.id) for view in views] == views
        assert gate.derived() == derived
        gate.sound()

    def test_an_index_of_an_earlier_version_is_made_again(self, controlled: Gate) -> None:
        gate = controlled
        views = some_of_each(gate)
        gate.close()
        index = sqlite3.connect(gate.folder / "index.sqlite")
        index.execute("PRAGMA user_version = 1")
        index.execute("ALTER TABLE proposals DROP COLUMN listed")
        index.commit()
        index.close()
        assert gate.open() == gate.ledger.head + 1
        assert [gate.ledger.proposal(view.id) for view in views] == views

    def test_facts_say_which_state_followed_which(self, controlled: Gate) -> None:
        gate = controlled
        read, change, overtaken, _ = some_of_each(gate)
        found: dict[str, list[tuple[str, str]]] = {}
        for index, leaf in gate.journal.leaves():
            for row in rows_of_entry(load_entry(gate.journal, index, leaf, gate.keys)):
                if row.kind == "proposal":
                    found.setdefault(row.subject, []).append((row.former, row.state))
        begun = [("approved", "executing"), ("executing", "executed")]
        start = [("draft", "submitted"), ("submitted", "valid")]
        assert found[read.id] == [*start, ("valid", "approved"), *begun]
        waited = [("valid", "awaiting decision"), ("awaiting decision", "approved")]
        assert found[change.id] == [*start, *waited, *begun]
        assert found[overtaken.id] == [*start, ("valid", "approved"), ("approved", "superseded")]

    def test_what_was_changed_in_the_journal_is_found(self, controlled: Gate) -> None:
        gate = controlled
        read, *_ = some_of_each(gate)
        document = Order.from_dict(read.order).to_bytes()
        with sqlite3.connect(gate.folder / "journal.sqlite") as db:
            db.execute("UPDATE blobs SET bytes = ? WHERE bytes = ?", (b"{}", document))
        db.close()
        assert not gate.audit().ok


class TestProofs:
    def test_each_entry_of_an_order_verifies_offline(self, controlled: Gate) -> None:
        gate = controlled
        _, change, *_ = some_of_each(gate)
        explainer = gate.explainer()
        for index in sorted({step.proof for step in change.transitions}):
            bundle = explainer.bundle(index)
            verdict = verify_bundle(bundle, gate.key.verifier)
            assert verdict.status == Status.UNANCHORED, verdict.reasons
            assert json.loads(verdict.facts["order_document"]) == change.order
            assert ("result_document" in verdict.facts) is (index == change.proof)
            document = json.loads(bundle)
            assert document["version"] == 4
            subjects = verdict.facts["graphs"]
            assert subjects == (["order", "result"] if index == change.proof else ["order"])

    def test_a_change_of_the_graph_has_the_bundle_it_had(self, controlled: Gate) -> None:
        view = controlled.propose(controlled.service("cart"))
        document = json.loads(controlled.explainer().bundle(view.head))
        assert document["version"] == 1
        assert "order" not in document
        payload, _ = parse_envelope(controlled.journal.leaf(view.head))
        assert not {"order", "result"} & set(json.loads(payload)["predicate"])

    @pytest.mark.parametrize(
        "forge",
        [
            lambda order: order | {"order": order["order"].replace("uptime", "reboot")},
            lambda order: order | {"result": order["result"].replace("3", "0")},
            lambda order: order | {"result": None},
            lambda order: order | {"order": order["order"] + " "},
        ],
    )
    def test_another_order_or_outcome_does_not_verify(
        self, controlled: Gate, forge: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        gate = controlled
        view = gate.ledger.order(SHOP, READS, begin=True)
        gate.ledger.finish(view.id, DONE)
        document = json.loads(gate.explainer().bundle(gate.ledger.head))
        document["order"] = forge(document["order"])
        del document["digest"]
        forged = canonical_json({**document, "digest": body_digest(document)})
        verdict = verify_bundle(forged, gate.key.verifier)
        assert verdict.status == Status.INVALID
        assert {check.name for check in verdict.checks if check.ok is False} <= {"order", "result"}

    def test_an_order_that_the_entry_is_not_about_does_not_verify(self, controlled: Gate) -> None:
        gate = controlled
        view = gate.propose(gate.service("cart"))
        document = json.loads(gate.explainer().bundle(view.head))
        document |= {"order": {"order": READS.to_bytes().decode(), "result": None}, "version": 4}
        del document["digest"]
        forged = canonical_json({**document, "digest": body_digest(document)})
        verdict = verify_bundle(forged, gate.key.verifier)
        assert verdict.reasons == ("order: the entry is about no order, and the bundle has one",)
