"""A proposal's life through the gate: who proposes, what shapes say, who decides, what stays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pyoxigraph import Literal, NamedNode

from ontology.vocab import Fo
from proofs.errors import (
    BadSubmission,
    Conflict,
    Forbidden,
    Invalid,
    UnknownGraph,
    UnknownProject,
    UnknownProposal,
    WrongState,
)
from proofs.genesis import principal_delta
from proofs.submission import Request, read_submission

if TYPE_CHECKING:
    from tests.proofs.conftest import Gate

CLASS = 'ex:Thing a owl:Class ; rdfs:label "thing" .'


@pytest.fixture
def two(gate: Gate) -> str:
    """A second operator, Otto."""
    return gate.name("otto", "operator")


def outcomes(gate: Gate, identifier: str) -> list[tuple[str, str, bool]]:
    view = gate.ledger.proposal(identifier)
    return [(d.by.rpartition("/")[2], d.outcome, d.single_person) for d in view.decisions]


# --- applied, invalid, unchanged


def test_a_steward_changes_its_own_graph_at_once(gate: Gate) -> None:
    before, head = gate.ledger.state_digest, gate.ledger.head
    view = gate.propose(gate.service("web"), evidence=["sha256:" + "ab" * 32])
    assert (view.state, view.head, view.proof) == ("applied", head + 1, head + 1)
    assert [step.state for step in view.transitions] == [
        *("submitted", "valid", "approved", "applied")
    ]
    assert outcomes(gate, view.id) == [("policy", "approve", False)]
    assert view.report == {"conforms": True, "results": [], "omitted": 0, "nodes": {}}
    assert (view.additions, view.removals) == (3, 0)
    assert len(gate.asserted()) == 3
    assert gate.ledger.state_digest != before
    gate.sound()


def test_what_breaks_a_shape_is_refused_with_its_report_and_nothing_changes(gate: Gate) -> None:
    before, digest = gate.asserted(), gate.ledger.state_digest
    with pytest.raises(Invalid, match="at least one rdfs:label") as caught:
        gate.propose("ex:web a fo:Service ; fo:inProject project:shop .")
    view = gate.ledger.proposal(caught.value.proposal)
    assert (view.state, view.proof) == ("invalid", None)
    assert view.report is not None
    assert view.report["results"][0]["focus"] == "<http://example.org/web>"
    assert gate.ledger.delta_of(view).additions
    assert (gate.asserted(), gate.ledger.state_digest) == (before, digest)


def test_what_changes_nothing_is_no_proposal(gate: Gate) -> None:
    gate.propose(gate.service("web"))
    head = gate.ledger.head
    assert gate.ledger.submit(gate.steward, gate.request(gate.service("web"))) is None
    assert gate.ledger.head == head
    # Of a delta that is true in part, the rest is the proposal.
    view = gate.propose(gate.service("web") + gate.service("api"))
    assert view.additions == 3
    assert gate.ledger.delta_of(view).additions < gate.asserted()


def test_blank_nodes_become_iris_and_a_retry_is_the_same(gate: Gate) -> None:
    turtle = '[] ex:says "hello" .'
    gate.propose(turtle)
    assert gate.ledger.submit(gate.steward, gate.request(turtle)) is None
    gate.propose('[] ex:says "hello" . ex:other ex:p 1 .')
    subjects = {quad.subject for quad in gate.asserted() if quad.object == Literal("hello")}
    assert len(subjects) == 2


def test_equal_blank_nodes_beside_different_removals_stay_apart(gate: Gate) -> None:
    gate.propose("ex:a ex:p 1, 2 .")
    for number in (1, 2):
        asked = gate.request('[] ex:says "hello" .')
        gone = gate.request(f"ex:a ex:p {number} .").additions
        gate.ledger.submit(gate.steward, Request(asked.additions, gone, project="shop"))
    assert len({q.subject for q in gate.asserted() if q.object == Literal("hello")}) == 2


def test_a_dry_run_leaves_no_trace(gate: Gate) -> None:
    head = gate.ledger.head
    found = gate.ledger.dry_run(gate.steward, gate.request(gate.service("web")))
    assert (len(found.delta), found.report.conforms, found.head) == (3, True, head)
    found = gate.ledger.dry_run(gate.steward, gate.request("ex:web a fo:Service ."))
    assert not found.report.conforms
    assert (gate.ledger.head, gate.asserted()) == (head, set())
    with pytest.raises(Forbidden):
        gate.ledger.dry_run(gate.steward, gate.request(CLASS, "ontology"))


def test_proposals_that_do_not_exist(gate: Gate) -> None:
    for act in (gate.ledger.approve, gate.ledger.reject, gate.ledger.withdraw, gate.ledger.revert):
        with pytest.raises(UnknownProposal, match="'nothing'"):
            act(gate.operator, "nothing", "why")


def test_an_organisation_is_founded_once(gate: Gate) -> None:
    genesis = gate.ledger.proposal("genesis")
    assert (genesis.state, genesis.proof, genesis.author) == ("applied", 0, gate.operator)
    assert outcomes(gate, "genesis") == [("olga", "found", True)]
    with pytest.raises(WrongState, match="founded already"):
        gate.ledger.found(gate.operator, gate.ledger.delta_of(genesis), "again")


# --- rights


def test_a_second_projects_steward_cannot_write_into_the_first_ones_graph(gate: Gate) -> None:
    other = gate.ids.principal("steward-billing")
    head = gate.ledger.head
    for project in ("shop", "billing"):
        with pytest.raises(Forbidden):
            gate.ledger.submit(other, gate.request(gate.service("web"), project=project))
    assert gate.ledger.head == head
    view = gate.propose(gate.service("web", "billing"), "lineage/billing", by=other)
    assert view.state == "applied"


def test_the_graphs_of_the_system_are_nobodys(gate: Gate) -> None:
    for graph in ("proposals", "proofs", "inferred", "proposals/restricted"):
        with pytest.raises(Forbidden, match="by the system alone"):
            gate.propose("ex:a ex:p 1 .", graph, by=gate.operator, project=None)
    with pytest.raises(UnknownGraph):
        gate.propose("ex:a ex:p 1 .", "lineage/none", by=gate.operator, project="shop")
    with pytest.raises(UnknownProject):
        gate.propose("ex:a ex:p 1 .", by=gate.operator, project="none")
    # Nor can a decision be forged in a graph that somebody may write.
    with pytest.raises(Invalid, match="by the system alone"):
        gate.propose("ex:d a fo:Decision ; fo:decidedBy principal:olga .")


def test_what_a_person_is_named_for_holds_from_then_on(gate: Gate) -> None:
    anna = gate.name("anna", "analyst")
    with pytest.raises(Forbidden):
        gate.propose(gate.service("web"), by=anna)
    view = gate.propose(CLASS, "ontology", by=gate.operator)
    for act in (gate.ledger.approve, gate.ledger.reject):
        with pytest.raises(Forbidden, match="decided by operators"):
            act(anna, view.id, "")


# --- four eyes


def test_an_author_cannot_approve_their_own_ontology_change(gate: Gate, two: str) -> None:
    view = gate.propose(CLASS, "ontology", by=gate.operator)
    assert (view.state, view.time_lock_until) == ("awaiting decision", None)
    with pytest.raises(Forbidden, match="a person other than its author"):
        gate.ledger.approve(gate.operator, view.id, "mine")
    with pytest.raises(Forbidden, match="decided by operators"):
        gate.ledger.approve(gate.steward, view.id, "ours")
    assert gate.state(view) == "awaiting decision"
    done = gate.ledger.approve(two, view.id, "looks right")
    assert (done.state, done.proof) == ("applied", done.head)
    assert outcomes(gate, view.id) == [("otto", "approve", False)]
    assert done.decisions[0].reason == "looks right"
    assert gate.asserted("ontology") >= gate.ledger.delta_of(view).additions
    with pytest.raises(WrongState, match="is applied"):
        gate.ledger.approve(two, view.id, "again")
    gate.sound()


def test_an_agent_with_the_operators_role_is_no_second_person(gate: Gate) -> None:
    bot = gate.ids.principal("bot")
    turtle = 'principal:bot a fo:Agent ; fo:slug "bot" ; fo:hasRole fo:OperatorRole .'
    gate.propose(turtle, "governance", by=gate.operator)
    gate.clock.move(hours=25)
    assert gate.ledger.tick() == 1
    view = gate.propose(CLASS, "ontology", by=gate.operator)
    assert view.time_lock_until is not None
    with pytest.raises(Forbidden, match="approved by a person"):
        gate.ledger.approve(bot, view.id, "beep")
    assert gate.ledger.reject(bot, view.id, "beep").state == "rejected"


def test_who_asks_for_changes_says_which_and_ends_the_proposal(gate: Gate, two: str) -> None:
    view = gate.propose(CLASS, "ontology", by=gate.operator)
    before = gate.ledger.state_digest
    for reason in ("", " \n"):
        with pytest.raises(BadSubmission, match="say what should change"):
            gate.ledger.request_changes(two, view.id, reason)
    with pytest.raises(Forbidden):
        gate.ledger.request_changes(gate.steward, view.id, "a reason")
    asked = gate.ledger.request_changes(two, view.id, "name the topic too")
    assert asked.state == "changes requested"
    assert [(item.by, item.outcome, item.reason) for item in asked.decisions] == [
        (two, "request changes", "name the topic too")
    ]
    for decide in (gate.ledger.approve, gate.ledger.reject, gate.ledger.request_changes):
        with pytest.raises(WrongState):
            decide(two, view.id, "a replayed decision")
    assert gate.ledger.state_digest == before
    gate.sound()


def test_a_rejected_proposal_leaves_the_graph_and_keeps_its_report(gate: Gate, two: str) -> None:
    before = gate.asserted("ontology")
    view = gate.propose(CLASS, "ontology", by=gate.operator)
    done = gate.ledger.reject(two, view.id, "no need")
    assert (done.state, done.proof, done.report) == ("rejected", None, view.report)
    assert outcomes(gate, view.id) == [("otto", "reject", False)]
    assert gate.asserted("ontology") == before
    for act in (gate.ledger.approve, gate.ledger.reject):
        with pytest.raises(WrongState, match="is rejected"):
            act(two, view.id, "")
    gate.sound()


def test_a_proposal_is_withdrawn_by_its_author_alone(gate: Gate, two: str) -> None:
    view = gate.propose(CLASS, "ontology", by=gate.operator)
    with pytest.raises(Forbidden, match="withdrawn by its author"):
        gate.ledger.withdraw(two, view.id, "")
    assert gate.ledger.withdraw(gate.operator, view.id, "on second thought").state == "withdrawn"
    with pytest.raises(WrongState, match="is withdrawn"):
        gate.ledger.withdraw(gate.operator, view.id, "")


def test_above_the_limit_an_operator_decides(gate: Gate) -> None:
    limit = (
        f"<{gate.ids.grant('shop', 'steward-shop')}> fo:autoApplyLimit %d ."
        f' <{gate.ids.project("shop")}> rdfs:comment "%s" .'
    )
    new = gate.request(limit % (2, "new"), "governance", project=None).additions
    old = gate.request(limit % (20_000, "old"), "governance", project=None).additions
    view = gate.ledger.submit(gate.operator, Request(new, old))
    assert view is not None
    gate.clock.move(hours=25)
    assert gate.ledger.tick() == 1
    small = gate.propose("ex:a ex:p 1, 2 .")
    large = gate.propose(gate.service("web"))
    assert (small.state, large.state) == ("applied", "awaiting decision")
    # One operator is enough: the author is another.
    assert large.time_lock_until is None
    assert gate.ledger.approve(gate.operator, large.id, "").state == "applied"


def test_of_the_same_change_by_the_same_author_one_waits(gate: Gate, two: str) -> None:
    first = gate.propose(CLASS, "ontology", by=gate.operator)
    head = gate.ledger.head
    again = gate.propose(CLASS, "ontology", by=gate.operator)
    assert (again.id, again.state, gate.ledger.head) == (first.id, "awaiting decision", head)
    # Another author's is another proposal, and so is another change.
    theirs = gate.propose(CLASS, "ontology", by=two)
    more = gate.propose(CLASS.replace("Thing", "Other"), "ontology", by=gate.operator)
    assert len({first.id, theirs.id, more.id}) == 3
    gate.ledger.withdraw(gate.operator, first.id, "not now")
    assert gate.propose(CLASS, "ontology", by=gate.operator).id != first.id


def test_reasons_are_checked_like_any_text_that_is_kept(gate: Gate) -> None:
    view = gate.propose(CLASS, "ontology", by=gate.operator)
    for text in ("x" * 5000, "\ud800", "token fot_" + "x" * 43):
        for act in (gate.ledger.approve, gate.ledger.reject, gate.ledger.withdraw):
            with pytest.raises(BadSubmission, match="the reason"):
                act(gate.operator, view.id, text)
        with pytest.raises(BadSubmission, match="the rationale"):
            gate.ledger.revert(gate.operator, view.id, text)
    assert gate.state(view) == "awaiting decision"


# --- a single operator


def test_the_time_lock_applies_it_and_marks_it_single_person(gate: Gate) -> None:
    view = gate.propose(CLASS, "ontology", by=gate.operator)
    assert view.time_lock_until == "2026-11-23T10:00:00.000000Z"
    with pytest.raises(Forbidden, match="applies after 2026-11-23T10:00"):
        gate.ledger.approve(gate.operator, view.id, "")
    gate.clock.move(hours=24, seconds=-1)
    assert gate.ledger.tick() == 0
    gate.clock.move(seconds=1)
    assert gate.ledger.tick() == 1
    assert gate.ledger.tick() == 0
    done = gate.ledger.proposal(view.id)
    assert (done.state, done.time_lock_until) == ("applied", None)
    assert outcomes(gate, view.id) == [("policy", "approve", True)]
    marks = gate.store.match(
        predicate=NamedNode(Fo.singlePerson), graph=NamedNode(gate.ids.graph("proposals"))
    )
    assert {str(q.subject) for q in marks if q.object == Literal(True)} >= {
        f"<{gate.ids.decision(view.id, 0)}>"
    }
    gate.sound()


def test_a_second_operator_ends_the_time_lock(gate: Gate) -> None:
    otto = gate.propose(
        'principal:otto a fo:Person ; fo:slug "otto" ; fo:hasRole fo:OperatorRole .',
        "governance",
        by=gate.operator,
    )
    gate.clock.move(hours=1)
    view = gate.propose(CLASS, "ontology", by=gate.operator)
    gate.clock.move(hours=24)
    # Both are due; once the first is applied there are two operators.
    assert gate.ledger.tick() == 1
    assert (gate.state(otto), gate.state(view)) == ("applied", "awaiting decision")
    gate.clock.move(days=400)
    assert gate.ledger.tick() == 0
    assert gate.ledger.approve(gate.ids.principal("otto"), view.id, "").state == "applied"


def test_what_became_invalid_does_not_hold_up_the_rest(gate: Gate) -> None:
    url = (
        'ex:a a fo:PublicUrl ; fo:url "https://a.example/"^^xsd:anyURI ; fo:authority "a.example" .'
    )
    gate.propose(url, by=gate.operator)
    asset = (
        'ex:lxc a fo:LxcAsset ; rdfs:label "lxc" ; fo:assetId "lxc-1" ; fo:locatorContainer "c" ;'
        f" fo:publicUrl ex:a ; fo:ownedBy <{gate.ids.organisation('acme')}> ."
    )
    broken = gate.propose(asset, "assets", by=gate.operator)
    fine = gate.propose(CLASS, "ontology", by=gate.operator)
    gate.take_back(url, by=gate.operator)
    gate.clock.move(hours=25)
    assert gate.ledger.tick() == 1
    assert (gate.state(broken), gate.state(fine)) == ("invalid", "applied")
    report = gate.ledger.proposal(broken.id).report
    assert report is not None
    assert not report["conforms"]
    gate.sound()


def test_approving_validates_again(gate: Gate, two: str) -> None:
    url = (
        'ex:a a fo:PublicUrl ; fo:url "https://a.example/"^^xsd:anyURI ; fo:authority "a.example" .'
    )
    gate.propose(url, by=gate.operator)
    view = gate.propose(
        'ex:lxc a fo:LxcAsset ; rdfs:label "lxc" ; fo:assetId "lxc-1" ; fo:locatorContainer "c" ;'
        f" fo:publicUrl ex:a ; fo:ownedBy <{gate.ids.organisation('acme')}> .",
        "assets",
        by=gate.operator,
    )
    gate.take_back(url, by=gate.operator)
    with pytest.raises(Invalid, match="no longer valid"):
        gate.ledger.approve(two, view.id, "")
    assert gate.state(view) == "invalid"
    assert gate.asserted("assets") == set()


def test_what_others_made_true_meanwhile_is_superseded(gate: Gate, two: str) -> None:
    first = gate.propose(CLASS, "ontology", by=gate.operator)
    second = gate.propose(CLASS, "ontology", by=two)
    assert gate.ledger.approve(two, first.id, "").state == "applied"
    done = gate.ledger.approve(gate.operator, second.id, "")
    assert (done.state, done.proof) == ("superseded", None)
    assert done.decisions[-1].reason == "nothing is left to change"


def test_of_a_proposal_that_came_true_in_part_the_rest_is_applied(gate: Gate, two: str) -> None:
    first = gate.propose(CLASS, "ontology", by=gate.operator)
    second = gate.propose(CLASS + 'ex:More a owl:Class ; rdfs:label "more" .', "ontology", by=two)
    gate.ledger.approve(two, first.id, "")
    done = gate.ledger.approve(gate.operator, second.id, "")
    assert done.state == "applied"
    assert done.proof is not None
    # What was asked stays what it was; the entry says what it changed.
    assert done.additions == 4
    gate.sound()


# --- revert


def test_an_applied_proposal_is_reverted_by_another(gate: Gate) -> None:
    gate.propose(gate.service("web"))
    before, digest = gate.asserted(), gate.ledger.state_digest
    view = gate.propose(gate.service("api") + 'ex:web rdfs:label "the web" .')
    undone = gate.ledger.revert(gate.steward, view.id, "by mistake")
    assert undone is not None
    assert (undone.state, undone.reverts, undone.project) == ("applied", view.id, "shop")
    assert (gate.asserted(), gate.ledger.state_digest) == (before, digest)
    original = gate.ledger.proposal(view.id)
    assert (original.state, original.reverted_by) == ("reverted", undone.id)
    with pytest.raises(WrongState, match="only an applied proposal"):
        gate.ledger.revert(gate.steward, view.id, "")
    # A revert is a proposal like any other, and can be reverted.
    again = gate.ledger.revert(gate.steward, undone.id, "")
    assert again is not None
    assert len(gate.asserted()) == 7
    gate.sound()


def test_reverting_takes_the_same_rights_and_the_same_decisions(gate: Gate, two: str) -> None:
    view = gate.propose(CLASS, "ontology", by=gate.operator)
    gate.ledger.approve(two, view.id, "")
    with pytest.raises(Forbidden):
        gate.ledger.revert(gate.steward, view.id, "")
    undone = gate.ledger.revert(two, view.id, "")
    assert undone is not None
    assert undone.state == "awaiting decision"
    assert gate.state(view) == "applied"
    gate.ledger.approve(gate.operator, undone.id, "")
    assert gate.state(view) == "reverted"
    with pytest.raises(Forbidden, match="genesis is not reverted"):
        gate.ledger.revert(gate.operator, "genesis", "")


def test_a_revert_that_would_break_a_shape_is_refused(gate: Gate) -> None:
    view = gate.propose(gate.service("api"))
    gate.propose(gate.service("web") + "ex:web fo:calls ex:api .")
    with pytest.raises(Invalid):
        gate.ledger.revert(gate.steward, view.id, "")
    assert gate.state(view) == "applied"


def test_of_a_revert_only_what_is_still_there_goes(gate: Gate) -> None:
    view = gate.propose("ex:a ex:p 1, 2 .")
    gate.take_back("ex:a ex:p 1 .")
    undone = gate.ledger.revert(gate.steward, view.id, "")
    assert undone is not None
    assert (undone.additions, undone.removals) == (0, 1)
    assert gate.asserted() == set()


# --- optimistic concurrency


def test_a_stale_base_is_a_conflict_with_both_deltas(gate: Gate) -> None:
    gate.propose(gate.service("web"))
    base = gate.ledger.head
    gate.propose('ex:web rdfs:label "the \u2028 web" . ex:else ex:p 1 .')
    head = gate.ledger.head
    with pytest.raises(Conflict, match=f"since head {base}") as caught:
        gate.propose('ex:web rdfs:label "a web" .', base=base)
    conflict = caught.value
    assert gate.ledger.head == head
    assert conflict.yours.startswith("A <http://example.org/web>")
    # Both are patches that can be read as such, also with odd line separators in them.
    for patch, count in ((conflict.theirs, 2), (conflict.yours, 1)):
        read = read_submission(patch.encode(), "text/x-rdf-patch", gate.ids)
        assert len(read.additions) == count
    # What nobody touched, and what is drafted on the head, passes.
    assert gate.propose('ex:other rdfs:label "other" .', base=base).state == "applied"
    assert gate.propose('ex:web rdfs:label "a web" .', base=gate.ledger.head).state == "applied"


def test_entries_that_applied_nothing_are_no_conflict(gate: Gate) -> None:
    base = gate.ledger.head
    with pytest.raises(Invalid):
        gate.propose("ex:web a fo:Service .")
    gate.propose(CLASS, "ontology", by=gate.operator)
    assert gate.propose(gate.service("web"), base=base).state == "applied"


def test_a_base_that_never_was(gate: Gate) -> None:
    for base in (gate.ledger.head + 1, -1):
        with pytest.raises(BadSubmission, match="is no head of this graph"):
            gate.propose(gate.service("web"), base=base)


def test_a_base_too_far_behind(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proofs.ledger.MAX_BEHIND", 1)
    with pytest.raises(BadSubmission, match="more than 1 entries behind"):
        gate.propose(gate.service("web"), base=0)


# --- restricted projects


def test_a_restricted_project_is_left_out_of_the_merge(gate: Gate) -> None:
    gate.found_project("secret", restricted=True)
    steward = gate.ids.principal("steward-secret")
    view = gate.propose(gate.service("vault", "secret"), "lineage/secret", by=steward)
    assert view.restricted
    everything = gate.derived()
    assert not [line for line in everything["merge"] if "vault" in line]
    assert not [line for line in everything["merge"] if f"{view.iri}> <{Fo.state}" in line]
    assert [line for line in everything["proposals/restricted"] if view.iri in line]
    assert not [line for line in everything["proposals"] if view.iri in line]
    assert gate.ledger.governance.hidden_from(gate.steward) == {gate.ids.lineage_graph("secret")}
    gate.sound()


def test_a_conflict_does_not_show_what_its_reader_may_not_see(gate: Gate) -> None:
    gate.found_project("secret", restricted=True)
    base = gate.ledger.head
    gate.propose("ex:shared ex:p 1 .", "lineage/secret", by=gate.ids.principal("steward-secret"))
    assert gate.propose("ex:shared ex:q 2 .", base=base).state == "applied"
    with pytest.raises(Conflict) as caught:
        gate.propose("ex:shared ex:q 3 .", by=gate.operator, base=base)
    assert "lineage/secret" in caught.value.theirs


def test_a_graph_with_something_in_it_is_not_restricted_later(gate: Gate, two: str) -> None:
    restrict = "graph:lineage\\/shop fo:restricted true ."
    waiting = gate.propose(restrict, "governance", by=gate.operator)
    assert waiting.state == "awaiting decision"
    gate.propose(gate.service("web"))
    with pytest.raises(Forbidden, match="settled when its project is created"):
        gate.propose(restrict, "governance", by=two)
    # It was proposed while the graph was empty, and is approved when it no longer is.
    with pytest.raises(Invalid, match="settled when its project is created"):
        gate.ledger.approve(two, waiting.id, "")
    assert gate.state(waiting) == "invalid"
    assert gate.ledger.governance.restricted == frozenset()


# --- shapes and hierarchy


def test_new_shapes_hold_for_what_is_there_and_from_then_on(gate: Gate, two: str) -> None:
    shape = (
        "ex:Tagged a sh:NodeShape ; sh:targetClass fo:Service ;"
        ' sh:property [ sh:path ex:tag ; sh:minCount 1 ; sh:message "tag it" ] .'
    )
    gate.propose(gate.service("web"))
    with pytest.raises(Invalid, match="tag it"):
        gate.propose(shape, "shapes", by=gate.operator)
    gate.propose('ex:web ex:tag "t" .')
    view = gate.propose(shape, "shapes", by=gate.operator)
    assert gate.propose(gate.service("api") + 'ex:api ex:tag "t" .').state == "applied"
    gate.ledger.approve(two, view.id, "")
    with pytest.raises(Invalid, match="tag it"):
        gate.propose(gate.service("new"))


@pytest.mark.parametrize(
    ("turtle", "said"),
    [
        ("ex:S a sh:NodeShape ; sh:targetNode ex:a ; sh:sparql ex:c .", "without sh:select"),
        ("ex:S sh:path ex:p ; sh:datatype xsd:int .", "no value can have here"),
        ('ex:S a sh:PropertyShape ; sh:path ex:p ; sh:minCount "one" .', "not well formed"),
    ],
)
def test_shapes_that_cannot_be_used_are_refused_by_name(gate: Gate, turtle: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as caught:
        gate.propose(turtle, "shapes", by=gate.operator)
    report = gate.ledger.proposal(caught.value.proposal).report
    assert report is not None
    assert "http://example.org/S" in report["results"][0]["message"]
    assert gate.propose(gate.service("web")).state == "applied"


def test_listeners_are_told_each_head(gate: Gate) -> None:
    heads: list[int] = []
    gate.ledger.on_commit(heads.append)
    gate.propose(gate.service("web"))
    with pytest.raises(Invalid):
        gate.propose("ex:web fo:calls ex:nobody .")
    assert heads == [gate.ledger.head - 1, gate.ledger.head]


# --- several approvals, and an end to waiting


def state_of_policy(gate: Gate, by: str, statement: str) -> None:
    """Has a second person approve a statement about the organisation."""
    organisation = gate.ids.organisation("acme")
    view = gate.propose(f"<{organisation}> {statement} .", "governance", by=gate.operator)
    assert gate.ledger.approve(by, view.id, "").state == "applied"


@pytest.fixture
def three(gate: Gate, two: str) -> str:
    """A third operator; two approvals are needed from now on."""
    delta = principal_delta(gate.ids, gate.ids.organisation("acme"), "mia", "operator")
    view = gate.ledger.submit(gate.operator, Request(delta.additions, frozenset()))
    assert view is not None
    gate.ledger.approve(two, view.id, "")
    state_of_policy(gate, two, "fo:approvalsNeeded 2")
    return gate.ids.principal("mia")


def test_as_many_people_approve_as_policy_asks_for(gate: Gate, two: str, three: str) -> None:
    view = gate.propose(CLASS, "ontology", by=gate.operator)
    before = gate.ledger.state_digest
    assert gate.ledger.approvals(view) == ([], 2)
    first = gate.ledger.approve(two, view.id, "looks right")
    assert (first.state, first.proof, gate.ledger.state_digest) == (
        *("awaiting decision", None),
        before,
    )
    assert gate.ledger.approvals(first) == ([two], 1)
    with pytest.raises(WrongState, match="you have approved"):
        gate.ledger.approve(two, view.id, "twice")
    with pytest.raises(Forbidden):
        gate.ledger.approve(gate.operator, view.id, "mine")
    gate.sound()
    # What is folded from the journal is the same.
    folder = [item for item in gate.views() if item.id == view.id]
    gate.reopen()
    assert [item for item in gate.views() if item.id == view.id] == folder
    done = gate.ledger.approve(three, view.id, "to me too")
    assert (done.state, done.proof) == ("applied", done.head)
    assert outcomes(gate, view.id) == [("otto", "approve", False), ("mia", "approve", False)]
    gate.sound()


def test_an_approval_ends_with_the_right_to_give_it(gate: Gate, two: str, three: str) -> None:
    view = gate.propose(CLASS, "ontology", by=gate.operator)
    gate.ledger.approve(three, view.id, "")
    role = f"<{three}> fo:hasRole fo:OperatorRole ."
    removal = gate.take_back(role, "governance", by=gate.operator)
    gate.ledger.approve(three, removal.id, "")
    assert gate.ledger.approve(two, removal.id, "").state == "applied"
    # Of two operators one is left to ask.
    assert gate.ledger.approvals(view) == ([], 1)
    assert gate.ledger.approve(two, view.id, "").state == "applied"


def test_what_one_operator_decides_needs_no_more_than_one(gate: Gate, two: str, three: str) -> None:
    request = replace(gate.request(gate.service("web")), hold="a person should look")
    view = gate.ledger.submit(gate.steward, request)
    assert view is not None
    assert gate.ledger.approve(two, view.id, "").state == "applied"


def test_what_nobody_decides_expires(gate: Gate, two: str) -> None:
    old = gate.propose(CLASS, "ontology", by=gate.operator)
    gate.clock.move(days=400)
    gate.ledger.tick()
    assert gate.state(old) == "awaiting decision"
    state_of_policy(gate, two, 'fo:proposalLifetime "P30D"^^xsd:duration')
    young = gate.propose(CLASS.replace("Thing", "Other"), "ontology", by=gate.operator)
    gate.clock.move(days=29)
    assert gate.ledger.tick() == 0
    assert (gate.state(old), gate.state(young)) == ("expired", "awaiting decision")
    assert outcomes(gate, old.id) == [("policy", "expire", False)]
    with pytest.raises(WrongState, match="is expired"):
        gate.ledger.approve(two, old.id, "late")
    head = gate.ledger.head
    gate.clock.move(days=2)
    gate.ledger.tick()
    gate.ledger.tick()
    assert (gate.state(young), gate.ledger.head) == ("expired", head + 1)
    gate.sound()


def test_what_a_time_lock_decides_does_not_expire(gate: Gate) -> None:
    organisation = gate.ids.organisation("acme")
    statement = f'<{organisation}> fo:proposalLifetime "PT1H"^^xsd:duration .'
    gate.propose(statement, "governance", by=gate.operator)
    gate.clock.move(hours=25)
    assert gate.ledger.tick() == 1
    view = gate.propose(CLASS, "ontology", by=gate.operator)
    gate.clock.move(hours=2)
    gate.ledger.tick()
    assert gate.state(view) == "awaiting decision"
    gate.clock.move(hours=24)
    assert gate.ledger.tick() == 1


@pytest.mark.parametrize(
    "statement",
    [
        "fo:approvalsNeeded 0",
        "fo:approvalsNeeded 1, 2",
        'fo:proposalLifetime "P1M"^^xsd:duration',
        'fo:proposalLifetime "30 days"',
    ],
)
def test_what_policy_could_not_be_read_from_is_refused(gate: Gate, statement: str) -> None:
    organisation = gate.ids.organisation("acme")
    with pytest.raises(Invalid):
        gate.propose(f"<{organisation}> {statement} .", "governance", by=gate.operator)
